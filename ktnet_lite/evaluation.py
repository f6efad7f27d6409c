"""Predictions and metrics on a split, from what a variant observes; and how good the reconstruction is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ktnet_lite import losses
from ktnet_lite.data.batching import Batches
from ktnet_lite.data.schema import Split
from ktnet_lite.losses import Objective
from ktnet_lite.metrics import emotion_metrics, sentiment_metrics
from ktnet_lite.model import KTNet
from ktnet_lite.runtime import autocast


class Evaluation(NamedTuple):
    """Predictions on one split, in the split's own order."""

    predictions: np.ndarray  # (N,) scores, or (N, 4) probabilities of the emotions
    logits: np.ndarray  # (N, *outputs)
    metrics: dict[str, float | None]
    undefined: dict[str, str]  # why a metric is None


@torch.no_grad()
def evaluate(
    model: KTNet,
    split: Split,
    loss: losses.TaskLoss,
    device: torch.device | str = "cpu",
    batch_size: int = 24,
    precision: str = "float32",
) -> Evaluation:
    """Predict a split from ``model.observed`` alone, and measure. Audio is not even collated for "ours"."""
    device = torch.device(device)
    model.eval()
    logits = torch.empty(len(split), *model.outputs)
    for batch in Batches(split, batch_size, model.observed, device):
        with autocast(device, precision):
            logits[batch.indices] = model(batch.streams).logits.float().cpu()
    predicted = losses.predictions(logits, loss)
    if loss == "emotion":
        metrics = emotion_metrics(predicted.numpy() > 0.5, split.targets)
    else:
        classes = logits.argmax(-1).numpy() - 3 if loss == "cross_entropy" else None
        metrics = sentiment_metrics(predicted.numpy(), split.targets, classes)
    return Evaluation(predicted.numpy(), logits.numpy(), dict(metrics.values), dict(metrics.undefined))


@torch.no_grad()
def transfer_quality(objective: Objective, split: Split, device: torch.device | str = "cpu") -> dict[str, float]:
    """Reconstruction error, R2 and std(f_A) over a split with audio; see :func:`ktnet_lite.losses.transfer_quality`."""
    objective.eval()
    moments: dict[str, Tensor] = {}
    for batch in Batches(split, 64, objective.modalities, device):
        for name, value in objective.transfer_moments(objective.model(batch.streams), batch).items():
            moments[name] = moments.get(name, 0.0) + value
    return losses.transfer_quality(moments)
