"""The extractor of language: every way to time words, what is absent, and what is refused."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("av", reason="pip install ktnet-lite[extract]")
pytest.importorskip("pocketsphinx", reason="pip install ktnet-lite[extract]")

import clips
from ktnet_lite.errors import ConfigError, DataError
from ktnet_lite.extract import alignment
from ktnet_lite.extract.clip import Absent, Clip, Line, Track
from ktnet_lite.extract.transcript import of_text
from ktnet_lite.extract.vectors import WordTable
from ktnet_lite.extract.words import Words

GOOD, FILM = [1, 2, 3], [4, 5, 6]
CLIP = 2.0  # seconds


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> WordTable:
    path = tmp_path_factory.mktemp("table") / "glove.txt"
    path.write_text("good 1 2 3\nfilm 4 5 6\n", encoding="utf-8")
    return WordTable.read(path)


@pytest.fixture(scope="module")
def tone(tmp_path_factory) -> Path:
    return clips.make(tmp_path_factory.mktemp("clip") / "tone.wav", CLIP, sound=clips.tone())


@pytest.fixture(scope="module")
def silence(tmp_path_factory) -> Path:
    return clips.make(tmp_path_factory.mktemp("clip") / "silence.wav", CLIP, sound=np.zeros_like)


@pytest.fixture(scope="module")
def mute(tmp_path_factory) -> Path:
    red = clips.colour(255, 0, 0, (64, 48))
    return clips.make(tmp_path_factory.mktemp("clip") / "mute.mkv", CLIP, picture=red, size=(64, 48))


@pytest.fixture
def aligned(monkeypatch):
    """What was aligned, with a second for each word."""
    calls = []

    def align(words, sound):
        calls.append((tuple(words), np.asarray(sound)))
        return np.arange(len(words))[:, None] + np.array([0.0, 1.0])

    monkeypatch.setattr(alignment, "align", align)
    return calls


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A module faster_whisper that recognises "Good film", and the folder of its model."""
    calls = []

    class WhisperModel:
        def __init__(self, folder, **options):
            environment = {name: os.environ[name] for name in ("HF_HUB_OFFLINE", "ORT_DISABLE_TELEMETRY")}
            calls.append((folder, options, environment))

        def transcribe(self, sound, **options):
            assert sound.dtype == np.float32 and len(sound) == CLIP * 16000 and options["word_timestamps"]
            words = [
                SimpleNamespace(word=" Good", start=0.5, end=1.0),
                SimpleNamespace(word=" film.", start=1.0, end=9.0),
            ]
            return iter([SimpleNamespace(words=words), SimpleNamespace(words=None)]), None

    for name in ("HF_HUB_OFFLINE", "ORT_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "0")
    module = SimpleNamespace(WhisperModel=WhisperModel, __version__="1.2.3")
    monkeypatch.setitem(sys.modules, "faster_whisper", module)
    for name in ("config.json", "model.bin", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"made")
    return tmp_path, calls


def test_a_text_is_aligned_with_the_sound(table, tone, aligned):
    track = Words(table)(Clip(tone, of_text("Good, GOOD film!")))
    assert isinstance(track, Track) and track.words == ("good", "good", "film") and track.notes == ()
    np.testing.assert_array_equal(track.values, [GOOD, GOOD, FILM])
    assert track.values.dtype == np.float32
    np.testing.assert_array_equal(track.times, [[0, 1], [1, 2], [2, 3]])
    [(words, sound)] = aligned
    assert words == track.words and len(sound) == CLIP * 16000 and np.abs(sound).max() > 0.4


def test_a_text_that_does_not_match_the_sound_is_refused_with_the_clip(table, tone):
    with pytest.raises(DataError, match=r"tone\.wav: text and sound do not match"):
        Words(table)(Clip(tone, of_text("good film and so on")))


def test_a_text_is_spread_over_the_clip_without_its_sound(table, tone, aligned):
    track = Words(table, "spread")(Clip(tone, of_text("good films")))
    np.testing.assert_allclose(track.times, [[0, CLIP * 4 / 9], [CLIP * 4 / 9, CLIP]], atol=0.01)
    assert not aligned and track.notes == ("without a vector: films",)


def test_without_sound_words_are_spread_with_a_note(table, silence, mute, aligned):
    for path in (silence, mute):
        track = Words(table)(Clip(path, of_text("good film")))
        np.testing.assert_allclose(track.times, [[0, CLIP / 2], [CLIP / 2, CLIP]], atol=0.05)
        assert track.notes == ("no sound to align the words with: they are spread over the clip",)
    assert not aligned


@pytest.mark.parametrize("timing", ["align", "spread"])
def test_lines_with_times_keep_them(timing, table, tone, aligned):
    lines = (Line("good film", 0.2, 1.0), Line("...", 1.0, 1.1), Line("film", 1.2, CLIP + 0.4))
    track = Words(table, timing)(Clip(tone, lines))
    np.testing.assert_allclose(track.times, [[0.2, 0.6], [0.6, 1.0], [1.2, CLIP]], atol=1e-6)
    assert not aligned and track.notes == ()


@pytest.mark.parametrize(("start", "end"), [(1.0, CLIP + 0.6), (CLIP + 0.1, CLIP + 0.2)])
def test_lines_outside_the_clip_are_refused(start, end, table, tone):
    lines = (Line("good", 0.0, 0.5), Line("film", start, end))
    with pytest.raises(DataError, match=r"tone\.wav ends at 2\.00 s.*'film'.*another clip"):
        Words(table)(Clip(tone, lines))


def test_a_word_without_a_vector_is_zeros_and_noted(table, tone, aligned):
    unknown = [f"w{i}" for i in range(7)]
    track = Words(table)(Clip(tone, of_text(" ".join(["good", *unknown, "w0"]))))
    np.testing.assert_array_equal(track.values, [GOOD, *[[0, 0, 0]] * 8])
    assert track.notes == ("without a vector: w0, w1, w2, w3, w4 and 2 more",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no transcript"),
        ("\U0001f600 !", "no word in the transcript"),
        ("bonjour le monde", "none of the 3 words has a vector in glove.txt"),
    ],
)
@pytest.mark.parametrize("timing", ["align", "spread"])
def test_what_makes_language_absent(text, reason, timing, table, tone):
    assert Words(table, timing)(Clip(tone, of_text(text))) == Absent(reason)


