"""Padded, masked, length-bucketed batches on the device, from packed clips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ktnet_lite.data.schema import Split, Stream, blocks
from ktnet_lite.errors import ConfigError, DataError
from ktnet_lite.names import Modality

POOL = 16  # batches per pool; clips are sorted by length within a pool


class Padded(NamedTuple):
    """Sequences of different lengths in one tensor, padded at the end.

    ``mask`` is True at valid steps; it is None if every step is valid, and attention then needs no mask. ``bias`` is
    added to the attention scores of each step where the sequence is attended to. With ``times``, when each step ends,
    a step attends only to what has ended by its own end, in whatever stream.
    """

    values: Tensor  # (B, T, D)
    mask: Tensor | None = None  # (B, T)
    bias: Tensor | None = None  # (B, T)
    times: Tensor | None = None  # (B, T)

    @property
    def lengths(self) -> Tensor:
        """Valid steps of each clip, shape (B,)."""
        if self.mask is None:
            return torch.full(self.values.shape[:1], self.values.shape[1], device=self.values.device)
        return self.mask.sum(1)

    @property
    def present(self) -> Tensor:
        """Which clips have a valid step, shape (B,)."""
        return self.full_mask().any(1)

    def select(self, clips: Tensor) -> Padded:
        """Take some clips (n,)."""
        return self.map(lambda part: part[clips])

    def where(self, clips: Tensor) -> Padded:
        """Leave no valid step in the clips that are not marked, (B,)."""
        if bool(clips.all()):
            return self
        return self._replace(mask=self.full_mask() & clips[:, None])

    def attention_mask(self, times: Tensor | None = None) -> Tensor | None:
        """Return what attention to these steps is masked with, (B, S): True at valid steps, or the bias and -inf.

        If both these steps and those that attend to them have times, (B, S) and (B, T), it is (B, T, S).
        """
        mask = self.mask
        if self.bias is not None:
            mask = self.bias if mask is None else self.bias.masked_fill(~mask, -torch.inf)
        if self.times is None or times is None:
            return mask
        ended = self.times[:, None] <= times[:, :, None]  # (B, T, S)
        if mask is None or mask.dtype == torch.bool:
            return ended if mask is None else ended & mask[:, None]
        return mask[:, None].masked_fill(~ended, -torch.inf)

    def timed(self) -> Padded:
        """Return the sequence with times: by default equal steps, each time a share of the clip."""
        if self.times is not None:
            return self
        step = torch.arange(1, self.values.shape[1] + 1, device=self.values.device)  # (T,)
        last = (self.full_mask() * step).amax(1, keepdim=True).clamp(min=1)  # (B, 1)
        return self._replace(times=step / last)  # exact: equal shares of different streams are equal numbers

    def until(self, moment: Tensor) -> Padded:
        """Leave the steps that have ended by a moment of each clip, (B,)."""
        timed = self.timed()
        return timed._replace(mask=timed.full_mask() & (cast(Tensor, timed.times) <= moment[:, None]))

    def attendable(self) -> Padded:
        """Make the first step valid in the clips that have no valid step, since attention needs a key."""
        mask = self.full_mask()
        return self._replace(mask=mask | (first(mask) & ~mask.any(1, keepdim=True)))

    def map(self, function: Callable[[Tensor], Tensor]) -> Padded:
        """Apply a function to each tensor."""
        rest = (None if part is None else function(part) for part in self[1:])
        return Padded(function(self.values), *rest)

    def full_mask(self) -> Tensor:
        """Return the mask as a tensor, shape (B, T), also where ``mask`` is None."""
        if self.mask is None:
            return torch.ones(self.values.shape[:2], dtype=torch.bool, device=self.values.device)
        return self.mask

    def mean(self) -> Tensor:
        """Average the valid steps, shape (B, D)."""
        if self.mask is None:
            return self.values.mean(1)
        weights = self.mask.to(self.values.dtype)
        steps = weights.sum(1, keepdim=True)
        steps = steps if self.times is None else steps.clamp(min=1)  # 0 of a stream that has not begun
        return torch.einsum("btd,bt->bd", self.values, weights / steps)

    def last(self) -> Tensor:
        """Take the last valid step, shape (B, D), as MulT pools, but never a padding step."""
        if self.mask is None and self.times is None:
            return self.values[:, -1]
        mask = last = self.full_mask()
        if self.times is not None:  # streams that were joined are not in the order of time
            ends = self.times.masked_fill(~mask, -torch.inf)
            last = mask & (ends == ends.amax(1, keepdim=True))
        steps = torch.arange(mask.shape[1], device=mask.device)
        index = (last * steps).argmax(1)  # (B,)
        taken = self.values[torch.arange(index.shape[0], device=index.device), index]
        return taken if self.times is None else taken.where(mask.any(1, keepdim=True), 0.0)


def first(mask: Tensor) -> Tensor:
    """Mark the first of T steps, (B, T) -> (T,)."""
    return torch.arange(mask.shape[1], device=mask.device) == 0


def joined(streams: Sequence[Padded]) -> Padded:
    """Append streams along time, each (B, T_i, d) -> (B, sum of T_i, d)."""

    def along(parts: list[Tensor | None], absent: Callable[[Padded], Tensor]) -> Tensor | None:
        if all(part is None for part in parts):
            return None
        pairs = zip(streams, parts, strict=True)
        return torch.cat([absent(stream) if part is None else part for stream, part in pairs], dim=1)

    def zeros(stream: Padded) -> Tensor:
        return torch.zeros_like(stream.values[..., 0])

    _, masks, biases, times = (list(parts) for parts in zip(*streams, strict=True))
    rest = along(masks, Padded.full_mask), along(biases, zeros), along(times, zeros)
    return Padded(torch.cat([stream.values for stream in streams], dim=1), *rest)


def one_time_line(streams: Mapping[Modality, Padded]) -> tuple[dict[Modality, Tensor], Tensor]:
    """Bring aligned streams to one length: tensors (B, T, D_m), zero at invalid steps, and a common mask (B, T).

    The mask is True where any stream is valid. A modality that a clip lacks is zero at every step of the clip.

    Raises
    ------
    ConfigError
        The streams of a clip differ in length.
    """
    shortest, steps = (f(padded.values.shape[1] for padded in streams.values()) for f in (min, max))
    if shortest < steps:  # unaligned, or the longest clips lack a modality
        counts = torch.stack([padded.lengths for padded in streams.values()])  # (M, B)
        if ((counts > 1) & (counts != counts.amax(0))).any():
            lengths = ", ".join(f"{name} {padded.values.shape[1]}" for name, padded in streams.items())
            raise ConfigError(f"this needs aligned streams; the longest of the batch, in steps: {lengths}")
    values, masks = {}, []
    for name, padded in streams.items():
        mask, missing = padded.full_mask(), (0, steps - padded.values.shape[1])
        values[name] = F.pad(padded.values.masked_fill(~mask.unsqueeze(-1), 0.0), (0, 0, *missing))
        masks.append(F.pad(mask, missing))
    return values, torch.stack(masks).any(0)


class Batch(NamedTuple):
    """The input of one step. A modality that a clip lacks is one step of zeros, and False in ``present``."""

    streams: dict[Modality, Padded]
    present: dict[Modality, Tensor]  # (B,) bool
    targets: Tensor  # (B,) scores or (B, 4) emotions
    indices: Tensor  # (B,) positions in the split, on the CPU
    size: int  # clips of the batch over all processes

    def given(self, modality: Modality) -> Padded:
        """Return a stream (B, T_m, D_m) in which a clip that lacks the modality has no valid step."""
        return self.streams[modality].where(self.present[modality])

    def until(self, moment: Tensor) -> Batch:
        """Return the clips as they are at a moment of each, (B,), in shares of the clip: 1 is its end."""
        streams, present = {}, {}
        for name, padded in self.streams.items():
            heard = padded.until(moment)
            begun = heard.present
            streams[name] = heard._replace(values=heard.values.where(begun[:, None, None], 0.0)).attendable()
            present[name] = self.present[name] & begun
        return self._replace(streams=streams, present=present)

    def to(self, device: torch.device | str) -> Batch:
        """Copy the batch to a device; copies from pinned memory are asynchronous."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """Copy the batch to page-locked memory."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        return self._replace(
            streams={name: padded.map(function) for name, padded in self.streams.items()},
            present={name: function(present) for name, present in self.present.items()},
            targets=function(self.targets),
        )


