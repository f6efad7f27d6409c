"""Bootstrap intervals against closed forms."""

import numpy as np
import pytest
from scipy.stats import norm

from ktnet_lite.errors import KTNetError
from ktnet_lite.measures.statistics import mean_interval, paired_difference


def mae(scores, targets):
    return np.abs(scores - targets).mean()


def test_mean_interval_is_the_normal_one_for_many_runs():
    values = np.random.default_rng(1).normal(5.0, 2.0, 400)
    interval = mean_interval(values)
    half = 1.96 * values.std() / 20
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.02)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.02)
    assert interval.runs == 400


def test_mean_interval_of_two_runs_is_their_range():
    # A resample of two is both the lower, both the higher (a quarter each), or one of each.
    assert mean_interval([1.0, 3.0]) == (2.0, 1.0, 3.0, 2)


def test_one_run_has_no_interval_and_equal_runs_a_point():
    assert mean_interval([0.5]) == (0.5, None, None, 1)
    assert mean_interval([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5, 3)


def test_mean_interval_is_deterministic_in_its_seed():
    values = [0.1, 0.4, 0.2, 0.7, 0.3]
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values).low < 0.34 < mean_interval(values).high


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [[1.0, 2.0]]])
def test_mean_interval_refuses_what_has_no_mean(values):
    with pytest.raises(KTNetError, match="leave undefined runs out"):
        mean_interval(values)


def test_paired_difference_of_identical_systems_is_exactly_zero():
    rng = np.random.default_rng(0)
    scores, targets = rng.normal(size=(3, 50)), rng.normal(size=50)
    assert paired_difference(mae, scores, scores, targets) == (0.0, 0.0, 0.0, 3, 1.0)


def test_paired_difference_by_hand_and_its_sign():
    targets = np.zeros(4)
    ours, theirs = np.array([[1.0, 1, 1, 1], [2, 2, 2, 2]]), np.array([[2.0, 2, 2, 2], [3, 3, 3, 3]])
    # Each clip of each seed is better by exactly 1, so every resample says so.
    assert paired_difference(mae, ours, theirs, targets) == (-1.0, -1.0, -1.0, 2, 2 / 2001)


def test_pairing_cancels_what_both_share():
    """Two systems with a large common error and a small difference: told apart only because they are paired."""
    rng = np.random.default_rng(0)
    targets, common = np.zeros(200), np.abs(rng.normal(5.0, 3.0, (4, 200)))
    paired = paired_difference(mae, common, common + 0.1, targets)
    assert paired.high < 0
    shuffled = rng.permuted(common, axis=1) + 0.1
    unpaired = paired_difference(mae, common, shuffled, targets)
    assert unpaired.low < 0 < unpaired.high


def test_interval_over_clips_is_the_normal_one():
    rng = np.random.default_rng(3)
    ours, theirs = np.abs(rng.normal(size=(2, 1, 400)))
    found = paired_difference(mae, ours, theirs, np.zeros(400))
    error = (ours - theirs).std() / 20
    half = 1.96 * error
    assert found.mean == pytest.approx((ours - theirs).mean())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)
    assert found.p == pytest.approx(2 * norm.sf(abs(found.mean) / error), abs=0.05)


def test_interval_covers_the_spread_over_seeds():
    """With clips that all agree, only seeds are left to vary."""
    ours = np.repeat([[0.0], [1.0]], 30, axis=1)
    found = paired_difference(mae, ours, np.zeros((2, 30)), np.zeros(30))
    assert found[:4] == (0.5, 0.0, 1.0, 2)


def test_paired_difference_of_four_emotions():
    def accuracy(scores, targets):
        return ((scores > 0.5) == targets).mean()

    targets = np.random.default_rng(0).integers(0, 2, (20, 4))
    found = paired_difference(accuracy, np.stack([targets] * 2), np.stack([1 - targets] * 2), targets)
    assert found[:4] == (1.0, 1.0, 1.0, 2)


@pytest.mark.parametrize(
    "shapes",
    [((2, 5), (3, 5), (5,)), ((2, 5), (2, 5), (4,)), ((5,), (5,), (5,)), ((0, 5), (0, 5), (5,))],
)
def test_paired_difference_names_shapes_that_do_not_pair_up(shapes):
    with pytest.raises(KTNetError, match="do not pair up"):
        paired_difference(mae, *(np.zeros(shape) for shape in shapes))


def test_paired_difference_refuses_a_metric_that_some_sample_leaves_undefined():
    def share_of_positive(scores, targets):
        return (scores[targets > 0] > 0).mean() if (targets > 0).any() else np.nan

    targets = np.array([-1.0, -1.0, 1.0])
    with pytest.raises(KTNetError, match="undefined on some samples"):
        paired_difference(share_of_positive, np.ones((2, 3)), -np.ones((2, 3)), targets)
