"""Tables from result files alone: numbers, the paper's beside them, comparisons, verdicts, pages, pictures."""

import copy
import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import false_discovery_control

from ktnet_lite import __version__
from ktnet_lite.cli import main
from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import DataError
from ktnet_lite.experiments import grids
from ktnet_lite.experiments import result as results
from ktnet_lite.measures.metrics import sentiment_metrics
from ktnet_lite.measures.statistics import Interval
from ktnet_lite.reporting import markdown as pages
from ktnet_lite.reporting import report, tables
from ktnet_lite.reporting import reproduce as reproduction
from ktnet_lite.reporting.tables import Collection

CLIPS = 300
TARGETS = np.random.default_rng(0).uniform(-3, 3, CLIPS)
ERROR = {"L1": 0.9, "L2": 0.5}  # typical size of a row's error in the made results


def made(config: TrainConfig, error: float, targets=TARGETS) -> dict:
    """A result file as a run leaves it, its scores drawn around the targets."""
    rng = np.random.default_rng(config.seed)
    common, own = rng.normal(size=(2, len(targets)))
    scores = targets + error * (0.8 * common + 0.6 * own)
    return {
        "format": results.FORMAT,
        "system": config.system,
        "parameters": config.as_dict(),
        "dataset": {"name": config.dataset, "task": "sentiment", "checksum": "c" * 64, "clips": {}, "provenance": {}},
        "package": __version__,
        "libraries": {"torch": "2.13.0"},
        "hardware": {"device": "cpu", "gpu": None, "cpu": "x86_64", "cores": 2, "threads": 1},
        "seconds": 30.0,
        "model_parameters": 1000,
        "curves": [{"loss": 1.23456789, "seconds": 30.0}],
        "metrics": {"test": sentiment_metrics(scores, targets).values},
        "baselines": {},
        "predictions": {
            "ids": [f"clip{i}" for i in range(len(targets))],
            "targets": targets.tolist(),
            "scores": scores.tolist(),
        },
        "without_audio": {},
    }


@pytest.fixture
def paths(tmp_path):
    """Runs of Table V, on the paper's data and on synthetic, three seeds."""
    found, grid = [], grids.load("V")
    for data in ("CMU-MOSEI", "synthetic"):
        for cell in grid.cells(data):
            for config in cell.configs(range(3), out=str(tmp_path)):
                path = tmp_path / data / f"{cell.row}-{config.seed}" / "result.json"
                path.parent.mkdir(parents=True)
                results.save(path, made(config, ERROR[cell.row]))
                found.append(path)
    return found


def test_values_are_means_over_seeds_beside_the_papers(paths):
    ours, synthetic, *_ = reproduction.build(grids.load("V"), Collection(paths), seeds=3)
    place = "L2", "word aligned"
    value = ours.values[place]["mae"]
    measured = [run["metrics"]["test"]["mae"] for run in ours.runs[place]]
    assert value.interval.mean == pytest.approx(np.mean(measured)) and value.interval.runs == 3
    assert value.paper == 0.635 and value.difference == pytest.approx(value.interval.mean - 0.635)
    assert synthetic.values[place]["mae"].paper is None, "another data set's number is not the paper's"
    two = reproduction.build(grids.load("V"), Collection(paths), seeds=2)[0]
    assert two.values[place]["mae"].interval.runs == 2


@pytest.mark.parametrize(
    ("metric", "interval", "theirs", "verdict"),
    [
        ("mae", (0.6, 0.55, 0.64), 0.635, "level"),
        ("mae", (0.6, 0.58, 0.62), 0.635, "better"),
        ("mae", (0.7, 0.68, 0.72), 0.635, "worse"),
        ("acc7", (0.4, 0.39, 0.41), 0.511, "worse"),
        ("acc7", (0.6, 0.59, 0.61), 0.511, "better"),
        ("acc7", (0.6, None, None), 0.511, "one run"),
        ("acc7", (0.6, 0.59, 0.61), None, ""),
    ],
)
def test_verdict_on_a_number(metric, interval, theirs, verdict):
    assert tables.Value(Interval(*interval, 3), theirs).verdict(metric) == verdict


