"""The figures of chapter 10 draw what they are given."""

import numpy as np
import pytest

from ktnet_lite.course import any_modality
from ktnet_lite.names import MODALITIES
from ktnet_lite.reporting.plots import COLOURS

SUBSETS = ["language + vision", "language", "vision"]


def test_masks_have_a_panel_each_and_a_row_for_each_modality():
    masks = {"one": np.array([[1, 0, 1], [1, 1, 0]], bool), "two": np.ones((2, 3), bool)}
    first, second = any_modality.kept(masks).axes
    assert first.get_title() == "one" and [x.get_text() for x in first.get_yticklabels()] == list(MODALITIES)
    assert [image.get_array().ravel().tolist() for image in first.images] == [[1, 1], [0, 1], [1, 0]]
    assert len(second.images) == 3 and first.get_ylim() == (3, 0)


def test_errors_by_subset_are_points_in_the_colour_of_the_system():
    errors = {"any": dict(zip(SUBSETS, (0.4, 0.6, 0.8), strict=True)), "token": dict.fromkeys(SUBSETS, 0.9)}
    (axes,) = any_modality.by_subset(errors, {"training median": 1.2}).axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert list(lines["any"].get_xdata()) == [0.4, 0.6, 0.8]
    assert lines["any"].get_color() == lines["token"].get_color() == COLOURS["any"]
    assert lines["any"].get_marker() != lines["token"].get_marker()
    assert [text.get_text() for text in axes.get_yticklabels()] == SUBSETS
    assert "training median" in [text.get_text() for text in axes.texts]


def test_curves_shade_the_area_under_the_first_line():
    (axes,) = any_modality.curves([0.0, 0.5, 0.9], {"any": [0.4, 0.6, 0.8], "full, means": [0.3, 0.9, 1.2]}).axes
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [[0.4, 0.6, 0.8], [0.3, 0.9, 1.2]]
    assert len(axes.collections) == 1 and axes.get_ylim()[0] == 0


def test_rebuilt_leaves_the_diagonal_empty():
    r2 = np.array([[np.nan, 0.1, 0.2], [0.3, np.nan, -0.4], [0.5, 0.6, np.nan]])
    axes = any_modality.rebuilt(r2).axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.10", "0.20", "0.30", "-0.40", "0.50", "0.60"]
    assert axes.collections[0].norm.vmin == pytest.approx(-0.4)
