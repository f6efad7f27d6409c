"""Is a stated doubt true? Scores of predicted distributions, and intervals that cover as often as they promise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, pearsonr

from ktnet_lite.errors import KTNetError
from ktnet_lite.names import LEVELS, SENTIMENT_RANGE

WIDEST = SENTIMENT_RANGE[1] - SENTIMENT_RANGE[0]
ALL = [WIDEST] * len(LEVELS)  # half-widths of intervals that say nothing


def crps(mean: np.ndarray, deviation: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Compute the continuous ranked probability score of normal distributions, in the target's units; less is better.

    It is the absolute error of a prediction without doubt, and rewards a spread only as far as it is true (Gneiting and
    Raftery 2007, Eq. 21).

    Parameters
    ----------
    mean, deviation, target : np.ndarray
        Mean and standard deviation of each distribution, and what came true; of one shape.
    """
    z = (target - mean) / deviation
    return deviation * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))


def probability_integral(mean: np.ndarray, deviation: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Compute the probability integral transform of normal distributions; calibrated ones make it uniform on [0, 1].

    A share of p of the targets then lies below the p-quantile of its own distribution (Dawid 1984). Parameters as in
    :func:`crps`.
    """
    return norm.cdf(target, mean, deviation)


def coverage(mean: np.ndarray, deviation: np.ndarray, target: np.ndarray, level: float = 0.8) -> float:
    """Return the share of targets in the central interval of this probability. Parameters as in :func:`crps`."""
    return float((np.abs(target - mean) <= norm.ppf((1 + level) / 2) * deviation).mean())


class Agreement(NamedTuple):
    """How far a predicted variance explains another one."""

    slope: float  # of the other on the predicted one, least squares; 1 if it is right on average
    correlation: float
    ratio: float  # mean of the predicted one over mean of the other


def agreement(predicted: np.ndarray, other: np.ndarray) -> Agreement:
    """Compare predicted variances with true ones, or with squared errors, of the same shape.

    Raises
    ------
    KTNetError
        One of them does not vary.
    """
    predicted, other = predicted.ravel().astype(float), other.ravel().astype(float)
    if predicted.std() == 0 or other.std() == 0:
        raise KTNetError("a variance that is the same everywhere has no slope and no correlation")
    correlation = float(pearsonr(predicted, other).statistic)
    slope = correlation * float(other.std() / predicted.std())
    return Agreement(slope, correlation, float(predicted.mean() / other.mean()))


def half_widths(errors: np.ndarray, groups: np.ndarray, levels: Sequence[float] = LEVELS) -> list[float]:
    """Compute how far around a score an interval reaches that covers the truth with each probability.

    This is split conformal prediction: the quantile of the absolute errors on clips that trained nothing, with the new
    clip counted among them (Vovk et al. 2005; Lei et al. 2018). It promises coverage on average over clips of the same
    kind, whatever the model is. Clips of one group, such as a speaker, resemble each other: every group then counts the
    same, and the new clip is one of a new group (Dunn et al. 2023, pooled groups).

    Where the groups are too few for a level, the interval is the whole range of scores.

    Parameters
    ----------
    errors : np.ndarray, shape (N,)
        Absolute errors on the validation set, in points.
    groups : np.ndarray, shape (N,)
        The group of each clip; where each is a group of its own, clips are exchangeable.
    levels : sequence of float
        Probabilities, between 0 and 1.

    Raises
    ------
    KTNetError
        There is no clip.
    """
    if not len(errors):
        raise KTNetError("an interval needs the error of at least one clip; the validation set has none")
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(errors, kind="stable")
    below = np.cumsum(1 / ((len(counts) + 1) * counts[group[order]]))  # share of errors up to each one
    reached = np.searchsorted(below, np.asarray(levels) - 1e-9)
    return [float(min(errors[order][i], WIDEST)) if i < len(errors) else WIDEST for i in reached]


def interval(scores: np.ndarray, half_width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest value of the interval around each score, both (N,), within the scale."""
    return np.clip(scores - half_width, *SENTIMENT_RANGE), np.clip(scores + half_width, *SENTIMENT_RANGE)
