"""Padded arrays as others publish them, (N, T, D) with rows of zeros: where the padding is, and packed streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from ktnet_lite.data.schema import Stream
from ktnet_lite.names import Modality

Side = Literal["front", "back"]
CHUNK = 256  # clips looked at together, so that nothing of the size of the whole array is made beside it


def occupied(array: np.ndarray) -> np.ndarray:
    """Which steps hold anything but zeros, (N, T)."""
    steps = np.empty(array.shape[:2], dtype=bool)
    for start in range(0, len(array), CHUNK):
        steps[start : start + CHUNK] = (array[start : start + CHUNK] != 0).any(axis=-1)
    return steps


def side(steps: np.ndarray) -> Side:
    """Where the padding is: at the end of the clips that has more empty steps."""
    filled = steps[steps.any(axis=1)]
    leading = filled.argmax(axis=1).sum()
    trailing = filled[:, ::-1].argmax(axis=1).sum()
    return "front" if leading > trailing else "back"


def extent(steps: np.ndarray, where: Side) -> np.ndarray:
    """Length of each clip without its padding, (N,); zeros inside a clip belong to it; 0 for a clip of zeros alone."""
    total = steps.shape[1]
    padding = (steps if where == "front" else steps[:, ::-1]).argmax(axis=1)
    return np.where(steps.any(axis=1), total - padding, 0).astype(np.int64)


def within(lengths: np.ndarray, total: int, where: Side) -> np.ndarray:
    """Valid steps (N, T) of clips of those lengths, padded to T on that side."""
    steps = np.arange(total)
    return steps >= total - lengths[:, None] if where == "front" else steps < lengths[:, None]


def declared(steps: np.ndarray, lengths: np.ndarray) -> tuple[Side, np.ndarray]:
    """Where the padding is, and the valid steps, when lengths are declared: they cover more occupied steps there."""
    back, front = (within(lengths, steps.shape[1], where) for where in ("back", "front"))
    return ("front", front) if (steps & front).sum() > (steps & back).sum() else ("back", back)


def pack(array: np.ndarray, lengths: np.ndarray, where: Side) -> Stream:
    """The valid steps of a padded array (N, T, D), as float32, whatever its type was."""
    total = array.shape[1]
    values = np.empty((int(lengths.sum()), array.shape[2]), dtype=np.float32)
    row = 0
    with np.errstate(over="ignore"):  # what is too large for float32 becomes inf, and is dealt with as such
        for clip, length in zip(array, lengths, strict=True):
            values[row : row + length] = clip[total - length :] if where == "front" else clip[:length]
            row += length
    return Stream(values, lengths)


def pack_all(
    arrays: dict[Modality, np.ndarray], aligned: bool, steps: Mapping[Modality, np.ndarray] | None = None
) -> dict[Modality, Stream]:
    """Packed streams of one split. The dict is emptied as it is read, so that no array is held twice.

    Aligned streams share one length: up to the last step (or from the first one, with padding at the front) where any
    of them holds something. A clip whose stream is zeros alone lacks this modality, and gets length 0 in it.

    Parameters
    ----------
    arrays : dict of array (N, T, D)
    steps : dict of bool array (N, T), optional
        Valid steps, where something else than zeros tells them.
    """
    steps = steps or {name: occupied(array) for name, array in arrays.items()}
    together = np.logical_or.reduce(list(steps.values())) if aligned else None
    streams = {}
    for name in list(arrays):
        clock = steps[name] if together is None else together
        where = side(clock)
        lengths = np.where(steps[name].any(axis=1), extent(clock, where), 0)
        streams[name] = pack(arrays.pop(name), lengths, where)
    return streams
