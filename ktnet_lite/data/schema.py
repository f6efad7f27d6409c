"""The one in-memory form of a data set: three modalities, lengths, targets, ids, splits, provenance.

Clips differ in length, so a stream is kept *packed*: the steps of all clips one after another, with no padding,
and the number of steps of each. Padding exists only inside a batch (:mod:`ktnet_lite.data.batching`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np

from ktnet_lite.errors import DataError
from ktnet_lite.names import EMOTIONS, MODALITIES, SENTIMENT_RANGE, Modality, Task

DROP = "leave such clips out by `ktnet-lite data convert --drop-bad-clips`"
BLOCK = 1 << 14  # steps that are worked on together


def blocks(count: int) -> Iterator[slice]:
    """Slices that cover so many rows, each small, so that nothing of the size of all of them is made."""
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))


@dataclass(frozen=True, eq=False)
class Stream:
    """One modality of one split, packed.

    Parameters
    ----------
    values : float32 array, shape (sum of lengths, D)
        Features of every step; clip ``i`` owns rows ``offsets[i]`` to ``offsets[i] + lengths[i]``.
    lengths : int64 array, shape (N,)
        Steps of each clip. 0 says that this clip lacks this modality.
    """

    values: np.ndarray
    lengths: np.ndarray

    @classmethod
    def from_clips(cls, clips: Sequence[np.ndarray]) -> Stream:
        """Pack a sequence of N arrays of shape (T_i, D)."""
        lengths = np.array([len(clip) for clip in clips], dtype=np.int64)
        with np.errstate(over="ignore"):  # what is too large for float32 becomes inf, which is refused
            return cls(np.concatenate(clips).astype(np.float32, copy=False), lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def dim(self) -> int:
        """Features per step, D."""
        return self.values.shape[1]

    @cached_property
    def offsets(self) -> np.ndarray:
        """First row of each clip in ``values``, shape (N,)."""
        return np.cumsum(self.lengths) - self.lengths

    def clip(self, index: int) -> np.ndarray:
        """Features of one clip, shape (T_i, D)."""
        start = self.offsets[index]
        return self.values[start : start + self.lengths[index]]

    def rows(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Rows of ``values`` that belong to the given clips, in their order, shape (sum of their lengths,)."""
        indices = np.asarray(indices, dtype=np.int64)
        lengths = self.lengths[indices]
        starts = np.repeat(self.offsets[indices] - (np.cumsum(lengths) - lengths), lengths)
        return starts + np.arange(lengths.sum())

    def select(self, indices: Sequence[int] | np.ndarray) -> Stream:
        """The stream of the given clips only."""
        indices = np.asarray(indices, dtype=np.int64)
        return Stream(self.values[self.rows(indices)], self.lengths[indices])

    def on_grid(self, steps: int) -> Stream:
        """Average each clip onto at most ``steps`` equal stretches of time (shorter clips stay as they are).

        Raises
        ------
        ValueError
            ``steps`` is below 1.
        """
        if steps < 1:
            raise ValueError(f"a grid needs at least one step, got {steps}")
        lengths = np.minimum(self.lengths, steps)
        clip = np.repeat(np.arange(len(self)), lengths)
        step = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        starts = self.offsets[clip] + step * self.lengths[clip] // np.maximum(lengths[clip], 1)
        edges = np.append(starts, self.lengths.sum())
        values = np.empty((len(starts), self.dim), dtype=np.float32)
        cuts = np.searchsorted(starts, [block.start for block in blocks(len(self.values))])
        for first, last in pairwise(np.unique([*cuts, len(starts)])):  # reduceat copies what it is given to float64
            rows = self.values[edges[first] : edges[last]]
            sums = np.add.reduceat(rows, starts[first:last] - edges[first], axis=0, dtype=np.float64)
            values[first:last] = sums / np.diff(edges[first : last + 1])[:, None]
        return Stream(values, lengths)


