"""RMFN, Graph-MFN, MFM, the floors and their shared parts, against NumPy from the equations, clip by clip."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from ktnet_lite.baselines import floors
from ktnet_lite.baselines.blocks import Baseline, hold, squared_error
from ktnet_lite.baselines.floors import ABSENT, STRENGTHS, Constant, Linear
from ktnet_lite.baselines.graph_mfn import DynamicFusionGraph, GraphMFN
from ktnet_lite.baselines.mfm import MFM, mmd
from ktnet_lite.baselines.mfn import DeltaAttention, MemoryFusion
from ktnet_lite.baselines.rmfn import LSTHM, RMFN, MultistageFusion
from ktnet_lite.data.batching import Padded, collate
from ktnet_lite.data.schema import Split, Stream
from ktnet_lite.errors import ConfigError
from ktnet_lite.model.losses import OUTPUTS, Objective
from numpy_ktnet import Weights, linear, part, softmax, weights_of
from small import ALIGNED, DIMS, UNALIGNED, extended, make_batch, make_split, shaken

NAMES = tuple(DIMS)
DIM = 4
LACKING = {
    "whole": ALIGNED,
    "one without audio": ALIGNED | {"audio": [0, 1, 4, 2]},
    "one without language": ALIGNED | {"language": [3, 1, 4, 0]},
    "none with audio": ALIGNED | {"audio": [0, 0, 0, 0]},
}
EDGES = {  # sources of the edges into each vertex, in the order of the efficacies
    ("language", "vision", "audio"): {
        "language_vision": ["language", "vision"],
        "language_audio": ["language", "audio"],
        "vision_audio": ["vision", "audio"],
        "language_vision_audio": [
            *["language", "vision", "audio"],
            *["language_vision", "language_audio", "vision_audio"],
        ],
        "T": [
            *["language", "vision", "audio"],
            *["language_vision", "language_audio", "vision_audio"],
            "language_vision_audio",
        ],
    },
    ("language", "audio"): {"language_audio": ["language", "audio"], "T": ["language", "audio", "language_audio"]},
    ("vision",): {"T": ["vision"]},
}


def make(network, names=NAMES, outputs=(7,), dim=DIM):
    torch.manual_seed(0)
    return shaken(network({name: DIMS[name] for name in names}, outputs, dim=dim, dropout=0.0)).eval()


def double(streams):
    return {name: Padded(padded.values.double(), padded.mask) for name, padded in streams.items()}


def clip_of(split: Split, i: int, w: Weights, names=NAMES) -> dict[str, np.ndarray]:
    """Return one clip's standardised streams (T, D_m); a missing one is standardised zeros."""
    raw = {name: split.streams[name].clip(i).astype(float) for name in names}
    steps = max(map(len, raw.values()))
    raw = {name: x if len(x) else np.zeros((steps, DIMS[name])) for name, x in raw.items()}
    return {name: (x - w[f"standardise.{name}.mean"]) / w[f"standardise.{name}.scale"] for name, x in raw.items()}


def check_against_numpy(model, forward, lengths) -> None:
    """Compare logits of a padded batch in double precision with ``forward(clip, weights)`` of each clip alone."""
    split, model = make_split(lengths), model.double()
    logits = model(double(collate(split, range(len(split)), model.observed).streams)).logits.detach()
    for i in range(len(split)):
        w = weights_of(model)
        expected = forward(clip_of(split, i, w, model.observed), w)
        np.testing.assert_allclose(logits[i].flatten(), expected, rtol=0, atol=1e-10)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def mlp(x, w: Weights):
    return linear(np.maximum(linear(x, part(w, "0")), 0), part(w, "3"))


def head(x, w: Weights):
    return linear(x + mlp(x, part(w, "residual")), part(w, "out"))


