"""Figures of chapter 6: they show the given numbers."""

import numpy as np
from matplotlib.colors import to_hex

from ktnet_lite.course import missing_audio
from ktnet_lite.measures.statistics import Interval, mean_interval
from ktnet_lite.reporting.plots import COLOURS


def points(axes):
    """Return the positions of the filled points, one per row."""
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.lines
        if line.get_marker() == "o" and line.get_markerfacecolor() != "none"
    ]


def spans(axes):
    return [list(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 3]


def test_published_has_a_panel_for_each_part_and_a_standard_error_for_each_system():
    percent = {"aligned": {"full": 82.9, "ours": 82.3}, "unaligned": {"full": 82.3, "ours": 81.9}}
    error = {part: {system: 1.5 for system in rows} for part, rows in percent.items()}
    first, second = missing_audio.published(percent, error).axes
    assert points(first) == [(82.9, 0), (82.3, 1)] and points(second) == [(82.3, 0), (81.9, 1)]
    np.testing.assert_allclose(spans(first), [[81.4, 84.4], [80.8, 83.8]])
    assert [label.get_text() for label in first.get_yticklabels()] == ["full", "ours"]


def test_runs_show_every_seed_the_mean_and_its_interval():
    values = {"ours": [0.9, 1.0, 1.1], "full, audio = 0": [1.2]}
    (axes,) = missing_audio.runs(values, "mae", {"best": 0.3}).axes
    np.testing.assert_allclose(points(axes), [(1.0, 0), (1.2, 1)])
    interval = mean_interval(values["ours"])
    assert spans(axes) == [[interval.low, interval.high]]
    rings = [list(line.get_xdata()) for line in axes.lines if line.get_markerfacecolor() == "none"]
    assert rings == [[0.9, 1.0, 1.1], [1.2]]
    assert axes.lines[0].get_xdata()[0] == 0.3 and axes.texts[0].get_text() == "best"
    assert axes.get_xlabel() == "MAE (lower is better)"


def test_resamples_are_shares_and_the_interval_is_filled():
    means = np.arange(3000) / 3000
    (axes,) = missing_audio.resamples(means, (0.2, 0.8)).axes
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(sum(heights), 1)
    filled = [to_hex(bar.get_facecolor()) == COLOURS["language"].lower() for bar in axes.patches]
    assert filled == [False] * 6 + [True] * 18 + [False] * 6
    assert [line.get_xdata()[0] for line in axes.lines] == [0.2, 0.8]
    (few,) = missing_audio.resamples(np.array([0.0, 1.0, 1.0, 2.0]), (1.0, 2.0)).axes
    assert [bar.get_height() for bar in few.patches] == [0.25, 0.5, 0.25]
    filled = [to_hex(bar.get_facecolor()) == COLOURS["language"].lower() for bar in few.patches]
    assert filled == [False, True, True]


def test_pairing_shows_each_clip_once_and_each_interval():
    ours, other = np.array([0.1, 0.5]), np.array([0.2, 0.4])
    intervals = {"paired": Interval(-0.1, -0.2, 0.0, 2), "unpaired": Interval(-0.1, -0.5, 0.3, 2)}
    left, right = missing_audio.pairing(ours, other, ("ours", "full"), intervals).axes
    np.testing.assert_allclose(left.collections[0].get_offsets(), [[0.2, 0.1], [0.4, 0.5]])
    assert spans(right) == [[-0.2, 0.0], [-0.5, 0.3]]
    assert right.get_xlabel() == "MAE of ours minus full"


def test_power_draws_each_curve():
    curves = {"1 seed": [0.05, 0.2], "5 seeds": [0.05, 0.6]}
    (axes,) = missing_audio.power([0, 1], curves, marked=0.5).axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert drawn["1 seed"] == [0.05, 0.2] and drawn["5 seeds"] == [0.05, 0.6]
    assert [0.5, 0.5] in [list(line.get_xdata()) for line in axes.lines]
