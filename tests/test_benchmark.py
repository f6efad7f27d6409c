"""The benchmark: the plain reference is the same network, the figures are counted right, the script runs."""

from __future__ import annotations

import json
import re
import sys

import pytest
import torch
from click.testing import CliRunner
from torch import nn

import peers
import step
import systems
from ktnet_lite.data.batching import collate
from ktnet_lite.model.fast import Dropout
from ktnet_lite.model.layers import Attention
from ktnet_lite.names import MODALITIES, VARIANTS
from plain import PlainAttention, plain
from step import SHAPES, build, full_batch, parity, random_split, take_turns, training_flops

TINY = SHAPES["tiny"]


def padded_batch():
    batch = collate(random_split(TINY, 5, fill=0.5), range(5), MODALITIES)
    assert all(stream.mask is not None for stream in batch.streams.values())
    return batch


def without_dropout(objective):
    for module in objective.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return objective


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant != "any"])
@pytest.mark.parametrize("padded", [False, True])
def test_reference_gives_the_same_outputs(variant, padded):
    ours = build(TINY, variant)
    batch = padded_batch() if padded else full_batch(TINY, "cpu")
    assert parity({"ours": ours, "reference": plain(ours, 0.1)}, batch) < 1e-5


def test_parity_notices_a_changed_weight():
    ours = build(TINY, "full")
    reference = plain(ours, 0.1)
    reference.model.fusion.cross_modal["audio_to_language"].layers[1].attention.key.weight.data *= 2
    assert parity({"ours": ours, "reference": reference}, full_batch(TINY, "cpu")) > 1e-4


@pytest.mark.parametrize("variant", ["full", "ours"])
def test_reference_trains_alike(variant):
    """Same loss, as many parameters to train, and the same gradients, projections by projection."""
    ours = without_dropout(build(TINY, variant)).train()
    reference = plain(ours, 0.0).train()
    batch = padded_batch()
    for side in (ours, reference):
        side(batch)["loss"].backward()

    def trained(side):
        return sum(parameter.numel() for parameter in side.parameters() if parameter.requires_grad)

    assert trained(ours) == trained(reference)
    mine = ours.model.fusion.cross_modal["vision_to_language"].layers[0].attention
    theirs = reference.model.fusion.cross_modal["vision_to_language"].layers[0].attention
    split = [linear.weight.grad for linear in (theirs.query, theirs.key, theirs.value)]
    assert mine.qkv.weight.grad.abs().max() > 1e-4
    torch.testing.assert_close(torch.cat(split), mine.qkv.weight.grad, atol=1e-6, rtol=1e-3)
    convolution = reference.model.encoders["language"].embedding.project.convolution
    torch.testing.assert_close(
        convolution.weight.grad.squeeze(-1),
        ours.model.encoders["language"].embedding.project.weight.grad,
        atol=1e-6,
        rtol=1e-3,
    )


def test_reference_drops_attention_weights():
    fused = Attention(8, 2)
    x = torch.randn(6, 3, 8)  # (T, B, d)
    _, kept = PlainAttention(fused, 0.0).train()(x, x, x, None)
    _, dropped = PlainAttention(fused, 0.5).train()(x, x, x, None)
    torch.testing.assert_close(kept.sum(-1), torch.ones(3, 6))
    assert not torch.allclose(dropped.sum(-1), torch.ones(3, 6))


def test_flops_of_a_known_product():
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(TINY.language[1], 7))

        def forward(self, batch):
            return {"loss": (batch.streams["language"].values @ self.weight).sum()}

    steps, features = TINY.language
    forward = 2 * TINY.batch * steps * features * 7
    assert training_flops(Product(), full_batch(TINY, "cpu")) == 2 * forward  # and as many for the weight's gradient


def test_ratio_is_the_median_of_the_turns(monkeypatch):
    times = iter([1.0, 4.0, 2.0, 6.0, 1.0, 9.0])  # ratios 4, 3, 9
    monkeypatch.setattr("step.seconds", lambda function, device: next(times))
    assert take_turns(lambda: None, lambda: None, 3, "cpu") == (1.0, 6.0, 4.0)


def test_random_clips_are_mosi_like():
    lengths = random_split(SHAPES["mosi-unaligned"], 2000, fill=12.6 / 50).streams["language"].lengths
    assert 11.5 < lengths.mean() < 13.5
    assert lengths.min() >= 1
    assert lengths.max() <= 50


