"""Figures of chapter 9: they show the given clips and numbers."""

import numpy as np
from matplotlib.colors import to_rgba

from ktnet_lite.course import own_data
from ktnet_lite.data.schema import Dataset, Header, Split
from ktnet_lite.measures.statistics import Interval
from ktnet_lite.reporting.plots import COLOURS
from small import make_split


def test_presence_colours_the_clips_that_have_a_modality():
    whole = make_split({"language": [1, 0, 2], "vision": [1, 1, 1], "audio": [0, 0, 3]})
    lacking = Split({"vision": whole.streams["vision"]}, whole.targets, whole.ids)
    drawn = own_data.presence(Dataset(Header("x", "sentiment", True), {"train": lacking, "test": whole}))
    cells = [panel.images[0].get_array() for panel in drawn.axes]
    assert [panel.get_title() for panel in drawn.axes] == ["train", "test"]
    there = [(np.asarray(c) != own_data.ABSENT).any(axis=-1).astype(int).tolist() for c in cells]
    assert there == [[[0] * 3, [1] * 3, [0] * 3], [[1, 0, 1], [1, 1, 1], [0, 0, 1]]]
    np.testing.assert_allclose(cells[1][0, 0], to_rgba(COLOURS["language"]))


def test_answers_show_each_seed_and_the_intervals():
    errors = {"ours": [1.0, 1.2], "full, audio 0": [1.5, 1.7]}
    left, right = own_data.answers(errors, {"full, audio 0": Interval(-0.5, -0.7, -0.3, 2)}, ("median", 2.0)).axes
    points = [line.get_xdata().tolist() for line in left.get_lines() if line.get_marker() == "o"]
    assert points == [[1.0, 1.2], [1.5, 1.7]]
    line, point, zero = right.get_lines()
    assert list(line.get_xdata()) == [-0.7, -0.3] and list(point.get_xdata()) == [-0.5] and zero.get_xdata()[0] == 0
    assert list(line.get_ydata()) == [1, 1] and left.get_lines()[-1].get_xdata()[0] == 2.0
    assert [text.get_text() for text in left.get_yticklabels()] == list(errors)
    assert left.get_lines()[0].get_color() == COLOURS["reconstructed"]
