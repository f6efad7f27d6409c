"""Packed streams from published padded arrays, (N, T, D) with rows of zeros at the front or the back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from ktnet_lite.data.schema import Stream
from ktnet_lite.names import Modality

Side = Literal["front", "back"]
CHUNK = 256  # clips processed at once, so that temporary arrays stay small


def marked(vectors: np.ndarray, own: int) -> np.ndarray:
    """Add a feature to a sequence of vectors, (T, D) -> (T, D + 1): 1 at step ``own``, the clip's own, 0 elsewhere."""
    return np.concatenate([vectors, (np.arange(len(vectors)) == own)[:, None]], axis=1)


def occupied(array: np.ndarray) -> np.ndarray:
    """Mark the steps that are not all zeros, (N, T)."""
    steps = np.empty(array.shape[:2], dtype=bool)
    for start in range(0, len(array), CHUNK):
        steps[start : start + CHUNK] = (array[start : start + CHUNK] != 0).any(axis=-1)
    return steps


def side(steps: np.ndarray) -> Side:
    """Detect the side of the padding: the one with more empty steps."""
    filled = steps[steps.any(axis=1)]
    leading = filled.argmax(axis=1).sum()
    trailing = filled[:, ::-1].argmax(axis=1).sum()
    return "front" if leading > trailing else "back"


def extent(steps: np.ndarray, where: Side) -> np.ndarray:
    """Compute the length of each clip without padding, (N,); zeros inside a clip count. A clip of only zeros has 0."""
    total = steps.shape[1]
    padding = (steps if where == "front" else steps[:, ::-1]).argmax(axis=1)
    return np.where(steps.any(axis=1), total - padding, 0).astype(np.int64)


def within(lengths: np.ndarray, total: int, where: Side) -> np.ndarray:
    """Mark the valid steps (N, T) of clips with the given lengths, padded to ``total`` at the given side."""
    steps = np.arange(total)
    return steps >= total - lengths[:, None] if where == "front" else steps < lengths[:, None]


def declared(steps: np.ndarray, lengths: np.ndarray) -> tuple[Side, np.ndarray]:
    """Return the side of the padding and the valid steps, such that declared lengths cover the most occupied steps."""
    back, front = (within(lengths, steps.shape[1], where) for where in ("back", "front"))
    return ("front", front) if (steps & front).sum() > (steps & back).sum() else ("back", back)


def pack(array: np.ndarray, lengths: np.ndarray, where: Side) -> Stream:
    """Pack the valid steps of a padded array (N, T, D) of any type, as float32."""
    total = array.shape[1]
    values = np.empty((int(lengths.sum()), array.shape[2]), dtype=np.float32)
    row = 0
    with np.errstate(over="ignore"):  # too large for float32: inf, handled later
        for clip, length in zip(array, lengths, strict=True):
            values[row : row + length] = clip[total - length :] if where == "front" else clip[:length]
            row += length
    return Stream(values, lengths)


def pack_all(
    arrays: dict[Modality, np.ndarray | Stream], aligned: bool, steps: Mapping[Modality, np.ndarray] | None = None
) -> dict[Modality, Stream]:
    """Pack the streams of one split. The dict is emptied on the way, so that memory never holds an array twice.

    Aligned streams share one length: up to the last step (with padding at the front, from the first) at which any of
    them is occupied. A clip whose stream is all zeros lacks this modality and gets length 0.

    Parameters
    ----------
    arrays : dict of array (N, T, D) or Stream
        A stream, which has no padding, stays as it is.
    steps : dict of bool array (N, T), optional
        Valid steps; by default those that are not all zeros.
    """
    steps = steps or {name: occupied(array) for name, array in arrays.items() if isinstance(array, np.ndarray)}
    common = np.logical_or.reduce(list(steps.values())) if aligned and steps else None
    streams = {}
    for name in list(arrays):
        clips = arrays.pop(name)
        if isinstance(clips, Stream):
            streams[name] = clips
            continue
        valid = steps[name] if common is None else common
        where = side(valid)
        lengths = np.where(steps[name].any(axis=1), extent(valid, where), 0)
        streams[name] = pack(clips, lengths, where)
        del clips  # frees memory for the next
    return streams
