"""Count the parameters and time a training step of every system, relative to KTNet, in one process.

    python benchmarks/systems.py                                  # aligned and unaligned MOSI shapes, on the CPU
    python benchmarks/systems.py --shape mosi-aligned --repeats 9 --json systems.json

Each system takes turns with KTNet ("ours"; A B A B), and its ratio is the median over the turns: other work on the
machine affects the ratios less than the seconds. Batches are of full length. The floors, which have no training step,
are left out.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch

from ktnet_lite.baselines import BASELINES
from ktnet_lite.config import TrainConfig
from ktnet_lite.data.batching import Batch
from ktnet_lite.model.losses import Objective
from ktnet_lite.names import MODALITIES
from ktnet_lite.parameters import preset
from ktnet_lite.training.build import build_model
from step import SHAPES, Settings, Shape, build, full_batch, take_turns, training_step


def is_aligned(shape: Shape) -> bool:
    """Tell whether all streams have the same length."""
    return len({getattr(shape, name)[0] for name in MODALITIES}) == 1


def systems_for(shape: Shape) -> list[str]:
    """List the trained systems that take such streams; those behind CTC only for unaligned streams."""
    aligned = is_aligned(shape)
    return [
        name
        for name, system in BASELINES.items()
        if not system.network.closed_form and (not system.ctc if aligned else system.unaligned)
    ]


def objective_of(name: str, shape: Shape) -> Objective:
    """Build one of KTNet's variants, or another system, with the parameters of the paper."""
    if name not in BASELINES:
        return build(shape, name)
    torch.manual_seed(0)
    config = TrainConfig(model=name, **preset("paper"))
    dims = {modality: getattr(shape, modality)[1] for modality in MODALITIES}
    return Objective(build_model(config, "sentiment", dims))


def measure(name: str, shape: Shape, batch: Batch, repeats: int, settings: Settings) -> dict[str, Any]:
    """Measure a system: its parameters, seconds per step, and their ratio to KTNet's."""
    system, ktnet = objective_of(name, shape), objective_of("ours", shape)
    parameters = sum(parameter.numel() for parameter in system.model.parameters())
    steps = [partial(training_step(objective.to(settings.device), settings), batch) for objective in (ktnet, system)]
    _, seconds, ratio = take_turns(*steps, repeats, settings.device)
    return {"system": name, "parameters": parameters, "seconds": seconds, "ratio": ratio}


@click.command(help="Count the parameters and time a training step of every system, relative to KTNet.")
@click.option("--shape", "shapes", multiple=True, type=click.Choice(list(SHAPES)), help="Default: MOSI's two.")
@click.option("--repeats", default=5, show_default=True, help="Turns of each side.")
@click.option("--device", default="cpu", show_default=True, type=click.Choice(["cpu", "cuda"]))
@click.option("--json", "path", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures there too.")
def main(shapes, repeats, device, path) -> None:
    settings = Settings(device, "float32", compile=False, plain_dropout=0.0)
    results = []
    for shape_name in shapes or ("mosi-aligned", "mosi-unaligned"):
        shape = SHAPES[shape_name]
        batch = full_batch(shape, device)
        click.echo(f"{shape_name}, batch {shape.batch}, {torch.get_num_threads()} threads, torch {torch.__version__}")
        click.echo(f"  {'system':16}{'parameters':>12}{'step, s':>10}{'of ours':>10}")
        for name in ("ours", "full", "language_vision", *systems_for(shape)):
            figures = measure(name, shape, batch, repeats, settings)
            click.echo(f"  {name:16}{figures['parameters']:12,}{figures['seconds']:10.4f}{figures['ratio']:10.2f}")
            results.append({"shape": shape_name, **figures})
    if path:
        path.write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
