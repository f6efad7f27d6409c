"""Figures of chapter 4: they show the given numbers, or the model's attention."""

import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_hex

from ktnet_lite.course import cross_attention
from ktnet_lite.data.batching import collate
from ktnet_lite.reporting.plots import COLOURS
from small import UNALIGNED, make_model, make_split


def drawn_values(axes) -> list[list[float]]:
    return [list(line.get_ydata()) for line in axes.get_lines()]


def test_scale_draws_each_reading_in_both_panels():
    largest, slopes = {"a": [0.1, 0.2], "b": [0.3, 0.4], "c": [0.5, 0.6]}, {"a": [1, 2], "b": [3, 4], "c": [5, 6]}
    left, right = cross_attention.scale([4, 16], largest, slopes).axes
    assert drawn_values(left) == list(largest.values()) and drawn_values(right) == list(slopes.values())
    assert [label.get_text() for label in right.get_xticklabels()] == ["4", "16"]


def test_residual_draws_what_is_kept_and_the_gradient_by_layer():
    left, right = cross_attention.residual(
        {"with": [1, 0.9], "without": [0.1, 0]}, {"with": [1, 1], "without": [0.1, 0.01]}
    ).axes
    assert drawn_values(left)[:2] == [[1, 0.9], [0.1, 0]] and drawn_values(right) == [[1, 1], [0.1, 0.01]]
    assert list(left.get_lines()[0].get_xdata()) == [1, 2]


def test_pairs_are_arrows_from_source_to_target_in_the_sources_colour():
    (axes,) = cross_attention.pairs({"ours": ["language_to_audio", "audio_to_vision"]}).axes
    arrows = [text for text in axes.texts if getattr(text, "arrow_patch", None)]
    assert [(arrow.xyann, arrow.xy) for arrow in arrows] == [
        (cross_attention.PLACES["language"], cross_attention.PLACES["audio"]),
        (cross_attention.PLACES["audio"], cross_attention.PLACES["vision"]),
    ]
    colours = [to_hex(arrow.arrow_patch.get_edgecolor()).upper() for arrow in arrows]
    assert colours == [COLOURS["language"], COLOURS["reconstructed"]]
    assert {text.get_text() for text in axes.texts} - {""} == {"L", "V", "A'"}


@pytest.mark.parametrize("head", ["mean", "2"])
def test_word_map_is_the_models_attention_with_words_on_its_axis(head):
    said = tuple(tuple("abcd"[:n]) for n in UNALIGNED["language"])
    split = dataclasses.replace(make_split(UNALIGNED), words=said)
    model = make_model("ours")
    axes = cross_attention.word_map(model, split, 0, "language_to_audio", 2, head).axes[0]
    weights = model.attention_maps(collate(split, [0], model.observed).streams)["language_to_audio"][1][0]
    expected = weights.mean(0) if head == "mean" else weights[1]
    np.testing.assert_array_equal(axes.images[0].get_array(), expected)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["ϕ a", "ϕ b", "ϕ c", *(f"θ {n + 1}" for n in range(6))]  # three words, six frames
    assert axes.get_ylabel() == "A'"


def test_words_has_a_dot_for_each_kind_and_seed_on_one_scale():
    seeds = [{"valence": 1.5, "filler": 0.8}, {"valence": 1.2, "filler": 0.9}]
    left, right = cross_attention.words({"x": {"untrained": seeds[:1], "trained": seeds}, "y": {"trained": seeds}}).axes
    assert drawn_values(left)[1:] == [[1.5, 0.8], [1.5, 0.8], [1.2, 0.9]]
    assert left.get_ylim() == right.get_ylim()


def test_targets_has_every_seed_and_the_papers_number():
    left, right = cross_attention.targets(
        {"audio": [1.0, 1.2], "all": [0.9, 1.0]}, {"audio": 0.6, "all": 0.5}, 1.3
    ).axes
    drawn = [list(line.get_xdata()) for line in left.get_lines()]
    assert drawn[0] == [1.3, 1.3] and drawn[1] == [1.0, 1.2] and drawn[2] == [pytest.approx(1.1)]
    assert [list(line.get_xdata()) for line in right.get_lines()] == [[0.6], [0.5]]
    assert [label.get_text() for label in left.get_yticklabels()] == ["A'", "all"]
