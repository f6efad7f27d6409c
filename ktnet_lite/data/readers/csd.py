"""CMU-MultimodalSDK's ``.csd`` files: HDF5, ``/<root>/data/<video>/{features,intervals}`` and ``/<root>/metadata``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from ktnet_lite.errors import DataError


class Sequence(NamedTuple):
    """One computational sequence of one video."""

    features: np.ndarray  # (T, D) numbers, or (T,) words
    intervals: np.ndarray  # (T, 2) start and end in seconds


def is_csd(path: Path | str) -> bool:
    """Whether a file is laid out as a ``.csd`` file, sound or not, whatever its name."""
    try:
        with h5py.File(path, "r") as file:
            return bool(_roots(file))
    except OSError:
        return False


def read_sequences(path: Path | str) -> dict[str, Sequence]:
    """Every video of one ``.csd`` file, by video id.

    Raises
    ------
    DataError
        Not HDF5, another layout, or features and intervals that do not match; names the video and the field.
    """
    try:
        with h5py.File(path, "r") as file:
            found = _roots(file)
            if len(found) != 1:
                raise DataError(f"{path}: no /<root>/data as in a .csd file; it has {', '.join(file) or 'nothing'}")
            data = file[found[0]]["data"]
            return {video: _sequence(path, video, data[video]) for video in data}
    except OSError as error:
        raise DataError(f"{path} is damaged or no .csd file ({error}); fetch it again") from error


def _roots(file: h5py.File) -> list[str]:
    """Names of the groups that hold sequences; a ``.csd`` file has exactly one."""
    return [name for name in file if isinstance(file[name], h5py.Group) and "data" in file[name]]


def _sequence(path: Path | str, video: str, group: h5py.Group) -> Sequence:
    for field in ("features", "intervals"):
        if field not in group:
            raise DataError(f"{path}, video {video}: no {field!r}; it has {', '.join(group)}")
    features, intervals = group["features"][:], group["intervals"][:]
    if intervals.ndim != 2 or intervals.shape[1] != 2 or len(intervals) != len(features):
        raise DataError(
            f"{path}, video {video}, intervals: shape {intervals.shape}, expected ({len(features)}, 2) for its features"
        )
    if not np.isfinite(intervals).all():
        raise DataError(f"{path}, video {video}, intervals: {np.argwhere(~np.isfinite(intervals))[0]} is not a number")
    if features.dtype.kind == "S":
        features = np.array([word.decode("utf-8", "replace") for word in features.reshape(len(features), -1)[:, 0]])
    return Sequence(features, intervals)


def segments(labels: Mapping[str, Sequence]) -> dict[str, tuple[str, float, float, float]]:
    """Clips of a label file: ``<video>_<k>``, counted from 1, to (video, start, end, score)."""
    return {
        f"{video}_{k}": (video, float(start), float(end), float(score))
        for video, sequence in labels.items()
        for k, ((start, end), score) in enumerate(
            zip(sequence.intervals, sequence.features.reshape(len(sequence.features), -1)[:, 0], strict=True), start=1
        )
    }


def between(sequence: Sequence, start: float, end: float) -> Sequence:
    """The steps whose middle lies between two moments."""
    middle = sequence.intervals.mean(axis=1)
    inside = (middle >= start) & (middle < end)
    return Sequence(sequence.features[inside], sequence.intervals[inside])


def words_between(sequence: Sequence, start: float, end: float) -> Sequence:
    """The words of a segment; where there is none, one silent step: an empty word, or a vector of zeros."""
    words = between(sequence, start, end)
    if len(words.features):
        return words
    return Sequence(np.zeros((1, *words.features.shape[1:]), words.features.dtype), np.array([[start, end]]))
