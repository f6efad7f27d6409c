"""The results that come with the project: whole, of today's data, and one trained again."""

import dataclasses
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from ktbook import claims
from ktnet_lite.config import TrainConfig
from ktnet_lite.experiments import grids, result
from ktnet_lite.measures import metrics
from ktnet_lite.reporting import frame, tables
from ktnet_lite.training.dataset import load_dataset
from ktnet_lite.training.evaluation import evaluate
from ktnet_lite.training.loop import fit

PUBLISHED = result.published()
FOLDER = Path(__file__).resolve().parents[1] / "results"


@pytest.fixture(scope="module")
def results():
    """A row for each run: the tests without audio are in the results themselves."""
    rows = frame.load(PUBLISHED)
    return rows[rows["fill"] == ""]


def test_there_are_results_and_no_run_is_there_twice(results):
    assert PUBLISHED and all(path.is_relative_to(FOLDER) for path in PUBLISHED)
    assert results["path"].tolist() == PUBLISHED


def test_each_says_what_was_trained_on_what_and_where(results):
    for path, run in zip(results["path"], results["result"], strict=True):
        config = run.config
        assert (
            path.parent.name == config.dataset
            and path.name.startswith(f"{config.system}-")
            and run.system == str(config.system)
        )
        assert path.name.endswith(f"-seed{config.seed}.result.json")
        assert (config.out, config.teacher, config.data_from) == ("runs", "", ""), "no place of the machine it ran on"
        assert str(run.hardware) and run.libraries["torch"] and run.seconds >= 0
        longest = 1 if config.model in ("linear", "constant") else config.epochs
        assert len(run.curves) <= longest if config.patience else len(run.curves) == longest


@pytest.mark.slow
def test_metrics_are_those_of_the_predictions(results):
    """Of every system's first seed: the others are made by the same code."""
    for path, run in zip(results["path"], results["result"], strict=True):
        for system, (stored, scores) in run.tests.items() if run.seed == 0 else ():
            if run.dataset.task == "emotion":
                again = metrics.emotion_metrics(scores > 0.5, run.targets)
            else:
                again = metrics.sentiment_metrics(scores, run.targets)
            for name, value in again.values.items():  # scores are rounded to 4 digits: one clip may cross a border
                one_clip = (2 if name.startswith("f1") else 1.5) / len(scores)  # it moves F1 by recall and precision
                assert stored[name] == pytest.approx(value, abs=one_clip), (path, system, name)


@pytest.mark.slow
def test_synthetic_data_is_still_what_they_were_trained_on(results):
    """The smallest data set of each kind: the same parameters generate the same numbers, whatever the versions."""
    smallest = {}
    runs = results[results["data"] == "synthetic"][["path", "result"]].itertuples(index=False)
    for path, run in sorted(runs, key=lambda row: row.result.dataset.clips["train"]):
        kind = run.config.redundancy, run.config.audio_noise, run.config.aligned, run.config.task
        smallest.setdefault(kind, (path, run))
    assert len(smallest) > 10
    for path, run in smallest.values():
        dataset = load_dataset(run.config)
        assert dataset.checksum == run.dataset.checksum or _close(dataset, run), path


def _close(dataset, run) -> bool:
    """On a platform whose last digits differ: the same clips and labels."""
    test = dataset["test"]
    return list(test.ids) == run.predictions.ids and np.allclose(test.targets, run.targets, atol=1e-4)


@pytest.mark.slow
def test_a_cell_of_table_1_is_whole_and_comes_out_again(results):
    """Words alone, aligned, trained anew: within the range of the published seeds, widened by itself."""
    grid, place = grids.load("I"), ("Language only", "word aligned")
    published = tables.build(grid, "synthetic", results, range(5)).tests(*place)["mae"]
    assert len(published) == 5
    (cell,) = (cell for cell in grid.cells("synthetic") if (cell.row, cell.column) == place)
    (config,) = cell.configs([0], device="cpu")
    dataset = load_dataset(config)
    model = fit(config, dataset, progress=False).model
    spread = published.max() - published.min()
    assert published.min() - spread < evaluate(model, dataset["test"]).metrics["mae"] < published.max() + spread


GROWING = (
    "base",
    "curves",
    "transfer",
    "hazumi",
    "any",
    "doubt",
    "light",
)  # grids of which not every seed has been trained yet


def test_seeds_are_complete_or_those_of_a_grid_that_grows(results):
    """Five of everything that is published, or the first of them where a page says how many there are."""
    cells = defaultdict(set)
    for run in results["result"]:
        cells[TrainConfig.build(run.parameters | {"seed": 0}).key].add(run.seed)
    loaded = [grids.load(name) for name in GROWING]
    growing = {c.key for grid in loaded for data in grid.data for cell in grid.cells(data) for c in cell.configs([0])}
    table = grids.load("I")
    ours = [c for data in table.data for cell in table.cells(data) if cell.row == "Ours" for c in cell.configs([0])]
    growing |= {dataclasses.replace(c, **changes).key for c in ours for changes in claims.CONTROLS.values()}
    for key, seeds in cells.items():
        assert seeds == set(range(5 if key not in growing else len(seeds))), key
