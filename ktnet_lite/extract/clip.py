"""What an extractor gets, a clip, and what it gives: a track, or the reason why there is none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from ktnet_lite.extract import media as decoding
from ktnet_lite.extract.media import Media
from ktnet_lite.names import Modality


class Line(NamedTuple):
    """A piece of a transcript: a word, a subtitle or the whole text.

    Parameters
    ----------
    text : str
    start, end : float or None
        When it is spoken, in seconds; None where the transcript gives no times.
    """

    text: str
    start: float | None = None
    end: float | None = None


class Track(NamedTuple):
    """One modality of one clip.

    Parameters
    ----------
    values : float32 array, shape (T, D)
    times : float64 array, shape (T, 2)
        Start and end of each step, in seconds from the clip's beginning.
    words : tuple of str
        For language, the word at each step; otherwise empty.
    notes : tuple of str
        What a user should know: frames without a face, words without a vector.
    """

    values: np.ndarray
    times: np.ndarray
    words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Absent(NamedTuple):
    """Why a clip lacks a modality: ``"no sound track"``, ``"no face in 30 frames"``."""

    reason: str


@dataclass(frozen=True)
class Clip:
    """A file with video, sound or both, and what is said in it.

    Parameters
    ----------
    path : Path
    lines : tuple of Line
        The transcript; empty if there is none.
    """

    path: Path
    lines: tuple[Line, ...] = ()

    @cached_property
    def media(self) -> Media:
        """What the file holds. Raises :class:`~ktnet_lite.errors.DataError` if it cannot be read."""
        return decoding.probe(self.path)

    def sound(self) -> Iterator[np.ndarray]:
        """Decode the sound: float32 blocks in [-1, 1], mono at ``RATE``."""
        return decoding.sound(self.path)

    def frames(self, fps: float) -> Iterator[tuple[float, np.ndarray]]:
        """Decode ``fps`` frames a second: the time in seconds, and an upright uint8 image (H, W, 3), RGB."""
        return decoding.frames(self.path, fps)


class Extractor(Protocol):
    """Turns a clip into a track of one modality.

    Attributes
    ----------
    modality : str
    features : tuple of str
        The D columns of its tracks, each a name and, in brackets, a unit.
    recipe : dict
        All that the numbers depend on, as JSON can hold it: name and version of the extractor, its settings (the
        arguments that make it), SHA-256 of its models. It travels with the data and the models trained on it.
    """

    @property
    def modality(self) -> Modality: ...
    @property
    def features(self) -> tuple[str, ...]: ...
    @property
    def recipe(self) -> Mapping[str, Any]: ...

    def __call__(self, clip: Clip) -> Track | Absent:
        """Extract one clip. Raises :class:`~ktnet_lite.errors.DataError` if the clip is damaged."""
        ...


def recipes(extractors: Iterable[Extractor]) -> dict[Modality, str]:
    """Write the recipe of each extractor as the text that travels with the data."""
    return {extractor.modality: json.dumps(dict(extractor.recipe), sort_keys=True) for extractor in extractors}
