"""Measure training speed on a quiet machine and beside busy loops, with torch's defaults and with the package's.

    python benchmarks/loaded.py                      # a small step of ours; about two minutes
    python benchmarks/loaded.py --set GOMP_SPINCOUNT=1000 --set OMP_WAIT_POLICY=passive    # try other settings

OpenMP threads that wait for work spin by default. As soon as anything else runs they take its core from the thread they
wait for, and training collapses. The package sets a shorter spin (:mod:`ktnet_lite.threads`). The goal, checked by
nobody but the reader: beside one busy loop per core at least half of the fair share, half of the quiet speed; and at
most 3 percent lost on a quiet machine. Settings take turns, and a figure is the median over the rounds.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import click

VARIABLES = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS"


def steps_per_second(seconds: float) -> float:
    """Time training steps of the default model on small synthetic batches, in this process."""
    import torch

    from ktnet_lite.config import TrainConfig
    from ktnet_lite.data.batching import Batches
    from ktnet_lite.training.build import build_objective
    from ktnet_lite.training.dataset import load_dataset
    from step import Settings, training_step

    config = TrainConfig(clips=96, treatment="random", layers=1)
    dataset = load_dataset(config)
    torch.manual_seed(0)
    objective = build_objective(config, dataset)
    batches = list(Batches(dataset["train"], config.batch_size, objective.modalities).epoch(0))
    step = training_step(objective, Settings("cpu", "float32", compile=False, plain_dropout=0.0))
    for batch in batches:  # warm up
        step(batch)
    print("ready", flush=True)
    sys.stdin.readline()  # until the busy loops run
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        step(batches[done % len(batches)])
        done += 1
    return done / (time.perf_counter() - start)


def measure(setting: str, loops: int, seconds: float) -> float:
    """Run :func:`steps_per_second` in a process with a setting, beside some busy loops."""
    own = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    first = "import torch" if setting != "package" else "import ktnet_lite"  # torch reads the variables when it loads
    if "=" in setting:
        own |= dict(part.split("=") for part in setting.split(","))
    code = f"{first}; from loaded import steps_per_second; print(steps_per_second({seconds}))"
    here = Path(__file__).resolve().parent
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with ExitStack() as running:
        child = running.enter_context(subprocess.Popen([sys.executable, "-c", code], cwd=here, env=own, **pipes))
        if child.stdout.readline().strip() != "ready":
            raise click.ClickException("the measured process ended early; its error is above")
        for _ in range(loops):
            loop = running.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            running.callback(loop.kill)
        return float(child.communicate("go\n")[0])


@click.command(help="Measure training speed on a quiet machine and beside busy loops.")
@click.option("--set", "settings", multiple=True, help="Another setting, NAME=VALUE[,NAME=VALUE].")
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="Of each measurement.")
@click.option("--loops", default=os.cpu_count() or 1, show_default=True, help="Busy loops.")
def main(settings: tuple[str, ...], rounds: int, seconds: float, loops: int) -> None:
    cases = [(setting, busy) for setting in ("torch", "package", *settings) for busy in (0, loops)]
    turns: list[dict[tuple[str, int], float]] = []
    for number in range(rounds):
        turns.append({})
        for setting, busy in cases:
            turns[-1][setting, busy] = rate = measure(setting, busy, seconds)
            click.echo(f"round {number + 1}, {setting}, {busy} busy loops: {rate:.2f} steps per second", err=True)
    rates = {case: statistics.median(turn[case] for turn in turns) for case in cases}
    fair = (os.cpu_count() or 1) / ((os.cpu_count() or 1) + loops)
    click.echo(f"{os.cpu_count()} cores, {loops} busy loops, {rounds} rounds; steps per second")
    for setting in dict.fromkeys(setting for setting, _ in cases):
        quiet, busy = rates[setting, 0], rates[setting, loops]
        kept = statistics.median(turn[setting, 0] / turn["torch", 0] for turn in turns)
        share = statistics.median(turn[setting, loops] / turn["torch", 0] for turn in turns) / fair
        click.echo(
            f"  {setting:40} quiet {quiet:6.2f} ({kept:.0%} of torch's default), loaded {busy:6.2f} "
            f"({share:.0%} of the fair share)"
        )


if __name__ == "__main__":
    main()
