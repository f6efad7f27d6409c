"""What Eq. (1) may predict in place of f_A: the audio descriptors, a full model's view, and a control without audio."""

import numpy as np
import pytest
import torch

import small
from ktnet_lite.data.batching import Padded, collate
from ktnet_lite.errors import ConfigError
from ktnet_lite.model.encoder import Standardise
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.losses import Objective, resample, transfer_quality
from ktnet_lite.model.targets import AudioTarget, Descriptors, OtherSource, View
from small import ALIGNED, DIMS, SIZE, UNALIGNED, extended, make_batch, make_model, make_split, shaken

SOURCES = ("language", "vision")
WIDTHS = {"descriptors": DIMS["audio"], "view": SIZE["dim"], "other source": SIZE["dim"]}


def make_teacher(**options) -> KTNet:
    return shaken(make_model("full", "l1", **options), seed=5)


def make_target(kind: str, sources=SOURCES) -> AudioTarget:
    torch.manual_seed(2)
    if kind == "descriptors":
        standardise = Standardise(DIMS["audio"])
        standardise.fit(make_split(UNALIGNED).streams["audio"])
        return Descriptors(standardise, sources, SIZE["dim"])
    return {"view": View, "other source": OtherSource}[kind](make_teacher(dropout=0.5), sources)


def make_objective(kind: str, **options) -> Objective:
    options = {"weights": {"vision": 0.3, "language": 0.7}} | options
    return Objective(make_model("ours", "l1"), make_target(kind), **options)


def poisoned(batch, name: str):
    """The batch with NaN in all of one stream."""
    values, mask, *_ = batch.streams[name]
    return batch._replace(streams={**batch.streams, name: Padded(torch.full_like(values, torch.nan), mask)})


@pytest.mark.parametrize("kind", WIDTHS)
def test_what_is_predicted_and_the_prediction_have_one_width(kind):
    target, batch = make_target(kind), make_batch(UNALIGNED)
    heard, logits = target.heard(batch, SOURCES)
    assert logits is None and set(heard) == set(SOURCES)
    for source, (features, present) in heard.items():
        clips, steps, _ = batch.streams[source].values.shape
        read = target.read(source, Padded(torch.randn(clips, steps, SIZE["dim"]), batch.streams[source].mask))
        assert read.values.shape == (clips, steps, WIDTHS[kind])
        assert features.values.shape[2] == WIDTHS[kind] and present.tolist() == [True] * clips
        assert not features.values.requires_grad


