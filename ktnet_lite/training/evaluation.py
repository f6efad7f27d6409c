"""Predictions and metrics on a split, from what a variant observes; and how good the reconstruction is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ktnet_lite.data.batching import Batches, Padded
from ktnet_lite.data.schema import Split
from ktnet_lite.errors import ConfigError
from ktnet_lite.measures.metrics import emotion_metrics, sentiment_metrics
from ktnet_lite.model import losses
from ktnet_lite.model.losses import Objective
from ktnet_lite.model.network import Network
from ktnet_lite.names import Fill, Modality
from ktnet_lite.training.runtime import autocast


class Evaluation(NamedTuple):
    """Predictions on one split, in the split's own order."""

    predictions: np.ndarray  # (N,) scores, or (N, 4) probabilities of the emotions
    logits: np.ndarray  # (N, *outputs)
    metrics: dict[str, float | None]
    undefined: dict[str, str]  # why a metric is None


@torch.no_grad()
def evaluate(
    model: Network,
    split: Split,
    loss: losses.TaskLoss,
    device: torch.device | str = "cpu",
    batch_size: int = 24,
    precision: str = "float32",
    fill: Fill | None = None,
) -> Evaluation:
    """Predict a split from ``model.observed`` alone, and measure. Audio is not even collated for "ours".

    With ``fill``, one of ``model.fills``, a model that observes audio does without: the split's audio, if it has any,
    is not read, and :func:`without_audio` says what stands in for it.

    Parameters
    ----------
    loss : {"cross_entropy", "l1", "emotion"}
        What the model was trained with; it says what the logits mean (:func:`ktnet_lite.model.losses.predictions`).
    batch_size : int
        Clips at once; it changes no prediction.
    precision : {"float32", "bf16", "fp16"}
        Of the forward pass.

    Raises
    ------
    ConfigError
        The model cannot do without audio in this way, or observes nothing else.
    DataError
        The split is empty, or lacks a modality that the model observes.
    KTNetError
        A prediction is not a number.
    """
    device = torch.device(device)
    model.eval()
    if fill is not None and fill not in model.fills:
        known = f"this model can do: {', '.join(model.fills)}" if model.fills else "this model observes no audio"
        raise ConfigError(f"audio cannot be {fill!r}; {known}")
    read = [name for name in model.observed if fill is None or name != "audio"]
    if not read:
        raise ConfigError("this model observes audio alone; without it there is nothing to predict from")
    logits = torch.empty(len(split), *model.outputs)
    for batch in Batches(split, batch_size, read, device):
        streams = batch.streams if fill is None else without_audio(model, batch.streams, fill)
        with autocast(device, precision):
            logits[batch.indices] = model(streams).logits.float().cpu()
    predicted = losses.predictions(logits, loss)
    if loss == "emotion":
        metrics = emotion_metrics(predicted.numpy() > 0.5, split.targets)
    else:
        classes = logits.argmax(-1).numpy() - 3 if loss == "cross_entropy" else None
        metrics = sentiment_metrics(predicted.numpy(), split.targets, classes)
    return Evaluation(predicted.numpy(), logits.numpy(), dict(metrics.values), dict(metrics.undefined))


def without_audio(model: Network, streams: Mapping[Modality, Padded], fill: Fill) -> dict[Modality, Padded]:
    """Streams that have no audio, with what stands in for it.

    ``zero``: zeros, in the features' own units; ``mean``: the training split's mean of each feature; ``inferred``:
    nothing, the model does it itself. What stands in has the steps of the first stream (language, where there is
    one): nothing of the real audio is used, not even its length.
    """
    if fill == "inferred":
        return dict(streams)
    first = next(iter(streams.values()))
    mean = model.inputs["audio"].mean  # (D_A,)
    step = torch.zeros_like(mean) if fill == "zero" else mean
    return {**streams, "audio": Padded(step.expand(*first.values.shape[:2], -1), first.mask)}


@torch.no_grad()
def transfer_quality(objective: Objective, split: Split, device: torch.device | str = "cpu") -> dict[str, float]:
    """Reconstruction error, R2 and std(f_A) over a split with audio; see :func:`ktnet_lite.model.losses.transfer_quality`."""
    objective.eval()
    moments: dict[str, Tensor] = {}
    for batch in Batches(split, 64, objective.modalities, device):
        for name, value in objective.transfer_moments(objective.model(batch.streams), batch).items():
            moments[name] = moments.get(name, 0.0) + value
    return losses.transfer_quality(moments)
