"""EMT-DLFR against NumPy from its equations, one clip at a time, and what it never reads."""

import dataclasses
import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch

from ktnet_lite.baselines.emt_dlfr import EMTDLFR, LAYERS, EMTDLFROutput, View
from ktnet_lite.data.batching import Batches, Padded
from ktnet_lite.data.schema import Split, Stream
from ktnet_lite.model import losses
from ktnet_lite.model.losses import OUTPUTS, Objective
from ktnet_lite.names import subsets
from numpy_ktnet import Weights, attention, layer_norm, linear, part, positions, softmax, weights_of
from small import ALIGNED, DIMS, UNALIGNED, extended, make_batch, make_split, no_half_precision_lstm, shaken
from some_missing import LENGTHS, MANY, NAMES, SUBSETS, batch_of, clips_of, lacking, poisoned

DIM = 8


def make(names=NAMES, outputs=(7,), dim=DIM) -> EMTDLFR:
    torch.manual_seed(0)
    return shaken(EMTDLFR({name: DIMS[name] for name in names}, outputs, dim=dim, dropout=0.0)).eval()


def given(batch) -> dict[str, Padded]:
    return {name: batch.given(name) for name in batch.streams}


def holes(streams, seed: int = 1) -> dict[str, torch.Tensor]:
    """Masks (B, T) in which two fifths of the steps are missing, and all of the last modality in the first clip."""
    rng, masks = np.random.default_rng(seed), {}
    for name, padded in streams.items():
        mask = padded.full_mask()
        masks[name] = mask & torch.from_numpy(rng.random(mask.shape) < 0.6)
    masks[name][0] = False
    return masks


def always(model: EMTDLFR, kept) -> EMTDLFR:
    """The model in training, with a fixed draw of the steps that are kept."""
    model.drop = lambda valid: {name: mask & kept[name][:, : mask.shape[1]] for name, mask in valid.items()}
    return model.train()


def whole(streams, choice) -> dict[str, torch.Tensor]:
    """Masks that keep every step of these modalities of each clip, and none of the others."""
    return {name: x.full_mask() & torch.tensor([[name in subset] for subset in choice]) for name, x in streams.items()}


# The reference


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm(x: np.ndarray, w: Weights) -> list[np.ndarray]:
    """The states of an LSTM, whose weights hold the rows of i, f, g, o."""
    h = c = np.zeros(w["weight_hh_l0"].shape[1])
    states = []
    for step in x:
        gates = w["weight_ih_l0"] @ step + w["bias_ih_l0"] + w["weight_hh_l0"] @ h + w["bias_hh_l0"]
        i, f, g, o = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return states


def promotion(x: np.ndarray, keys, source: np.ndarray, w: Weights) -> np.ndarray:
    """P: x attends to a source, then to its own steps at these places."""
    heads = math.gcd(4, x.shape[1])
    queries, sources = layer_norm(x, part(w, "norm")), layer_norm(source, part(w, "source_norm"))
    x = x + attention(queries, sources, part(w, "attention"), heads)[0]
    w = part(w, "layer")
    normed = layer_norm(x, part(w, "attention_norm"))
    x = x + attention(normed, normed[keys], part(w, "attention"), heads)[0]
    hidden = linear(layer_norm(x, part(w, "feed_forward_norm")), part(w, "feed_forward.0"))
    return x + linear(np.maximum(hidden, 0), part(w, "feed_forward.2"))


