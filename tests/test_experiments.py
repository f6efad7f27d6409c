"""The main job: a run's folder, the training notebook by papermill, its failures, and the commands around it."""

import dataclasses
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import msgspec
import nbformat
import numpy as np
import papermill
import pytest
from click.testing import CliRunner
from nbclient.exceptions import DeadKernelError

import ktnet_lite.experiments
from ktnet_lite.cli import main
from ktnet_lite.cli.train import _draw
from ktnet_lite.config import TrainConfig
from ktnet_lite.data import catalogue, store, synthetic
from ktnet_lite.errors import ConfigError, KTNetError
from ktnet_lite.experiments import notebook, result, runs
from ktnet_lite.experiments.notebook import notebook_path, run
from ktnet_lite.experiments.plan import estimate_of, missing, plan
from ktnet_lite.experiments.runs import parameters_from, run_folder, train_here
from ktnet_lite.files import locked
from ktnet_lite.reporting.frame import comparable
from ktnet_lite.training import runtime
from ktnet_lite.training.runtime import Launch
from made import make_result

TINY = {"clips": 24, "epochs": 1, "dim": 8, "heads": 2, "layers": 1, "treatment": "joint", "grid": 6}
PICTURES = {"curves.png", "predictions.png", "reconstruction.png", "attention.png"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = TrainConfig(**TINY, out=str(tmp_path_factory.mktemp("runs")))
    return config, run(config, live=False)


@pytest.fixture
def instant(monkeypatch) -> list[TrainConfig]:
    """Runs by the notebook take no time; the configs of those that ran."""
    ran = []

    def execute(*_, parameters, **__):
        config = TrainConfig.build(parameters)
        ran.append(config)
        make_result(config).save(run_folder(config) / "result.json")

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    return ran


@pytest.fixture
def here(monkeypatch) -> None:
    """Runs by the notebook execute its cells in this process."""

    def execute(notebook, *_, parameters, **__):
        namespace = dict(parameters)
        for cell in notebook.cells:
            if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
                exec(cell.source, namespace)

    monkeypatch.setattr(papermill, "execute_notebook", execute)


@pytest.fixture
def own_file(tmp_path) -> Path:
    """A small data file."""
    return write_own(tmp_path / "own.h5")


def write_own(path: Path, noise: float = 0.5) -> Path:
    made = synthetic.make((24, 6, 12), audio_noise=noise).dataset
    store.write(path, made.header, made.splits.items(), progress=False)
    return path


def under_another_key(config: TrainConfig, **changes) -> Path:
    """The folder of a finished run, as an earlier naming scheme left it."""
    folder = run_folder(config)
    folder = folder.with_name(f"{config.system}-0ld0ld00-seed{config.seed}")
    make_result(config, **changes).save(folder / "result.json")
    return folder


# A run's folder


def test_a_parameter_changes_the_folder_of_the_runs_that_use_it(own_file):
    def changes(name, value, **others):
        config = TrainConfig(**others)
        return run_folder(config) != run_folder(dataclasses.replace(config, **{name: value}))

    assert changes("lambda_vision", 0.5) and not changes("lambda_vision", 0.5, variant="full")
    assert changes("heads", 8, model="mult") and not changes("heads", 8, model="mctn")
    assert changes("clips", 24) and not changes("clips", 24, dataset=str(own_file))
    assert changes("epochs", 2) and not changes("epochs", 2, model="linear")
    assert changes("seed", 1) and changes("grid", 50, dataset=str(own_file))
    for name, value in (("device", "cpu"), ("teacher", "model.pt"), ("data_from", "raw")):
        assert not changes(name, value), f"{name} is no part of what a run computes"


def test_the_folder_of_a_run_is_named_after_its_data_and_its_system(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "fingerprint", lambda *_, **__: "0")

    def name(dataset):
        return run_folder(TrainConfig(dataset=dataset)).parent

    assert name("synthetic") == Path("runs/synthetic") and name("mosi-words") == Path("runs/mosi-words")
    for dataset in ("own.h5", "./own.h5", str(tmp_path / "own.h5"), (tmp_path / "own.h5").as_posix()):
        assert name(dataset) == Path("runs/own")
    folder = run_folder(TrainConfig(model="mult", variant="language", seed=3))
    assert folder.name.startswith("mult-language-") and folder.name.endswith("-seed3")


def test_the_folder_follows_the_content_of_a_file_not_its_place(own_file, tmp_path, monkeypatch):
    first = run_folder(TrainConfig(dataset=str(own_file)))
    (tmp_path / "moved").mkdir()
    moved = own_file.replace(tmp_path / "moved" / "own.h5")
    assert run_folder(TrainConfig(dataset=str(moved))) == first
    monkeypatch.chdir(moved.parent)
    assert run_folder(TrainConfig(dataset="own.h5")) == first
    assert run_folder(TrainConfig(dataset=str(write_own(own_file, noise=0.1)))) != first
    with pytest.raises(ConfigError, match=r"'gone\.h5' is neither a data set nor a file"):
        run_folder(TrainConfig(dataset="gone.h5"))


def test_naming_a_folder_makes_and_reads_no_data(own_file, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("data made or read")

    monkeypatch.setattr(synthetic, "make", fail)
    monkeypatch.setattr(store, "read", fail)
    monkeypatch.setattr(catalogue, "build", fail)
    for dataset in ("synthetic", "mosi-words", str(own_file)):
        for grid in (0, 50):
            (job,) = plan([TrainConfig(variant="full", dataset=dataset, grid=grid, out=str(tmp_path))])
            assert not job.done


def test_a_finished_run_of_this_version_is_found_under_another_key(tmp_path):
    config = TrainConfig(variant="full", out=str(tmp_path))
    new = run_folder(config)
    old = under_another_key(config)
    assert new != old == run_folder(config) == run_folder(dataclasses.replace(config, device="cpu", lambda_vision=0.5))
    (job,) = plan([config])
    assert job.folder == old and job.done
    teacher, ours = plan([dataclasses.replace(config, variant="ours")])
    assert teacher.done and not ours.done and ours.config.teacher == str(old / "model.pt")
    for other in ({"seed": 1}, {"dim": 16}, {"variant": "vision"}, {"clips": 24}):
        (job,) = plan([dataclasses.replace(config, **other)])
        assert not job.done and job.folder != old
    new.mkdir()
    assert run_folder(config) == new, "a run of the present naming scheme goes first"


@pytest.mark.parametrize("changes", [{"package": "0.0.1"}, {"parameters": {"width": 40}}, {"format": 1}])
def test_a_run_of_another_version_is_not_found(changes, tmp_path):
    config = TrainConfig(variant="full", out=str(tmp_path))
    new = run_folder(config)
    under_another_key(config, **changes)
    (job,) = plan([config])
    assert job.folder == new and not job.done


def test_a_damaged_result_is_named_while_runs_are_planned(tmp_path):
    config = TrainConfig(variant="full", out=str(tmp_path))
    new = run_folder(config)
    result_file = under_another_key(config) / "result.json"
    result_file.write_text("{", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"0ld0ld00-seed0.result\.json: cannot be read .* passed over"):
        (job,) = plan([config])
    assert job.folder == new and not job.done
    result_file.parent.rename(new)
    with pytest.warns(UserWarning, match=r"result\.json: cannot be read .* passed over"):
        assert estimate_of(plan([config]))(config), "from the results that come with the project"


@pytest.mark.parametrize("grid", [0, 4])
def test_a_run_on_other_data_is_not_found_under_another_key(grid, own_file, tmp_path):
    config = TrainConfig(variant="full", dataset=str(own_file), out=str(tmp_path), grid=grid)
    about = msgspec.structs.replace(make_result(config).dataset, checksum=store.info(own_file).checksum)
    old = under_another_key(config, dataset=about)
    # On a time grid the result has the checksum of the averaged data, so whether the file changed is unknown.
    assert (run_folder(config) == old) == (grid == 0)
    write_own(own_file, noise=0.1)
    assert run_folder(config) != old


def test_a_changed_file_of_another_format_is_a_new_run(tmp_path):
    path = tmp_path / "own.pkl"
    path.write_bytes(b"first")
    config = TrainConfig(variant="full", dataset=str(path), out=str(tmp_path))
    first = run_folder(config)
    make_result(config).save(first / "result.json")
    path.write_bytes(b"another")
    assert run_folder(config) != first


def test_a_run_on_a_data_set_of_the_catalogue_is_found_if_its_raw_files_are_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = synthetic.make((24, 6, 12)).dataset
    raw = {"recipe": "1", "raw": "abc"}
    header = dataclasses.replace(made.header, provenance=raw)
    store.write("data/mosi-words.h5", header, made.splits.items(), progress=False)
    for grid in (0, 4):
        config = TrainConfig(variant="full", dataset="mosi-words", grid=grid)
        new = run_folder(config)
        about = make_result(config).dataset
        checksum = about.checksum if grid else store.info("data/mosi-words.h5").checksum
        about = msgspec.structs.replace(about, checksum=checksum, provenance=raw)
        old = under_another_key(config, dataset=about)
        assert run_folder(config) == old != new
        other = msgspec.structs.replace(about, checksum="d" * 64, provenance={"recipe": "0", "raw": "abc"})
        under_another_key(config, dataset=other)
        assert run_folder(config) == new


def test_a_run_under_another_key_is_executed_again_in_its_folder(tmp_path, instant, monkeypatch):
    config = TrainConfig(variant="full", out=str(tmp_path))
    old = under_another_key(config, seconds=1.0)
    assert run(config) == old / "result.json"
    assert result.load(old / "result.json").seconds == 30.0 and instant == [config]
    assert {file.name for file in old.iterdir()} == {"result.json", ".lock"}

    assert [folder.name for folder in old.parent.iterdir()] == [old.name]


def test_a_result_stays_until_a_new_one_takes_its_place(tmp_path, instant, monkeypatch):
    config = TrainConfig(variant="full", out=str(tmp_path))
    folder = run_folder(config)
    make_result(config, seconds=1.0).save(folder / "result.json")

    def is_there():
        (found,) = result.find([tmp_path])
        (job,) = plan([dataclasses.replace(config, device="cpu")])
        return job.done and found.parent == run_folder(config) == folder and result.load(found).seconds

    def fail(*_, **__):
        assert is_there() == 1.0
        raise DeadKernelError("Kernel died")

    for execute, message in ((fail, "was killed"), (lambda *_, **__: None, "left no result file")):
        with monkeypatch.context() as patch:
            patch.setattr(papermill, "execute_notebook", execute)
            with pytest.raises(KTNetError, match=message):
                run(dataclasses.replace(config, device="cpu"))
        assert is_there() == 1.0 and result.load(folder / "result.json").config.device == "auto", "the earlier one"
    run(config)
    assert is_there() == 30.0


def test_a_run_that_was_killed_after_its_result_and_before_the_end_of_its_notebook_runs_again(tmp_path, instant):
    config = TrainConfig(variant="full", out=str(tmp_path))
    folder = run_folder(config)
    make_result(config, seconds=1.0).save(folder / "result.json")
    (folder / runs.KERNEL).mkdir()
    (job,) = plan([config])
    assert missing([job]) == [job] and job.done and result.find([tmp_path]) == [folder / "result.json"]
    run(config, again=False)
    assert missing([job]) == [] and result.load(folder / "result.json").seconds == 30.0 and len(instant) == 1
    run(config, again=False)
    assert len(instant) == 1


# A run by the notebook


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 10**5, '{"nbformat": 4, "nbformat_minor": 5, "cells": 5}'])
def test_a_damaged_notebook_is_an_error_in_words(content, tmp_path, monkeypatch):
    (tmp_path / "train.ipynb").write_text(content, encoding="utf-8")
    monkeypatch.setattr(notebook, "notebook_path", lambda _: tmp_path / "train.ipynb")
    with pytest.raises(KTNetError, match=r"train\.ipynb is no notebook .*; restore it, or install ktnet-lite again"):
        run(TrainConfig(**TINY, out=str(tmp_path / "runs")))
    listed = CliRunner().invoke(main, ["experiments"])
    assert listed.exit_code == 1 and "train.ipynb is no notebook" in listed.output