def lstm_step(x, h, c, w: Weights, layer=""):
    """The equations of an LSTM; its weights hold the rows of i, f, g, o in that order."""
    rows = x @ w[f"weight_ih{layer}"].T + w[f"bias_ih{layer}"] + h @ w[f"weight_hh{layer}"].T + w[f"bias_hh{layer}"]
    i, f, g, o = rows.reshape(4, -1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def lstm(x, w: Weights, dim=DIM):
    h, c, states = np.zeros(dim), np.zeros(dim), []
    for step in x:
        h, c = lstm_step(step, h, c, w, "_l0")
        states.append(h)
    return np.array(states)


# Shared parts


def test_a_stream_that_a_clip_lacks_is_zeros_standardised_at_every_step():
    base = shaken(Baseline(DIMS, (7,)))
    split, w = make_split(LACKING["one without audio"]), weights_of(base)
    values, mask = base.align(collate(split, range(4), NAMES).streams)
    assert tuple(values) == NAMES and mask.sum(1).tolist() == [3, 1, 4, 2]
    for i, steps in enumerate([3, 1, 4, 2]):
        assert mask[i, :steps].all()
        for name, expected in clip_of(split, i, w).items():
            np.testing.assert_allclose(values[name][i, :steps], expected, atol=1e-6)
    zero = -w["standardise.audio.mean"] / w["standardise.audio.scale"]
    none = base.align(collate(make_split(LACKING["none with audio"]), range(4), NAMES).streams)
    assert none.mask.sum(1).tolist() == [3, 1, 4, 2]
    np.testing.assert_allclose(none.values["audio"], np.broadcast_to(zero, (4, 4, 3)), atol=1e-6)


def test_only_modalities_in_the_streams_are_aligned():
    base, streams = Baseline(DIMS, (7,)), make_batch(ALIGNED).streams
    whole, rest = base.align(streams), base.align({name: streams[name] for name in ("vision", "language")})
    assert tuple(rest.values) == ("language", "vision")
    joined = rest.joined()
    assert torch.equal(joined.values, torch.cat([whole.values["language"], whole.values["vision"]], -1))
    assert torch.equal(joined.mask, whole.mask)


def test_streams_of_different_lengths_are_an_error():
    with pytest.raises(ConfigError, match=r"the longest of the batch, in steps: language 4, vision 7, audio 9"):
        Baseline(DIMS, (7,)).align(make_batch(UNALIGNED).streams)


def test_a_state_is_held_after_a_clip_ends():
    new, old = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 6.0], [7.0, 8.0]])
    assert hold(torch.tensor([True, False]), new, old).tolist() == [[1.0, 2.0], [7.0, 8.0]]


def test_squared_error_is_a_mean_over_valid_steps_of_present_clips():
    truth = torch.zeros(3, 2, 2)
    mask = torch.tensor([[True, True], [True, False], [True, True]])
    predicted = torch.tensor([[[1.0, 2], [3, 4]], [[5, 6], [100, 100]], [[100, 100], [100, 100]]])
    present = torch.tensor([True, True, False])
    error = squared_error(predicted, Padded(truth, mask), present).item()
    assert error == pytest.approx((1 + 4 + 9 + 16 + 25 + 36) / 6)
    assert squared_error(predicted, Padded(truth + 1), ~present).item() == pytest.approx(99**2)
    assert squared_error(predicted, Padded(truth, mask), present & ~present).item() == 0


@pytest.mark.parametrize("lacking", NAMES)
def test_the_longest_clip_of_a_batch_may_lack_a_modality(lacking):
    base, split = shaken(Baseline(DIMS, (7,))), make_split(ALIGNED | {lacking: [3, 1, 0, 2]})
    values, mask = base.align(collate(split, range(4), NAMES).streams)
    assert mask.sum(1).tolist() == [3, 1, 4, 2]
    for i, steps in enumerate([3, 1, 4, 2]):
        for name, expected in clip_of(split, i, weights_of(base)).items():
            np.testing.assert_allclose(values[name][i, :steps], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("network", "names"), [(RMFN, NAMES), (GraphMFN, NAMES), (MFM, NAMES), (MFM, ("language", "vision"))]
)
def test_padding_changes_nothing(network, names):
    streams = make_batch(LACKING["one without audio"]).streams
    model, streams = make(network), {name: streams[name] for name in names}
    expected = model(streams).logits
    for steps in (0, 3):
        padded = {name: extended(stream, steps, float("nan")) for name, stream in streams.items()}
        torch.testing.assert_close(model(padded).logits, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("network", [RMFN, GraphMFN, MFM])
@pytest.mark.parametrize("loss", OUTPUTS)
def test_gradients_reach_every_parameter(network, loss):
    model = make(network, outputs=OUTPUTS[loss], dim=8)
    batch = make_batch({name: [3, 5, 4, 2, 5] for name in NAMES}, "emotion" if loss == "emotion" else "sentiment")
    Objective(model)(batch)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} is not used"
        assert parameter.grad.abs().max() > 1e-9, f"{name} is dead"


# RMFN


def lsthm(x, z, h, c, w: Weights):
    """i, f, o = sigmoid(W x + U h + V z + b), c = f c + i tanh(W x + U h + V z + b), h = o tanh(c), row by row."""
    columns = w["cell.weight_ih"]
    from_x, from_z, from_h = columns[:, : len(x)], columns[:, len(x) :], w["cell.weight_hh"]
    bias, dim = w["cell.bias_ih"] + w["cell.bias_hh"], len(h)
    new_h, new_c = np.zeros(dim), np.zeros(dim)
    for unit in range(dim):
        i, f, g, o = (
            from_x[row] @ x + from_h[row] @ h + from_z[row] @ z + bias[row] for row in range(unit, 4 * dim, dim)
        )
        new_c[unit] = sigmoid(f) * c[unit] + sigmoid(i) * np.tanh(g)
        new_h[unit] = sigmoid(o) * np.tanh(new_c[unit])
    return new_h, new_c


