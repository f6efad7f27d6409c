"""How sure a number is: bootstrap intervals over seeds, paired over seeds and clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

RESAMPLES = 9999


class Interval(NamedTuple):
    """An estimate and its 95% bootstrap interval; without an interval where one number alone was seen."""

    mean: float
    low: float | None
    high: float | None
    runs: int


def mean_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """Mean over runs with its 95% percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13)."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return Interval(float(values.mean()), None, None, len(values))
    interval = bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    return Interval(float(values.mean()), float(interval.low), float(interval.high), len(values))


def paired_difference(
    metric: Callable[[np.ndarray, np.ndarray], float],
    ours: np.ndarray,
    theirs: np.ndarray,
    targets: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """``metric(ours) - metric(theirs)``, averaged over seeds, with a 95% interval over seeds and clips.

    Both systems are measured on the same seeds and clips. Each resample draws seeds, and clips, with replacement,
    the same ones for both (a paired hierarchical bootstrap), so what is common to both cancels.

    Parameters
    ----------
    metric : callable
        (scores (N,), targets (N,)) -> number.
    ours, theirs : arrays of shape (seeds, N)
    targets : array of shape (N,)
    """
    rng = np.random.default_rng(seed)
    seeds, clips = ours.shape

    def difference(rows: np.ndarray, columns: np.ndarray) -> float:
        truth = targets[columns]
        return float(np.mean([metric(ours[r, columns], truth) - metric(theirs[r, columns], truth) for r in rows]))

    drawn = [difference(rng.integers(seeds, size=seeds), rng.integers(clips, size=clips)) for _ in range(resamples)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(difference(np.arange(seeds), np.arange(clips)), float(low), float(high), seeds)