def test_the_notebook_is_where_papermill_can_be_told_of_it():
    assert ktnet_lite.experiments.notebook_path("train") == notebook_path("train")


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


def test_a_run_of_any_leaves_the_same_pictures_and_a_result_for_each_subset(here, tmp_path):
    path = run(TrainConfig(**TINY | {"variant": "any"}, out=str(tmp_path)), live=False)
    assert {file.name for file in path.parent.iterdir()} >= PICTURES
    assert len(result.load(path).subsets["inferred"]) == 7


@pytest.mark.kernel
def test_a_run_leaves_a_complete_result(finished):
    config, path = finished
    files = {"result.json", "train.ipynb", "model.pt", "last.pt", ".lock"}
    assert path.parent == run_folder(config)
    assert {file.name for file in path.parent.iterdir()} == files | PICTURES
    found = result.load(path)
    assert found.config == config
    assert found.dataset.clips == {"train": 24, "valid": 6, "test": 12}
    assert len(found.curves) == 1 and found.best_epoch == 0
    measured, trained = found.metrics["valid"], found.curves[0]
    median = measured.pop("acc2_median")  # needs the training labels, which an epoch does not look at
    assert median is None or 0 <= median <= 1
    assert {name: trained[f"valid_{name}"] for name in measured} == pytest.approx(measured, abs=1e-5)
    assert np.abs(found.scores - found.targets).mean() == pytest.approx(found.metrics["test"]["mae"], abs=1e-5)
    assert found.baselines["training median"]["mae"] > 0
    assert found.dataset.checksum and found.libraries["torch"] and found.hardware.cpu
    assert found.seconds > 0 and found.model_parameters > 0 and (found.peak_memory or os.name == "nt")


