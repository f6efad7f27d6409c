"""Figures of the results page: they show the given numbers."""

import numpy as np
import pytest

from ktbook.result_plots import learning_curves, panels
from ktnet_lite.measures.statistics import Interval
from ktnet_lite.names import System
from ktnet_lite.reporting.plots import COLOURS


def test_panels_share_their_rows_and_leave_gaps_for_missing_ones():
    full, ours = System("ktnet", "full"), System("ktnet", "ours")
    rows = {
        "here": {full: Interval(0.5, 0.4, 0.7, 5), ours: Interval(0.9, None, None, 1)},
        "there": {ours: Interval(0.6, 0.5, 0.7, 5)},
    }
    left, right = panels(rows, "mae", {"here": 1.2, "there": 1.3}).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["full", "ours"]
    shown = [(line.get_xdata(), line.get_ydata()) for line in left.lines]
    assert shown[0][0] == [1.2, 1.2]
    assert [list(np.ravel(x)) for x, _ in shown[1:]] == [[0.4, 0.7], [0.5], [0.9]]
    assert [list(np.ravel(line.get_ydata())) for line in right.lines[1:]] == [[1, 1], [1]]
    assert right.lines[-1].get_color() == COLOURS["reconstructed"]
    assert (left.get_title(), right.get_xlabel()) == ("here", "MAE")


def test_curves_are_means_with_a_band_over_several_seeds():
    runs = {"here": {"full": [[1.0, 0.8], [0.8, 0.4]], "ours": [[0.5, 0.3]]}}
    drawn = learning_curves(runs, "error")
    (panel,) = drawn.axes
    full, ours = panel.lines
    assert list(full.get_xdata()) == [1, 2] and full.get_ydata() == pytest.approx([0.9, 0.6])
    assert list(ours.get_ydata()) == [0.5, 0.3]
    (band,) = panel.collections
    corners = band.get_paths()[0].vertices[:, 1]
    assert (corners.min(), corners.max()) == (0.4, 1.0)
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["full", "ours"]
