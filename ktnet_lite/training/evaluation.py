"""Predictions and metrics on a split, from the modalities that a variant observes; quality of the reconstruction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ktnet_lite.data.batching import Batches, Padded
from ktnet_lite.data.fits import to_read
from ktnet_lite.data.schema import Split
from ktnet_lite.measures.metrics import measured
from ktnet_lite.model import losses
from ktnet_lite.model.losses import Objective
from ktnet_lite.model.network import Network
from ktnet_lite.names import Fill, Modality, Precision, subsets
from ktnet_lite.training.runtime import autocast


class Evaluation(NamedTuple):
    """Predictions on one split, in the split's own order."""

    predictions: np.ndarray  # (N,) scores, or (N, 4) probabilities of the emotions
    logits: np.ndarray  # (N, *outputs)
    metrics: dict[str, float | None]
    undefined: dict[str, str]  # why a metric is None


def predict(
    model: Network,
    split: Split,
    fill: Fill | None = None,
    batch_size: int = 24,
    precision: Precision = "float32",
    missing: Sequence[Modality] = ("audio",),
) -> np.ndarray:
    """Predict sentiment scores, shape (N,), or the probability of each emotion, (N, 4); labels are not used.

    Parameters and errors are those of :func:`evaluate`.
    """
    return losses.predictions(_logits(model, split, fill, batch_size, precision, missing), model.loss).numpy()


def evaluate(
    model: Network,
    split: Split,
    fill: Fill | None = None,
    batch_size: int = 24,
    precision: Precision = "float32",
    missing: Sequence[Modality] = ("audio",),
) -> Evaluation:
    """Predict a split and compute the metrics.

    Only the modalities in ``model.observed`` are read: audio is not even collated for "ours".

    Parameters
    ----------
    fill : {"zero", "mean", "inferred"}, optional
        One of ``model.fills``: test a model that observes audio without it. The split's audio, if it has any, is not
        read; :func:`fill_in` fills it in.
    batch_size : int
        Clips per forward pass; it changes no prediction.
    precision : {"float32", "bf16", "fp16"}
        Autocast of the forward pass.
    missing : sequence of str
        With a ``fill``, the modalities that are missing.

    Raises
    ------
    ConfigError
        The model cannot do without these modalities in this way, or observes nothing else.
    DataError
        The split is empty, lacks a modality that the model observes, or has other feature counts.
    KTNetError
        A prediction is not a number.
    """
    logits = _logits(model, split, fill, batch_size, precision, missing)
    predicted = losses.predictions(logits, model.loss).numpy()
    classes = logits.argmax(-1).numpy() - 3 if model.loss == "cross_entropy" else None
    metrics = measured(predicted, split.targets, classes)
    return Evaluation(predicted, logits.numpy(), dict(metrics.values), dict(metrics.undefined))


def evaluate_subsets(
    model: Network, split: Split, fill: Fill, batch_size: int = 24, precision: Precision = "float32"
) -> dict[tuple[Modality, ...], Evaluation]:
    """Evaluate a model on every subset of the modalities that it observes and a split has.

    Parameters and errors are those of :func:`evaluate`; a model that can miss any modality needs "inferred".
    """
    known = [name for name in model.observed if name in split.streams]
    return {
        subset: evaluate(model, split, fill, batch_size, precision, [name for name in known if name not in subset])
        for subset in subsets(known)
    }


@torch.no_grad()
def _logits(
    model: Network, split: Split, fill: Fill | None, batch_size: int, precision: Precision, missing: Sequence[Modality]
) -> Tensor:
    """Return the logits of every clip, (N, *outputs), on the CPU."""
    read, gone = to_read(model, split, fill, missing)
    model.eval()
    device = next(model.parameters()).device
    logits = torch.empty(len(split), *model.outputs)
    for batch in Batches(split, batch_size, read, device):
        if gone and fill != "inferred":
            lacking = dict.fromkeys(gone, torch.ones(len(batch.indices), dtype=torch.bool, device=device))
            batch = batch._replace(streams=fill_in(model, batch.streams, lacking, cast("Fill", fill)))
        with autocast(device, precision):
            logits[batch.indices] = model.answer(batch).logits.float().cpu()
    return logits


def fill_in(
    model: Network, streams: Mapping[Modality, Padded], lacking: Mapping[Modality, Tensor], fill: Fill
) -> dict[Modality, Padded]:
    """Fill in the modalities that some clips lack, and that the model observes.

    ``zero``: zeros, in the features' own units; ``mean``: the training mean of each feature. A filled-in stream is as
    long as the clip's first stream of those that it does not lack (language, if there is any): nothing of a missing
    modality is used, not even its length.

    Parameters
    ----------
    streams : dict of Padded
        The streams at hand, each (B, T_m, D_m).
    lacking : dict of Tensor
        The clips, (B,), that lack a modality. One that is not among the streams is lacking in all of them.
    """
    at_hand = [
        padded.lengths.masked_fill(lacking[name], 0) if name in lacking else padded.lengths
        for name, padded in streams.items()
    ]
    counts = torch.stack(at_hand)  # (M, B)
    lengths = counts.gather(0, (counts > 0).int().argmax(0, keepdim=True)).squeeze(0).clamp(min=1)  # (B,)
    filled = dict(streams)
    for name, clips in lacking.items():
        if name not in model.observed or not clips.any():
            continue
        mean = model.inputs[name].mean  # (D_m,)
        step = torch.zeros_like(mean) if fill == "zero" else mean
        real = streams.get(name, Padded(step.expand(len(clips), 1, -1)))
        steps = max(real.values.shape[1], int(lengths[clips].max()))
        values = F.pad(real.values, (0, 0, 0, steps - real.values.shape[1]))
        mask = F.pad(real.full_mask(), (0, steps - real.values.shape[1]))
        as_long = torch.arange(steps, device=mask.device) < lengths[:, None]  # (B, T)
        mask = torch.where(clips[:, None], as_long, mask)
        steps = int(mask.sum(1).max()) if clips.all() else steps
        values = torch.where(clips[:, None, None], step, values)[:, :steps]
        filled[name] = Padded(values, None if mask[:, :steps].all() else mask[:, :steps])
    return filled


@torch.no_grad()
def transfer_quality(objective: Objective, split: Split) -> dict[str, float]:
    """Measure the reconstructions on a split; see :func:`ktnet_lite.model.losses.transfer_quality`.

    Nothing is returned where the model reconstructs nothing, or the split lacks what it reconstructs.
    """
    if not (objective.model.reconstructs or objective.model.any_subset):
        return {}
    if objective.audio_target is not None and "audio" not in split.streams:
        return {}
    objective.eval()
    moments: dict[str, Tensor] = {}
    read = [name for name in objective.modalities if name in split.streams]
    for batch in Batches(split, 64, read, next(objective.parameters()).device):
        for name, value in objective.transfer_moments(batch).items():
            moments[name] = moments[name] + value if name in moments else value
    return losses.transfer_quality(moments)
