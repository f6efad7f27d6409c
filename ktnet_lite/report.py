"""What a set of results says, from the result files alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ktnet_lite.errors import DataError
from ktnet_lite.metrics import METRICS
from ktnet_lite.model import VARIANTS
from ktnet_lite.statistics import Interval, mean_interval, paired_difference

MAIN = {"sentiment": ("acc7", "acc2_nonzero", "f1_nonzero", "mae", "corr"), "emotion": ("accuracy_mean", "f1_mean")}
COMPARED = (("ours", "language_vision"), ("ours", "full"))

Results = Sequence[dict[str, Any]]


def by_variant(results: Results) -> dict[str, list[dict[str, Any]]]:
    """Results grouped by variant, in the paper's order, each group sorted by seed.

    Raises
    ------
    DataError
        They come from different data, or from different test clips: no common table.
    """
    for what, value in (
        ("data sets", lambda result: result["dataset"]["checksum"]),
        ("clips in test", lambda result: result["predictions"]["ids"]),
    ):
        if any(value(result) != value(results[0]) for result in results):
            raise DataError(f"these results have different {what}; compare only runs on the same data")
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in sorted(results, key=lambda result: result["parameters"]["seed"]):
        groups.setdefault(result["parameters"]["variant"], []).append(result)
    return {variant: groups[variant] for variant in VARIANTS if variant in groups}


def intervals(results: Results, metric: str) -> dict[str, Interval]:
    """Mean over seeds of a test metric, with its interval, for each variant where it is defined."""
    values = {
        variant: [value for result in group if (value := result["metrics"]["test"][metric]) is not None]
        for variant, group in by_variant(results).items()
    }
    return {variant: mean_interval(known) for variant, known in values.items() if known}


def table(results: Results) -> str:
    """Test metrics by variant as text, the best constant predictions below them."""
    metrics = MAIN[results[0]["dataset"]["task"]]
    cells = {metric: intervals(results, metric) for metric in metrics}
    lines = [f"{'':18}" + "".join(f"{METRICS[metric].label:>24}" for metric in metrics)]
    for variant in by_variant(results):
        numbers = (cells[metric].get(variant) for metric in metrics)
        lines.append(f"{variant:18}" + "".join(f"{_number(interval):>24}" for interval in numbers))
    for name, values in results[0]["baselines"].items():
        numbers = (values.get(metric) for metric in metrics)
        lines.append(f"{name:18}" + "".join(f"{'-' if x is None else format(x, '.3f'):>24}" for x in numbers))
    return "\n".join(lines)


def differences(results: Results) -> list[str]:
    """What was learned, in sentences: the differences that the paper is about, paired on seeds and clips."""
    groups = by_variant(results)
    metric = "mae" if results[0]["dataset"]["task"] == "sentiment" else "accuracy_mean"
    functions = {
        "mae": lambda scores, targets: np.abs(scores - targets).mean(),
        "accuracy_mean": lambda scores, targets: ((scores > 0.5) == targets).mean(),
    }
    sentences = []
    for ours, other in COMPARED:
        if ours not in groups or other not in groups:
            continue
        seeds = sorted(
            {r["parameters"]["seed"] for r in groups[ours]} & {r["parameters"]["seed"] for r in groups[other]}
        )
        if not seeds:
            continue
        scores = [
            np.array([r["predictions"]["scores"] for r in groups[variant] if r["parameters"]["seed"] in seeds])
            for variant in (ours, other)
        ]
        targets = np.array(groups[ours][0]["predictions"]["targets"])
        found = paired_difference(functions[metric], *scores, targets)
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


def _number(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    spread = "" if interval.low is None else f" [{interval.low:.3f}, {interval.high:.3f}]"
    return f"{interval.mean:.3f}{spread}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
