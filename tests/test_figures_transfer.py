"""Figures of chapter 3: they show the given numbers."""

import numpy as np
import pytest

from ktnet_lite.course import transfer
from ktnet_lite.reporting.plots import COLOURS


def test_two_clocks_share_the_time_of_the_clip():
    (axes,) = transfer.two_clocks([0, 10, 20, 30], [5, 25]).axes
    series = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(series["$f_A$, own steps"].get_xdata(), [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(series["on the face's steps"].get_xdata(), [0.25, 0.75])
    assert list(series["on the face's steps"].get_ydata()) == [5, 25]


@pytest.mark.parametrize(("share", "mean", "median"), [(0.3, -0.1, -1.0), (0.6, 0.8, 2.0)])
def test_the_best_constant_is_the_mean_for_l2_and_the_median_for_l1(share, mean, median):
    (axes,) = transfer.best_constant(-1.0, 2.0, share).axes
    best = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(best, [mean, median], atol=0.011)
    assert [bar.get_height() for bar in axes.patches] == [pytest.approx(1 - share), share]


def test_the_collapse_has_a_line_for_each_seed_and_a_name_for_each_treatment():
    curve = {"step": [0, 10], "error": [1.0, 0.1], "std": [0.8, 0.2], "r2": [0.0, -0.5]}
    error, std, r2 = transfer.collapse({"naive": [curve, curve], "teacher": [curve]}).axes
    assert [len(panel.lines) for panel in (error, std, r2)] == [3, 3, 4]
    assert list(std.lines[1].get_ydata()) == [0.8, 0.2] and list(r2.lines[0].get_ydata()) == [0.0, -0.5]
    assert [text.get_text() for text in std.get_legend().get_texts()] == ["naive", "teacher"]


def test_variances_keep_each_dimension_together():
    (axes,) = transfer.variances([0.1, 0.3, 0.2], {"vision": [1.0, 3.0, 2.0]}).axes
    assert [bar.get_height() for bar in axes.patches] == [0.3, 0.2, 0.1]
    assert list(axes.lines[0].get_ydata()) == [3.0, 2.0, 1.0] and axes.lines[0].get_color() == COLOURS["vision"]


def test_retrieval_counts_the_clips_that_are_found():
    (axes,) = transfer.retrieval({"vision": [1, 1, 3, 4]}, 4).axes
    chance, vision = axes.lines
    np.testing.assert_allclose(chance.get_ydata(), [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(vision.get_ydata(), [0.5, 0.5, 0.75, 1])
    assert "median rank 2" in vision.get_label()


def test_one_clip_shows_each_stream_on_its_own_steps():
    (axes,) = transfer.one_clip([1.0, 2.0, 3.0, 4.0], {"vision": [1.5, 2.5]}).axes
    real, rebuilt = axes.lines
    assert list(real.get_ydata()) == [1.0, 2.0, 3.0, 4.0] and list(rebuilt.get_ydata()) == [1.5, 2.5]
    np.testing.assert_allclose(rebuilt.get_xdata(), [0.25, 0.75])
