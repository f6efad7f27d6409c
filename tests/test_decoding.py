"""The rebuilt voice in acoustic words: decoders, their ceiling and placebo, retrieval, and use for the score."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from ktnet_lite.config import TrainConfig
from ktnet_lite.data import descriptors as named
from ktnet_lite.data import synthetic
from ktnet_lite.data.batching import collate
from ktnet_lite.data.readers import hazumi
from ktnet_lite.data.schema import Dataset, Header, Stream
from ktnet_lite.errors import ConfigError, DataError
from ktnet_lite.experiments import result
from ktnet_lite.extract import egemaps, voice
from ktnet_lite.model.losses import Objective
from ktnet_lite.training import decoding
from ktnet_lite.training.dataset import load_dataset
from ktnet_lite.training.decoding import as_long, decoder, fidelity
from ktnet_lite.training.evaluation import evaluate, transfer_quality
from ktnet_lite.training.loop import fit
from small import DIMS, make_model, make_objective, make_split

SMALL = {"dim": 8, "heads": 2, "layers": 1, "epochs": 2, "clips": 24, "batch_size": 8}
STRENGTH = "strength of the voice [1]"


def make_dataset(clips=40, name="mosi-words", lengths=(3, 4, 5)):
    """Random clips of all modalities; features of the audio have names."""
    rng = np.random.default_rng(0)
    splits = {}
    for seed, split in enumerate(("train", "valid", "test")):
        counts = {modality: rng.choice(lengths, clips) for modality in DIMS}
        splits[split] = make_split(counts, seed=seed)
    return Dataset(Header(name, "sentiment", False), splits)


@pytest.fixture
def three_names(monkeypatch):
    monkeypatch.setitem(named.SETS, "mosi-words", {"first": 0, "third": 2})


def with_audio(dataset, change):
    """The same data set with other audio values, a function of the split."""
    splits = {}
    for name in dataset:
        audio = dataset[name].streams["audio"]
        streams = {**dataset[name].streams, "audio": Stream(change(dataset[name]).astype(np.float32), audio.lengths)}
        splits[name] = dataclasses.replace(dataset[name], streams=streams)
    return dataclasses.replace(dataset, splits=splits)


def test_a_decoder_recovers_what_is_linear_and_nothing_else():
    rng = np.random.default_rng(0)
    x, valid, test = rng.normal(size=(3, 500, 6)) * 10 ** np.arange(-2.0, 4.0)  # whatever the scale of a feature
    weight = rng.normal(size=6) / x.std(0)

    def described(features):
        return np.stack([features @ weight + 3, np.sin(100 * features[:, 0] * 9)], axis=1)

    decoded = decoder(x, described(x), valid, described(valid))(test)
    np.testing.assert_allclose(decoded[:, 0], described(test)[:, 0], atol=1e-3)
    assert np.corrcoef(decoded[:, 1], described(test)[:, 1])[0, 1] < 0.3
    noise = rng.normal(size=(500, 1))
    assert decoder(x, noise, valid, noise[::-1])(test).std() < 0.5, "validation chooses a strong penalty for noise"
    assert decoder(x, described(x)[:, :1], valid, described(valid)[:, :1])(test).shape == (500, 1)


def test_another_clip_is_about_as_long_and_never_the_same():
    split = make_split({"audio": [3, 9, 3, 4, 9, 3, 8]})
    lengths = split.streams["audio"].lengths
    seen = set()
    for seed in range(20):
        other = as_long(split, seed)
        assert sorted(other) == list(range(7)) and (other != np.arange(7)).all()
        assert np.sort(np.abs(lengths[other] - lengths)).tolist()[:4] == [0, 0, 0, 1]
        seen.add(other[0])
    assert seen > {2, 5}


def test_a_voice_that_is_in_the_words_is_rebuilt_and_decoded(three_names):
    """The source tells the audio, step by step: a trained model is between ceiling and placebo, A' too, in its way."""
    lengths = {modality: [4] * 200 for modality in DIMS}
    splits = {name: make_split(lengths, seed=seed) for seed, name in enumerate(("train", "valid", "test"))}
    dataset = with_audio(
        Dataset(Header("mosi-words", "sentiment", True), splits), lambda split: split.streams["language"].values[:, :3]
    )
    config = TrainConfig(**SMALL | {"epochs": 12}, variant="ours", treatment="random", learning_rate=1e-2, patience=12)
    run = fit(config, dataset, progress=False)
    found = fidelity(Objective(run.model, run.audio_target, dict.fromkeys(DIMS, 1.0)), dataset)
    assert list(found) == ["language", "vision", "combined"]
    for decoded in found["language"].decoding.values():
        assert decoded.placebo < 0.05 < 0.4 < decoded.r2 <= decoded.ceiling <= 1
    for decoded in found["vision"].decoding.values():
        assert decoded.r2 < 0.05 and decoded.own < 0.05 and decoded.ceiling > 0.4
    assert found["language"].retrieval > 0.8 and abs(found["vision"].retrieval - 0.5) < 0.1
    assert max(decoded.own for decoded in found["combined"].decoding.values()) > 0.2
    quality = transfer_quality(Objective(run.model, run.audio_target, dict.fromkeys(DIMS, 1.0)), dataset["test"])
    for source in ("language", "vision"):
        assert found[source].r2 == pytest.approx(quality[f"{source}_r2"], abs=1e-5)