def multistage(h, w: Weights):
    """Three stages of highlight, scaled by D, and fuse, followed by summarise."""
    units, attended, fused = len(h), np.zeros(len(h)), []
    highlight, fuse = (np.zeros(units), linear(h, part(w, "start"))), (np.zeros(units), np.zeros(units))
    for _ in range(3):
        highlight = lstm_step(attended, *highlight, part(w, "highlight"))
        attended = units * softmax(highlight[0]) * h
        fuse = lstm_step(attended, *fuse, part(w, "fuse"))
        fused.append(fuse[0])
    return mlp(np.concatenate(fused), part(w, "summarise"))


def rmfn(clip, w: Weights):
    z, h, c = np.zeros(DIM), {m: np.zeros(DIM) for m in clip}, {m: np.zeros(DIM) for m in clip}
    for t in range(len(next(iter(clip.values())))):
        for m in clip:
            h[m], c[m] = lsthm(clip[m][t], z, h[m], c[m], part(w, f"cells.{m}"))
        z = multistage(np.concatenate([h[m] for m in clip]), part(w, "fusion"))
    return head(np.concatenate([*h.values(), z]), part(w, "head"))


def test_an_lsthm_step_is_an_lstm_step_that_also_reads_z():
    torch.manual_seed(0)
    cell = LSTHM(5, 4, 3).double()
    x, z, h, c = (torch.randn(2, n, dtype=torch.float64) for n in (5, 3, 4, 4))
    result = cell(x, z, (h, c))
    for i in range(2):
        expected = lsthm(*(v[i].numpy() for v in (x, z, h, c)), weights_of(cell))
        np.testing.assert_allclose([part_[i].detach().numpy() for part_ in result], expected, atol=1e-12)


def test_three_stages_highlight_fuse_and_summarise():
    torch.manual_seed(0)
    fusion = shaken(MultistageFusion(6, 4, 0.0)).double().eval()
    h = torch.randn(3, 6, dtype=torch.float64)
    expected = [multistage(row, weights_of(fusion)) for row in h.numpy()]
    np.testing.assert_allclose(fusion(h).detach(), expected, atol=1e-12)


def test_uniform_attention_leaves_h_unchanged():
    torch.manual_seed(0)
    fusion, heard = MultistageFusion(6, 4, 0.0), []
    for name, parameter in fusion.named_parameters():
        if name.startswith(("highlight", "start")):
            parameter.data.zero_()
    fusion.fuse.register_forward_hook(lambda module, inputs, output: heard.append(inputs[0]))
    h = torch.randn(3, 6)
    fusion(h)
    torch.testing.assert_close(heard, [h, h, h])


@pytest.mark.parametrize("lengths", LACKING.values(), ids=LACKING)
@pytest.mark.parametrize(("names", "outputs"), [(NAMES, (7,)), (("language", "audio"), (4, 2)), (("vision",), (1,))])
def test_rmfn_against_numpy(lengths, names, outputs):
    check_against_numpy(make(RMFN, names, outputs), rmfn, lengths)


def test_the_fused_z_enters_the_next_step_of_rmfn():
    model, streams = make(RMFN), make_batch(ALIGNED).streams
    before = model(streams).logits
    model.cells["vision"].cell.weight_ih.data[:, DIMS["vision"] :] += 1.0  # V
    after = model(streams).logits
    for i, steps in enumerate(ALIGNED["language"]):
        assert torch.equal(before[i], after[i]) == (steps == 1)


# The memory fusion network


def delta_attention(memories, w: Weights):
    joined = np.concatenate(list(memories.values()))
    return len(joined) * softmax(mlp(joined, part(w, "attention"))) * joined


def memory_fusion(clip, w: Weights, fuse):
    u, h, c = np.zeros(DIM), {m: np.zeros(DIM) for m in clip}, {m: np.zeros(DIM) for m in clip}
    for t in range(len(next(iter(clip.values())))):
        memories = {}
        for m in clip:
            h[m], new = lstm_step(clip[m][t], h[m], c[m], part(w, f"cells.{m}"))
            memories[m], c[m] = np.concatenate([c[m], new]), new
        f = fuse(memories, part(w, "fuse"))
        g1, g2 = (sigmoid(mlp(np.concatenate([f, u]), part(w, f"gates.{n}"))) for n in (0, 1))
        u = g1 * u + g2 * np.tanh(mlp(f, part(w, "propose")))
    return np.concatenate([*h.values(), u])


