"""The pictures hold the numbers that they are given, say their units, and read on light and dark pages."""

from base64 import b64decode

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from ktnet_lite.data import synthetic
from ktnet_lite.measures.statistics import Interval
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.names import System
from ktnet_lite.reporting import plots
from small import UNALIGNED, make_model, make_split

HISTORY = [
    {"loss": 2.0, "task": 1.5, "vision_to_audio": 0.5, "valid_mae": 1.2},
    {"loss": 1.5, "task": 1.2, "vision_to_audio": 0.3, "valid_mae": 1.0, "valid_corr": 0.5},
]
QUALITY = [
    {"valid_vision_error": 0.9, "valid_vision_r2": 0.1, "valid_audio_std": 0.8},
    {"valid_vision_error": 0.7, "valid_vision_r2": 0.3, "valid_audio_std": 0.7},
]


def lines(axes):
    return {line.get_label(): line.get_ydata() for line in axes.get_lines()}


def test_loss_curves_show_the_terms_that_are_there_and_the_epoch_that_was_kept():
    left, right = plots.loss_curves(HISTORY, best_epoch=1).axes
    assert list(lines(left)["L, Eq. (6)"]) == [2.0, 1.5]
    assert list(lines(left)["vision → audio, Eq. (1)"]) == [0.5, 0.3]
    assert "language → audio, Eq. (1)" not in lines(left)
    assert list(lines(right)["MAE"]) == [1.2, 1.0]
    assert np.isnan(lines(right)["Corr"][0]) and lines(right)["Corr"][1] == 0.5
    assert right.get_lines()[-1].get_xdata()[0] == 2
    assert left.get_xlabel() == "epoch"


def test_loss_curves_show_the_terms_of_other_systems_and_say_where_there_are_none():
    history = [{"loss": 2.0, "task": 1.0, "second_translation": 1.0, "valid_mae": 1.0, "seconds": 1.0}] * 2
    left, _ = plots.loss_curves(history).axes
    assert [line.get_label() for line in left.lines] == ["L, Eq. (6)", "task, Eq. (5)", "second translation"]
    left, _ = plots.loss_curves([{"valid_mae": 1.0, "seconds": 1.0}]).axes
    assert not left.lines and [text.get_text() for text in left.texts] == ["solved, not trained"]


def test_reconstruction_over_time_shows_error_r2_and_spread():
    error, r2, spread = plots.reconstruction_over_time(QUALITY).axes
    assert list(lines(error)["vision → audio"]) == [0.9, 0.7]
    assert list(lines(r2)["vision → audio"]) == [0.1, 0.3]
    assert list(spread.get_lines()[0].get_ydata()) == [0.8, 0.7] and spread.get_ylim()[0] == 0


def test_reconstruction_over_time_shows_every_pair_of_an_any_model():
    pairs = {"vision_to_language": 0.1, "language_to_vision": 0.2, "audio_to_language": 0.3}
    history = [{f"valid_{pair}_{key}": x for pair, x in pairs.items() for key in ("error", "r2")}]
    history[0] |= {"valid_language_std": 0.9, "valid_vision_std": 0.8}
    error, r2, spread = plots.reconstruction_over_time(history).axes
    assert set(lines(error)) == {"vision → language", "language → vision", "audio → language"}
    assert list(lines(r2)["audio → language"]) == [0.3]
    assert [list(line.get_ydata()) for line in spread.get_lines()] == [[0.9], [0.8]]


def test_predictions_count_every_clip_in_the_confusion():
    targets, scores = np.array([-3.0, 0.4, 2.6, 2.6]), np.array([-2.8, 1.0, 3.4, 0.0])
    scatter, confusion = plots.predictions(scores, targets).axes
    np.testing.assert_allclose(scatter.collections[0].get_offsets(), np.stack([targets, scores], 1))
    counts = np.array([int(text.get_text()) for text in confusion.texts]).reshape(7, 7)
    expected = np.zeros((7, 7), int)
    for target, guess in ((-3, -3), (0, 1), (3, 3), (3, 0)):
        expected[target + 3, guess + 3] += 1
    np.testing.assert_array_equal(counts, expected)
    emotions = plots.predictions(np.eye(4), np.eye(4))
    assert [axes.get_title() for axes in emotions.axes] == ["neutral", "happy", "sad", "angry"]


