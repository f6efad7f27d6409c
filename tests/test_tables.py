"""Results in files, in frames, in comparisons and in tables: numbers, the paper's beside them, verdicts, pages."""

import base64
import itertools
import json
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import false_discovery_control

from ktnet_lite import __version__
from ktnet_lite.cli import main
from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import DataError
from ktnet_lite.experiments import grids, result
from ktnet_lite.measures.metrics import OF_TASK
from ktnet_lite.measures.statistics import Difference, Interval, mean_interval, paired_difference
from ktnet_lite.names import System
from ktnet_lite.reporting import compare, frame, markdown, reproduce, tables
from ktnet_lite.reporting.plots import COLOURS
from made import make_result

ERROR = {"L1": 0.9, "L2": 0.5}  # typical error of a row of Table V
CLIPS = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Runs of Table V on the paper's data and on synthetic, three seeds."""
    folder, grid = tmp_path_factory.mktemp("runs"), grids.load("V")
    for data in ("CMU-MOSEI", "synthetic"):
        for cell in grid.cells(data):
            for config in cell.configs(range(3), out=str(folder)):
                made = make_result(config, ERROR[cell.row], clips=CLIPS)
                made.save(folder / data / f"{cell.row}-{config.seed}" / "result.json")
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return frame.load(result.find([folder]))


def table_5(results, seeds=3) -> list[tables.Table]:
    return reproduce.build(grids.load("V"), results, seeds)


def packed(content: bytes) -> str:
    """A compressed part of a published file."""
    return base64.b64encode(zlib.compress(content)).decode()


def edited(path: Path, **changes) -> Path:
    """Change fields of a result file, whatever they hold."""
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | changes), encoding="utf-8")
    return path


# A result file


def test_a_result_comes_back_from_its_file_as_it_was(tmp_path):
    made = make_result(TrainConfig(variant="full", seed=2), without_audio={"zero": 0.8})
    made.save(tmp_path / "new" / "result.json")
    loaded = result.load(tmp_path / "new" / "result.json")
    assert loaded == made
    assert (loaded.config, loaded.seed, loaded.key) == (made.config, 2, TrainConfig(variant="full", seed=2).key)
    assert loaded.scores.tolist() == made.predictions.scores and loaded.targets.shape == (50,)
    assert list(loaded.tests) == [System("ktnet", "full"), System("ktnet", "full", "zero")]
    metrics, scores = loaded.tests[System("ktnet", "full", "zero")]
    assert metrics == made.without_audio["zero"].metrics and scores.tolist() == made.without_audio["zero"].scores
    emotions = make_result(TrainConfig(task="emotion"))
    emotions.save(tmp_path / "emotions.json")
    assert result.load(tmp_path / "emotions.json") == emotions and emotions.scores.shape == (50, 4)


def test_the_machine_in_words():
    made = make_result(TrainConfig())
    assert str(made.hardware) == "x86_64 CPU, 1 of 2 cores"
    assert str(msgspec.structs.replace(made.hardware, device="cuda", gpu="H100")) == "H100"


def test_nan_is_refused_and_leaves_no_file(tmp_path):
    made = make_result(TrainConfig(), seconds=float("nan"))
    with pytest.raises(ValueError, match="not JSON compliant"):
        made.save(tmp_path / "result.json")
    assert not any(tmp_path.iterdir())


def test_a_result_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    made = make_result(TrainConfig())
    with pytest.raises(DataError, match=r"cannot write .*result\.json: .*file is a file; choose another folder"):
        made.save(tmp_path / "file" / "result.json")
    with pytest.raises(DataError, match="file is a file; choose another folder"):
        made.publish(tmp_path / "runs" / "run", tmp_path / "file")


