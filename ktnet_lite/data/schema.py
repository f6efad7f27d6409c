"""The in-memory form of every data set: three modalities, lengths, targets, ids, splits, provenance.

Clips differ in length, so a stream is *packed*: it holds the steps of all clips one after another, without padding,
and the number of steps of each clip. Padding exists only inside a batch (:mod:`ktnet_lite.data.batching`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np

from ktnet_lite.data.checks import DROP, check_stream, check_targets, check_text, check_words, outside
from ktnet_lite.errors import DataError
from ktnet_lite.names import MODALITIES, Modality, Task

BLOCK = 1 << 14  # steps processed at once


def blocks(count: int) -> Iterator[slice]:
    """Cover ``count`` rows by small slices, so that temporary arrays stay small."""
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))


@dataclass(frozen=True, eq=False)
class Stream:
    """One modality of one split, packed.

    Parameters
    ----------
    values : float32 array, shape (sum of lengths, D)
        Features of every step; clip ``i`` has rows ``offsets[i]`` to ``offsets[i] + lengths[i]``.
    lengths : int64 array, shape (N,)
        Steps of each clip; 0 if the clip lacks this modality.
    """

    values: np.ndarray
    lengths: np.ndarray

    @classmethod
    def from_clips(cls, clips: Sequence[np.ndarray]) -> Stream:
        """Pack a sequence of N arrays of shape (T_i, D)."""
        lengths = np.array([len(clip) for clip in clips], dtype=np.int64)
        with np.errstate(over="ignore"):  # too large for float32: inf, which validation rejects
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
        """Rows of ``values`` of the given clips, in the given order, shape (sum of their lengths,)."""
        indices = np.asarray(indices, dtype=np.int64)
        lengths = self.lengths[indices]
        starts = np.repeat(self.offsets[indices] - (np.cumsum(lengths) - lengths), lengths)
        return starts + np.arange(lengths.sum())

    def select(self, indices: Sequence[int] | np.ndarray) -> Stream:
        """Take the given clips."""
        indices = np.asarray(indices, dtype=np.int64)
        return Stream(self.values[self.rows(indices)], self.lengths[indices])

    def padded(self, indices: np.ndarray, steps: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Pad the given clips to the longest, or to ``steps``: values (B, T, D) and mask (B, T)."""
        lengths = self.lengths[indices]  # (B,)
        mask = np.arange(max(lengths.max(), steps)) < lengths[:, None]  # (B, T)
        values = np.zeros((*mask.shape, self.dim), dtype=np.float32)
        values[mask] = self.values[self.rows(indices)]
        return values, mask

    def on_grid(self, steps: int) -> Stream:
        """Average each clip over at most ``steps`` equal intervals of time; shorter clips stay as they are.

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
        for first, last in pairwise(np.unique([*cuts, len(starts)])):  # in blocks: reduceat copies its input to float64
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
        Keyed by modality, without those that no clip of the split has.
    targets : array
        Sentiment: float32 scores in [-3, 3], shape (N,). Emotion: int64 zeros and ones, shape (N, 4), in the order
        of :data:`EMOTIONS`.
    ids : tuple of str
        A unique name for each clip.
    words : tuple of tuples of str, optional
        The word at each language step, for figures of attention.
    own_targets : dict of float32 array (N,), optional
        Where raters also judged a modality alone (SIMS): its scores in [-3, 3]. No model of the package uses them.
    """

    streams: Mapping[Modality, Stream]
    targets: np.ndarray
    ids: tuple[str, ...]
    words: tuple[tuple[str, ...], ...] | None = None
    own_targets: Mapping[Modality, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, indices: Iterable[int]) -> Split:
        """Take the given clips."""
        indices = list(indices)
        return Split(
            {name: stream.select(indices) for name, stream in self.streams.items()},
            self.targets[indices],
            tuple(self.ids[i] for i in indices),
            None if self.words is None else tuple(self.words[i] for i in indices),
            {name: targets[indices] for name, targets in self.own_targets.items()},
        )

    def without(self, *modalities: Modality) -> Split:
        """Return the same clips with some modalities missing."""
        streams = {name: stream for name, stream in self.streams.items() if name not in modalities}
        own = {name: targets for name, targets in self.own_targets.items() if name not in modalities}
        return Split(streams, self.targets, self.ids, self.words if "language" in streams else None, own)

    def on_grid(self, steps: int) -> Split:
        """Average audio and vision onto a time grid of at most ``steps``; language stays as it is."""
        streams = {
            name: stream if name == "language" else stream.on_grid(steps) for name, stream in self.streams.items()
        }
        return dataclasses.replace(self, streams=streams)

    def bad(self, task: Task) -> np.ndarray:
        """Mark the clips, (N,), that have an invalid target or no step in any modality."""
        return self._absent() | outside(self.targets, task).reshape(len(self), -1).any(axis=1)

    def _absent(self) -> np.ndarray:
        return np.all([stream.lengths == 0 for stream in self.streams.values()], axis=0)

    def validate(self, where: str, task: Task) -> None:
        """Raise :class:`DataError` if a part is invalid; the message names ``where``, the field and the index."""
        self.validate_parts(where, task)
        if not self.streams:
            raise DataError(f"{where}: no modality; give at least one of {', '.join(MODALITIES)}")
        if (absent := self._absent()).any():
            i = int(np.argmax(absent))
            raise DataError(
                f"{where}, clip {i} ({self.ids[i]!r}): no steps in any modality ({absent.sum()} in total); {DROP}"
            )

    def validate_parts(self, where: str, task: Task) -> None:
        """Check all but that every clip has a modality, which a part of a data set may lack."""
        check_targets(self.targets, len(self), where, task)
        for name, stream in self.streams.items():
            if name not in MODALITIES:
                raise DataError(f"{where}, {name}: unknown modality; the modalities are {', '.join(MODALITIES)}")
            check_stream(stream, len(self), f"{where}, {name}")
        seen: dict[str, int] = {}
        for i, clip_id in enumerate(self.ids):
            check_text(clip_id, f"{where}, ids, index {i}")
            if clip_id in seen:
                raise DataError(f"{where}, ids: {clip_id!r} at indices {seen[clip_id]} and {i}; make the ids unique")
            seen[clip_id] = i
        for name, targets in self.own_targets.items():
            check_targets(targets, len(self), f"{where}, {name} alone", "sentiment")
        if self.words is not None:
            check_words(self.words, self.streams.get("language"), len(self), where)