@pytest.mark.parametrize("variant", ["ours", "any"])
def test_use_is_what_the_error_grows_by_with_the_voice_of_another_clip(three_names, variant):
    dataset = make_dataset(lengths=(4,))
    model = make_model(variant, "l1")
    found = fidelity(make_objective(model, "random") if variant == "ours" else Objective(model), dataset, draws=1)
    test, networks, combine = dataset["test"].without("audio"), model.transfer, model.combine
    if variant == "any":
        networks, combine = ({s: networks[f"{s}_to_audio"] for s in ("language", "vision")}, combine["audio"])
    scores = []
    with torch.no_grad():
        for clips in enumerate(as_long(dataset["test"], 0)):
            own, theirs = (
                {s: model.encoders[s](collate(test, [clip], [s]).streams[s]) for s in ("language", "vision")}
                for clip in clips
            )
            rebuilt = combine({s: networks[s](padded) for s, padded in theirs.items()})
            scores.append(model.fusion({**own, "audio": rebuilt}).item())
    before = evaluate(model, test, "inferred" if variant == "any" else None).predictions
    grown = np.abs(np.array(scores) - test.targets).mean() - np.abs(before - test.targets).mean()
    assert found["combined"].use == pytest.approx(grown, abs=1e-5)
    assert len({found[name].use for name in found}) == 3


@pytest.mark.parametrize(
    "options",
    [
        {"treatment": "descriptors"},
        {"treatment": "descriptors", "transfer": "gaussian"},
        {"treatment": "view"},
        {"concat": "features", "aligned": True},
        {"variant": "any", "missing": "both", "transfer": "gaussian"},
    ],
)
def test_every_way_to_reconstruct_is_measured_and_reported(options, tmp_path):
    config = TrainConfig(**SMALL | {"epochs": 1}, **options)
    dataset = load_dataset(config)
    run = fit(config, dataset, progress=False)
    measured = result.measure(config, dataset, run)
    assert list(measured.fidelity) == ["language", "vision", "combined"]
    for each in measured.fidelity.values():
        assert list(each.decoding) == [STRENGTH] and 0 <= each.retrieval <= 1 and each.use != 0
        assert each.decoding[STRENGTH].ceiling > each.decoding[STRENGTH].r2
    if config.treatment == "descriptors":
        assert measured.fidelity["combined"].decoding[STRENGTH].ceiling > 0.999, "the descriptor is one of them"
    measured.save(tmp_path / "result.json")
    assert result.load(tmp_path / "result.json").fidelity == measured.fidelity