def test_other_systems_stand_in_the_same_table_with_and_without_audio(here, tmp_path):
    options = [f"--{name}={value}" for name, value in (TINY | {"treatment": "random"}).items()]
    command = ["train", *options, "--model=linear,mult", "--seed=0", f"--out={tmp_path}"]
    shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 0, shown.output
    rows = [line.split("  ")[0] for line in shown.output.splitlines()]
    names = ["mult", "mult, audio = 0", "mult, audio = mean", "linear", "linear, audio = 0", "linear, audio = mean"]
    assert [row for row in rows if row in names] == names
    (folder,) = tmp_path.glob("synthetic/mult-*-seed0")
    found = result.load(folder / "result.json")
    assert found.system == "mult" and set(found.without_audio) == {"zero", "mean"}
    predicted = CliRunner().invoke(main, ["predict", str(folder / "model.pt"), "synthetic", "--audio", "mean"])
    scores = [float(line.split(",")[1]) for line in predicted.output.splitlines()[1:]]
    assert scores == pytest.approx(found.without_audio["mean"].scores, abs=1e-4)
    wrong = CliRunner().invoke(main, ["predict", str(folder / "model.pt"), "synthetic", "--audio", "inferred"])
    assert wrong.exit_code == 1 and "this model can do: zero, mean" in wrong.output