def test_a_failed_write_keeps_the_previous_result(tmp_path, monkeypatch):
    path, first = tmp_path / "result.json", make_result(TrainConfig())
    first.save(path)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match="No space left on device"):
        make_result(TrainConfig(seed=1)).save(path)
    assert result.load(path) == first and [file.name for file in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": "long"}, "seconds"),
        ({"best_epoch": 1.5}, "best_epoch"),
        ({"metrics": {"test": {"mae": "low"}}}, "metrics"),
        ({"hardware": {"device": "cpu"}}, "hardware"),
        ({"predictions": {"ids": [1], "targets": [0.0], "scores": [0.0]}}, r"predictions\.ids"),
        ({"without_audio": {"silence": {}}}, "without_audio"),
        ({"dataset": {"name": "d", "task": "speech", "checksum": "", "clips": {}, "provenance": {}}}, r"dataset\.task"),
        ({"parameters": {"epochs": 0}}, "epochs = 0 is outside"),
        ({"parameters": {"width": 40}}, "unknown parameter 'width'"),
        ({"format": 99}, "is not a result file of ktnet-lite, format 3"),
        ({"predictions": "!"}, "cannot be read as a result file"),
        ({"predictions": packed(b'{"ids": ')}, "cannot be read as a result file"),
        ({"predictions": packed(b"")[:-8]}, "a compressed part is torn"),
        ({"curves": packed(b" " * 10**8)}, "a compressed part is torn, or larger than 16,777,216 bytes"),
        ({"curves": packed(b"[" * 10**6)}, "it is nested too deep"),
        ({"seconds": -1}, r"Expected `float` >= 0.* - at `\$\.seconds`"),
        ({"model_parameters": 10**400}, r"Expected `int` <= .* - at `\$\.model_parameters`|out of range"),
        ({"note": "mine"}, "unknown field `note`"),
        ({"system": "mult"}, "system: 'mult', but the parameters describe 'ours'"),
        ({"libraries": {}}, "libraries: the version of torch is missing"),
        ({"curves": []}, r"Expected `array` of length >= 1 - at `\$\.curves`"),
        ({"curves": [{"loss": 1.0}]}, "curves: the epochs differ in their terms, or lack seconds"),
        ({"curves": [{"loss": 1.0, "seconds": 1.0}, {"seconds": 1.0}]}, "curves: the epochs differ in their terms"),
        ({"curves": [{"seconds": 1.0}] * 41}, "best_epoch: 0 of 41 epochs, where 40 were asked for"),
        ({"best_epoch": 1}, "best_epoch: 1 of 1 epochs"),
        ({"metrics": {}}, "metrics or baselines: those of valid or test are missing"),
        ({"baselines": {}}, "metrics or baselines: those of valid or test are missing"),
        ({"baselines": {"zero": {"mae": 1.0}}}, r"baselines\.zero: acc2_has_zero is missing"),
        ({"metrics": {"valid": {}, "test": {}}}, r"metrics\.test: acc2_has_zero is missing"),
        ({"predictions": {"ids": [], "targets": [], "scores": []}}, r"length >= 1 - at `\$\.predictions\.ids`"),
        (
            {"predictions": {"ids": ["a"], "targets": [0], "scores": [0]}},
            r"dataset\.clips\.test: 50, but there are 1 ids",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_file(changes, message, tmp_path):
    make_result(TrainConfig()).save(tmp_path / "result.json")
    edited(tmp_path / "result.json", **changes)
    with pytest.raises(DataError, match=message) as error:
        result.load(tmp_path / "result.json")
    assert str(tmp_path / "result.json") in str(error.value)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("predictions/ids/0", "clip1", "predictions.ids: two clips have the same id"),
        ("predictions/ids/0", "\ud800", "cannot be read as a result file"),
        ("predictions/targets/0", [0.0] * 4, "predictions.targets: not all are of the task 'sentiment'"),
        ("predictions/targets/0", [0.0], "length >= 4"),
        ("predictions/scores", [0.0], "predictions.scores: 1 values for 50 clips"),
        ("predictions/scores/3", float("nan"), "cannot be read as a result file"),
        ("predictions/scores/3", 10**400, "out of range"),
        ("without_audio/zero/scores", [], r"without_audio\.zero\.scores: 0 values for 50 clips"),
        ("without_audio/zero/metrics", {}, r"without_audio\.zero\.metrics: acc2_has_zero is missing"),
        ("metrics/test/loss", 1.0, r"metrics\.test: 'loss' is not a metric"),
        ("dataset/task", "emotion", "are of the task 'emotion'|is missing"),
        ("dataset/clips/test", True, r"Expected `int`, got `bool` - at `\$\.dataset\.clips"),
        ("parameters/epochs", [[[]]], r"epochs = \[\[\[\]\]\] is list, expected int"),
    ],
)
def test_what_contradicts_the_rest_of_a_result_is_named(place, value, message, tmp_path):
    path = tmp_path / "result.json"
    make_result(TrainConfig(variant="full"), without_audio={"zero": 0.8}).save(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    *parents, last = [int(key) if key.isdigit() else key for key in place.split("/")]
    part = content
    for key in parents:
        part = part[key]
    part[last] = value
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=rf"result\.json.*({message})"):
        result.load(path)


