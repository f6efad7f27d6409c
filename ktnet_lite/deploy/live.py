"""Clips as they arrive: one clip step by step, and all clips of a split at shares of their length.

Times are seconds, or shares of the clip where a data set has no times: step j of n then ends at (j + 1) / n of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch

from ktnet_lite.data.batching import Batch, Batches, Padded
from ktnet_lite.data.fits import to_read
from ktnet_lite.data.schema import Split
from ktnet_lite.deploy.stream import Listener, Steps
from ktnet_lite.model.any_modality import AnyKTNet
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.losses import predictions
from ktnet_lite.model.network import Network
from ktnet_lite.names import EMOTIONS, Modality


class Moment(NamedTuple):
    """What is known of a clip at a moment."""

    now: float
    scores: np.ndarray  # (1,), or the probability of each emotion (4,)
    heard: tuple[Modality, ...]  # of which a step has arrived
    milliseconds: float  # from the arrival of the last steps to the score


class Drop(NamedTuple):
    """A drop-out: the steps of a modality that end after ``start`` and up to ``end`` do not arrive."""

    modality: Modality
    start: float
    end: float


class Hears(Protocol):
    """What scores a clip while it runs: see :meth:`ktnet_lite.deploy.stream.Listener.hear`."""

    def hear(self, arrived: Mapping[Modality, Steps], now: float) -> np.ndarray: ...


class Restarted:
    """Any system: at every moment it begins again, on the clip so far."""

    def __init__(self, model: Network):
        self.model = model
        empty = {name: np.empty((0, len(layer.mean)), np.float32) for name, layer in model.inputs.items()}
        self.steps = {name: Steps(empty[name], np.empty(0)) for name in model.observed}

    @torch.no_grad()
    def hear(self, arrived: Mapping[Modality, Steps], now: float) -> np.ndarray:
        """Hear all steps that have ended since the last call: the score (1,), or emotions (1, 4)."""
        streams, present = {}, {}
        for name, known in self.steps.items():
            new = arrived.get(name, Steps(known.values[:0], known.times[:0]))
            known = Steps(*(np.concatenate(pair) for pair in zip(known, new, strict=True)))
            self.steps[name], here = known, len(known.times) > 0
            values = known.values if here else np.zeros((1, known.values.shape[1]), np.float32)
            times = torch.from_numpy(known.times if here else np.zeros(1))[None]
            streams[name] = Padded(torch.from_numpy(values)[None], times=times)
            present[name] = torch.tensor([here])
        batch = Batch(streams, present, torch.zeros(1), torch.zeros(1, dtype=torch.long), 1)
        return predictions(self.model.answer(batch).logits, self.model.loss).numpy()


def listener(model: Network) -> Hears:
    """Return what hears one clip for a model: it goes on if the model is causal, and begins again otherwise."""
    if isinstance(model, (KTNet, AnyKTNet)) and model.causal:
        return Listener(model)
    return Restarted(model)


def steps_of(split: Split, clip: int, modalities: Sequence[Modality]) -> dict[Modality, Steps]:
    """Return the steps of one clip of a split, with their times in shares of the clip."""
    streams = {}
    for name in modalities:
        if name in split.streams and (count := int(split.streams[name].lengths[clip])):
            streams[name] = Steps(split.streams[name].clip(clip), np.arange(1, count + 1) / count)
    return streams


def without(streams: Mapping[Modality, Steps], drops: Sequence[Drop]) -> dict[Modality, Steps]:
    """Leave out what does not arrive."""
    left = dict(streams)
    for name, start, end in drops:
        if name in left:
            values, times = left[name]
            stays = (times <= start) | (times > end)
            left[name] = Steps(values[stays], times[stays])
    return left


def played(
    model: Network, streams: Mapping[Modality, Steps], hop: float, end: float, hears: Hears | None = None
) -> Iterator[Moment]:
    """Play a clip in hops, to its end, to what :func:`listener` gives for the model, or to another that ``hears``.

    The hop and the end are in the unit of the steps' times.
    """
    hears, heard, before = hears or listener(model), set[Modality](), -np.inf
    moments = np.append(np.arange(hop, end - hop / 2, hop), end)
    for now in moments:
        arrived: dict[Modality, Steps] = {}
        for name, (values, times) in streams.items():
            new = (before < times) & (times <= now)
            if new.any():
                arrived[name] = Steps(values[new], times[new])
        heard |= arrived.keys()
        start = time.perf_counter()
        scores = hears.hear(arrived, float(now))[0]
        milliseconds = 1000 * (time.perf_counter() - start)
        yield Moment(float(now), np.atleast_1d(scores), tuple(n for n in streams if n in heard), milliseconds)
        before = now


@torch.no_grad()
def beginnings(model: Network, split: Split, shares: Sequence[float], batch_size: int = 64) -> np.ndarray:
    """Predict every clip of a split from its beginnings: scores (shares, N), or emotions (shares, N, 4).

    All clips of a batch are cut at the same share of their length.
    """
    model.eval()
    read, device = to_read(model, split, None)[0], next(model.parameters()).device
    shape = (len(split), len(EMOTIONS)) if model.loss == "emotion" else (len(split),)
    scores = np.empty((len(shares), *shape), np.float32)
    for batch in Batches(split, batch_size, read, device):
        for i, share in enumerate(shares):
            heard = batch.until(torch.full((len(batch.indices),), share, device=device))
            scores[i, batch.indices.numpy()] = predictions(model.answer(heard).logits, model.loss).cpu().numpy()
    return scores


def flips(scores: np.ndarray, threshold: float = 0.0) -> np.ndarray:
    """Count how often the scores of each clip, (moments, N), change sides of a threshold: (N,)."""
    above = scores > threshold
    return (above[1:] != above[:-1]).sum(axis=0)
