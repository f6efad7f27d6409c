"""Decoding: sound of any rate, layout and format keeps its pitch, loudness and time; long clips fit in memory."""

import tracemalloc
import wave

import numpy as np
import pytest

pytest.importorskip("av", reason="pip install ktnet-lite[extract]")

import clips
from ktnet_lite.extract import media


def heard(path) -> np.ndarray:
    return np.concatenate(list(media.sound(path)))


def pitch(samples: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))))) * media.RATE / len(samples)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 96000])
@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_f32le"])
def test_sound_of_every_format_is_float32_mono_at_one_rate(rate, layout, codec, tmp_path):
    path = tmp_path / "clip.wav"
    front = np.array([[1], [1], [1], [0], [0], [0]])
    shape = front if layout == "5.1" else np.ones((1, 1))
    clips.make(path, sound=lambda t: shape * clips.tone(440)(t), rate=rate, layout=layout, sound_codec=codec)
    sound = heard(path)
    loudest = np.abs(sound[2000:-2000]).max()
    assert sound.dtype == np.float32 and len(sound) == media.RATE and pitch(sound) == pytest.approx(440, abs=1)
    assert 0.25 < loudest < 0.51 and (layout == "5.1" or loudest == pytest.approx(0.5, abs=0.01))


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_f32le"])
def test_stereo_becomes_the_mean_of_both_and_never_leaves_the_range(codec, tmp_path):
    def mixed(left, right):
        path = tmp_path / "clip.wav"
        clips.make(path, 0.2, sound=lambda t: np.array([[left], [right]]) * np.ones_like(t), layout="stereo",
                   rate=44100, sound_codec=codec)  # fmt: skip
        return heard(path)

    assert mixed(0.6, 0.2)[1000:2000] == pytest.approx(np.full(1000, 0.4), abs=1e-3)
    assert mixed(0.6, -0.6)[1000:2000] == pytest.approx(np.zeros(1000), abs=1e-3)
    assert np.abs(mixed(1.0, 1.0)).max() <= 1


@pytest.mark.parametrize("suffix", [".mov", ".mkv", ".ts", ".mp4"])
def test_sound_that_begins_late_begins_late(suffix, tmp_path):
    path = tmp_path / f"clip{suffix}"
    clips.make(path, 2, picture=clips.noise, size=(64, 48), sound=clips.tone(900), rate=48000, sound_from=0.7)
    sound = heard(path)
    assert np.flatnonzero(np.abs(sound) > 0.1)[0] / media.RATE == pytest.approx(0.7, abs=0.03)
    assert len(sound) / media.RATE == pytest.approx(2, abs=0.04)


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".mp4"])
def test_a_gap_in_the_times_is_silence_and_shifts_nothing(suffix, tmp_path):
    path = tmp_path / f"clip{suffix}"
    clips.make(path, 3, picture=clips.noise, size=(64, 48), sound=clips.tone(900, 2.5), rate=48000, silent=(0.5, 1.5))
    sound = heard(path)
    assert np.flatnonzero(np.abs(sound) > 0.1)[0] / media.RATE == pytest.approx(2.5, abs=0.03)
    assert len(sound) / media.RATE == pytest.approx(3, abs=0.04)


def test_times_rounded_to_milliseconds_change_no_sample(tmp_path):
    rounded = clips.make(tmp_path / "clip.mkv", 3, sound=clips.tone(), rate=44100)
    exact = clips.make(tmp_path / "clip.wav", 3, sound=clips.tone(), rate=44100)
    assert np.abs(heard(rounded) - heard(exact)).max() < 1e-6


def test_blocks_join_to_the_whole_and_all_but_the_last_are_full(tmp_path):
    path = clips.make(tmp_path / "clip.wav", 25.5, sound=clips.tone(300), rate=8000)
    blocks = list(media.sound(path))
    assert [len(block) for block in blocks] == [160000, 160000, 88000]
    expected = clips.tone(300)(np.arange(408000) / media.RATE)
    assert np.abs(np.concatenate(blocks) - expected)[100:-100].max() < 0.01


def test_long_sound_is_decoded_block_by_block(tmp_path):
    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 8000 * 400))
    tracemalloc.start()
    try:
        seconds = sum(len(block) for block in media.sound(path)) / media.RATE
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seconds == 400 and peak < 8e6  # all of it takes 26 MB
