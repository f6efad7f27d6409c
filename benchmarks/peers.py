"""Time a training step of MulT's public code beside ours, at the same size, in one process.

    git clone https://github.com/yaohungt/Multimodal-Transformer FOLDER
    OMP_NUM_THREADS=2 python benchmarks/peers.py --mult FOLDER
    OMP_NUM_THREADS=2 python benchmarks/peers.py --mult FOLDER --shape mosi-unaligned --profile

All have the size of MulT's code, d 30, five heads and five layers, and batches of full length. Ours are the baseline
``mult`` and KTNet ``ours``. The sides take turns (A B A B), and a ratio is the median over the turns: other work on the
machine affects the ratios less than the seconds. ``--profile`` shows where the time of a step goes.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import click
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from ktnet_lite.config import TrainConfig
from ktnet_lite.data.batching import Batch
from ktnet_lite.model.encoder import ModalityEncoder
from ktnet_lite.model.losses import Objective
from ktnet_lite.model.targets import AudioTarget
from ktnet_lite.names import MODALITIES
from ktnet_lite.text import table
from ktnet_lite.training.build import build_model
from step import SHAPES, Settings, Shape, full_batch, matmul_peak, take_turns, training_step

SIZE = {"dim": 30, "heads": 5, "layers": 5}
# The defaults of MulT's main.py.
DROPOUT = {"attn_dropout": 0.1, "attn_dropout_a": 0.0, "attn_dropout_v": 0.0, "relu_dropout": 0.1}
DROPOUT |= {"embed_dropout": 0.25, "res_dropout": 0.1, "out_dropout": 0.0}
KINDS = {  # of a kernel, by a part of its name; the first that fits
    "attention": ("scaled_dot", "flash"),
    "matrix products": ("addmm", "bmm", "::mm", "convolution", "mkldnn"),
    "random numbers": ("random", "bernoulli", "dropout"),
    "arithmetic": ("::add", "::mul", "::div", "::sum", "relu", "threshold", "::le", "::where", "::to"),
    "norm": ("layer_norm",),
    "softmax": ("softmax",),
    "optimizer": ("adam", "foreach", "_norm"),
    "copies": ("copy", "cat", "contiguous", "clone", "fill", "zero", "pad"),
}


class MulTStep(nn.Module):
    """MulT's own network behind the interface of an objective: a batch -> ``{"loss": ...}``, its L1 loss."""

    def __init__(self, folder: Path, shape: Shape):
        super().__init__()
        sys.path.insert(0, str(folder))
        from modules.position_embedding import SinusoidalPositionalEmbedding  # MulT's, as the next
        from src.models import MULTModel

        if not hasattr(SinusoidalPositionalEmbedding, "plain"):  # newer torch: views of contiguous tensors only
            SinusoidalPositionalEmbedding.plain = SinusoidalPositionalEmbedding.forward
            SinusoidalPositionalEmbedding.forward = lambda self, steps: self.plain(steps.contiguous())
        torch.manual_seed(0)
        widths = {f"orig_d_{name[0]}": getattr(shape, name)[1] for name in MODALITIES}
        size = {"num_heads": SIZE["heads"], "layers": SIZE["layers"], "attn_mask": True, "output_dim": 1}
        self.model = MULTModel(SimpleNamespace(**widths, **size, **DROPOUT, lonly=True, vonly=True, aonly=True))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        scores, _ = self.model(*(batch.streams[name].values for name in ("language", "audio", "vision")))
        return {"loss": nn.functional.l1_loss(scores[:, 0], batch.targets)}


def ours(model: str, shape: Shape) -> Objective:
    """Build the baseline ``mult``, or KTNet ``ours`` with a frozen audio encoder, at MulT's size."""
    torch.manual_seed(0)
    config = TrainConfig(model=model, **SIZE, kernel=1, pooling="last", dropout=DROPOUT["res_dropout"])
    dims = {name: getattr(shape, name)[1] for name in MODALITIES}
    network = build_model(config, "sentiment", dims)
    if model == "mult":
        return Objective(network)
    encoder = ModalityEncoder(dims["audio"], *SIZE.values(), config.dropout)
    return Objective(network, AudioTarget(encoder, "random", network.outputs), {"vision": 1.0, "language": 1.0})


