"""The main job: the training notebook by papermill, its result file, its failures, and the commands around it."""

import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
from click.testing import CliRunner
from nbclient.exceptions import DeadKernelError

from ktnet_lite.cli import main
from ktnet_lite.cli import train as commands
from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import ConfigError, DataError, KTNetError
from ktnet_lite.experiments import notebook as experiments
from ktnet_lite.experiments import result as results
from ktnet_lite.experiments.notebook import notebook_path, parameters_from, run
from ktnet_lite.reporting import report

TINY = {"clips": 24, "epochs": 1, "dim": 8, "heads": 2, "layers": 1, "treatment": "joint", "grid": 6}
PICTURES = {"curves.png", "predictions.png", "reconstruction.png", "attention.png"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = TrainConfig(**TINY, out=str(tmp_path_factory.mktemp("runs")))
    return config, run(config, live=False)


def test_the_parameters_cell_is_the_config():
    """Names, defaults and order, so that `papermill -p` and the package never drift."""
    notebook = nbformat.read(notebook_path("train"), as_version=4)
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(cells) == 1
    namespace = {}
    exec(cells[0].source, namespace)
    assert parameters_from(namespace) == TrainConfig()
    inspected = papermill.inspect_notebook(str(notebook_path("train")))
    for field in dataclasses.fields(TrainConfig):
        assert inspected[field.name]["help"].startswith(field.metadata["about"])
        assert inspected[field.name]["inferred_type_name"] == type(field.default).__name__


def test_a_run_leaves_a_complete_result(finished):
    config, path = finished
    assert {file.name for file in path.parent.iterdir()} == {
        "result.json",
        "train.ipynb",
        "model.pt",
        "last.pt",
        ".lock",
    } | PICTURES
    result = results.load(path)
    assert TrainConfig.build(result["parameters"]) == config
    assert result["dataset"]["clips"] == {"train": 24, "valid": 6, "test": 12}
    assert len(result["curves"]) == 1 and result["best_epoch"] == 0
    measured, trained = result["metrics"]["valid"], result["curves"][0]
    assert {name: trained[f"valid_{name}"] for name in measured} == pytest.approx(measured, abs=1e-5)
    scores, targets = (np.array(result["predictions"][name]) for name in ("scores", "targets"))
    assert np.abs(scores - targets).mean() == pytest.approx(result["metrics"]["test"]["mae"], abs=1e-5)
    assert result["baselines"]["training median"]["mae"] > 0
    for key in ("checksum", "package", "libraries", "hardware", "seconds", "peak_memory", "model_parameters"):
        assert result.get(key) or result["dataset"].get(key), key


def test_other_systems_stand_in_the_same_table_with_and_without_audio(tmp_path):
    options = [f"--{name}={value}" for name, value in (TINY | {"treatment": "random"}).items()]
    command = ["train", *options, "--model=linear,mult", "--seed=0", f"--out={tmp_path}"]
    shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 0, shown.output
    rows = [line.split("  ")[0] for line in shown.output.splitlines()]
    names = ["mult", "mult, audio = 0", "mult, audio = mean", "linear", "linear, audio = 0", "linear, audio = mean"]
    assert [row for row in rows if row in names] == names
    (folder,) = tmp_path.glob("synthetic/mult-*-seed0")
    result = results.load(folder / "result.json")
    assert result["system"] == "mult" and set(result["without_audio"]) == {"zero", "mean"}
    predicted = CliRunner().invoke(main, ["predict", str(folder / "model.pt"), "synthetic", "--audio", "mean"])
    scores = [float(line.split(",")[1]) for line in predicted.output.splitlines()[1:]]
    assert scores == pytest.approx(result["without_audio"]["mean"]["scores"], abs=1e-4)
    wrong = CliRunner().invoke(main, ["predict", str(folder / "model.pt"), "synthetic", "--audio", "inferred"])
    assert wrong.exit_code == 1 and "this model can do: zero, mean" in wrong.output


def test_the_executed_notebook_shows_its_pictures_with_text_for_them(finished):
    notebook = nbformat.read(finished[1].with_name("train.ipynb"), as_version=4)
    images = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(images) == len(PICTURES)
    assert all(len(image.metadata["image/png"]["alt"]) > 20 for image in images)


def test_another_seed_gets_another_folder_and_another_place_does_not(finished):
    config, path = finished
    assert results.run_folder(config) == path.parent
    assert results.run_folder(dataclasses.replace(config, seed=1)) != path.parent
    assert results.run_folder(dataclasses.replace(config, lambda_vision=0.5)) != path.parent
    assert results.run_folder(dataclasses.replace(config, device="cpu")) == path.parent


def test_a_mistyped_parameter_stops_papermill_before_anything_runs(tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match="unknown parameter 'epoch'; did you mean 'epochs'"):
        papermill.execute_notebook(
            str(notebook_path("train")),
            str(tmp_path / "out.ipynb"),
            {"epoch": 3, "out": str(tmp_path)},
            progress_bar=False,
        )
    assert [file.name for file in tmp_path.iterdir()] == ["out.ipynb"]


def test_a_failed_run_keeps_the_notebook_with_the_error_and_no_result(tmp_path):
    config = TrainConfig(**TINY | {"concat": "features"}, out=str(tmp_path))  # unaligned streams cannot be joined so
    with pytest.raises(
        KTNetError, match=r'concat="features": this needs aligned streams(.|\n)*The notebook with the error:'
    ):
        run(config, live=False)
    folder = results.run_folder(config)
    assert not (folder / "result.json").exists()
    assert "needs aligned streams" in (folder / "train.ipynb").read_text(encoding="utf-8")


def test_parameters_of_a_notebook_ignore_what_is_no_parameter():
    assert parameters_from({"_i": "x", "In": [], "seed": 4, "Path": dict, "print": print}) == TrainConfig(seed=4)
    again = {"config": TrainConfig(), "seed": 5, "kind": "l1", "baselines": {}}  # run again in one session
    assert parameters_from(again) == TrainConfig(seed=5)
    with pytest.raises(ConfigError, match="unknown parameter 'lambda_audio'; did you mean 'lambda_v"):
        parameters_from({"lambda_audio": 0.3})


def test_the_train_command_compares_variants_and_reuses_the_teacher(tmp_path):
    options = [f"--{name}={value}" for name, value in TINY.items() if name != "treatment"]
    arguments = ["train", "--variant", "ours,full,language_vision", "--seed", "3", "--out", str(tmp_path), *options]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "training median" in done.output
    for line in ("ours against language_vision: MAE", "ours against full: MAE"):
        assert line in done.output
    assert (tmp_path / "comparison-synthetic.png").stat().st_size > 1000
    folders = sorted(folder.name.split("-")[0] for folder in (tmp_path / "synthetic").iterdir())
    assert folders == ["full", "language_vision", "ours"]
    assert not list(tmp_path.glob("synthetic/*/teacher"))  # the full run of the same seed was the teacher


def test_the_predict_command_writes_a_score_for_each_clip(finished, tmp_path):
    """Of the clips that the model's own parameters make, on its own grid: those of the result file."""
    _, path = finished
    model, out = str(path.with_name("model.pt")), tmp_path / "a.csv"
    done = CliRunner().invoke(main, ["predict", model, "synthetic", "--out", str(out)])
    assert done.exit_code == 0, done.output
    header, *lines = out.read_text(encoding="utf-8").splitlines()
    ids, scores = zip(*(line.split(",") for line in lines), strict=True)
    expected = results.load(path)["predictions"]
    assert header == "id,score" and list(ids) == expected["ids"]
    np.testing.assert_allclose(np.array(scores, float), expected["scores"], atol=1e-4)
    nowhere = CliRunner().invoke(main, ["predict", model, "synthetic", "--out", str(tmp_path / "none" / "a.csv")])
    assert nowhere.exit_code == 1 and "there is no folder" in nowhere.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--varant", "ours"], "--variant"),
        (["train", "--variant", "our"], "did you mean 'ours'"),
        (["train", "--epochs", "many"], "not a valid integer"),
        (["train", "--epochs", "0"], "epochs = 0 is outside"),
        (["train", "--seed", "1,x"], "give whole numbers"),
        (["train", "--seed", ""], "name at least one --model, one --variant and one --seed"),
        (["train", "--model", "mult,rmfn,mfm"], "rmfn, mfm: needs aligned streams; add --aligned"),
        (["train", "--model", "mult", "--variant", "ours"], "variant 'ours' is ktnet's alone"),
        (["train", "--model", "molt"], "did you mean 'mult'"),
        (["train", "--teacher", "none.pt"], "--teacher none.pt: no such file"),
        (["train", "--variant", "ours,vision", "--targets", "audio"], "'audio' is no stream of 'vision'"),
        (["train", "--dataset", "mosi-word"], "did you mean 'mosi-words'"),
        (["train", "--dataset", "mosi-words", "--data-from", "nowhere"], "no folder nowhere"),
        (["predict", "none.pt", "synthetic"], "no checkpoint at none.pt"),
    ],
)
def test_a_wrong_command_line_says_what_is_right(arguments, message):
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code != 0
    assert message in done.output
    assert "Traceback" not in done.output


