"""Figures of chapter 2: they show the given numbers."""

import numpy as np

from ktnet_lite.course import encoders
from ktnet_lite.model.layers import sinusoidal_positions
from ktnet_lite.reporting.plots import COLOURS


def test_scale_of_scores_draws_a_curve_for_each_name():
    spread = {"raw": np.array([2.0, 4.0]), "scaled": np.array([1.0, 1.0])}
    top = {"raw": np.array([0.5, 0.9]), "scaled": np.array([0.4, 0.3])}
    left, right = encoders.scale_of_scores([4, 16], spread, top).axes
    for axes, curves in ((left, spread), (right, top)):
        drawn = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
        assert drawn == {name: list(values) for name, values in curves.items()}
        assert [label.get_text() for label in axes.get_xticklabels()] == ["4", "16"]


def test_positions_show_the_table_and_dot_products_by_distance():
    table = sinusoidal_positions(12, 8).numpy()
    left, right = encoders.positions(table, [2, 6]).axes
    np.testing.assert_array_equal(left.images[0].get_array(), table.T)
    for line, step in zip(right.lines, (2, 6), strict=True):
        assert list(line.get_xdata()) == list(range(-step, 12 - step))
        np.testing.assert_allclose(line.get_ydata(), table @ table[step])


def test_weights_are_written_into_their_cells():
    maps = {"right": np.array([[1.0, 0.0], [0.25, 0.75]]), "wrong": np.full((2, 2), 0.5)}
    panels = encoders.weights(maps, valid=1).axes
    assert [panel.get_title() for panel in panels] == list(maps)
    assert [text.get_text() for text in panels[0].texts] == ["1.00", "0.00", "0.25", "0.75"]
    assert list(panels[0].lines[0].get_xdata()) == [0.5, 0.5]


def test_by_modality_draws_every_seed_in_its_colour_and_the_best():
    groups = {"raw": {"language": [0.1], "audio": [0.6]}, "trained": {"language": [0.2, 0.3], "audio": [0.5, 0.6]}}
    best = {"language": 0.5, "audio": 0.7}
    (axes,) = encoders.by_modality(groups, best, "$R^2$", ("nothing", 0.0)).axes
    drawn = [(list(line.get_xdata()), line.get_color()) for line in axes.lines]
    for name, value in best.items():
        assert ([value], "#737373") in drawn
        for values in groups.values():
            assert (values[name], COLOURS[name]) in drawn
    assert [text.get_text() for text in axes.get_legend().texts] == ["raw", "trained", "best possible", "nothing"]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(best)
    (alone,) = encoders.by_modality({"encoder": groups["trained"]}, best, "MAE").axes
    assert len(alone.lines) == 4