def test_delta_attention_by_hand():
    torch.manual_seed(0)
    attention = shaken(DeltaAttention(2, 3, 0.0)).double()
    memories = {name: torch.randn(4, 6, dtype=torch.float64) for name in ("language", "audio")}
    result = attention(memories).detach()
    assert result.shape == (4, attention.width) == (4, 12)
    for i in range(4):
        clip = {name: memory[i].numpy() for name, memory in memories.items()}
        np.testing.assert_allclose(result[i], delta_attention(clip, weights_of(attention)), atol=1e-12)
    for parameter in attention.parameters():
        parameter.data.zero_()
    torch.testing.assert_close(attention(memories), torch.cat(list(memories.values()), -1))  # uniform attention


def test_gated_memory_with_delta_attention_by_hand():
    base = shaken(Baseline(DIMS, (7,))).double()
    split = make_split(LACKING["one without audio"])
    torch.manual_seed(0)
    memory = shaken(MemoryFusion(DIMS, DIM, 0.0, DeltaAttention(3, DIM, 0.0))).double().eval()
    result = memory(base.align(double(collate(split, range(4), NAMES).streams))).detach()
    assert result.shape == (4, memory.width) == (4, 16)
    for i in range(4):
        clip = clip_of(split, i, weights_of(base))
        np.testing.assert_allclose(result[i], memory_fusion(clip, weights_of(memory), delta_attention), atol=1e-10)


# Graph-MFN


def graph(memories, w: Weights, efficacies=None):
    """Compute T of a graph, with computed or given efficacies."""
    names = tuple(memories)
    value = {m: mlp(memories[m], part(w, f"singles.{m}")) for m in names}
    if efficacies is None:
        efficacies = sigmoid(mlp(np.concatenate([value[m] for m in names]), part(w, "efficacies")))
    edge = 0
    for vertex, sources in EDGES[names].items():
        scaled = []
        for source in sources:
            scaled.append(efficacies[edge] * value[source])
            edge += 1
        value[vertex] = mlp(np.concatenate(scaled), part(w, f"vertices.{vertex}"))
    assert edge == len(efficacies)
    return value["T"]


def graph_mfn(clip, w: Weights):
    return head(memory_fusion(clip, part(w, "memory"), graph), part(w, "head"))


@pytest.mark.parametrize(("names", "count"), [(NAMES, 3 * 2 + 6 + 7), (("language", "audio"), 2 + 3), (("vision",), 1)])
def test_a_graph_has_a_vertex_for_each_set_and_an_edge_from_each_proper_subset(names, count):
    network = DynamicFusionGraph(names, DIM, 0.0)
    assert network.edges == EDGES[names] and list(network.edges) == list(EDGES[names])
    assert set(network.singles) == set(names) and set(network.vertices) == set(EDGES[names])
    assert len(network.singles) + len(network.vertices) == 2 ** len(names)  # every set except the empty one, and T
    for vertex, sources in network.edges.items():
        members = set(names) if vertex == "T" else set(vertex.split("_"))
        for source in sources:
            assert vertex == "T" or set(source.split("_")) < members
        assert network.vertices[vertex][0].in_features == DIM * len(sources)
    assert network.efficacies[-1].out_features == count


@pytest.mark.parametrize("names", EDGES)
def test_each_efficacy_cuts_its_own_edge_and_is_at_most_one(names):
    torch.manual_seed(0)
    network = shaken(DynamicFusionGraph(names, DIM, 0.0)).double()
    memories = {name: torch.randn(2, 2 * DIM, dtype=torch.float64) for name in names}
    last = network.efficacies[-1]
    last.weight.data.zero_()
    for k in range(last.out_features):
        last.bias.data.fill_(1e3)  # efficacy 1, not 1000
        last.bias.data[k] = -1e3  # efficacy 0
        result, given = network(memories).detach(), np.arange(last.out_features) != k
        for i in range(2):
            clip = {name: memory[i].numpy() for name, memory in memories.items()}
            np.testing.assert_allclose(result[i], graph(clip, weights_of(network), given), atol=1e-12)


@pytest.mark.parametrize("lengths", LACKING.values(), ids=LACKING)
def test_graph_mfn_against_numpy(lengths):
    check_against_numpy(make(GraphMFN), graph_mfn, lengths)


@pytest.mark.parametrize(("names", "outputs"), [(("language", "audio"), (4, 2)), (("vision",), (1,))])
def test_graph_mfn_of_fewer_modalities_against_numpy(names, outputs):
    check_against_numpy(make(GraphMFN, names, outputs), graph_mfn, ALIGNED)


# MFM