def test_what_is_named_twice_runs_once():
    assert commands._seeds("0, 1,0,") == [0, 1]
    assert commands.listed("ours,full,ours") == ["ours", "full"]


def test_a_full_run_teaches_ours_of_its_seed_where_it_is_what_ours_would_train_itself():
    def taught(**changes):
        full, ours = (TrainConfig(variant=variant, **changes) for variant in ("full", "ours"))
        first, second = commands._teachers_first([ours, full])
        assert (first.variant, second.variant) == ("full", "ours")
        return second.teacher and Path(second.teacher) == results.run_folder(full) / "model.pt"

    assert taught()
    assert not taught(targets="language")  # a teacher always has every target
    assert not taught(treatment="random")


def test_the_folder_of_a_run_is_named_after_its_data(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "checksum", lambda config: "0")

    def name(dataset):
        return results.run_folder(TrainConfig(dataset=dataset)).parent

    assert name("synthetic") == Path("runs/synthetic") and name("mosi-words") == Path("runs/mosi-words")
    for dataset in ("own.h5", "./own.h5", str(tmp_path / "own.h5"), (tmp_path / "own.h5").as_posix()):
        assert name(dataset) == Path("runs/own")


def test_a_killed_notebook_says_why_and_how_to_go_on(tmp_path, monkeypatch):
    def killed(*_, **__):
        raise DeadKernelError("Kernel died")

    monkeypatch.setattr(papermill, "execute_notebook", killed)
    with pytest.raises(KTNetError, match=r"was killed, most likely for want of memory: lower batch_size(.|\n)*goes on"):
        run(TrainConfig(**TINY, out=str(tmp_path)), live=False)


