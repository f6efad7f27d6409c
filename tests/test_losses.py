"""Eq. (1), (5) and (6), by hand and against NumPy; the four treatments of the audio target."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import numpy_ktnet as reference
from ktnet_lite.data.batching import Padded, collate
from ktnet_lite.errors import ConfigError
from ktnet_lite.model.encoder import ModalityEncoder
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.losses import (
    OUTPUTS,
    Objective,
    beta_nll,
    consistency_loss,
    predictions,
    resample,
    sentiment_classes,
    sharded_mean,
    task_loss,
    transfer_quality,
)
from ktnet_lite.model.targets import AudioTarget
from ktnet_lite.names import TREATMENTS, VARIANTS
from small import ALIGNED, DIMS, SIZE, UNALIGNED, extended, make_batch, make_model, make_objective, make_split


def column(*values: float) -> torch.Tensor:
    """Make one clip of one feature, shape (1, T, 1)."""
    return torch.tensor(values)[None, :, None]


def mask_of(lengths: list[int], steps: int | None = None) -> torch.Tensor:
    return torch.arange(steps or max(lengths)) < torch.tensor(lengths)[:, None]


# --- Eq. (1): resampling in clip time


@pytest.mark.parametrize(
    ("features", "steps", "expected"),
    [
        ((0.0, 8.0), 4, (0.0, 2.0, 6.0, 8.0)),  # at -1/4, 1/4, 3/4, 5/4 of a step
        ((0.0, 8.0, 16.0, 24.0), 2, (4.0, 20.0)),  # at 1/2 and 5/2
        ((0.0, 6.0, 12.0), 2, (1.5, 10.5)),  # at 1/4 and 7/4
        ((5.0,), 3, (5.0, 5.0, 5.0)),
        ((1.0, 7.0, 3.0), 1, (7.0,)),  # the middle
        ((1.0, 7.0, 3.0), 3, (1.0, 7.0, 3.0)),
    ],
)
def test_resampling_by_hand(features, steps, expected):
    result = resample(column(*features), torch.tensor([len(features)]), torch.tensor([steps]), steps)
    torch.testing.assert_close(result, column(*expected))


def test_resampling_against_torch_clip_by_clip():
    torch.manual_seed(0)
    old, new = [1, 7, 12, 5, 9], [6, 3, 12, 13, 1]
    features = torch.randn(5, 12, 4).masked_fill(~mask_of(old).unsqueeze(-1), torch.nan)  # padding is never read
    result = resample(features, torch.tensor(old), torch.tensor(new), 13)
    for i in range(5):
        clip = features[i : i + 1, : old[i]].transpose(1, 2)
        expected = F.interpolate(clip, size=new[i], mode="linear", align_corners=False).transpose(1, 2)[0]
        torch.testing.assert_close(result[i, : new[i]], expected)
    assert torch.equal(result[2, :12], features[2])  # equal lengths leave it bitwise unchanged


def test_resampling_long_clips_stays_on_the_line():
    line = torch.arange(500.0)
    result = resample(line[None, :, None], torch.tensor([500]), torch.tensor([375]), 375)[0, :, 0]
    expected = (np.arange(375) + 0.5) * 500 / 375 - 0.5
    np.testing.assert_allclose(result, expected.clip(0, 499), atol=1e-4)


# --- Eq. (1): the distance


def test_consistency_by_hand():
    # clip 0 compares 2 steps with 2 of audio, clip 1 compares 1 step with the mean of 2
    reconstructed = Padded(
        torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [1e4, 1e4]]]), torch.tensor([[True, True], [True, False]])
    )
    audio = Padded(torch.tensor([[[0.0, 2.0], [3.0, 1.0]], [[2.0, 4.0], [4.0, 12.0]]]))
    # differences: (1, 0), (0, 3), (2, -2)
    assert consistency_loss(reconstructed, audio).item() == pytest.approx((1 + 9 + 4 + 4) / 6)
    assert consistency_loss(reconstructed, audio, kind="l1").item() == pytest.approx((1 + 3 + 2 + 2) / 6)
    present = torch.tensor([True, False])
    assert consistency_loss(reconstructed, audio, present).item() == pytest.approx(10 / 4)
    assert consistency_loss(reconstructed, audio, ~present, "l1").item() == pytest.approx(4 / 2)


def test_consistency_of_clips_by_hand():
    """At the level of clips, the means over the valid steps are compared, however many steps there are."""
    reconstructed = Padded(torch.tensor([[[1.0, 2.0], [3.0, 6.0]], [[5.0, 6.0], [1e4, 1e4]]]), mask_of([2, 1]))
    audio = Padded(torch.tensor([[[1.0, 0.0], [0.0, 3.0], [2.0, 0.0]], [[2.0, 4.0], [4.0, 12.0], [1e4, 1e4]]]))
    audio = audio._replace(mask=mask_of([3, 2]))
    # means (2, 4) and (1, 1), (5, 6) and (3, 8): differences (1, 3), (2, -2)
    assert consistency_loss(reconstructed, audio, level="clip").item() == pytest.approx((1 + 9 + 4 + 4) / 4)
    assert consistency_loss(reconstructed, audio, None, "l1", "clip").item() == pytest.approx((1 + 3 + 2 + 2) / 4)
    assert consistency_loss(reconstructed, audio, torch.tensor([False, True]), level="clip").item() == 4


def test_beta_nll_by_hand_and_its_gradient():
    """Variance 4, error 3: (log 4 + 9 / 4) / 2 times 4^beta; the weight 4^beta has no gradient."""
    gaussian = torch.tensor([1.0, math.log(4.0)], requires_grad=True)
    for beta in (0.0, 0.5, 1.0):
        loss = beta_nll(gaussian, torch.tensor([4.0]), beta)
        assert loss.item() == pytest.approx((math.log(4) + 9 / 4) / 2 * 4**beta, rel=1e-6)
        (gradient,) = torch.autograd.grad(loss.sum(), gaussian)
        expected = [-3 / 4 * 4**beta, (1 - 9 / 4) / 2 * 4**beta]
        assert gradient.tolist() == pytest.approx(expected, rel=1e-6)
    beyond = beta_nll(torch.tensor([0.0, 100.0]), torch.tensor([0.0]), 0.0)
    assert beyond.item() == pytest.approx(3 / 2), "the log-variance is cut"


@pytest.mark.parametrize("kind", ["l2", "l1", "gaussian"])
def test_consistency_against_numpy(kind):
    """Eq. (1) over clips of different lengths, one of them without audio."""
    torch.manual_seed(0)
    sources, audios, present = [4, 7, 1, 5], [9, 3, 6, 1], [True, True, True, False]
    reconstructed = Padded(torch.randn(4, 7, 6 if kind == "gaussian" else 3), mask_of(sources))
    audio = Padded(torch.randn(4, 9, 3), mask_of(audios))
    total, count = 0.0, 0
    for i in range(3):
        target = audio.values[i, : audios[i]].double().numpy()
        at = np.clip((np.arange(sources[i]) + 0.5) * audios[i] / sources[i] - 0.5, 0, audios[i] - 1)
        target = np.stack([np.interp(at, np.arange(audios[i]), target[:, d]) for d in range(3)], axis=1)
        values = reconstructed.values[i, : sources[i]].double().numpy()
        difference, variance = values[:, :3] - target, np.exp(np.clip(values[:, 3:], -6, 3))
        distance = {"l2": difference**2, "l1": abs(difference)}
        if kind == "gaussian":
            distance[kind] = (np.log(variance) + difference**2 / variance) / 2 * variance**0.5
        total += distance[kind].sum()
        count += difference.size
    result = consistency_loss(reconstructed, audio, torch.tensor(present), kind)
    assert result.item() == pytest.approx(total / count, rel=1e-5)


def test_consistency_without_any_audio_is_zero_with_zero_gradient():
    reconstructed = Padded(torch.randn(2, 3, 4, requires_grad=True))
    loss = consistency_loss(reconstructed, Padded(torch.zeros(2, 1, 4)), torch.tensor([False, False]))
    loss.backward()
    assert loss.item() == 0 and reconstructed.values.grad.abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_consistency_keeps_full_precision_under_autocast(dtype):
    """The sum over a batch of long streams exceeds the largest float16 number."""
    torch.manual_seed(0)
    reconstructed, audio = Padded(torch.randn(16, 500, 40), mask_of([500] * 16)), Padded(torch.randn(16, 400, 40))
    expected = consistency_loss(reconstructed, audio)
    with torch.autocast("cpu", dtype):
        result = consistency_loss(reconstructed, audio)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected)


def test_a_single_process_divides_by_its_own_count():
    assert sharded_mean(torch.tensor(6.0), 4).item() == 1.5
    assert sharded_mean(torch.tensor(6.0), torch.tensor(3)).item() == 2
    assert sharded_mean(torch.tensor(0.0), 0).item() == 0


# --- Eq. (5)


def test_sentiment_classes_round_halves_to_even():
    scores = torch.tensor([-3.2, -3.0, -2.5, -1.5, -0.5, 0.0, 0.5, 1.5, 2.4, 2.5, 3.0])
    assert sentiment_classes(scores).tolist() == [0, 0, 1, 1, 3, 3, 3, 5, 5, 5, 6]


def test_cross_entropy_by_hand():
    probabilities = torch.full((2, 7), 0.1)
    probabilities[0, 4] = probabilities[1, 0] = 0.4
    logits = probabilities.log() + torch.tensor([[5.0], [-2.0]])  # adding a constant changes nothing
    loss = task_loss(logits, torch.tensor([1.2, 0.4]), "cross_entropy")  # classes 4 and 3
    assert loss.item() == pytest.approx(-(math.log(0.4) + math.log(0.1)) / 2)


def test_l1_by_hand():
    loss = task_loss(torch.tensor([[1.0], [-2.0], [0.5]]), torch.tensor([2.0, -2.5, 0.5]), "l1")
    assert loss.item() == pytest.approx(1.5 / 3)


def test_emotion_loss_by_hand():
    logits = torch.zeros(2, 4, 2)  # every emotion has probability 1/2 ...
    logits[0, 1] = torch.tensor([0.0, math.log(3)])  # ... except happy in clip 0, which has 3/4
    targets = torch.tensor([[0, 1, 0, 1], [1, 0, 0, 0]])
    expected = (-math.log(3 / 4) - 7 * math.log(1 / 2)) / 8
    assert task_loss(logits, targets, "emotion").item() == pytest.approx(expected)
    targets[0, 1] = 0
    expected = (-math.log(1 / 4) - 7 * math.log(1 / 2)) / 8
    assert task_loss(logits, targets, "emotion").item() == pytest.approx(expected)


def test_the_score_is_the_expected_value_of_the_classes():
    probabilities = torch.tensor([[0.0, 0, 0, 0, 0.5, 0, 0.5], [0.7, 0.3, 0, 0, 0, 0, 0]])
    torch.testing.assert_close(predictions(probabilities.log(), "cross_entropy"), torch.tensor([2.0, -2.7]))
    assert predictions(torch.zeros(1, 7), "cross_entropy").item() == pytest.approx(0, abs=1e-6)


def test_predictions_of_scores_and_emotions_by_hand():
    assert predictions(torch.tensor([[0.25], [-7.0]]), "l1").tolist() == [0.25, -7.0]
    logits = torch.tensor([[[0.0, math.log(3)], [0, 0], [math.log(9), 0], [0, 0]]])
    torch.testing.assert_close(predictions(logits, "emotion"), torch.tensor([[0.75, 0.5, 0.1, 0.5]]))


@pytest.mark.parametrize("loss", OUTPUTS)
def test_task_losses_are_in_full_precision_for_half_precision_logits(loss):
    logits = torch.randn(3, *OUTPUTS[loss], dtype=torch.bfloat16)
    targets = torch.ones(3, 4, dtype=torch.int64) if loss == "emotion" else torch.ones(3)
    assert task_loss(logits, targets, loss).dtype == predictions(logits, loss).dtype == torch.float32


# --- Eq. (6)


@pytest.mark.parametrize("treatment", TREATMENTS)
@pytest.mark.parametrize(("vision", "language"), [(0.1, 0.1), (0.0, 2.0), (3.0, 0.5)])
def test_total_is_the_weighted_sum(vision, language, treatment):
    model = make_model("ours")
    batch = make_batch(UNALIGNED)
    terms = {}
    for kind in ("l2", "l1"):
        weights = {"vision": vision, "language": language}
        objective = make_objective(model, treatment, weights=weights, consistency=kind).eval()
        terms[kind] = {name: term.item() for name, term in objective(batch).items()}
        t = terms[kind]
        expected = t["task"] + vision * t["vision_to_audio"] + language * t["language_to_audio"]
        assert t["loss"] == pytest.approx(expected + t.get("audio_task", 0.0), rel=1e-6)
        assert ("audio_task" in t) == (treatment == "joint")
    assert terms["l2"]["vision_to_audio"] != terms["l1"]["vision_to_audio"]


def test_every_term_against_numpy():
    """Eq. (1), (5) and (6) from the weights alone; the clips are aligned, so nothing is resampled."""
    split = make_split(ALIGNED)
    objective = make_objective(make_model("ours"), "joint", weights={"vision": 0.3, "language": 0.7}).eval()
    terms = {name: term.item() for name, term in objective(collate(split, range(4), objective.modalities)).items()}
    w = reference.weights_of(objective)
    ours, audio = reference.part(w, "model"), reference.part(w, "audio_target.encoder")
    head = reference.part(w, "audio_target.head")
    task, audio_task, errors = [], [], {"vision": [], "language": []}
    for i in range(4):
        clip = {name: stream.clip(i).astype(float) for name, stream in split.streams.items()}
        logits, reconstructed = reference.ktnet(clip, ours, 2, ("language", "vision", "audio"), "mean")
        target = reference.encoder(clip["audio"], audio, 2)
        label = round(float(split.targets[i])) + 3
        task.append(-np.log(reference.softmax(logits)[label]))
        audio_task.append(-np.log(reference.softmax(reference.linear(target.mean(0), head))[label]))
        for name in errors:
            errors[name].append((reconstructed[name] - target) ** 2)
    expected = {
        "task": np.mean(task),
        "vision_to_audio": np.concatenate(errors["vision"]).mean(),
        "language_to_audio": np.concatenate(errors["language"]).mean(),
        "audio_task": np.mean(audio_task),
    }
    expected["loss"] = (
        expected["task"]
        + 0.3 * expected["vision_to_audio"]
        + 0.7 * expected["language_to_audio"]
        + expected["audio_task"]
    )
    assert terms == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant not in ("ours", "any")])
def test_other_variants_have_only_the_task_loss(variant):
    objective = make_objective(make_model(variant))
    terms = objective(make_batch(UNALIGNED))
    assert set(terms) == {"loss", "task"} and torch.equal(terms["loss"], terms["task"])
    assert objective.modalities == objective.model.observed


def test_an_impossible_objective_is_an_error():
    target = AudioTarget(ModalityEncoder(3, **SIZE), "random", (7,))
    with pytest.raises(ValueError, match="give an audio target for the variant"):
        Objective(make_model("ours"))
    with pytest.raises(ValueError, match="and for no other"):
        Objective(make_model("full"), target)
    with pytest.raises(ValueError, match="no lambda for vision"):
        Objective(make_model("ours"), target, {"language": 1.0})


@pytest.mark.parametrize("loss", OUTPUTS)
def test_the_shape_of_the_logits_implies_the_task_loss(loss):
    assert make_model("full", loss).loss == loss


def test_logits_of_another_shape_have_no_task_loss():
    with pytest.raises(ConfigError, match=r"KTNet has outputs = \(3,\); no task loss .* only \(7,\), \(1,\), \(4, 2\)"):
        KTNet(DIMS, (3,), "full", **SIZE).loss  # noqa: B018


def test_language_alone_can_be_transferred():
    torch.manual_seed(0)
    model = KTNet({"language": 5, "audio": 3}, (7,), "ours", **SIZE)
    terms = make_objective(model, "random", weights={"language": 0.1})(make_batch(UNALIGNED))
    assert set(terms) == {"loss", "task", "language_to_audio"}


# --- the treatments of the collapse


def gradients(objective: Objective, term: str) -> dict[str, float]:
    """Return the largest gradient of one term at each parameter of the audio target."""
    objective.zero_grad()
    objective(make_batch(UNALIGNED))[term].backward()
    parameters = objective.audio_target.named_parameters()
    return {name: 0.0 if p.grad is None else p.grad.abs().max().item() for name, p in parameters}


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_the_prediction_trains_no_audio_encoder(treatment):
    """Audio enters "ours" only through Eq. (1)."""
    assert max(gradients(make_objective(make_model("ours"), treatment), "task").values()) == 0


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_consistency_reaches_f_a_only_in_the_naive_treatment(treatment):
    objective = make_objective(make_model("ours"), treatment)
    for term in ("vision_to_audio", "language_to_audio"):
        reached = gradients(objective, term)
        if treatment == "naive":
            assert min(reached.values()) > 0
        else:
            assert max(reached.values()) == 0
        assert objective.model.transfer[term.split("_")[0]].out.weight.grad.abs().max() > 0


def test_only_its_own_head_trains_joint():
    objective = make_objective(make_model("ours"), "joint")
    reached = gradients(objective, "audio_task")
    assert min(reached.values()) > 0 and {"head.weight", "head.bias"} < set(reached)
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in objective.model.parameters())


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_a_step_moves_only_the_weights_that_a_treatment_trains(treatment):
    objective = make_objective(make_model("ours"), treatment).train()
    before = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad])
    for _ in range(2):
        optimizer.zero_grad()
        objective(make_batch(UNALIGNED))["loss"].backward()
        optimizer.step()
    for name, tensor in objective.state_dict().items():
        frozen = name.endswith((".mean", ".scale"))
        frozen |= name.startswith("audio_target.encoder.") and treatment in ("random", "teacher")
        assert torch.equal(tensor, before[name]) == frozen, name


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_a_frozen_target_has_no_dropout_in_training(treatment):
    objective = make_objective(make_model("ours"), treatment, audio_dropout=0.5)
    audio = make_batch(UNALIGNED).streams["audio"]
    for target in (objective.audio_target, objective.train().audio_target):
        same = torch.equal(target(audio)[0].values, target(audio)[0].values)
        assert same == (treatment in ("random", "teacher"))
    assert objective.model.training and objective.audio_target.training


@pytest.mark.parametrize("treatment", ["random", "teacher"])
def test_a_frozen_target_leaves_the_callers_encoder_as_it_was(treatment):
    encoder = ModalityEncoder(3, **SIZE, dropout=0.5).train()
    target = AudioTarget(encoder, treatment, (7,)).train()
    assert encoder.training and all(parameter.requires_grad for parameter in encoder.parameters())
    assert not any(parameter.requires_grad for parameter in target.parameters())
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 1.0
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, before[name]), name


# --- padding, and the quality of the reconstruction


def garbage(batch, steps: int):
    return batch._replace(streams={name: extended(padded, steps, 1e4) for name, padded in batch.streams.items()})


@pytest.mark.parametrize("loss", OUTPUTS)
@pytest.mark.parametrize(("concat", "lengths"), [("time", UNALIGNED), ("time", ALIGNED), ("features", ALIGNED)])
@pytest.mark.parametrize("kind", ["l2", "l1"])
def test_padding_changes_no_term_and_no_quality(loss, concat, lengths, kind):
    objective = make_objective(make_model("ours", loss, concat=concat), "joint", consistency=kind).eval()
    batch = make_batch(lengths, "emotion" if loss == "emotion" else "sentiment")
    expected = {name: term.item() for name, term in objective(batch).items()}
    quality = transfer_quality(objective.transfer_moments(batch))
    for steps in (0, 3):
        padded = garbage(batch, steps)
        assert {n: t.item() for n, t in objective(padded).items()} == pytest.approx(expected, rel=1e-5, abs=1e-5)
        moments = objective.transfer_moments(padded)
        assert transfer_quality(moments) == pytest.approx(quality, rel=1e-5, abs=1e-5)


def test_padding_changes_no_gradient():
    batch, results = make_batch(UNALIGNED), []
    for padded in (batch, garbage(batch, 3)):
        objective = make_objective(make_model("ours"), "naive")
        objective(padded)["loss"].backward()
        results.append([p.grad for p in objective.parameters()])
    for expected, result in zip(*results, strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


def test_clips_without_audio_do_not_count_in_training():
    """The loss of a batch is that of its clips with audio, whatever the other clips hold."""
    objective = make_objective(make_model("ours"), "random")
    some = make_batch(UNALIGNED | {"audio": [9, 0, 8, 0]})
    split = make_split(UNALIGNED | {"audio": [9, 0, 8, 0]})
    present = collate(split, [0, 2], objective.modalities)
    for name in ("vision_to_audio", "language_to_audio"):
        assert objective(some)[name].item() == pytest.approx(objective(present)[name].item(), rel=1e-5)
    joint = make_objective(make_model("ours"), "joint")
    assert joint(some)["audio_task"].item() == pytest.approx(joint(present)["audio_task"].item(), rel=1e-5)
    counted = objective.transfer_moments(some)["vision_count"]
    assert counted == UNALIGNED["vision"][0] + UNALIGNED["vision"][2]


def test_quality_against_numpy():
    """Error, std(f_A) and R2 on aligned clips, from the sums over two batches."""
    split = make_split(ALIGNED)
    objective = make_objective(make_model("ours"), "random").eval()
    sums: dict[str, torch.Tensor] = {}
    for indices in ([0, 3], [1, 2]):
        batch = collate(split, indices, objective.modalities)
        for name, value in objective.transfer_moments(batch).items():
            sums[name] = sums.get(name, 0.0) + value
    w = reference.weights_of(objective)
    targets, reconstructions = [], {"vision": [], "language": []}
    for i in range(4):
        clip = {name: split.streams[name].clip(i).astype(float) for name in DIMS}
        targets.append(reference.encoder(clip["audio"], reference.part(w, "audio_target.encoder"), 2))
        reconstructed = reference.ktnet(clip, reference.part(w, "model"), 2, tuple(DIMS), "mean")[1]
        for name, values in reconstructions.items():
            values.append(reconstructed[name])
    target = np.concatenate(targets)
    expected = {"audio_std": target.std(0).mean()}
    for name, values in reconstructions.items():
        error = (np.concatenate(values) - target) ** 2
        expected[f"{name}_error"] = error.mean()
        expected[f"{name}_r2"] = 1 - error.sum() / ((target - target.mean(0)) ** 2).sum()
    assert transfer_quality(sums) == pytest.approx(expected, rel=1e-4)


def test_quality_by_hand_and_where_it_is_undefined():
    def moments(**values):
        return {f"vision_{name}": torch.tensor(value, dtype=torch.float64) for name, value in values.items()}

    # f_A is (1, 3) in one dimension and (0, 0) in the other; the error is 1 at each step and dimension
    quality = transfer_quality(moments(error=[2.0, 2.0], sum=[4.0, 0.0], square=[10.0, 0.0], count=2.0))
    assert quality == pytest.approx({"vision_error": 1.0, "audio_std": 0.5, "vision_r2": 1 - 4 / 2})
    collapsed = transfer_quality(moments(error=[0.5], sum=[4.0], square=[8.0], count=2.0))
    assert collapsed == pytest.approx({"vision_error": 0.25, "audio_std": 0.0})
    assert transfer_quality(moments(error=[0.0], sum=[0.0], square=[0.0], count=0.0)) == {}
    assert transfer_quality({}) == {}


def test_quality_counts_the_steps_of_the_source():
    objective = make_objective(make_model("ours"), "random").eval()
    batch = make_batch(UNALIGNED)
    moments = objective.transfer_moments(batch)
    assert moments["vision_count"] == sum(UNALIGNED["vision"])
    assert moments["language_count"] == sum(UNALIGNED["language"])


def test_some_of_the_clips_are_cut_at_a_random_moment_in_training_alone():
    torch.manual_seed(0)
    batch = make_batch({"language": [9] * 400, "vision": [9] * 400, "audio": [9] * 400})
    objective = Objective(make_model("full"), prefixes=0.5)
    assert objective.eval().heard(batch) is batch
    cut = objective.train().heard(batch)
    lengths = cut.streams["vision"].lengths
    assert 150 < (lengths < 9).sum() < 250 and lengths.min() == 1
    assert torch.equal(lengths, cut.streams["audio"].lengths), "all streams at the same moment"
    assert not cut.present["audio"].all(), "some clips have only begun"
    assert Objective(make_model("full")).train().heard(batch) is batch
