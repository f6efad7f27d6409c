"""Grids: the files that come with the package, one of a user's own, and what is wrong in one."""

import pytest
import yaml

from ktnet_lite.errors import ConfigError
from ktnet_lite.experiments import grids
from ktnet_lite.parameters import preset
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
        (
            {"rows": {"narrow": {"dims": 8}, "wide": {}}},
            "data small, column 'all clips', row 'narrow': unknown parameter 'dims'; did you mean 'dim'",
        ),
        ({"rows": {"narrow": {"dim": "8"}, "wide": {}}}, "row 'narrow': dim = '8' is str, expected int"),
        ({"rows": {"narrow": {"dim": float("inf")}, "wide": {}}}, "row 'narrow': dim = inf is float, expected int"),
        ({"extra": 1}, r"mine\.yaml: extra is missing or unknown; a grid has the parts title, about, paper"),
        ({"title": None}, r"mine\.yaml, title: Expected text, got nothing"),
        ({"title": 2024}, r"mine\.yaml, title: Expected text, got number"),
        ({"metrics": "mae"}, r"mine\.yaml, metrics: Expected list, got text"),
        ({"metrics": []}, r"mine\.yaml, metrics: Expected list of length >= 1"),
        ({"metrics": ["mae", 7]}, r"mine\.yaml, metrics: Expected text, got number - at \$\[1\]"),
        ({"rows": None}, r"mine\.yaml, rows: Expected mapping, got nothing"),
        ({"rows": ["narrow", "wide"]}, r"mine\.yaml, rows: Expected mapping, got list"),
        ({"rows": {"narrow": None, "wide": 3}}, r"mine\.yaml, rows, wide: Expected mapping . nothing, got number"),
        ({"columns": {"all clips": "most"}}, r"mine\.yaml, columns, all clips: Invalid enum value 'most'"),
        (
            {"columns": {"all clips": {"narrow": 1}}},
            r"mine\.yaml, columns, all clips: Expected text . list, got mapping",
        ),
        ({"data": {}}, r"mine\.yaml, data: Expected mapping of length >= 1"),
        ({"data": {"small": None}}, r"mine\.yaml, data, small: Expected mapping, got nothing"),
        ({"data": {"small": {"all clips": None}}}, r"mine\.yaml, data, small: Expected mapping, got nothing"),
        ({"compare": [["wide"]]}, r"mine\.yaml, compare: Expected list of length 2, got 1 - at \$\[0\]"),
        ({"paper": 1}, r"mine\.yaml, paper: Expected text, got number"),
    ],
)
def test_what_is_wrong_in_a_grid_is_named(changes, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        grids.load(written(tmp_path, **changes))


def test_a_preset_is_spelled_out_and_what_stands_beside_it_comes_first(tmp_path):
    data = {"small": {"all clips": {"preset": "paper", "dataset": "synthetic", "epochs": 1}}}
    grid = grids.load(written(tmp_path, rows={"narrow": None, "wide": {"model": "mult", "heads": 2}}, data=data))
    narrow, wide = grid.cells("small")
    assert narrow.parameters == preset("paper") | {"dataset": "synthetic", "epochs": 1}
    assert wide.parameters == narrow.parameters | {"model": "mult", "heads": 2}
    losses = [cell.configs([0])[0].task_loss for cell in (narrow, wide)]
    assert losses == ["cross_entropy", "l1"]


@pytest.mark.parametrize("value", ["papers", 3, None, ["paper"], {"paper": 1}])
def test_no_such_preset_is_an_error_in_words(value, tmp_path):
    data = {"small": {"all clips": {"preset": value}}}
    with pytest.raises(ConfigError, match=r"preset = .* is not one of paper"):
        grids.load(written(tmp_path, data=data))


def test_a_number_that_yaml_reads_as_text_is_a_number(tmp_path):
    path = written(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("dim: 8", "learning_rate: 1e-4"), encoding="utf-8")
    assert grids.load(path).cells("small")[0].configs([0])[0].learning_rate == 1e-4


def test_data_without_a_name_are_the_default_ones_and_a_row_counts_once(tmp_path):
    grid = grids.load(written(tmp_path, columns={"all clips": ["wide", "wide"]}, data={"small": {"all clips": {}}}))
    (cell,) = grid.cells("small")
    assert cell.parameters["dataset"] == "synthetic" and cell.row == "wide"


LAUGHS = "a: &a0 [x]\n" + "".join(f"b{i}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(99))
MERGES = "a: &a0 {x: 1}\n" + "".join(f"b{i}: &a{i + 1} {{<<: [*a{i}, *a{i}]}}\n" for i in range(99))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("rows: [", "cannot be read as YAML"),
        ("\trows: 1", r"cannot be read as YAML: (.|\n)*line 1, column 1"),
        ("", "is not YAML but an empty file"),
        ("# later", "holds nothing but comments"),
        ("version https://git-lfs.github.com/spec/v1\n", "is not YAML but a pointer of Git LFS"),
        ("<html></html>", "is not YAML but a web page"),
        (b"title: \xe9", "it is not UTF-8"),
        ("- 1", "about, columns, data, metrics, rows, title is missing or unknown"),
        ("title: a\ntitle: b", r"the key 'title' stands twice(.|\n)*line 2, column 1"),
        ("rows: {a: 1, a: 2}", r"the key 'a' stands twice(.|\n)*line 1, column 14"),
        ("rows: {on: {}}", "the key 'on' is no text; put it in quotes"),
        ("rows: {0.1: {}}", "the key '0.1' is no text; put it in quotes"),
        ("? [a]\n: 1", "is no text; put it in quotes"),
        ("a: " + "[" * 10**5, "it is nested too deep"),
        ("a: &a [*a]", "refers to itself"),
        (LAUGHS, "refers to itself, or to the same parts too often"),
        (MERGES, "refers to itself, or to the same parts too often"),
        ("a: " + "7" * 5000, r"7\.\.\. is no value: (.|\n)*line 1, column 4"),
        ("a: 2001-99-99", r"'2001-99-99' is no value: (.|\n)*line 1, column 4"),
        ("a: !!int many", "'many' is no value"),
        ('a: "\\ud800"', "is no value"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("#" * 2 * 10**6, "is larger than 1,000,000 bytes"),
    ],
    ids=range(23),
)
def test_what_is_no_grid_is_an_error_in_words(content, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=rf"mine\.yaml(.|\n)*{message}"):
        grids.load(path)


def test_a_part_may_be_written_once_and_used_twice(tmp_path):
    path = written(tmp_path, rows={})
    rows = "rows:\n  narrow: &row {dim: 8, epochs: 3}\n  wide: {<<: *row, dim: 16}\n  same: *row\n"
    path.write_text(path.read_text(encoding="utf-8").replace("rows: {}\n", rows), encoding="utf-8")
    narrow = {"dim": 8, "epochs": 3}
    assert grids.load(path).rows == {"narrow": narrow, "wide": narrow | {"dim": 16}, "same": narrow}


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