def encoder(x, w: Weights):
    return linear(lstm(x, part(w, "recurrent"))[-1], part(w, "out"))


def mfm_codes(clip, w: Weights):
    label = linear(memory_fusion(clip, part(w, "infer_label.memory"), delta_attention), part(w, "infer_label.out"))
    return {"label": label} | {m: encoder(x, part(w, f"infer_own.{m}")) for m, x in clip.items()}


def surrogate_codes(clip, w: Weights):
    both = encoder(np.concatenate([clip[m] for m in clip if m != "audio"], axis=1), part(w, "surrogate"))
    return {"label": both[:DIM], "audio": both[DIM:]}


def factor(codes, w: Weights):
    return np.maximum(mlp(codes["label"], part(w, "label_factor")), 0)


def predict(codes, w: Weights):
    return head(factor(codes, w), part(w, "head"))


def generate(codes, m: str, steps: int, w: Weights):
    factors = np.concatenate([factor(codes, w), np.maximum(mlp(codes[m], part(w, f"own_factors.{m}")), 0)])
    return linear(lstm([factors] * steps, part(w, f"generators.{m}.recurrent")), part(w, f"generators.{m}.out"))


def discrepancy(codes, prior):
    def kernel(first, second):
        return np.mean([[np.exp(-((a - b) ** 2).sum() / len(a)) for b in second] for a in first])

    return kernel(codes, codes) + kernel(prior, prior) - 2 * kernel(codes, prior)


def label_loss(logits, target, loss: str) -> float:
    if loss == "l1":
        return abs(logits[0] - target)
    if loss == "cross_entropy":
        return -np.log(softmax(logits)[int(np.rint(target)) + 3])
    return np.mean([-np.log(softmax(logits[2 * e : 2 * e + 2])[target[e]]) for e in range(4)])


@pytest.mark.parametrize("names", [NAMES, ("language", "vision"), ("language", "audio"), ("vision",)])
def test_mfm_against_numpy(names):
    check_against_numpy(make(MFM, names), lambda clip, w: predict(mfm_codes(clip, w), w), ALIGNED)


@pytest.mark.parametrize("lengths", LACKING.values(), ids=LACKING)
def test_mfm_with_missing_modalities_against_numpy(lengths):
    check_against_numpy(make(MFM, outputs=(4, 2)), lambda clip, w: predict(mfm_codes(clip, w), w), lengths)


def test_codes_and_generated_streams_against_numpy():
    model, split = make(MFM).double(), make_split(ALIGNED)
    output, w = model(double(collate(split, range(4), NAMES).streams)), weights_of(model)
    for i, steps in enumerate(ALIGNED["language"]):
        expected = mfm_codes(clip_of(split, i, w), w)
        codes = {"label": output.codes.label, **output.codes.own}
        assert list(codes) == list(expected)
        for m, z in codes.items():
            np.testing.assert_allclose(z[i].detach(), expected[m], atol=1e-10)
        for m in NAMES:
            result = model.generate(output.codes, m, 4)[i, :steps].detach()
            np.testing.assert_allclose(result, generate(expected, m, steps, w), atol=1e-10)


@pytest.mark.parametrize("loss", OUTPUTS)
@pytest.mark.parametrize("lengths", [LACKING["whole"], LACKING["one without audio"]], ids=["whole", "one lacks"])
def test_every_term_that_mfm_trains_against_numpy(loss, lengths, monkeypatch):
    model = make(MFM, outputs=OUTPUTS[loss])
    assert set(model.weights) == {"generation", "prior", "surrogate"}
    model.weights = {"generation": 0.7, "prior": 0.3, "surrogate": 1.3}
    split, w, draws = make_split(lengths, "emotion" if loss == "emotion" else "sentiment"), weights_of(model), []

    def randn_like(z, dtype):
        draws.append(np.random.default_rng(len(draws)).normal(size=z.shape))
        return torch.from_numpy(draws[-1]).to(dtype)

    monkeypatch.setattr(torch, "randn_like", randn_like)
    terms = Objective(model)(collate(split, range(4), NAMES))

    codes, task, surrogate = [], 0.0, 0.0
    errors = {m: [] for m in (*NAMES, "surrogate")}  # at every step and feature
    for i in range(4):
        clip = clip_of(split, i, w)
        codes.append(mfm_codes(clip, w))
        inferred, steps = surrogate_codes(clip, w), len(clip["language"])
        task += label_loss(predict(codes[-1], w), split.targets[i], loss) / 4
        surrogate += label_loss(predict(inferred, w), split.targets[i], loss) / 4
        for m in NAMES:
            if lengths[m][i]:
                errors[m].extend(((generate(codes[-1], m, steps, w) - clip[m]) ** 2).flat)
        if lengths["audio"][i]:
            errors["surrogate"].extend(((generate(inferred, "audio", steps, w) - clip["audio"]) ** 2).flat)
    expected = {
        "task": task,
        "generation": sum(np.mean(errors[m]) for m in NAMES),
        "prior": sum(
            discrepancy([z[m] for z in codes], prior) for m, prior in zip(("label", *NAMES), draws, strict=True)
        ),
        "surrogate": surrogate + 0.7 * np.mean(errors["surrogate"]),
    }
    expected["loss"] = task + 0.7 * expected["generation"] + 0.3 * expected["prior"] + 1.3 * expected["surrogate"]
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-5), name