@pytest.mark.kernel
def test_the_executed_notebook_shows_its_pictures_with_text_for_them(finished):
    notebook = nbformat.read(finished[1].with_name("train.ipynb"), as_version=4)
    images = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(images) == len(PICTURES)
    assert all(len(image.metadata["image/png"]["alt"]) > 20 for image in images)


@pytest.mark.kernel
def test_a_mistyped_parameter_stops_papermill_before_anything_runs(tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match="unknown parameter 'epoch'; did you mean 'epochs'"):
        papermill.execute_notebook(
            str(notebook_path("train")),
            str(tmp_path / "out.ipynb"),
            {"epoch": 3, "out": str(tmp_path)},
            progress_bar=False,
        )
    assert [file.name for file in tmp_path.iterdir()] == ["out.ipynb"]


@pytest.mark.kernel
def test_a_failed_run_keeps_the_notebook_with_the_error_and_no_result(tmp_path):
    config = TrainConfig(**TINY | {"concat": "features"}, out=str(tmp_path))  # unaligned streams cannot be joined so
    with pytest.raises(
        KTNetError, match=r'concat="features": this needs aligned streams(.|\n)*The notebook with the error:'
    ):
        run(config, live=False)
    folder = run_folder(config)
    assert not (folder / "result.json").exists()
    assert "needs aligned streams" in (folder / "train.ipynb").read_text(encoding="utf-8")


