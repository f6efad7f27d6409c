"""What a set of results says, from the result files alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ktnet_lite import text
from ktnet_lite.baselines import SYSTEMS
from ktnet_lite.errors import DataError
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.measures.statistics import Interval, mean_interval, paired_difference
from ktnet_lite.names import VARIANTS

MAIN = {"sentiment": ("acc7", "acc2_nonzero", "f1_nonzero", "mae", "corr"), "emotion": ("accuracy_mean", "f1_mean")}
FILLED = {"zero": "audio = 0", "mean": "audio = mean", "inferred": "audio inferred"}
COMPARED = tuple(("ours", other) for other in ("language_vision", "full", "full, audio = 0", "full, audio = mean"))
TESTED = {  # what differences are tested by: metrics that any resample of clips defines, the chief one first
    "sentiment": {
        "mae": lambda scores, targets: np.abs(scores - targets).mean(),
        "acc2_nonzero": lambda scores, targets: ((scores > 0) == (targets > 0))[targets != 0].mean(),
    },
    "emotion": {"accuracy_mean": lambda scores, targets: ((scores > 0.5) == targets).mean()},
}

Results = Sequence[dict[str, Any]]


class Row(NamedTuple):
    """One system on the test split, with audio or with what stands in for it, from one run."""

    seed: int
    metrics: dict[str, float | None]
    scores: list
    parameters: int


def rows(results: Results) -> dict[str, list[Row]]:
    """The rows of a table, each with its runs sorted by seed: KTNet's variants, then the other systems.

    A system that observes audio has a row for each way to do without it, as ``full, audio = 0``.

    Raises
    ------
    DataError
        The results come from different data, or from different test clips: no common table.
    """
    for what, value in (
        ("data sets", lambda result: result["dataset"]["checksum"]),
        ("clips in test", lambda result: result["predictions"]["ids"]),
    ):
        if any(value(result) != value(results[0]) for result in results):
            raise DataError(f"these results have different {what}; compare only runs on the same data")
    order = ["ktnet", *SYSTEMS]
    variants = list(VARIANTS)
    found: dict[str, list[Row]] = {}
    for result in sorted(
        results,
        key=lambda result: (
            order.index(result["parameters"]["model"]),
            variants.index(result["parameters"]["variant"]),
            result["parameters"]["seed"],
        ),
    ):
        seed, system, size = result["parameters"]["seed"], result["system"], result["model_parameters"]
        row = Row(seed, result["metrics"]["test"], result["predictions"]["scores"], size)
        found.setdefault(system, []).append(row)
        for fill, filled in result["without_audio"].items():
            row = Row(seed, filled["metrics"], filled["scores"], size)
            found.setdefault(f"{system}, {FILLED[fill]}", []).append(row)
    return found


def intervals(results: Results, metric: str) -> dict[str, Interval]:
    """Mean over seeds of a test metric, with its interval, for each row where it is defined; errors as :func:`rows`."""
    values = {
        name: [value for row in group if (value := row.metrics[metric]) is not None]
        for name, group in rows(results).items()
    }
    return {name: mean_interval(known) for name, known in values.items() if known}


def table(results: Results) -> str:
    """Test metrics by row as text, the best constant predictions below them; errors as of :func:`rows`."""
    metrics = MAIN[results[0]["dataset"]["task"]]
    cells = {metric: intervals(results, metric) for metric in metrics}
    lines = [("", *(METRICS[metric].label for metric in metrics), "parameters")]
    for name, group in rows(results).items():
        numbers = (str(cells[metric].get(name, "-")) for metric in metrics)
        lines.append((name, *numbers, f"{group[0].parameters:,}"))
    for name, values in results[0]["baselines"].items():
        numbers = (values.get(metric) for metric in metrics)
        lines.append((name, *("-" if x is None else format(x, ".3f") for x in numbers), ""))
    return text.table(lines)


def differences(results: Results) -> list[str]:
    """What was learned, in sentences: the differences that the paper is about, paired on seeds and clips."""
    groups = rows(results)
    targets = np.array(results[0]["predictions"]["targets"])
    metric, function = next(iter(TESTED[results[0]["dataset"]["task"]].items()))
    sentences = []
    for ours, other in COMPARED:
        if ours not in groups or other not in groups:
            continue
        seeds = {row.seed for row in groups[ours]} & {row.seed for row in groups[other]}
        if not seeds:
            continue
        scores = [np.array([row.scores for row in groups[name] if row.seed in seeds]) for name in (ours, other)]
        found = paired_difference(function, *scores, targets)
        higher_is_better = METRICS[metric].higher_is_better
        if found.low <= 0 <= found.high:
            verdict = "no difference that these runs can tell from chance"
        else:
            verdict = "better" if (found.mean > 0) == higher_is_better else "worse"
        if len(seeds) == 1:
            verdict += "; it was one training each, and other seeds may say otherwise"
        sentences.append(
            f"{ours} against {other}: {METRICS[metric].label} {found.mean:+.3f} "
            f"(95% interval {found.low:+.3f} to {found.high:+.3f}, {_count(len(seeds), 'seed')}, "
            f"{len(targets)} clips): {verdict}"
        )
    return sentences


def compare(ours: dict[str, Any], other: dict[str, Any], clips: int = 5) -> str:
    """Two results of the same test clips as text: each metric with its paired difference, and where they differ most.

    Raises
    ------
    DataError
        They are of different test clips.
    """
    rows((ours, other))
    targets = np.array(ours["predictions"]["targets"])
    scores = [np.array(result["predictions"]["scores"]) for result in (ours, other)]
    tested = TESTED[ours["dataset"]["task"]]
    names = [f"{x}: {r['system']}, seed {r['parameters']['seed']}" for x, r in zip("AB", (ours, other), strict=True)]
    lines = [("", *names, "difference [95%]", "p")]
    for metric in dict.fromkeys((*MAIN[ours["dataset"]["task"]], *tested)):
        values = [result["metrics"]["test"][metric] for result in (ours, other)]
        difference = "-" if None in values else f"{values[0] - values[1]:+.3f}"
        p = ""
        if metric in tested:
            found = paired_difference(tested[metric], *(x[None] for x in scores), targets)
            difference, p = str(found), f"{found.p:.3f}"
        lines.append((METRICS[metric].label, *("-" if x is None else f"{x:.3f}" for x in values), difference, p))
    gaps = [np.abs(x - targets).reshape(len(targets), -1).mean(1) for x in scores]
    order = np.argsort(-np.abs(gaps[0] - gaps[1]), kind="stable")[:clips]
    differing = [("clip", "target", *names)]
    for i in order:
        shown = (np.array2string(x[i], precision=2, suppress_small=True) for x in (targets, *scores))
        differing.append((ours["predictions"]["ids"][i], *shown))
    parts = [text.table(lines), "Intervals are over clips: these are one training each, and other seeds may differ."]
    if clips:
        parts.append(f"The clips whose errors differ most:\n{text.table(differing)}")
    return "\n\n".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
