"""MMIN against NumPy from its equations, one clip at a time, and what it never reads."""

import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from ktnet_lite.baselines.mmin import BLOCKS, MMIN, MMINOutput
from ktnet_lite.data.batching import Batches, Padded
from ktnet_lite.data.schema import Split, Stream
from ktnet_lite.model import losses
from ktnet_lite.model.losses import OUTPUTS, Objective
from ktnet_lite.names import subsets
from numpy_ktnet import Weights, linear, part, weights_of
from small import ALIGNED, DIMS, UNALIGNED, make_batch, make_split, no_half_precision_lstm, shaken
from some_missing import LENGTHS, MANY, NAMES, SUBSETS, batch_of, clips_of, lacking, poisoned

DIM = 5


def make(names=NAMES, outputs=(7,), dim=DIM) -> MMIN:
    torch.manual_seed(0)
    return shaken(MMIN({name: DIMS[name] for name in names}, outputs, dim=dim, dropout=0.0)).eval()


def always(model: MMIN, kept) -> MMIN:
    """The model in training, with a fixed draw of what each clip keeps."""
    rows = torch.tensor([[name in subset for name in model.observed] for subset in kept])
    model.drop = lambda present: present & rows
    return model.train()


# The reference


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


def encode(x: np.ndarray, w: Weights) -> np.ndarray:
    """An LSTM unit by unit, whose weights hold the rows of i, f, g, o, and the maximum over time."""
    dim, states = w["weight_hh_l0"].shape[1], []
    h, c = np.zeros(dim), np.zeros(dim)
    for step in x:
        gates = w["weight_ih_l0"] @ step + w["bias_ih_l0"] + w["weight_hh_l0"] @ h + w["bias_hh_l0"]
        h, c = h.copy(), c.copy()
        for unit in range(dim):
            i, f, g, o = gates[unit::dim]
            c[unit] = sigmoid(f) * c[unit] + sigmoid(i) * np.tanh(g)
            h[unit] = sigmoid(o) * np.tanh(c[unit])
        states.append(h)
    return np.array([max(state[unit] for state in states) for unit in range(dim)])


def perceptron(x: np.ndarray, w: Weights, places: str, slope: float = 0.0) -> np.ndarray:
    """Linear maps at these places of a sequence, with a (leaky) ReLU between them."""
    x = linear(x, part(w, places[0]))
    for place in places[1:]:
        x = linear(np.where(x > 0, x, slope * x), part(w, place))
    return x


def cascade(z: np.ndarray, w: Weights) -> tuple[np.ndarray, np.ndarray]:
    codes = []
    for b in range(BLOCKS):
        codes.append(perceptron(z, part(w, f"encoders.{b}"), "024", slope=0.01))
        z = z + perceptron(codes[-1], part(w, f"decoders.{b}"), "024")
    return perceptron(z, part(w, "out"), "03"), np.concatenate(codes)


def encoded(split: Split, i: int, w: Weights, names=NAMES) -> dict[str, np.ndarray]:
    """h_m of each modality that a clip has."""
    found = {}
    for name in names:
        x = split.streams[name].clip(i).astype(float)
        if len(x):
            x = (x - w[f"standardise.{name}.mean"]) / w[f"standardise.{name}.scale"]
            found[name] = encode(x, part(w, f"encoders.{name}.recurrent"))
    return found


def joined(h: dict[str, np.ndarray], names=NAMES, dim=DIM) -> np.ndarray:
    return np.concatenate([h.get(name, np.zeros(dim)) for name in names])


def mmin(h: dict[str, np.ndarray], w: Weights, names=NAMES) -> tuple[np.ndarray, np.ndarray]:
    """y^ and h' from the vectors of the available modalities."""
    imagined, codes = cascade(joined(h, names), part(w, "imagination"))
    hidden = codes + perceptron(codes, part(w, "head.residual"), "03")
    return linear(hidden, part(w, "head.out")), imagined


# Prediction


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize(
    ("names", "outputs"), [(NAMES, (7,)), (("language", "audio"), (4, 2)), (("vision", "audio"), (1,))]
)
def test_every_subset_in_one_batch_against_numpy(names, outputs, lengths):
    model, choice = make(names, outputs).double(), subsets(names)
    split = lacking(clips_of({name: lengths[name] for name in names}, len(choice)), choice)
    w, batch = weights_of(model), batch_of(split)
    streams = {name: Padded(x.values.double(), x.mask) for name, x in batch.streams.items()}
    output = model.answer(batch._replace(streams=streams))
    assert output.logits.shape == (len(choice), *outputs)
    for i, subset in enumerate(choice):
        h = encoded(split, i, w, names)
        assert tuple(h) == subset
        logits, imagined = mmin(h, w, names)
        np.testing.assert_allclose(output.logits[i].flatten().detach(), logits, rtol=0, atol=1e-10)
        np.testing.assert_allclose(output.imagined[i].flatten().detach(), imagined, rtol=0, atol=1e-10)
        np.testing.assert_allclose(output.encoded[i].flatten().detach(), joined(h, names), rtol=0, atol=1e-10)
    assert torch.equal(output.kept, output.present)


