"""Compare systems: paired on seeds and clips, with an interval and a corrected p-value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from ktnet_lite import text
from ktnet_lite.errors import DataError
from ktnet_lite.experiments.result import Result
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.measures.statistics import TESTED, Difference, Interval, mean_interval, paired_difference
from ktnet_lite.names import System
from ktnet_lite.reporting import verdicts
from ktnet_lite.reporting.frame import comparable

MAIN = {"sentiment": ("acc7", "acc2_nonzero", "f1_nonzero", "mae", "corr"), "emotion": ("accuracy_mean", "f1_mean")}
OURS = System("ktnet", "ours")
OTHERS = (
    System("ktnet", "language_vision"),
    System("ktnet", "ours", voice="other"),
    *(System("ktnet", "full", fill) for fill in (None, "zero", "mean")),
)


class Comparison(NamedTuple):
    """Two rows of a table in one column, paired on seeds and clips."""

    column: str
    ours: str
    other: str
    metric: str
    difference: Difference
    p: float  # corrected for the number of comparisons in the table (Benjamini & Hochberg 1995)
    paper: float | None = None  # the paper's difference, on its own data

    @property
    def verdict(self) -> str:
        """Whether the runs have the paper's sign or, where it has none, which row is better."""
        return verdicts.of_signs(self.metric, self.difference.mean, self.p, self.paper)

    @property
    def detected(self) -> bool:
        """Whether a difference was detected at all."""
        return self.verdict != verdicts.UNDETECTED


def paired(ours: pd.DataFrame, other: pd.DataFrame) -> dict[str, Difference]:
    """Estimate the difference of two systems in each tested metric, over the seeds that both have.

    Parameters
    ----------
    ours, other : DataFrame
        Rows of a frame (:func:`ktnet_lite.reporting.frame.frame`), one per seed.

    Raises
    ------
    DataError
        The results come from different test clips.
    """
    pairs = ours.merge(other, on="seed", suffixes=("", "_other")).sort_values("seed")
    if pairs.empty:
        return {}
    first, files = pairs["result"].iloc[0], (*pairs["path"], *pairs["path_other"])
    for path, run in zip(files, (*pairs["result"], *pairs["result_other"]), strict=True):
        if (run.predictions.ids, run.predictions.targets) != (first.predictions.ids, first.predictions.targets):
            where = f" ({files[0]} and {path})" if path else ""
            raise DataError(f"results on {first.dataset.name!r} have different test clips{where}; remove one of them")
    left, right = (np.stack(list(pairs[column])) for column in ("scores", "scores_other"))
    return {metric: paired_difference(metric, left, right, first.targets) for metric in TESTED[first.dataset.task]}


def corrected(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Correct the p-values of a table for their number (Benjamini & Hochberg 1995)."""
    listed = list(comparisons)
    if not listed:
        return []
    values = false_discovery_control([comparison.p for comparison in listed])
    return [comparison._replace(p=float(p)) for comparison, p in zip(listed, values, strict=True)]


def intervals(results: pd.DataFrame, metric: str) -> dict[System, Interval]:
    """Estimate a test metric of each system of a frame, over its seeds, where it is defined."""
    defined = results[results[metric].notna()]
    groups = (group for _, group in defined.groupby("label", sort=False))
    return {group["system"].iloc[0]: mean_interval(list(group[metric])) for group in groups}


def table(results: pd.DataFrame) -> str:
    """Write the test metrics of each system of a frame as text, with constant predictions below."""
    metrics = MAIN[results["task"].iloc[0]]
    cells = {metric: intervals(results, metric) for metric in metrics}
    lines = [("", *(METRICS[metric].label for metric in metrics), "parameters")]
    for label, group in results.groupby("label", sort=False):
        numbers = (str(cells[metric].get(group["system"].iloc[0], "-")) for metric in metrics)
        lines.append((str(label), *numbers, f"{group['result'].iloc[0].model_parameters:,}"))
    for name, values in results["result"].iloc[0].baselines.items():
        lines.append((name, *(_number(values.get(metric)) for metric in metrics), ""))
    return text.table(lines)


def differences(results: pd.DataFrame) -> list[str]:
    """Say in sentences how ours differs from the systems that the paper compares it with."""
    first = results["result"].iloc[0]
    metric, compared = TESTED[first.dataset.task][0], []
    for other in map(str, OTHERS):
        sides = (results[results["label"] == label] for label in (str(OURS), other))
        if found := paired(*sides).get(metric):
            compared.append(Comparison("", str(OURS), other, metric, found, found.p))
    return [
        f"{x.ours} against {x.other}: {METRICS[metric].label} {x.difference.mean:+.3f} "
        f"(95% interval {x.difference.low:+.3f} to {x.difference.high:+.3f}, {text.count(x.difference.runs, 'seed')}, "
        f"{len(first.targets)} clips): {x.verdict}"
        + ("; each side is a single run, and other seeds may differ" if x.difference.runs == 1 else "")
        for x in corrected(compared)
    ]


def compare(ours: Result, other: Result, clips: int = 5) -> str:
    """Compare two results on the same test clips: every main metric, and the clips whose errors differ most.

    Raises
    ------
    DataError
        The results have different test clips.
    """
    comparable((ours, other))
    sides = (ours, other)
    task, targets = ours.dataset.task, ours.targets
    scores = [side.scores for side in sides]
    names = [f"{letter}: {side.system}, seed {side.seed}" for letter, side in zip("AB", sides, strict=True)]
    lines = [("", *names, "difference [95%]", "p")]
    for metric in dict.fromkeys((*MAIN[task], *TESTED[task])):
        values = [side.metrics["test"][metric] for side in sides]
        known = [value for value in values if value is not None]
        difference = f"{known[0] - known[1]:+.3f}" if len(known) == 2 else "-"
        p = ""
        if metric in TESTED[task]:
            found = paired_difference(metric, scores[0][None], scores[1][None], targets)
            difference, p = str(found), f"{found.p:.3g}"
        lines.append((METRICS[metric].label, *map(_number, values), difference, p))
    parts = [text.table(lines), "Intervals are over clips: each side is a single run, and other seeds may differ."]
    if clips:
        listed = text.table([("clip", "target", *names), *_differing(ours, targets, scores, clips)])
        parts.append(f"The clips whose errors differ most:\n{listed}")
    return "\n\n".join(parts)


def _differing(ours: Result, targets: np.ndarray, scores: Sequence[np.ndarray], clips: int) -> list[tuple[str, ...]]:
    errors = [np.abs(side - targets).reshape(len(targets), -1).mean(1) for side in scores]
    order = np.argsort(-np.abs(errors[0] - errors[1]), kind="stable")[:clips]
    columns = targets, *scores
    return [
        (ours.predictions.ids[i], *(np.array2string(x[i], precision=2, suppress_small=True) for x in columns))
        for i in order
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
