"""Forced alignment: real sentences get their times, wrong texts an error; a scripted decoder shows the rest."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from ktnet_lite.errors import DataError
from ktnet_lite.extract import alignment, media
from ktnet_lite.extract.alignment import align, spread

GRID = {"swwp2s": "set white with p two soon", "bbaf2n": "bin blue at f two now", "lbax4n": "lay blue at x four now"}
ELSEWHERE = "the acting was terrible and the plot made no sense"
SECOND = np.full(16000, 0.1, np.float32)


class Scripted:
    """A decoder that knows a few words and gives each of them its frames; a word's log-likelihood per frame is -1."""

    def __init__(self, frames: dict[str, tuple[int, int]], per_frame: float = -1.0):
        self.words = {"one": "W AH N", "two": "T UW", "three": "TH R IY", "four": "F AO R", "cafe": "K AE F EY"}
        self.frames, self.per_frame, self.text, self.pcm = frames, per_frame, "", b""

    def lookup_word(self, word):
        return self.words.get(word)

    def add_word(self, word, phones, update):
        self.words[word] = phones

    def set_align_text(self, text):
        self.text = text

    def process_raw(self, pcm, full_utt):
        self.pcm = pcm

    def reinit_feat(self): ...

    start_utt = end_utt = reinit_feat

    def hyp(self):
        return self.text

    def seg(self):
        for word in ("<s>", "<sil>", *self.text.split(), "[NOISE]", "</s>"):
            start, end = self.frames.get(word, (0, 1))
            likelihood = np.exp(self.per_frame * (end - start))
            yield SimpleNamespace(word=word, start_frame=start, end_frame=end - 1, ascore=likelihood)


@pytest.fixture
def scripted(monkeypatch):
    def use(frames, per_frame=-1.0):
        decoder = Scripted(frames, per_frame)
        monkeypatch.setattr(alignment, "_decoder", cache(lambda: decoder))
        return decoder

    return use


@pytest.fixture
def grid(real_data):
    pytest.importorskip("pocketsphinx", reason="pip install ktnet-lite[extract]")
    pytest.importorskip("av", reason="pip install ktnet-lite[extract]")
    return lambda name: np.concatenate(list(media.sound(real_data / "clips" / f"grid-{name}.mpg")))


def test_silences_are_no_words_and_frames_become_seconds(scripted):
    decoder = scripted({"one": (10, 40), "two": (60, 101)})
    np.testing.assert_allclose(align(["one", "two"], [SECOND[:9000], SECOND[9000:]]), [[0.1, 0.4], [0.6, 1.0]])
    assert decoder.pcm == np.full(16000, int(0.1 * 32767), "<i2").tobytes()


def test_sound_beyond_full_scale_is_cut_and_not_wrapped(scripted):
    decoder = scripted({"one": (10, 40)})
    align(["one"], np.array([1.5, -1.5, np.nan], np.float32))
    assert np.frombuffer(decoder.pcm, "<i2").tolist() == [32767, -32767, 0]


def test_a_word_that_the_dictionary_lacks_is_pronounced_by_its_letters(scripted):
    decoder = scripted({"one": (10, 40), "~bab": (45, 50), "~4": (60, 90)})
    times = align(["one", "bab", "4", "caf\u00e9"], SECOND)
    assert decoder.text == "one ~bab ~4 cafe"
    assert (decoder.words["~bab"], decoder.words["~4"]) == ("B AE B", "F AO R")
    np.testing.assert_allclose(times[1:3], [[0.45, 0.5], [0.6, 0.9]])


def test_words_that_cannot_be_pronounced_share_the_time_between_their_neighbours(scripted):
    scripted({"one": (20, 40), "two": (70, 90)})
    greek, more = "\u03bb\u03cc", "\u03b3\u03bf\u03c2\u03c3"
    times = align([greek, "one", greek, more, "two", greek], SECOND)
    np.testing.assert_allclose(times, [[0, 0.2], [0.2, 0.4], [0.4, 0.5], [0.5, 0.7], [0.7, 0.9], [0.9, 1.0]])


