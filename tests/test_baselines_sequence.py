"""MulT, MCTN, RAVEN and CTC alignment against NumPy from the equations, clip by clip, without padding."""

import itertools
import math

import numpy as np
import pytest
import torch

import numpy_ktnet as reference
from ktnet_lite.baselines.blocks import squared_error
from ktnet_lite.baselines.ctc import Aligner, CTCAligned, ctc
from ktnet_lite.baselines.mctn import MCTN, Decoder, Encoder
from ktnet_lite.baselines.mult import MulT
from ktnet_lite.baselines.raven import RAVEN, deal, shift
from ktnet_lite.data.batching import Batch, Padded, collate
from ktnet_lite.data.schema import Split
from ktnet_lite.errors import ConfigError
from ktnet_lite.model.losses import OUTPUTS, Objective
from numpy_ktnet import Weights, linear, part, softmax
from small import ALIGNED, DIMS, SIZE, UNALIGNED, extended, make_split, shaken

DIM = 6
TWO = {"language": DIMS["language"], "audio": DIMS["audio"]}
# Clip 1 has one word and no audio, clip 3 has no vision, and clip 2 has fewer frames of vision than words.
GAPS = {"language": [3, 1, 4, 2], "vision": [5, 4, 2, 0], "audio": [4, 0, 5, 3]}


def make(system, dims=DIMS, outputs=(7,), **options):
    torch.manual_seed(0)
    return shaken(system(dims, outputs, dropout=0.0, **{"dim": DIM} | options)).eval()


def padded_batch(split: Split) -> Batch:
    """Collate all clips of a split, with arbitrary values in the padding."""
    batch = collate(split, range(len(split)), tuple(split.streams))
    return batch._replace(streams={name: extended(padded, 2, 9.0) for name, padded in batch.streams.items()})


def clip_of(split: Split, i: int) -> dict[str, np.ndarray]:
    """Return one clip's streams in float64; a missing modality is one step of zeros."""
    clip = {name: stream.clip(i).astype(float) for name, stream in split.streams.items()}
    return {name: values if len(values) else np.zeros((1, values.shape[1])) for name, values in clip.items()}


def mask_of(lengths: list[int], steps: int) -> torch.Tensor:
    return torch.arange(steps) < torch.tensor(lengths)[:, None]


