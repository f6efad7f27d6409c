"""Time the scores of a clip that runs: a causal model that goes on, and the same model that begins again at every hop.

    python benchmarks/live.py                                   # ten seconds, as many steps as MOSI's clips
    python benchmarks/live.py --seconds 60 --hop 0.2 --layers 3

Untrained models of "any", random steps at even rates, one core.
"""

from __future__ import annotations

import click
import numpy as np
import torch

from ktnet_lite.config import TrainConfig
from ktnet_lite.course.small_and_live import DIMS
from ktnet_lite.deploy.bench import STEPS
from ktnet_lite.deploy.live import Restarted, played
from ktnet_lite.deploy.stream import Steps
from ktnet_lite.names import Fusion
from ktnet_lite.text import table
from ktnet_lite.training.build import build_model

LENGTH = 10.0  # seconds of a clip with STEPS steps


def figures(fusion: Fusion, seconds: float, hop: float, layers: int) -> list[tuple[str, ...]]:
    """Measure a hop's milliseconds (p50, p95) and how much faster than the clip the model is, both ways."""
    config = TrainConfig(variant="any", missing="both", fusion=fusion, layers=layers, causal=True)
    model = build_model(config, "sentiment", DIMS).eval()
    rng = np.random.default_rng(0)
    streams = {}
    for name, count in STEPS.items():
        steps = round(count * seconds / LENGTH)
        values = rng.normal(size=(steps, DIMS[name])).astype(np.float32)
        streams[name] = Steps(values, seconds * np.arange(1, steps + 1) / steps)
    rows = []
    for name, hears in (("goes on", None), ("begins again", Restarted(model))):
        ms = np.array([moment.milliseconds for moment in played(model, streams, hop, seconds, hears)])
        p50, p95 = np.percentile(ms, [50, 95])
        rows.append((fusion, name, f"{p50:.1f}", f"{p95:.1f}", f"{1000 * seconds / ms.sum():.0f}"))
    return rows


@click.command()
@click.option("--seconds", type=float, default=LENGTH, show_default=True)
@click.option("--hop", type=float, default=0.5, show_default=True, help="in seconds")
@click.option("--layers", type=click.IntRange(1), default=1, show_default=True)
def main(seconds: float, hop: float, layers: int) -> None:
    """Print a table of milliseconds a hop."""
    torch.set_num_threads(1)
    rows = [("FUSION", "MODEL", "P50", "P95", "TIMES REAL TIME")]
    for fusion in ("pairs", "bottleneck"):
        rows += figures(fusion, seconds, hop, layers)
    click.echo(table(rows))


if __name__ == "__main__":
    main()
