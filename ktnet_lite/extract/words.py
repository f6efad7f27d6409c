"""Extractor of language: the words of a clip, when each is spoken, and a vector for each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

import numpy as np

from ktnet_lite.data.catalogue.download import sha256_of
from ktnet_lite.errors import ConfigError, DataError, did_you_mean, shown
from ktnet_lite.extract import alignment
from ktnet_lite.extract.clip import Absent, Clip, Line, Track
from ktnet_lite.extract.extras import needed
from ktnet_lite.extract.transcript import words_of
from ktnet_lite.extract.vectors import WordTable
from ktnet_lite.extract.voice import SILENCE
from ktnet_lite.names import Modality
from ktnet_lite.text import enumerated

Timing = Literal["align", "spread", "whisper"]

LEEWAY = 0.5  # seconds by which a subtitle may outlast its clip
SHOWN = 5  # words in a note
PRECISION = "int8"
MODEL = ("config.json", "model.bin", "tokenizer.json")


class Words:
    """Extractor of language.

    Words of lines with times, such as subtitles, divide the time of their line by their numbers of letters. How those
    of a text without times get theirs is up to ``timing``. A word without a vector is a row of zeros, since it still
    takes its time; a clip in which no word has a vector has no language.

    Parameters
    ----------
    table : WordTable
    timing : {"align", "spread", "whisper"}
        Align the words of a text with the sound (:func:`~ktnet_lite.extract.alignment.align`), which is for English; or
        divide the clip's duration among them; or recognise what is said by faster-whisper, whatever the transcript, and
        align that. Without sound, words cannot be aligned and are spread.
    whisper : Path, optional
        The folder of a faster-whisper model, for ``timing="whisper"``. Nothing is downloaded.

    Raises
    ------
    ConfigError
        ``timing`` is unknown, a package is not installed, or ``whisper`` is not the folder of a model.
    """

    modality: Modality = "language"

    def __init__(self, table: WordTable, timing: Timing = "align", whisper: Path | str | None = None):
        if timing not in get_args(Timing):
            raise ConfigError(f"words: no timing {timing!r}{did_you_mean(timing, get_args(Timing))}")
        self.table, self.timing = table, timing
        self.features = tuple(f"vector {i}" for i in range(1, table.dim + 1))
        self.recipe: dict[str, Any] = {
            "name": "words",
            "version": 1,
            "settings": {"timing": timing},
            "table": table.name,
            "vectors": table.sha256,
        }
        if timing != "spread":
            needed("pocketsphinx")
            self.recipe["pocketsphinx"] = metadata.version("pocketsphinx")
        if timing == "whisper":
            self.folder = _model_folder(whisper)
            self.recipe["faster-whisper"] = f"{_faster_whisper().__version__}, {PRECISION}"
            self.recipe["model"] = sha256_of(self.folder / "model.bin")

    def __call__(self, clip: Clip) -> Track | Absent:
        """Extract the words of a clip.

        Raises
        ------
        DataError
            The clip is damaged, its words do not match its sound, or end after it.
        """
        sound = self._sound(clip)
        if self.timing == "whisper":
            if sound is None:
                return Absent("no sound to recognise words in")
            lines = self._recognised(sound)
        elif not (lines := clip.lines):
            return Absent("no transcript")
        spoken = [words_of(line.text) for line in lines]
        words = [word for part in spoken for word in part]
        if not words:
            return Absent("no word in the transcript" if self.timing != "whisper" else "no word recognised")
        vectors = [self.table.lookup(word) for word in words]
        unknown = list(dict.fromkeys(word for word, vector in zip(words, vectors, strict=True) if vector is None))
        if all(vector is None for vector in vectors):
            return Absent(f"none of the {len(words)} words has a vector in {self.table.name}")
        values = np.stack([np.zeros(self.table.dim) if row is None else row for row in vectors])  # (T, D)
        times, notes = self._times(clip, lines, spoken, sound)
        if unknown:
            notes.append(f"without a vector: {_some(unknown)}")
        return Track(values.astype(np.float32), times, tuple(words), tuple(notes))

    def _sound(self, clip: Clip) -> np.ndarray | None:
        """Decode the sound, if it is needed; None if there is none, or nothing in it."""
        wanted = self.timing == "whisper" or (self.timing == "align" and clip.lines and not _timed(clip.lines))
        if not wanted or not clip.media.has_sound:
            return None
        sound = np.nan_to_num(np.concatenate([np.zeros(0, np.float32), *clip.sound()]))  # (N,)
        return sound if np.abs(sound).max(initial=0) > 10 ** (SILENCE / 20) else None

    def _times(
        self, clip: Clip, lines: Sequence[Line], spoken: Sequence[list[str]], sound: np.ndarray | None
    ) -> tuple[np.ndarray, list[str]]:
        """Find the times (T, 2) of the words of each line, and what to note."""
        words, duration = [word for part in spoken for word in part], clip.media.duration
        spans = _timed(lines)
        if sound is not None:
            try:
                return alignment.align(words, sound), []
            except DataError as error:
                if self.timing == "align":
                    raise DataError(f"{clip.path}: {error}") from None
            return _within(spans, spoken, duration), ["times of words from whisper: pocketsphinx cannot align them"]
        if spans:
            for line, (start, end) in zip(lines, spans, strict=True):
                if start >= duration or end > duration + LEEWAY:
                    raise DataError(
                        f"{clip.path} ends at {duration:.2f} s, but its transcript has {shown(line.text)} from "
                        f"{start:g} to {end:g} s; is it the transcript of another clip?"
                    )
            return _within(spans, spoken, duration), []
        notes = ["no sound to align the words with: they are spread over the clip"] if self.timing == "align" else []
        return alignment.spread(words, 0.0, duration), notes

    def _recognised(self, sound: np.ndarray) -> tuple[Line, ...]:
        """Recognise words with their times by faster-whisper (Radford et al. 2022)."""
        segments, _ = _model(self.folder).transcribe(
            sound, word_timestamps=True, temperature=0.0, condition_on_previous_text=False
        )
        return tuple(Line(word.word, word.start, word.end) for segment in segments for word in segment.words or ())


def _timed(lines: Sequence[Line]) -> list[tuple[float, float]]:
    """List start and end of each line; empty if a line has no times."""
    spans = [(line.start, line.end) for line in lines if line.start is not None and line.end is not None]
    return spans if len(spans) == len(lines) else []


def _within(spans: Sequence[tuple[float, float]], spoken: Sequence[list[str]], duration: float) -> np.ndarray:
    """Spread the words of each line over its time, as far as that is within the clip; times (T, 2)."""
    parts = zip(np.minimum(spans, duration), spoken, strict=True)
    return np.concatenate([alignment.spread(words, start, end) for (start, end), words in parts if words])


def _some(words: Sequence[str]) -> str:
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more


def _faster_whisper() -> ModuleType:
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime, which comes with it, reports usage otherwise
    return needed("faster_whisper", "faster-whisper")


@cache
def _model(folder: Path) -> Any:
    return _faster_whisper().WhisperModel(str(folder), device="cpu", compute_type=PRECISION, local_files_only=True)


def _model_folder(folder: Path | str | None) -> Path:
    """Check that a folder has the files without which faster-whisper would look for them on a server."""
    if folder is None:
        raise ConfigError("words: timing 'whisper' needs the folder of a faster-whisper model: --whisper FOLDER")
    if missing := [name for name in MODEL if not (Path(folder) / name).is_file()]:
        raise ConfigError(f"{folder} is no model of faster-whisper: {enumerated(missing)} not in it; download it whole")
    return Path(folder)