def close(result: torch.Tensor, expected, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(result.detach(), expected, rtol=0, atol=atol)


# --- shared parts of the references


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_step(x, hidden, cell, w: Weights, suffix: str = ""):
    """The LSTM as torch documents it; its matrices hold the gates i, f, g, o in that order."""
    gates = w["weight_ih" + suffix] @ x + w["bias_ih" + suffix] + w["weight_hh" + suffix] @ hidden
    i, f, g, o = np.split(gates + w["bias_hh" + suffix], 4)
    cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(cell), cell


def lstm(x, w: Weights, suffix: str = "_l0"):
    """(T, D) -> states (T, d)."""
    hidden = cell = np.zeros(w["weight_hh" + suffix].shape[1])
    states = []
    for row in x:
        hidden, cell = lstm_step(row, hidden, cell, w, suffix)
        states.append(hidden)
    return np.array(states)


def standardise(x, w: Weights, name: str):
    return (x - w[f"standardise.{name}.mean"]) / w[f"standardise.{name}.scale"]


def head(x, w: Weights):
    return linear(x + linear(np.maximum(linear(x, part(w, "residual.0")), 0), part(w, "residual.3")), part(w, "out"))


def test_squared_error_by_hand():
    predicted = torch.tensor([[[1.0, 2.0], [0.0, 0.0]], [[3.0, 0.0], [7.0, 7.0]], [[5.0, 5.0], [5.0, 5.0]]])
    truth = Padded(torch.zeros(3, 2, 2), mask_of([2, 1, 2], 2))
    assert squared_error(predicted, truth, torch.tensor([True, True, False])) == pytest.approx((1 + 4 + 9) / 6)
    assert squared_error(predicted, truth, torch.tensor([False, False, False])) == 0


# --- MulT


def check_mult(model: MulT, lengths: dict[str, list[int]]) -> None:
    split = make_split(lengths)
    logits, w = model(padded_batch(split).streams).logits, reference.weights_of(model)
    assert logits.shape == (len(split), *model.outputs)
    for i in range(len(split)):
        clip = clip_of(split, i)
        embedded = {name: reference.embedding(clip[name], part(w, f"embeddings.{name}")) for name in model.observed}
        fusion = model.fusion
        expected = reference.fusion(embedded, part(w, "fusion"), SIZE["heads"], fusion.targets, fusion.pooling)
        close(logits[i].flatten(), expected)


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("outputs", OUTPUTS.values())
@pytest.mark.parametrize("lengths", [UNALIGNED, ALIGNED, GAPS], ids=["unaligned", "aligned", "gaps"])
def test_mult_against_numpy(lengths, outputs, pooling):
    check_mult(make(MulT, outputs=outputs, **SIZE, pooling=pooling), lengths)


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("targets", [("audio", "language"), ("vision",)])
def test_mult_with_some_targets_against_numpy(targets, pooling):
    model = make(MulT, **SIZE, targets=targets, pooling=pooling)
    assert set(model.fusion.decoders) == set(targets)
    check_mult(model, UNALIGNED)


def test_mult_of_two_modalities_against_numpy():
    model = make(MulT, TWO, **SIZE)
    assert set(model.fusion.cross_modal) == {"audio_to_language", "language_to_audio"}
    check_mult(model, {name: UNALIGNED[name] for name in TWO})


def test_mult_attention_maps_of_the_first_layer_against_numpy():
    model, split = make(MulT, **SIZE), make_split(UNALIGNED)
    maps, w = model.attention_maps(padded_batch(split).streams), reference.weights_of(model)
    for source, target in itertools.permutations(DIMS, 2):
        first = part(w, f"fusion.cross_modal.{source}_to_{target}.layers.0")
        for i in range(len(split)):
            q, k = (
                reference.layer_norm(
                    reference.embedding(clip_of(split, i)[name], part(w, f"embeddings.{name}")),
                    part(first, "attention_norm"),
                )
                for name in (target, source)
            )
            expected = reference.attention(q, k, part(first, "attention"), SIZE["heads"])[1]
            result = maps[f"{source}_to_{target}"][0][i]
            close(result[:, : len(q), : len(k)], expected)
            assert (result[:, : len(q), len(k) :] == 0).all()


# --- MCTN


def mctn_encoder(x, w: Weights):
    w = part(w, "recurrent")
    return lstm(x, w) + lstm(x[::-1], w, "_l0_reverse")[::-1]


def mctn_decoder(encoded, w: Weights, steps: int):
    hidden = cell = np.zeros(encoded.shape[1])
    states = []
    for _ in range(steps):
        scores = [
            linear(np.tanh(linear(step, part(w, "key")) + linear(hidden, part(w, "query"))), part(w, "score"))[0]
            for step in encoded
        ]
        context = sum(a * step for a, step in zip(softmax(np.array(scores)), encoded, strict=True))
        hidden, cell = lstm_step(context, hidden, cell, part(w, "cell"))
        states.append(hidden)
    return np.array(states)


def mctn(clip, w: Weights):
    """Map one clip to logits and to the translations T1^, S^ and, with a third modality, T2^, beside their truths."""
    source, first, *second = clip
    truth = {name: standardise(x, w, name) for name, x in clip.items()}

    def translated(z, level: int, name: str):
        states = mctn_decoder(z, part(w, f"decoders.{level}"), len(truth[name]))
        return linear(states, part(w, f"out.{name}")), truth[name]

    z = last = mctn_encoder(linear(truth[source], part(w, f"into.{source}")), part(w, "encoders.0"))
    terms = {"translation": translated(z, 0, first)}
    again = mctn_encoder(linear(terms["translation"][0], part(w, f"into.{first}")), part(w, "encoders.0"))
    terms["cycle"] = translated(again, 0, source)
    if second:
        last = mctn_encoder(z, part(w, "encoders.1"))
        terms["second_translation"] = translated(last, 1, second[0])
    return head(lstm(last, part(w, "recurrent"))[-1], part(w, "head")), terms


def test_the_decoder_attends_to_the_encoded_source_before_each_step():
    torch.manual_seed(0)
    decoder = shaken(Decoder(DIM))
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter *= 3  # so that scores differ much, and at every step
    encoded = extended(Padded(torch.randn(3, 4, DIM), mask_of([4, 2, 1], 4)), 2, 9.0)
    states, w = decoder(encoded, 5), reference.weights_of(decoder)
    for i, length in enumerate([4, 2, 1]):
        close(states[i], mctn_decoder(encoded.values[i, :length].double().numpy(), w, 5))


def test_the_encoder_adds_both_directions_of_each_clip():
    torch.manual_seed(0)
    encoder = shaken(Encoder(3, DIM))
    x = extended(Padded(torch.randn(3, 4, 3), mask_of([4, 2, 1], 4)), 2, 9.0)
    states, w = encoder(x), reference.weights_of(encoder)
    assert torch.equal(states.mask, x.mask)
    for i, length in enumerate([4, 2, 1]):
        close(states.values[i, :length], mctn_encoder(x.values[i, :length].double().numpy(), w))


def check_mctn(model: MCTN, lengths: dict[str, list[int]]) -> None:
    split = make_split(lengths)
    batch = padded_batch(split)
    output, w = model(batch.streams), reference.weights_of(model)
    _, first, *second = model.standardise
    needs = {"translation": first, "cycle": first} | ({"second_translation": second[0]} if second else {})
    errors = {name: [] for name in needs}
    for i in range(len(split)):
        logits, terms = mctn(clip_of(split, i), w)
        close(output.logits[i].flatten(), logits)
        for name, (translated, truth) in terms.items():
            if lengths[needs[name]][i]:
                errors[name].append(((translated - truth) ** 2).flatten())
    terms = model.auxiliary(output, batch)
    assert set(terms) == set(needs) == set(model.weights) & set(terms)
    for name, term in terms.items():
        assert float(term.detach()) == pytest.approx(np.concatenate(errors[name]).mean(), rel=1e-5)


@pytest.mark.parametrize("outputs", OUTPUTS.values())
@pytest.mark.parametrize("lengths", [UNALIGNED, ALIGNED, GAPS], ids=["unaligned", "aligned", "gaps"])
def test_mctn_and_its_translations_against_numpy(lengths, outputs):
    check_mctn(make(MCTN, outputs=outputs), lengths)


def test_mctn_of_two_modalities_has_one_level():
    model = make(MCTN, TWO)
    assert len(model.encoders) == len(model.decoders) == 1
    check_mctn(model, {name: GAPS[name] for name in TWO})


def test_mctn_adds_each_translation_with_weight_one_tenth():
    model = make(MCTN, outputs=(1,))
    terms = {name: term.detach() for name, term in Objective(model)(padded_batch(make_split(GAPS))).items()}
    errors = terms["translation"] + terms["cycle"] + terms["second_translation"]
    assert float(terms["loss"]) == pytest.approx(float(terms["task"] + 0.1 * errors), rel=1e-6)


def test_mctn_predicts_the_same_from_the_source_alone():
    model, streams = make(MCTN), padded_batch(make_split(UNALIGNED)).streams
    assert model.observed == ("language",) and model.trained_on == tuple(DIMS)
    assert torch.equal(model({"language": streams["language"]}).logits, model(streams).logits)


def test_mctn_translates_from_the_source_and_not_from_the_truth():
    model, batch = make(MCTN), padded_batch(make_split(UNALIGNED))
    truth = {name: batch.streams[name].values.requires_grad_() for name in ("vision", "audio")}
    terms = model.auxiliary(model(batch.streams), batch)
    assert torch.autograd.grad(terms["cycle"], [*truth.values()], retain_graph=True, allow_unused=True) == (None, None)
    # d mean (x - t)^2 / dt is linear in t if x does not depend on t
    gradient = torch.autograd.grad(terms["translation"], truth["vision"], create_graph=True)[0].sum()
    slope = torch.autograd.grad(gradient, truth["vision"])[0]
    scale = model.standardise["vision"].scale
    valid = batch.streams["vision"].full_mask()
    close(slope, (valid[..., None] * 2 / scale**2 / (valid.sum() * len(scale))).numpy(), 1e-6)


def test_mctn_needs_two_modalities():
    with pytest.raises(ConfigError, match="only language"):
        MCTN({"language": 5}, (7,), dim=DIM, dropout=0.0)


# --- RAVEN


def dealt_by_hand(frames, words: int) -> list[list]:
    """Frame j of T, with its centre at (j + 1/2) / T of the clip, goes to the word of L at that time."""
    hands = [[] for _ in range(words)]
    for j, frame in enumerate(frames):
        hands[((2 * j + 1) * words) // (2 * len(frames))].append(frame)
    return hands


def test_a_frame_goes_to_the_word_that_contains_its_centre():
    rng = np.random.default_rng(0)
    pairs = [(1, 1), (1, 6), (9, 1), (4, 4), (2, 5), (3, 6), (12, 6), *rng.integers(1, 13, (80, 2)).tolist()]
    frame_counts, word_counts = map(list, zip(*pairs, strict=True))
    values = torch.arange(len(pairs) * 15.0).view(-1, 15, 1)  # a different number for every frame
    frames = Padded(values, mask_of(frame_counts, 15))
    dealt = deal(frames, Padded(torch.zeros(len(pairs), 14, 2), mask_of(word_counts, 14)))
    assert dealt.mask.shape == dealt.values.shape[:3] and dealt.mask.shape[1] == 14
    assert dealt.mask.sum((1, 2)).tolist() == frame_counts  # each frame once
    for i, (count, words) in enumerate(pairs):
        expected = dealt_by_hand(values[i, :count, 0].tolist(), words)
        for k in range(14):
            hand = expected[k] if k < words else []
            assert dealt.mask[i, k].tolist() == [s < len(hand) for s in range(dealt.mask.shape[2])]
            assert dealt.values[i, k, : len(hand), 0].tolist() == hand


@pytest.mark.parametrize(("frames", "words"), [(7, 3), (3, 3), (2, 5), (1, 4)])
def test_frames_are_distributed_alike_without_padding(frames, words):
    values = torch.arange(2.0 * frames).view(2, frames, 1)
    dealt = deal(Padded(values), Padded(torch.zeros(2, words, 2)))
    for i in range(2):
        hands = [dealt.values[i, k, dealt.mask[i, k], 0].tolist() for k in range(words)]
        assert hands == dealt_by_hand(values[i, :, 0].tolist(), words)


@pytest.mark.parametrize(
    ("beta", "by", "expected"),
    [
        (1.0, (0.0, 10.0), (3.0, 9.0)),  # the norm of the word is 5
        (0.5, (0.0, 10.0), (3.0, 6.5)),
        (2.0, (0.0, 10.0), (3.0, 14.0)),
        (2.0, (0.0, 8.0), (3.0, 12.0)),
        (1.0, (-3.0, 4.0), (0.0, 8.0)),
        (1.0, (0.0, 1.0), (3.0, 5.0)),
        (1.0, (0.0, 0.0), (3.0, 4.0)),
    ],
)
def test_shifts_by_hand(beta, by, expected):
    close(shift(torch.tensor([3.0, 4.0]), torch.tensor(by), beta), expected, 1e-6)


def test_no_shift_is_longer_than_beta_times_the_word_and_short_ones_stay():
    torch.manual_seed(0)
    words, by = torch.randn(5, 40, 4), torch.randn(5, 40, 4) * torch.logspace(-2, 2, 40)[:, None]
    words[0, 0] = 0
    for beta in (0.3, 1.0, 2.5):
        moved = shift(words, by, beta) - words
        longest = beta * words.norm(dim=-1)
        assert (moved.norm(dim=-1) <= longest * (1 + 1e-5)).all()
        short = by.norm(dim=-1) < longest
        assert 0 < short.sum() < short.numel()
        torch.testing.assert_close(moved[short], by[short], rtol=0, atol=1e-5)
        torch.testing.assert_close(moved.norm(dim=-1)[~short], longest[~short], rtol=1e-4, atol=1e-6)
    assert torch.equal(shift(words, by), shift(words, by, 1.0))


def test_a_zero_shift_has_finite_gradients():
    words, by = torch.zeros(2, 3, requires_grad=True), torch.zeros(2, 3, requires_grad=True)
    shift(words, by).sum().backward()
    assert words.grad.isfinite().all() and by.grad.isfinite().all()


def raven(clip, w: Weights):
    """Map one clip to logits, and to alpha of each word before the bound of 1."""
    words = standardise(clip["language"], w, "language")
    shifts = np.tile(w["bias"], (len(words), 1))
    for name in clip:
        if name == "language":
            continue
        for k, hand in enumerate(dealt_by_hand(standardise(clip[name], w, name), len(words))):
            state = lstm(hand, part(w, f"frames.{name}"))[-1] if hand else np.zeros(DIM)
            gate = sigmoid(linear(np.concatenate([state, words[k]]), part(w, f"gates.{name}")))
            shifts[k] += gate * linear(state, part(w, f"shifts.{name}"))
    alpha = np.linalg.norm(words, axis=1) / np.linalg.norm(shifts, axis=1)
    shifted = words + np.minimum(alpha, 1)[:, None] * shifts
    return head(lstm(shifted, part(w, "recurrent"))[-1], part(w, "head")), alpha


def check_raven(model: RAVEN, lengths: dict[str, list[int]]) -> np.ndarray:
    split = make_split(lengths)
    logits, w = model(padded_batch(split).streams).logits, reference.weights_of(model)
    alphas = []
    for i in range(len(split)):
        expected, alpha = raven(clip_of(split, i), w)
        close(logits[i].flatten(), expected)
        alphas.append(alpha)
    return np.concatenate(alphas)


@pytest.mark.parametrize("outputs", OUTPUTS.values())
@pytest.mark.parametrize("lengths", [UNALIGNED, ALIGNED, GAPS], ids=["unaligned", "aligned", "gaps"])
def test_raven_against_numpy(lengths, outputs):
    model = make(RAVEN, outputs=outputs)
    with torch.no_grad():
        for layer in model.shifts.values():
            layer.weight *= 10  # so that only some shifts are too long
    alphas = check_raven(model, lengths)
    assert (alphas < 0.9).any() and (alphas > 1.1).any()


def test_raven_without_vision_against_numpy():
    check_raven(make(RAVEN, TWO), {name: UNALIGNED[name] for name in TWO})


def test_ravens_nonverbal_part_is_trained():
    model = make(RAVEN)
    model(padded_batch(make_split(UNALIGNED)).streams).logits.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("dims", [{"language": 5}, {"vision": 4, "audio": 3}])
def test_raven_needs_words_and_something_to_shift_them(dims):
    with pytest.raises(ConfigError, match=f"only {', '.join(dims)}"):
        RAVEN(dims, (7,), dim=DIM, dropout=0.0)


# --- CTC: the loss


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    """Reduce a path to its words: drop repetitions, then blanks."""
    return tuple(label for label, _ in itertools.groupby(path) if label)


def enumerated(probabilities: np.ndarray) -> float:
    """Compute -log p(1, ..., n) / n from P (T, 1 + n) by summing over every path."""
    frames, labels = probabilities.shape
    total = sum(
        math.prod(probabilities[t, label] for t, label in enumerate(path))
        for path in itertools.product(range(labels), repeat=frames)
        if collapse(path) == tuple(range(1, labels))
    )
    return -math.log(total) / (labels - 1)


def random_table(frames: list[int], words: list[int], seed: int = 0) -> torch.Tensor:
    """Make log P (B, T, 1 + L) whose rows sum to 1 over the words of a clip, arbitrary beyond its frames."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(len(frames), max(frames) + 2, 2 + max(words), generator=generator)
    valid = torch.arange(logits.shape[2]) <= torch.tensor(words)[:, None]
    return logits.masked_fill(~valid[:, None], -1e4).log_softmax(-1)


SIZES = [(frames, words) for frames in range(1, 6) for words in range(1, 4)]


@pytest.mark.parametrize(("frames", "words"), [size for size in SIZES if size[0] >= size[1]])
def test_ctc_sums_over_every_path(frames, words):
    table = random_table([frames], [words], seed=frames)
    result = ctc(table, torch.tensor([frames]), torch.tensor([words]), torch.tensor([True]))
    expected = enumerated(table[0, :frames, : words + 1].double().exp().numpy())
    assert float(result) == pytest.approx(expected, rel=1e-5)


def test_ctc_is_a_mean_over_present_clips_with_a_frame_for_each_word():
    frames, words = map(list, zip(*SIZES, strict=True))
    table = random_table(frames, words)
    present = torch.arange(len(SIZES)) % 4 > 0
    counted = [i for i, (t, n) in enumerate(SIZES) if t >= n and present[i]]
    assert 0 < len(counted) < sum(t >= n for t, n in SIZES) < len(SIZES)
    expected = [enumerated(table[i, : frames[i], : words[i] + 1].double().exp().numpy()) for i in counted]
    result = ctc(table, torch.tensor(frames), torch.tensor(words), present)
    assert float(result) == pytest.approx(np.mean(expected), rel=1e-5)
    alone = ctc(table[:2], torch.tensor(frames[:2]), torch.tensor(words[:2]), torch.tensor([False, True]))
    assert float(alone) == 0  # one of the two clips is missing and one is too short


def test_ctc_has_finite_gradients_and_none_for_clips_that_do_not_count():
    frames, words, present = [4, 2, 1, 3, 5], [3, 3, 2, 2, 1], [True, True, False, False, True]
    logits = random_table(frames, words).requires_grad_()
    ctc(logits.log_softmax(-1), torch.tensor(frames), torch.tensor(words), torch.tensor(present)).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum((1, 2)).bool().tolist() == [True, False, False, False, True]
    for i in (0, 4):
        assert not logits.grad[i, frames[i] :].any()


# --- CTC: the alignment


def aligner(frames, words, w: Weights):
    """Map standardised frames (T, D) and words (L, D_L) to P (T, 1 + L), blank first."""
    keys = linear(words, part(w, "key"))
    dim = keys.shape[1]
    keys = np.concatenate([w["blank"][None], keys + reference.positions(len(words), dim)])
    return softmax(linear(lstm(frames, part(w, "frames")), part(w, "query")) @ keys.T / math.sqrt(dim))


def aligned_by_hand(clip, w: Weights):
    """Align one clip: the mean frame of each word, weighted by P, for every other stream; and the P."""
    aligned, tables = {"language": clip["language"]}, {}
    inner = part(w, "network")
    words = standardise(clip["language"], inner, "language")
    for name in clip:
        if name != "language":
            frames = standardise(clip[name], inner, name)
            tables[name] = aligner(frames, words, part(w, f"aligners.{name}"))
            aligned[name] = np.array([np.average(clip[name], axis=0, weights=p) for p in tables[name][:, 1:].T])
    return aligned, tables


def make_aligned(system=RAVEN, outputs=(7,)) -> CTCAligned:
    torch.manual_seed(0)
    return shaken(CTCAligned(system(DIMS, outputs, dim=DIM, dropout=0.0), 8), seed=1).eval()


@pytest.mark.parametrize("lengths", [UNALIGNED, ALIGNED, GAPS], ids=["unaligned", "aligned", "gaps"])
def test_alignment_and_raven_on_top_against_numpy(lengths):
    model, split = make_aligned(), make_split(lengths)
    batch = padded_batch(split)
    output, w = model(batch.streams), reference.weights_of(model)
    for name in ("vision", "audio"):
        assert output.streams[name].values.shape == (*batch.streams["language"].values.shape[:2], DIMS[name])
        assert torch.equal(output.streams[name].full_mask(), batch.streams["language"].full_mask())
        close(output.log_probabilities[name].exp().sum(-1), 1.0)
    for i in range(len(split)):
        aligned, tables = aligned_by_hand(clip_of(split, i), w)
        close(output.logits[i], raven(aligned, part(w, "network"))[0])
        for name, expected in tables.items():
            frames, words = len(expected), len(aligned["language"])
            table = output.log_probabilities[name][i].exp()
            close(table[:frames, : words + 1], expected)
            assert (table[:, words + 1 :] == 0).all()  # words beyond the clip's last have probability 0
            close(output.streams[name].values[i, :words], aligned[name])
            assert torch.equal(output.streams[name].values[i], model.align(batch.streams, name)[0].values[i])


def test_alignment_takes_streams_without_padding():
    model, split = make_aligned(), make_split({"language": [3], "vision": [5], "audio": [2]})
    streams = collate(split, [0], tuple(DIMS)).streams
    assert all(padded.mask is None for padded in streams.values())
    aligned, _ = aligned_by_hand(clip_of(split, 0), reference.weights_of(model))
    for name in DIMS:
        close(model(streams).streams[name].values[0], aligned[name])


@pytest.mark.parametrize("system", [RAVEN, MCTN])
def test_alignment_adds_one_ctc_term_per_stream_to_the_inner_terms(system):
    model, split = make_aligned(system, (1,)), make_split(GAPS)
    batch = padded_batch(split)
    output, w = model(batch.streams), reference.weights_of(model)
    terms = model.auxiliary(output, batch)
    inner = model.network.auxiliary(output.inner, batch._replace(streams=output.streams))
    assert set(terms) == {*inner, "vision_ctc", "audio_ctc"} == set(model.weights)
    for name, term in inner.items():
        assert torch.equal(terms[name], term)
    tables = [aligned_by_hand(clip_of(split, i), w)[1] for i in range(len(split))]
    for name, counted in {"vision": [0, 1], "audio": [0, 2, 3]}.items():
        expected = np.mean([enumerated(tables[i][name]) for i in counted])
        assert float(terms[f"{name}_ctc"].detach()) == pytest.approx(expected, rel=1e-5)
    total = Objective(model)(batch)
    expected = total["task"] + 0.1 * sum(terms.values())
    assert float(total["loss"].detach()) == pytest.approx(float(expected.detach()), rel=1e-6)


def test_the_inner_system_reconstructs_detached_streams(monkeypatch):
    model, batch = make_aligned(MCTN), padded_batch(make_split(UNALIGNED))
    output, seen = model(batch.streams), []
    monkeypatch.setattr(model.network, "auxiliary", lambda inner, batch: seen.append((inner, batch)) or {})
    assert set(model.auxiliary(output, batch)) == {"vision_ctc", "audio_ctc"}
    (inner, given), *rest = seen
    assert inner is output.inner and not rest
    assert given.present is batch.present and given.targets is batch.targets
    for name in DIMS:
        assert torch.equal(given.streams[name].values, output.streams[name].values)
        assert torch.equal(given.streams[name].full_mask(), batch.streams["language"].full_mask())
        assert not given.streams[name].values.requires_grad
        assert output.streams[name].values.requires_grad == (name != "language")


def test_gradients_reach_the_aligners_from_ctc_and_the_label_but_not_from_reconstruction():
    def reached(term) -> set[str]:
        parameters = list(model.aligners.parameters())
        grads = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
        names = [name.split(".")[0] for name, _ in model.aligners.named_parameters()]
        return {name for name, grad in zip(names, grads, strict=True) if grad is not None and grad.any()}

    batch = padded_batch(make_split(ALIGNED))
    model = make_aligned(MCTN)
    terms = model.auxiliary(model(batch.streams), batch)
    for name in model.network.weights:
        assert reached(terms[name]) == set()
    for name in ("vision", "audio"):
        assert reached(terms[f"{name}_ctc"]) == {name}
    model = make_aligned(RAVEN)
    assert reached(model(batch.streams).logits.sum()) == {"vision", "audio"}


def test_alignment_needs_words():
    with pytest.raises(ConfigError, match="aligns to words"):
        CTCAligned(MCTN({"vision": 4, "audio": 3}, (7,), dim=DIM, dropout=0.0), 8)


# --- CTC: what it learns

FEATURES = 12


def planted(clips: int, seed: int) -> tuple[Padded, Padded, list[np.ndarray]]:
    """Make frames that are noisy copies of word vectors, 1 to 3 per word; the words; and each frame's word, from 1."""
    rng = np.random.default_rng(seed)
    said = [np.repeat(np.arange(n), rng.integers(1, 4, n)) for n in rng.integers(3, 7, clips)]
    words = [rng.normal(size=(k[-1] + 1, FEATURES)) for k in said]
    words = [3 * w / np.linalg.norm(w, axis=1, keepdims=True) for w in words]
    frames = [w[k] + 0.1 * rng.normal(size=(len(k), FEATURES)) for w, k in zip(words, said, strict=True)]

    def padded(sequences: list[np.ndarray]) -> Padded:
        lengths = [len(x) for x in sequences]
        values = np.zeros((clips, max(lengths), FEATURES), dtype=np.float32)
        for row, x in zip(values, sequences, strict=True):
            row[: len(x)] = x
        return Padded(torch.from_numpy(values), mask_of(lengths, max(lengths)))

    return padded(frames), padded(words), [k + 1 for k in said]


@torch.no_grad()
def measure(model: Aligner) -> tuple[float, float]:
    """Measure new clips: the share of non-blank frames at the right word, and of clips with all words in order."""
    frames, words, said = planted(100, seed=9)
    best = model(frames, words).argmax(-1).numpy()
    right, in_order = [], []
    for row, k in zip(best, said, strict=True):
        row = row[: len(k)]
        right += (row == k)[row > 0].tolist()
        in_order.append(collapse(tuple(row)) == tuple(range(1, k[-1] + 1)))
    return np.mean(right), np.mean(in_order)


def test_ctc_alone_finds_a_planted_alignment():
    torch.manual_seed(0)
    model = Aligner(FEATURES, FEATURES, 32)
    right, in_order = measure(model)
    assert right < 0.5 and in_order < 0.1
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(200):
        frames, words, _ = planted(16, seed=100 + step)
        loss = ctc(model(frames, words), frames.lengths, words.lengths, torch.ones(16, dtype=torch.bool))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    right, in_order = measure(model)
    assert right > 0.98 and in_order > 0.9
