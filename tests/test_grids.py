"""Grids: the files that come with the package, one of a user's own, and what is wrong in one."""

import pytest
import yaml

from ktnet_lite.errors import ConfigError
from ktnet_lite.experiments import grids
from ktnet_lite.reporting import paper

OWN = {
    "title": "Mine",
    "about": "Two widths.",
    "metrics": ["mae"],
    "rows": {"narrow": {"dim": 8}, "wide": {"dim": 16, "epochs": 3}},
    "columns": {"all clips": "all"},
    "data": {"small": {"all clips": {"dataset": "synthetic", "clips": 24, "epochs": 1}}},
    "compare": [["wide", "narrow"]],
}


def written(folder, **changes):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(OWN | changes), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", grids.names())
def test_a_grid_that_comes_with_the_package_is_whole(name):
    """Its rows, columns and parameters exist (the constructor says so), and it fits the table of the paper."""
    grid = grids.load(name)
    assert grid.name == name and grid.metrics and grid.compare
    for data in grid.data:
        cells = grid.cells(data)
        assert cells and len({(cell.row, cell.column) for cell in cells}) == len(cells)
        for cell in cells:
            configs = cell.configs([0, 1], out="elsewhere")
            assert [config.seed for config in configs] == [0, 1] and configs[0].out == "elsewhere"
    if grid.paper:
        printed = paper.table(grid.paper)
        assert printed.data == next(iter(grid.data))
        ours = {(cell.row, cell.column) for cell in grid.cells(printed.data)}
        assert printed.values.keys() <= ours
        assert set(printed.metrics) <= set(grid.metrics)


def test_on_the_papers_data_everything_is_as_the_paper_says():
    """40 epochs, Adam at 1e-3, three layers, Eq. (5): only rows of our own change what the paper fixes."""
    for name in ("I", "II", "III", "IV", "V"):
        grid = grids.load(name)
        for cell in grid.cells(next(iter(grid.data))):
            (config,) = cell.configs([0])
            assert (config.epochs, config.learning_rate, config.layers) == (40, 1e-3, 3)
            assert config.task_loss == ("cross_entropy" if config.model == "ktnet" else "l1")


def test_the_paper_s_tables_go_by_several_names_and_come_first():
    assert grids.load("I") == grids.load("1") == grids.load("table_1") == grids.load("i")
    assert grids.names()[:5] == [f"table_{i}" for i in range(1, 6)]


def test_a_users_own_grid(tmp_path):
    grid = grids.load(written(tmp_path))
    narrow, wide = grid.cells("small")
    assert (narrow.row, narrow.column) == ("narrow", "all clips")
    assert narrow.configs([4])[0].epochs == 1 and narrow.configs([4])[0].dim == 8
    assert wide.configs([4])[0].epochs == 3, "a row's parameters override its column's"
    assert grid.paper is None and grid.without == {}
    defaults = grids.load(written(tmp_path, rows={"narrow": None, "wide": {"dim": 80}}))
    assert [cell.configs([0])[0].dim for cell in defaults.cells("small")] == [40, 80]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compare": [["wide", "huge"]]}, "grid mine: 'huge' is not a row: narrow, wide"),
        ({"metrics": ["mse"]}, "'mse' is not a metric: acc7,"),
        ({"columns": {"all clips": ["thin"]}}, "'thin' is not a row: narrow, wide"),
        ({"data": {"small": {"other": {"dataset": "synthetic"}}}}, "'other' is not a column: all clips"),
        ({"without": {"large": ["wide"]}}, "'large' is not a data set: small"),
        ({"rows": {"narrow": {"dims": 8}, "wide": {}}}, "unknown parameter 'dims'; did you mean 'dim'"),
        ({"extra": 1}, "a grid has the parts title, about, paper"),
    ],
)
def test_what_is_wrong_in_a_grid_is_named(changes, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        grids.load(written(tmp_path, **changes))


def test_no_such_grid_or_no_yaml(tmp_path):
    with pytest.raises(ConfigError, match=r"no grid 'lamda'; did you mean 'lambda'\?(.|\n)*table_1"):
        grids.load("lamda")
    with pytest.raises(ConfigError, match=r"no grid '.*gone\.yaml'"):
        grids.load(tmp_path / "gone.yaml")
    (tmp_path / "torn.yaml").write_text("rows: [", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"torn\.yaml cannot be read as YAML"):
        grids.load(tmp_path / "torn.yaml")
    with pytest.raises(ConfigError, match="mine has no data set 'large'; it has small"):
        grids.load(written(tmp_path)).cells("large")