def test_comparisons_are_paired_and_corrected(paths):
    ours, synthetic, *_ = reproduction.build(grids.load("V"), Collection(paths), seeds=3)
    assert [(found.ours, found.other, found.metric) for found in ours.comparisons] == [
        ("L2", "L1", "mae"),
        ("L2", "L1", "acc2_nonzero"),
    ]
    mae = ours.comparisons[0]
    errors = [
        np.mean([np.abs(np.array(run["predictions"]["scores"]) - TARGETS).mean() for run in ours.runs[row, mae.column]])
        for row in ("L2", "L1")
    ]
    assert mae.difference.mean == pytest.approx(errors[0] - errors[1])
    raw = [found.difference.p for found in ours.comparisons]
    assert [found.p for found in ours.comparisons] == pytest.approx(false_discovery_control(raw).tolist())
    assert mae.paper == pytest.approx(0.635 - 0.639) and mae.verdict == "holds"
    assert synthetic.comparisons[0].paper == mae.paper, "a claim's sign can be looked at on other data"


@pytest.mark.parametrize(
    ("metric", "mean", "p", "theirs", "verdict"),
    [
        ("mae", -0.1, 0.2, -0.004, "not shown"),
        ("mae", -0.1, 0.001, -0.004, "holds"),
        ("mae", 0.1, 0.001, -0.004, "reversed"),
        ("acc2_nonzero", 0.1, 0.001, 0.003, "holds"),
        ("mae", -0.1, 0.001, None, "better"),
        ("acc2_nonzero", -0.1, 0.001, None, "worse"),
        ("mae", -0.1, 0.001, 0.0, "better"),
    ],
)
def test_verdict_on_a_comparison(metric, mean, p, theirs, verdict):
    difference = tables.Difference(mean, mean - 0.01, mean + 0.01, 5, p)
    assert tables.Comparison("c", "a", "b", metric, difference, p, theirs).verdict == verdict


def test_the_page_says_what_is_there_and_how_to_get_the_rest(paths, monkeypatch):
    built = reproduction.build(
        grids.load("V"), Collection(path for path in paths if "CMU-MOSEI" not in str(path)), seeds=3
    )
    page = pages.page(built)
    assert "needs mosei (0.635)" in page, "the paper's number stands there all the same"
    assert (
        "needs mosei: get it by `ktnet-lite data fetch mosei --from FOLDER`, then `ktnet-lite reproduce table_5" in page
    )
    assert "needs mosi-words: get it by `ktnet-lite data fetch mosi-words`, then" in page
    synthetic = page[page.index("## On synthetic") : page.index("## On mosi-utterance")]
    value = built[1].values["L2", "word aligned"]["mae"].interval
    assert str(value) in synthetic and "needs" not in synthetic and "6 runs on x86_64 CPU" in synthetic
    assert f"ktnet-lite {__version__}, torch 2.13.0; data cccccccccccc; median training 30 s, all 3 min" in synthetic
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert all(row.count("|") in (8, 9) for row in rows)  # five metrics and runs, or a comparison


def test_results_of_different_clips_or_data_are_no_table(paths):
    result = json.loads(paths[-1].read_text())
    other = copy.deepcopy(result)
    other["predictions"]["ids"][0] = "another"
    results.save(paths[-1], other)
    with pytest.raises(DataError, match="different test clips"):
        reproduction.build(grids.load("V"), Collection(paths), seeds=3)
    other = copy.deepcopy(result)
    other["dataset"]["checksum"] = "d" * 64
    twin = paths[-1].parent.with_name("twin") / "result.json"
    twin.parent.mkdir()
    results.save(paths[-1], result)
    results.save(twin, other)
    with pytest.raises(DataError, match="are of one training, but on different data"):
        reproduction.build(grids.load("V"), Collection([*paths, twin]), seeds=3)