def emt(x: dict[str, np.ndarray], kept: dict[str, np.ndarray], w: Weights, names=NAMES):
    """y^, X_m and the vectors of one clip, from its standardised streams (T, D) and the numbers of its kept steps."""
    kept = {name: steps for name, steps in kept.items() if len(steps)}
    local, u = {}, {}
    for name in names:
        missing = w[f"encoders.{name}.missing"]
        u[name] = missing
        if name in x:
            local[name] = np.array([missing] * len(x[name]))
        if name in kept:
            states = lstm(x[name][kept[name]], part(w, f"encoders.{name}.recurrent"))
            local[name][kept[name]], u[name] = states, states[-1]
        if name in x:
            local[name] = local[name] * math.sqrt(len(missing)) + positions(len(x[name]), len(missing))
    context, w_p = np.array(list(u.values())), part(w, "promotion")
    for _ in range(LAYERS):
        promoted, after = [], {}
        for name, steps in local.items():
            keys = kept.get(name, np.arange(len(steps)))
            after[name] = promotion(steps, keys, context, w_p)
            if name in kept:
                promoted.append(promotion(context, np.arange(len(names)), steps[keys], w_p).flatten())
        if promoted:
            scores = [linear(np.tanh(linear(g, part(w, "pool.0"))), part(w, "pool.2"))[0] for g in promoted]
            context = sum(a * g for a, g in zip(softmax(np.array(scores)), promoted, strict=True)).reshape(
                context.shape
            )
        local = after
    vectors = u | {"context": context.flatten()}
    joint = np.concatenate(list(vectors.values()))
    w = part(w, "head")
    joint = joint + linear(np.maximum(linear(joint, part(w, "residual.0")), 0), part(w, "residual.3"))
    return linear(joint, part(w, "out")), local, vectors


def standardised(split: Split, i: int, w: Weights) -> dict[str, np.ndarray]:
    """The streams of one clip, (T, D) of each modality that it has."""
    found = {}
    for name, stream in split.streams.items():
        x = stream.clip(i).astype(float)
        if len(x):
            found[name] = (x - w[f"standardise.{name}.mean"]) / w[f"standardise.{name}.scale"]
    return found


def everything(x: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.arange(len(steps)) for name, steps in x.items()}


def plain_norm(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5)


def attraction(a: np.ndarray, b: np.ndarray, w: Weights) -> float:
    """L_v of one vector in both views."""

    def cosine(z: np.ndarray, target: np.ndarray) -> float:
        hidden = layer_norm(linear(z, part(w, "predict.0")), part(w, "predict.1"))
        q = linear(np.maximum(hidden, 0), part(w, "predict.3"))
        return q @ target / np.linalg.norm(q) / np.linalg.norm(target)

    a, b = (plain_norm(linear(v, part(w, "project.0"))) for v in (a, b))
    return -(cosine(a, b) + cosine(b, a)) / 2


# Prediction


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize(
    ("names", "outputs", "dim"),
    [(NAMES, (7,), 8), (("language", "audio"), (4, 2), 6), (("vision", "audio"), (1,), 5)],
)
def test_every_subset_in_one_batch_against_numpy(names, outputs, dim, lengths):
    model, choice = make(names, outputs, dim).double(), [*subsets(names), ()]
    split = lacking(clips_of({name: lengths[name] for name in names}, len(choice)), choice)
    model.positions.table = torch.from_numpy(positions(9, dim))  # in double precision
    w, batch = weights_of(model), batch_of(split)
    streams = {name: Padded(x.values.double(), x.mask) for name, x in batch.streams.items()}
    output = model.answer(batch._replace(streams=streams))
    assert output.logits.shape == (len(choice), *outputs) and output.complete is output.incomplete
    for i, subset in enumerate(choice):
        x = standardised(split, i, w)
        assert tuple(x) == subset
        logits, _, vectors = emt(x, everything(x), w, names)
        np.testing.assert_allclose(output.logits[i].flatten().detach(), logits, rtol=0, atol=1e-10)
        for name, vector in vectors.items():
            np.testing.assert_allclose(output.complete.vectors[name][i].detach(), vector, rtol=0, atol=1e-10)


def test_missing_steps_are_skipped_and_the_others_keep_their_time():
    """NumPy reads only what is left; NaN in the holes, zeros in them and more padding are the same, bitwise."""
    model, split = make(), clips_of({name: [6, 4, 7] for name in NAMES}, 3)
    batch, w = batch_of(split), weights_of(model)
    masks = holes(batch.streams)
    expected = None
    for value in (0.0, torch.nan):
        masked = {name: Padded(x.values, masks[name]) for name, x in batch.streams.items()}
        logits = model({name: extended(x, 9, value) for name, x in masked.items()}).logits
        expected = logits if expected is None else expected
        assert torch.equal(logits, expected)
    for i in range(len(split)):
        kept = {name: np.flatnonzero(mask[i]) for name, mask in masks.items()}
        x = {name: steps for name, steps in standardised(split, i, w).items() if len(kept[name])}
        np.testing.assert_allclose(expected[i].detach(), emt(x, kept, w)[0], rtol=0, atol=1e-5)


