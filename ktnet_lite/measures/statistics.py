"""How certain a number is: bootstrap intervals over seeds, and paired differences over seeds and clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

from ktnet_lite.errors import KTNetError
from ktnet_lite.names import Task

RESAMPLES = 9999
PerClip = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (scores (S, N, ...), targets (N, ...)) -> (S, N)

# Metrics whose differences are tested: means of one value per clip; NaN where a clip does not count.
PER_CLIP: dict[str, PerClip] = {
    "mae": lambda scores, targets: np.abs(scores - targets),
    "acc2_nonzero": lambda scores, targets: np.where(targets == 0, np.nan, (scores > 0) == (targets > 0)),
    "accuracy_mean": lambda scores, targets: ((scores > 0.5) == targets).mean(-1),
}
TESTED: dict[Task, tuple[str, ...]] = {"sentiment": ("mae", "acc2_nonzero"), "emotion": ("accuracy_mean",)}


class Interval(NamedTuple):
    """An estimate and its 95% bootstrap interval; a single run has no interval."""

    mean: float
    low: float | None
    high: float | None
    runs: int

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if self.low is None else f" [{self.low:.3f}, {self.high:.3f}]")


class Difference(NamedTuple):
    """A difference, its 95% bootstrap interval, and its p-value."""

    mean: float
    low: float
    high: float
    runs: int
    p: float  # two-sided: twice the share of resamples on the other side of zero

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def mean_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """Estimate the mean over runs with its 95% percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13).

    With few runs the interval is too short: for samples from a normal distribution it covers the true mean in 83% of
    the samples of 5 runs, 90% of 10 and 93% of 20.

    Raises
    ------
    KTNetError
        There is no value, or one is not finite.
    """
    sample = np.asarray(values, dtype=float)
    if sample.ndim != 1 or len(sample) == 0 or not np.isfinite(sample).all():
        raise KTNetError(f"a mean needs one finite number per run, not {sample.tolist()}; leave undefined runs out")
    if len(sample) < 2:
        return Interval(float(sample.mean()), None, None, len(sample))
    interval = bootstrap(
        (sample,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    return Interval(float(sample.mean()), float(interval.low), float(interval.high), len(sample))


def paired_difference(
    metric: str | PerClip,
    ours: np.ndarray,
    other: np.ndarray,
    targets: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
) -> Difference:
    """Estimate ``metric(ours) - metric(other)``, averaged over seeds, with a 95% interval over seeds and clips.

    Both systems are measured on the same seeds and clips. Each resample draws seeds and clips with replacement, the
    same ones for both (a paired hierarchical bootstrap), so the variation that both share cancels.

    Parameters
    ----------
    metric : str or callable
        A name in ``PER_CLIP``, or a function (scores (S, N, ...), targets (N, ...)) -> one value per clip (S, N), whose
        mean is the metric; NaN where a clip does not count, which must be the same for all seeds.
    ours, other : arrays of shape (S, N, ...)
        Row s of both is seed s, column i is clip i.
    targets : array of shape (N, ...)

    Raises
    ------
    KTNetError
        The shapes do not match, the metric has no value per clip, or it is undefined on some resample.
    """
    if ours.shape != other.shape or ours.shape[1:] != targets.shape or ours.size == 0:
        raise KTNetError(
            f"predictions of shapes {ours.shape} and {other.shape} do not match targets of shape {targets.shape}; "
            "give (seeds, clips) twice, with the same seeds and clips, and (clips,)"
        )
    per_clip = PER_CLIP[metric] if isinstance(metric, str) else metric
    gap = np.asarray(per_clip(ours, targets), dtype=float) - per_clip(other, targets)  # (S, N)
    if gap.shape != ours.shape[:2]:
        raise KTNetError(f"the metric gives values of shape {gap.shape}; give one per seed and clip, {ours.shape[:2]}")
    absent = np.isnan(gap)
    if (absent.any(0) != absent.all(0)).any():
        raise KTNetError("the metric counts a clip for some seeds only; give it NaN for all seeds or for none")
    counted = ~absent.any(0)  # (N,)
    gap = np.nan_to_num(gap)
    seed_counts, clip_counts = _draws(*gap.shape, resamples, seed)  # (R, S), (R, N)
    size = clip_counts @ counted  # (R,) clips that count
    if not counted.any() or not size.all():
        raise KTNetError("the metric is undefined on some samples of these clips; compare by another one, such as MAE")
    drawn = ((clip_counts @ gap.T) * seed_counts).sum(1) / len(gap) / size  # (R,)
    low, high = np.percentile(drawn, [2.5, 97.5])
    beyond = min((drawn <= 0).sum(), (drawn >= 0).sum())
    p = min(2 * (beyond + 1) / (resamples + 1), 1.0)  # + 1: the observed sample is a resample too, so p is never 0
    return Difference(float(gap.sum() / len(gap) / counted.sum()), float(low), float(high), len(gap), float(p))


@lru_cache(maxsize=8)
def _draws(seeds: int, clips: int, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Count how often each seed (R, S) and each clip (R, N) stands in each resample."""
    rng = np.random.default_rng(seed)
    drawn = [(rng.integers(seeds, size=seeds), rng.integers(clips, size=clips)) for _ in range(resamples)]
    rows, columns = (np.array(side) for side in zip(*drawn, strict=True))
    return _counts(rows, seeds), _counts(columns, clips)


def _counts(drawn: np.ndarray, size: int) -> np.ndarray:
    offsets = np.arange(len(drawn))[:, None] * size
    return np.bincount((drawn + offsets).ravel(), minlength=len(drawn) * size).reshape(-1, size).astype(float)