@pytest.mark.parametrize(("variant", "pairs"), [("language_vision", 2), ("full", 6), ("ours", 6)])
def test_attention_has_a_map_for_each_pair(variant, pairs):
    torch.manual_seed(0)
    drawn = plots.clip_attention(make_model(variant), make_split(UNALIGNED), clip=1)
    assert len(drawn.axes) == pairs
    titles = {axes.get_title() for axes in drawn.axes}
    assert "vision → language" in titles
    assert ("language → A'" in titles) == (variant == "ours")
    panel = next(axes for axes in drawn.axes if axes.get_title() == "language → vision")
    weights = np.asarray(panel.images[0].get_array())
    assert weights.shape == (UNALIGNED["vision"][1], UNALIGNED["language"][1])
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)


def test_attention_is_labelled_with_the_words_and_absent_for_one_modality():
    split = synthetic.make((2, 1, 1)).dataset["train"]
    assert plots.clip_attention(make_model("language"), make_split(UNALIGNED)) is None
    drawn = plots.clip_attention(KTNet(synthetic.DIMS, (7,), "language_vision", dim=8, heads=2, layers=1), split)
    panel = next(axes for axes in drawn.axes if axes.get_ylabel() == "language")
    assert tuple(label.get_text() for label in panel.get_yticklabels()) == split.words[0]


def test_comparison_draws_intervals_where_there_are_some():
    rows = {"full": Interval(0.6, 0.5, 0.7, 5), "ours": Interval(0.9, None, None, 1)}
    (axes,) = plots.comparison(rows, "mae").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["full", "ours"]
    assert [list(line.get_xdata()) for line in axes.get_lines()] == [[0.5, 0.7], [0.6], [0.9]]
    assert axes.get_xlabel() == "MAE (lower is better)"
    (axes,) = plots.comparison(rows, "mae", ("training median", 1.25)).axes
    assert list(axes.get_lines()[0].get_xdata()) == [1.25, 1.25] and axes.texts[0].get_text() == "training median"


def test_tables_of_text():
    table = plots.metrics_table({"ours": {"mae": 0.5, "corr": None}, "median": {"mae": 1.25, "corr": 0.1}})
    assert [line.split() for line in table.splitlines()] == [
        ["ours", "median"],
        ["MAE", "0.500", "1.250"],
        ["Corr", "-", "0.100"],
    ]
    dataset = synthetic.make((3, 1, 1)).dataset
    first, _, row, *_ = plots.describe(dataset).splitlines()
    steps = dataset["train"].streams["language"].lengths
    assert first.startswith("synthetic: sentiment, unaligned")
    assert " ".join(row.split()) == f"train 3 language 32 {int(np.median(steps))}, {steps.min()} to {steps.max()}"


def test_figures_are_transparent_with_grey_that_reads_on_black_and_white(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "display", lambda picture, **told: shown.append((picture, told)))
    plots.show(plots.loss_curves(HISTORY), "two curves that fall", tmp_path / "a.png")
    ((picture, told),) = shown
    assert b64decode(picture["image/png"]) == (tmp_path / "a.png").read_bytes()
    assert told["raw"] and told["metadata"]["image/png"]["alt"] == "two curves that fall"
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGBA"))
    assert pixels[0, 0, 3] == 0
    channel = to_rgb(plots.GREY)[0]
    luminance = ((channel + 0.055) / 1.055) ** 2.4
    assert 1.05 / (luminance + 0.05) > 4.5 and (luminance + 0.05) / 0.05 > 4  # contrast with white and with black


def test_a_system_has_its_own_colour_and_a_control_is_grey():
    named = {"full": "audio", "vision": "vision", "language": "language", "language_vision": "language", "any": "any"}
    named |= {"ours": "reconstructed", "full with its voice": "audio"}
    named |= dict.fromkeys(("ours, lambda = 0", "full, audio = mean", "linear"), "missing")
    assert {label: plots.colour_of_label(label) for label in named} == named
    assert plots.colour_of(System("ktnet", "any")) == "any" != plots.colour_of(System("ktnet", "ours"))
