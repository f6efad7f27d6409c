"""The training loop: it learns, resumes exactly, is deterministic, and shards over processes with the same loss."""

import dataclasses
import os
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ktnet_lite.config import TrainConfig
from ktnet_lite.data.fits import check_fits
from ktnet_lite.data.schema import Dataset, Header, Split, Stream
from ktnet_lite.errors import CheckpointError, ConfigError, DataError, KTNetError
from ktnet_lite.names import SENTIMENT_RANGE
from ktnet_lite.training import checkpoint
from ktnet_lite.training import loop as training
from ktnet_lite.training.build import build_model, load_model
from ktnet_lite.training.dataset import load_dataset
from ktnet_lite.training.evaluation import evaluate, predict
from ktnet_lite.training.loop import fit
from ktnet_lite.training.runtime import processes

TESTS = Path(__file__).resolve().parent
SMALL = {"dim": 8, "heads": 2, "layers": 1, "dropout": 0.1, "batch_size": 8, "epochs": 3, "device": "cpu"}


def make_split(clips: int, seed: int, task: str = "sentiment", longest: int = 8) -> Split:
    """Clips of random length whose every step holds the target plus noise, so that a model can learn it."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(-3, 3, clips).astype(np.float32)
    streams = {}
    for name, dim in {"language": 6, "vision": 4, "audio": 3}.items():
        lengths = rng.integers(2, longest + 1, clips)
        noise = rng.normal(size=(lengths.sum(), dim))
        streams[name] = Stream((np.repeat(scores, lengths)[:, None] + noise).astype(np.float32), lengths)
    emotions = (scores[:, None] > np.array([-1.0, 0.0, 0.5, 1.0])).astype(np.int64)
    targets = scores if task == "sentiment" else emotions
    return Split(streams, targets, tuple(f"clip{seed}_{i}" for i in range(clips)))


def make_dataset(task: str = "sentiment", longest: int = 8) -> Dataset:
    sizes = {"train": 40, "valid": 16, "test": 20}
    splits = {name: make_split(clips, i, task, longest) for i, (name, clips) in enumerate(sizes.items())}
    return Dataset.collect(Header("tiny", task, aligned=False), splits.items())


@pytest.fixture(scope="module")
def data() -> Dataset:
    return make_dataset()


def weights_equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("loss", ["cross_entropy", "l1"])
def test_it_learns_and_keeps_the_best_epoch(data, loss):
    config = TrainConfig(**SMALL | {"epochs": 12, "learning_rate": 5e-3}, variant="language_vision", task_loss=loss)
    run = fit(config, data, progress=False)
    maes = [entry["valid_mae"] for entry in run.history]
    assert run.best_epoch == int(np.argmin(maes))
    assert min(maes) < 0.75 * maes[0]
    again = evaluate(run.model, data["valid"])
    assert again.metrics["mae"] == pytest.approx(min(maes), abs=1e-6)


@pytest.mark.parametrize("treatment", ["naive", "joint", "random", "teacher"])
@pytest.mark.slow
def test_every_treatment_trains_and_reports_the_transfer(data, treatment):
    run = fit(TrainConfig(**SMALL | {"epochs": 2}, treatment=treatment), data, progress=False)
    for key in (
        "task",
        "vision_to_audio",
        "language_to_audio",
        "valid_vision_r2",
        "valid_language_error",
        "valid_audio_std",
    ):
        assert np.isfinite(run.history[-1][key]), key
    entry, config = run.history[-1], TrainConfig()
    total = entry["task"] + config.lambda_vision * entry["vision_to_audio"]
    total += config.lambda_language * entry["language_to_audio"] + entry.get("audio_task", 0.0)
    assert entry["loss"] == pytest.approx(total, rel=1e-4)


@pytest.mark.slow
def test_the_naive_reading_of_eq_1_shrinks_f_a_and_the_treatments_do_not(data):
    """With gradients through both sides f_A loses its spread, and the error falls with it: a low error means little."""
    last = {}
    for treatment in ("naive", "joint", "random"):
        options = {"epochs": 15, "learning_rate": 3e-3, "kernel": 1, "task_loss": "cross_entropy"}
        config = TrainConfig(**SMALL | options, treatment=treatment)
        last[treatment] = fit(config, data, progress=False).history[-1]
    for key, share in (("valid_audio_std", 0.5), ("valid_vision_error", 0.25)):
        assert last["naive"][key] < share * min(last["joint"][key], last["random"][key]), key


def test_emotions_train_with_four_binary_heads():
    data = make_dataset("emotion")
    run = fit(TrainConfig(**SMALL), data, progress=False)
    result = evaluate(run.model, data["test"])
    assert result.predictions.shape == (20, 4)
    assert run.history[run.best_epoch]["valid_f1_mean"] == max(entry["valid_f1_mean"] for entry in run.history)


def test_same_seed_same_numbers_and_another_seed_others(data):
    runs = [fit(TrainConfig(**SMALL, seed=seed), data, progress=False) for seed in (1, 1, 2)]
    assert weights_equal(runs[0].model, runs[1].model)
    assert not weights_equal(runs[0].model, runs[2].model)


@pytest.mark.parametrize("treatment", ["joint", "teacher"])
@pytest.mark.slow
def test_a_stopped_run_resumes_to_bitwise_the_same_weights(data, tmp_path, monkeypatch, treatment):
    config = TrainConfig(**SMALL, treatment=treatment)
    unbroken = fit(config, data, tmp_path / "unbroken", progress=False)

    steps = 0
    step = torch.optim.Adam.step

    def stop_in_the_middle(self, *args, **kwargs):
        nonlocal steps
        steps += 1
        if steps == (8 if treatment == "joint" else 23):  # in the middle of epoch 2; the teacher took 15 steps before
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", stop_in_the_middle)
    with pytest.raises(KeyboardInterrupt):
        fit(config, data, tmp_path / "broken", progress=False)
    assert len(checkpoint.load(tmp_path / "broken" / "last.pt")["history"]) == 1
    monkeypatch.undo()

    resumed = fit(config, data, tmp_path / "broken", progress=False)
    assert weights_equal(unbroken.model, resumed.model)
    last = [checkpoint.load(tmp_path / name / "last.pt") for name in ("unbroken", "broken")]
    for name, tensor in last[0]["objective"].items():
        assert torch.equal(tensor, last[1]["objective"][name]), name
    drop = [{k: v for k, v in entry.items() if k != "seconds"} for entry in unbroken.history]
    assert drop == [{k: v for k, v in entry.items() if k != "seconds"} for entry in resumed.history]


def test_a_finished_run_can_be_trained_longer_and_its_folder_named_in_another_way(data, tmp_path):
    config = TrainConfig(**SMALL, variant="language")
    fit(config, data, tmp_path / "a", progress=False)
    longer = dataclasses.replace(config, epochs=5, out="/elsewhere")
    assert weights_equal(
        fit(longer, data, tmp_path / "a", progress=False).model, fit(longer, data, progress=False).model
    )


def test_a_checkpoint_of_other_parameters_or_data_is_refused(data, tmp_path):
    config = TrainConfig(**SMALL, variant="language")
    fit(config, data, tmp_path, progress=False)
    with pytest.raises(CheckpointError, match=r"learning_rate: 0\.001 there, 0\.01 now"):
        fit(dataclasses.replace(config, learning_rate=0.01), data, tmp_path, progress=False)
    other = Dataset(data.header, {**data.splits, "train": make_split(40, 9)})
    with pytest.raises(CheckpointError, match="other data"):
        fit(config, other, tmp_path, progress=False)


def test_a_full_disk_keeps_the_previous_checkpoint(data, tmp_path, monkeypatch):
    config = TrainConfig(**SMALL, variant="language")
    calls = 0
    fsync = os.fsync

    def full(descriptor):
        nonlocal calls
        calls += stat.S_ISREG(os.fstat(descriptor).st_mode)  # of a file, not of its folder
        if calls == 2:
            raise OSError(28, "No space left on device")
        return fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"No space left.*previous last\.pt is intact"):
        fit(config, data, tmp_path, progress=False)
    assert len(checkpoint.load(tmp_path / "last.pt")["history"]) == 1
    assert not list(tmp_path.glob(".*.partial"))


def test_a_folder_that_cannot_be_written_is_said_before_the_first_epoch(data, tmp_path, monkeypatch):
    monkeypatch.setattr(training._Loop, "epoch", None)
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(KTNetError, match="file is a file; choose another folder"):
            fit(TrainConfig(**SMALL), data, folder, progress=False)


def test_out_of_memory_says_what_to_lower(data, monkeypatch):
    def no_memory(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(training._Loop, "epoch", no_memory)
    with pytest.raises(KTNetError, match="out of memory at batch_size = 8: lower batch_size, set grid"):
        fit(TrainConfig(**SMALL), data, progress=False)


def test_a_loss_that_is_no_number_stops_the_run(data):
    config = TrainConfig(**SMALL | {"learning_rate": 1e20}, variant="language", task_loss="l1")
    with pytest.raises(KTNetError, match=r"the loss became (nan|inf) in epoch \d; lower learning_rate"):
        fit(config, data, progress=False)


def test_a_missing_split_or_modality_is_named(data):
    with pytest.raises(DataError, match="no split 'valid'"):
        fit(TrainConfig(**SMALL), Dataset(data.header, {"train": data["train"]}), progress=False)
    deaf = Dataset(data.header, {name: without(split, "audio") for name, split in data.splits.items()})
    with pytest.raises(DataError, match="no audio to learn from"):
        fit(TrainConfig(**SMALL, treatment="random"), deaf, progress=False)
    textless = Dataset(data.header, {**data.splits, "train": without(data["train"], "language")})
    with pytest.raises(DataError, match="split train of 'tiny' has no language"):
        fit(TrainConfig(**SMALL, variant="language"), textless, progress=False)


def without(split: Split, modality: str) -> Split:
    streams = {name: stream for name, stream in split.streams.items() if name != modality}
    return Split(streams, split.targets, split.ids)


@pytest.mark.slow
def test_the_saved_model_predicts_without_audio_what_it_did_with(data, tmp_path):
    run = fit(TrainConfig(**SMALL), data, tmp_path, progress=False)
    model, config = load_model(tmp_path / "model.pt")
    assert config == TrainConfig(**SMALL)
    expected = evaluate(run.model, data["test"]).predictions
    np.testing.assert_array_equal(evaluate(model, without(data["test"], "audio")).predictions, expected)
    audio = data["test"].streams["audio"]
    poisoned = Stream(np.full_like(audio.values, np.nan), audio.lengths)
    nan = Split({**data["test"].streams, "audio": poisoned}, data["test"].targets, data["test"].ids)
    np.testing.assert_array_equal(evaluate(model, nan).predictions, expected)
    with pytest.raises(DataError, match="has no vision"):
        check_fits(model, without(data["test"], "vision"), "clips.h5")


@pytest.mark.parametrize(("task", "loss"), [("sentiment", "cross_entropy"), ("sentiment", "l1"), ("emotion", "auto")])
def test_predictions_are_those_that_are_measured_and_need_no_labels(task, loss):
    model = build_model(TrainConfig(**SMALL, task_loss=loss), task, {"language": 6, "vision": 4, "audio": 3})
    split = make_split(12, 0, task)
    unlabelled = Split(split.streams, np.zeros_like(split.targets), split.ids)
    measured = evaluate(model, split)
    np.testing.assert_array_equal(predict(model, unlabelled), measured.predictions)
    np.testing.assert_allclose(predict(model, split, batch_size=5), measured.predictions, atol=1e-5)
    shape, ends = ((12,), SENTIMENT_RANGE) if task == "sentiment" else ((12, 4), (0, 1))
    assert measured.predictions.shape == shape and measured.logits.shape == (12, *model.outputs)
    assert loss == "l1" or ends[0] <= measured.predictions.min() <= measured.predictions.max() <= ends[1]


def test_a_data_set_is_loaded_by_name_or_by_config():
    whole, small = load_dataset("synthetic"), load_dataset(TrainConfig(clips=16, grid=4))
    assert {name: len(whole[name]) for name in whole} == {"train": 800, "valid": 200, "test": 400}
    assert {name: len(small[name]) for name in small} == {"train": 16, "valid": 4, "test": 8}
    assert max(small["train"].streams[name].lengths.max() for name in ("vision", "audio")) == 4
    with pytest.raises(ConfigError, match="sinthetic"):
        load_dataset("sinthetic")


def test_a_teacher_must_be_a_full_model_of_the_same_width(data, tmp_path):
    fit(TrainConfig(**SMALL, variant="language"), data, tmp_path, progress=False)
    with pytest.raises(CheckpointError, match="is a 'language' model, not ktnet with audio"):
        fit(TrainConfig(**SMALL, teacher=str(tmp_path / "model.pt")), data, progress=False)
    fit(TrainConfig(**SMALL, model="mult"), data, tmp_path / "mult", progress=False)
    with pytest.raises(CheckpointError, match="is a 'mult' model, not ktnet with audio"):
        fit(TrainConfig(**SMALL, teacher=str(tmp_path / "mult" / "model.pt")), data, progress=False)
    with pytest.raises(CheckpointError, match=r"model for prediction is model\.pt"):
        load_model(tmp_path / "last.pt")


def test_a_teacher_of_another_width_or_for_other_data_is_refused(data, tmp_path):
    fit(TrainConfig(**SMALL, variant="full"), data, tmp_path, progress=False)
    config = TrainConfig(**SMALL, teacher=str(tmp_path / "model.pt"))
    with pytest.raises(CheckpointError, match=r"model\.pt differs in dim, heads; train one with variant = 'full'"):
        fit(dataclasses.replace(config, dim=12, heads=3), data, progress=False)
    wide = make_split(40, 0)
    audio = wide.streams["audio"]
    wide.streams["audio"] = Stream(np.repeat(audio.values, 2, axis=1), audio.lengths)
    other = Dataset(data.header, {**data.splits, "train": wide})
    with pytest.raises(DataError, match="'tiny', for the teacher, audio: 6 features per step; the model expects 3"):
        fit(config, other, progress=False)


@pytest.mark.slow
def test_a_given_teacher_is_what_training_one_first_gives(data, tmp_path):
    config = TrainConfig(**SMALL)
    fit(dataclasses.replace(config, variant="full"), data, tmp_path, progress=False)
    given = fit(dataclasses.replace(config, teacher=str(tmp_path / "model.pt")), data, progress=False)
    assert weights_equal(given.model, fit(config, data, progress=False).model)
    assert weights_equal(given.audio_target.encoder, load_model(tmp_path / "model.pt")[0].encoders["audio"])


@pytest.mark.slow
def test_another_teacher_is_not_mistaken_for_the_first(data, tmp_path):
    for seed in (0, 1):
        fit(TrainConfig(**SMALL, variant="full", seed=seed), data, tmp_path / str(seed), progress=False)
    first, second = (TrainConfig(**SMALL, teacher=str(tmp_path / str(seed) / "model.pt")) for seed in (0, 1))
    fit(first, data, tmp_path / "ours", progress=False)
    with pytest.raises(CheckpointError, match=r"last\.pt was trained with another teacher; choose another folder"):
        fit(second, data, tmp_path / "ours", progress=False)


def test_more_epochs_than_asked_for_and_no_training_checkpoint_at_all_are_errors(data, tmp_path):
    config = TrainConfig(**SMALL, variant="language")
    fit(config, data, tmp_path, progress=False)
    with pytest.raises(CheckpointError, match=r"last\.pt has 3 epochs already, and epochs = 2"):
        fit(dataclasses.replace(config, epochs=2), data, tmp_path, progress=False)
    (tmp_path / "model.pt").replace(tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match=r"is not a training checkpoint: it has no best, data, history"):
        fit(config, data, tmp_path, progress=False)


def altered(path: Path, place: str, value) -> Path:
    """Save a checkpoint again with another value in one place, or without the place."""
    content = checkpoint.load(path)
    *parents, last = [int(key) if key.isdigit() else key for key in place.split("/")]
    part = content
    for key in parents:
        part = part[key]
    if value is KeyError:
        del part[last]
    else:
        part[last] = value(part[last]) if callable(value) else value
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def language(data, tmp_path_factory) -> Path:
    """The folder of a small finished run."""
    folder = tmp_path_factory.mktemp("language")
    fit(TrainConfig(**SMALL, variant="language"), data, folder, progress=False)
    return folder


WEIGHT = "encoders.language.embedding.project.weight"


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("config", -0.0, r"Expected `object`, got `float` - at `\$\.config`"),
        ("config", torch.ones(2), "comes from another version of ktnet-lite, or was altered"),
        ("config/width", 40, "unknown parameter 'width'"),
        ("config/layers", 10**9, "layers = 1000000000 is outside"),
        ("config/layers", 100, "lacks 'encoders"),
        ("config/dim", 2**16, "has shape .*the model expects .*65536"),
        ("config/variant", "vision", "lacks 'encoders.vision"),
        ("task", "speech", r"Invalid enum value 'speech' - at `\$\.task`"),
        ("task", "emotion", "has shape"),
        ("dims/language", 2**31 - 1, "has shape"),
        ("dims/language", -6, r"Expected `int` >= 1 - at `\$\.dims"),
        ("dims/language", 10**30, r"Expected `int` <= 2147483647 - at `\$\.dims"),
        ("dims/language", KeyError, "observes language, but the data has only vision, audio"),
        ("dims/smell", 3, "Invalid enum value 'smell'"),
        ("dims/\ud800", 3, "or was altered"),
        ("model", [], r"Expected `object`, got `array` - at `\$\.model`"),
        (f"model/{WEIGHT}", KeyError, f"lacks '{WEIGHT}'"),
        ("model/more", torch.ones(1), "has an unknown 'more'"),
        (f"model/{WEIGHT}", 5, "Expected `Tensor`, got `int`"),
        (f"model/{WEIGHT}", lambda x: x.double(), r"has shape \(8, 18\) and type torch.float64; the model expects"),
        (f"model/{WEIGHT}", lambda x: x * np.inf, f"{WEIGHT} has a value that is not a number"),
    ],
)
def test_what_is_wrong_in_a_model_file_is_named(language, tmp_path, place, value, message):
    (tmp_path / "model.pt").write_bytes((language / "model.pt").read_bytes())
    start = time.monotonic()
    with pytest.raises(CheckpointError, match=rf"model\.pt.*({message})"):
        load_model(altered(tmp_path / "model.pt", place, value))
    assert time.monotonic() - start < 5, "nothing large was built"


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("config", None, r"Expected `object`, got `null` - at `\$\.config`"),
        ("config/learning_rate", 10**400, "a number of 167 bytes"),
        ("data", 5, r"Expected `str`, got `int` - at `\$\.data`"),
        ("history", [], "was altered: it has 0 epochs, and not the best of them"),
        ("best", None, "was altered: it has 3 epochs, and not the best of them"),
        ("pretraining", KeyError, "is not a training checkpoint: it has no pretraining"),
        ("pretraining", [{"loss": 1.0}], "its history has an epoch without loss or seconds"),
        ("history/0/loss", float("nan"), r"Expected `float` .* at `\$\.history"),
        ("history/1/loss", KeyError, "its history has an epoch without loss or seconds"),
        ("best", {}, r"Object missing required field `epoch` - at `\$\.best`"),
        ("best/epoch", 3, "its best epoch, 3, is not one of its 3"),
        ("best/epoch", 1.0, r"Expected `int`, got `float` - at `\$\.best\.epoch`"),
        ("best/score", float("nan"), "its best epoch"),
        ("best/score", None, r"Expected `float`, got `null` - at `\$\.best\.score`"),
        (f"best/model/{WEIGHT}", lambda x: x[:1], r"best: .* has shape \(1, 18\)"),
        (f"objective/model.{WEIGHT}", KeyError, "objective lacks 'model.encoders"),
        (f"objective/model.{WEIGHT}", lambda x: x + np.nan, "objective: .* has a value that is not a number"),
        ("optimizer", {}, r"Object missing required field `state` - at `\$\.optimizer`"),
        ("optimizer/state", {}, r"Expected `object` of length >= 1 - at `\$\.optimizer\.state`"),
        ("optimizer/state", torch.ones(1), "or was altered"),
        ("optimizer/state/99", {}, "weight 99: the model has only"),
        ("optimizer/state/0/exp_avg", lambda x: x.T, r"weight 0: exp_avg has shape \(18, 8\)"),
        ("optimizer/state/0/exp_avg_sq", lambda x: -x - 1, "weight 0: a count or a square is negative"),
        ("optimizer/state/0/step", KeyError, "weight 0 lacks 'step'"),
        ("scaler", {"scale": "x"}, r"Expected `int \| float`, got `str` - at `\$\.scaler"),
    ],
)
def test_what_is_wrong_in_a_training_checkpoint_is_named(data, language, tmp_path, place, value, message):
    (tmp_path / "last.pt").write_bytes((language / "last.pt").read_bytes())
    altered(tmp_path / "last.pt", place, value)
    with pytest.raises(CheckpointError, match=rf"last\.pt.*({message})"):
        fit(TrainConfig(**SMALL | {"epochs": 4}, variant="language"), data, tmp_path, progress=False)


def test_the_settings_of_the_optimizer_are_those_of_the_config(data, language, tmp_path):
    (tmp_path / "last.pt").write_bytes((language / "last.pt").read_bytes())
    altered(tmp_path / "last.pt", "optimizer/param_groups/0/lr", 1.0)
    config = TrainConfig(**SMALL | {"epochs": 4}, variant="language")
    resumed = fit(config, data, tmp_path, progress=False).model
    assert weights_equal(resumed, fit(config, data, progress=False).model)


def test_the_gradient_is_clipped_to_the_norm_of_the_config(data, monkeypatch):
    norms = []

    def noted(parameters, largest):
        total = clip(parameters, largest)
        norms.append(
            (total.item(), torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm().item())
        )
        return total

    clip = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", noted)
    fit(TrainConfig(**SMALL | {"epochs": 1}, variant="language", clip_norm=0.05), data, progress=False)
    assert norms and all(before > 0.05 and after == pytest.approx(0.05, rel=1e-3) for before, after in norms)


def test_each_lambda_weighs_its_own_source(data):
    config = TrainConfig(**SMALL | {"epochs": 1}, treatment="random", lambda_vision=0.25, lambda_language=3.0)
    entry = fit(config, data, progress=False).history[0]
    weighed = entry["task"] + 0.25 * entry["vision_to_audio"] + 3.0 * entry["language_to_audio"]
    assert entry["loss"] == pytest.approx(weighed, rel=1e-5)


def test_a_grid_is_of_the_data_that_is_trained_on(data):
    config = TrainConfig(**SMALL, variant="vision", grid=4)
    with pytest.raises(ConfigError, match=r"grid = 4, but vision has up to 8 steps; give .*dataset\.on_grid\(4\)"):
        fit(config, data, progress=False)
    gridded = data.on_grid(4)
    run = fit(config, gridded, progress=False)
    measured = evaluate(run.model, gridded["valid"]).metrics["mae"]
    assert measured == pytest.approx(run.history[run.best_epoch]["valid_mae"], abs=1e-6)


def test_a_device_that_is_not_there_is_an_error():
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ConfigError, match="device = 'cuda'"):
        fit(TrainConfig(**SMALL | {"device": "cuda"}), make_dataset(), progress=False)


def test_bf16_autocast_trains_on_the_cpu(data):
    run = fit(TrainConfig(**SMALL, precision="bf16", variant="language_vision"), data, progress=False)
    assert run.history[-1]["loss"] < run.history[0]["loss"]


def train_jointly_and_taught(folder: str) -> None:
    """Train in this process, or in those of torchrun, to compare them."""
    config = TrainConfig(**SMALL | {"epochs": 1, "dropout": 0.0, "batch_size": 7}, treatment="joint")
    with processes(torch.device("cpu")):
        fit(config, make_dataset(longest=200), folder, progress=False)
        config = dataclasses.replace(config, treatment="teacher", pretrain=1)
        fit(config, make_dataset(longest=300), f"{folder}-taught", progress=False)


@pytest.mark.process
def test_two_processes_give_what_one_gives_with_the_whole_batch(tmp_path):
    """torchrun with two gloo processes: the same weights as one process, though the shards hold unequal steps.

    Clips are longer than the first table of positions, which then grows in each process by what it has seen, and is of
    another size in each when a teacher has been trained. No process prints that an argument is deprecated.
    """
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys, warnings
            sys.path[:0] = {[str(TESTS), str(TESTS.parent)]!r}
            warnings.simplefilter("error", FutureWarning)
            from test_training import train_jointly_and_taught
            train_jointly_and_taught(sys.argv[1])
            """
        ),
        encoding="utf-8",
    )
    train_jointly_and_taught(str(tmp_path / "one"))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*torchrun, script, tmp_path / "two"], check=True, timeout=300)
    taught = [checkpoint.load(tmp_path / f"{name}-taught" / "last.pt") for name in ("one", "two")]
    for stage in ("pretraining", "history"):
        losses = [content[stage][0]["loss"] for content in taught]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4), stage
    one, two = (checkpoint.load(tmp_path / name / "last.pt") for name in ("one", "two"))
    for term in ("loss", "task", "vision_to_audio", "language_to_audio", "audio_task"):
        assert two["history"][0][term] == pytest.approx(one["history"][0][term], rel=1e-4), term
    for name, tensor in one["objective"].items():
        other = two["objective"][name]
        if name.endswith("qkv.bias"):  # softmax does not see the bias of the keys: its gradient is rounding alone
            query, _, value = tensor.chunk(3)
            tensor, other = torch.cat([query, value]), torch.cat([other.chunk(3)[0], other.chunk(3)[2]])
        torch.testing.assert_close(other, tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_distilling_pulls_the_scores_towards_the_tutors(data, tmp_path):
    config = TrainConfig(**SMALL | {"epochs": 6}, variant="any")
    tutor = fit(config, data, tmp_path / "any", progress=False)
    student = dataclasses.replace(config, fusion="bottleneck", seed=1)
    given = dataclasses.replace(student, distil=20.0, teacher=str(tmp_path / "any" / "model.pt"))
    alone, taught = (fit(c, data, progress=False) for c in (student, given))
    distance = [
        np.abs(predict(run.model, data["train"]) - predict(tutor.model, data["train"])).mean()
        for run in (alone, taught)
    ]
    assert distance[1] < distance[0]
    assert "distil" in taught.history[0] and "distil" not in alone.history[0]


def test_a_tutor_is_trained_first_and_must_be_an_any_model(data, tmp_path):
    config = TrainConfig(**SMALL | {"epochs": 1}, variant="any", fusion="bottleneck", distil=1.0)
    assert config.needs_teacher and config.taught_by == TrainConfig(**SMALL | {"epochs": 1}, variant="any")
    fit(config, data, tmp_path, progress=False)
    assert load_model(tmp_path / "teacher" / "model.pt")[1] == config.taught_by
    fit(TrainConfig(**SMALL, variant="language"), data, tmp_path / "words", progress=False)
    with pytest.raises(CheckpointError, match="is a 'language' model, not ktnet any; train one with variant = 'any'"):
        fit(dataclasses.replace(config, teacher=str(tmp_path / "words" / "model.pt")), data, progress=False)