def test_of_two_versions_this_one_is_taken(paths):
    other = json.loads(paths[0].read_text())
    other["package"], other["metrics"]["test"]["mae"] = "0.0.1", 99.0
    old = paths[0].parent.with_name("old") / "result.json"
    old.parent.mkdir()
    results.save(old, other)
    for order in ([old, *paths], [*paths, old]):
        table, *_ = reproduction.build(grids.load("V"), Collection(order), seeds=3)
        assert table.values["L1", "word aligned"]["mae"].interval.mean < 1


def test_a_published_result_is_small_and_says_the_same(paths, tmp_path):
    path = results.publish(paths[0], tmp_path / "shipped")
    assert path == tmp_path / "shipped" / "CMU-MOSEI" / "L1-0.result.json"
    assert path.stat().st_size < 0.6 * paths[0].stat().st_size
    published, original = results.load(path), results.load(paths[0])
    places = {"out", "teacher", "data_from"}
    assert {k: v for k, v in published["parameters"].items() if k not in places} == {
        k: v for k, v in original["parameters"].items() if k not in places
    }
    assert str(tmp_path) not in path.read_text(encoding="utf-8"), "nothing of where it lay"
    assert published["predictions"]["ids"] == original["predictions"]["ids"]
    np.testing.assert_allclose(published["predictions"]["scores"], original["predictions"]["scores"], atol=5e-5)
    assert published["metrics"] == original["metrics"]
    assert Collection([path]).found.keys() == Collection([paths[0]]).found.keys()
    damaged = path.read_text(encoding="utf-8").replace('"predictions": "', '"predictions": "!')
    path.write_text(damaged, encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read as a result file"):
        results.load(path)


def test_the_report_command(paths, tmp_path):
    shown = CliRunner().invoke(main, ["report", "V", "--results", str(tmp_path), "--seeds", "3"])
    assert shown.exit_code == 0 and shown.output.startswith("# Table V"), shown.output
    folder = tmp_path / "pages"
    done = CliRunner().invoke(main, ["report", "V", "--results", str(tmp_path), "--to", str(folder), "--seeds", "3"])
    assert done.exit_code == 0, done.output
    assert {path.name for path in folder.iterdir()} == {
        "table_5.md",
        "table_5-CMU-MOSEI-word-aligned.png",
        "table_5-synthetic-word-aligned.png",
    }
    assert (folder / "table_5.md").read_text(encoding="utf-8").strip() == shown.output.strip()
    nothing = CliRunner().invoke(main, ["report", "--results", str(tmp_path / "empty")])
    assert nothing.exit_code == 1 and "make some by ktnet-lite reproduce" in nothing.output


def test_two_result_files_are_compared_metric_by_metric_and_clip_by_clip(paths):
    first, second = (results.load(path) for path in (paths[0], paths[3]))
    text = report.compare(first, second, clips=3)
    gap = first["metrics"]["test"]["mae"] - second["metrics"]["test"]["mae"]
    assert f"{gap:+.3f} [" in text and "Acc7" in text
    errors = [np.abs(np.array(result["predictions"]["scores"]) - TARGETS) for result in (first, second)]
    widest = np.argsort(-np.abs(errors[0] - errors[1]))[:3]
    shown = text[text.index("differ most") :].splitlines()[2:]
    assert [line.split()[0] for line in shown] == [f"clip{i}" for i in widest]
    done = CliRunner().invoke(main, ["compare", str(paths[0]), str(paths[3]), "--clips", "3"])
    assert done.exit_code == 0 and done.output.rstrip() == text
    none = CliRunner().invoke(main, ["compare", str(paths[0]), str(paths[0].with_name("gone.json"))])
    assert none.exit_code == 1 and "cannot be read as a result file" in none.output