def test_clips_that_lack_a_modality_do_not_count(three_names):
    dataset = make_dataset()
    objective = make_objective(make_model("ours", "l1"), "random")
    streams = {
        name: Stream.from_clips([stream.clip(i)[: 0 if i % 3 == 0 and name == "vision" else 9] for i in range(40)])
        for name, stream in dataset["test"].streams.items()
    }
    lacking = dataclasses.replace(dataset["test"], streams=streams)
    whole = dataset["test"].select([i for i in range(40) if i % 3])
    found, expected = (
        fidelity(objective, dataclasses.replace(dataset, splits={**dataset.splits, "test": split}))
        for split in (lacking, whole)
    )
    assert found == expected


def test_what_cannot_be_decoded_is_said_in_words(three_names):
    dataset, objective = make_dataset(), make_objective(make_model("ours", "l1"), "random")
    with pytest.raises(DataError, match="'mmmo': its audio features have no documented names"):
        fidelity(objective, make_dataset(name="mmmo"))
    with pytest.raises(ConfigError, match="reconstructs no voice; train one with variant = 'ours' or 'any'"):
        fidelity(Objective(make_model("full")), dataset)
    with pytest.raises(ConfigError, match="reconstructs no voice"):
        fidelity(Objective(make_model("any", missing="token")), dataset)
    silent = dataclasses.replace(dataset, splits={**dataset.splits, "test": dataset["test"].without("audio")})
    with pytest.raises(DataError, match="split test of 'mosi-words' has 0 clips with all of language, vision, audio"):
        fidelity(objective, silent)
    config = TrainConfig(**SMALL | {"epochs": 1}, variant="language_vision")
    assert (
        result.measure(config, load_dataset(config), fit(config, load_dataset(config), progress=False)).fidelity == {}
    )


def test_names_are_those_of_the_columns():
    header = Header("clips", "sentiment", False, {"recipe audio": json.dumps({"name": "voice", "version": 1})})
    for name, column in named.descriptors(header).items():
        assert voice.FEATURES[column] == name
    for name, column in named.EXTRACTORS["egemaps"].items():
        assert list(egemaps.DESCRIPTORS.values())[column] == name
    with pytest.raises(DataError, match="no documented names"):
        named.descriptors(Header("hazumi", "sentiment", False, {"recipe audio": json.dumps({"name": "own"})}))
    regression = ("linregc1", "linregc2", "linregerrQ")
    functionals = ("max", "min", "range", "maxPos", "minPos", "amean", *regression, "stddev", "skewness", "kurtosis")
    contours = ["energy", *(f"MFCC {n}" for n in range(1, 13)), "zcr", "voicing", "F0"]
    order = [f"{contour} {functional}" for contour in contours for functional in functionals]  # of openSMILE's IS09
    assert len(order) * 2 == hazumi.ONLINE.streams["audio"][0].stop - hazumi.ONLINE.streams["audio"][0].start
    meant = ["F0 amean", "F0 stddev", "energy amean", "voicing amean", "zcr amean", "MFCC 1 amean"]
    assert [order[column] for column in named.IS09.values()] == meant
    audio = synthetic.make((1, 1, 30)).dataset["test"].streams["audio"].values
    column = audio[:, named.SETS["synthetic"][STRENGTH]]
    assert min(abs(np.corrcoef(column, other)[0, 1]) for other in audio.T if other.std() > 0.1) > 0.9


def test_decoders_are_fitted_to_some_of_many_clips(three_names, monkeypatch):
    objective, dataset = make_objective(make_model("ours", "l1"), "random"), make_dataset()
    everything = fidelity(objective, dataset)
    monkeypatch.setattr(decoding, "CLIPS", 20)
    half = dataclasses.replace(dataset, splits={**dataset.splits, "train": dataset["train"].select(spaced(40, 20))})
    assert everything != fidelity(objective, dataset) == fidelity(objective, half)


def spaced(count, some):
    return np.linspace(0, count - 1, some).astype(int)