@pytest.mark.process
def test_script_prints_and_writes_its_figures(tmp_path):
    path = tmp_path / "step.json"
    run = CliRunner().invoke(step.main, f"--shape tiny --variant ours --repeats 1 --json {path}")
    assert run.exit_code == 0, run.output
    for word in ("ratio", "parameters", "GFLOP", "matmul peak", "peak memory", "trimmed", "time grid"):
        assert word in run.output
    (result,) = json.loads(path.read_text(encoding="utf-8"))["results"]
    assert result["variant"] == "ours"
    assert result["parity"] < 1e-5
    assert result["gflop"] > 0
    assert all(result["training"][key] > 0 and result["inference"][key] > 0 for key in ("ours", "reference", "ratio"))
    assert 0 < result["share_of_peak"]["ours"] < 1


MULT = {  # what stands for MulT's code: the names that the script uses
    "modules/position_embedding.py": "class SinusoidalPositionalEmbedding:\n    forward = None\n",
    "src/models.py": """from torch import nn
class MULTModel(nn.Module):
    def __init__(self, options):
        super().__init__()
        assert (options.num_heads, options.layers, options.lonly, options.attn_mask) == (5, 5, True, True)
        self.maps = nn.ModuleList([nn.Linear(n, 1) for n in (options.orig_d_l, options.orig_d_a, options.orig_d_v)])
    def forward(self, *streams):
        return sum(linear(x.mean(1)) for linear, x in zip(self.maps, streams, strict=True)), None
""",
}


@pytest.mark.slow
def test_mults_code_is_timed_and_profiled_beside_ours(tmp_path, monkeypatch):
    for name, code in MULT.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(code, encoding="utf-8")
        for module in (name.partition("/")[0], name.removesuffix(".py").replace("/", ".")):
            monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "peers.json"
    options = f"--mult {tmp_path} --shape tiny --repeats 1 --profile --json {path}"
    shown = CliRunner().invoke(peers.main, options)
    assert shown.exit_code == 0, shown.output
    mult, *own = results = json.loads(path.read_text(encoding="utf-8"))
    assert [result["side"] for result in results] == ["MulT's code", "mult", "ours"]
    assert mult["parameters"] == sum(getattr(TINY, name)[1] + 1 for name in MODALITIES)
    assert all(result["seconds"] > 0 and result["ratio"] > 0 for result in own)
    for result in results:
        assert re.search(rf"^{result['side']} +{result['parameters']:,} ", shown.output, re.MULTILINE)
    shares = [float(share) for share in re.findall(r"^[a-z ]+  +([\d.]+)%  ", shown.output, re.MULTILINE)]
    assert sum(shares) == pytest.approx(300, abs=2)  # of three profiles
    assert shown.output.count("attention        ") == 2


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_byte_dropout(p):
    """The share and the scale of what is kept, at each of the eight places in a random word."""
    dropped = Dropout(p).train()(torch.ones(80_000, 8))
    kept = dropped != 0
    share = round(256 * (1 - p)) / 256
    assert (kept.float().mean(0) - share).abs().max() < 6 * (share * (1 - share) / 80_000) ** 0.5
    assert torch.equal(dropped[kept].unique(), torch.tensor([1 / share]))
    neighbours = torch.corrcoef(kept.float().T) - torch.eye(8)
    assert neighbours.abs().max() < 0.02


def test_byte_dropout_at_its_edges():
    x = torch.randn(5, 3, requires_grad=True)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0).train()(x), x)
    assert torch.isfinite(Dropout(0.99).train()(x)).all()
    torch.manual_seed(0)
    y = Dropout(0.5).train()(x)
    y.sum().backward()
    assert torch.equal(x.grad, torch.where(y == 0, 0.0, 2.0))
    half = Dropout(0.5).train()(x.detach().bfloat16())
    assert half.dtype == torch.bfloat16
    torch.manual_seed(0)
    assert torch.equal(Dropout(0.5).train()(x), y)


def test_the_systems_are_measured_beside_ktnet(tmp_path):
    path = tmp_path / "systems.json"
    shown = CliRunner().invoke(systems.main, f"--shape tiny --repeats 1 --json {path}")
    assert shown.exit_code == 0, shown.output
    results = json.loads(path.read_text(encoding="utf-8"))
    names = ["ours", "full", "language_vision", "mult", "mctn", "raven", "mmin", "emt_dlfr", "ctc_mctn", "ctc_raven"]
    assert [result["system"] for result in results] == names
    by_name = {result["system"]: result for result in results}
    assert by_name["ours"]["parameters"] == sum(p.numel() for p in build(TINY, "ours").model.parameters())
    assert all(result["seconds"] > 0 and result["ratio"] > 0 for result in results)
    assert f"{by_name['mult']['parameters']:,}" in shown.output