def pad(stream: Stream, indices: np.ndarray) -> Padded:
    """Pad the given clips of a packed stream to one tensor (B, T, D), without a loop over clips.

    This uses NumPy because batches are made in a separate thread, where torch would start a second pool of threads that
    competes with the training step for the cores.
    """
    values, mask = stream.padded(indices)
    mask[:, 0] = True  # an absent modality is one zero step, so that attention always has a key
    return Padded(torch.from_numpy(values), None if mask.all() else torch.from_numpy(mask))


def collate(split: Split, indices: Sequence[int] | np.ndarray, modalities: Sequence[Modality]) -> Batch:
    """Make a batch of the given clips and modalities, on the CPU; each stream is (B, T_m, D_m)."""
    indices = np.asarray(indices, dtype=np.int64)
    return Batch(
        {name: pad(split.streams[name], indices) for name in modalities},
        {name: torch.from_numpy(split.streams[name].lengths[indices] > 0) for name in modalities},
        torch.from_numpy(split.targets[indices]),
        torch.from_numpy(indices),
        len(indices),
    )


def bucketed(lengths: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Draw random batches of clips of similar length: shuffle, sort by length within pools, cut, shuffle the batches.

    Every clip is in exactly one batch, and at most one batch is smaller than ``batch_size``. ``lengths`` is (N,); each
    batch is an array of indices (B,).
    """
    order = rng.permutation(len(lengths))
    batches: list[np.ndarray] = []
    for pool in np.array_split(order, np.arange(POOL * batch_size, len(order), POOL * batch_size)):
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += np.array_split(pool, np.arange(batch_size, len(pool), batch_size))
    return [batches[i] for i in rng.permutation(len(batches))]


class Batches:
    """The batches of a split, for training (:meth:`epoch`) and for evaluation (iteration).

    Parameters
    ----------
    split : Split
    batch_size : int
        Clips per step over all processes.
    modalities : sequence of str
        Modalities to read; the others are never touched.
    device : torch.device or str
    seed : int
        The order of epoch ``n`` depends only on ``(seed, n)``, so a resumed run sees the same batches.
    shard : (rank, world size)
        Under ``torchrun``, each process takes every ``world size``-th clip of a batch.

    Raises
    ------
    DataError
        The split has no clips, or lacks one of the modalities.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        modalities: Sequence[Modality],
        device: torch.device | str = "cpu",
        seed: int = 0,
        shard: tuple[int, int] = (0, 1),
    ):
        for name in modalities:
            if name not in split.streams:
                raise DataError(f"the split has no {name}; it has {', '.join(split.streams)}")
        if len(split) == 0:
            raise DataError("the split has no clips")
        self.split, self.batch_size, self.modalities = split, batch_size, tuple(modalities)
        self.device, self.seed, self.shard = torch.device(device), seed, shard
        self.lengths = np.max([split.streams[name].lengths for name in modalities], axis=0)  # (N,)

    def __len__(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Iterate over the shuffled batches of epoch ``number``."""
        rng = np.random.default_rng((self.seed, number))
        rank, world = self.shard
        return self._ready(bucketed(self.lengths, self.batch_size, rng), rank, world)

    def __iter__(self) -> Iterator[Batch]:
        order = np.argsort(self.lengths, kind="stable")
        return self._ready(np.array_split(order, np.arange(self.batch_size, len(order), self.batch_size)))

    def _ready(self, batches: Iterable[np.ndarray], rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Collate one batch ahead in a thread, so that the device does not wait."""
        with ThreadPoolExecutor(max_workers=1) as thread:
            ahead = None
            for batch in batches:
                following = thread.submit(self._make, batch, rank, world)
                if ahead is not None:
                    yield ahead.result()
                ahead = following
            if ahead is not None:
                yield ahead.result()

    def _make(self, indices: np.ndarray, rank: int, world: int) -> Batch:
        shard = indices[rank::world] if rank < len(indices) else indices[:1]  # fewer clips than processes: share one
        batch = collate(self.split, shard, self.modalities)._replace(size=len(indices))
        return (batch.pinned() if self.device.type == "cuda" else batch).to(self.device)


def statistics(stream: Stream) -> Mapping[str, Tensor]:
    """Compute mean and standard deviation of each feature over all steps, each (D,); a constant feature has scale 1.

    Raises
    ------
    DataError
        The stream has no steps.
    """
    if len(stream.values) == 0:
        raise DataError("no training clip has a step of this modality; remove the modality from the split")
    steps = len(stream.values)
    mean = sum(stream.values[block].sum(axis=0, dtype=np.float64) for block in blocks(steps)) / steps
    scale = np.sqrt(sum(np.square(stream.values[block] - mean).sum(axis=0) for block in blocks(steps)) / steps)
    scale[scale < 1e-6] = 1.0
    return {"mean": torch.from_numpy(mean).float(), "scale": torch.from_numpy(scale).float()}