def test_parameters_of_a_notebook_ignore_what_is_no_parameter():
    assert parameters_from({"_i": "x", "seed": 4, "Path": dict, "print": print}) == TrainConfig(seed=4)
    assert parameters_from({"learning_rate": "1e-3"}) == TrainConfig(), "so papermill reads 1e-3 in a YAML file"
    again = {"config": TrainConfig(), "seed": 5, "kind": "l1", "baselines": {}}  # run again in one session
    assert parameters_from(again) == TrainConfig(seed=5)
    with pytest.raises(ConfigError, match="unknown parameter 'lambda_face'; did you mean 'lambda_"):
        parameters_from({"lambda_face": 0.3})


def test_only_what_cells_assign_is_a_parameter():
    """IPython knows the cells that have run; variables of a start-up file come from none."""
    cells = ["", "seed: int = 0\ndim, heads = 16, 4", "%time x", "seed = 4"]
    namespace = {"In": cells, "Out": {}, "seed": 4, "dim": 16, "heads": 4, "limit": 10, "layers": 9, "open": open}
    assert parameters_from(namespace) == TrainConfig(seed=4, dim=16, heads=4)
    with pytest.raises(ConfigError, match="unknown parameter 'sede'; did you mean 'seed'"):
        parameters_from(namespace | {"In": [*cells, "sede = 3"], "sede": 3})
    with pytest.raises(ConfigError, match=r"seed = \(4,\) is tuple, expected int"):
        parameters_from(namespace | {"seed": (4,)})


def test_a_parameter_whose_name_a_later_cell_took_is_no_default():
    again = {"In": ["model = 'mult'", "model = run.model"], "config": TrainConfig(), "model": dict}
    with pytest.raises(ConfigError, match="model is a type by now, not a value; run the parameters cell again"):
        parameters_from(again)


@pytest.mark.parametrize("name", ["WORLD_SIZE", "LOCAL_RANK"])
def test_a_variable_of_torchrun_that_is_no_number_is_told(name, monkeypatch, instant):
    monkeypatch.setenv(name, "two")
    done = CliRunner().invoke(main, ["train", "--variant", "full"])
    assert (done.exit_code, instant) == (1, [])
    assert f"Error: the environment variable {name} is 'two', not a whole number" in done.output


def test_the_name_of_a_data_set_is_no_path_of_a_picture(tmp_path):
    made = [make_result(TrainConfig(variant=variant)) for variant in ("full", "ours")]
    about = msgspec.structs.replace(made[0].dataset, name="../a b/$c$\n视频")
    rows = comparable([msgspec.structs.replace(one, dataset=about) for one in made])
    assert _draw(rows, tmp_path) == tmp_path / "comparison-..-a-b-c-视频.png"
    assert [path.name for path in tmp_path.iterdir()] == ["comparison-..-a-b-c-视频.png"]


