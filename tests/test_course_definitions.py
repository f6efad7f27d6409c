"""What the course's chapters write out, taken from the notebooks and held against the package on other inputs.

Each chapter compares the two itself, on the tensors that it shows. Here every definition meets random ones: ragged
clips, clips without a step, several widths.
"""

import ast
import pickle
from contextlib import suppress
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from torch import nn

import execute
from ktnet_lite.data import batching, readers, synthetic
from ktnet_lite.data.batching import Padded
from ktnet_lite.data.schema import Dataset, Stream
from ktnet_lite.measures import metrics
from ktnet_lite.measures.statistics import paired_difference
from ktnet_lite.model import layers, losses
from ktnet_lite.model.encoder import ModalityEncoder, Standardise
from ktnet_lite.model.fusion import CrossModalFusion
from ktnet_lite.model.transfer import Transfer
from ktnet_lite.names import MODALITIES

LENGTHS = {"language": (9, 1, 4), "vision": (5, 12, 1), "audio": (3, 7, 20)}


def definitions(number: str) -> SimpleNamespace:
    """Imports, functions and classes of a chapter, solutions aside; nothing else of it runs."""
    (path,) = [path for path in execute.course() if path.name.startswith(number)]
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    nodes = [
        node
        for cell in cells
        if not cell.source.startswith("# @title")
        for node in ast.parse(execute.code_of(nbformat.v4.new_notebook(cells=[cell]))).body
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))
    ]
    scope = {"__name__": path.stem}
    for node in nodes:
        with suppress(NameError):  # a default that names the chapter's data
            exec(compile(ast.Module([node], type_ignores=[]), str(path), "exec"), scope)
    return SimpleNamespace(**scope)


def features(name: str, dim: int) -> Padded:
    lengths = LENGTHS[name]
    steps = max(lengths)
    return Padded(torch.randn(len(lengths), steps, dim), torch.arange(steps) < torch.tensor(lengths)[:, None])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def shaken(module: nn.Module) -> nn.Module:
    """With no parameter left at 0 or 1, where a mistake could hide."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return module.eval()


def twin(module: nn.Module, written: nn.Module, rename=lambda state: state) -> nn.Module:
    """The written-out module with the package's parameters, all of them."""
    written.load_state_dict(rename(shaken(module).state_dict()))
    assert sum(p.numel() for p in written.parameters()) == sum(p.numel() for p in module.parameters())
    return written.eval()


