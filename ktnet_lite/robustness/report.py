"""One JSON file, one table and one picture of systems in every condition; each conclusion with its paired interval."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from scipy.integrate import trapezoid

from ktnet_lite import __version__, text
from ktnet_lite.data.schema import Dataset, Split
from ktnet_lite.files import write
from ktnet_lite.measures.metrics import METRICS, measured
from ktnet_lite.measures.statistics import PER_CLIP, TESTED, paired_difference
from ktnet_lite.names import Modality, Task
from ktnet_lite.reporting.compare import Comparison, corrected
from ktnet_lite.reporting.letters import literal
from ktnet_lite.reporting.plots import COLOURS, GREY, figure
from ktnet_lite.robustness.conditions import FAMILIES, in_order

CHIEF: dict[Task, str] = {task: metrics[0] for task, metrics in TESTED.items()}  # of pictures and conclusions


class Trial(NamedTuple):
    """Systems on the same clips in the same conditions."""

    dataset: Dataset
    split: str
    seed: int
    masks: Mapping[str, Mapping[Modality, np.ndarray]]  # by condition: of each step, (rows,) bool
    systems: Mapping[str, Mapping[str, np.ndarray]]  # by label and condition: scores (N,) or (N, 4)

    @property
    def clips(self) -> Split:
        """The clips that are tested."""
        return self.dataset[self.split]

    @property
    def families(self) -> dict[str, dict[float, list[str]]]:
        """The conditions of each family by their rate."""
        found: dict[str, dict[float, list[str]]] = {}
        for condition in in_order(self.masks):
            if " " in condition:
                family, rate, _ = condition.rsplit(" ", 2)
                found.setdefault(family, {}).setdefault(float(rate), []).append(condition)
        return found

    @property
    def subsets(self) -> list[str]:
        """The conditions that are subsets of the modalities, the complete clips first."""
        return [condition for condition in in_order(self.masks) if " " not in condition]


def metrics(trial: Trial, label: str) -> dict[str, dict[str, float | None]]:
    """Compute a system's metrics in every condition."""
    scores, targets = trial.systems[label], trial.clips.targets
    return {condition: measured(scores[condition], targets).values for condition in in_order(trial.masks)}


def curves(trial: Trial, found: Mapping[str, Mapping[str, float | None]], metric: str) -> dict[str, dict[float, float]]:
    """Average a metric over the draws of each family, by rate; rate 0 is the complete clip."""
    complete = found[trial.subsets[0]][metric]
    lines: dict[str, dict[float, float]] = {}
    for family, rates in trial.families.items():
        line = {0.0: complete}
        for rate, conditions in rates.items():
            values = [found[condition][metric] for condition in conditions]
            line[rate] = None if None in values else float(np.mean(values))  # type: ignore[arg-type]
        if None not in line.values():
            lines[family] = line  # type: ignore[assignment]
    return lines


def area(line: Mapping[float, float]) -> float:
    """Area under a line of a metric over rates (AUILC), by trapezoids, divided by the range of the rates.

    So it is the mean of the metric over the range, which belongs beside it: areas of other ranges are other quantities.
    """
    rates = sorted(line)
    return float(trapezoid([line[rate] for rate in rates], rates) / (rates[-1] - rates[0]))


def conclusions(trial: Trial) -> list[Comparison]:
    """Compare paired over clips: the first system with itself complete, and with each other system in every condition.

    A comparison over a family is one of the errors of each clip, averaged over the family's rates and draws. p-values
    are corrected for all comparisons together.
    """
    metric, targets = CHIEF[trial.dataset.header.task], trial.clips.targets
    (label, first), *rest = trial.systems.items()
    complete = trial.subsets[0]

    def errors(scores: Mapping[str, np.ndarray], conditions: Iterable[str]) -> np.ndarray:
        """Return the metric of each clip, (1, N)."""
        return PER_CLIP[metric](np.stack([scores[name] for name in conditions]), targets).mean(0, keepdims=True)

    def compared(column: str, conditions: Iterable[str], other: str, theirs: np.ndarray) -> Comparison:
        nothing = np.zeros(len(targets))  # the errors know the targets
        found = paired_difference(lambda values, _: values, errors(first, conditions), theirs, nothing)
        return Comparison(column, label, other, metric, found, found.p)

    whole = errors(first, [complete])
    made = [compared(subset, [subset], f"{label}, {complete}", whole) for subset in trial.subsets[1:]]
    columns = {subset: [subset] for subset in trial.subsets}
    columns |= {family: list(chain.from_iterable(rates.values())) for family, rates in trial.families.items()}
    for other, scores in rest:
        made += [compared(column, names, other, errors(scores, names)) for column, names in columns.items()]
    return corrected(made)