def test_missing_steps_are_skipped_as_if_the_clip_had_never_had_them():
    model, split = make(), make_split({name: [6, 4] for name in NAMES})
    rng, streams, rest = np.random.default_rng(1), {}, {}
    for name, padded in batch_of(split).streams.items():
        valid = padded.full_mask() & torch.from_numpy(rng.random((2, 6)) < 0.6)
        assert (valid.sum(1) > 0).all() and not valid.equal(padded.full_mask())
        streams[name] = Padded(padded.values.masked_fill(~valid[..., None], torch.nan), valid)
        rest[name] = Stream.from_clips([padded.values[i][valid[i]].numpy() for i in range(2)])
    expected = model.answer(batch_of(dataclasses.replace(split, streams=rest))).logits
    torch.testing.assert_close(model(streams).logits, expected, rtol=0, atol=1e-6)


def test_a_clip_that_has_nothing_gets_the_same_finite_prediction_in_any_batch():
    model, split = make(), make_split(UNALIGNED)
    mixed = model.answer(batch_of(lacking(split, [(), ("language",), (), ("audio",)]))).logits
    nothing = model.answer(batch_of(lacking(make_split(UNALIGNED, seed=1), [()] * 4))).logits
    assert mixed.isfinite().all() and torch.allclose(mixed[0], mixed[2], rtol=0, atol=1e-6)
    torch.testing.assert_close(nothing, mixed[:1].expand(4, -1), rtol=0, atol=1e-6)
    expected, _ = mmin({}, weights_of(model))
    np.testing.assert_allclose(nothing[0].detach(), expected, rtol=0, atol=1e-5)


# Training


def test_a_third_of_the_training_clips_keeps_everything_and_the_other_subsets_are_alike():
    torch.manual_seed(0)
    model, clips = make(), 60_000
    kept = Counter(map(tuple, model.drop(torch.ones(clips, 3, dtype=torch.bool)).tolist()))
    assert len(kept) == 7
    for kind, count in kept.items():
        assert count / clips == pytest.approx(1 / 3 if all(kind) else 1 / 9, abs=0.01), kind


def test_a_clip_keeps_a_part_of_what_it_has_and_never_loses_everything():
    torch.manual_seed(0)
    model = make()
    for row in itertools.product([False, True], repeat=3):
        present = torch.tensor([row]).repeat(1000, 1)
        kept = model.drop(present)
        assert not (kept & ~present).any() and torch.equal(kept.any(1), present.any(1))
        assert len(kept.unique(dim=0)) == max(1, 2 ** sum(row) - 1)


def test_only_training_drops_modalities():
    model, batch = make(), make_batch(MANY)
    assert model.answer(batch).kept.all()
    torch.manual_seed(0)
    output = model.train().answer(batch)
    assert output.present.all() and 0 < output.kept.float().mean() < 1
    torch.manual_seed(0)
    assert torch.equal(model.answer(batch).kept, output.kept)


