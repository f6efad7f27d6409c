"""Figures of chapter 12: they show the numbers that they are given."""

import numpy as np
import pytest

from ktnet_lite.course import doubt
from ktnet_lite.reporting.plots import COLOURS
from ktnet_lite.training.decoding import Decoded, Fidelity


def test_ranks_are_a_density_that_is_flat_for_true_distributions():
    rng = np.random.default_rng(0)
    zeros, ones = np.zeros((2000, 4)), np.ones((2000, 4))
    target = rng.normal(size=ones.shape)
    drawn = doubt.ranks({"language": (zeros, ones, target), "vision": (zeros, ones / 3, target)})
    flat, narrow = (np.array([bar.get_height() for bar in axes.patches]) for axes in drawn.axes)
    assert flat.mean() == pytest.approx(1) and np.abs(flat - 1).max() < 0.15
    assert narrow.mean() == pytest.approx(1) and narrow[[0, -1]].min() > 2 * narrow[4:6].max()
    assert [axes.get_title() for axes in drawn.axes] == ["language → audio", "vision → audio"]


def test_variances_are_averaged_over_equal_shares_of_the_features():
    stated = np.linspace(0.1, 2, 400).reshape(100, 4)
    drawn = doubt.variances({"vision": (stated, 2 * stated)})
    means, equal = drawn.axes[0].lines
    assert len(means.get_xdata()) == 20
    np.testing.assert_allclose(means.get_ydata(), 2 * means.get_xdata())
    np.testing.assert_allclose(equal.get_xdata(), equal.get_ydata())


def test_intervals_stand_in_the_order_of_the_scores_and_mark_what_is_outside():
    scores = np.array([1.0, -1.0, 0.0])
    drawn = doubt.intervals(scores - 0.5, scores + 0.5, scores, np.array([1.2, 2.0, 0.5]))
    (axes,) = drawn.axes
    line, inside, outside = axes.lines
    assert line.get_ydata().tolist() == [-1, 0, 1]
    assert inside.get_xdata().tolist() == [1, 2] and inside.get_ydata().tolist() == [0.5, 1.2]
    assert outside.get_xdata().tolist() == [0] and outside.get_color() == COLOURS["valid"]


def test_widths_and_coverage_stand_side_by_side():
    drawn = doubt.widths({"language": 1.5, "audio": 0.5}, {"language": 0.8, "audio": 0.75}, 0.8)
    left, right = drawn.axes
    assert [bar.get_width() for bar in left.patches] == [1.5, 0.5]
    assert list(right.lines[1].get_xdata()) == [0.8, 0.75] and list(right.lines[0].get_xdata()) == [0.8, 0.8]
    assert [label.get_text() for label in left.get_yticklabels()] == ["language", "audio"]


def test_faithful_and_useful_voices_stand_side_by_side():
    def measured(x):
        return Fidelity(0.5 + x, x, 2 * x, {"pitch [Hz]": Decoded(3 * x, 3 * x, 0.9, -x)})

    models = {"a": {"language": measured(0.1), "combined": measured(0.2)}, "b": {"language": measured(0.3)}}
    models["b"]["combined"] = measured(0.4)
    drawn = doubt.faithful(models, "pitch [Hz]")
    for axes, expected in zip(drawn.axes, ([0.6, 0.7], [0.1, 0.2], [0.3, 0.6], [0.2, 0.4]), strict=True):
        np.testing.assert_allclose(axes.lines[0].get_xdata(), expected)
    lines = {line.get_label(): list(line.get_xdata()) for line in drawn.axes[2].lines}
    assert lines["ceiling"] == [0.9, 0.9] and lines["placebo"] == [-0.3, -0.4]
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == ["language", "A'"]
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["a", "b", "ceiling", "placebo"]
