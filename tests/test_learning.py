"""Error against the number of labelled clips: the figure has the numbers of the results, and its ceilings are best."""

import msgspec
import numpy as np
import pytest

from ktnet_lite.config import TrainConfig
from ktnet_lite.data import synthetic
from ktnet_lite.experiments import grids
from ktnet_lite.reporting import frame, learning, tables
from ktnet_lite.training.dataset import load_dataset
from made import make_result

ERRORS = {"linear": 0.7, "Language and vision": 0.9, "Ours": 0.6, "Other voices": 0.9}
SIZES = {"train": 40, "valid": 10, "test": 30}


def result(config: TrainConfig, error: float):
    run = make_result(config, error)
    return msgspec.structs.replace(run, dataset=msgspec.structs.replace(run.dataset, clips=SIZES))


def table(columns: tuple[str, ...], seeds: int = 2) -> tables.Table:
    """The grid's table with some rows of some columns."""
    grid = grids.load("curves")
    runs = [
        result(config, ERRORS[cell.row])
        for cell in grid.cells("synthetic")
        if cell.column in columns and cell.row in ERRORS
        for config in cell.configs(range(seeds))
    ]
    return tables.build(grid, "synthetic", frame.frame(runs), range(5))


@pytest.fixture(scope="module")
def partial():
    return table(("redundancy 0.7, 100 clips", "redundancy 0.7, 1000 clips", "redundancy 1, 300 clips"))


def test_points_are_runs_by_setting_row_and_clips(partial):
    points = learning.points(partial)
    assert len(points) == 3 * len(ERRORS) * 2
    assert set(points["setting"]) == {"redundancy 0.7", "redundancy 1"} and set(points["row"]) == set(ERRORS)
    (run,) = points[(points["row"] == "Ours") & (points["clips"] == 300) & (points["seed"] == 1)].itertuples()
    assert run.value == run.result.metrics["test"]["mae"] and run.result.config.labelled == 300


def test_the_figure_has_a_panel_per_setting_with_means_and_ceilings(partial):
    left, right = learning.learning_curves(partial).axes
    assert [panel.get_title() for panel in (left, right)] == ["redundancy 0.7", "redundancy 1"]
    assert left.get_xscale() == "log" and left.get_ylim() == right.get_ylim()
    points = learning.points(partial)
    ours = points[(points["row"] == "Ours") & (points["setting"] == "redundancy 0.7")]
    means = ours.groupby("clips")["value"].mean()
    drawn = [line for line in left.lines if list(line.get_xdata()) == [100, 1000]]
    assert any(line.get_ydata() == pytest.approx(means.to_numpy()) for line in drawn) and len(drawn) == len(ERRORS)
    colours = [line.get_color() for line in drawn]
    assert colours == [learning.STYLES[row].colour for row in learning.STYLES if row in ERRORS]
    best = learning.ceilings(points["result"].iloc[0])
    flat = {line.get_ydata()[0] for line in left.lines if len(set(line.get_ydata())) == 1}
    assert set(best.values()) <= flat
    (legend,) = learning.learning_curves(partial).legends
    names = [text.get_text() for text in legend.get_texts()]
    assert set(ERRORS) <= set(names) and len(names) == len(set(names)) == len(ERRORS) + 2


def test_the_words_and_the_seeds_are_those_of_the_results(partial):
    told = learning.in_words(partial)
    ours = learning.points(partial).query("row == 'Ours' and setting == 'redundancy 1'")["value"].mean()
    assert f"Ours {ours:.2f} with 300;" in told and "best possible from all three 0." in told and "\n" not in told
    assert learning.seeds(partial).startswith(
        "Seeds per point: 2. Not run yet: "
    ) and "of 64 points" in told + learning.seeds(partial)
    assert learning.seeds(table(("redundancy 0.7, 100 clips",), seeds=1)).startswith("Seeds per point: 1.")


def test_nothing_is_drawn_without_results():
    assert learning.learning_curves(table(())) is None


def test_the_ceilings_are_of_the_very_test_clips():
    config = TrainConfig(clips=40, redundancy=1.0, audio_noise=0.0, aligned=True)
    dataset = load_dataset(config)
    clips = {name: len(dataset[name]) for name in dataset}
    run = result(config, 0.5)
    run = msgspec.structs.replace(run, dataset=msgspec.structs.replace(run.dataset, clips=clips))
    best = learning.ceilings(run)
    made = synthetic.make(tuple(clips.values()), 1.0, 0.0, True)
    np.testing.assert_array_equal(made.dataset["test"].targets, dataset["test"].targets)
    scores = synthetic.ceiling(made.factors["test"], ("language", "vision"), 1.0, 0.0)
    assert best["language and vision"] == pytest.approx(np.abs(scores - dataset["test"].targets).mean())
    assert best["all three"] == pytest.approx(best["language and vision"]), "the voice adds nothing at redundancy 1"
    assert learning.ceilings(make_result(TrainConfig(dataset="mosi-utterance"))) == {}


def test_every_row_that_has_a_style_is_one_of_the_grid():
    curves, hazumi = grids.load("curves").rows, grids.load("hazumi").rows
    assert [row for row in learning.STYLES if row not in hazumi] == [row for row in curves if row not in hazumi]
    assert set(learning.STYLES) <= {*curves, *hazumi} and set(curves) <= set(learning.STYLES)


def test_the_columns_of_real_clips_are_one_curve_that_ends_with_all_labels():
    grid = grids.load("hazumi")
    cells = [cell for cell in grid.cells("hazumi") if cell.row == "Ours"]
    table = tables.build(grid, "hazumi", frame.frame(result(cell.configs([0])[0], 0.5) for cell in cells), range(5))
    points = learning.points(table)
    assert set(points["setting"]) == {"hazumi"} and sorted(points["clips"]) == [SIZES["train"], 200, 1000]
    (panel,) = learning.learning_curves(table).axes
    assert panel.get_title() == "hazumi" and sorted(panel.get_xticks()) == [SIZES["train"], 200, 1000]
    assert not [line for line in panel.lines if "best possible" in str(line.get_label())], "no ceiling is known"
