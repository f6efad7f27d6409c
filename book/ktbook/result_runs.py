"""What was trained, on what, in which time: a card for every data set of the result files, and the costs of a run."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ktbook import generated
from ktnet_lite.config import TrainConfig
from ktnet_lite.data.doctor import PUBLISHED
from ktnet_lite.experiments.result import Result
from ktnet_lite.text import duration, markdown, size

SPEED, STEP = 5e12, 0.04  # assumed of a GPU: floating-point operations a second, and the least seconds a step

Found = tuple[Path, Result]


class Group(NamedTuple):
    """The same training from several seeds."""

    system: str
    settings: dict[str, Any]  # what is not the default
    runs: list[Found]  # by seed

    @property
    def used(self) -> dict[str, Any]:
        """The parameters that this training run uses."""
        return self.runs[0][1].config.identity


def runs(results: pd.DataFrame) -> list[Found]:
    """The runs of a frame of results, once each, with their files."""
    return list(results[results["fill"] == ""][["path", "result"]].itertuples(index=False, name=None))


def groups(found: Iterable[Found]) -> list[Group]:
    """Trainings that differ in their seed alone."""
    its: dict[tuple, list[Found]] = {}
    for path, result in sorted(found, key=lambda run: run[1].seed):
        named = tuple(result.config.settings.items())
        its.setdefault((str(result.config.system), named), []).append((path, result))
    return [Group(system, dict(named), its[system, named]) for system, named in sorted(its, key=_order)]


def _order(group: tuple) -> tuple:
    system, named = group
    return system, len(named), str(named)


def cards(results: pd.DataFrame, address: str) -> str:
    """A card a data set, by its checksum; ``address`` is that of the folder of result files."""
    data: dict[tuple[str, str], list[Found]] = {}
    for path, result in runs(results):
        data.setdefault((result.dataset.name, result.dataset.checksum), []).append((path, result))
    return "\n\n".join(_card(*key, data[key], address) for key in sorted(data)) + "\n" if data else "No result files.\n"


def _card(name: str, checksum: str, found: list[Found], address: str) -> str:
    its = groups(found)
    shared = {
        name: value
        for group in its
        for name, value in group.settings.items()
        if all(name not in other.used or other.settings.get(name) == value for other in its)
    }
    results = [result for _, result in found]
    clips = ", ".join(f"{count} {split}" for split, count in results[0].dataset.clips.items())
    memory = [result.peak_memory for result in results if result.peak_memory]
    facts = {
        "clips": clips or "not told",
        "checksum": f"`{checksum[:12]}`",
        "settings of all": _listed(shared) or "the defaults",
        "machine": "; ".join(sorted({str(result.hardware) for result in results})),
        "versions": "; ".join(sorted({_versions(result) for result in results})),
        "trainings": f"{len(found)}, {duration(sum(result.seconds for result in results))} in all",
    }
    rows = [("system", "settings beyond these", "weights", "median time", "seeds")]
    for group in its:
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
    told = "\n".join(f"- {what}: {value}" for what, value in facts.items())
    return f"## {name}, {checksum[:6]}\n\n{told}\n\n{markdown(rows)}"


def _seconds(runs: Iterable[float]) -> str:
    middle = statistics.median(runs)
    return f"{middle:.0f} s" if middle >= 1 else "under 1 s"


def _listed(named: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(named.items()))


def _versions(result: Result) -> str:
    return _listed({"ktnet-lite": result.package, **result.libraries})


def _link(path: Path, result: Result, address: str) -> str:
    return f"[{result.seed}]({address}/{path.parent.name}/{path.name})"


def times(results: pd.DataFrame) -> str:
    """Median time of a training by system and data, one table a machine."""
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
    for machine, its in sorted(machines.items()):
        systems, columns = (sorted(set(names)) for names in zip(*its, strict=True))
        rows = [("", *columns)]
        for system in systems:
            cells = (its.get((system, column)) for column in columns)
            rows.append((system, *("-" if x is None else _seconds(x) for x in cells)))
        parts += [f"On one {machine}:", markdown(rows)]
    return "\n\n".join(parts) + "\n"


class Cost(NamedTuple):
    """A training of 40 epochs, counted."""

    data: str
    steps: int
    flops: dict[str, float]  # variant -> operations of a step

    def seconds(self, variant: str) -> float:
        """An estimate for a GPU as assumed above."""
        return self.steps * max(self.flops[variant] / SPEED, STEP)


def costs(variants: Sequence[str] = ("full", "ours")) -> list[Cost]:
    """Trainings on MOSI and MOSEI in the shapes of MulT's files, every clip padded to full length."""
    sys.path.insert(0, str(generated.ROOT / "benchmarks"))
    from step import SHAPES, build, full_batch, training_flops

    defaults = TrainConfig()
    batch = defaults.batch_size
    mosei = SHAPES["mosei-unaligned"]._replace(batch=batch)
    steps = mosei.language[0]
    shapes = {
        "MOSI, aligned": SHAPES["mosi-aligned"]._replace(batch=batch),
        "MOSI, unaligned": SHAPES["mosi-unaligned"]._replace(batch=batch),
        "MOSEI, aligned": mosei._replace(vision=(steps, mosei.vision[1]), audio=(steps, mosei.audio[1])),
        "MOSEI, unaligned": mosei,
    }
    found = []
    for name, shape in shapes.items():
        clips = next(its[0] for its, known in PUBLISHED.items() if known.startswith(name.split(",")[0]))
        flops = {x: training_flops(build(shape, x), full_batch(shape, "cpu")) for x in variants}
        found.append(Cost(name, defaults.epochs * math.ceil(clips / batch), flops))
    return found


def assumptions() -> str:
    """What the estimate for a GPU rests on."""
    return f"{SPEED / 1e12:g} TFLOP/s in these small products, and no step in less than {STEP * 1000:g} ms"


def counted(its: Sequence[Cost]) -> str:
    """Floating-point operations of a step and of a run, and what a GPU might need."""
    rows = [("", "steps", "variant", "GFLOP a step", "PFLOP a run", "GPU, estimated")]
    for cost in its:
        for variant, flops in cost.flops.items():
            run = f"{flops * cost.steps / 1e15:.2g}"
            estimate = f"{cost.seconds(variant) / 60:.2g} min"
            rows.append((cost.data, f"{cost.steps:,}", variant, f"{flops / 1e9:.3g}", run, estimate))
    return markdown(rows) + "\n"
