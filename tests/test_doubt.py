"""The intervals of a trained model, and reconstructions that say their doubt, from training to what is reported."""

import csv
import dataclasses

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from ktnet_lite.cli import main
from ktnet_lite.config import TrainConfig
from ktnet_lite.data import synthetic
from ktnet_lite.data.batching import collate
from ktnet_lite.errors import ConfigError, DataError
from ktnet_lite.experiments import result
from ktnet_lite.measures.calibration import half_widths, interval
from ktnet_lite.model.losses import Objective, resample
from ktnet_lite.model.transfer import mean_and_log_variance
from ktnet_lite.names import LEVELS, MODALITIES, subsets
from ktnet_lite.training.build import build_objective, load_validated
from ktnet_lite.training.dataset import load_dataset
from ktnet_lite.training.doubt import imagined, reconstructions, validated_half_widths
from ktnet_lite.training.evaluation import predict, transfer_quality
from ktnet_lite.training.loop import fit
from small import ALIGNED, UNALIGNED, make_model, make_split
from test_any_modality import lacking, mixed

SMALL = {"dim": 8, "heads": 2, "layers": 1, "epochs": 2, "clips": 24, "batch_size": 8}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs of both systems that transfer, with their folders."""
    found = {}
    for variant, treatment in (("any", "teacher"), ("ours", "random")):
        config = TrainConfig(**SMALL, variant=variant, treatment=treatment, transfer="gaussian")
        folder = tmp_path_factory.mktemp(variant)
        found[variant] = config, load_dataset(config), folder, fit(config, load_dataset(config), folder, progress=False)
    return found


def test_joined_along_features_the_doubt_of_a_step_without_a_source_does_not_depend_on_the_batch():
    model = make_model("ours", concat="features", transfer="gaussian")
    clips = lacking(*mixed(ALIGNED))
    np.testing.assert_allclose(predict(model, clips), predict(model, clips, batch_size=1), rtol=0, atol=1e-5)


def test_a_run_keeps_the_intervals_of_every_subset(trained):
    for variant, (config, dataset, folder, run) in trained.items():
        known = subsets(MODALITIES) if variant == "any" else [("language", "vision")]
        assert set(run.half_widths) == {"_".join(subset) for subset in known}
        assert load_validated(folder / "model.pt").half_widths == run.half_widths
        valid = dataset["valid"]
        errors = np.abs(predict(run.model, valid, None) - valid.targets)
        assert run.half_widths["_".join(known[0])] == half_widths(errors, np.arange(len(valid)))
        measured = result.measure(config, dataset, run)
        measured.save(folder / "result.json")
        assert result.load(folder / "result.json").half_widths == run.half_widths


def test_a_prediction_has_an_interval(trained):
    _, dataset, folder, run = trained["ours"]
    for level in LEVELS:
        done = CliRunner().invoke(main, ["predict", str(folder / "model.pt"), "synthetic", "--level", str(level)])
        assert done.exit_code == 0, done.output
        rows = list(csv.DictReader(done.output.splitlines()))
        limits = interval(predict(run.model, dataset["test"]), run.half_widths["language_vision"][LEVELS.index(level)])
        for name, expected in zip(("low", "high"), limits, strict=True):
            assert [float(row[name]) for row in rows] == pytest.approx(expected.tolist(), abs=1e-4)


def test_clips_of_one_recording_count_together():
    model, split = make_model("language", "l1"), make_split({"language": [3, 4, 2, 5, 3, 4]})
    errors = np.abs(predict(model, split) - split.targets)
    split = dataclasses.replace(split, ids=("a_1", "a_2", "a_3", "a_4", "b_1", "c_1"))
    groups = [0, 0, 0, 0, 1, 2]
    assert validated_half_widths(model, split)["language"] == half_widths(errors, np.array(groups))
    assert validated_half_widths(model, split)["language"] != half_widths(errors, np.arange(6))
    assert validated_half_widths(make_model("language", "emotion"), make_split({"language": [3]}, "emotion")) == {}


def test_the_steps_of_doubtful_reconstructions(trained):
    for variant, (_, dataset, _, run) in trained.items():
        objective = Objective(run.model, run.audio_target, dict.fromkeys(MODALITIES, 1.0), "gaussian")
        split = dataset["test"]
        found = reconstructions(objective, split)
        names = {"language": "language", "vision": "vision"}
        if variant == "any":
            names = {f"{a}_to_{b}": a for a in MODALITIES for b in MODALITIES if a != b}
        assert set(found) == set(names)
        for name, source in names.items():
            doubted = found[name]
            assert doubted.mean.shape == doubted.variance.shape == doubted.target.shape
            assert np.bincount(doubted.clip, minlength=len(split)).tolist() == split.streams[source].lengths.tolist()
            assert (doubted.variance >= np.exp(-6) * 0.999).all() and (doubted.variance <= np.exp(3) * 1.001).all()
            if variant == "ours":
                error = np.square(doubted.mean - doubted.target).mean()
                assert error == pytest.approx(transfer_quality(objective, split)[f"{name}_error"], rel=1e-5)


def test_point_reconstructions_have_no_doubt():
    config = TrainConfig(**SMALL, variant="any")
    dataset = load_dataset(config)
    with pytest.raises(ConfigError, match="transfer = 'gaussian'"):
        reconstructions(build_objective(config, dataset), dataset["test"])


@pytest.mark.parametrize("treatment", ["naive", "joint", "random", "descriptors"])
@pytest.mark.parametrize("level", ["step", "clip"])
def test_every_target_of_eq_1_takes_a_variance(treatment, level):
    config = TrainConfig(**SMALL, treatment=treatment, level=level, transfer="gaussian")
    dataset = load_dataset(config)
    objective = build_objective(config, dataset).train()
    objective(collate(dataset["train"], range(8), MODALITIES))["loss"].backward()
    gradients = objective.model.transfer["vision"].out.weight.grad
    assert (gradients.abs().sum(1) > 0).all(), "mean and log-variance learn"
    if treatment == "descriptors":
        assert objective.audio_target.doubt["vision"].weight.grad.abs().max() > 0


@pytest.mark.parametrize("given", [("language",), ("vision",), ("language", "vision")])
def test_voices_are_drawn_again_with_what_is_given(given):
    """With both given, nothing but the noise of the frames is left; with one, the spread of the other."""
    made = synthetic.make((4, 1, 3), redundancy=1.0, audio_noise=0.0, aligned=True)
    draws = [synthetic.redraw(made, "test", given, seed) for seed in range(200)]
    own = made.dataset["test"].streams["audio"]
    assert all((draw.lengths == own.lengths).all() for draw in draws)
    assert not np.array_equal(draws[0].values, draws[1].values)
    values = np.array([draw.values for draw in draws])  # (200, steps, 16)
    spread = values.std(0).mean()
    if len(given) == 2:
        assert spread == pytest.approx(synthetic.FRAME_NOISE["audio"], rel=0.1)
        np.testing.assert_allclose(values.mean(0), own.values, atol=0.1)
    else:
        assert spread > 3 * synthetic.FRAME_NOISE["audio"]


def test_imagined_voices_spread_as_far_as_the_stated_doubt():
    """With one certain source the draws are its mean; all steps of a clip deviate together, and by the deviation."""
    ours, full = make_model("ours", "l1", transfer="gaussian"), make_model("full", "l1")
    split, heard = make_split(UNALIGNED), []
    full.fusion.register_forward_pre_hook(lambda module, args: heard.append(args[0]["audio"].values.detach()))
    scores = imagined(ours, split, full, draws=3)
    assert scores.shape == (3, 4) and np.array_equal(scores, imagined(ours, split, full, draws=3))
    assert not np.array_equal(scores, imagined(ours, split, full, draws=3, seed=1))
    batches = collate(split, np.argsort([6, 5, 4, 7], kind="stable"), ("language", "vision"))
    rebuilt = ours.reconstruct(batches.streams)[1]
    lengths, precision, weighted = batches.streams["language"].lengths, 0, 0
    for padded in rebuilt.values():
        mean, log_variance = mean_and_log_variance(resample(padded.values, padded.lengths, lengths, 4))
        precision, weighted = precision + 1 / log_variance.exp(), weighted + mean / log_variance.exp()
    mean, deviation = (weighted / precision).detach(), (1 / precision.sqrt()).detach()
    noise = [(voice - mean) / deviation for voice in heard[:3]]
    for each in noise:
        torch.testing.assert_close(each, each[:, :1].expand_as(each), rtol=0, atol=1e-4)
    assert not torch.allclose(noise[0], noise[1])
    point = make_model("ours", "l1")
    with pytest.raises(ConfigError, match="say no doubt"):
        imagined(point, split, full)
    alone = make_model("any", "l1", transfer="gaussian", consistency="gaussian")
    assert imagined(alone, split, draws=2).std(0).min() > 0
    lengths = UNALIGNED | {"vision": [6, 0, 2, 7]}
    with pytest.raises(DataError, match="clip 'clip1' has no vision; leave it out"):
        imagined(alone, make_split(lengths))
