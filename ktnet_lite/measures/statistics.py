"""How sure a number is: bootstrap intervals over seeds, paired over seeds and clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

from ktnet_lite.errors import KTNetError

RESAMPLES = 9999


class Interval(NamedTuple):
    """An estimate and its 95% bootstrap interval; without an interval where one number alone was seen."""

    mean: float
    low: float | None
    high: float | None
    runs: int

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if self.low is None else f" [{self.low:.3f}, {self.high:.3f}]")


class Difference(NamedTuple):
    """A difference, its 95% bootstrap interval, and the share of resamples that speak against its sign."""

    mean: float
    low: float
    high: float
    runs: int
    p: float  # two-sided: twice the share of resamples on the other side of zero

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def mean_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """Mean over runs with its 95% percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13).

    With few runs it is too short: drawn from a normal distribution, it holds the true mean for 83% of the samples of
    5 runs, 90% of 10 and 93% of 20.

    Raises
    ------
    KTNetError
        No value, or one that is not finite.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise KTNetError(f"a mean needs one finite number a run, not {values.tolist()}; leave undefined runs out")
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
) -> Difference:
    """``metric(ours) - metric(theirs)``, averaged over seeds, with a 95% interval over seeds and clips.

    Both systems are measured on the same seeds and clips. Each resample draws seeds, and clips, with replacement,
    the same ones for both (a paired hierarchical bootstrap), so what is common to both cancels.

    Parameters
    ----------
    metric : callable
        (scores (N, ...), targets (N, ...)) -> number, one that any sample of clips defines, such as MAE.
    ours, theirs : arrays of shape (seeds, N, ...)
        Row s of both is seed s, column i is clip i.
    targets : array of shape (N, ...)

    Raises
    ------
    KTNetError
        The shapes do not pair up, or the metric is undefined on some sample.
    """
    if ours.shape != theirs.shape or ours.shape[1:] != targets.shape or ours.size == 0:
        raise KTNetError(
            f"predictions of shapes {ours.shape} and {theirs.shape} and targets of shape {targets.shape} do not pair "
            "up; give (seeds, clips) twice, of the same seeds and clips, and (clips,)"
        )
    rng = np.random.default_rng(seed)
    seeds, clips = ours.shape[:2]

    def difference(rows: np.ndarray, columns: np.ndarray) -> float:
        truth = targets[columns]
        return float(np.mean([metric(ours[r, columns], truth) - metric(theirs[r, columns], truth) for r in rows]))

    drawn = [difference(rng.integers(seeds, size=seeds), rng.integers(clips, size=clips)) for _ in range(resamples)]
    if not np.isfinite(drawn).all():
        raise KTNetError("the metric is undefined on some samples of these clips; compare by another one, such as MAE")
    low, high = np.percentile(drawn, [2.5, 97.5])
    beyond = min(np.less_equal(drawn, 0).sum(), np.greater_equal(drawn, 0).sum())
    p = min(2 * (beyond + 1) / (resamples + 1), 1.0)  # + 1: what was seen is a resample too, so p is never 0
    return Difference(difference(np.arange(seeds), np.arange(clips)), float(low), float(high), seeds, float(p))
