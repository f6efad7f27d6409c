"""The metrics against numbers computed by hand, and against known facts about the real MOSI labels."""

import h5py
import numpy as np
import pytest

from ktnet_lite.errors import KTNetError
from ktnet_lite.measures.metrics import (
    METRICS,
    acc2_median,
    constant_baselines,
    emotion_metrics,
    sentiment_metrics,
)
from ktnet_lite.names import EMOTIONS

TARGETS = np.array([-3.0, -1.0, 0.0, 0.0, 1.0, 2.6])
SCORES = np.array([-2.0, 0.5, -0.2, 0.4, 1.5, 4.0])


@pytest.fixture
def mosi(real_data):
    """Real MOSI labels of the training and test set."""

    def labels(split):
        with h5py.File(real_data / "mosi-labels" / f"y_{split}.h5") as file:
            return np.asarray(file[next(iter(file))]).ravel()

    return labels("train"), labels("test")


def test_sentiment_metrics_by_hand():
    values, undefined = sentiment_metrics(SCORES, TARGETS)
    assert undefined == {}
    # Rounded targets -3 -1 0 0 1 3; scores -2 0 -0 0 2 3 (0.5 -> 0 and 1.5 -> 2, halves to even).
    assert values["acc7"] == pytest.approx(3 / 6)
    # Clipped to [-2, 2] first: targets -2 -1 0 0 1 2; scores -2 0 0 0 2 2.
    assert values["acc5"] == pytest.approx(4 / 6)
    # Non-zero targets: N N P P; scores there: N P P P.
    assert values["acc2_nonzero"] == pytest.approx(3 / 4)
    # F1 of N: precision 1, recall 1/2 -> 2/3; of P: precision 2/3, recall 1 -> 4/5; two of each.
    assert values["f1_nonzero"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    # The same F1s, weighted by the predicted classes: one N, three P.
    assert values["f1_nonzero_mult"] == pytest.approx((2 / 3 + 3 * 4 / 5) / 4)
    # All six, zero counts as positive: targets N N P P P P; scores N P N P P P.
    assert values["acc2_has_zero"] == pytest.approx(4 / 6)
    # N: precision 1/2, recall 1/2; P: precision 3/4, recall 3/4; two and four of them.
    assert values["f1_has_zero"] == pytest.approx((2 * 1 / 2 + 4 * 3 / 4) / 6)
    assert values["f1_has_zero_mult"] == pytest.approx((2 * 1 / 2 + 4 * 3 / 4) / 6)
    assert values["mae"] == pytest.approx((1 + 1.5 + 0.2 + 0.4 + 0.5 + 1.4) / 6)
    # Deviations by hand: means -0.4/6 and 4.2/6.
    t, s = TARGETS + 0.4 / 6, SCORES - 4.2 / 6
    assert values["corr"] == pytest.approx((t * s).sum() / ((t * t).sum() * (s * s).sum()) ** 0.5)
    assert "acc7_argmax" not in values


@pytest.mark.parametrize(
    ("target", "score", "equal"),
    [(0, 0.5, True), (1, 0.5, False), (2, 1.5, True), (2, 2.5, True), (3, 2.5, False), (-2, -2.5, True), (3, 9, True)],
)
def test_acc7_rounds_halves_to_even_and_clips(target, score, equal):
    assert sentiment_metrics([score, 0.0], [target, 0.0]).values["acc7"] == (1.0 if equal else 0.5)


def test_sign_conventions_differ_at_a_score_of_zero():
    values = sentiment_metrics([0.0, 0.0, -1.0], [1.0, 0.0, -1.0]).values
    assert values["acc2_nonzero"] == 0.5  # a score of 0 is not positive (> 0)
    assert values["acc2_has_zero"] == 1.0  # but it is non-negative (>= 0)


def test_acc7_argmax_takes_the_classes():
    values = sentiment_metrics([0.1, 0.2, 0.3], [-3.0, 1.4, 2.0], classes=np.array([-3, 1, 1])).values
    assert values["acc7_argmax"] == pytest.approx(2 / 3)
    assert values["acc7"] == 0.0


def test_mosi_all_negative_model_and_the_swapped_f1(mosi):
    """The trap in the field's code: with truth and prediction swapped, a constant scores 73.2 instead of 42.3."""
    _, test = mosi
    assert (len(test), (test == 0).sum()) == (686, 30)
    values, undefined = sentiment_metrics(np.full(686, -1.0), test)
    assert values["f1_nonzero"] == pytest.approx(0.423, abs=5e-4)
    assert values["f1_nonzero_mult"] == pytest.approx(0.732, abs=5e-4)
    assert values["acc2_nonzero"] == pytest.approx(0.578, abs=5e-4)
    assert values["acc2_has_zero"] == pytest.approx(0.552, abs=5e-4)
    assert values["corr"] is None
    assert undefined["corr"] == "every prediction is the same"


def test_mosi_constant_baselines(mosi):
    rows = constant_baselines(*mosi)
    assert rows["training median"]["mae"] == pytest.approx(1.456, abs=5e-4)
    best = rows["best constant"]
    assert best["acc7"] == pytest.approx(0.227, abs=5e-4)
    assert best["acc2_nonzero"] == pytest.approx(0.578, abs=5e-4)
    assert best["acc2_has_zero"] == pytest.approx(0.552, abs=5e-4)
    assert best["f1_nonzero_mult"] == pytest.approx(0.732, abs=5e-4)
    assert best["mae"] == np.abs(mosi[1] - np.median(mosi[1])).mean()
    # Most training clips are positive, most test clips negative: the training majority is below one half.
    assert rows["majority sign"]["acc2_nonzero"] == pytest.approx(1 - best["acc2_nonzero"])


def test_constant_baselines_by_hand():
    rows = constant_baselines(np.array([-2.0, 1.0, 2.0]), np.array([-1.0, -3.0, 3.0]))
    assert rows["training median"]["mae"] == pytest.approx((2 + 4 + 2) / 3)
    assert rows["majority sign"]["acc2_nonzero"] == pytest.approx(1 / 3)
    assert rows["best constant"]["acc2_nonzero"] == pytest.approx(2 / 3)
    assert rows["best constant"]["mae"] == pytest.approx((0 + 2 + 4) / 3)
    assert rows["best constant"]["corr"] is None


def test_constant_baselines_of_emotions():
    train = np.array([[1, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]])
    test = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    rows = constant_baselines(train, test)
    assert rows["majority label"]["accuracy_neutral"] == pytest.approx(1 / 3)
    assert rows["best constant"]["accuracy_neutral"] == pytest.approx(2 / 3)
    assert rows["majority label"]["accuracy_mean"] == pytest.approx((1 / 3 + 3 * 2 / 3) / 4)


def test_emotion_metrics_by_hand():
    targets = np.array([[1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1]])
    guess = np.array([[1, 0, 0, 1], [0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]])
    values, undefined = emotion_metrics(guess, targets)
    assert undefined == {}
    assert [values[f"accuracy_{name}"] for name in EMOTIONS] == [0.75, 1.0, 0.75, 0.0]
    # neutral: yes precision 1, recall 1/2 -> 2/3; no precision 2/3, recall 1 -> 4/5; two of each.
    assert values["f1_neutral"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert values["f1_happy"] == 1.0
    assert values["f1_angry"] == 0.0
    assert values["accuracy_mean"] == pytest.approx((0.75 + 1 + 0.75 + 0) / 4)
    assert values["f1_mean"] == pytest.approx((2 * (2 / 3 + 4 / 5) / 2 + 1) / 4)


def test_emotion_f1_is_weighted_by_the_true_labels():
    targets, guess = np.zeros((4, 4)), np.zeros((4, 4))
    targets[0] = 1  # one yes, three no; every guess is no: F1 of no is 2 * 3/4 / (3/4 + 1) = 6/7
    assert emotion_metrics(guess, targets).values["f1_sad"] == pytest.approx(3 / 4 * 6 / 7)


def test_undefined_emotions_are_left_out_of_the_mean():
    targets = np.array([[1, 0, 1, 0], [0, 0, 0, 1]])
    guess = np.array([[1, 1, 1, 1], [0, 0, 1, 0]])
    values, undefined = emotion_metrics(guess, targets)
    assert values["accuracy_happy"] is None and values["f1_happy"] is None
    assert undefined == dict.fromkeys(("accuracy_happy", "f1_happy"), "every clip has the same label")
    assert values["accuracy_mean"] == pytest.approx((1 + 0.5 + 0) / 3)
    values, undefined = emotion_metrics(np.ones((2, 4)), np.ones((2, 4)))
    assert set(values.values()) == {None}
    assert undefined["accuracy_mean"] == undefined["f1_mean"] == "no emotion has both labels"


@pytest.mark.parametrize(
    ("scores", "targets", "names", "reason"),
    [
        ([1.0, 2.0], [0.0, 0.0], ("acc2_nonzero", "f1_nonzero", "f1_nonzero_mult"), "every target is zero"),
        ([1.0, 2.0], [0.0, 0.0], ("acc2_has_zero", "f1_has_zero", "corr"), None),
        ([1.0, -2.0], [1.0, 3.0], ("acc2_nonzero", "f1_has_zero"), "every target is of one class"),
        ([0.7, 0.7], [1.0, -3.0], ("corr",), "every prediction is the same"),
        ([0.7, 0.7 + 1e-7], [1.0, -3.0], ("corr",), "every prediction is the same"),  # equal up to rounding
        ([0.7, 0.9], [2.0, 2.0], ("corr",), "every target is the same"),
        ([0.7], [2.0], ("corr",), "every prediction and target is the same"),
    ],
)
def test_undefined_metrics_are_none_with_a_reason(scores, targets, names, reason):
    values, undefined = sentiment_metrics(scores, targets)
    for name in names:
        assert values[name] is None
        assert undefined[name] == reason if reason else undefined[name]
    assert {name for name, value in values.items() if value is None} == set(undefined)
    assert all(value is None or np.isfinite(value) for value in values.values())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scores", [[1e300, -1e300, 1.0], [1e-300, 0.0, 1.0], [1.0, 1.0 + 1e-15, 1.0]])
def test_extreme_scores_neither_warn_nor_crash(scores):
    values = sentiment_metrics(scores, [1.0, -1.0, 0.0]).values
    assert all(value is None or np.isfinite(value) for value in values.values())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sentiment_metrics([1, np.nan, 2], [1, 2, 3]), r"prediction at index \[1\] is not a number"),
        (lambda: sentiment_metrics([1, 2, -np.inf], [1, 2, 3]), r"prediction at index \[2\]"),
        (lambda: sentiment_metrics([1, 2], [np.nan, 2]), r"target at index \[0\] is not a number; drop clips"),
        (lambda: sentiment_metrics([1, 2], [1, 2, 3]), r"shape \(2,\) .* shape \(3,\); both must be \(N,\)"),
        (lambda: sentiment_metrics([[1]], [[1]]), r"both must be \(N,\)"),
        (lambda: sentiment_metrics([], []), r"shape \(0,\)"),
        (lambda: sentiment_metrics([1, 2], [1, 2], classes=[1]), r"shape \(1,\)"),
        (lambda: sentiment_metrics([1, 2], [1, 2], classes=[3, 6]), r"6 at index \[1\] is not a class; .* -3, -2"),
        (lambda: emotion_metrics([1, 0], [1, 0]), r"both must be \(N, 4\)"),
        (lambda: emotion_metrics(np.ones((2, 3)), np.ones((2, 3))), r"both must be \(N, 4\)"),
        (lambda: emotion_metrics(np.full((2, 4), 0.9), np.ones((2, 4))), r"0.9 at index \[0, 0\] is not a class"),
        (lambda: emotion_metrics(np.ones((1, 4)), [[0, 1, 2, 0]]), r"2 at index \[0, 2\] is not a class"),
        (lambda: emotion_metrics([[0, 1, np.nan, 0]], [[0, 1, 1, 0]]), r"prediction at index \[0, 2\]"),
    ],
)
def test_invalid_input_is_named(call, message):
    with pytest.raises(KTNetError, match=message):
        call()


