"""Before the labels and beside them: Eq. (1) alone, clips without labels, early stopping, the controls of the voice."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ktnet_lite.config import TrainConfig
from ktnet_lite.data.schema import Dataset, Split, Stream
from ktnet_lite.errors import CheckpointError, ConfigError
from ktnet_lite.training import checkpoint
from ktnet_lite.training import loop as training
from ktnet_lite.training.build import SESSION, build_objective, other_voices, training_clips
from ktnet_lite.training.evaluation import evaluate
from ktnet_lite.training.loop import Run, fit
from test_training import SMALL, make_dataset, weights_equal

OURS = SMALL | {"treatment": "descriptors", "epochs": 2}  # without a teacher
PRETRAINED = TrainConfig(**OURS, pretrain=2)
STEPS = 5  # steps of an epoch: 40 clips in batches of 8


def in_sessions(split: Split, sessions: int = 8) -> Split:
    """The same clips as parts of recordings, which lie mixed."""
    ids = tuple(f"recording{i % sessions}_{i // sessions}" for i in range(len(split)))
    return dataclasses.replace(split, ids=ids)


@pytest.fixture(scope="module")
def data() -> Dataset:
    whole = make_dataset()
    return Dataset(whole.header, {**whole.splits, "train": in_sessions(whole["train"])})


def with_train(data: Dataset, train: Split) -> Dataset:
    return Dataset(data.header, {**data.splits, "train": train})


def poisoned(split: Split, kept: set[str], names: tuple[str, ...] = ("language", "vision", "audio")) -> Split:
    """NaN in the given streams of all clips but the ``kept`` ones."""
    streams = dict(split.streams)
    for name in names:
        stream = streams[name]
        known = np.repeat([clip in kept for clip in split.ids], stream.lengths)
        streams[name] = Stream(np.where(known[:, None], stream.values, np.float32("nan")), stream.lengths)
    return dataclasses.replace(split, streams=streams)


def curves(epochs: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in epochs]


def same_run(a: Run, b: Run) -> bool:
    return (
        weights_equal(a.model, b.model)
        and curves(a.history) == curves(b.history)
        and curves(a.pretraining) == curves(b.pretraining)
        and a.best_epoch == b.best_epoch
    )


def stopped_at(step: int, config: TrainConfig, data: Dataset, folder: Path, monkeypatch) -> dict:
    """Stop a run in the given step of Adam, counted from 1; return its checkpoint."""
    steps, adam = 0, torch.optim.Adam.step

    def stop(self, *args, **kwargs):
        nonlocal steps
        steps += 1
        if steps == step:
            raise KeyboardInterrupt
        return adam(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(config, data, folder, progress=False)
    return checkpoint.load(folder / "last.pt")


# Eq. (1) alone


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory) -> tuple[Run, dict[str, torch.Tensor]]:
    """A run that is never stopped, and all weights of its last epoch."""
    folder = tmp_path_factory.mktemp("unbroken")
    return fit(PRETRAINED, data, folder, progress=False), checkpoint.load(folder / "last.pt")["objective"]


def test_pretraining_has_epochs_of_its_own_and_reports_the_transfer(data, unbroken):
    run, _ = unbroken
    assert (len(run.pretraining), len(run.history)) == (2, 2)
    for entry in run.pretraining:
        assert entry.keys() >= {"loss", "vision_to_audio", "language_to_audio", "valid_vision_r2", "valid_language_r2"}
        assert "task" not in entry and "valid_mae" not in entry and entry["seconds"] > 0
        assert entry["loss"] == pytest.approx(entry["vision_to_audio"] + entry["language_to_audio"], rel=1e-5)
    assert run.pretraining[1]["loss"] < run.pretraining[0]["loss"]
    assert run.history[0]["language_to_audio"] < run.pretraining[0]["language_to_audio"]
    assert fit(TrainConfig(**OURS | {"epochs": 1}), data, progress=False).pretraining == []


@pytest.mark.parametrize(("step", "done"), [(8, (1, 0)), (11, (2, 0)), (18, (2, 1))])
def test_a_run_that_is_stopped_in_or_after_pretraining_resumes_bitwise(
    data, unbroken, tmp_path, monkeypatch, step, done
):
    last = stopped_at(step, PRETRAINED, data, tmp_path, monkeypatch)
    assert (len(last["pretraining"]), len(last["history"])) == done and (last["best"] is None) == (done[1] == 0)
    assert same_run(unbroken[0], fit(PRETRAINED, data, tmp_path, progress=False))
    resumed = checkpoint.load(tmp_path / "last.pt")["objective"]
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in unbroken[1].items())


def test_pretraining_reads_no_label_and_moves_neither_fusion_nor_head(data, tmp_path, monkeypatch):
    config = TrainConfig(**OURS, pretrain=1)
    train = data["train"]
    other = with_train(data, dataclasses.replace(train, targets=-train.targets))
    states = {}
    for name, dataset in (("own", data), ("other", other)):
        states[name] = stopped_at(STEPS + 1, config, dataset, tmp_path / name, monkeypatch)
    torch.manual_seed(config.seed)
    before = build_objective(config, data).state_dict()
    moved = {name for name, tensor in states["own"]["objective"].items() if not torch.equal(tensor, before[name])}
    parts = {".".join(name.split(".")[:2]) for name in moved}
    assert parts == {"model.encoders", "model.transfer", "audio_target.readout"}
    for name, tensor in states["own"]["objective"].items():
        assert torch.equal(tensor, states["other"]["objective"][name]), f"{name} depends on labels"


def test_another_number_of_epochs_of_pretraining_is_another_run(data, tmp_path):
    fit(TrainConfig(**OURS | {"epochs": 1}, pretrain=1), data, tmp_path, progress=False)
    with pytest.raises(CheckpointError, match="pretrain: 1 there, 2 now"):
        fit(PRETRAINED, data, tmp_path, progress=False)


# Early stopping


def test_patience_stops_after_so_many_epochs_without_a_better_score(data, tmp_path, monkeypatch):
    """Without a learning rate the first epoch stays the best."""
    config = TrainConfig(**SMALL | {"learning_rate": 0.0, "epochs": 9}, variant="language", patience=3)
    run = fit(config, data, tmp_path, progress=False)
    assert (len(run.history), run.best_epoch) == (4, 0)
    assert len(fit(dataclasses.replace(config, patience=0), data, progress=False).history) == 9
    monkeypatch.setattr(training._Loop, "epoch", None)
    for epochs in (9, 20):
        again = fit(dataclasses.replace(config, epochs=epochs), data, tmp_path, progress=False)
        assert same_run(run, again), "a stopped run stays stopped"


def test_a_run_that_stops_early_resumes_to_the_same_end(data, tmp_path, monkeypatch):
    config = TrainConfig(**SMALL | {"learning_rate": 0.1, "epochs": 30}, variant="language", patience=2)
    unbroken = fit(config, data, progress=False)
    done = len(unbroken.history)
    assert done == unbroken.best_epoch + 3 < 30
    stopped_at(STEPS * (done - 1) + 2, config, data, tmp_path, monkeypatch)  # in the last epoch
    assert same_run(unbroken, fit(config, data, tmp_path, progress=False))


# Clips with and without labels


@pytest.mark.parametrize(
    ("clip", "session"),
    [
        ("recording7_12", "recording7"),
        ("03bSnISJMiM_1", "03bSnISJMiM"),
        ("03bSnISJMiM[4]", "03bSnISJMiM"),
        ("Ses01F_impro01-F003", "Ses01F_impro01-F"),
        ("name", "name"),
    ],
)
def test_a_session_is_the_name_of_a_clip_without_its_last_number(clip, session):
    assert SESSION.sub("", clip) == session


def test_training_clips_are_whole_sessions_the_same_for_each_seed_and_nested(data):
    train = data["train"]
    chosen = {}
    for labelled in (1, 5, 12, 25, 40):
        split, heard = training_clips(TrainConfig(labelled=labelled), train)
        assert split.ids == heard.ids and len(split) == labelled
        sessions = [SESSION.sub("", name) for name in split.ids]
        whole = [session for session in set(sessions) if sessions.count(session) == 5]
        assert len(set(sessions)) - len(whole) == (labelled % 5 > 0), "at most the last session is cut"
        chosen[labelled] = split.ids
        assert training_clips(TrainConfig(labelled=labelled, seed=7), train)[0].ids == split.ids
        assert train.ids != split.ids, "the order is random"
        for name, target in zip(split.ids, split.targets, strict=True):
            assert target == train.targets[train.ids.index(name)]
    for smaller, larger in zip(chosen.values(), list(chosen.values())[1:], strict=False):
        assert larger[: len(smaller)] == smaller
    assert training_clips(TrainConfig(), train) == (train, train)


def test_clips_without_labels_follow_the_labelled_ones(data):
    train = data["train"]
    labelled, heard = training_clips(TrainConfig(pretrain=1, labelled=8, unlabelled=16), train)
    assert (len(labelled), len(heard)) == (8, 24) and heard.ids[:8] == labelled.ids
    assert heard.ids == training_clips(TrainConfig(labelled=24), train)[0].ids
    assert set(heard.ids) < set(train.ids)


def test_too_few_training_clips_are_an_error(data):
    with pytest.raises(ConfigError, match="labelled = 30 and unlabelled = 11, but the training set has only 40 clips"):
        training_clips(TrainConfig(pretrain=1, labelled=30, unlabelled=11), data["train"])
    with pytest.raises(ConfigError, match="labelled = 41 and unlabelled = 0, but the training set has only 40"):
        fit(TrainConfig(**SMALL, variant="language", labelled=41), data, progress=False)


def test_labels_of_unlabelled_clips_and_all_other_clips_are_never_read(data):
    """Other labels, NaN in the clips that are not chosen and in the test set: bitwise the same run."""
    config = TrainConfig(**OURS, pretrain=2, labelled=8, unlabelled=16)
    run = fit(config, data, progress=False)
    train = data["train"]
    labelled, heard = (set(split.ids) for split in training_clips(config, train))
    hidden = np.array([name not in labelled for name in train.ids])
    other = poisoned(dataclasses.replace(train, targets=np.where(hidden, 3.0, train.targets).astype("f4")), heard)
    splits = {**data.splits, "train": other, "test": poisoned(data["test"], set())}
    assert same_run(run, fit(config, Dataset(data.header, splits), progress=False))
    language = run.model.inputs["language"].mean.numpy()
    values = training_clips(config, train)[1].streams["language"].values
    np.testing.assert_allclose(language, values.mean(0), atol=1e-6)  # its statistics are those of the clips it saw


@pytest.mark.parametrize("system", [{"variant": "full"}, OURS, {"model": "linear"}])
def test_a_run_without_pretraining_does_not_look_at_clips_without_labels(data, system):
    """Not even for the mean and scale of the features."""
    few = TrainConfig(**SMALL | system | {"epochs": 1}, labelled=8)
    more = dataclasses.replace(few, unlabelled=16)
    assert few.key == more.key
    assert same_run(fit(few, data, progress=False), fit(more, data, progress=False))


def test_clips_without_labels_change_what_is_learned(data):
    few = fit(TrainConfig(**OURS, pretrain=2, labelled=8), data, progress=False)
    more = fit(TrainConfig(**OURS, pretrain=2, labelled=8, unlabelled=16), data, progress=False)
    assert not weights_equal(few.model, more.model)


@pytest.mark.parametrize("system", [{"model": "linear"}, {"model": "constant"}, {"variant": "full"}])
def test_every_system_learns_from_the_labelled_clips_alone(data, system):
    config = TrainConfig(**SMALL | {"epochs": 1}, **system, labelled=10)
    kept = set(training_clips(config, data["train"])[0].ids)
    changed = poisoned(data["train"], kept)
    changed = dataclasses.replace(changed, targets=np.where([i in kept for i in changed.ids], changed.targets, 3.0))
    changed = dataclasses.replace(changed, targets=changed.targets.astype("f4"))
    assert same_run(fit(config, data, progress=False), fit(config, with_train(data, changed), progress=False))


# Whose voice


def test_every_clip_gets_the_voice_of_another_and_nothing_else_changes(data):
    train = data["train"]
    other = other_voices(train, 3)
    assert other.ids == train.ids and np.array_equal(other.targets, train.targets)
    assert all(other.streams[name] is train.streams[name] for name in ("language", "vision"))
    own, given = ([s.streams["audio"].clip(i).tobytes() for i in range(40)] for s in (train, other))
    assert sorted(given) == sorted(own) and all(a != b for a, b in zip(own, given, strict=True))
    assert other_voices(train, 4).streams["audio"].values.tobytes() != other.streams["audio"].values.tobytes()
    assert other_voices(train, 3).streams["audio"].values.tobytes() == other.streams["audio"].values.tobytes()


def test_with_the_voice_of_another_the_audio_cannot_be_predicted(data):
    """Every step of a clip holds its score: the own voice can be predicted from words and face, another's cannot."""
    config = TrainConfig(**OURS | {"epochs": 1, "learning_rate": 5e-3}, pretrain=8)
    own, other = (fit(dataclasses.replace(config, voice=voice), data, progress=False) for voice in ("own", "other"))
    for source in ("language", "vision"):
        r2 = [run.pretraining[-1][f"valid_{source}_r2"] for run in (own, other)]
        assert r2[0] > 0.3 and r2[1] < r2[0] / 2