@dataclass(frozen=True, eq=False)
class Split:
    """The clips of one split.

    Parameters
    ----------
    streams : dict of Stream
        Keyed by modality; a modality that the whole split lacks is left out.
    targets : array
        Sentiment: float32 scores in [-3, 3], shape (N,). Emotion: int64 zeros and ones, shape (N, 4), in the
        order of :data:`EMOTIONS`.
    ids : tuple of str
        One unique name for each clip.
    words : tuple of tuples of str, optional
        The word at each language step, for pictures of attention.
    """

    streams: Mapping[Modality, Stream]
    targets: np.ndarray
    ids: tuple[str, ...]
    words: tuple[tuple[str, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, indices: Iterable[int]) -> Split:
        """The given clips only."""
        indices = list(indices)
        return Split(
            {name: stream.select(indices) for name, stream in self.streams.items()},
            self.targets[indices],
            tuple(self.ids[i] for i in indices),
            None if self.words is None else tuple(self.words[i] for i in indices),
        )

    def on_grid(self, steps: int) -> Split:
        """Audio and vision on a time grid of at most ``steps``; words are left as they are."""
        streams = {
            name: stream if name == "language" else stream.on_grid(steps) for name, stream in self.streams.items()
        }
        return Split(streams, self.targets, self.ids, self.words)

    def bad(self, task: Task) -> np.ndarray:
        """Clips, (N,), whose target is not finite or out of range, or that are empty in every modality."""
        return self._absent() | _outside(self.targets, task).reshape(len(self), -1).any(axis=1)

    def _absent(self) -> np.ndarray:
        return np.all([stream.lengths == 0 for stream in self.streams.values()], axis=0)

    def validate(self, where: str, task: Task) -> None:
        """Raise :class:`DataError`, naming ``where``, field and index, when the parts do not fit together."""
        _check_targets(self.targets, len(self), where, task)
        if not self.streams:
            raise DataError(f"{where}: no modality at all; give at least one of {', '.join(MODALITIES)}")
        for name, stream in self.streams.items():
            _check_stream(stream, len(self), f"{where}, {name}", MODALITIES, name)
        if (absent := self._absent()).any():
            i = int(np.argmax(absent))
            raise DataError(
                f"{where}, clip {i} ({self.ids[i]!r}): empty in every modality ({absent.sum()} such); {DROP}"
            )
        seen: dict[str, int] = {}
        for i, clip_id in enumerate(self.ids):
            if clip_id in seen:
                raise DataError(f"{where}, ids: {clip_id!r} stands at index {seen[clip_id]} and again at {i}")
            seen[clip_id] = i
        if self.words is not None:
            _check_words(self.words, self.streams.get("language"), len(self), where)


@dataclass(frozen=True)
class Header:
    """What a data set is, without its numbers.

    Parameters
    ----------
    name : str
        ``mosi-words``, ``synthetic``, ...
    task : {"sentiment", "emotion"}
    aligned : bool
        True when step t of every modality is the same moment (all streams of a clip have one length).
    provenance : dict of str
        Where the numbers come from: source, licence, recipe, SHA-256 of the raw files.
    """

    name: str
    task: Task
    aligned: bool
    provenance: MutableMapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A header and its splits (see :class:`Header`, :class:`Split`)."""

    header: Header
    splits: Mapping[str, Split]

    @classmethod
    def collect(cls, header: Header, splits: Iterable[tuple[str, Split]]) -> Dataset:
        """Build and validate a data set from a reader's stream of splits."""
        dataset = cls(header, dict(splits))
        dataset.validate()
        return dataset

    def __getitem__(self, split: str) -> Split:
        if split not in self.splits:
            raise DataError(f"data set {self.header.name!r} has no split {split!r}; it has {', '.join(self.splits)}")
        return self.splits[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self.splits)

    @property
    def dims(self) -> dict[Modality, int]:
        """Features per step of every modality that some split has."""
        return {
            name: stream.dim
            for name in MODALITIES
            for split in self.splits.values()
            if (stream := split.streams.get(name)) is not None
        }

    def on_grid(self, steps: int) -> Dataset:
        """Audio and vision on a time grid of at most ``steps``, in every split."""
        return Dataset(self.header, {name: split.on_grid(steps) for name, split in self.splits.items()})

    def validate(self) -> None:
        """Raise :class:`DataError` when a split, or the splits together, are not sound."""
        for name, split in self.splits.items():
            split.validate(f"{self.header.name}, split {name}", self.header.task)
            check_agreement(self.header, name, split, self.dims)

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the content, which two runs must share to be compared."""
        return combined_digest({name: split_digest(split) for name, split in self.splits.items()})


def check_agreement(header: Header, name: str, split: Split, dims: Mapping[Modality, int]) -> None:
    """Raise :class:`DataError` when a split contradicts its header or the feature counts of the other splits."""
    where = f"{header.name}, split {name}"
    for modality, stream in split.streams.items():
        if stream.dim != dims.get(modality, stream.dim):
            raise DataError(
                f"{where}, {modality}: {stream.dim} features a step, but other splits have {dims[modality]}"
            )
    if header.aligned:
        lengths = [stream.lengths for stream in split.streams.values()]
        for other in lengths[1:]:
            differ = (other != lengths[0]) & (other > 0) & (lengths[0] > 0)
            if differ.any():
                i = int(np.argmax(differ))
                raise DataError(
                    f"{where}, clip {i} ({split.ids[i]!r}): declared aligned, but its streams have {lengths[0][i]} "
                    f"and {other[i]} steps; set aligned=False in its header"
                )


def split_digest(split: Split) -> str:
    """SHA-256 of one split's content."""
    digest = hashlib.sha256()
    words = () if split.words is None else (" ".join(clip) for clip in split.words)
    for texts in (split.ids, words):
        digest.update("\0".join(texts).encode() + b"\1")
    arrays = {"targets": split.targets}
    for modality, stream in sorted(split.streams.items()):
        arrays |= {f"{modality} lengths": stream.lengths, f"{modality} values": stream.values}
    for name, array in arrays.items():
        digest.update(f"{name} {array.shape} {array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def combined_digest(digests: Mapping[str, str]) -> str:
    """SHA-256 of a data set from those of its splits, in whatever order they came."""
    return hashlib.sha256(json.dumps(dict(digests), sort_keys=True).encode()).hexdigest()


def _check_targets(targets: np.ndarray, clips: int, where: str, task: Task) -> None:
    shape = (clips,) if task == "sentiment" else (clips, len(EMOTIONS))
    if targets.shape != shape:
        raise DataError(f"{where}, targets: shape {targets.shape}, expected {shape} for {clips} ids and task {task}")
    if not np.issubdtype(targets.dtype, np.number):
        raise DataError(f"{where}, targets: dtype {targets.dtype} is not a number type")
    if not (finite := np.isfinite(targets)).all():
        i = int(np.argmin(finite.reshape(clips, -1).all(axis=1)))
        raise DataError(f"{where}, targets: {targets[i]} at index {i} ({(~finite).sum()} such); {DROP}")
    if (outside := _outside(targets, task)).any():
        i = int(np.argmax(outside.reshape(clips, -1).any(axis=1)))
        allowed = "[{:g}, {:g}]".format(*SENTIMENT_RANGE) if task == "sentiment" else "0 or 1"
        raise DataError(
            f"{where}, targets: {targets[i]} at index {i} is outside {allowed} ({outside.sum()} such); rescale them, "
            f"or {DROP}"
        )


def _outside(targets: np.ndarray, task: Task) -> np.ndarray:
    """Which targets are none: NaN, too small, too large or, of an emotion, neither 0 nor 1."""
    low, high = SENTIMENT_RANGE
    return ~((targets >= low) & (targets <= high) if task == "sentiment" else np.isin(targets, (0, 1)))


def _check_stream(stream: Stream, clips: int, where: str, allowed: Sequence[str], name: str) -> None:
    if name not in allowed:
        raise DataError(f"{where}: unknown modality; the three are {', '.join(allowed)}")
    if len(stream) != clips:
        raise DataError(f"{where}: {len(stream)} clips, but there are {clips} ids; they must match one to one")
    if stream.values.ndim != 2 or stream.values.dtype != np.float32:
        raise DataError(
            f"{where}: values are {stream.values.dtype} of shape {stream.values.shape}; expected float32 (steps, D)"
        )
    if (stream.lengths < 0).any():
        i = int(np.argmax(stream.lengths < 0))
        raise DataError(f"{where}, lengths: {stream.lengths[i]} at index {i} is negative")
    if stream.lengths.sum() != len(stream.values):
        raise DataError(f"{where}: lengths add up to {stream.lengths.sum()}, but there are {len(stream.values)} steps")
    if not (finite := np.isfinite(stream.values).all(axis=1)).all():
        row = int(np.argmin(finite))
        i = int(np.searchsorted(np.cumsum(stream.lengths), row, side="right"))
        raise DataError(
            f"{where}, clip {i}, step {row - stream.offsets[i]}: NaN or inf ({(~finite).sum()} such steps); "
            "convert the file with `ktnet-lite data convert --replace-nonfinite`, which sets them to 0 and counts them"
        )


def _check_words(words: Sequence[Sequence[str]], language: Stream | None, clips: int, where: str) -> None:
    if language is None or len(words) != clips:
        raise DataError(f"{where}, words: {len(words)} lists of words for {clips} clips of language")
    for i, (clip, steps) in enumerate(zip(words, language.lengths, strict=True)):
        if len(clip) != steps:
            raise DataError(f"{where}, words of clip {i}: {len(clip)} words, but {steps} language steps")