def test_every_metric_has_a_label_and_a_direction():
    sentiment = sentiment_metrics(SCORES, TARGETS, classes=np.zeros(6)).values
    emotion = emotion_metrics(np.eye(4), np.eye(4)).values
    assert set(METRICS) == set(sentiment) | set(emotion) | {"acc2_median"}
    assert [name for name, metric in METRICS.items() if not metric.higher_is_better] == ["mae"]
    for name, better, worse in (("mae", 0.5, 0.9), ("corr", 0.9, 0.5)):
        metric = METRICS[name]
        assert metric.best([worse, better]) == better and metric.gain(better - worse) > 0
        assert metric.sign == (1 if metric.direction == "higher is better" else -1)
        assert metric.arrow == {"mae": "↓", "corr": "↑"}[name]
    assert METRICS["acc2_nonzero"].label == "Acc2 (non-zero)"
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)


def test_acc2_at_the_median_leaves_out_the_clips_that_lie_on_it():
    targets = np.array([-1.0, 0.0, 0.5, 0.5, 2.0])
    assert acc2_median(np.array([0.4, 0.6, 9.0, -9.0, 0.6]), targets, 0.5) == pytest.approx(2 / 3)
    assert acc2_median(np.full(5, 0.5), targets, 0.5) == pytest.approx(2 / 3)  # a constant is above nothing
    assert acc2_median(targets, targets, 2.0) is None


def test_acc2_at_the_median_needs_labels_of_training_and_no_convention():
    targets = np.array([1.0, 2.0, 2.5, 3.0])  # all positive: a constant is always right by the sign
    assert sentiment_metrics(np.ones(4), targets).values["acc2_has_zero"] is None
    assert acc2_median(np.ones(4), targets, 2.25) == 0.5