def test_a_clip_that_has_nothing_gets_the_same_finite_prediction_in_any_batch():
    model, split = make(), make_split(UNALIGNED)
    mixed = model.answer(batch_of(lacking(split, [(), ("language",), (), ("audio",)]))).logits
    nothing = model.answer(batch_of(lacking(make_split(UNALIGNED, seed=1), [()] * 4))).logits
    assert mixed.isfinite().all() and torch.equal(mixed[0], mixed[2])
    torch.testing.assert_close(nothing, mixed[:1].expand(4, -1), rtol=0, atol=1e-5)
    assert model.train().answer(batch_of(lacking(split, [()] * 4))).logits.isfinite().all()


# Training


def test_a_third_of_the_training_clips_loses_steps_alone_and_the_others_lose_modalities_too():
    torch.manual_seed(0)
    model, clips = make(), 12_000
    valid = {name: torch.ones(clips, 300, dtype=torch.bool) for name in NAMES}
    kept = model.drop(valid)
    some = torch.stack([mask.any(1) for mask in kept.values()], dim=1)
    counts = Counter(map(tuple, some.tolist()))
    assert len(counts) == 7
    for kind, count in counts.items():
        assert count / clips == pytest.approx(1 / 3 if all(kind) else 1 / 9, abs=0.02), kind
    shares = torch.stack([mask.float().mean(1) for mask in kept.values()], dim=1)  # (clips, M)
    for name, column in zip(NAMES, shares.unbind(1), strict=True):
        share = column[column > 0].sort().values
        uniform = torch.linspace(0, 1, len(share))
        torch.testing.assert_close(share, uniform, rtol=0, atol=0.03, msg=name)
    both = shares[some[:, :2].all(1)]
    assert (both[:, 0] - both[:, 1]).abs().mean() < 0.05, "all modalities of a clip have the same rate"


def test_a_clip_keeps_a_part_of_what_it_has_and_never_loses_everything():
    torch.manual_seed(0)
    model = make()
    for row in itertools.product([0, 1, 2], repeat=3):
        valid = {name: torch.arange(3).expand(4000, 3) < n for name, n in zip(NAMES, row, strict=True)}
        kept = model.drop(valid)
        assert not any((kept[name] & ~valid[name]).any() for name in NAMES)
        joined = torch.cat(list(kept.values()), dim=1)
        assert torch.equal(joined.any(1), torch.full((4000,), any(row)))
        assert len(joined.unique(dim=0)) == max(1, 2 ** sum(row) - 1)