@pytest.mark.parametrize("loss", OUTPUTS)
def test_gradients_reach_every_parameter(loss):
    model = make(outputs=OUTPUTS[loss], dim=8).train()
    batch = make_batch(MANY, "emotion" if loss == "emotion" else "sentiment")
    torch.manual_seed(1)
    terms = Objective(model)(batch)
    assert set(terms) == {"loss", "task", "imagination", "cycle"}
    terms["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} is not used"
        assert parameter.grad.abs().max() > 1e-9, f"{name} is dead"


def test_what_is_missing_leaves_no_trace_in_the_gradients():
    split = clips_of(UNALIGNED, len(SUBSETS))
    gradients = []
    for streams in (batch_of(lacking(split, SUBSETS)).streams, poisoned(batch_of(split), SUBSETS)):
        model, batch = make().train(), batch_of(lacking(split, SUBSETS))
        torch.manual_seed(3)
        Objective(model)(batch._replace(streams=streams))["loss"].backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient.isfinite().all() and torch.equal(gradient, gradients[1][name]), name


@pytest.mark.parametrize("term", ["imagination", "cycle"])
def test_the_targets_get_no_gradient(term):
    batch = make_batch(MANY)
    model = always(make(), [("language",)] * 40)
    output = model.answer(batch)
    leaf = output.encoded.detach().requires_grad_()
    model.auxiliary(output._replace(encoded=leaf), batch)[term].backward()
    assert leaf.grad is None
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    encoders = {name.split(".")[1] for name in reached if name.startswith("encoders")}
    assert encoders == {"language"}, "what was dropped is a target, and the term reaches what predicts it"
    others = {name.split(".")[0] for name in reached} - {"encoders"}
    assert others == ({"imagination", "cycle"} if term == "cycle" else {"imagination"})


def test_the_terms_by_hand(monkeypatch):
    """Two modalities of width 1; the backward imagination doubles."""
    model = make(("language", "audio"), dim=1)
    monkeypatch.setattr(model.cycle, "forward", lambda z: (2 * z, None))
    rows = [  # encoded, present, kept, imagined
        ([0.5, 0.3], [True, True], [True, False], [0.1, 0.7]),
        ([0.4, 0.2], [True, True], [True, True], [9.0, 9.0]),  # nothing was dropped
        ([0.6, 0.0], [True, False], [True, False], [9.0, 9.0]),  # nothing could be dropped
        ([0.2, 0.8], [True, True], [False, True], [0.0, -0.1]),
    ]
    values, present, kept, imagined = (torch.tensor(column) for column in zip(*rows, strict=True))
    output = MMINOutput(torch.zeros(4, 7), values[..., None], present, kept, imagined[..., None])
    terms = model.auxiliary(output, make_batch(ALIGNED))
    assert terms["imagination"].item() == pytest.approx((0.1**2 + 0.4**2 + 0.2**2 + 0.1**2) / 4)
    assert terms["cycle"].item() == pytest.approx((0.3**2 + 1.4**2 + 0.0**2 + 1.0**2) / 4)


def test_every_term_against_numpy():
    """Also in clips that lacked a modality before something was dropped: its target is unknown."""
    had = [NAMES, NAMES, ("language", "vision"), ("vision", "audio"), ("audio",), ()]
    keeps = [("language",), NAMES, ("vision",), ("vision", "audio"), NAMES, NAMES]
    split = lacking(clips_of(UNALIGNED, len(had)), had)
    model = always(make(outputs=(1,)), keeps)
    w, task, forward, backward = weights_of(model), [], [], []
    for i, subset in enumerate(had):
        h = encoded(split, i, w)
        available = {name: x for name, x in h.items() if name in keeps[i]}
        (score,), imagined = mmin(available, w)
        task.append(abs(score - split.targets[i]))
        if len(available) < len(h):
            target = {name: x for name, x in h.items() if name not in available}
            errors = (imagined - joined(target)).reshape(3, DIM) ** 2
            forward.extend(errors[[NAMES.index(name) for name in subset]].flat)
            backward.extend((cascade(imagined, part(w, "cycle"))[0] - joined(available)) ** 2)
    assert (len(forward), len(backward)) == (5 * DIM, 6 * DIM)
    expected = {"task": np.mean(task), "imagination": np.mean(forward), "cycle": np.mean(backward)}
    expected["loss"] = expected["task"] + 4 * expected["imagination"] + 2 * expected["cycle"]
    terms = Objective(model)(batch_of(split))
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-5), name


def test_a_batch_from_which_nothing_was_dropped_has_the_same_terms_and_the_same_collectives(monkeypatch):
    counts = []
    monkeypatch.setattr(losses, "process_mean", lambda count: counts.append(count) or count)
    batch, numbers = make_batch(ALIGNED), []
    for kept in (("vision",), NAMES, ()):
        counts.clear()
        model = always(make(), [kept] * 4)
        terms = model.auxiliary(model.answer(batch), batch)
        numbers.append(len(counts))
        assert set(terms) == set(model.weights)
        for term in terms.values():
            assert term.shape == () and term.requires_grad
            assert (term.item() == 0) == (kept == NAMES)
        sum(terms.values()).backward()
    assert numbers == [2, 2, 2]


def test_training_reduces_the_loss_and_all_its_terms():
    torch.manual_seed(0)
    split = clips_of(UNALIGNED, 32)
    model = MMIN(DIMS, (1,), dim=16, dropout=0.0)
    model.fit_statistics(split)
    objective, batches = Objective(model).train(), Batches(split, 16, NAMES)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for epoch in range(40):
        for batch in batches.epoch(epoch):
            terms = objective(batch)
            optimizer.zero_grad()
            terms["loss"].backward()
            optimizer.step()
            history.append({name: term.item() for name, term in terms.items()})
    for name in history[0]:
        first, last = (np.mean([terms[name] for terms in some]) for some in (history[:6], history[-6:]))
        assert last < 0.7 * first, name


@no_half_precision_lstm
def test_it_trains_in_half_precision():
    model, split = make().train(), lacking(clips_of(UNALIGNED, len(SUBSETS)), SUBSETS)
    with torch.autocast("cpu", torch.bfloat16):
        terms = Objective(model)(batch_of(split.without("audio")))
    terms["loss"].backward()
    assert all(term.isfinite() for term in terms.values())
