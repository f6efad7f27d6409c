"""Bootstrap intervals against closed forms and against plain loops."""

import numpy as np
import pytest
from scipy.stats import norm

from ktnet_lite.errors import KTNetError
from ktnet_lite.measures.metrics import emotion_metrics, sentiment_metrics
from ktnet_lite.measures.statistics import PER_CLIP, TESTED, mean_interval, paired_difference


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
    assert paired_difference("mae", scores, scores, targets) == (0.0, 0.0, 0.0, 3, 1.0)


def test_paired_difference_by_hand_and_its_sign():
    targets = np.zeros(4)
    ours, theirs = np.array([[1.0, 1, 1, 1], [2, 2, 2, 2]]), np.array([[2.0, 2, 2, 2], [3, 3, 3, 3]])
    # Each clip of each seed is better by exactly 1, so every resample says so.
    assert paired_difference("mae", ours, theirs, targets) == (-1.0, -1.0, -1.0, 2, 2 / 2001)


def test_pairing_cancels_what_both_share():
    """Two systems with a large common error differ by little: only pairing shows it."""
    rng = np.random.default_rng(0)
    targets, common = np.zeros(200), np.abs(rng.normal(5.0, 3.0, (4, 200)))
    paired = paired_difference("mae", common, common + 0.1, targets)
    assert paired.high < 0
    shuffled = rng.permuted(common, axis=1) + 0.1
    unpaired = paired_difference("mae", common, shuffled, targets)
    assert unpaired.low < 0 < unpaired.high


def test_interval_over_clips_is_the_normal_one():
    rng = np.random.default_rng(3)
    ours, theirs = np.abs(rng.normal(size=(2, 1, 400)))
    found = paired_difference("mae", ours, theirs, np.zeros(400))
    error = (ours - theirs).std() / 20
    half = 1.96 * error
    assert found.mean == pytest.approx((ours - theirs).mean())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)
    assert found.p == pytest.approx(2 * norm.sf(abs(found.mean) / error), abs=0.05)


def test_interval_covers_the_spread_over_seeds():
    """With clips that all agree, only seeds are left to vary."""
    ours = np.repeat([[0.0], [1.0]], 30, axis=1)
    found = paired_difference("mae", ours, np.zeros((2, 30)), np.zeros(30))
    assert found[:4] == (0.5, 0.0, 1.0, 2)


def test_paired_difference_of_four_emotions():
    targets = np.random.default_rng(0).integers(0, 2, (20, 4))
    found = paired_difference("accuracy_mean", np.stack([targets] * 2), np.stack([1 - targets] * 2), targets)
    assert found[:4] == (1.0, 1.0, 1.0, 2)


def acc2(scores, targets):
    signs = scores[targets != 0] > 0, targets[targets != 0] > 0
    return (signs[0] == signs[1]).mean()


PLAIN = {  # each tested metric on one sample
    "mae": lambda scores, targets: np.abs(scores - targets).mean(),
    "acc2_nonzero": acc2,
    "accuracy_mean": lambda scores, targets: ((scores > 0.5) == targets).mean(),
}


def some_clips(metric):
    """Scores of two systems with three seeds, and labels, some of which do not count."""
    rng = np.random.default_rng(7)
    if metric == "accuracy_mean":
        targets = rng.integers(0, 2, (40, 4))
        return (*rng.uniform(size=(2, 3, 40, 4)), targets)
    targets = rng.integers(-3, 4, 40).astype(float)
    ours, other = targets + rng.normal(size=(2, 3, 40)) * [[[1.0]], [[2.0]]]
    return ours, other, targets


def test_the_tested_metrics_are_those_of_the_tables():
    assert {metric for metrics in TESTED.values() for metric in metrics} == PER_CLIP.keys() == PLAIN.keys()
    for metric, plain in PLAIN.items():
        (scores, *_), _, targets = some_clips(metric)
        if metric == "accuracy_mean":
            known = emotion_metrics(scores > 0.5, targets)
        else:
            known = sentiment_metrics(scores, targets)
        assert plain(scores, targets) == pytest.approx(known.values[metric])


