"""Clips that lack modalities, for the tests of systems that take any subset."""

import dataclasses
import itertools

import numpy as np
import torch

from ktnet_lite.data.batching import Padded, collate
from ktnet_lite.data.schema import Split, Stream
from ktnet_lite.names import subsets
from small import ALIGNED, DIMS, UNALIGNED, extended, make_split

NAMES = tuple(DIMS)
SUBSETS = subsets(NAMES)
LENGTHS = {"aligned": ALIGNED, "unaligned": UNALIGNED}
MANY = {name: [5, 3, 6, 4, 5] * 8 for name in NAMES}


def clips_of(lengths, count: int, task: str = "sentiment") -> Split:
    return make_split({name: list(itertools.islice(itertools.cycle(n), count)) for name, n in lengths.items()}, task)


def lacking(split: Split, choice) -> Split:
    """The same clips, each with its own subset of the modalities."""
    streams = {}
    for name, stream in split.streams.items():
        clips = [stream.clip(i) if name in subset else np.zeros((0, stream.dim)) for i, subset in enumerate(choice)]
        streams[name] = Stream.from_clips(clips)
    return dataclasses.replace(split, streams=streams)


def batch_of(split: Split):
    return collate(split, range(len(split)), tuple(split.streams))


def poisoned(batch, choice, steps: int = 33) -> dict[str, Padded]:
    """The streams of a batch with NaN, at more steps than there were, wherever a clip has no valid step."""
    streams = {}
    for name, padded in batch.streams.items():
        has = torch.tensor([name in subset for subset in choice])
        streams[name] = extended(Padded(padded.values, padded.full_mask() & has[:, None]), steps, torch.nan)
    return streams
