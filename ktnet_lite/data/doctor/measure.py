"""Measurements of one modality, or of the labels, of one split; they accept any numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from ktnet_lite.data.readers import padding
from ktnet_lite.data.schema import Stream
from ktnet_lite.names import EMOTIONS, SENTIMENT_RANGE


@dataclass(frozen=True, eq=False)
class Frames:
    """The clips of one modality, as stored in a file.

    Parameters
    ----------
    clips : sequence of arrays (T_i, D), or one padded array (N, T, D)
    lengths : array (N,), optional
        Valid steps of padded clips, if the file declares them.
    """

    clips: Sequence[np.ndarray] | np.ndarray
    lengths: np.ndarray | None = None

    @classmethod
    def of(cls, stream: Stream) -> Frames:
        """Take the clips of a packed stream."""
        return cls([stream.clip(i) for i in range(len(stream))])


@dataclass(frozen=True)
class Facts:
    """Measurements of one modality of one split. ``lengths`` are without padding; most others are per clip, (N,)."""

    dim: int
    lengths: np.ndarray
    side: str  # of the padding
    silent: np.ndarray  # all zeros
    nan: np.ndarray  # how many
    inf: np.ndarray
    beyond: np.ndarray  # with frames past their declared length
    constant: int  # how many features

    @property
    def absent(self) -> np.ndarray:
        """Whether each clip lacks this modality, (N,)."""
        return self.lengths == 0


def measure(frames: Frames, digests: Sequence[blake2b]) -> Facts:
    """Measure every clip, and add its valid steps to its digest."""
    clips = frames.clips
    dim = clips[0].shape[1] if len(clips) else 0
    beyond = np.zeros(len(clips), bool)
    side = "none"
    if isinstance(clips, np.ndarray) and len(clips):
        steps = padding.occupied(clips)
        side = padding.side(steps) if steps.any() else "back"
        lengths = padding.extent(steps, side)
        if frames.lengths is not None:
            lengths = frames.lengths
            side, valid = padding.declared(steps, lengths)
            beyond = np.any(steps & ~valid, axis=1)
        if (lengths == steps.shape[1]).all():
            side = "none"
    else:
        lengths = np.array([len(clip) for clip in clips], dtype=np.int64)
    silent, nan, inf = np.zeros(len(clips), bool), np.zeros(len(clips), int), np.zeros(len(clips), int)
    low, high = np.full(dim, np.inf), np.full(dim, -np.inf)
    for i, (clip, length) in enumerate(zip(clips, lengths, strict=True)):
        valid = clip[len(clip) - length :] if side == "front" else clip[:length]
        digests[i].update(np.ascontiguousarray(valid).data if length else b"")
        silent[i] = length > 0 and not valid.any()
        nan[i], inf[i] = np.isnan(valid).sum(), np.isinf(valid).sum()
        low, high = np.fmin.reduce([low, *valid]), np.fmax.reduce([high, *valid])
    return Facts(dim, lengths, side, silent, nan, inf, beyond, int((low == high).sum()))


def labels_of(targets: np.ndarray) -> np.ndarray:
    """Bring labels of any shape to scores (N,) or, from one-hot (N, 4, 2), to zeros and ones (N, 4)."""
    if targets.shape[1:] == (len(EMOTIONS), 2):
        return targets.argmax(axis=-1)
    return targets if targets.shape[1:] == (len(EMOTIONS),) else targets.reshape(len(targets), -1)[:, 0]


def histogram(labels: np.ndarray) -> dict[str, int]:
    """Count the clips at each rounded score, or with each emotion."""
    if labels.ndim == 2:
        return {name: int(count) for name, count in zip(EMOTIONS, (labels == 1).sum(axis=0), strict=True)}
    low, high = map(int, SENTIMENT_RANGE)
    rounded = np.round(labels)
    return {f"{value:+d}": int((rounded == value).sum()) for value in range(low, high + 1)}
