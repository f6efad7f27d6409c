"""``.csd`` files of CMU-MultimodalSDK: HDF5, ``/<root>/data/<video>/{features,intervals}`` and ``/<root>/metadata``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from ktnet_lite.data import hdf5
from ktnet_lite.errors import DataError

LONGEST_WORD = 1000


class Sequence(NamedTuple):
    """The steps of one video in a ``.csd`` file (a "computational sequence")."""

    features: np.ndarray  # (T, D) numbers, or (T,) words
    intervals: np.ndarray  # (T, 2) start and end in seconds


class Segment(NamedTuple):
    """The interval of one clip in its video, in seconds, and its score."""

    video: str
    start: float
    end: float
    score: float


class Videos(Mapping[str, Sequence]):
    """The sequences of a ``.csd`` file by video id; each is read and checked on access.

    Raises
    ------
    DataError
        The file is not HDF5 or has another layout, or features and intervals do not match; names video and field.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        with self._opened() as (root, data):
            self.root, self._ids = root, dict.fromkeys(data)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, video: object) -> bool:
        return video in self._ids

    def __getitem__(self, video: str) -> Sequence:
        if video not in self._ids:
            raise KeyError(video)
        sequence = self._read(video)
        if (dim := _dim(sequence)) != self.dim:
            actual, expected = (f"{d} features per step" if d else "words" for d in (dim, self.dim))
            raise DataError(f"{self.path}, video {video}: {actual}, but {expected} in video {next(iter(self))}")
        return sequence

    @cached_property
    def dim(self) -> int | None:
        """Features per step, taken from the first video; None for words, or without videos."""
        return next((_dim(self._read(video)) for video in self), None)

    def _read(self, video: str) -> Sequence:
        with self._opened() as (_, data):
            return _sequence(f"{self.path}, video {video}", hdf5.member(data, video))

    @contextmanager
    def _opened(self) -> Iterator[tuple[str, h5py.Group]]:
        with hdf5.opened(self.path) as file:
            if len(roots := _roots(file)) != 1:
                groups = ", ".join(file) or "nothing"
                raise DataError(f"{self.path}: no /<root>/data as in a .csd file; it has {groups}")
            yield roots[0], file[roots[0]]["data"]


def is_csd(path: Path | str) -> bool:
    """Whether a file has the layout of a ``.csd`` file, whatever its name and even if its content is invalid.

    Raises
    ------
    UnreadableError
        The file exists, but cannot be read now.
    """
    return hdf5.passes(path, lambda file: bool(_roots(file)))


def _roots(file: h5py.File) -> list[str]:
    """List the groups that hold sequences; a ``.csd`` file has exactly one."""
    groups = {name: hdf5.member(file, name) for name in file}
    return [
        name
        for name, group in groups.items()
        if isinstance(group, h5py.Group) and isinstance(hdf5.member(group, "data"), h5py.Group)
    ]


def _sequence(where: str, group: h5py.Group | h5py.Dataset | None) -> Sequence:
    if not isinstance(group, h5py.Group):
        raise DataError(f"{where}: no group with features and intervals")
    for field in ("features", "intervals"):
        if field not in group:
            raise DataError(f"{where}: no {field!r}; it has {', '.join(group)}")
    features, intervals = (
        _array(f"{where}, {field}", hdf5.member(group, field)) for field in ("features", "intervals")
    )
    if intervals.dtype.kind == "U":
        raise DataError(f"{where}, intervals: words, expected numbers")
    if intervals.shape != (len(features), 2):
        raise DataError(f"{where}, intervals: shape {intervals.shape}, expected ({len(features)}, 2) like features")
    if not np.isfinite(intervals).all():
        raise DataError(f"{where}, intervals: not finite at {np.argwhere(~np.isfinite(intervals))[0]}")
    return Sequence(features[:, 0] if features.dtype.kind == "U" else features, intervals)


def _dim(sequence: Sequence) -> int | None:
    return None if sequence.features.dtype.kind == "U" else sequence.features.shape[1]


def _array(where: str, item: h5py.Dataset | h5py.Group | None) -> np.ndarray:
    """Read an HDF5 dataset of numbers or texts as (T, D)."""
    if not isinstance(item, h5py.Dataset) or not item.shape or 0 in item.shape[1:]:
        raise DataError(f"{where}: no array of steps")
    is_text = h5py.check_string_dtype(item.dtype) is not None
    if not is_text and item.dtype.kind not in "fiub":
        raise DataError(f"{where}: {item.dtype}, expected numbers or words")
    hdf5.checked(item, "OSfiub")
    array = _texts(where, item.asstr("utf-8", "replace")[:]) if is_text else item[:]
    return array.reshape(len(array), int(np.prod(array.shape[1:])))


def _texts(where: str, texts: np.ndarray) -> np.ndarray:
    longest = max(map(len, texts.flat), default=0)
    if longest > LONGEST_WORD:  # an array has room for the longest at each step
        raise DataError(f"{where}: a word of {longest} characters; the longest that is read has {LONGEST_WORD}")
    return texts.astype(str)


def video_of(key: str) -> str:
    """Return the video of a segment's key, ``<video>[<k>]``; any other key is a video's."""
    return re.sub(r"\[\d+\]$", "", key)


def segments(labels: Videos) -> dict[str, Segment]:
    """List the segments of a label file by clip id, ``<video>_<k>``, with ``k`` counted from 1.

    Files that the SDK aligned have a key for each segment already, ``<video>[<k>]``, which is then the id.
    """
    clips = {}
    for video, (features, intervals) in labels.items():
        if features.dtype.kind == "U":
            raise DataError(f"{labels.path}, video {video}, features: words, expected scores")
        for k, ((start, end), score) in enumerate(zip(intervals, features[:, 0], strict=True), start=1):
            clip = video if len(features) == 1 and video_of(video) != video else f"{video}_{k}"
            clips[clip] = Segment(video, float(start), float(end), float(score))
    return clips


def between(sequence: Sequence, start: float, end: float) -> Sequence:
    """Take the steps whose middle is between two moments."""
    middle = sequence.intervals.mean(axis=1)
    inside = (middle >= start) & (middle < end)
    return Sequence(sequence.features[inside], sequence.intervals[inside])
