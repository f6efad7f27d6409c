"""Time a training step and an inference pass of KTNet and of a plain reference, in one process.

The reference (``plain.py``) is the same network with the same weights, computed as MulT's code does.

    python benchmarks/step.py                              # the three shapes, variants full and ours, on the CPU
    python benchmarks/step.py --shape mosi-unaligned --repeats 9 --json step.json
    python benchmarks/step.py --device cuda --precision bf16 --compile

Ours and the reference take turns (A B A B), and a ratio is the median over the turns: other work on the machine affects
the ratios less than the seconds.
"""

from __future__ import annotations

import copy
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ktnet_lite.data.batching import Batch, Batches, collate
from ktnet_lite.data.schema import Split, Stream
from ktnet_lite.deploy import bench
from ktnet_lite.model.encoder import ModalityEncoder
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.losses import Objective
from ktnet_lite.model.targets import AudioTarget
from ktnet_lite.names import MODALITIES, Precision
from ktnet_lite.training.runtime import PRECISIONS, autocast
from plain import plain

GRID = 50  # steps of the coarse time grid
MOSI_FILL = 12.6 / 50  # mean share of MulT's 50 padded steps that the words of a MOSI clip fill


class Shape(NamedTuple):
    """Batch size, and (steps, features) of each modality."""

    batch: int
    language: tuple[int, int]
    vision: tuple[int, int]
    audio: tuple[int, int]


SHAPES = {
    "mosi-aligned": Shape(24, (50, 300), (50, 20), (50, 5)),
    "mosi-unaligned": Shape(24, (50, 300), (500, 20), (375, 5)),
    "mosei-unaligned": Shape(16, (50, 300), (500, 35), (500, 74)),
    "tiny": Shape(4, (4, 6), (11, 5), (9, 3)),
}


class Settings(NamedTuple):
    """Settings of both sides."""

    device: str
    precision: Precision
    compile: bool  # only ours
    plain_dropout: float  # only the reference, on attention weights and ReLU
    fused: bool = True  # Adam as in `fit`; the reference uses torch's default

    def of(self, side: str) -> Settings:
        """Return the settings of a side; the reference has no compilation and no fused optimizer."""
        return self if side == "ours" else self._replace(compile=False, fused=False)


def random_split(shape: Shape, clips: int, fill: float = 1.0) -> Split:
    """Make random clips of full length, or of MOSI-like lengths: Gamma distributed, of shape 2 and with mean ``fill``.

    All streams of a clip have the same share of their full lengths, since they span the same time.
    """
    rng = np.random.default_rng(0)
    shares = np.ones(clips) if fill == 1 else np.minimum(rng.gamma(2.0, fill / 2.0, clips), 1.0)
    streams = {}
    for name in MODALITIES:
        steps, features = getattr(shape, name)
        lengths = np.maximum(np.round(shares * steps), 1).astype(np.int64)
        streams[name] = Stream(rng.standard_normal((lengths.sum(), features), dtype=np.float32), lengths)
    scores = rng.uniform(-3, 3, clips).astype(np.float32)
    return Split(streams, scores, tuple(str(i) for i in range(clips)))


def full_batch(shape: Shape, device: str, grid: int | None = None) -> Batch:
    """Make one batch of full length, on a time grid if one is given."""
    split = random_split(shape, shape.batch)
    return collate(split.on_grid(grid) if grid else split, range(shape.batch), MODALITIES).to(device)


def build(shape: Shape, variant: str) -> Objective:
    """Build the default network and loss; for "ours" with a frozen audio encoder."""
    torch.manual_seed(0)
    dims = {name: getattr(shape, name)[1] for name in MODALITIES}
    model = KTNet(dims, (7,), variant)
    audio = AudioTarget(ModalityEncoder(dims["audio"], 40, 8, 3, 0.1), "random", (7,)) if variant == "ours" else None
    return Objective(model, audio, {"vision": 1.0, "language": 1.0})


def sides(shape: Shape, variant: str, settings: Settings) -> dict[str, Objective]:
    """Build ours and the reference, with the same weights, on the device."""
    objective = build(shape, variant).to(settings.device)
    return {"ours": objective, "reference": plain(objective, settings.plain_dropout)}