def test_without_a_voice_training_never_reads_audio(data, tmp_path):
    fit(TrainConfig(**SMALL | {"epochs": 1}, variant="full"), data, tmp_path, progress=False)
    config = TrainConfig(**OURS, voice="none", pretrain=1, teacher=str(tmp_path / "model.pt"))
    run = fit(config, data, progress=False)
    splits = {name: poisoned(split, set(), ("audio",)) for name, split in data.splits.items()}
    assert same_run(run, fit(config, Dataset(data.header, splits), progress=False))
    assert np.isfinite(run.history[-1]["valid_language_r2"])


def test_descriptors_need_no_teacher(data, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "load_teacher", None)
    fit(TrainConfig(**OURS | {"epochs": 1}), data, tmp_path, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "model.pt"]


@pytest.mark.parametrize(
    "options",
    [
        {"treatment": "descriptors", "pretrain": 1, "labelled": 16, "unlabelled": 16},
        {"treatment": "descriptors", "level": "clip"},
        {"treatment": "random", "voice": "other", "pretrain": 1},
        {"treatment": "view"},
        {"voice": "none"},
    ],
    ids=["pretrained", "clip", "other", "view", "none"],
)
def test_no_audio_is_read_at_test(data, tmp_path, options):
    run = fit(TrainConfig(**SMALL | {"epochs": 1} | options), data, tmp_path, progress=False)
    assert run.model.observed == ("language", "vision") and np.isfinite(run.history[0]["valid_vision_r2"])
    expected = evaluate(run.model, data["test"]).predictions
    assert np.isfinite(expected).all()
    silent = poisoned(data["test"], set(), ("audio",))
    np.testing.assert_array_equal(evaluate(run.model, silent).predictions, expected)
    streams = {name: data["test"].streams[name] for name in ("language", "vision")}
    nothing = dataclasses.replace(data["test"], streams=streams)
    np.testing.assert_array_equal(evaluate(run.model, nothing).predictions, expected)
    taught = options.get("treatment", "teacher") == "view" or options.get("voice") == "none"
    assert (tmp_path / "teacher" / "model.pt").exists() == taught
