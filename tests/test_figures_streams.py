"""Figures of chapter 1: they show the given numbers. Real data is loaded if present and never downloaded."""

import numpy as np
import pytest

from ktnet_lite.course import streams
from ktnet_lite.data import catalogue, readers, synthetic
from ktnet_lite.data.catalogue import download
from ktnet_lite.data.catalogue import local as at_hand
from ktnet_lite.data.readers import mosi_words
from ktnet_lite.measures.metrics import sentiment_metrics


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_a_clip_shows_its_words_and_its_features_by_step():
    split = synthetic.make((2, 1, 1)).dataset["train"]
    words, face, voice = streams.clip(split, 1).axes
    assert tuple(texts(words)) == split.words[1]
    for panel, name in ((face, "vision"), (voice, "audio")):
        np.testing.assert_array_equal(panel.images[0].get_array(), split.streams[name].clip(1).T)


def test_padding_shows_the_mask_and_every_step():
    mask = np.array([[True, False], [True, True]])
    (panel,) = streams.padding(mask, [["1", "0"], ["2", "3"]]).axes
    np.testing.assert_array_equal(panel.images[0].get_array(), mask)
    assert texts(panel) == ["1", "0", "2", "3"]


def test_words_lie_where_they_were_spoken():
    spoken = np.array([[0.5, 0.7], [0.7, 1.5], [2.0, 2.25]])
    rhythm = mosi_words.rhythm(spoken, ["a", "bb", "ccc"], 0.0, 3.0)
    np.testing.assert_allclose(streams.intervals_of(rhythm), spoken)
    (panel,) = streams.timeline({"+1.0": (("a", "bb", "ccc"), spoken)}).axes
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in panel.patches]
    np.testing.assert_allclose(bars, spoken)
    assert texts(panel) == ["a", "bb", "ccc"]


def test_labels_are_counted_by_class():
    left, right = streams.labels({"a": np.array([-2.6, 0.5, 0.4, 1.5]), "b": np.array([3.0])}).axes
    assert [bar.get_height() for bar in left.patches] == [0.25, 0, 0, 0.5, 0, 0.25, 0]
    assert texts(left) == ["1", "0", "0", "2", "0", "1", "0"] and right.get_title() == "b"


def test_the_curves_of_always_negative_are_the_metrics():
    (panel,) = streams.always_negative({"MOSI": 0.58}).axes
    swapped, accuracy, right = (line.get_ydata()[75] for line in panel.lines[:3])
    metrics = sentiment_metrics(np.full(4, -1.0), np.array([-1.0, -1.0, -1.0, 1.0])).values
    expected = [metrics[name] for name in ("f1_nonzero_mult", "acc2_nonzero", "f1_nonzero")]
    np.testing.assert_allclose([swapped, accuracy, right], expected)
    assert panel.lines[3].get_xdata()[0] == 0.58


def test_a_voice_is_the_sum_of_its_parts_and_the_knobs_leave_them_out():
    parts = streams.voice_parts(0.5, 1.0)
    heard = parts.pop("heard")
    assert np.abs(heard - sum(parts.values())).max() < 0.05 < np.abs(parts["laughter"]).max()
    assert not streams.voice_parts(1.0, 0.5)["the voice's own"].any()
    assert not streams.voice_parts(0.5, 0.0)["laughter"].any()
    assert not streams.voice_parts(0.0, 0.5)["what words and face hold"].any()


def test_the_testbed_draws_the_parts_and_the_best_possible_errors():
    left, right = streams.testbed(0.5, 0.5).axes
    np.testing.assert_array_equal(left.lines[0].get_ydata(), streams.voice_parts(0.5, 0.5)["heard"])
    drawn = {line.get_label(): line.get_ydata()[2] for line in right.lines if len(line.get_xdata()) == 5}
    best = streams.best_possible(0.5, 0.5)
    assert drawn["words + face"] == best["language", "vision"] and drawn["none: the median"] == best[()]


def test_real_data_is_loaded_if_present_and_never_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "download", lambda *_: pytest.fail("downloaded"))
    monkeypatch.delenv("KTNET_DATA", raising=False)
    assert at_hand.load("mosi-words", tmp_path) is None
    readers.store.write(
        tmp_path / "mosi-words.h5", (made := synthetic.make((2, 1, 1)).dataset).header, made.splits.items()
    )
    assert at_hand.load("mosi-words", tmp_path).checksum == made.checksum
    seen = []
    monkeypatch.setattr(catalogue, "load", lambda *arguments: seen.append(arguments))
    monkeypatch.setattr(catalogue, "raw_folder", lambda *_: "raw")
    at_hand.load("mosi-words", tmp_path)
    assert seen == [("mosi-words", tmp_path, "raw")]