@dataclass(frozen=True)
class Header:
    """Description of a data set, without its arrays.

    Parameters
    ----------
    name : str
        ``mosi-words``, ``synthetic``, ...
    task : {"sentiment", "emotion"}
    aligned : bool
        Whether step t is the same moment in every modality, so that all streams of a clip have the same length.
    provenance : dict of str
        Where the data comes from: source, licence, recipe, SHA-256 of the raw files.
    """

    name: str
    task: Task
    aligned: bool
    provenance: MutableMapping[str, str] = field(default_factory=dict)

    @property
    def recipes(self) -> dict[Modality, str]:
        """How each modality was extracted from raw clips; empty where the features come from elsewhere."""
        known = {name: self.provenance.get(f"recipe {name}") for name in MODALITIES}
        return {name: recipe for name, recipe in known.items() if recipe is not None}


@dataclass(frozen=True, eq=False)
class Dataset:
    """A :class:`Header` and a :class:`Split` for each name of a split."""

    header: Header
    splits: Mapping[str, Split]

    @classmethod
    def collect(cls, header: Header, splits: Iterable[tuple[str, Split]]) -> Dataset:
        """Build a data set from the splits that a reader yields, and validate it."""
        return cls(header, dict(validated(header, splits)))

    def __getitem__(self, split: str) -> Split:
        if split not in self.splits:
            raise DataError(f"data set {self.header.name!r} has no split {split!r}; it has {', '.join(self.splits)}")
        return self.splits[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self.splits)

    @property
    def dims(self) -> dict[Modality, int]:
        """Features per step of every modality that occurs in a split."""
        return {
            name: stream.dim
            for name in MODALITIES
            for split in self.splits.values()
            if (stream := split.streams.get(name)) is not None
        }

    def on_grid(self, steps: int) -> Dataset:
        """Average audio and vision onto a time grid of at most ``steps``, in every split."""
        return Dataset(self.header, {name: split.on_grid(steps) for name, split in self.splits.items()})

    def validate(self) -> None:
        """Raise :class:`DataError` if a split is invalid or contradicts the header or another split."""
        for _ in validated(self.header, self.splits.items()):
            pass

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the content, which must be equal for two runs to be comparable."""
        return combined_digest({name: split_digest(split) for name, split in self.splits.items()})


def validated(header: Header, splits: Iterable[tuple[str, Split]]) -> Iterator[tuple[str, Split]]:
    """Pass the splits on, each checked on its own and against the header and the splits before it.

    This is every check that a data set must pass, whether it is loaded, written or examined.

    Raises
    ------
    DataError
        A split is invalid, or contradicts the header or the feature counts of an earlier split.
    """
    dims: dict[Modality, int] = {}
    for name, split in splits:
        check_split(header, name, split, dims)
        yield name, split
        del split  # frees memory for the next


def check_split(header: Header, name: str, split: Split, dims: dict[Modality, int]) -> None:
    """Check one split; ``dims`` holds the features of earlier splits and gets those of this one."""
    split.validate(f"{header.name}, split {name}", header.task)
    _check_agreement(header, name, split, dims)
    dims |= {modality: stream.dim for modality, stream in split.streams.items()}


def _check_agreement(header: Header, name: str, split: Split, dims: Mapping[Modality, int]) -> None:
    where = f"{header.name}, split {name}"
    for modality, stream in split.streams.items():
        if stream.dim != dims.get(modality, stream.dim):
            raise DataError(
                f"{where}, {modality}: {stream.dim} features per step, but other splits have {dims[modality]}"
            )
    if header.aligned:
        lengths = [stream.lengths for stream in split.streams.values()]
        for other in lengths[1:]:
            differ = (other != lengths[0]) & (other > 0) & (lengths[0] > 0)
            if differ.any():
                i = int(np.argmax(differ))
                raise DataError(
                    f"{where}, clip {i} ({split.ids[i]!r}): declared aligned, but the streams have {lengths[0][i]} and "
                    f"{other[i]} steps; set aligned=False in the header"
                )


def split_digest(split: Split) -> str:
    """SHA-256 of the content of a split."""
    digest = hashlib.sha256()
    words = () if split.words is None else (" ".join(clip) for clip in split.words)
    for texts in (split.ids, words):
        digest.update("\0".join(texts).encode() + b"\1")
    arrays = {"targets": split.targets}
    arrays |= {f"{modality} targets": targets for modality, targets in sorted(split.own_targets.items())}
    for modality, stream in sorted(split.streams.items()):
        arrays |= {f"{modality} lengths": stream.lengths, f"{modality} values": stream.values}
    for name, array in arrays.items():
        digest.update(f"{name} {array.shape} {array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def combined_digest(digests: Mapping[str, str]) -> str:
    """SHA-256 of a data set from those of its splits, whatever their order."""
    return hashlib.sha256(json.dumps(dict(digests), sort_keys=True).encode()).hexdigest()