def training_step(objective: Objective, settings: Settings) -> Callable[[Batch], None]:
    """Return a function that does one training step: forward, loss, backward, clip, Adam."""
    trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-3, fused=settings.fused)
    objective.train()
    module = torch.compile(objective) if settings.compile else objective

    def step(batch: Batch) -> None:
        with autocast(torch.device(settings.device), settings.precision):
            loss = module(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 0.8)
        optimizer.step()

    return step


def inference(objective: Objective, settings: Settings) -> Callable[[Batch], Tensor]:
    """Return a function that does one forward pass, without dropout and gradients."""
    model = objective.eval().model
    module = torch.compile(model) if settings.compile else model

    @torch.inference_mode()
    def infer(batch: Batch) -> Tensor:
        with autocast(torch.device(settings.device), settings.precision):
            return module(batch.streams).logits

    return infer


def seconds(function: Callable[[], Any], device: str) -> float:
    """Measure the wall time of one call, including the device's work."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    function()
    wait()
    return time.perf_counter() - start


def take_turns(
    ours: Callable[[], Any], other: Callable[[], Any], repeats: int, device: str
) -> tuple[float, float, float]:
    """Return the median seconds of each, and the median ratio other / ours of a turn, after one warm-up call each."""
    ours(), other()
    turns = [(seconds(ours, device), seconds(other, device)) for _ in range(repeats)]
    return (*(statistics.median(side) for side in zip(*turns, strict=True)), statistics.median(b / a for a, b in turns))


def parity(pair: dict[str, Objective], batch: Batch) -> float:
    """Return the largest difference between the logits of both sides, in full float32 and without dropout."""
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
        ours, reference = (side.eval().model(batch.streams).logits for side in pair.values())
    return (ours - reference).abs().max().item()


def training_flops(reference: Objective, batch: Batch) -> int:
    """Count the floating-point operations in the matrix products of one training step, without computing them.

    They are counted on the reference, because the fused kernel of ours computes some products twice.
    """
    reference = copy.deepcopy(reference).to("meta").train()
    with FlopCounterMode(display=False) as counter:
        reference(batch.to("meta"))["loss"].backward()
    return counter.get_total_flops()


def matmul_peak(settings: Settings, size: int = 2048, repeats: int = 10) -> float:
    """Measure the highest number of floating-point operations per second of a square matrix product."""
    matrix = torch.randn(size, size, dtype=PRECISIONS[settings.precision], device=settings.device)
    return 2 * size**3 / min(seconds(lambda: matrix @ matrix, settings.device) for _ in range(repeats))


def step_memory(shape: Shape, variant: str, side: str, settings: Settings) -> float | None:
    """Measure the peak memory of one training step, in GiB: of the GPU, or of this process; None on Windows."""
    training_step(sides(shape, variant, settings)[side], settings.of(side))(full_batch(shape, settings.device))
    if settings.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    peak = bench.peak_memory()
    return None if peak is None else peak / 2**30


def peak_memory(shape: Shape, variant: str, settings: Settings) -> dict[str, float | None]:
    """Run :func:`step_memory` for both sides, each in its own process.

    On Linux, a process starts with the peak of its parent, so call this before the parent grows.
    """
    memory = {}
    for side in ("ours", "reference"):
        with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
            memory[side] = pool.submit(step_memory, shape, variant, side, settings._replace(compile=False)).result()
    return memory


def compare(shape: Shape, variant: str, repeats: int, settings: Settings) -> dict[str, Any]:
    """Measure ours and the reference."""
    pair = sides(shape, variant, settings)
    batch = full_batch(shape, settings.device)
    result: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in pair["ours"].model.parameters()),
        "gflop": training_flops(pair["reference"], batch) / 1e9,
        "parity": parity(pair, batch),
        "peak_gflops": matmul_peak(settings) / 1e9,
    }
    for kind, make in (("training", training_step), ("inference", inference)):
        ours = partial(make(pair["ours"], settings), batch)
        reference = partial(make(pair["reference"], settings.of("reference")), batch)
        times = take_turns(ours, reference, repeats, settings.device)
        result[kind] = dict(zip(("ours", "reference", "ratio"), times, strict=True))
    result["share_of_peak"] = {
        side: result["gflop"] / result["training"][side] / result["peak_gflops"] for side in pair
    }
    return result


def extras(shape: Shape, variant: str, repeats: int, settings: Settings) -> dict[str, float]:
    """Measure further speed-ups, as ratios of our own training steps.

    ``trimmed``: clips of MOSI-like lengths in length-bucketed, trimmed batches, against batches padded to full length.
    ``grid``: audio and vision averaged onto the coarse time grid, against full length; this changes the input.
    """
    step = training_step(build(shape, variant).to(settings.device), settings._replace(compile=False))
    clips = random_split(shape, 8 * shape.batch, MOSI_FILL)
    trimmed = list(Batches(clips, shape.batch, MODALITIES, settings.device).epoch(0))
    full, coarse = full_batch(shape, settings.device), full_batch(shape, settings.device, GRID)

    def epoch() -> None:
        for batch in trimmed:
            step(batch)

    _, _, by_length = take_turns(epoch, partial(step, full), repeats, settings.device)
    _, _, by_grid = take_turns(partial(step, coarse), partial(step, full), repeats, settings.device)
    return {"trimmed": by_length * len(trimmed), "grid": by_grid}


def report(result: dict[str, Any]) -> str:
    """Write the figures of one shape and variant as text."""
    lines = [
        f"{result['shape']}, {result['variant']}, batch {result['batch']}: {result['parameters']:,} parameters, "
        f"{result['gflop']:.1f} GFLOP a training step; outputs differ by {result['parity']:.1e} at most"
    ]
    for kind in ("training", "inference"):
        times = result[kind]
        lines.append(
            f"  {kind:9s}  ours {times['ours']:8.4f} s   reference {times['reference']:8.4f} s   "
            f"ratio {times['ratio']:5.2f}"
        )
    share, memory = result["share_of_peak"], result["memory_gib"]
    gib = {side: "not measured" if size is None else f"{size:.2f} GiB" for side, size in memory.items()}
    return "\n".join(
        [
            *lines,
            f"  of the matmul peak, {result['peak_gflops']:.0f} GFLOP/s: ours {share['ours']:.1%}, "
            f"reference {share['reference']:.1%}; peak memory: ours {gib['ours']}, reference {gib['reference']}",
            f"  on top: length-bucketed, trimmed batches x {result['trimmed']:.1f} (clips of MOSI-like lengths); "
            f"time grid of {GRID} steps x {result['grid']:.1f}",
        ]
    )


@click.command(help="Time a training step and an inference pass of KTNet and of a plain reference.")
@click.option("--shape", "shapes", multiple=True, type=click.Choice(list(SHAPES)), help="Default: all but tiny.")
@click.option("--variant", "variants", multiple=True, default=("full", "ours"), help="Default: full and ours.")
@click.option("--repeats", default=5, show_default=True, help="Turns of each side.")
@click.option("--device", default="cpu", show_default=True, type=click.Choice(["cpu", "cuda"]))
@click.option("--precision", default="float32", show_default=True, type=click.Choice(["float32", "bf16", "fp16"]))
@click.option("--compile", is_flag=True, help="torch.compile, on our side.")
@click.option("--plain-dropout", default=0.1, show_default=True, help="Reference: on attention weights and ReLU.")
@click.option("--json", "path", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures there too.")
def main(shapes, variants, repeats, device, precision, compile, plain_dropout, path) -> None:
    settings = Settings(device, precision, compile, plain_dropout)
    machine = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    header = {"machine": machine, "torch": torch.__version__, "repeats": repeats, **settings._asdict()}
    click.echo(", ".join(f"{key} {value}" for key, value in header.items()))
    cases = [(name, variant) for name in shapes or list(SHAPES)[:-1] for variant in variants]
    memory = {case: peak_memory(SHAPES[case[0]], case[1], settings) for case in cases}
    results = []
    for name, variant in cases:
        shape = SHAPES[name]
        figures = compare(shape, variant, repeats, settings) | extras(shape, variant, repeats, settings)
        case = {"shape": name, "variant": variant, "batch": shape.batch, "memory_gib": memory[name, variant]}
        results.append(case | figures)
        click.echo(report(results[-1]))
    if path:
        path.write_text(json.dumps({**header, "results": results}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