@pytest.mark.kernel
def test_the_predict_command_writes_a_score_for_each_clip(finished, tmp_path):
    """Of the clips that the model's own parameters make, on its own grid: those of the result file."""
    _, path = finished
    model, out = str(path.with_name("model.pt")), tmp_path / "a.csv"
    done = CliRunner().invoke(main, ["predict", model, "synthetic", "--out", str(out)])
    assert done.exit_code == 0, done.output
    header, *lines = out.read_text(encoding="utf-8").splitlines()
    ids, scores, low, high = zip(*(line.split(",") for line in lines), strict=True)
    expected = result.load(path).predictions
    assert header == "id,score,low,high" and list(ids) == expected.ids
    np.testing.assert_allclose(np.array(scores, float), expected.scores, atol=1e-4)
    assert (np.array(low, float) <= np.array(high, float)).all()
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
        (["train", "--model", "mult", "--variant", "ours"], "variant 'ours' exists for ktnet only"),
        (["train", "--model", "molt"], "did you mean 'mult'"),
        (["train", "--teacher", "none.pt"], "--teacher none.pt: no such file"),
        (["train", "--variant", "ours,vision", "--targets", "audio"], "'audio' is not a stream of 'vision'"),
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


def train(*arguments: object):
    done = CliRunner().invoke(main, ["train", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_train_command_compares_variants_and_reuses_the_teacher(tmp_path, instant):
    shown = train("--variant", "ours,full,language_vision", "--seed", "3", "--out", tmp_path)
    full, language_vision, ours = instant
    assert [str(config.system) for config in instant] == ["full", "language_vision", "ours"]
    assert {config.seed for config in instant} == {3}
    assert ours.teacher == str(run_folder(full) / "model.pt") and language_vision.teacher == ""
    assert "Test split of synthetic, 50 clips" in shown and "training median" in shown
    for line in ("ours against language_vision: MAE", "ours against full: MAE"):
        assert line in shown
    assert shown.splitlines()[-3:] == [f"  {run_folder(config)}" for config in instant]
    assert (tmp_path / "comparison-synthetic.png").stat().st_size > 1000


def test_the_train_command_compares_emotions_too(tmp_path, instant):
    shown = train("--variant", "ours,full", "--task", "emotion", "--out", tmp_path)
    assert "Acc (mean)" in shown and (tmp_path / "comparison-synthetic.png").is_file()
    assert [config.task for config in instant] == ["emotion", "emotion"]


def test_what_is_named_twice_runs_once(tmp_path, instant):
    train("--model", "ktnet,mult,ktnet", "--variant", "full,ours,auto", "--seed", "0, 1,0,", "--out", tmp_path)
    assert [(str(config.system), config.seed) for config in instant] == [
        *[("full", 0), ("full", 1), ("mult", 0), ("mult", 1), ("ours", 0), ("ours", 1)]
    ]


def test_a_full_run_teaches_ours_only_where_ours_would_train_the_same(tmp_path, instant):
    for options, taught in ((["--targets", "language"], False), (["--treatment", "random"], False), ([], True)):
        instant.clear()
        train("--variant", "ours,full", "--out", tmp_path, *options)
        full, ours = instant
        assert ours.teacher == (str(run_folder(full) / "model.pt") if taught else "")


def test_a_data_set_without_known_hashes_is_built_before_its_runs_are_named(tmp_path, monkeypatch, instant):
    monkeypatch.chdir(tmp_path)
    built = []

    def build(name, local=None):
        built.append((name, local))
        made = synthetic.make((24, 6, 12)).dataset
        header = dataclasses.replace(made.header, provenance={"recipe": str(catalogue.ENTRIES[name].recipe)})
        store.write(f"data/{name}.h5", header, made.splits.items(), progress=False)

    monkeypatch.setattr(catalogue, "build", build)
    train("--dataset", "mosei", "--data-from", "raw", "--variant", "full")
    assert set(built) == {("mosei", "raw")} and [config.dataset for config in instant] == ["mosei"]


# A run without the notebook


@pytest.mark.parametrize("rank", [None, 0, 1])
def test_only_the_first_process_writes_a_result(rank, tmp_path, monkeypatch):
    if rank is not None:
        monkeypatch.setattr(runs, "launched", lambda: Launch(rank, world=2))
    config = TrainConfig(**TINY, out=str(tmp_path))
    path = train_here(config)
    assert path == run_folder(config) / "result.json" and path.with_name("model.pt").is_file()
    assert path.exists() == (rank != 1)
    if path.exists():
        found = result.load(path)
        assert found.config == config and len(found.predictions.ids) == 12


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_run_without_the_notebook_waits_for_another_and_only_its_first_process_does(rank, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "launched", lambda: Launch(rank=int(rank)))
    config = TrainConfig(**TINY, out=str(tmp_path))
    with locked(run_folder(config) / ".lock"):
        thread = threading.Thread(target=train_here, args=(config,))
        thread.start()
        thread.join(1.0 if rank == "0" else 60.0)
        assert thread.is_alive() == (rank == "0")
        assert (run_folder(config) / "last.pt").exists() == (rank == "1")
    thread.join(60)
    assert (run_folder(config) / "result.json").exists() == (rank == "0")


def test_the_train_command_under_torchrun_trains_in_each_process(monkeypatch, tmp_path, instant):
    trained = []
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(runs, "train_here", trained.append)
    joined = []
    monkeypatch.setattr(runtime, "processes", lambda device: joined.append(device) or nullcontext())
    assert train("--variant", "full,vision", "--seed", "0,1", "--out", tmp_path) == ""
    assert len(joined) == 1, "a second group of the same processes may wait for ever"
    assert [(config.variant, config.seed) for config in trained] == [
        *[("full", 0), ("full", 1), ("vision", 0), ("vision", 1)]
    ]
    assert not instant and not any(tmp_path.iterdir())


@pytest.mark.kernel
def test_the_notebook_and_this_process_give_the_same_result(finished, tmp_path):
    config, path = finished
    here, there = (result.load(found) for found in (train_here(dataclasses.replace(config, out=str(tmp_path))), path))
    np.testing.assert_allclose(here.scores, there.scores, atol=1e-5)
    assert here.metrics["test"] == pytest.approx(there.metrics["test"], abs=1e-5) and here.key == there.key


# How a run ends


def test_a_killed_notebook_says_why_and_how_to_resume(tmp_path, monkeypatch):
    def killed(*_, **__):
        raise DeadKernelError("Kernel died")

    monkeypatch.setattr(papermill, "execute_notebook", killed)
    with pytest.raises(
        KTNetError, match=r"was killed, probably because memory ran out: lower batch_size(.|\n)*resumes"
    ):
        run(TrainConfig(**TINY, out=str(tmp_path)), live=False)


def test_ctrl_c_in_the_notebook_is_ctrl_c_here(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise papermill.PapermillExecutionError(1, 1, "", "KeyboardInterrupt", "", [])

    monkeypatch.setattr(papermill, "execute_notebook", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(TrainConfig(**TINY, out=str(tmp_path)), live=False)


@pytest.mark.kernel
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
    assert "Traceback" not in said and "Stopped. The same command resumes where it can." in said
    (folder,) = (tmp_path / "synthetic").iterdir()
    left = {file.name for file in folder.iterdir() if file.suffix != ".partial"}
    assert left == {"last.pt", "train.ipynb", ".lock"}


def test_a_missing_notebook_is_explained():
    with pytest.raises(KTNetError, match="no experiment notebook 'trian'"):
        notebook.notebook_path("trian")