def test_missing_audio_does_not_count_in_the_generation_error():
    """If no clip has audio, the generated audio changes no term."""
    model, batch = make(MFM), make_batch(ALIGNED)
    none = batch._replace(present=batch.present | {"audio": torch.zeros(4, dtype=torch.bool)})
    for name in ("generation", "surrogate"):
        terms = []
        for shift in (0.0, 10.0):
            model.generators["audio"].out.bias.data += shift
            output = model(batch.streams)
            terms.append([model.auxiliary(output, b)[name].item() for b in (batch, none)])
            model.generators["audio"].out.bias.data -= shift
        (counted, _), (moved, _) = terms
        assert terms[0][1] == pytest.approx(terms[1][1], rel=1e-6) and abs(moved - counted) > 1


def test_mmd_by_hand():
    def k(square):
        return np.exp(-square)

    codes, prior = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])
    expected = (2 + 2 * k(1)) / 4 + (2 + 2 * k(4)) / 4 - 2 * (k(0) + k(4) + k(1) + k(1)) / 4
    assert mmd(codes, prior).item() == pytest.approx(expected, abs=1e-6)
    codes, prior = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 3.0]])  # the kernel divides by the width
    assert mmd(codes, prior).item() == pytest.approx(2 - 2 * k(10 / 2), abs=1e-6)


def test_mmd_is_zero_for_equal_samples_and_falls_as_samples_approach():
    torch.manual_seed(0)
    sample = torch.randn(20, 3)
    assert mmd(sample, sample).item() == pytest.approx(0, abs=1e-6)
    values = [mmd(sample + shift, sample).item() for shift in (2.0, 1.0, 0.5, 0.1)]
    assert values == sorted(values, reverse=True) and values[-1] > 1e-4


def test_without_audio_mfm_predicts_from_the_surrogate():
    model, split = make(MFM).double(), make_split(ALIGNED)
    w, streams = weights_of(model), double(collate(split, range(4), NAMES).streams)
    assert model.infers_audio and model.fills == ("inferred",)
    output = model({name: streams[name] for name in ("language", "vision")})
    assert set(output.codes.own) == {"audio"}
    assert (model(streams).logits - output.logits).abs().amax(1).min() > 1e-3
    for i in range(4):
        expected = surrogate_codes(clip_of(split, i, w), w)
        np.testing.assert_allclose(output.codes.label[i].detach(), expected["label"], atol=1e-10)
        np.testing.assert_allclose(output.codes.own["audio"][i].detach(), expected["audio"], atol=1e-10)
        np.testing.assert_allclose(output.logits[i].detach(), predict(expected, w), atol=1e-10)


@pytest.mark.parametrize("names", [("language", "vision"), ("audio",)])
def test_mfm_has_a_surrogate_only_for_audio_beside_other_modalities(names):
    model, batch = make(MFM, names), make_batch(ALIGNED)
    assert not model.infers_audio and not hasattr(model, "surrogate") and "inferred" not in model.fills
    output = model({name: batch.streams[name] for name in names})
    assert set(model.auxiliary(output, batch)) == {"generation", "prior"}


# The floors


def with_targets(split: Split, targets, dtype=np.float32) -> Split:
    return replace(split, targets=np.asarray(targets, dtype))


def solved(network, train: Split, valid: Split, loss: str):
    model = network(DIMS, OUTPUTS[loss], dim=DIM, dropout=0.0)
    model.fit_statistics(train)
    model.solve(train, valid)
    return model


@pytest.mark.parametrize(
    ("targets", "median"), [([-3, 2, 1.5, 0.5, 3], 1.5), ([-3, 2, 1, 0], 0.5), ([0.2, 0.2, 0.2, -1], 0.2)]
)
def test_the_constant_for_l1_is_the_training_median(targets, median):
    train = with_targets(make_split({"language": [1] * len(targets)}), targets)
    model = Constant({"language": 5}, (1,))
    model.solve(train, with_targets(train, [3.0] * len(targets)))
    logits = model(make_batch(UNALIGNED).streams).logits
    assert logits.shape == (4, 1) and logits.flatten().tolist() == pytest.approx([median] * 4)