def test_whisper_recognises_words_which_are_aligned(table, tone, model, aligned):
    folder, calls = model
    track = Words(table, "whisper", folder)(Clip(tone, of_text("another text")))
    assert track.words == ("good", "film") and track.notes == ()
    np.testing.assert_array_equal(track.times, [[0, 1], [1, 2]])
    [(place, options, environment)] = calls
    assert place == str(folder) and options["local_files_only"] and set(environment.values()) == {"1"}


def test_where_alignment_fails_the_times_are_whispers(table, tone, model):
    track = Words(table, "whisper", model[0])(Clip(tone))
    np.testing.assert_allclose(track.times, [[0.5, 1.0], [1.0, CLIP]])
    assert track.notes == ("times of words from whisper: pocketsphinx cannot align them",)


def test_whisper_does_not_listen_to_silence(table, silence, mute, model):
    for path in (silence, mute):
        assert Words(table, "whisper", model[0])(Clip(path)) == Absent("no sound to recognise words in")
    assert not model[1]


def test_a_whisper_model_is_a_whole_folder(table, model):
    with pytest.raises(ConfigError, match="--whisper FOLDER"):
        Words(table, "whisper")
    (model[0] / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match=r"tokenizer\.json not in it"):
        Words(table, "whisper", model[0])


def test_what_is_not_installed_is_named(table, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(ConfigError, match="pip install faster-whisper"):
        Words(table, "whisper", model[0])
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(ConfigError, match=r"ktnet-lite\[extract\]"):
        Words(table)
    assert Words(table, "spread").features == ("vector 1", "vector 2", "vector 3")


def test_an_unknown_timing_is_refused(table):
    with pytest.raises(ConfigError, match="did you mean 'spread'"):
        Words(table, "spred")


def test_the_recipe_tells_table_timing_and_models_apart(table, model, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("good 1 2 4\n", encoding="utf-8")
    recipes = [Words(table).recipe, Words(table, "spread").recipe, Words(WordTable.read(other)).recipe]
    recipes.append(Words(table, "whisper", model[0]).recipe)
    (model[0] / "model.bin").write_bytes(b"changed")
    recipes.append(Words(table, "whisper", model[0]).recipe)
    assert len({json.dumps(recipe, sort_keys=True) for recipe in recipes}) == 5


def test_a_real_sentence_gets_its_words_and_times(real_data, tmp_path):
    (tmp_path / "table.txt").write_text("door 1 2 3\n", encoding="utf-8")
    path = real_data / "clips" / "ravdess-01-01-01-01-01-01-01.mp4"
    track = Words(WordTable.read(tmp_path / "table.txt"))(Clip(path, of_text("Kids are talking by the door.")))
    assert track.words == ("kids", "are", "talking", "by", "the", "door") and (np.diff(track.times.ravel()) >= 0).all()
    starts = [1.03, 1.271, 1.392, 1.754, 1.915, 2.015]  # by another aligner
    assert np.abs(track.times[:, 0] - starts).mean() <= 0.05