def test_only_training_removes_anything_and_the_views_are_the_prediction():
    """The incomplete view is what evaluation predicts from the kept steps: removed steps give nothing away."""
    model, batch = make(), make_batch(MANY)
    assert all(torch.equal(kept, batch.streams[name].full_mask()) for name, kept in model.answer(batch).kept.items())
    torch.manual_seed(0)
    output = model.train().answer(batch)
    kept = torch.cat(list(output.kept.values()), dim=1)
    assert 0 < kept.float().mean() < 0.7
    assert not torch.equal(output.logits, output.complete.logits)
    torch.manual_seed(0)
    assert torch.equal(model.answer(batch).logits, output.logits)
    model.eval()
    streams = {name: Padded(x.values, output.kept[name]) for name, x in batch.streams.items()}
    torch.testing.assert_close(model(streams).logits, output.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(model.answer(batch).logits, output.complete.logits, rtol=0, atol=1e-6)


@pytest.mark.parametrize("loss", OUTPUTS)
def test_gradients_reach_every_parameter(loss):
    model = make(outputs=OUTPUTS[loss]).train()
    batch = make_batch(MANY, "emotion" if loss == "emotion" else "sentiment")
    torch.manual_seed(1)
    terms = Objective(model)(batch)
    assert set(terms) == {"loss", "task", "restoration", "attraction"}
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


def test_the_target_of_restoration_gets_no_gradient():
    """What is removed is a target: its encoder is reached only through e_m."""
    model, batch = make(), make_batch(MANY)
    always(model, whole(batch.streams, [("language",)] * 40))
    output = model.answer(batch)
    leaves = {name: x._replace(values=x.values.detach().requires_grad_()) for name, x in output.truth.items()}
    model.auxiliary(output._replace(truth=leaves), batch)["restoration"].backward()
    assert all(leaf.values.grad is None for leaf in leaves.values())
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert {name.split(".")[1] for name in reached if ".recurrent." in name} == {"language"}
    assert {name.split(".")[1] for name in reached if name.startswith("restore.")} == {"vision", "audio"}
    assert {f"encoders.{name}.missing" for name in ("vision", "audio")} <= reached


@pytest.mark.parametrize("side", [0, 1])
def test_the_targets_of_attraction_get_no_gradient(side):
    """Against numeric derivatives for one of the two views, with both targets held."""
    torch.manual_seed(0)
    model = make().double().attract["context"]
    views = list(torch.randn(2, 1, 3 * DIM, dtype=torch.double))
    target = model.project(views[1 - side]).detach()

    def held(v: torch.Tensor) -> float:
        return -torch.cosine_similarity(model.predict(model.project(v)), target).item() / 2

    start = views[side].clone()
    views[side].requires_grad_()
    model(*views).sum().backward()
    for i in (0, 7, 20):
        step = torch.zeros_like(start)
        step[0, i] = 1e-6
        numeric = (held(start + step) - held(start - step)) / 2e-6
        assert views[side].grad[0, i].item() == pytest.approx(numeric, abs=1e-7)


def test_the_terms_by_hand(monkeypatch):
    """Two modalities and two clips: language of 2 steps, audio of 1; restored is X_m, and L_v is the difference."""
    model = make(("language", "audio"), (1,), dim=2)
    for name in ("language", "audio"):
        monkeypatch.setattr(model.restore[name], "forward", lambda x: x)
    for module in model.attract.values():
        monkeypatch.setattr(module, "forward", lambda a, b: (a - b).sum(-1))
    truth = {
        "language": Padded(torch.tensor([[[0.5], [2.0]], [[0.1], [0.0]]]), torch.tensor([[True, True], [True, False]])),
        "audio": Padded(torch.tensor([[[1.0]], [[3.0]]]), torch.tensor([[True], [True]])),
    }
    kept = {"language": torch.tensor([[True, False], [True, False]]), "audio": torch.tensor([[True], [False]])}
    local = {"language": torch.tensor([[[9.0], [1.6]], [[9.0], [9.0]]]), "audio": torch.tensor([[[9.0]], [[1.0]]])}
    ones, zeros = torch.ones(2, 2), torch.zeros(2, 2)
    vectors = {"language": ones, "audio": 5 * ones, "context": torch.tensor([[0.1, 0.2], [0.3, 0.8]])}
    incomplete = View(torch.zeros(2, 1), local, vectors)
    complete = View(torch.tensor([[0.5], [-0.5]]), {}, dict.fromkeys(vectors, zeros))
    output = EMTDLFROutput(incomplete.logits, truth, kept, incomplete, complete)
    batch = make_batch({"language": [2, 1], "audio": [1, 1]})._replace(targets=torch.tensor([1.0, -2.0]))
    terms = model.auxiliary(output, batch)
    assert terms["restoration"].item() == pytest.approx(0.4**2 / 2 + (2.0 - 0.5))
    label, language, audio, context = (0.5 + 1.5) / 2, 2.0, 0.0, (0.3 + 1.1) / 2  # language of the second lost nothing
    assert terms["attraction"].item() == pytest.approx(label + language + audio + context)


def test_every_term_against_numpy():
    """Also in clips that lacked a modality before anything was removed: it has no target."""
    had = [NAMES, NAMES, ("language", "vision"), ("vision", "audio"), ("audio",), (), NAMES]
    split = lacking(clips_of({name: [6, 4, 7] for name in NAMES}, len(had)), had)
    batch = batch_of(split)
    kept = holes(given(batch))
    kept["audio"][4, 0] = True
    kept |= {name: torch.cat([mask[:-1], given(batch)[name].full_mask()[-1:]]) for name, mask in kept.items()}
    model = always(make(outputs=(1,)), kept)
    w, errors, attracted = weights_of(model), {name: [] for name in NAMES}, {}
    task, complete = [], []
    for i, subset in enumerate(had):
        x = standardised(split, i, w)
        steps = {name: np.flatnonzero(kept[name][i]) for name in subset}
        (score,), local, views = emt(x, steps, w)
        (whole_score,), _, wholes = emt(x, everything(x), w)
        task.append(abs(score - split.targets[i]))
        complete.append(abs(whole_score - split.targets[i]))
        removed = {name: np.setdiff1d(np.arange(len(x[name])), steps[name]) for name in subset}
        for name, lost in removed.items():
            error = np.abs(linear(local[name][lost], part(w, f"restore.{name}")) - x[name][lost])
            errors[name].extend(np.where(error < 1, error**2 / 2, error - 0.5).flat)
        counted = [name for name in subset if len(removed[name]) and len(steps[name])]
        counted += ["context"] * any(map(len, removed.values()))
        for name in counted:
            attracted.setdefault(name, []).append(attraction(views[name], wholes[name], part(w, f"attract.{name}")))
    assert len(attracted) == 4 and len(attracted["audio"]) < len(attracted["context"]) < len(had)
    expected = {
        "task": np.mean(task),
        "restoration": sum(np.mean(values) for values in errors.values()),
        "attraction": np.mean(complete) + sum(np.mean(values) for values in attracted.values()),
    }
    expected["loss"] = sum(expected.values())
    terms = Objective(model)(batch)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-4), name