def content(trial: Trial) -> dict[str, Any]:
    """Return what the JSON file holds: it depends on clips, masks and systems alone, so a second run gives the same."""
    header, chief = trial.dataset.header, CHIEF[trial.dataset.header.task]
    systems = {}
    for label in trial.systems:
        found = metrics(trial, label)
        lines = curves(trial, found, chief)
        systems[label] = {
            "metrics": {condition: {k: _rounded(v) for k, v in values.items()} for condition, values in found.items()},
            "area": {
                family: {"metric": chief, "from": 0.0, "to": max(x), "value": _rounded(area(x))}
                for family, x in lines.items()
            },
        }
    return {
        "format": 1,
        "package": __version__,
        "data": {
            "name": header.name,
            "split": trial.split,
            "checksum": trial.dataset.checksum,
            "clips": len(trial.clips),
        },
        "seed": trial.seed,
        "families": {family: FAMILIES[family] for family in trial.families},
        "missing": {condition: _missing(trial.clips, trial.masks[condition]) for condition in in_order(trial.masks)},
        "systems": systems,
        "conclusions": [
            {
                "condition": x.column,
                "of": x.ours,
                "than": x.other,
                "metric": x.metric,
                "difference": [_rounded(value) for value in x.difference[:3]],
                "p": _rounded(x.p),
                "verdict": x.verdict,
            }
            for x in conclusions(trial)
        ],
    }


def table(made: Mapping[str, Any]) -> str:
    """Write the content as text: the chief metric of each system in every subset, its areas, and the conclusions."""
    systems = made["systems"]
    first = next(iter(systems.values()))
    chief = made["conclusions"][0]["metric"] if made["conclusions"] else next(iter(first["area"].values()))["metric"]
    subsets = [condition for condition in first["metrics"] if " " not in condition]
    rows = [(f"{METRICS[chief].label} {METRICS[chief].arrow}", *systems)]
    for condition in subsets:
        rows.append((condition, *(_number(x["metrics"][condition][chief]) for x in systems.values())))
    for family, about in first["area"].items():
        name = f"{family}, rates {about['from']:g} to {about['to']:g}"
        rows.append((name, *(_number(x["area"].get(family, {}).get("value")) for x in systems.values())))
    lines = [text.table(rows), "A line with rates is the area under the metric over them, divided by their range."]
    for x in made["conclusions"]:
        mean, low, high = x["difference"]
        lines.append(
            f"{x['condition']}: {x['of']} - {x['than']}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]: {x['verdict']}"
        )
    return "\n".join(lines)


def draw(trial: Trial, made: Mapping[str, Any]) -> Figure:
    """Draw the chief metric: a panel for the subsets, and one for each family over its rates."""
    chief = CHIEF[trial.dataset.header.task]
    families = list(trial.families)
    rows = -(-(len(families) + 1) // 2)
    drawn, axes = figure(2, height=2.6 * rows, rows=rows)
    palette = dict(zip(made["systems"], sns.color_palette([*COLOURS.values()], len(made["systems"])), strict=True))
    for label, system in made["systems"].items():
        values = [system["metrics"][subset][chief] for subset in trial.subsets]
        axes[0].plot(values, range(len(values)), "o", color=palette[label], label=literal(label))
        for panel, family in zip(axes[1:], families, strict=False):
            line = curves(trial, system["metrics"], chief).get(family, {})
            panel.plot(list(line), list(line.values()), "o-", color=palette[label], markersize=4)
    axes[0].set_yticks(range(len(trial.subsets)), [subset.replace("+", " + ") for subset in trial.subsets], fontsize=8)
    axes[0].invert_yaxis()
    axes[0].set(xlabel=f"{METRICS[chief].label} ({METRICS[chief].direction})")
    for panel, family in zip(axes[1:], families, strict=False):
        panel.set_title(family, fontsize=10)
        panel.set(xlabel="rate", ylabel=METRICS[chief].label, xlim=(0, 1))
    for panel in axes[len(families) + 1 :]:
        panel.set_visible(False)
    drawn.legend(loc="outside lower center", ncols=2, fontsize=9, labelcolor=GREY, frameon=False)
    return drawn


def save(made: Mapping[str, Any], path: Path) -> None:
    """Write the content as JSON, whole or not at all."""
    write(path, json.dumps(made, indent=1, allow_nan=False) + "\n")


def _missing(split: Split, kept: Mapping[Modality, np.ndarray]) -> dict[Modality, float]:
    """Compute the share of the clips' steps that a mask removes from each stream."""
    return {name: _rounded(1 - float(np.mean(kept[name]))) or 0.0 for name in split.streams}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