def shares(step: Callable[[], None]) -> list[tuple[str, str, str]]:
    """Profile one call: the share of each kind of kernel, and the three largest kernels of it."""
    step()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        step()
    kernels = [(event.key, event.self_cpu_time_total) for event in found.key_averages()]
    total = sum(time for _, time in kernels)
    kinds: Counter[str] = Counter()
    parts: dict[str, list[tuple[float, str]]] = {}
    for name, time in kernels:
        kind = next((kind for kind, marks in KINDS.items() if any(mark in name.lower() for mark in marks)), "the rest")
        kinds[kind] += time
        parts.setdefault(kind, []).append((time / total, name.removeprefix("aten::")))
    largest = {kind: sorted(part, reverse=True)[:3] for kind, part in parts.items()}
    return [
        (kind, f"{time / total:.1%}", ", ".join(f"{name} {share:.1%}" for share, name in largest[kind]))
        for kind, time in kinds.most_common()
    ]


@click.command(help="Time a training step of MulT's public code beside ours, at the same size.")
@click.option(
    "--mult", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="MulT's code."
)
@click.option("--shape", "shapes", multiple=True, type=click.Choice(list(SHAPES)), help="Default: all but tiny.")
@click.option("--repeats", default=5, show_default=True, help="Turns of each side.")
@click.option("--profile", "profiled", is_flag=True, help="Show where the time of a step goes.")
@click.option("--json", "path", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures there too.")
def main(mult: Path, shapes: tuple[str, ...], repeats: int, profiled: bool, path: Path | None) -> None:
    warnings.filterwarnings("ignore", message="The number of elements in the out tensor")  # MulT's positions
    settings = Settings("cpu", "float32", compile=False, plain_dropout=0.0)
    peak, results = matmul_peak(settings), []
    click.echo(f"{torch.get_num_threads()} threads, torch {torch.__version__}, matmul peak {peak / 1e9:.0f} GFLOP/s")
    for name in shapes or list(SHAPES)[:-1]:
        shape = SHAPES[name]
        batch, theirs = full_batch(shape, "cpu"), MulTStep(mult, shape)
        reference = partial(training_step(theirs, settings.of("reference")), batch)
        with FlopCounterMode(display=False) as counter:  # it does not know the fused kernel of our baseline
            reference()
        flops = counter.get_total_flops()
        rows = [(f"{name}, batch {shape.batch}", "PARAMETERS", "STEP, S", "TIMES AS FAST", "OF THE MATMUL PEAK")]
        found, steps = {}, {"MulT's code": reference}
        for side, objective in {"mult": ours("mult", shape), "ours": ours("ktnet", shape)}.items():
            steps[side] = partial(training_step(objective, settings), batch)
            seconds, slow, ratio = take_turns(steps[side], reference, repeats, "cpu")
            found |= {"MulT's code": (theirs, slow, 1.0), side: (objective, seconds, ratio)}
        for side, (objective, seconds, ratio) in found.items():
            parameters = sum(parameter.numel() for parameter in objective.parameters() if parameter.requires_grad)
            share = "-" if side == "ours" else f"{flops / seconds / peak:.1%}"
            rows.append((side, f"{parameters:,}", f"{seconds:.3f}", f"{ratio:.2f}", share))
            results.append({"shape": name, "side": side, "seconds": seconds, "ratio": ratio, "parameters": parameters})
            if profiled:
                click.echo(f"{side}, {name}\n{table([('KERNELS', 'SHARE', 'LARGEST'), *shares(steps[side])])}\n")
        click.echo(f"{table(rows)}\n")
    if path:
        path.write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
