"""The results that come with the project: whole, of today's data, and one trained again."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ktnet_lite.config import TrainConfig
from ktnet_lite.experiments import grids
from ktnet_lite.experiments import result as results
from ktnet_lite.measures import metrics
from ktnet_lite.reporting.tables import Collection
from ktnet_lite.training import build
from ktnet_lite.training.evaluation import evaluate
from ktnet_lite.training.loop import fit

PUBLISHED = results.published()
FOLDER = Path(__file__).resolve().parents[1] / "results"


@pytest.fixture(scope="module")
def found():
    return [(path, results.load(path)) for path in PUBLISHED]


def test_there_are_results():
    assert PUBLISHED and all(path.is_relative_to(FOLDER) for path in PUBLISHED)


def test_each_says_what_was_trained_on_what_and_where(found):
    for path, result in found:
        config = TrainConfig.build(result["parameters"])
        assert path.parent.name == config.dataset and path.name.startswith(f"{config.system}-")
        assert path.name.endswith(f"-seed{config.seed}.result.json")
        assert (config.out, config.teacher, config.data_from) == ("runs", "", ""), "no place of the machine it ran on"
        assert result["hardware"]["cpu"] and result["libraries"]["torch"] and result["seconds"] >= 0
        assert len(result["curves"]) == (1 if config.model in ("linear", "constant") else config.epochs)


def test_metrics_are_those_of_the_predictions(found):
    for path, result in found:
        scores, targets = (np.array(result["predictions"][name]) for name in ("scores", "targets"))
        emotion = result["dataset"]["task"] == "emotion"
        again = (
            metrics.emotion_metrics(scores > 0.5, targets) if emotion else metrics.sentiment_metrics(scores, targets)
        )
        for name, value in again.values.items():  # scores are rounded to 4 digits: one clip may cross a border
            stored = result["metrics"]["test"][name]
            one_clip = (2 if name.startswith("f1") else 1.5) / len(targets)  # it moves F1 by recall and precision
            assert stored == pytest.approx(value, abs=one_clip), (path, name)


def test_synthetic_data_is_still_what_they_were_trained_on(found):
    """One check a data set: the same knobs make the same numbers, whatever the versions."""
    seen = {}
    for path, result in found:
        config = TrainConfig.build(result["parameters"])
        if config.dataset == "synthetic":
            seen.setdefault(result["dataset"]["checksum"], (path, config))
    assert seen
    for checksum, (path, config) in seen.items():
        dataset = build.load_dataset(config)
        assert dataset.checksum == checksum or _close(dataset, path), path


def _close(dataset, path) -> bool:
    """On a platform whose last digits differ: the same clips and labels."""
    test = results.load(path)["predictions"]
    return list(dataset["test"].ids) == test["ids"] and np.allclose(dataset["test"].targets, test["targets"], atol=1e-4)


def test_a_cell_of_table_1_is_whole_and_comes_out_again():
    """Words alone, aligned, trained anew: within the range of the published seeds, widened by itself."""
    grid = grids.load("I")
    (cell,) = (cell for cell in grid.cells("synthetic") if (cell.row, cell.column) == ("Language only", "word aligned"))
    published = [run["metrics"]["test"]["mae"] for run in Collection(PUBLISHED).of(cell, range(5))]
    assert len(published) == 5
    (config,) = cell.configs([0], device="cpu")
    dataset = build.load_dataset(config)
    model = fit(config, dataset, progress=False).model
    mae = evaluate(model, dataset["test"], config.task_loss).metrics["mae"]
    spread = max(published) - min(published)
    assert min(published) - spread < mae < max(published) + spread


def test_seeds_are_complete_or_absent(found):
    """No cell stands on fewer seeds than its neighbours: five, of everything that is published."""
    cells = Counter(path.name.rsplit("-seed", 1)[0] for path, _ in found)
    assert set(cells.values()) == {5}, [name for name, runs in cells.items() if runs != 5]
