"""A clip of nobody for chapter 11: the drawn face speaks in the synthetic voice, and all about it is known."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ktnet_lite.course import drawn_face, made_voice
from ktnet_lite.extract.extras import needed

GOOD = ("happy", "lovely", "great", "fine")
BAD = ("sad", "awful", "dull", "boring")
NEUTRAL = ("the", "film", "music", "story")
RATE = 16_000  # Hz
RAMP = 0.01  # seconds in which a word fades in, and out
HISS = 0.001  # the microphone's noise, -60 dB of full scale
GRADES = 40  # distinct openings of the mouth, so that a face is drawn once
AAC = 1024  # samples per frame of the sound


class Script(NamedTuple):
    """What happens in a clip of N words.

    Parameters
    ----------
    mood : float
        The score, in [-3, 3].
    words : tuple of str
    times : float64 array, shape (N, 2)
        Start and end of each word, in seconds.
    f0 : float64 array, shape (N, 2)
        Pitch at the start and the end of each word, in Hz; it changes evenly between them.
    opening : float64 array, shape (N,)
        How far the mouth opens in the middle of each word, 0 to 1.
    seed : int
        Of the microphone's noise.
    """

    mood: float
    words: tuple[str, ...]
    times: np.ndarray
    f0: np.ndarray
    opening: np.ndarray
    seed: int

    @property
    def seconds(self) -> float:
        """Duration of the clip."""
        return float(self.times[-1, 1]) + 0.1

    def pitch(self, times: np.ndarray) -> np.ndarray:
        """Return the pitch at some times (T,), in Hz; NaN between words."""
        word, part = self._within(times)
        return np.where(part >= 0, self.f0[word, 0] + part * (self.f0[word, 1] - self.f0[word, 0]), np.nan)

    def mouth(self, times: np.ndarray) -> np.ndarray:
        """Return how far the mouth is open at some times (T,), 0 to 1; it is closed between words."""
        word, part = self._within(times)
        return np.where(part >= 0, self.opening[word] * np.sin(np.pi * part), 0)

    def sound(self) -> np.ndarray:
        """Return the sound, float32 (samples,) at RATE: a vowel for each word, the first that its spelling has."""
        samples = np.random.default_rng(self.seed).normal(0, HISS, round(self.seconds * RATE))
        for word, (start, end), f0 in zip(self.words, self.times, self.f0, strict=True):
            vowel = made_voice.vowel(f0, end - start, next(letter for letter in word if letter in made_voice.FORMANTS))
            edge = np.minimum(np.arange(len(vowel)), np.arange(len(vowel))[::-1]) / (RAMP * RATE)
            first = round(start * RATE)
            samples[first : first + len(vowel)] += vowel * np.minimum(edge, 1)
        return samples.astype(np.float32)

    def subtitles(self) -> str:
        """Return the words as WebVTT, one for each cue."""
        cues = (
            f"00:{start:06.3f} --> 00:{end:06.3f}\n{word}"
            for word, (start, end) in zip(self.words, self.times, strict=True)
        )
        return "\n\n".join(["WEBVTT", *cues]) + "\n"

    def _within(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the word at each time, and which part of it has passed; -1 between words."""
        word = np.clip(np.searchsorted(self.times[:, 0], times, side="right") - 1, 0, None)
        start, end = self.times[word].T
        return word, np.where((times >= start) & (times <= end), (times - start) / (end - start), -1)


def script(mood: float, words: int = 3, *, base: float = 150.0, noise: float = 0.7, seed: int = 0) -> Script:
    """Write a script whose words, voice and face each carry the mood, and a noise of their own.

    The better the mood, the more of the words are good ones, the higher and the livelier is the pitch, and the wider
    opens the mouth.

    Parameters
    ----------
    mood : float
        In [-3, 3].
    words : int
        How many; they and the pauses take about 0.4 s each.
    base : float
        The speaker's usual pitch, in Hz.
    noise : float
        Its standard deviation, in points of the mood.
    """
    rng = np.random.default_rng(seed)
    told, heard, seen = mood + noise * rng.normal(size=3)
    share = 1 / (1 + np.exp(-2 * told))  # of good words among those that are not neutral

    def word() -> str:
        if rng.random() < 0.25:
            return str(rng.choice(NEUTRAL))
        return str(rng.choice(GOOD if rng.random() < share else BAD))

    spoken = tuple(word() for _ in range(words))
    pauses, lasts = rng.uniform(0.06, 0.2, words), rng.uniform(0.2, 0.36, words)  # seconds
    ends = np.cumsum(pauses + lasts)
    times = np.round(np.column_stack([ends - lasts, ends]), 3)
    level = base * 2 ** (1.5 * heard / 12) * 2 ** (rng.normal(0, 0.5, words) / 12)
    fall = np.clip(3 + heard, 0.5, None) / 24  # octaves, above and below the level
    f0 = np.column_stack([level * 2**fall, level * 2**-fall])
    opening = np.clip(0.55 + 0.13 * seen + rng.normal(0, 0.05, words), 0.1, 1)
    return Script(mood, spoken, times, f0, opening, seed)


def write(
    path: Path, script: Script, *, fps: int = 10, size: int = 96, sound: bool = True, subtitles: bool = True
) -> Path:
    """Write the clip as a phone would, H.264 and AAC in an .mp4 file, and its subtitles beside it; return the path.

    Parameters
    ----------
    fps : int
        Frames per second.
    size : int
        Height and width of the video in pixels, an even number.
    sound, subtitles : bool
        Without sound the file has no sound track at all.

    Raises
    ------
    ConfigError
        PyAV is not installed.
    """
    av = needed("av")
    mouths = script.mouth(np.arange(round(script.seconds * fps)) / fps)
    with av.open(str(path), "w", container_options={"fflags": "bitexact"}) as container:
        video = container.add_stream("libx264", rate=fps, options={"crf": "18", "preset": "fast"})
        video.width, video.height, video.pix_fmt = size, size, "yuv420p"
        track: Any = container.add_stream("aac", rate=RATE, layout="mono") if sound else None
        for stream in container.streams:
            stream.codec_context.thread_count = 1
            stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for mouth in mouths:
            image = _face(round(mouth * GRADES), size)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(video.encode(None))
        for frame in [*_sound_frames(av, script.sound()), None] if sound else ():  # None: the end
            container.mux(track.encode(frame))
    if subtitles:
        path.with_suffix(".vtt").write_text(script.subtitles(), encoding="utf-8")
    return path


def _sound_frames(av: Any, samples: np.ndarray) -> Iterator[Any]:
    for first in range(0, len(samples), AAC):
        frame = av.AudioFrame.from_ndarray(samples[None, first : first + AAC], "fltp", "mono")
        frame.rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
        yield frame


@lru_cache(maxsize=256)
def _face(grade: int, size: int) -> np.ndarray:
    return drawn_face.draw(grade / GRADES, size=(size, size))
