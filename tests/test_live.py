"""Clips as they arrive: whole clips and beginnings, drop-outs, and the command."""

import dataclasses

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from ktnet_lite.baselines import BASELINES
from ktnet_lite.cli import main
from ktnet_lite.config import TrainConfig
from ktnet_lite.data import store
from ktnet_lite.data.schema import Dataset, Header
from ktnet_lite.deploy import live
from ktnet_lite.deploy.live import Drop
from ktnet_lite.deploy.stream import Listener, Steps
from ktnet_lite.model.losses import OUTPUTS
from ktnet_lite.names import EMOTIONS
from ktnet_lite.training.build import build_model, save_model
from ktnet_lite.training.dataset import load_dataset
from ktnet_lite.training.evaluation import predict
from small import DIMS, UNALIGNED, make_model, make_split, shaken

SHARES = (0.3, 0.5, 1.0)
PART = UNALIGNED | {"audio": [9, 0, 8, 3]}  # a clip lacks its audio


def mult():
    torch.manual_seed(0)
    return shaken(BASELINES["mult"].network(DIMS, OUTPUTS["l1"], dim=8, dropout=0.0, heads=2, layers=1)).eval()


def systems():
    any_modality = {"missing": "both", "kernel": 3, "pooling": "last"}
    yield "any", make_model("any", "l1", **any_modality), PART
    yield "any, causal", make_model("any", "l1", causal=True, **any_modality), PART
    yield "ours", make_model("ours", "l1"), UNALIGNED
    yield "ours, causal", make_model("ours", "l1", causal=True), UNALIGNED
    yield "mult", mult(), UNALIGNED


@pytest.mark.parametrize(("model", "lengths"), [pytest.param(*rest, id=name) for name, *rest in systems()])
def test_one_clip_that_is_played_and_a_split_of_beginnings_are_scored_alike(model, lengths):
    split = make_split(lengths)
    scores = live.beginnings(model, split, SHARES, batch_size=3)
    np.testing.assert_allclose(scores[-1], predict(model, split), atol=1e-5)
    for i in range(len(split)):
        played = list(live.played(model, live.steps_of(split, i, model.observed), 0.1, 1.0))
        assert len(played) == 10 and played[-1].now == 1.0
        for share, score in zip(SHARES, scores[:, i], strict=True):
            (moment,) = (moment for moment in played if abs(moment.now - share) < 1e-6)
            np.testing.assert_allclose(moment.scores, [score], atol=1e-5)
        assert played[-1].heard == tuple(name for name in model.observed if split.streams[name].lengths[i])


def test_a_causal_model_goes_on_and_any_other_begins_again():
    assert isinstance(live.listener(make_model("any", causal=True)), Listener)
    assert all(isinstance(live.listener(model), live.Restarted) for model in (make_model("any"), mult()))


def test_what_drops_out_does_not_arrive():
    streams = {"audio": Steps(np.arange(5)[:, None], np.arange(1.0, 6.0)), "vision": Steps(np.ones((1, 1)), np.ones(1))}
    left = live.without(streams, [Drop("audio", 1, 3), Drop("audio", 4.5, 9), Drop("language", 0, 9)])
    assert left["audio"].times.tolist() == [1, 4] and left["audio"].values.ravel().tolist() == [0, 3]
    assert left["vision"] is streams["vision"]


def test_how_often_a_score_changes_sides():
    scores = np.array([[1.0, -1.0], [-1.0, -0.5], [0.5, -2.0]])
    assert live.flips(scores).tolist() == [2, 0] and live.flips(scores, -0.7).tolist() == [2, 2]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A causal model, and a data set that it reads."""
    folder = tmp_path_factory.mktemp("live")
    header, split = Header("own", "sentiment", False), make_split(UNALIGNED)
    config = TrainConfig(variant="any", dim=8, heads=2, layers=2, causal=True, kernel=1)
    save_model(folder / "model.pt", make_model("any", "l1", causal=True), config, header, DIMS)
    other = dataclasses.replace(make_split(UNALIGNED, seed=1), ids=tuple("abcd"))
    splits = {"train": other, "test": split}
    Dataset.collect(header, splits.items())
    store.write(folder / "own.h5", header, splits.items(), progress=False)
    return folder


def run(folder, *options):
    return CliRunner().invoke(main, ["live", str(folder / "model.pt"), str(folder / "own.h5"), *options])


def test_the_command_shows_the_error_against_what_was_heard(files):
    done = run(files)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].split() == ["HEARD", "MAE", "CORR"]
    assert [line.split()[0] for line in lines[1:11]] == [f"{10 * i}%" for i in range(1, 11)]
    split = make_split(UNALIGNED)
    mae = np.abs(predict(make_model("any", "l1", causal=True), split) - split.targets).mean()
    assert lines[10].split()[1] == f"{mae:.3f}"
    assert lines[-1].startswith("4 clips; a score changes sides ")


def test_the_command_plays_one_clip_with_a_drop_out(files):
    done = run(files, "--clip", "clip0", "--hop", "0.25", "--drop", "audio:0-1")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["0.25", "0.50", "0.75", "1.00"]
    assert [line.split()[-1] for line in lines[1:5]] == [
        "vision",
        "language+vision",
        "language+vision",
        "language+vision",
    ]
    assert "4 hops of 0.25 of the clip; the model goes on at each" in done.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--clip", "x"], "has no clip 'x'; the first are clip0, clip1, clip2"),
        (["--clip", "clip0", "--drop", "audio"], "--drop 'audio': give language, vision, audio and from when to when"),
        (["--clip", "clip0", "--drop", "smell:1-2"], "--drop 'smell:1-2': give language"),
        (["--clip", "clip0", "--drop", "audio:3-2"], "--drop 'audio:3-2': give language"),
        (["--clip", "clip0", "--hop", "0"], "--hop 0.0: give a number above 0"),
        (["--hop", "1"], "--hop and --drop are for one clip; name it with --clip"),
    ],
)
def test_what_cannot_be_played_is_refused(files, options, message):
    done = run(files, *options)
    assert done.exit_code == 1 and message in done.output


def test_the_benchmark_times_both_ways():
    import live as benchmark

    done = CliRunner().invoke(benchmark.main, ["--seconds", "0.5", "--hop", "0.25"])
    assert done.exit_code == 0, done.output
    rows = [line.split()[:2] for line in done.output.splitlines()[1:]]
    assert rows == [["pairs", "goes"], ["pairs", "begins"], ["bottleneck", "goes"], ["bottleneck", "begins"]]


def test_emotions_have_a_probability_each(tmp_path):
    config = TrainConfig(variant="any", task="emotion", clips=24, dim=8, heads=2, causal=True)
    dataset = load_dataset(config)
    torch.manual_seed(0)
    model = build_model(config, "emotion", dataset.dims)
    model.fit_statistics(dataset["train"])
    save_model(tmp_path / "model.pt", model, config, dataset.header, dataset.dims)
    whole, one = (
        CliRunner().invoke(main, ["live", str(tmp_path / "model.pt"), "synthetic", *options])
        for options in ([], ["--clip", "test_1"])
    )
    assert whole.exit_code == one.exit_code == 0, whole.output + one.output
    assert whole.output.splitlines()[0].split() == ["HEARD", "F1_MEAN", "ACCURACY_MEAN"]
    assert one.output.splitlines()[0].split()[1:5] == [name.upper() for name in EMOTIONS]
    assert all(0 <= float(x) <= 1 for x in one.output.splitlines()[1].split()[1:5])