def test_a_batch_that_lost_nothing_has_the_same_terms_and_the_same_collectives(monkeypatch):
    counts = []
    monkeypatch.setattr(losses, "process_mean", lambda count: counts.append(count) or count)
    batch, numbers = make_batch(ALIGNED), []
    for part_of in (batch, batch_of(make_split(ALIGNED).without("audio"))):
        for subset in (("vision",), NAMES, ()):
            counts.clear()
            model = always(make(), whole({name: batch.streams[name] for name in NAMES}, [subset] * 4))
            output = model.answer(part_of)
            terms = model.auxiliary(output, part_of)
            numbers.append(len(counts))
            assert set(terms) == set(model.weights)
            for term in terms.values():
                assert term.shape == () and term.requires_grad and term.isfinite()
            assert (terms["restoration"].item() == 0) == (subset == NAMES)
            if subset == NAMES:
                label = losses.task_loss(output.complete.logits, part_of.targets, model.loss)
                assert terms["attraction"].item() == label.item()
            sum(terms.values()).backward()
    assert numbers == [8] * 6


def test_training_reduces_the_loss_and_all_its_terms():
    torch.manual_seed(0)
    split = clips_of(UNALIGNED, 32)
    still = {
        n: Stream.from_clips([x.clip(i)[:1].repeat(len(x.clip(i)), 0) for i in range(32)])
        for n, x in split.streams.items()
    }
    split = dataclasses.replace(split, streams=still)  # all steps of a clip are alike, so the others predict them
    model = EMTDLFR(DIMS, (1,), dim=16, dropout=0.0)
    model.fit_statistics(split)
    objective, batches = Objective(model).train(), Batches(split, 16, NAMES)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for epoch in range(30):
        for batch in batches.epoch(epoch):
            terms = objective(batch)
            optimizer.zero_grad()
            terms["loss"].backward()
            optimizer.step()
            history.append({name: term.item() for name, term in terms.items()})
    first, last = (
        {name: np.mean([terms[name] for terms in some]) for name in terms} for some in (history[:6], history[-6:])
    )
    assert last["task"] < 0.8 * first["task"] and last["restoration"] < 0.8 * first["restoration"], (first, last)
    assert last["attraction"] < first["attraction"] - 2, (first, last)


@no_half_precision_lstm
def test_it_trains_in_half_precision():
    model, split = make().train(), lacking(clips_of(UNALIGNED, len(SUBSETS)), SUBSETS)
    with torch.autocast("cpu", torch.bfloat16):
        terms = Objective(model)(batch_of(split.without("audio")))
    terms["loss"].backward()
    assert all(term.isfinite() for term in terms.values())
