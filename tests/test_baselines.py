"""Tests of every system: shapes, padding, gradients, learning, prediction without audio, the data that it takes."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ktnet_lite.baselines import BASELINES, HEADINGS, capabilities
from ktnet_lite.baselines.length import length_only
from ktnet_lite.config import TrainConfig
from ktnet_lite.data import synthetic
from ktnet_lite.data.batching import collate
from ktnet_lite.data.fits import check_fits
from ktnet_lite.data.schema import Dataset, Header, Split, Stream
from ktnet_lite.errors import ConfigError, DataError
from ktnet_lite.model.losses import OUTPUTS, Objective, task_loss
from ktnet_lite.model.network import Network
from ktnet_lite.training.build import build_model, load_model
from ktnet_lite.training.evaluation import evaluate
from ktnet_lite.training.loop import fit
from small import ALIGNED, DIMS, SIZE, UNALIGNED, extended, make_batch, make_split, shaken

TRAINED = [name for name, system in BASELINES.items() if not system.network.closed_form]
FORMS = [(name, True) for name in BASELINES] + [(name, False) for name, system in BASELINES.items() if system.unaligned]
ENOUGH = {"language": [3, 1, 4, 2], "vision": [6, 5, 4, 7], "audio": [9, 4, 8, 3]}  # CTC needs a frame for each word


def config_of(name: str, loss: str = "l1", **options) -> TrainConfig:
    task = "l1" if loss == "emotion" else loss
    return TrainConfig(model=name, task_loss=task, device="cpu", **SIZE | {"dropout": 0.0} | options)


def make_model(name: str, loss: str = "l1", dims=DIMS, **options) -> Network:
    torch.manual_seed(0)
    task = "emotion" if loss == "emotion" else "sentiment"
    return shaken(build_model(config_of(name, loss, **options), task, dims)).eval()


def make_dataset(aligned: bool, task: str = "sentiment", absent: int = 0) -> Dataset:
    """Make clips whose every step is the target plus noise; the first ``absent`` training clips have no audio."""
    splits = {}
    for seed, (name, clips) in enumerate({"train": 24, "valid": 10, "test": 12}.items()):
        rng = np.random.default_rng(seed)
        scores = rng.uniform(-3, 3, clips).astype(np.float32)
        words = rng.integers(2, 6, clips)
        streams = {}
        for modality, dim in DIMS.items():
            lengths = words if aligned or modality == "language" else words + rng.integers(0, 5, clips)
            if modality == "audio" and name == "train":
                lengths = np.where(np.arange(clips) < absent, 0, lengths)
            noise = rng.normal(size=(lengths.sum(), dim))
            streams[modality] = Stream((np.repeat(scores, lengths)[:, None] + noise).astype(np.float32), lengths)
        emotions = (scores[:, None] > np.array([-1.0, 0.0, 0.5, 1.0])).astype(np.int64)
        targets = scores if task == "sentiment" else emotions
        splits[name] = Split(streams, targets, tuple(f"{name}{i}" for i in range(clips)))
    return Dataset.collect(Header("tiny", task, aligned), splits.items())


@pytest.mark.parametrize("loss", OUTPUTS)
@pytest.mark.parametrize(("name", "aligned"), FORMS)
def test_shapes(name, aligned, loss):
    model, batch = make_model(name, loss), make_batch(ALIGNED if aligned else ENOUGH)
    logits = model({modality: batch.streams[modality] for modality in model.observed}).logits
    assert logits.shape == (4, *OUTPUTS[loss]) and logits.isfinite().all()
    assert model.trained_on == tuple(DIMS) and set(model.observed) <= set(DIMS)


@pytest.mark.parametrize(("name", "aligned"), FORMS)
def test_padding_changes_no_prediction_and_no_term_of_the_objective(name, aligned):
    model, batch = make_model(name), make_batch(ALIGNED if aligned else ENOUGH)

    def everything(streams) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)  # MFM draws from its prior
        output = model(streams)
        return {"logits": output.logits, **model.auxiliary(output, batch._replace(streams=streams))}

    expected = everything(batch.streams)
    for steps in (0, 1, 70):  # 70 exceeds the table of positions
        padded = everything({modality: extended(padded, steps, 1e3) for modality, padded in batch.streams.items()})
        torch.testing.assert_close(padded, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "aligned"), FORMS)
def test_a_clip_is_predicted_alone_as_in_a_batch(name, aligned):
    model, split = make_model(name), make_split(ALIGNED if aligned else ENOUGH)
    together = model(collate(split, range(4), model.observed).streams).logits
    for i in range(4):
        alone = model(collate(split, [i], model.observed).streams).logits[0]
        torch.testing.assert_close(alone, together[i], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "aligned"), FORMS)
def test_gradients_reach_every_parameter(name, aligned):
    """DistributedDataParallel requires this too."""
    if name == "constant":
        pytest.skip("it reads no stream")
    lengths = [5, 3, 6, 4, 5]
    batch = make_batch({m: lengths if aligned or m == "language" else [n + 2 for n in lengths] for m in DIMS})
    model = make_model(name).train()
    Objective(model)(batch)["loss"].backward()
    # In RAVEN a word with one frame gives its nonverbal LSTM a single step.
    raven = {"raven": "frames", "ctc_raven": "network.frames"}.get(name) if aligned or BASELINES[name].ctc else None
    one_step = {f"{raven}.{modality}.weight_hh_l0" for modality in ("vision", "audio")}
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{parameter_name} is not used"
        if parameter_name in one_step:
            continue
        assert parameter.grad.abs().max() > 1e-9, f"{parameter_name} is dead"


@pytest.mark.parametrize("loss", ["l1", "emotion"])
@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.slow
def test_it_overfits_a_single_batch(name, loss):
    aligned = not BASELINES[name].ctc
    batch = make_batch(ALIGNED if aligned else ENOUGH, "emotion" if loss == "emotion" else "sentiment")
    torch.manual_seed(1)
    task = "emotion" if loss == "emotion" else "sentiment"
    objective = Objective(build_model(config_of(name, loss, dim=16), task, DIMS)).train()
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-2)
    losses = []
    for _ in range(150):
        terms = objective(batch)
        optimizer.zero_grad()
        terms["loss"].backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        optimizer.step()
        losses.append(terms["task"].item())
        if losses[-1] < 0.1 * losses[0]:
            break
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize(
    ("name", "fill"),
    [(name, fill) for name in (*BASELINES, "ktnet") for fill in make_model(name, variant="full").fills],
)
def test_filled_in_audio_is_never_read(name, fill):
    aligned = make_split(ALIGNED)
    model = make_model(name, variant="full")
    others = {modality: aligned.streams[modality] for modality in ("language", "vision")}
    longer = Stream(np.full((100, DIMS["audio"]), np.nan, np.float32), np.array([40, 30, 20, 10]))
    audio = {
        "none": {},
        "nan": {
            "audio": Stream(np.full_like(aligned.streams["audio"].values, np.nan), aligned.streams["audio"].lengths)
        },
        "nan of other lengths": {"audio": longer},
    }
    predicted = {
        what: evaluate(model, Split({**others, **stream}, aligned.targets, aligned.ids), fill=fill).predictions
        for what, stream in audio.items()
    }
    assert np.isfinite(predicted["none"]).all()
    for what, predictions in predicted.items():
        np.testing.assert_array_equal(predictions, predicted["none"], err_msg=what)
    assert np.abs(predicted["none"] - evaluate(model, aligned).predictions).max() > 1e-3  # audio changes the prediction


@pytest.mark.parametrize("name", ["mult", "linear", "rmfn"])
def test_zeros_are_zeros_and_the_mean_is_the_training_mean(name):
    model, split = make_model(name), make_split(ALIGNED)
    for fill, value in (("zero", np.zeros(DIMS["audio"])), ("mean", model.inputs["audio"].mean.numpy())):
        steps = split.streams["language"].lengths
        audio = Stream(np.tile(value, (steps.sum(), 1)).astype(np.float32), steps)
        by_hand = Split({**split.streams, "audio": audio}, split.targets, split.ids)
        expected, filled = (evaluate(model, s, fill=f).predictions for s, f in ((by_hand, None), (split, fill)))
        np.testing.assert_allclose(filled, expected, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_the_linear_floor_reads_the_mean_or_the_last_valid_step(pooling):
    model, split = make_model("linear", pooling=pooling), make_split(UNALIGNED)
    pooled = model.pooled({name: extended(x, 2, 1e4) for name, x in make_batch(UNALIGNED).streams.items()})
    for i in range(len(split)):
        clips = {name: split.streams[name].clip(i) for name in model.observed}
        steps = [x.mean(0) if pooling == "mean" else x[-1] for x in clips.values()]
        layers = [model.inputs[name] for name in clips]
        expected = [(x - layer.mean.numpy()) / layer.scale.numpy() for x, layer in zip(steps, layers, strict=True)]
        np.testing.assert_allclose(pooled[i], np.concatenate(expected), atol=1e-5)


def test_mctn_and_its_ctc_form_need_only_language():
    split = make_split(UNALIGNED)
    words = Split({"language": split.streams["language"]}, split.targets, split.ids)
    for name in ("mctn", "ctc_mctn"):
        model = make_model(name)
        assert model.observed == ("language",) and model.fills == ()
        results = [evaluate(model, s).predictions for s in (split, words)]
        np.testing.assert_array_equal(*results)


def test_a_fill_that_a_model_cannot_use_is_an_error():
    split = make_split(ALIGNED)
    for name, fill, message in (
        ("mfm", "zero", "audio cannot be 'zero'; this model can do: inferred"),
        ("mult", "inferred", "this model can do: zero, mean"),
        ("mctn", "mean", "this model observes no audio"),
    ):
        with pytest.raises(ConfigError, match=message):
            evaluate(make_model(name), split, fill=fill)
    with pytest.raises(ConfigError, match="without audio there is nothing that this model could predict from"):
        evaluate(make_model("linear", dims={"audio": 3}), split, fill="zero")
    model, silent = make_model("mult"), Split({"language": split.streams["language"]}, split.targets, split.ids)
    with pytest.raises(DataError, match=r"the file has no vision, which this model observes$"):
        check_fits(model, silent, "the file", ["audio"])
    silent = Split({**silent.streams, "vision": split.streams["vision"]}, split.targets, split.ids)
    with pytest.raises(DataError, match="has no audio, which this model observes; predict without it: zero, mean"):
        check_fits(model, silent, "the file")
    check_fits(model, silent, "the file", ["audio"])


@pytest.mark.parametrize(("name", "aligned"), FORMS)
@pytest.mark.slow
def test_fit_evaluate_save_and_load(name, aligned, tmp_path):
    data = make_dataset(aligned)
    config = config_of(name, epochs=2, batch_size=8)
    run = fit(config, data, tmp_path, progress=False)
    model, again = load_model(tmp_path / "model.pt")
    assert again == config
    expected, loaded = (evaluate(m, data["test"]) for m in (run.model, model))
    np.testing.assert_array_equal(loaded.predictions, expected.predictions)
    assert expected.metrics["mae"] < 3 and run.history[run.best_epoch]["valid_mae"] > 0
    assert set(model.weights) <= set(run.history[0])  # every term is in the curves


@pytest.mark.parametrize("name", TRAINED)
def test_training_clips_may_lack_audio(name):
    """Their absent audio is not a target, so every term is finite."""
    run = fit(config_of(name, epochs=1, batch_size=8), make_dataset(aligned=True, absent=9), progress=False)
    assert all(np.isfinite(value) for value in run.history[0].values())


@pytest.mark.parametrize("name", [name for name, system in BASELINES.items() if not system.unaligned])
def test_unaligned_streams_are_rejected_by_name(name):
    data = make_dataset(aligned=False)
    with pytest.raises(
        DataError, match=r"split train of 'tiny': \w+ of clip 'train\d+' has \d steps and another stream"
    ):
        fit(config_of(name, epochs=1), data, progress=False)
    model = make_model(name)
    with pytest.raises(ConfigError, match="the longest of the batch, in steps"):
        model(make_batch(UNALIGNED).streams)
    with pytest.raises(DataError, match="ktnet-lite models lists the systems that take others"):
        check_fits(model, data["test"], "the file")
    check_fits(model, make_split({**ALIGNED, "audio": [3, 0, 4, 2]}), "the file")  # a missing modality is aligned


@pytest.mark.parametrize("dims", [{"language": 5, "audio": 3}, {"language": 5, "vision": 4}], ids=["LA", "LV"])
@pytest.mark.parametrize("name", BASELINES)
def test_two_modalities_are_enough(name, dims):
    """``mosi-words`` has no vision, and a variant may observe only some modalities."""
    batch = make_batch({modality: ALIGNED[modality] for modality in dims})
    model = make_model(name, dims=dims)
    terms = Objective(model)(batch)
    assert terms["loss"].isfinite() and model.trained_on == tuple(dims)
    whole = make_model(name, variant="language_vision")
    assert whole.trained_on == ("language", "vision")


@pytest.mark.parametrize(
    ("name", "dims", "message"),
    [
        ("mctn", {"language": 5}, "mctn needs two modalities or more, but this data has only language"),
        ("raven", {"language": 5}, "raven shifts words by vision or audio, but this data has only"),
        ("raven", {"vision": 4, "audio": 3}, "raven shifts words by vision or audio, but this data has only"),
        ("ctc_mctn", {"vision": 4, "audio": 3}, "CTC aligns to words, but this data has only vision, audio"),
    ],
)
def test_modalities_that_a_system_cannot_use_are_an_error(name, dims, message):
    with pytest.raises(ConfigError, match=message):
        make_model(name, dims=dims)
    with pytest.raises(ConfigError, match="observes none of the data set's modalities"):
        make_model("mult", variant="vision", dims={"language": 5})


@pytest.mark.parametrize("name", BASELINES)
def test_the_capability_table_is_true(name):
    system, model = BASELINES[name], make_model(name)
    assert bool(system.unaligned) != model.aligned_only
    expected = {
        ("zero", "mean"): "filled: zero or mean",
        ("inferred",): "inferred",
        (): "looks at nothing" if name == "constant" else "needs language alone",
    }
    assert system.missing_at_test == expected[model.fills]
    batch = make_batch(ALIGNED | {"audio": [3, 0, 4, 2]})
    assert system.missing_in_training == {
        "constant": "looks at nothing",
        "mctn": "left out of its loss",
        "ctc_mctn": "left out of its loss",
        "mmin": "left out of its loss",
        "emt_dlfr": "left out of its loss",
        "mfm": "counts as zeros, left out of its loss",
    }.get(name, "counts as zeros")
    if "left out" in system.missing_in_training:
        output = model(batch.streams)
        torch.manual_seed(0)
        expected = model.auxiliary(output, batch)
        changed = batch.streams["audio"].values.clone()
        changed[1] = 50.0  # the clip without audio; the inputs of MFM do not change
        batch = batch._replace(streams={**batch.streams, "audio": batch.streams["audio"]._replace(values=changed)})
        torch.manual_seed(0)
        torch.testing.assert_close(model.auxiliary(output, batch), expected)


def test_the_book_has_the_capability_table():
    page = (Path(__file__).parent.parent / "book" / "systems.md").read_text(encoding="utf-8")
    assert f"| {' | '.join(HEADINGS).replace('--model', '`--model`')} |" in page
    for name, *cells in capabilities():
        assert " ".join(f"| `{name}` | {' | '.join(cells)} |".split()) in page


def test_the_objective_adds_the_weighted_terms_to_the_task_loss():
    batch, model = make_batch(ALIGNED), make_model("mctn")
    terms = Objective(model)(batch)
    expected = task_loss(model(batch.streams).logits, batch.targets, "l1")
    total = expected + sum(0.1 * terms[name] for name in ("translation", "cycle", "second_translation"))
    torch.testing.assert_close((terms["task"], terms["loss"]), (expected, total))


def test_the_length_floor_knows_how_much_was_said_and_nothing_else():
    made = synthetic.make((60, 4, 40)).dataset
    long = {name: split.streams["language"].lengths for name, split in made.splits.items()}
    known = {name: dataclasses.replace(made[name], targets=long[name] / 4 - 2) for name in made}
    assert np.abs(length_only(known["train"], known["test"]) - known["test"].targets).mean() < 0.05

    def shuffled(stream):
        return Stream(np.random.default_rng(0).permutation(stream.values), stream.lengths)

    other = dataclasses.replace(
        known["test"], streams={name: shuffled(stream) for name, stream in known["test"].streams.items()}
    )
    assert np.array_equal(length_only(known["train"], other), length_only(known["train"], known["test"]))
    silent = length_only(known["train"], known["test"].without("language", "audio"))
    assert np.isfinite(silent).all()
