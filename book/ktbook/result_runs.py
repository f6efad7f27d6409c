"""Facts about the runs: a card for each data set of the result files, training times, and the cost of a run."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ktbook import generated
from ktbook.result_text import table as captioned
from ktnet_lite.config import TrainConfig
from ktnet_lite.data.doctor import PUBLISHED
from ktnet_lite.experiments.result import Result
from ktnet_lite.parameters import preset
from ktnet_lite.text import duration, markdown, size

SPEED, STEP = 5e12, 0.04  # assumed for a GPU: floating-point operations per second, and the shortest step in seconds

File = tuple[Path, Result]


class Group(NamedTuple):
    """Runs that differ only in their seed."""

    system: str
    settings: dict[str, Any]  # that differ from the defaults
    runs: list[File]  # by seed

    @property
    def used(self) -> dict[str, Any]:
        """The parameters that these runs use."""
        return self.runs[0][1].config.identity


def runs(results: pd.DataFrame) -> list[File]:
    """List the runs of a frame of results, each once, with their files."""
    return list(results[results["fill"] == ""][["path", "result"]].itertuples(index=False, name=None))


def groups(files: Iterable[File]) -> list[Group]:
    """Group runs that differ only in their seed; the group with the fewest settings comes first."""
    by_settings: dict[tuple, list[File]] = {}
    for path, result in sorted(files, key=lambda file: file[1].seed):
        settings = tuple(result.config.settings.items())
        by_settings.setdefault((str(result.config.system), settings), []).append((path, result))
    order = sorted(by_settings, key=lambda key: (key[0], len(key[1]), str(key[1])))
    return [Group(system, dict(settings), by_settings[system, settings]) for system, settings in order]


def cards(results: pd.DataFrame, address: str) -> str:
    """Write a card for each data set; ``address`` is that of the folder of result files."""
    data: dict[tuple[str, str], list[File]] = {}
    for path, result in runs(results):
        data.setdefault((result.dataset.name, result.dataset.checksum), []).append((path, result))
    return "\n\n".join(_card(*key, data[key], address) for key in sorted(data)) + "\n" if data else "No result files.\n"


def _card(name: str, checksum: str, files: list[File], address: str) -> str:
    grouped = groups(files)
    shared = {
        name: value
        for group in grouped
        for name, value in group.settings.items()
        if all(name not in other.used or other.settings.get(name) == value for other in grouped)
    }
    results = [result for _, result in files]
    clips = ", ".join(f"{count} {split}" for split, count in results[0].dataset.clips.items())
    memory = [result.peak_memory for result in results if result.peak_memory]
    facts = {
        "clips": clips or "unknown",
        "checksum": f"`{checksum[:12]}`",
        "shared settings": _listed(shared) or "the defaults",
        "machine": "; ".join(sorted({str(result.hardware) for result in results})),
        "versions": "; ".join(sorted({_versions(result) for result in results})),
        "runs": f"{len(files)}, {duration(sum(result.seconds for result in results))} in total",
    }
    rows = [("system", "other settings", "parameters", "median time", "seeds")]
    for group in grouped:
        own = {key: value for key, value in group.settings.items() if key not in shared}
        own_runs = [result for _, result in group.runs]
        rows.append(
            (
                group.system,
                _listed(own),
                f"{own_runs[0].model_parameters:,}",
                _seconds(result.seconds for result in own_runs),
                " ".join(_link(path, result, address) for path, result in group.runs),
            )
        )
    if memory:
        facts["peak memory"] = f"{size(min(memory))} to {size(max(memory))}"
    listed = "\n".join(f"- {what}: {value}" for what, value in facts.items())
    caption = f"{name}: systems, number of weights, median training time, and the result file of each seed."
    return f"## {name}, {checksum[:6]}\n\n{listed}\n\n{captioned(caption, markdown(rows))}"


def _seconds(runs: Iterable[float]) -> str:
    median = statistics.median(runs)
    return f"{median:.0f} s" if median >= 1 else "under 1 s"


def _listed(named: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(named.items()))


def _versions(result: Result) -> str:
    return _listed({"ktnet-lite": result.package, **result.libraries})


def _link(path: Path, result: Result, address: str) -> str:
    return f"[{result.seed}]({address}/{path.parent.name}/{path.name})"


def times(results: pd.DataFrame) -> str:
    """Write the median training time by system and data, one table per machine."""
    machines: dict[str, dict[tuple[str, str], list[float]]] = {}
    for _, result in runs(results):
        config = result.config
        name = (
            config.dataset if config.dataset != "synthetic" else f"synthetic, {'' if config.aligned else 'un'}aligned"
        )
        place = str(config.system), f"{name}, {config.epochs} epochs"
        machines.setdefault(str(result.hardware), {}).setdefault(place, []).append(result.seconds)
    if not machines:
        return "No result files.\n"
    parts = []
    for machine, places in sorted(machines.items()):
        systems, columns = (sorted(set(names)) for names in zip(*places, strict=True))
        rows = [("", *columns)]
        for system in systems:
            cells = (places.get((system, column)) for column in columns)
            rows.append((system, *("-" if x is None else _seconds(x) for x in cells)))
        parts.append(captioned(f"On one {machine}: median training time over all runs.", markdown(rows)))
    return "\n\n".join(parts) + "\n"


class Cost(NamedTuple):
    """The counted cost of a run of 40 epochs with the paper's settings."""

    data: str
    steps: int
    flops: dict[str, float]  # variant -> floating-point operations per step

    def seconds(self, variant: str) -> float:
        """Estimate the time on the GPU assumed above."""
        return self.steps * max(self.flops[variant] / SPEED, STEP)


