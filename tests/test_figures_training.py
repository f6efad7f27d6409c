"""Figures of chapter 5: they show the given data."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from ktnet_lite.course import training as pictures
from ktnet_lite.reporting.plots import COLOURS
from small import UNALIGNED, make_batch, make_model, make_objective

HISTORY = [{"task": 1.5, "valid_mae": 1.2, "test_mae": 1.3}, {"task": 1.0, "valid_mae": 1.0, "test_mae": 1.4}]


def lines(axes):
    return {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}


def test_the_voice_appears_only_in_training():
    training, test = pictures.who_sees_what().axes
    texts = [{text.get_text() for text in axes.texts if text.get_text()} for axes in (training, test)]
    assert texts[0] - texts[1] == {"voice", "teacher, $f_A$", "Eq. (1)", "Eq. (5)"}
    assert texts[1] - texts[0] == {"no voice"}
    arrows = [sum(not text.get_text() for text in axes.texts) for axes in (training, test)]
    assert arrows == [len(pictures.ARROWS) + len(pictures.TRAINING_ARROWS), len(pictures.ARROWS)]


def test_the_parts_are_all_of_the_model_each_once():
    objective = make_objective(make_model("ours"), "random")
    parameters = [parameter for part in pictures.parts(objective).values() for parameter in part.parameters()]
    assert {id(parameter) for parameter in parameters} == {id(parameter) for parameter in objective.parameters()}
    assert len(parameters) == len(list(objective.parameters()))


def test_the_table_has_the_output_shape_of_each_part_and_leaves_no_hook():
    objective = make_objective(make_model("ours"), "random")
    rows = pictures.parts_table(objective, make_batch(UNALIGNED)).splitlines()
    longest = {name: max(lengths) for name, lengths in UNALIGNED.items()}
    (delta,) = [row for row in rows if row.startswith("delta")]
    assert f"(4, {longest['language'] + longest['vision']}, 8)" in delta
    assert [row.split()[0] for row in rows if row.endswith("frozen")] == ["audio"]
    count = sum(parameter.numel() for parameter in objective.model.fusion.head.parameters())
    assert any(row.startswith("head") and row.endswith(f"(4, 7){count:12,}") for row in rows)
    assert not any(part._forward_hooks for part in pictures.parts(objective).values())


def test_steps_and_epochs_are_drawn_as_they_are():
    (axes,) = pictures.over_steps({"a": [3.0, 1.0], "b": [2.0, 2.0]}, "loss", 4.0, ("limit", 0.8)).axes
    assert lines(axes) == {"a": [3.0, 1.0], "b": [2.0, 2.0], "limit": [0.8, 0.8]} and axes.get_ylim() == (0, 4.0)
    left, right = pictures.curves({"good": HISTORY, "bad": HISTORY[:1]}, floor=1.1, top=3.0).axes
    assert lines(left) == {"always the median": [1.1, 1.1], "train": [1.5, 1.0], "valid": [1.2, 1.0]}
    assert right.get_title() == "bad" and left.get_ylim() == right.get_ylim() == (0, 3.0)


def test_the_ring_marks_the_best_validation_epoch():
    (axes,) = pictures.selection({"seed 0": HISTORY}).axes
    assert lines(axes)["valid"] == [1.2, 1.0] and lines(axes)["test"] == [1.3, 1.4]
    rings = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in rings] == [(2, 1.0), (2, 1.4)]


def test_padding_fills_each_clip_up_to_the_longest_of_its_batch():
    lengths = np.array([1, 9, 2, 8])
    cuts = {"any": [np.array([0, 1]), np.array([2, 3])], "like": [np.array([0, 2]), np.array([3, 1])]}
    for axes, expected in zip(pictures.padding(lengths, cuts).axes, ([8, 0, 6, 0], [1, 0, 1, 0]), strict=True):
        padded, steps = axes.patches  # the steps are drawn on top of the padded length
        order = np.concatenate(cuts[axes.get_title().split(":")[0]])
        assert list(steps.get_data().values) == list(lengths[order])
        assert list(padded.get_data().values - steps.get_data().values) == expected
        assert to_hex(padded.get_facecolor()) == COLOURS["missing"].lower()
        share = sum(expected) / (sum(expected) + lengths.sum())
        assert float(axes.get_title().split(": ")[1].split("%")[0]) == pytest.approx(100 * share, abs=0.5)
