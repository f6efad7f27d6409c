"""Scores of predicted distributions against their definitions; intervals that cover as often as they promise."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from ktnet_lite.errors import KTNetError
from ktnet_lite.measures import calibration
from ktnet_lite.measures.calibration import agreement, coverage, crps, half_widths, interval, probability_integral
from ktnet_lite.names import LEVELS


@pytest.mark.parametrize(("mean", "deviation", "target"), [(0.0, 1.0, 0.0), (1.0, 0.5, 2.0), (-1.0, 3.0, 4.0)])
def test_the_score_of_a_distribution_is_its_integral(mean, deviation, target):
    below = quad(lambda x: norm.cdf(x, mean, deviation) ** 2, -40, target)[0]
    above = quad(lambda x: norm.sf(x, mean, deviation) ** 2, target, 40)[0]
    assert crps(mean, deviation, target) == pytest.approx(below + above, abs=1e-7)


def test_the_true_spread_scores_best_and_covers_as_it_says():
    rng = np.random.default_rng(0)
    deviation = rng.uniform(0.2, 2, 50_000)
    target = rng.normal(0, deviation)
    scores = {factor: crps(0.0, factor * deviation, target).mean() for factor in (0.5, 1.0, 2.0)}
    assert min(scores, key=scores.get) == 1.0
    assert coverage(np.zeros_like(target), deviation, target, 0.8) == pytest.approx(0.8, abs=0.01)
    assert coverage(np.zeros_like(target), deviation / 2, target, 0.8) < 0.55
    shares = np.histogram(probability_integral(0.0, deviation, target), bins=10, range=(0, 1))[0] / len(target)
    assert np.abs(shares - 0.1).max() < 0.01


def test_agreement_by_hand():
    true = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert agreement(true, true) == pytest.approx((1, 1, 1))
    assert agreement(true / 2, true) == pytest.approx((2, 1, 0.5))
    assert agreement(true, 5 - true) == pytest.approx((-1, -1, 1))
    with pytest.raises(KTNetError, match="the same everywhere"):
        agreement(np.ones(3), np.arange(3))


def test_half_widths_by_hand():
    """Nine clips: the new one is one of ten equals, so that 8 of 9 errors are needed for 80%."""
    errors = np.arange(1, 10) / 10
    assert half_widths(errors, np.arange(9)) == [0.5, 0.8, 0.9, calibration.WIDEST]
    assert half_widths(errors[::-1], np.arange(9)) == half_widths(errors, np.arange(9))
    # Two groups, of one clip and of eight: each holds a third, and the new group the last third.
    groups = np.array([0] * 8 + [1])
    assert half_widths(errors, groups, [0.3, 0.34, 0.6, 0.7]) == [0.8, 0.9, 0.9, calibration.WIDEST]
    with pytest.raises(KTNetError, match="at least one clip"):
        half_widths(np.zeros(0), np.zeros(0))


@pytest.mark.parametrize("clips", [1, 12], ids=["clips", "clips of 40 speakers"])
def test_intervals_cover_new_clips_as_often_as_they_promise(clips):
    """Over 400 validation sets, errors of clips that a speaker shares; the new clip is one of a new speaker."""
    rng, hits = np.random.default_rng(0), np.zeros(len(LEVELS))
    for _ in range(400):
        size = 1 + rng.exponential(1, 41)  # of each speaker's errors
        errors = np.abs(rng.normal(0, size[:, None], (41, clips))).clip(max=6)
        groups = np.repeat(np.arange(40), clips)
        hits += errors[40, 0] <= np.array(half_widths(errors[:40].ravel(), groups))
    covered = hits / 400
    assert (covered >= np.array(LEVELS) - 0.05).all() and (covered <= np.array(LEVELS) + 0.06).all(), covered


def test_an_interval_stays_on_the_scale():
    low, high = interval(np.array([-2.9, 0.0, 2.5]), 0.75)
    assert low.tolist() == [-3.0, -0.75, 1.75] and high.tolist() == [-2.15, 0.75, 3.0]