@pytest.mark.parametrize("metric", PLAIN)
def test_paired_difference_is_that_of_a_plain_loop_over_the_same_draws(metric):
    ours, other, targets = some_clips(metric)
    seeds, clips = ours.shape[:2]
    rng, drawn = np.random.default_rng(5), []
    for _ in range(200):
        rows, columns = rng.integers(seeds, size=seeds), rng.integers(clips, size=clips)
        sides = ([PLAIN[metric](side[row, columns], targets[columns]) for row in rows] for side in (ours, other))
        drawn.append(np.subtract(*map(np.mean, sides)))
    mean = np.mean([PLAIN[metric](a, targets) - PLAIN[metric](b, targets) for a, b in zip(ours, other, strict=True)])
    beyond = min(np.sum(np.array(drawn) <= 0), np.sum(np.array(drawn) >= 0))
    found = paired_difference(metric, ours, other, targets, resamples=200, seed=5)
    assert found[:3] == pytest.approx((mean, *np.percentile(drawn, [2.5, 97.5])))
    assert (found.runs, found.p) == (3, min(2 * (beyond + 1) / 201, 1))


def test_a_resample_of_exactly_zero_counts_on_both_sides():
    """Of two clips, one is as good: a quarter of the resamples has only that one, and no difference."""
    targets, better, worse = np.array([1.0, 1.0]), np.array([[1.0, 1.0]]), np.array([[-1.0, 1.0]])
    rng = np.random.default_rng(0)
    draws = [(rng.integers(1, size=1), rng.integers(2, size=2))[1] for _ in range(2000)]
    zero = sum(columns.min() == 1 for columns in draws)
    assert 450 < zero < 550
    above = paired_difference("acc2_nonzero", better, worse, targets)
    below = paired_difference("acc2_nonzero", worse, better, targets)
    assert above.p == below.p == 2 * (zero + 1) / 2001
    assert above.low == below.high == 0.0


def test_a_metric_may_be_a_function_of_every_clip():
    ours, other, targets = some_clips("mae")
    squared = paired_difference(lambda scores, targets: (scores - targets) ** 2, ours, other, targets)
    assert squared.mean == pytest.approx(((ours - targets) ** 2).mean() - ((other - targets) ** 2).mean())
    with pytest.raises(KTNetError, match=r"values of shape \(3,\); give one per seed and clip, \(3, 40\)"):
        paired_difference(lambda scores, targets: np.abs(scores - targets).mean(1), ours, other, targets)


def test_a_clip_counts_for_every_seed_or_for_none():
    ours, other, targets = some_clips("mae")
    ours[1, 3] = np.nan
    with pytest.raises(KTNetError, match="counts a clip for some seeds only"):
        paired_difference("mae", ours, other, targets)


def test_the_same_draws_are_used_whatever_was_compared_before():
    ours, other, targets = some_clips("mae")
    first = paired_difference("mae", ours, other, targets)
    paired_difference("mae", ours[:1], other[:1], targets)
    assert paired_difference("mae", ours, other, targets) == first
    assert paired_difference("mae", ours, other, targets, seed=1)[:3] != first[:3]
    assert paired_difference("mae", other, ours, targets)[:3] == pytest.approx((-first.mean, -first.high, -first.low))


def test_how_intervals_are_written():
    assert str(mean_interval([1.0, 3.0])) == "2.000 [1.000, 3.000]" and str(mean_interval([1.0])) == "1.000"
    targets = np.zeros(4)
    assert str(paired_difference("mae", targets[None], targets[None] + 1, targets)) == "-1.000 [-1.000, -1.000]"


@pytest.mark.parametrize(
    "shapes",
    [((2, 5), (3, 5), (5,)), ((2, 5), (2, 5), (4,)), ((5,), (5,), (5,)), ((0, 5), (0, 5), (5,))],
)
def test_paired_difference_names_shapes_that_do_not_match(shapes):
    with pytest.raises(KTNetError, match="do not match targets of shape"):
        paired_difference("mae", *(np.zeros(shape) for shape in shapes))


def test_paired_difference_refuses_a_metric_that_some_sample_leaves_undefined():
    targets = np.array([0.0, 0.0, 1.0])
    with pytest.raises(KTNetError, match="undefined on some samples"):
        paired_difference("acc2_nonzero", np.ones((2, 3)), -np.ones((2, 3)), targets)
    with pytest.raises(KTNetError, match="undefined on some samples"):
        paired_difference("acc2_nonzero", np.ones((2, 3)), -np.ones((2, 3)), np.zeros(3))