def test_ctrl_c_in_the_notebook_is_ctrl_c_here(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise papermill.PapermillExecutionError(1, 1, "", "KeyboardInterrupt", "", [])

    monkeypatch.setattr(papermill, "execute_notebook", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(TrainConfig(**TINY, out=str(tmp_path)), live=False)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a process group")
def test_ctrl_c_stops_in_the_middle_without_a_traceback_and_keeps_the_checkpoint(tmp_path):
    options = [f"--{name}={value}" for name, value in (TINY | {"epochs": 100_000, "treatment": "random"}).items()]
    command = [sys.executable, "-m", "ktnet_lite", "train", *options, "--out", str(tmp_path)]
    quiet = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    # In the background of a script, where tests may run, Ctrl-C is ignored, and children take that over.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, **quiet, start_new_session=True, preexec_fn=heed)
    while not list(tmp_path.glob("synthetic/*/last.pt")):
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130
    assert "Traceback" not in said and "Stopped. The same command goes on where it can." in said
    (folder,) = (tmp_path / "synthetic").iterdir()
    assert {file.name for file in folder.iterdir()} - {"last.pt.partial"} == {"last.pt", "train.ipynb", ".lock"}


def fake(variant: str, seed: int, error: float, **changes) -> dict:
    rng = np.random.default_rng(seed)
    targets = np.linspace(-3, 3, 50)
    scores = targets + error * rng.normal(size=50)
    result = {
        "system": variant,
        "parameters": {"model": "ktnet", "variant": variant, "seed": seed},
        "model_parameters": 1234,
        "dataset": {"checksum": "x", "task": "sentiment", "name": "d", "clips": {"test": 50}},
        "metrics": {
            "test": {name: 0.5 for name in report.MAIN["sentiment"]} | {"mae": float(np.abs(scores - targets).mean())}
        },
        "baselines": {"training median": {"mae": 1.5, "corr": None}},
        "predictions": {"ids": [str(i) for i in range(50)], "targets": targets.tolist(), "scores": scores.tolist()},
        "without_audio": {},
    }
    return result | changes


def test_every_way_to_do_without_audio_is_a_row_below_its_system():
    zero, mean = (
        {"metrics": fake("full", 0, e)["metrics"]["test"], "scores": fake("full", 0, e)["predictions"]["scores"]}
        for e in (0.8, 0.9)
    )
    runs = [
        fake("full", 0, 0.1, system="mult", parameters={"model": "mult", "variant": "full", "seed": 0}),
        fake("ours", 0, 0.2),
        fake("full", 0, 0.1, without_audio={"zero": zero, "mean": mean}),
    ]
    assert list(report.rows(runs)) == ["full", "full, audio = 0", "full, audio = mean", "ours", "mult"]
    lines = report.table(runs).splitlines()
    assert lines[0].endswith("parameters") and lines[1].endswith("1,234") and lines[2].startswith("full, audio = 0 ")
    assert report.intervals(runs, "mae")["full, audio = mean"].mean == mean["metrics"]["mae"]
    about = report.differences(runs)
    assert [sentence.split(":")[0] for sentence in about] == [
        f"ours against {other}" for other in ("full", "full, audio = 0", "full, audio = mean")
    ]


def test_the_report_pairs_seeds_and_tells_chance_from_difference():
    runs = [fake(v, s, e) for s in range(3) for v, e in (("ours", 0.2), ("language_vision", 1.0), ("full", 0.2))]
    better, same = report.differences(runs)
    assert better.startswith("ours against language_vision: MAE -0.") and better.endswith("3 seeds, 50 clips): better")
    assert same.startswith("ours against full: MAE +0.000") and "tell from chance" in same
    lone = report.differences(runs[:3])
    assert all(
        "1 seed, 50 clips" in sentence and sentence.endswith("other seeds may say otherwise") for sentence in lone
    )
    mean, low, high, count = report.intervals(runs, "mae")["language_vision"]
    assert low < mean < high and count == 3
    assert "training median" in report.table(runs)


def test_results_of_different_data_are_not_put_in_one_table():
    other = fake("full", 0, 0.1, dataset={"checksum": "y", "task": "sentiment", "name": "d", "clips": {"test": 50}})
    with pytest.raises(DataError, match="different data sets"):
        report.table([fake("ours", 0, 0.1), other])


def test_a_result_file_is_whole_or_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        results.save(tmp_path / "r.json", {"mae": float("nan")})
    assert not any(tmp_path.iterdir())
    with pytest.raises(DataError, match="cannot write the result"):
        results.save(tmp_path / "none" / "r.json", {})
    (tmp_path / "r.json").write_text(json.dumps({"format": 99}), encoding="utf-8")
    with pytest.raises(DataError, match="is not a result file of ktnet-lite, format 2"):
        results.load(tmp_path / "r.json")
    with pytest.raises(DataError, match="cannot be read as a result file"):
        results.load(tmp_path / "absent.json")


def test_a_missing_notebook_is_explained():
    with pytest.raises(KTNetError, match="no experiment notebook 'trian'"):
        experiments.notebook_path("trian")