def test_the_constant_for_cross_entropy_is_the_frequency_of_each_class():
    train = with_targets(make_split({name: [1] * 8 for name in NAMES}), [-3, -2.6, -0.4, 0.2, 0.5, 1.5, 2.4, 1])
    model = solved(Constant, train, train, "cross_entropy")
    counts = [2, 0, 0, 3, 1, 2, 0]  # halves round to the even class
    expected = [np.log(n / 8) if n else -30 for n in counts]
    logits = model(make_batch(UNALIGNED).streams).logits
    np.testing.assert_allclose(logits.detach(), [expected] * 4, rtol=1e-6)
    assert model.fills == ()


def test_the_constant_for_emotions_is_the_frequency_of_each():
    targets = [[1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 1, 1]]
    train = with_targets(make_split({name: [1] * 4 for name in NAMES}), targets, np.int64)
    logits = solved(Constant, train, train, "emotion")(make_batch(UNALIGNED).streams).logits.detach()
    assert logits.shape == (4, 4, 2)
    np.testing.assert_allclose(softmax(logits[2].double().numpy())[:, 1], [3 / 4, 0, 3 / 4, 1 / 4], atol=1e-6)
    np.testing.assert_allclose(logits[0, 1], [0, -30])


def lengths_of(clips: int, seed: int) -> dict[str, list[int]]:
    """Make unaligned clips; every third one lacks audio."""
    rng = np.random.default_rng(seed)
    lengths = {name: rng.integers(1, 5, clips).tolist() for name in NAMES}
    return lengths | {"audio": [0 if i % 3 == 0 else n for i, n in enumerate(lengths["audio"])]}


def table(split: Split, train: Split) -> np.ndarray:
    """Each modality's mean over a clip's steps, standardised by the training set; missing audio is a zero step."""
    columns = []
    for name in NAMES:
        steps, stream = train.streams[name].values.astype(float), split.streams[name]
        clips = [stream.clip(i) if stream.lengths[i] else np.zeros((1, DIMS[name])) for i in range(len(split))]
        columns.append([((clip - steps.mean(0)) / steps.std(0)).mean(0) for clip in clips])
    return np.concatenate(columns, axis=1)


def splits(loss: str) -> tuple[Split, Split, Split]:
    """Make train, valid and test with noisy labels that depend on the means; emotion 2 is absent in training."""
    bare = [make_split(lengths_of(n, seed), seed=seed) for seed, n in enumerate((40, 60, 10))]
    rng, result = np.random.default_rng(0), []
    weight = rng.normal(size=(sum(DIMS.values()), 4))
    for split in bare:
        if (
            loss == "emotion" and split is bare[1]
        ):  # otherwise the most confident prediction, with the least penalty, always wins
            weight = weight * np.array([1] * 10 + [-1] * 2)[:, None]
        scores = table(split, bare[0]) @ weight + 3 * rng.normal(size=(len(split), 4))
        if loss != "emotion":
            result.append(with_targets(split, np.clip(scores[:, 0] / 2 + 0.5, -1.4, 3)))  # classes 0 and 1 have no clip
        else:
            emotions = (scores > 0).astype(np.int64)
            emotions[:, 2] = 0
            result.append(with_targets(split, emotions, np.int64))
    return tuple(result)


def scikit_learn(loss: str, train: Split, strength: float):
    """Fit a linear model; return a function from a split to scores, class or emotion probabilities."""
    x, y = table(train, train), train.targets
    if loss == "l1":
        ridge = Ridge(alpha=strength).fit(x, y)
        return lambda split: ridge.predict(table(split, train))[:, None]
    if loss == "cross_entropy":
        logistic = LogisticRegression(C=1 / strength, max_iter=1000).fit(x, np.rint(y).astype(int))

        def probabilities(split):
            result = np.zeros((len(split), 7))
            result[:, logistic.classes_ + 3] = logistic.predict_proba(table(split, train))
            return result

        return probabilities
    models = [
        LogisticRegression(C=1 / strength, max_iter=1000).fit(x, column) if column.any() else None for column in y.T
    ]

    def felt(split):
        return np.stack(
            [model.predict_proba(table(split, train))[:, 1] if model else np.zeros(len(split)) for model in models], 1
        )

    return felt


def loss_of(predicted: np.ndarray, targets: np.ndarray, loss: str) -> float:
    """Return the absolute error of scores (N, 1), or the log loss of probabilities (N, 7) or (N, 4)."""
    if loss == "l1":
        return np.abs(predicted[:, 0] - targets).mean()
    predicted = predicted.clip(np.exp(ABSENT), 1 - np.exp(ABSENT))
    if loss == "emotion":
        return -np.log(np.where(targets == 1, predicted, 1 - predicted)).mean()
    classes = targets.clip(-3, 3).round().astype(int) + 3
    return -np.log(predicted[np.arange(len(targets)), classes]).mean()