def test_a_poor_score_of_the_known_words_is_no_match(scripted):
    scripted({"one": (0, 50), "two": (50, 100)}, per_frame=alignment.POOR - 0.01)
    with pytest.raises(DataError, match=r"do not match.*--words spread"):
        align(["one", "two"], SECOND)
    scripted({"one": (0, 50), "two": (50, 100)}, per_frame=alignment.POOR + 0.01)
    assert len(align(["one", "two"], SECOND)) == 2


def test_guessed_words_do_not_count_in_the_score(scripted):
    decoder = scripted({"one": (0, 10), "~bab": (10, 100)})
    decoder.seg = lambda: [
        SimpleNamespace(word="one", start_frame=0, end_frame=9, ascore=np.exp(-10.0)),
        SimpleNamespace(word="~bab", start_frame=10, end_frame=99, ascore=0.0),
    ]
    assert len(align(["one", "bab"], SECOND)) == 2


def test_a_decoder_that_fails_or_loses_words_is_no_match(scripted):
    for name, behaviour in (("hyp", lambda: None), ("seg", lambda: [])):
        setattr(scripted({"one": (0, 50)}), name, behaviour)
        with pytest.raises(DataError, match="do not match"):
            align(["one"], SECOND)
    with pytest.raises(DataError, match="do not match"):
        align(["one"], [])


def test_a_decoder_that_stops_within_a_clip_is_not_used_again(scripted):
    decoder = scripted({"one": (0, 50)})

    def stop():
        raise RuntimeError("Failed to stop utterance processing")

    decoder.end_utt = stop
    with pytest.raises(DataError, match="do not match"):
        align(["one"], SECOND)
    assert alignment._decoder.cache_info().currsize == 0


def test_a_text_without_a_known_word_is_refused(scripted):
    scripted({})
    with pytest.raises(DataError, match=r"no word is in pocketsphinx's English dictionary.*--words spread"):
        align(["bab", "\u03bb"], SECOND)


def test_words_are_spread_by_their_letters():
    np.testing.assert_allclose(spread(["a", "bcd"], 1, 3), [[1, 1.5], [1.5, 3]])


def test_noise_and_short_sounds_match_no_text():
    pytest.importorskip("pocketsphinx", reason="pip install ktnet-lite[extract]")
    noise = np.random.default_rng(0).normal(0, 0.1, 48000).astype(np.float32)
    for sound in (noise, noise[:100], np.zeros(16000, np.float32)):
        with pytest.raises(DataError, match="do not match"):
            align(ELSEWHERE.split(), sound)


def test_boundaries_are_within_50_ms_of_those_of_grid(grid, real_data):
    rows = [row.split() for row in (real_data / "clips" / "grid-swwp2s.align").read_text().splitlines()]
    truth = np.array([[int(start) / 25000, int(end) / 25000] for start, end, word in rows if word != "sil"])
    times = align(GRID["swwp2s"].split(), grid("swwp2s"))
    assert np.abs(times - truth).mean() <= 0.03 and np.abs(times - truth).max() <= 0.06


def test_a_misspelt_word_gets_nearly_the_same_time(grid):
    right, wrong = (align(text.split(), grid("swwp2s")) for text in (GRID["swwp2s"], "set whyte with p two suun"))
    assert np.abs(right - wrong).max() <= 0.05


def test_the_times_do_not_depend_on_the_clips_before(grid):
    sound = grid("swwp2s")
    before = align(GRID["swwp2s"].split(), sound)
    align(GRID["bbaf2n"].split(), grid("bbaf2n"))
    score = alignment._score(alignment._decode(alignment._decoder(), GRID["swwp2s"].split(), alignment._pcm(sound)))
    alignment._decoder.cache_clear()
    fresh = alignment._score(alignment._decode(alignment._decoder(), GRID["swwp2s"].split(), alignment._pcm(sound)))
    assert score == fresh
    np.testing.assert_array_equal(align(GRID["swwp2s"].split(), sound), before)


def test_texts_of_other_clips_are_refused(grid):
    for name in GRID:
        for text in (ELSEWHERE, *(text for other, text in GRID.items() if other != name)):
            with pytest.raises(DataError, match="do not match"):
                align(text.split(), grid(name))