def same(written, package, tolerance=1e-5):
    torch.testing.assert_close(written, package, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("lengths", [(3, 1, 6), (4, 4), (1,)])
def test_padding(lengths):
    chapter, rng = definitions("01"), np.random.default_rng(0)
    clips = [rng.normal(size=(n, 5)).astype(np.float32) for n in lengths]
    stream, indices = Stream.from_clips(clips), np.arange(len(clips))
    package = batching.pad(stream, indices)
    for values, mask, *_ in (chapter.pad_by_hand(clips), chapter.pad(stream, indices)):
        same(values, package.values)
        assert torch.equal(package.full_mask(), torch.ones_like(package.full_mask()) if mask is None else mask)


def test_metrics():
    chapter, rng = definitions("01"), np.random.default_rng(1)
    y, s = rng.integers(-9, 10, size=300) / 3, rng.normal(0, 2, size=300)
    package = metrics.sentiment_metrics(s, y).values
    for name in ("mae", "corr", "acc7"):
        assert getattr(chapter, name)(y, s) == pytest.approx(package[name])
    for name, zeros in (("nonzero", False), ("has_zero", True)):
        truth, guess = chapter.two_classes(y, s, zeros)
        assert (truth == guess).mean() == pytest.approx(package[f"acc2_{name}"])
        assert chapter.weighted_f1(truth, guess) == pytest.approx(package[f"f1_{name}"])
        assert chapter.weighted_f1(guess, truth) == pytest.approx(package[f"f1_{name}_mult"])


@pytest.mark.parametrize(("dim", "heads"), [(8, 2), (12, 4), (6, 1)])
def test_transformer_layer(dim, heads):
    x, chapter = features("vision", dim), definitions("02")
    attention = layers.Attention(dim, heads)
    same(twin(attention, chapter.Attention(dim, heads))(x.values, x.mask), attention(x.values, mask=x.mask))
    package = layers.TransformerLayer(dim, heads)
    for written in (chapter.TransformerLayer, definitions("04").TransformerLayer):
        same(twin(package, written(dim, heads))(x.values, mask=x.mask), package(x.values, mask=x.mask))
    scores = 50 * torch.randn(3, 7)
    same(chapter.softmax(scores), scores.softmax(-1))
    same(chapter.merge_heads(chapter.split_heads(x.values, heads)), x.values)
    norm = shaken(nn.LayerNorm(dim))
    same(chapter.layer_norm(x.values, norm.weight, norm.bias), norm(x.values))
    same(chapter.add_positions(x.values), layers.Positions(dim)(x.values))
    projection = nn.Linear(dim, 5, bias=False)
    same(chapter.project(x.values, projection.weight), projection(x.values))


def test_standardisation():
    chapter, steps = definitions("02"), 7 + 3 * torch.randn(50, 4)
    package = Standardise(4)
    package.fit(Stream.from_clips([steps.numpy()]))
    same(chapter.standardise(steps, steps), package(steps))


@pytest.mark.parametrize("depth", [1, 3])
def test_modality_encoder(depth):
    chapter, x = definitions("02"), features("audio", 5)
    package = ModalityEncoder(5, dim=8, heads=2, layers=depth)
    written = twin(package, chapter.ModalityEncoder(5, 8, 2, depth), chapter.unboxed)
    same(written(x).values, package(x).values)
    assert torch.equal(written(x).mask, x.mask)


def test_readings_of_a_padded_batch():
    chapter, x = definitions("02"), features("vision", 4)
    names = {"encoder": lambda padded: padded, "head": lambda values: values}
    chapter.last_valid.__globals__.update(names)
    same(chapter.last_valid(x), torch.stack([x.values[i, n - 1] for i, n in enumerate(LENGTHS["vision"])]))


@pytest.mark.parametrize("kind", ["l2", "l1"])
def test_consistency_loss(kind):
    chapter, guess = definitions("03"), features("vision", 6)
    truth = Padded(torch.randn_like(guess.values), guess.mask)
    gap = guess.values - truth.values
    written = chapter.masked_mean(gap.square() if kind == "l2" else gap.abs(), guess.mask)
    same(losses.consistency_loss(guess, truth, kind=kind), written)


@pytest.mark.parametrize(("m", "n"), [(5, 5), (5, 12), (12, 5), (1, 4), (7, 1)])
def test_another_time_line(m, n):
    values = torch.randn(m)
    package = losses.resample(values[None, :, None], torch.tensor([m]), torch.tensor([n]), n)[0, :, 0]
    same(torch.tensor(definitions("03").on_clock(values.tolist(), n)), package)


def test_transfer_network():
    package, x = Transfer(8, 2, 2, 0.0), features("language", 8)
    same(twin(package, definitions("03").Transfer(8, 2, 2, 0.0))(x).values, package(x).values)


def test_retrieval_distances():
    """Of one clip against one, the distance is the consistency loss on the guess's time line."""
    chapter, guess, audio = definitions("03"), features("vision", 6), features("audio", 6)
    table = chapter.distances(guess, audio)
    for i, (mine, theirs) in enumerate(zip(LENGTHS["vision"], LENGTHS["audio"], strict=True)):
        one, other = guess.values[i : i + 1, :mine], audio.values[i : i + 1, :theirs]
        on_time_line = losses.resample(other, torch.tensor([theirs]), torch.tensor([mine]), mine)
        same(table[i, i], losses.consistency_loss(Padded(one, None), Padded(on_time_line, None), kind="l2"))
    assert chapter.ranks(torch.tensor([[0.3, 0.1, 0.2]])).tolist() == [[3, 1, 2]]


@pytest.mark.parametrize(("dim", "heads"), [(8, 2), (12, 3), (5, 1)])
def test_cross_modal_attention(dim, heads):
    chapter, target, source = definitions("04"), torch.randn(4, dim), torch.randn(7, dim)
    package = shaken(layers.Attention(dim, heads))
    same(chapter.many_heads(package, target, source), package(target[None], source[None])[0])
    w_q, w_k, w_v = (part.T for part in package.qkv.weight.chunk(3))
    if heads == 1:
        with torch.no_grad():
            package.qkv.bias.zero_()
        _, weights = chapter.cross_attention(target, source, w_q, w_k, w_v, d_k=dim)
        same(weights, package.weights(target[None], source[None])[0, 0])


@pytest.mark.parametrize("streams", [MODALITIES, ("language", "vision")])
def test_fusion(streams):
    chapter, heard = definitions("04"), {name: features(name, 8) for name in streams}
    package = CrossModalFusion(streams, (7,), dim=8, heads=2, layers=2, dropout=0.0)
    same(twin(package, chapter.Fusion(streams, (7,), 8, 2, 2))(heard), package(heard))


def test_objective():
    chapter, logits = definitions("05"), torch.randn(20, 7)
    scores = torch.linspace(-3, 3, 20)
    written = torch.stack([chapter.cross_entropy(*pair) for pair in zip(logits, scores, strict=True)])
    same(written.mean(), losses.task_loss(logits, scores, "cross_entropy"))
    gradient = torch.randn(30)
    clipped = nn.Parameter(torch.zeros(30))
    clipped.grad = gradient.clone()
    nn.utils.clip_grad_norm_([clipped], 0.8)
    same(chapter.clip(gradient, 0.8), clipped.grad)
    same(chapter.clip(0.01 * gradient, 0.8), 0.01 * gradient)


@pytest.mark.parametrize("seeds", [1, 4])
def test_paired_resampling(seeds):
    """The chapter's intervals and the package's, of the same gains; both are simulated, so roughly."""
    chapter, rng = definitions("06"), np.random.default_rng(seeds)
    targets = rng.normal(size=60)
    ours, theirs = rng.normal(size=(2, seeds, 60))
    gains = np.abs(ours - targets) - np.abs(theirs - targets)
    package = paired_difference("mae", ours, theirs, targets)
    low, high = np.percentile(chapter.resample(gains), [2.5, 97.5])
    assert gains.mean() == pytest.approx(package.mean)
    assert (low, high) == pytest.approx((package.low, package.high), abs=0.05 * (high - low))


@pytest.mark.parametrize(("redundancy", "laughter"), [(0.0, 0.5), (0.75, 1.0), (1.0, 2.0)])
def test_ideal_listeners(redundancy, laughter):
    size = 0.2  # so small that no score is cut at 3; the formula knows no cut
    z_l, z_v, z_a, laugh, label = size * np.random.default_rng(0).normal(size=(5, 50_000))
    voice = np.sqrt(redundancy) * (0.8 * z_l + 0.6 * z_v) + np.sqrt(1 - redundancy) * z_a
    scores = 0.7 * z_l + 0.5 * z_v + 0.7 * voice + 0.3 * label
    factors = synthetic.Factors(z_l, z_v, voice + laughter * laugh, scores)
    alone, told, _ = definitions("07").squared_errors(redundancy, laughter)
    for observed, expected in ((("language", "vision"), alone), (MODALITIES, told)):
        predicted = synthetic.ceiling(factors, observed, redundancy, laughter)
        assert np.square(scores - predicted).mean() == pytest.approx(size**2 * expected, rel=0.03)


def test_own_files_in_mults_layout(tmp_path):
    chapter = definitions("09")
    whole = synthetic.make((5, 2, 3), seed=3).dataset
    path = tmp_path / "mine.pkl"
    path.write_bytes(pickle.dumps(chapter.mult_layout(whole)))
    header, splits = readers.open_source(path)
    again = Dataset.collect(header, splits)
    for name, split in whole.splits.items():
        for modality, stream in split.streams.items():
            np.testing.assert_array_equal(again[name].streams[modality].values, stream.values)
        np.testing.assert_array_equal(again[name].targets, split.targets)


def test_a_definition_that_is_wrong_is_seen():
    """The comparison with the package is not empty: attention that forgets its mask fails it."""
    chapter, x = definitions("02"), features("vision", 8)
    package = layers.Attention(8, 2)
    written = twin(package, chapter.Attention(8, 2))
    written.weigh = lambda q, k, mask: chapter.attention_weights(q, k)
    with pytest.raises(AssertionError):
        same(written(x.values, x.mask), package(x.values, mask=x.mask))