def test_the_metrics_of_a_task_are_those_that_are_computed():
    assert make_result(TrainConfig()).metrics["test"].keys() == OF_TASK["sentiment"]
    assert make_result(TrainConfig(task="emotion")).metrics["test"].keys() == OF_TASK["emotion"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "it is a pointer of Git LFS"),
        (b"<!DOCTYPE html>", "it is a web page"),
        (b"", "it is an empty file"),
        (b"\x00\x05\x16\x07\x00", "it is a companion file of macOS"),
        (b'{"curves": ' + b"[" * 10**6, "it is nested too deep"),
        (b"\xff\xfe{", "cannot be read as a result file"),
    ],
)
def test_what_a_wrong_file_is_instead_is_said(content, what, tmp_path):
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(DataError, match=rf"result\.json.*{what}"):
        result.load(tmp_path / "result.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(DataError, match=r"folder\.json: cannot be read as a result file"):
        result.load(tmp_path / "folder.json")


@pytest.mark.parametrize("text", ["", "[1]", "{", "null"])
def test_another_file_is_not_a_result_file(text, tmp_path):
    (tmp_path / "result.json").write_text(text, encoding="utf-8")
    for name in ("result.json", "absent.json"):
        with pytest.raises(DataError, match=f"{name}.* result file"):
            result.load(tmp_path / name)


def test_a_published_result_is_small_and_has_the_same_content(tmp_path):
    run = tmp_path / "runs" / "synthetic" / "full-1-seed0"
    places = {"out": str(tmp_path), "data_from": str(tmp_path), "device": "cpu"}
    made = make_result(TrainConfig(variant="full", **places), clips=CLIPS, without_audio={"mean": 0.8})
    before = msgspec.to_builtins(made)
    made.save(run / "result.json")
    path = made.publish(run, tmp_path / "shared")
    assert path == tmp_path / "shared" / "synthetic" / "full-1-seed0.result.json"
    assert path.stat().st_size < 0.6 * (run / "result.json").stat().st_size
    assert str(tmp_path) not in path.read_text(encoding="utf-8"), "no place of this machine"
    assert msgspec.to_builtins(made) == before
    published = result.load(path)
    assert published.config == TrainConfig(variant="full", device="cpu") and published.key == made.key
    assert (published.metrics, published.targets.tolist()) == (made.metrics, made.targets.tolist())
    assert published.predictions.ids == made.predictions.ids
    for system, (metrics, scores) in published.tests.items():
        assert metrics == made.tests[system][0]
        np.testing.assert_allclose(scores, made.tests[system][1], atol=5e-5)
    assert published.curves == [{"loss": 1.23457, "seconds": 30.0}]
    assert set(result.find([tmp_path])) == {path, run / "result.json"}


# A frame of results


def test_a_frame_has_a_row_for_each_test_of_a_run():
    runs = [
        make_result(TrainConfig(variant="full"), 0.1, without_audio={"zero": 0.8, "mean": 0.9}),
        make_result(TrainConfig(variant="ours", seed=1), 0.2),
    ]
    rows = frame.frame(runs)
    assert list(rows["label"]) == ["full", "full, audio = 0", "full, audio = mean", "ours"]
    assert list(rows["fill"]) == ["", "zero", "mean", ""] and list(rows["seed"]) == [0, 0, 0, 1]
    assert list(rows["system"])[1:3] == [System("ktnet", "full", "zero"), System("ktnet", "full", "mean")]
    assert rows["key"].nunique() == 2 and rows["key"].iloc[3] == runs[1].key
    assert rows["mae"].tolist() == pytest.approx([np.abs(scores - runs[0].targets).mean() for scores in rows["scores"]])
    assert frame.frame([]).columns.tolist() == list(frame.COLUMNS)


def test_an_undefined_metric_is_nan_in_a_frame_and_a_dash_in_a_table():
    made = make_result(TrainConfig(variant="full"))
    constant = msgspec.structs.replace(made, metrics={"test": made.metrics["test"] | {"corr": None}})
    rows = frame.comparable([constant, make_result(TrainConfig(variant="vision"))])
    assert rows["corr"].isna().tolist() == [True, False]
    assert [str(system) for system in compare.intervals(rows, "corr")] == ["vision"]
    lines = {line.split()[0]: line.split() for line in compare.table(rows).splitlines()[1:]}
    assert lines["full"][-2] == "-" and lines["vision"][-2] != "-"


def test_of_two_versions_this_one_is_taken(folder, tmp_path):
    path = folder / "CMU-MOSEI" / "L1-0" / "result.json"
    now = result.load(path)
    bad = now.metrics | {"test": now.metrics["test"] | {"mae": 99.0}}
    old = tmp_path / "result.json"
    msgspec.structs.replace(now, package="0.0.1", metrics=bad).save(old)
    for order in ([old, path], [path, old], [path, old, path]):
        rows = frame.load(order)
        assert len(rows) == 1 and rows["package"].item() == __version__ and rows["path"].item() == path
    assert frame.load([old])["mae"].item() == 99.0


def test_of_two_versions_a_run_is_taken_whole(tmp_path):
    config = TrainConfig(variant="full")
    make_result(config, package="0.0.1", without_audio={"mean": 0.9}).save(tmp_path / "a" / "result.json")
    make_result(config, without_audio={"zero": 0.9}).save(tmp_path / "b" / "result.json")
    assert list(frame.load(result.find([tmp_path]))["fill"]) == ["", "zero"]


def test_results_of_the_same_run_on_different_data_are_refused(tmp_path):
    for name in "ab":
        made = make_result(TrainConfig())
        dataset = msgspec.structs.replace(made.dataset, checksum=name * 64)
        msgspec.structs.replace(made, dataset=dataset).save(tmp_path / name / "result.json")
    with pytest.raises(
        DataError, match=r"a.result\.json and .*b.result\.json are results of the same run on different"
    ):
        frame.load(result.find([tmp_path]))


def test_results_of_different_data_or_clips_are_not_comparable():
    ours, full = make_result(TrainConfig()), make_result(TrainConfig(variant="full"))
    data = msgspec.structs.replace(full.dataset, checksum="d" * 64)
    with pytest.raises(DataError, match="different data sets"):
        frame.comparable([ours, msgspec.structs.replace(full, dataset=data)])
    for changes in ({"ids": ["another", *full.predictions.ids[1:]]}, {"targets": [9.0, *full.predictions.targets[1:]]}):
        clips = msgspec.structs.replace(full.predictions, **changes)
        with pytest.raises(DataError, match="different clips in test"):
            frame.comparable([ours, msgspec.structs.replace(full, predictions=clips)])


def test_a_bad_file_among_many_is_named_and_passed_over(folder, tmp_path):
    sound = result.find([folder])
    for name, content in (("bad", "{}"), ("torn", sound[0].read_text(encoding="utf-8")[:900])):
        (tmp_path / f"{name}.result.json").write_text(content, encoding="utf-8")
    bad = result.find([tmp_path])
    with pytest.warns(UserWarning, match=r"torn\.result\.json: cannot be read .*; it is passed over") as noted:
        assert frame.load([bad[0], *sound, bad[1]])["path"].tolist() == sound
    assert len(noted) == 2
    with (
        pytest.raises(DataError, match=r"bad\.result\.json is not a result file"),
        pytest.warns(UserWarning, match="passed over"),
    ):
        frame.load(bad)
    arguments = ["report", "V", "--seeds", "3", "--results", str(folder)]
    alone, beside = (CliRunner().invoke(main, [*arguments, *more]) for more in ([], ["--results", str(tmp_path)]))
    assert beside.exit_code == 0 and beside.stdout == alone.stdout
    assert f"Note: {bad[0]} is not a result file of ktnet-lite, format 3; it is passed over" in beside.stderr
    one = CliRunner().invoke(main, ["compare", str(sound[0]), str(bad[1])])
    assert one.exit_code == 1 and f"Error: {bad[1]}: cannot be read as a result file" in one.output


# Comparisons


def test_every_way_to_do_without_audio_is_a_row_below_its_system():
    runs = [
        make_result(TrainConfig(model="mult"), 0.1),
        make_result(TrainConfig(), 0.2),
        make_result(TrainConfig(variant="full"), 0.1, without_audio={"mean": 0.9, "zero": 0.8}),
    ]
    rows = frame.comparable(runs)
    assert list(rows["label"]) == ["full", "full, audio = 0", "full, audio = mean", "ours", "mult"]
    lines = compare.table(rows).splitlines()
    assert lines[0].endswith("parameters") and lines[1].endswith("1,234") and lines[2].startswith("full, audio = 0 ")
    assert lines[6].startswith("training median") and len(lines) == 9
    mean = compare.intervals(rows, "mae")[System("ktnet", "full", "mean")].mean
    assert mean == runs[2].without_audio["mean"].metrics["mae"]
    assert [sentence.split(":")[0] for sentence in compare.differences(rows)] == [
        f"ours against {other}" for other in ("full", "full, audio = 0", "full, audio = mean")
    ]


def test_differences_pair_seeds_and_tell_chance_from_difference():
    sizes = {"ours": 0.2, "language_vision": 1.0, "full": 0.2}
    runs = [make_result(TrainConfig(variant=v, seed=s), e) for s in range(3) for v, e in sizes.items()]
    better, same = compare.differences(frame.comparable(runs))
    assert better.startswith("ours against language_vision: MAE -0.") and better.endswith("3 seeds, 50 clips): better")
    assert same.startswith("ours against full: MAE ") and same.endswith("3 seeds, 50 clips): no difference detected")
    for sentence in compare.differences(frame.comparable(runs[:3])):
        assert "1 seed, 50 clips" in sentence
        assert sentence.endswith("each side is a single run, and other seeds may differ")
    mean, low, high, count = compare.intervals(frame.comparable(runs), "mae")[System("ktnet", "language_vision")]
    assert low < mean < high and count == 3


def test_emotions_are_compared_by_their_own_metrics():
    runs = [make_result(TrainConfig(task="emotion", variant=v), e) for v, e in (("ours", 0.2), ("full", 2.0))]
    rows = frame.comparable(runs)
    assert compare.table(rows).splitlines()[0].split("  ")[-1].strip() == "parameters"
    assert "Acc (mean)" in compare.table(rows) and "majority label" in compare.table(rows)
    (sentence,) = compare.differences(rows)
    assert sentence.startswith("ours against full: Acc (mean) +0.") and ": better" in sentence
    shown = compare.compare(*runs, clips=2)
    assert "Acc (mean)" in shown and shown.splitlines()[-1].count("[") == 3


def test_pairs_are_the_seeds_that_both_have_in_whatever_order():
    def rows(variant, seeds, error):
        return frame.frame(make_result(TrainConfig(variant=variant, seed=seed), error) for seed in seeds)

    ours, full = rows("ours", (2, 0, 1), 0.2), rows("full", (1, 4, 2), 0.9)
    found = compare.paired(ours, full)["mae"]
    scores = [
        [make_result(TrainConfig(variant=v, seed=s), e).scores for s in (1, 2)]
        for v, e in (("ours", 0.2), ("full", 0.9))
    ]
    expected = paired_difference("mae", *np.array(scores), make_result(TrainConfig()).targets)
    assert found == expected and found.runs == 2
    assert compare.paired(ours, rows("full", (7,), 0.9)) == compare.paired(ours.iloc[:0], full) == {}


def test_two_results_are_compared_metric_by_metric_and_clip_by_clip(folder):
    paths = [folder / "CMU-MOSEI" / row / "result.json" for row in ("L1-0", "L2-0")]
    first, second = map(result.load, paths)
    shown = compare.compare(first, second, clips=3)
    gap = first.metrics["test"]["mae"] - second.metrics["test"]["mae"]
    assert f"{gap:+.3f} [" in shown and "Acc7" in shown and "A: ours, seed 0" in shown
    widest = np.argsort(-np.abs(np.abs(first.scores - first.targets) - np.abs(second.scores - second.targets)))[:3]
    listed = shown[shown.index("differ most") :].splitlines()[2:]
    assert [line.split()[0] for line in listed] == [f"clip{i}" for i in widest]
    assert "differ most" not in compare.compare(first, second, clips=0)
    done = CliRunner().invoke(main, ["compare", *map(str, paths), "--clips", "3"])
    assert done.exit_code == 0 and done.output.rstrip() == shown
    none = CliRunner().invoke(main, ["compare", str(paths[0]), str(paths[0].with_name("gone.json"))])
    assert none.exit_code == 1 and "cannot be read as a result file" in none.output


@pytest.mark.parametrize(
    ("metric", "mean", "p", "printed", "verdict"),
    [
        ("mae", -0.1, 0.2, -0.004, "no difference detected"),
        ("mae", -0.1, 0.05, -0.004, "no difference detected"),
        ("mae", -0.1, 0.001, -0.004, "same sign as the paper"),
        ("mae", 0.1, 0.001, -0.004, "opposite sign"),
        ("acc2_nonzero", 0.1, 0.001, 0.003, "same sign as the paper"),
        ("mae", -0.1, 0.001, None, "better"),
        ("acc2_nonzero", -0.1, 0.001, None, "worse"),
        ("mae", -0.1, 0.001, 0.0, "better"),
    ],
)
def test_verdict_on_a_comparison(metric, mean, p, printed, verdict):
    difference = Difference(mean, mean - 0.01, mean + 0.01, 5, p)
    comparison = compare.Comparison("c", "a", "b", metric, difference, p, printed)
    assert comparison.verdict == verdict and comparison.detected == (p < 0.05)


# Tables


def test_values_are_means_over_seeds_beside_the_papers(results):
    ours, synthetic, *_ = table_5(results)
    place = "L2", "word aligned"
    value = ours.values[place]["mae"]
    measured = [run.metrics["test"]["mae"] for run in ours.results(*place)]
    assert value.interval == mean_interval(measured) and value.interval.runs == 3
    assert value.paper == 0.635 and value.difference == pytest.approx(value.interval.mean - 0.635)
    assert synthetic.values[place]["mae"].paper is None, "another data set's number is not the paper's"
    two, *_ = table_5(results, seeds=2)
    assert two.values[place]["mae"].interval.runs == 2


def test_a_table_gives_its_runs_by_cell_and_seed(results):
    shuffled = results.sample(frac=1, random_state=0)
    ours, *_ = table_5(shuffled)
    cells = list(itertools.product(("L1", "L2"), ("word aligned",)))
    assert ours.columns == ["word aligned"] and set(ours.needs) == set(cells) == set(ours.values)
    for row, column in cells:
        assert [run.seed for run in ours.results(row, column)] == [0, 1, 2]
        assert {run.config.consistency for run in ours.results(row, column)} == {row.lower()}
    assert len(ours.results(column="word aligned")) == len(ours.results()) == 6 == len(ours.runs)
    assert ours.missing == {}
    *_, last = table_5(results)
    assert last.missing == last.needs and last.results() == [] and last.values.keys() == last.needs.keys()


def test_a_table_gives_the_tests_without_audio_apart(tmp_path):
    grid = grids.load("I")
    (cell,) = (
        c
        for c in grid.cells("synthetic")
        if c.configs([0])[0].system == System("ktnet", "full") and c.column == "word aligned"
    )
    made = [make_result(config, 0.1, without_audio={"zero": 0.8}) for config in cell.configs([0, 1])]
    table = tables.build(grid, "synthetic", frame.frame(made), range(2))
    place = cell.row, cell.column
    assert table.tests(*place, "zero")["mae"].tolist() == [run.without_audio["zero"].metrics["mae"] for run in made]
    assert table.tests(*place)["mae"].tolist() == [run.metrics["test"]["mae"] for run in made]
    assert table.tests(*place, "mean").empty
    assert table.values[place]["mae"].interval.runs == 2, "the tests without audio are no runs"


@pytest.mark.parametrize(
    ("metric", "interval", "printed", "verdict"),
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
def test_verdict_on_a_number(metric, interval, printed, verdict):
    assert tables.Value(Interval(*interval, 3), printed).verdict(metric) == verdict


def test_comparisons_are_paired_and_corrected(results):
    ours, synthetic, *_ = table_5(results)
    assert [(found.ours, found.other, found.metric) for found in ours.comparisons] == [
        ("L2", "L1", "mae"),
        ("L2", "L1", "acc2_nonzero"),
    ]
    mae = ours.comparisons[0]
    errors = [
        np.mean([np.abs(run.scores - run.targets).mean() for run in ours.results(row, mae.column)]) for row in ERROR
    ]
    assert mae.difference.mean == pytest.approx(errors[1] - errors[0])
    raw = [found.difference.p for found in ours.comparisons]
    assert [found.p for found in ours.comparisons] == pytest.approx(false_discovery_control(raw).tolist())
    assert mae.paper == pytest.approx(0.635 - 0.639) and mae.verdict == "same sign as the paper"
    assert synthetic.comparisons[0].paper == mae.paper, "the sign of a claim is compared on other data too"


def test_rows_on_different_test_clips_are_not_compared(folder):
    runs = [result.load(path) for path in result.find([folder])]
    other = msgspec.structs.replace(runs[-1].predictions, ids=["another", *runs[-1].predictions.ids[1:]])
    changed, paths = [*runs[:-1], msgspec.structs.replace(runs[-1], predictions=other)], result.find([folder])
    with pytest.raises(DataError, match=r"different test clips \(.*L\d-\d.*result\.json and .*\); remove one of them"):
        table_5(frame.frame(changed, paths))


# Pages


def test_the_page_shows_what_is_here_and_how_to_get_the_rest(results):
    built = table_5(results[results["data"] == "synthetic"])
    page = markdown.page(built)
    assert "needs mosei (0.635)" in page, "the paper's number stands there all the same"
    assert (
        "needs mosei: get it by `ktnet-lite data fetch mosei --from FOLDER`, then `ktnet-lite reproduce table_5" in page
    )
    assert "needs mosi-words: get it by `ktnet-lite data fetch mosi-words`, then" in page
    synthetic = page[page.index("## On synthetic") : page.index("## On hazumi")]
    value = built[1].values["L2", "word aligned"]["mae"].interval
    assert (
        str(value) in synthetic.replace("**", "") and "needs" not in synthetic and "6 runs on x86_64 CPU" in synthetic
    )
    assert f"ktnet-lite {__version__}, torch 2.13.0; data cccccccccccc; median training 30 s, all 3 min" in synthetic
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert all(row.count("|") in (8, 9) for row in rows)  # five metrics and runs, or a comparison


def test_rows_without_any_number_stand_below_the_table(tmp_path):
    rows = {"full": {"variant": "full"}, "b, c": {"variant": "vision"}, "d": {"variant": "language"}}
    parts = {"title": "Own", "about": "", "metrics": ["mae"], "rows": rows, "columns": {"x": "all", "y": "all"}}
    data = {"synthetic": {"x": {"dataset": "synthetic"}, "y": {"dataset": "synthetic", "clips": 90}}}
    (tmp_path / "own.yaml").write_text(json.dumps(parts | {"data": data}), encoding="utf-8")
    grid = grids.load(tmp_path / "own.yaml")
    made = frame.frame([make_result(grid.cells("synthetic")[0].configs([0])[0])])
    (built,) = reproduce.build(grid, made, 1)
    page = markdown.page([built])
    assert "Not run: x (b, c; d).\n" in page and "Not run: y.\n" in page
    assert [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("|")][2:] == ["full"]
    assert markdown.values(built, "y") == "" and "\n\n\n" not in page


def test_names_in_a_grid_of_ones_own_stay_in_their_places(tmp_path):
    own, column, row = tmp_path / "own.yaml", "col|`a`", "<b> *$x$*"
    parts = {
        "rows": {row: {"variant": "full"}, "b": {"variant": "vision"}},
        "columns": {column: "all"},
        "data": {"a $b$/c": {column: {"dataset": "synthetic"}}},
        "compare": [[row, "b"]],
    }
    text = json.dumps({"title": "Own", "about": "Mine.", "metrics": ["mae"], **parts})  # JSON is YAML
    own.write_text(text, encoding="utf-8")
    grid = grids.load(own)
    made = frame.frame(make_result(config) for cell in grid.cells("a $b$/c") for config in cell.configs([0]))
    page = markdown.page(built := reproduce.build(grid, made, 1))
    assert r"## On a \$b\$/c" in page and r"**col|\`a\`**" in page
    assert r"| \<b> \*\$x\$\* " in page and r"| \<b> \*\$x\$\* - b | col\|\`a\` |" in page
    assert [path.name for path in markdown.pictures(built, tmp_path)] == ["own-a-b-c-col-a-.png"]
    missing = markdown.page(reproduce.build(grid, made[:0], 1))
    assert "not run yet: `ktnet-lite reproduce own --data 'a $b$/c'`" in missing


def test_a_picture_may_have_rows_and_data_of_any_name(tmp_path):
    name = "../a$b_{$ é"
    parts = {"title": "Mine", "about": "", "metrics": ["mae"], "rows": {name: {"variant": "full"}}}
    parts |= {"columns": {name: "all"}, "data": {name: {name: {"dataset": "synthetic"}}}}
    (tmp_path / "mine.yaml").write_text(json.dumps(parts), encoding="utf-8")
    grid = grids.load(tmp_path / "mine.yaml")
    made = frame.frame(make_result(config) for config in grid.cells(name)[0].configs([0, 1]))
    built = reproduce.build(grid, made, 2)
    assert r"\$b_{\$ é" in markdown.page(built)
    (path,) = markdown.pictures(built, tmp_path)
    assert path.parent == tmp_path and path.name == "mine-..-a-b_-é-..-a-b_-é.png" and path.stat().st_size > 1000


def test_the_report_command(folder, tmp_path):
    def report(*arguments):
        return CliRunner().invoke(main, ["report", *map(str, arguments)])

    shown = report("V", "--results", folder, "--seeds", "3")
    assert shown.exit_code == 0 and shown.output.startswith("# Table V"), shown.output
    pages = tmp_path / "pages"
    done = report("V", "--results", folder, "--to", pages, "--seeds", "3")
    assert done.exit_code == 0, done.output
    assert {path.name for path in pages.iterdir()} == {
        "table_5.md",
        "table_5-CMU-MOSEI-word-aligned.png",
        "table_5-synthetic-word-aligned.png",
    }
    assert set(done.output.split()) == {str(path) for path in pages.iterdir()}
    assert (pages / "table_5.md").read_text(encoding="utf-8").strip() == shown.output.strip()
    nothing = report("--results", tmp_path / "empty")
    assert nothing.exit_code == 1 and "produce some with ktnet-lite reproduce" in nothing.output
    (tmp_path / "result.json").write_text("{}", encoding="utf-8")
    damaged = report("--results", tmp_path)
    assert damaged.exit_code == 1 and "result.json is not a result file" in damaged.output


def test_a_picture_has_the_controls_of_ours_in_grey(tmp_path):
    rows = {
        "full": {"variant": "full"},
        "ours": {"variant": "ours"},
        "lambda 0": {"variant": "ours", "lambda_vision": 0.0, "lambda_language": 0.0},
        "first, lambda 0 afterwards": {"lambda_vision": 0.0, "lambda_language": 0.0, "pretrain": 2},
        "other": {"variant": "ours", "voice": "other"},
        "mult": {"model": "mult"},
    }
    parts = {"title": "Own", "about": "", "metrics": ["mae"], "rows": rows, "columns": {"c": "all"}}
    (tmp_path / "own.yaml").write_text(json.dumps(parts | {"data": {"d": {"c": {}}}}), encoding="utf-8")
    grid = grids.load(tmp_path / "own.yaml")
    made = frame.frame(make_result(config) for cell in grid.cells("d") for config in cell.configs([0]))
    (axes,) = markdown.picture(tables.build(grid, "d", made, [0]), "c").axes
    names = {colour: name for name, colour in COLOURS.items()}
    expected = ["audio", "reconstructed", "missing", "reconstructed", "missing", "missing"]
    assert [names[line.get_color()] for line in axes.lines] == expected
