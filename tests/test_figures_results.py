"""Figures of the results page: they show the given numbers."""

import numpy as np
import pytest

from ktbook.result_plots import Mark, epochs, forest, panels
from ktnet_lite.measures.statistics import Interval
from ktnet_lite.reporting.plots import COLOURS


def test_panels_share_their_rows_and_leave_gaps_for_missing_ones():
    rows = {
        "here": {"full": Interval(0.5, 0.4, 0.7, 5), "ours": Interval(0.9, None, None, 1)},
        "there": {"ours": Interval(0.6, 0.5, 0.7, 5)},
    }
    colours = {"full": "audio", "absent": "missing", "ours": "reconstructed"}
    left, right = panels(rows, "mae", {"here": 1.2, "there": 1.3}, colours).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["full", "ours"]
    shown = [(line.get_xdata(), line.get_ydata()) for line in left.lines]
    assert shown[0][0] == [1.2, 1.2]
    assert [list(np.ravel(x)) for x, _ in shown[1:]] == [[0.4, 0.7], [0.5], [0.9]]
    assert [list(np.ravel(line.get_ydata())) for line in right.lines[1:]] == [[1, 1], [1]]
    assert right.lines[-1].get_color() == COLOURS["reconstructed"]
    assert (left.get_title(), right.get_xlabel()) == ("here", "MAE")


def test_five_settings_take_two_rows():
    rows = {f"setting {i}": {"ours": Interval(0.5, 0.4, 0.7, 5)} for i in range(5)}
    axes = panels(rows, "mae", dict.fromkeys(rows, 1.0), {"ours": "reconstructed"}).axes
    assert [panel.get_title() for panel in axes] == list(rows)
    assert [panel.get_yticklabels()[0].get_text() for panel in axes] == ["ours", "", "", "ours", ""]


def test_claims_stand_below_each_other_in_the_colour_of_their_verdict():
    claims = {
        "A is better": {
            "here": {"MAE": Mark(Interval(0.1, 0.05, 0.2, 5), "holds")},
            "there": {"accuracy": Mark(Interval(-0.1, -0.2, -0.05, 5), "contradicted")},
        },
        "B is close": {"here": {"MAE": Mark(Interval(0.0, -0.1, 0.1, 5), "undecided", 0.02)}},
    }
    left, right = forest(claims).axes
    assert (left.get_xlabel(), right.get_xlabel()) == ("gain in MAE", "gain in accuracy")
    assert [label.get_text() for label in left.get_yticklabels()] == ["here", "there", "here"]
    assert [text.get_text() for text in left.texts] == ["A is better", "B is close"]
    zero, interval, point, *_, margin = left.lines
    assert list(zero.get_xdata()) == [0, 0]
    assert list(interval.get_xdata()) == [0.05, 0.2] and list(point.get_xdata()) == [0.1]
    assert [line.get_color() for line in (point, right.lines[-1])] == [COLOURS["audio"], COLOURS["valid"]]
    assert list(margin.get_xdata()) == [-0.02] and left.lines[-2].get_color() == COLOURS["missing"]
    heights = [line.get_ydata()[0] for line in (point, right.lines[-1], margin)]
    assert heights == sorted(heights) and list(left.get_yticks()) == heights


def test_curves_end_with_the_shortest():
    drawn = epochs({"here": {"full": [[1.0, 0.8, 0.6], [0.8, 0.4]]}}, "error")
    assert drawn.axes[0].lines[0].get_ydata() == pytest.approx([0.9, 0.6])


def test_curves_are_means_with_a_band_over_several_seeds():
    runs = {"here": {"full": [[1.0, 0.8], [0.8, 0.4]], "ours": [[0.5, 0.3]]}}
    drawn = epochs(runs, "error")
    (panel,) = drawn.axes
    full, ours = panel.lines
    assert list(full.get_xdata()) == [1, 2] and full.get_ydata() == pytest.approx([0.9, 0.6])
    assert list(ours.get_ydata()) == [0.5, 0.3]
    (band,) = panel.collections
    corners = band.get_paths()[0].vertices[:, 1]
    assert (corners.min(), corners.max()) == (0.4, 1.0)
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["full", "ours"]