def test_descriptors_are_the_standardised_audio():
    target, batch = make_target("descriptors"), make_batch(UNALIGNED)
    features = target.heard(batch, SOURCES)[0]["vision"].features
    valid = features.values[features.full_mask()]
    torch.testing.assert_close(valid.mean(0), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(valid.std(0, correction=0), torch.ones(3), rtol=0, atol=1e-5)


def test_a_view_is_what_the_teachers_attention_to_audio_returns():
    teacher, batch = make_teacher(), make_batch(UNALIGNED)
    heard, _ = View(teacher, SOURCES).heard(batch, SOURCES)
    features, _ = teacher.encode(batch.streams)
    for source in SOURCES:
        expected = teacher.fusion.cross_modal[f"audio_to_{source}"](features[source], features["audio"])
        assert torch.equal(heard[source].features.values, expected.values)
        assert heard[source].features.lengths.tolist() == UNALIGNED[source]


def test_the_other_source_is_the_teachers_encoding_of_it():
    teacher, batch = make_teacher(), make_batch(UNALIGNED)
    heard, _ = OtherSource(teacher, SOURCES).heard(batch, SOURCES)
    for source, other in (("language", "vision"), ("vision", "language")):
        expected = teacher.encoders[other](batch.streams[other])
        assert torch.equal(heard[source].features.values, expected.values)
        assert heard[source].features.lengths.tolist() == UNALIGNED[other]


@pytest.mark.parametrize("kind", ["view", "other source"])
def test_a_teacher_is_a_frozen_copy_without_dropout(kind):
    teacher = make_teacher(dropout=0.5).train()
    target = (View if kind == "view" else OtherSource)(teacher, SOURCES).train()
    assert target.frozen and teacher.training and not any(p.requires_grad for p in target.parameters())
    assert all(parameter.requires_grad for parameter in teacher.parameters())
    batch = make_batch(UNALIGNED)
    before, _ = target.heard(batch, SOURCES)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter += 1.0
    after, _ = target.heard(batch, SOURCES)
    for source in SOURCES:
        assert torch.equal(before[source].features.values, after[source].features.values)


@pytest.mark.parametrize("kind", WIDTHS)
def test_a_step_of_eq_1_moves_only_what_predicts(kind):
    """Gradient reaches encoder, transfer and readout of a source through its own term, and nothing of a teacher."""
    objective = make_objective(kind).train()
    assert objective.audio_target.frozen == (kind != "descriptors")
    for source in SOURCES:
        objective.zero_grad()
        objective(make_batch(UNALIGNED))[f"{source}_to_audio"].backward()
        moved = {name for name, p in objective.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
        own = {f"model.encoders.{source}", f"model.transfer.{source}"}
        own |= {f"audio_target.readout.{source}"} if kind == "descriptors" else set()
        assert {".".join(name.split(".")[:3]) for name in moved} == own


@pytest.mark.parametrize("kind", WIDTHS)
def test_the_prediction_trains_no_target(kind):
    objective = make_objective(kind).train()
    objective(make_batch(UNALIGNED))["task"].backward()
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in objective.audio_target.parameters())


@pytest.mark.parametrize("kind", WIDTHS)
@pytest.mark.parametrize("level", ["step", "clip"])
def test_terms_and_quality_by_hand(kind, level):
    """Eq. (1) at each level, and R2 always at each step; every clip is as long in all streams."""
    split = make_split(ALIGNED)
    objective = make_objective(kind, level=level).eval()
    batch = collate(split, range(4), objective.modalities)
    terms, output = objective(batch), objective.model(batch.streams)
    quality = transfer_quality(objective.transfer_moments(batch))
    heard, _ = objective.audio_target.heard(batch, SOURCES)
    for source in SOURCES:
        valid = batch.streams[source].full_mask()
        read = objective.audio_target.read(source, output.reconstructed[source]).values
        error = (read - heard[source].features.values)[valid].detach().numpy()  # (steps, D)
        target = heard[source].features.values[valid].numpy()
        expected = 1 - (error**2).sum() / ((target - target.mean(0)) ** 2).sum()
        assert quality[f"{source}_r2"] == pytest.approx(expected, rel=1e-4)
        assert quality[f"{source}_error"] == pytest.approx((error**2).mean(), rel=1e-4)
        if level == "clip":
            ends = np.cumsum(valid.sum(1).numpy())[:-1]
            error = np.array([clip.mean(0) for clip in np.split(error, ends)])
        assert terms[f"{source}_to_audio"].item() == pytest.approx((error**2).mean(), rel=1e-4)
    total = terms["task"] + 0.3 * terms["vision_to_audio"] + 0.7 * terms["language_to_audio"]
    assert terms["loss"].item() == pytest.approx(total.item(), rel=1e-6)


@pytest.mark.parametrize("kind", WIDTHS)
@pytest.mark.parametrize("level", ["step", "clip"])
def test_padding_changes_no_term_and_no_quality(kind, level):
    objective, batch = make_objective(kind, level=level).eval(), make_batch(UNALIGNED)
    expected = {name: term.item() for name, term in objective(batch).items()}
    quality = transfer_quality(objective.transfer_moments(batch))
    padded = batch._replace(streams={name: extended(x, 3, 1e4) for name, x in batch.streams.items()})
    assert {name: term.item() for name, term in objective(padded).items()} == pytest.approx(expected, rel=1e-4)
    moments = objective.transfer_moments(padded)
    assert transfer_quality(moments) == pytest.approx(quality, rel=1e-4)


@pytest.mark.parametrize("kind", ["descriptors", "view"])
def test_clips_without_audio_do_not_count(kind):
    objective, lengths = make_objective(kind).eval(), UNALIGNED | {"audio": [9, 0, 8, 0]}
    present = collate(make_split(lengths), [0, 2], objective.modalities)
    some, alone = objective(make_batch(lengths)), objective(present)
    for source in SOURCES:
        assert some[f"{source}_to_audio"].item() == pytest.approx(alone[f"{source}_to_audio"].item(), rel=1e-5)


def test_the_control_without_a_voice_never_reads_audio():
    objective, batch = make_objective("other source").eval(), make_batch(UNALIGNED)
    silent = poisoned(batch, "audio")
    for labels in (True, False):
        expected, found = objective(batch, labels), objective(silent, labels)
        assert all(torch.equal(found[name], term) and term.isfinite() for name, term in expected.items())
    quality = [transfer_quality(objective.transfer_moments(b)) for b in (batch, silent)]
    assert quality[0] == quality[1] and set(quality[0]) >= {"language_r2", "vision_r2"}


@pytest.mark.parametrize("kind", ["descriptors", "view"])
def test_the_other_targets_are_of_the_audio(kind):
    objective, batch = make_objective(kind).eval(), make_batch(UNALIGNED)
    terms = objective(poisoned(batch, "audio"))
    assert terms["task"].isfinite() and terms["vision_to_audio"].isnan() and terms["language_to_audio"].isnan()


@pytest.mark.parametrize("kind", [*WIDTHS, "joint", "naive"])
def test_eq_1_alone_reads_no_label_and_moves_no_fusion(kind):
    objective = make_objective(kind) if kind in WIDTHS else small.make_objective(make_model("ours", "l1"), kind)
    batch = make_batch(UNALIGNED)
    before = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in objective.train().parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        terms = objective(batch._replace(targets=torch.full((4,), torch.nan)), labels=False)
        assert set(terms) == {"loss", "vision_to_audio", "language_to_audio"}
        terms["loss"].backward()
        optimizer.step()
    moved = {name for name, tensor in objective.state_dict().items() if not torch.equal(tensor, before[name])}
    parts = {".".join(name.split(".")[:2]) for name in moved}
    readout = {"descriptors": {"audio_target.readout"}, "naive": {"audio_target.encoder"}}.get(kind, set())
    assert parts == {"model.encoders", "model.transfer"} | readout
    assert all(tensor.isfinite().all() for tensor in objective.state_dict().values())


def test_what_a_target_cannot_do_is_an_error():
    with pytest.raises(ConfigError, match="'view' needs a teacher whose targets include vision"):
        View(make_teacher(targets=("language", "audio")), SOURCES)
    with pytest.raises(ConfigError, match=r"voice = 'none' needs words and face .*; there is only language"):
        OtherSource(make_teacher(), ("language",))


def test_the_view_needs_no_resampling():
    features = make_target("view").heard(make_batch(UNALIGNED), SOURCES)[0]["language"].features
    lengths = torch.tensor(UNALIGNED["language"])
    again = resample(features.values, lengths, lengths, features.values.shape[1])
    assert torch.equal(again[features.full_mask()], features.values[features.full_mask()])
