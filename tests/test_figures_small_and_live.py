"""Figures of chapter 13: they show the numbers that they are given; costs are those of the models."""

from itertools import pairwise

import numpy as np
import pytest

from ktnet_lite.config import TrainConfig
from ktnet_lite.course import small_and_live
from ktnet_lite.data import synthetic
from ktnet_lite.reporting.plots import COLOURS, GREY


def test_the_frontier_joins_what_nothing_else_beats():
    points = {"a": (1e6, [0.5, 0.7]), "b": (2e6, [0.4]), "worse": (3e6, [0.45]), "c": (4e6, [0.3, 0.3])}
    drawn = small_and_live.frontier(points)
    (panel,) = drawn.axes
    line = panel.lines[0]
    assert list(line.get_xdata()) == [1, 2, 4] and list(line.get_ydata()) == [0.6, 0.4, 0.3]
    colours = {text.get_text(): marker.get_color() for text, marker in zip(panel.texts, panel.lines[1:], strict=True)}
    assert colours == {**dict.fromkeys("abc", COLOURS["any"]), "worse": GREY}


@pytest.mark.parametrize(("least", "most", "labels"), [(150, 700, {"200", "500"}), (60, 2000, {"100", "500", "1,000"})])
def test_the_ticks_of_the_frontier_do_not_meet(least, most, labels):
    (panel,) = (drawn := small_and_live.frontier({"a": (least * 1e6, [0.5]), "b": (most * 1e6, [0.4])})).axes
    drawn.draw_without_rendering()
    assert labels <= {tick.get_text() for tick in panel.get_xticklabels()}
    boxes = sorted(
        (tick.get_window_extent() for tick in panel.get_xticklabels(which="both") if tick.get_text()),
        key=lambda box: box.x0,
    )
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_cheaper_models_cost_less():
    size = {"variant": "any", "missing": "both"}
    pairs, bottleneck, narrow = (
        small_and_live.cost(TrainConfig(**size, **more)) for more in ({}, {"fusion": "bottleneck"}, {"dim": 20})
    )
    assert bottleneck < pairs / 3 and pairs / 3 < narrow < pairs / 1.5


def test_a_grid_shortens_the_counted_clip_as_it_shortens_the_data():
    data = synthetic.make((8, 4, 40)).dataset
    coarse, whole = TrainConfig(variant="any", grid=8), TrainConfig(variant="any")
    assert small_and_live.cost(coarse, data) < 0.7 * small_and_live.cost(whole, data)
    assert small_and_live.cost(TrainConfig(variant="any", grid=99), data) == small_and_live.cost(whole)


def test_what_a_step_may_see_by_time_and_by_index():
    times = {"language": np.arange(1, 4) / 3, "audio": np.arange(1, 7) / 6}
    left, right = small_and_live.sight(times, "language", "audio").axes
    by_time, by_index = (np.array(panel.collections[0].get_array()).reshape(3, 6) for panel in (left, right))
    assert by_time.sum(axis=1).tolist() == [2, 4, 6] and by_index.sum(axis=1).tolist() == [1, 2, 3]


def test_curves_show_their_numbers():
    scores = {"all arrives": ([0.5, 1.0], [0.1, 0.2]), "a drop-out": ([0.5, 1.0], [0.1, 0.4])}
    (panel,) = small_and_live.running(scores, 0.3, (0.2, 0.6)).axes
    assert [line.get_label() for line in panel.lines] == ["true score", *scores]
    assert list(panel.lines[2].get_ydata()) == [0.1, 0.4]
    (panel,) = small_and_live.heard({"one": np.array([0.9, 0.5])}, [0.5, 1.0]).axes
    assert panel.lines[0].get_ydata().tolist() == pytest.approx([0.9, 0.5])
