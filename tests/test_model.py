"""KTNet: every variant against NumPy, padding, observed modalities, gradients, modules."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn.functional import conv1d

import numpy_ktnet as reference
from ktnet_lite.config import TrainConfig
from ktnet_lite.data.batching import Batches, Padded, collate
from ktnet_lite.data.schema import Split, Stream
from ktnet_lite.errors import ConfigError
from ktnet_lite.model.encoder import Embedding, ModalityEncoder
from ktnet_lite.model.fusion import BottleneckFusion, CrossModalFusion
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.layers import Positions
from ktnet_lite.model.losses import OUTPUTS, predictions
from ktnet_lite.model.transfer import Combine
from ktnet_lite.names import TREATMENTS, VARIANTS
from ktnet_lite.training.build import build_model
from small import ALIGNED, DIMS, SIZE, UNALIGNED, extended, make_batch, make_model, make_objective, make_split, shaken

OWN = [variant for variant in VARIANTS if variant != "any"]  # of KTNet itself
FORMS = [(variant, "time") for variant in OWN] + [("ours", "features")]


def check_against_numpy(model, split: Split, atol: float, doubt: str = "") -> None:
    """Compare logits and reconstructions of a padded batch with those of each clip alone in NumPy."""
    batch = collate(split, range(len(split)), model.observed)
    dtype = next(model.parameters()).dtype
    streams = {name: Padded(padded.values.to(dtype), padded.mask) for name, padded in batch.streams.items()}
    output, w = model(streams), reference.weights_of(model)
    for i in range(len(split)):
        clip = {name: split.streams[name].clip(i).astype(float) for name in model.observed}
        pairs = isinstance(model.fusion, CrossModalFusion)
        fusion = (model.fusion.targets, model.fusion.pooling) if pairs else ((), "")
        logits, reconstructed = reference.ktnet(clip, w, SIZE["heads"], *fusion, doubt)
        np.testing.assert_allclose(output.logits[i].detach().flatten(), logits, rtol=0, atol=atol)
        assert set(output.reconstructed) == set(reconstructed)
        for name, expected in reconstructed.items():
            result = output.reconstructed[name].values[i, : len(expected)].detach()
            np.testing.assert_allclose(result, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize(("variant", "concat"), FORMS)
def test_every_variant_against_numpy(variant, concat, pooling):
    model = make_model(variant, concat=concat, pooling=pooling)
    check_against_numpy(model, make_split(ALIGNED if concat == "features" else UNALIGNED), 1e-5)


@pytest.mark.parametrize("kernel", [3, 9])  # 9 exceeds the clips
@pytest.mark.parametrize("variant", ["full", "ours"])
def test_the_temporal_projection_against_numpy(variant, kernel):
    check_against_numpy(make_model(variant, kernel=kernel), make_split(UNALIGNED), 1e-5)


@pytest.mark.parametrize("fusion", ["pairs", "bottleneck"])
@pytest.mark.parametrize("doubt", ["bias", "none"])
@pytest.mark.parametrize("concat", ["time", "features"])
def test_reconstructions_that_say_their_doubt_against_numpy(concat, doubt, fusion):
    model = make_model("ours", concat=concat, transfer="gaussian", doubt=doubt, fusion=fusion)
    split = make_split(ALIGNED if concat == "features" else UNALIGNED)
    check_against_numpy(model, split, 1e-5, doubt)
    model.combine.doubt = "none" if doubt == "bias" else "bias"
    with pytest.raises(AssertionError):
        check_against_numpy(model, split, 1e-5, doubt)


@pytest.mark.parametrize("variant", ["full", "language", "ours"])
def test_a_bottleneck_against_numpy(variant):
    check_against_numpy(make_model(variant, fusion="bottleneck"), make_split(UNALIGNED), 1e-5)


def test_the_attention_of_a_bottleneck():
    model = make_model("ours", fusion="bottleneck")
    assert isinstance(model.fusion, BottleneckFusion)
    maps = model.attention_maps(make_batch(UNALIGNED).streams)
    assert set(maps) == {"language_to_latents", "vision_to_latents", "audio_to_latents"}
    assert [w.shape for w in maps["vision_to_latents"]] == [(4, SIZE["heads"], 8, 7)] * SIZE["layers"]
    torch.testing.assert_close(maps["audio_to_latents"][0].sum(-1), torch.ones(4, SIZE["heads"], 8))


def test_no_gradient_reaches_the_variance_through_the_fusion():
    model = make_model("ours", transfer="gaussian").train()
    model(make_batch(UNALIGNED).streams).logits.sum().backward()
    gradient = model.transfer["language"].out.weight.grad
    assert gradient[: SIZE["dim"]].abs().max() > 0 and gradient[SIZE["dim"] :].abs().max() == 0


@pytest.mark.parametrize(("variant", "concat"), FORMS)
def test_every_variant_against_numpy_in_double_precision(variant, concat):
    model = make_model(variant, concat=concat).double()
    for module in model.modules():
        if isinstance(module, Positions):
            module.table = torch.from_numpy(reference.positions(*module.table.shape))
    check_against_numpy(model, make_split(ALIGNED if concat == "features" else UNALIGNED), 1e-10)


@pytest.mark.parametrize("loss", OUTPUTS)
@pytest.mark.parametrize("target", ["language", "vision", "audio"])
def test_single_targets_and_every_head_against_numpy(target, loss):
    model = make_model("ours", loss, targets=(target,))
    assert model(make_batch(UNALIGNED).streams).logits.shape == (4, *OUTPUTS[loss])
    check_against_numpy(model, make_split(UNALIGNED), 1e-5)


def test_two_targets_against_numpy_in_the_order_given():
    check_against_numpy(make_model("full", targets=("audio", "language")), make_split(UNALIGNED), 1e-5)


def test_ours_where_the_data_has_no_vision_against_numpy():
    torch.manual_seed(0)
    model = shaken(KTNet({"language": 5, "audio": 3}, (7,), "ours", **SIZE, dropout=0.0)).eval()
    assert model.observed == ("language",) and set(model.transfer) == {"language"}
    assert set(model.fusion.cross_modal) == {"audio_to_language", "language_to_audio"}
    check_against_numpy(model, make_split(UNALIGNED), 1e-5)


def test_what_delta_joins_by_hand():
    """The concatenation of Eq. (2), [theta(f_V) || phi(f_L)], without the transformer blocks; 99 is padding."""
    words = Padded(torch.tensor([[[1.0], [2.0]], [[3.0], [99.0]]]), torch.tensor([[True, True], [True, False]]))
    face = Padded(torch.tensor([[[4.0], [5.0]], [[6.0], [99.0]]]), words.mask)
    joined = {}
    for concat in ("time", "features"):
        delta = Combine(("language", "vision"), dim=1, heads=1, layers=1, dropout=0.0, concat=concat)
        delta.transformer = delta.back = torch.nn.Identity()
        if concat == "time":
            delta.source_embedding = torch.nn.Parameter(torch.tensor([[10.0], [20.0]]))
        joined[concat] = delta({"vision": face, "language": words})
    values, mask, *_ = joined["time"]
    assert values[0, :, 0].tolist() == [11, 12, 24, 25]
    assert values[1, mask[1], 0].tolist() == [13, 26] and mask.tolist() == [[True] * 4, [True, False, True, False]]
    values, mask, *_ = joined["features"]
    assert values[0].tolist() == [[1, 4], [2, 5]]
    assert values[1, mask[1]].tolist() == [[3, 6]] and mask.tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize("concat", ["time", "features"])
def test_delta_against_numpy(concat):
    """Eq. (2), transformer layers over [theta(f_V) || phi(f_L)], both ways to concatenate."""
    delta = shaken(Combine(("language", "vision"), **SIZE, dropout=0.0, concat=concat)).eval()
    lengths = {"language": [5, 2], "vision": [5, 2] if concat == "features" else [3, 4]}
    torch.manual_seed(1)
    parts = {}
    for name, counts in lengths.items():
        mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
        parts[name] = Padded(torch.randn(2, max(counts), 8), mask)
    result, w = delta(parts), reference.weights_of(delta)
    for i in range(2):
        clips = [parts[name].values[i, : lengths[name][i]].double().numpy() for name in ("language", "vision")]
        expected, _ = reference.combine(clips, w, 2)
        np.testing.assert_allclose(result.values[i][result.full_mask()[i]].detach(), expected, rtol=0, atol=1e-5)
    widths = {layer.attention.qkv.in_features for layer in delta.transformer.layers}
    assert widths == ({16} if concat == "features" else {8})


def test_delta_counts_a_missing_reconstruction_as_zeros():
    """Along features, a step is valid if any source is valid there; the other sources add zeros."""
    delta = shaken(Combine(("language", "vision"), **SIZE, dropout=0.0, concat="features")).eval()
    torch.manual_seed(1)
    words, face = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    steps = torch.arange(5)
    masks = {"language": steps < torch.tensor([[5], [2]]), "vision": steps < torch.tensor([[1], [4]])}
    result = delta({"language": Padded(words, masks["language"]), "vision": Padded(face, masks["vision"])})
    assert result.mask.sum(1).tolist() == [5, 4]
    for i, length in enumerate((5, 4)):
        zeroed = [words[i] * masks["language"][i, :, None], face[i] * masks["vision"][i, :, None]]
        clip = [stream[:length].double().numpy() for stream in zeroed]
        expected = reference.combine(clip, reference.weights_of(delta), 2)[0]
        np.testing.assert_allclose(result.values[i, :length].detach(), expected, rtol=0, atol=1e-5)


def test_concatenation_along_features_needs_one_length():
    model = make_model("ours", concat="features")
    with pytest.raises(ConfigError, match=r'the longest of the batch, in steps.*concat="time"'):
        model(make_batch(UNALIGNED).streams)


def invariance_cases():
    for (variant, concat), pooling in itertools.product([*FORMS, ("any", "time")], ("mean", "last")):
        for loss, aligned in itertools.product(OUTPUTS, (True, False)):
            if aligned or concat == "time":
                yield variant, concat, pooling, loss, aligned, None
    for variant, names in VARIANTS.items():
        for target in (*names, "audio") if variant == "ours" else names:
            yield variant, "time", "mean", "cross_entropy", False, (target,)


@pytest.mark.parametrize(("variant", "concat", "pooling", "loss", "aligned", "targets"), list(invariance_cases()))
def test_padding_changes_no_prediction(variant, concat, pooling, loss, aligned, targets):
    model = make_model(variant, loss, concat=concat, pooling=pooling, targets=targets)
    batch = make_batch(ALIGNED if aligned else UNALIGNED)
    expected = predictions(model(batch.streams).logits, loss)
    for steps in (0, 1, 70):  # 70 exceeds the table of positions
        streams = {name: extended(padded, steps, 1e4) for name, padded in batch.streams.items()}
        torch.testing.assert_close(predictions(model(streams).logits, loss), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_clip_is_predicted_alone_as_in_a_batch(variant):
    model, split = make_model(variant), make_split(UNALIGNED)
    together = model(collate(split, range(4), model.observed).streams).logits
    for i in range(4):
        alone = collate(split, [i], model.observed).streams
        assert all(padded.mask is None for padded in alone.values())
        torch.testing.assert_close(model(alone).logits[0], together[i], rtol=0, atol=1e-5)


@pytest.mark.parametrize("absent", ["language", "vision"])
def test_padding_changes_nothing_where_an_aligned_clip_lacks_a_modality(absent):
    lengths = ALIGNED | {absent: [3, 1, 0, 2]}  # all but one step of the longest clip, so the tensors have one length
    lengths = {name: [*counts, 4] for name, counts in lengths.items()}
    model, streams = make_model("ours", concat="features"), make_batch(lengths).streams
    expected = model(streams).logits
    assert expected.isfinite().all()
    garbage = {name: extended(padded, 0, 1e4) for name, padded in streams.items()}
    torch.testing.assert_close(model(garbage).logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("concat", ["time", "features"])
def test_ours_predicts_bitwise_the_same_with_audio_replaced_by_nan(concat):
    split = make_split(ALIGNED)
    audio = split.streams["audio"]
    poisoned = Stream(np.full_like(audio.values, np.nan), audio.lengths)
    longer = Stream(np.full((100, 3), np.nan, np.float32), np.array([40, 30, 20, 10]))
    model = make_model("ours", concat=concat)

    def run(streams, modalities=("language", "vision", "audio")):
        changed = Split({**split.streams, **streams}, split.targets, split.ids)
        return model(collate(changed, range(4), modalities).streams).logits

    expected = run({})
    assert expected.isfinite().all()
    for other in (run({"audio": poisoned}), run({"audio": longer}), run({}, model.observed)):
        assert torch.equal(other, expected)
    (batch,) = Batches(Split({**split.streams, "audio": poisoned}, split.targets, split.ids), 4, model.observed)
    assert set(batch.streams) == {"language", "vision"}
    torch.testing.assert_close(model(batch.streams).logits, expected[batch.indices], rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_reads_only_the_modalities_that_it_observes(variant):
    model, batch = make_model(variant), make_batch(UNALIGNED)
    expected = model(batch.streams).logits
    for name in DIMS:
        values, mask, *_ = batch.streams[name]
        changed = model({**batch.streams, name: Padded(values.flip(2), mask)}).logits
        assert torch.equal(changed, expected) == (name not in VARIANTS[variant]), name


def streams_of(variant: str) -> tuple[str, ...]:
    return (*VARIANTS[variant], "audio") if variant == "ours" else VARIANTS[variant]


def gradient_cases():
    for variant in OWN:
        ours = variant == "ours"
        for targets in (None, *((name,) for name in streams_of(variant)), streams_of(variant)[:2]):
            for concat, treatment in itertools.product(("time", "features"), TREATMENTS) if ours else [("time", "")]:
                yield variant, targets, concat, treatment


@pytest.mark.parametrize(("variant", "targets", "concat", "treatment"), list(gradient_cases()))
def test_gradients_reach_every_parameter_that_a_variant_trains(variant, targets, concat, treatment):
    objective = make_objective(make_model(variant, targets=targets, concat=concat, pooling="mean"), treatment).train()
    objective(make_batch({name: [5, 3, 6, 4, 5] for name in DIMS}))["loss"].backward()
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f"{name} is not used"
            assert parameter.grad.abs().max() > 1e-9, f"{name} is dead"
        else:
            assert name.startswith("audio_target.encoder.") and treatment in ("random", "teacher"), name
            assert parameter.grad is None, name


def count(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts_by_hand():
    def transformer(d: int, layers: int = 2) -> int:
        return layers * (12 * d * d + 13 * d) + 2 * d  # qkv, out, feed-forward of 4d, two norms, and the final norm

    def tail(width: int) -> int:
        return 2 * (width * width + width) + 7 * width + 7

    encoders = {name: features * 8 + transformer(8) for name, features in DIMS.items()}
    pair, theta = transformer(8), transformer(8) + 8 * 8 + 8
    expected = {
        "vision": encoders["vision"] + transformer(8) + tail(8),
        "language": encoders["language"] + transformer(8) + tail(8),
        "language_vision": encoders["language"] + encoders["vision"] + 2 * pair + 2 * transformer(8) + tail(16),
        "full": sum(encoders.values()) + 6 * pair + 3 * transformer(16) + tail(48),
        "audio": encoders["audio"] + transformer(8) + tail(8),
        "language_audio": encoders["language"] + encoders["audio"] + 2 * pair + 2 * transformer(8) + tail(16),
        "vision_audio": encoders["vision"] + encoders["audio"] + 2 * pair + 2 * transformer(8) + tail(16),
    }
    delta = transformer(8) + 2 * 8
    expected["ours"] = expected["full"] - encoders["audio"] + 2 * theta + delta
    counts = {variant: count(make_model(variant)) for variant in OWN}
    assert counts == expected
    assert counts["vision"] < counts["language"] < counts["language_vision"] < counts["full"] < counts["ours"]
    features = make_model("ours", concat="features")
    assert count(features.combine) == transformer(16) + 16 * 8 + 8


def test_a_variant_builds_no_dead_modules():
    pairs = {variant: set(make_model(variant).fusion.cross_modal) for variant in OWN}
    assert pairs["language"] == pairs["vision"] == set()
    assert pairs["language_vision"] == {"language_to_vision", "vision_to_language"}
    assert pairs["full"] == pairs["ours"] == {f"{a}_to_{b}" for a, b in itertools.permutations(DIMS, 2)}
    for variant in OWN:
        model = make_model(variant)
        assert tuple(model.encoders) == VARIANTS[variant]
        assert hasattr(model, "transfer") == hasattr(model, "combine") == (variant == "ours")
        assert set(model.fusion.decoders) == set(streams_of(variant))
    one = make_model("ours", targets=("language",))
    assert set(one.fusion.cross_modal) == {"vision_to_language", "audio_to_language"} and set(one.fusion.decoders) == {
        "language"
    }


def test_attention_maps_cover_each_pair_and_layer_and_sum_to_one():
    model, batch = make_model("ours"), make_batch(UNALIGNED)
    maps = model.attention_maps(batch.streams)
    assert set(maps) == set(model.fusion.cross_modal)
    steps = {name: batch.streams[name].values.shape[1] for name in model.observed}
    steps["audio"] = steps["language"] + steps["vision"]  # A' is the sources one after the other
    for pair, layers in maps.items():
        source, target = pair.split("_to_")
        assert len(layers) == 2
        for weights in layers:
            assert weights.shape == (4, 2, steps[target], steps[source])
            torch.testing.assert_close(weights.sum(-1), torch.ones(4, 2, steps[target]))
    hidden = ~batch.streams["vision"].full_mask()
    assert (maps["vision_to_language"][0].permute(0, 3, 1, 2)[hidden] == 0).all()


def test_an_encoder_standardises_with_the_training_set():
    split = make_split({name: [200, 300] for name in DIMS})
    shifted = Split(
        {name: Stream(10 + 5 * stream.values, stream.lengths) for name, stream in split.streams.items()},
        split.targets,
        split.ids,
    )
    plain, moved = make_model("full"), make_model("full")
    plain.fit_statistics(split)
    moved.fit_statistics(shifted)
    values = split.streams["vision"].values
    np.testing.assert_allclose(plain.encoders["vision"].embedding.standardise.mean, values.mean(0), atol=1e-6)
    np.testing.assert_allclose(plain.encoders["vision"].embedding.standardise.scale, values.std(0), atol=1e-6)
    logits = [
        model(collate(data, [0, 1], model.observed).streams).logits
        for model, data in [(plain, split), (moved, shifted)]
    ]
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=1e-4)
    again = make_model("full")
    again.load_state_dict(moved.state_dict())
    assert torch.equal(
        again.encoders["audio"].embedding.standardise.mean, moved.encoders["audio"].embedding.standardise.mean
    )  # saved with the weights


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_the_temporal_projection_is_torchs_convolution(kernel):
    embedding = shaken(Embedding(3, 8, 0.0, kernel))
    x = make_batch(UNALIGNED).streams["audio"]
    projected = embedding.project(embedding.windows(x))  # (B, T, d)
    weight = embedding.project.weight.unflatten(1, (kernel, 3)).transpose(1, 2)  # (d, D, kernel)
    for i, length in enumerate(UNALIGNED["audio"]):
        clip = x.values[i, :length].T[None]  # (1, D, T)
        expected = conv1d(clip, weight, padding=kernel // 2)[0].T
        torch.testing.assert_close(projected[i, :length], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_padding_never_leaks_into_the_valid_steps_of_an_embedding(kernel):
    embedding = shaken(Embedding(3, 8, 0.0, kernel))
    x = make_batch(UNALIGNED).streams["audio"]
    valid, expected = x.full_mask(), embedding(x).values
    for steps in (0, 1, 4):
        poisoned = extended(x, steps, torch.nan)
        found = embedding(poisoned).values[:, : valid.shape[1]]
        torch.testing.assert_close(found[valid], expected[valid], rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", ["full", "ours"])
def test_padding_changes_no_prediction_where_steps_see_their_neighbours(variant):
    model, batch = make_model(variant, kernel=3), make_batch(UNALIGNED)
    expected = model(batch.streams).logits
    for steps in (0, 5):
        streams = {name: extended(padded, steps, 1e4) for name, padded in batch.streams.items()}
        torch.testing.assert_close(model(streams).logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("variant", "observed", "fills"),
    [
        ("audio", ("audio",), ()),
        ("language_audio", ("language", "audio"), ("zero", "mean")),
        ("vision_audio", ("vision", "audio"), ("zero", "mean")),
    ],
)
def test_a_variant_with_audio_observes_what_its_name_says(variant, observed, fills):
    for model in (make_model(variant), build_model(TrainConfig(model="mult", variant=variant), "sentiment", DIMS)):
        assert (model.observed, model.trained_on, model.fills) == (observed, observed, fills)
        streams = {name: make_batch(UNALIGNED).streams[name] for name in observed}
        assert model(streams).logits.isfinite().all()


def test_an_encoder_projects_each_step_independently():
    encoder = shaken(ModalityEncoder(3, **SIZE))
    w = reference.weights_of(encoder)
    x = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(
        encoder.eval()(Padded(torch.from_numpy(x).float()[None])).values[0].detach(),
        reference.encoder(x, w, 2),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("variant", "dims", "targets", "message"),
    [
        ("nonsense", DIMS, None, "unknown variant 'nonsense'.*language_vision"),
        ("vision", {"language": 5, "audio": 3}, None, "the data has only"),
        ("language_vision", DIMS, ("audio",), "target 'audio' is not one of the streams; choose from language, vision"),
        ("ours", DIMS, (), "at least one"),
        ("ours", DIMS, ("audio", "audio"), "none of them twice"),
    ],
)
def test_an_impossible_model_is_an_error(variant, dims, targets, message):
    with pytest.raises(ConfigError, match=message):
        KTNet(dims, (7,), variant, targets=targets)