@pytest.mark.parametrize("loss", OUTPUTS)
def test_the_linear_floor_is_scikit_learns_with_the_least_validation_loss(loss):
    train, valid, test = splits(loss)
    models = {strength: scikit_learn(loss, train, strength) for strength in STRENGTHS}
    losses = {strength: loss_of(model(valid), valid.targets, loss) for strength, model in models.items()}
    best = min(losses, key=losses.get)
    fitted = {strength: loss_of(model(train), train.targets, loss) for strength, model in models.items()}
    assert STRENGTHS[0] < best < STRENGTHS[-1] and best != min(
        fitted, key=fitted.get
    )  # otherwise the choice shows nothing

    model = solved(Linear, train, valid, loss)
    logits = model(collate(test, range(len(test)), NAMES).streams).logits.detach().double().numpy()
    assert logits.shape == (len(test), *OUTPUTS[loss])
    if loss == "cross_entropy":
        assert (logits[:, :2] == ABSENT).all() and ABSENT == -30
    predicted = logits if loss == "l1" else softmax(logits)
    predicted = predicted[..., 1] if loss == "emotion" else predicted
    np.testing.assert_allclose(predicted, models[best](test), rtol=0, atol=1e-4)
    others = [np.abs(predicted - models[strength](test)).max() for strength in STRENGTHS if strength != best]
    assert min(others) > 1e-3


@pytest.mark.parametrize("loss", OUTPUTS)
def test_strength_scales_the_penalty(loss, monkeypatch):
    train, valid, test = splits(loss)
    monkeypatch.setattr(floors, "STRENGTHS", (1e3,))
    logits = solved(Linear, train, valid, loss)(collate(test, range(10), NAMES).streams).logits.detach().double()
    predicted = logits.numpy() if loss == "l1" else softmax(logits.numpy())
    predicted = predicted[..., 1] if loss == "emotion" else predicted
    np.testing.assert_allclose(predicted, scikit_learn(loss, train, 1e3)(test), rtol=0, atol=1e-4)


def test_the_strengths_rise_over_six_decades():
    assert tuple(10.0**k for k in range(-2, 5)) == STRENGTHS


@pytest.mark.parametrize("targets", [[-1, 2] * 6, [1.2] * 12], ids=["two classes", "one class"])
def test_the_linear_floor_with_classes_that_have_no_clip(targets):
    train = with_targets(make_split(lengths_of(12, 0)), targets)
    logits = solved(Linear, train, train, "cross_entropy")(collate(train, range(12), NAMES).streams).logits.detach()
    seen = sorted({int(np.rint(target)) + 3 for target in targets})
    unseen = [c for c in range(7) if c not in seen]
    assert logits.isfinite().all() and (logits[:, unseen] == -30).all()
    assert (logits.argmax(1).numpy() == np.rint(targets) + 3).mean() > 0.9


def test_the_linear_floor_of_an_emotion_with_one_label():
    targets = np.random.default_rng(0).integers(0, 2, (12, 4))
    targets[:, 1], targets[:, 3] = 0, 1
    train = with_targets(make_split(lengths_of(12, 0)), targets, np.int64)
    logits = solved(Linear, train, train, "emotion")(collate(train, range(12), NAMES).streams).logits.detach()
    felt = softmax(logits.double().numpy())[..., 1]
    np.testing.assert_allclose(felt[:, [1, 3]], targets[:, [1, 3]], atol=1e-9)
    assert np.isfinite(felt).all() and felt[:, 0].std() > 0


def test_padding_changes_no_prediction_of_the_linear_floor():
    train, valid, test = splits("l1")
    model, streams = solved(Linear, train, valid, "l1"), collate(test, range(10), NAMES).streams
    padded = {name: extended(Padded(stream.values, stream.full_mask()), 2, 1e4) for name, stream in streams.items()}
    torch.testing.assert_close(model(padded).logits, model(streams).logits, rtol=0, atol=1e-5)


def test_the_linear_floor_standardises_new_clips_with_the_training_set():
    train, valid, _ = splits("l1")
    model = solved(Linear, train, valid, "l1")
    shifted = replace(valid, streams={m: Stream(s.values + 1, s.lengths) for m, s in valid.streams.items()})
    expected = table(shifted, train) @ weights_of(model)["linear.weight"].T + weights_of(model)["linear.bias"]
    result = model(collate(shifted, range(len(shifted)), NAMES).streams).logits.detach()
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)
