"""Figures of chapter 8: they show the given numbers."""

import numpy as np
import pytest

from ktnet_lite.course import ablations
from ktnet_lite.measures.statistics import Interval
from ktnet_lite.reporting.plots import COLOURS


def points(axes):
    """Return the position of the filled point of each setting."""
    names = {tick: label.get_text() for tick, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)}
    filled = [line for line in axes.lines if line.get_marker() in "oD" and line.get_markerfacecolor() != "none"]
    return {names[line.get_ydata()[0]]: float(line.get_xdata()[0]) for line in filled}


def test_a_forest_shows_differences_intervals_and_seeds_sorted_within_groups():
    groups = {
        "a": {"worse": Interval(0.2, 0.1, 0.3, 2), "better": Interval(-0.1, -0.2, 0.0, 2)},
        "b": {"one run": Interval(0.05, None, None, 1)},
    }
    seeds = {"worse": [0.1, 0.3], "better": [-0.2, 0.0], "one run": [0.05]}
    parameters = {"worse": 39_441, "better": 94_801, "one run": 500}
    (axes,) = ablations.forest(groups, seeds, parameters, floor=0.08).axes
    assert points(axes) == {"better": -0.1, "worse": 0.2, "one run": 0.05}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["better", "worse", "one run"]
    assert [list(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 3] == [[-0.2, 0.0], [0.1, 0.3]]
    rings = [list(line.get_xdata()) for line in axes.lines if line.get_markerfacecolor() == "none"]
    assert rings == [[-0.2, 0.0], [0.1, 0.3], [0.05]]
    assert [text.get_text() for text in axes.texts] == ["a", "b", "parameters", "95 k", "39 k", "0 k"]
    (band,) = axes.patches
    assert (band.get_x(), band.get_width()) == (-0.08, pytest.approx(0.16))
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row is on top


def test_ranks_are_by_each_seed_and_by_the_mean():
    (axes,) = ablations.ranks({"x": [1.0, 3.0], "y": [2.0, 1.5], "z": [3.0, 2.0]}, {"y": "language"}).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert lines == {"x": [1, 3, 2], "y": [2, 1, 1], "z": [3, 2, 3]}
    assert [line.get_color() == COLOURS["language"] for line in axes.lines] == [False, True, False]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "by seed 0 alone",
        "by seed 1 alone",
        "by their mean",
    ]


def test_published_numbers_have_no_interval_and_ours_have():
    ours = {"a": Interval(0.1, 0.0, 0.2, 3), "b": Interval(-0.1, -0.3, 0.1, 3)}
    left, right = ablations.beside({"a": 0.001, "b": 0.006}, ours).axes
    assert points(left) == {"a": 0.001, "b": 0.006}
    assert not [line for line in left.lines if line.get_linewidth() == 3]
    assert [list(line.get_xdata()) for line in right.lines if line.get_linewidth() == 3] == [[0.0, 0.2], [-0.3, 0.1]]


def test_seeds_needed_are_the_curves_and_ours_the_line():
    (axes,) = ablations.seeds_needed([0.01, 0.1], {"large": [100.0, 4.0], "small": [9.0, 2.0]}, had=3).axes
    first, second, line = axes.lines
    np.testing.assert_array_equal(first.get_ydata(), [100.0, 4.0])
    np.testing.assert_array_equal(second.get_ydata(), [9.0, 2.0])
    assert line.get_ydata()[0] == 3 and axes.get_ylim()[0] == 1
