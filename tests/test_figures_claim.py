"""Figures of chapter 7: they show the given data."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from ktnet_lite.course import claim
from ktnet_lite.data import synthetic


def test_a_heat_map_shows_every_number_and_brackets_undetected_differences():
    values = np.array([[0.4, 0.0], [-0.1, 0.2]])
    sure = np.array([[True, False], [False, True]])
    drawn = claim.heat_maps(
        {"a": ("full", values, sure), "b": ("language_vision", -values, None)}, (0.0, 1.0), (0.0, 3.0)
    )
    left, right = drawn.axes
    assert [text.get_text() for text in left.texts] == ["+0.40", "(0.00)", "(-0.10)", "+0.20"]
    assert [text.get_text() for text in right.texts] == ["-0.40", "0.00", "+0.10", "-0.20"]
    mesh = left.collections[0]
    np.testing.assert_allclose(mesh.get_array().reshape(2, 2), values)
    assert mesh.norm(0.0) == 0.5 and mesh.norm(0.4) == 1.0  # zero is the middle of the common scale
    assert left.texts[2].get_position() == (0.5, 1.5)  # second redundancy, first noise
    assert [label.get_text() for label in left.get_xticklabels()] == ["0", "3"]
    for panel, other in zip(drawn.axes, ("full", "language_vision"), strict=True):
        keys = panel.get_legend()
        assert [text.get_text() for text in keys.get_texts()] == ["ours better", f"{other} better"]
        best, worst = (to_hex(panel.collections[0].cmap(end)) for end in (0.0, 1.0))
        assert [to_hex(key.get_facecolor()) for key in keys.get_patches()] == [best, worst]


def test_lines_of_the_laughter_are_the_errors():
    ideal, trained = {"ours": [1, 1]}, {"ours": [2, 2], "full, trained without laughter": [1, 3]}
    left, right = claim.laughter((0, 2), ideal, trained, {0: 0.5}).axes
    assert [line.get_ydata().tolist() for line in left.lines] == [[1, 1]]
    assert [line.get_ydata().tolist() for line in right.lines] == [[2, 2], [1, 3], [0.5]]


@pytest.mark.parametrize(("redundancy", "laughter"), [(0.0, 0.0), (0.75, 1.0), (1.0, 3.0)])
def test_the_knobs_show_the_voice_the_ceilings_and_the_place(redundancy, laughter):
    voice, errors, place = claim.knobs(redundancy, laughter).axes
    heard, clean, best = (line.get_ydata() for line in voice.lines)
    gap = np.abs(heard - clean).max()
    assert gap == pytest.approx(0, abs=1e-6) if laughter == 0 else gap > 0.1
    if redundancy == 1:  # words and face determine the whole voice
        np.testing.assert_allclose(best, clean)
    if redundancy == 0:
        np.testing.assert_array_equal(best, 0)
    made = synthetic.make((1, 1, 200), redundancy, laughter)
    scores = synthetic.ceiling(made.factors["test"], ("language", "vision"), redundancy, laughter)
    assert errors.patches[2].get_width() == pytest.approx(np.abs(scores - made.dataset["test"].targets).mean())
    assert place.lines[1].get_xdata() == [redundancy] and place.lines[1].get_ydata() == [laughter]