def costs(variants: Sequence[str] = ("full", "ours")) -> list[Cost]:
    """Count the cost of runs on MOSI and MOSEI in the shapes of MulT's files, all clips padded to full length."""
    sys.path.insert(0, str(generated.ROOT / "benchmarks"))
    from step import SHAPES, build, full_batch, training_flops

    defaults = TrainConfig(**preset("paper"))
    batch = defaults.batch_size
    mosei = SHAPES["mosei-unaligned"]._replace(batch=batch)
    steps = mosei.language[0]
    shapes = {
        "MOSI, aligned": SHAPES["mosi-aligned"]._replace(batch=batch),
        "MOSI, unaligned": SHAPES["mosi-unaligned"]._replace(batch=batch),
        "MOSEI, aligned": mosei._replace(vision=(steps, mosei.vision[1]), audio=(steps, mosei.audio[1])),
        "MOSEI, unaligned": mosei,
    }
    counts = []
    for name, shape in shapes.items():
        clips = next(sizes[0] for sizes, data in PUBLISHED.items() if data.startswith(name.split(",")[0]))
        flops = {x: training_flops(build(shape, x), full_batch(shape, "cpu")) for x in variants}
        counts.append(Cost(name, defaults.epochs * math.ceil(clips / batch), flops))
    return counts


def assumptions() -> str:
    """State the assumptions behind the estimate for a GPU."""
    return f"{SPEED / 1e12:g} TFLOP/s in these small products, and no step in less than {STEP * 1000:g} ms"


def counted(costs: Sequence[Cost]) -> str:
    """Write a table of the floating-point operations per step and run, and the estimated time on a GPU."""
    rows = [("", "steps", "variant", "GFLOP a step", "PFLOP a run", "GPU, estimated")]
    for cost in costs:
        for variant, flops in cost.flops.items():
            run = f"{flops * cost.steps / 1e15:.2g}"
            estimate = f"{cost.seconds(variant) / 60:.2g} min"
            rows.append((cost.data, f"{cost.steps:,}", variant, f"{flops / 1e9:.3g}", run, estimate))
    caption = "Counted cost of a run of 40 epochs with the paper's settings, and its estimated time on a GPU."
    return captioned(caption, markdown(rows)) + "\n"
