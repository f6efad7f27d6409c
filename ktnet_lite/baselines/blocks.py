"""What several baselines share: one time line, small nets, masked recurrence, a masked error.

Shapes: ``B`` clips, ``T`` steps, ``D_m`` features of modality m, ``d`` width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ktnet_lite.data.batching import Padded
from ktnet_lite.data.schema import Modality
from ktnet_lite.errors import ConfigError
from ktnet_lite.losses import sharded_mean
from ktnet_lite.network import Network, Standardise


class Aligned(NamedTuple):
    """Standardised streams on one time line."""

    values: dict[Modality, Tensor]  # (B, T, D_m); of zeros, standardised, where a clip lacks the modality
    mask: Tensor  # (B, T)

    def joined(self) -> Padded:
        """All modalities side by side, (B, T, sum of D_m)."""
        return Padded(torch.cat(list(self.values.values()), dim=-1), self.mask)


class Baseline(Network):
    """A network that standardises each modality itself; its encoders take what comes out."""

    def __init__(self, dims: Mapping[Modality, int], outputs: tuple[int, ...]):
        super().__init__()
        self.observed, self.outputs = tuple(dims), outputs
        self.standardise = nn.ModuleDict({name: Standardise(features) for name, features in dims.items()})

    @property
    def inputs(self) -> Mapping[Modality, Standardise]:
        return self.standardise

    def standardised(self, streams: Mapping[Modality, Padded], name: Modality) -> Padded:
        """One modality's stream, (B, T_m, D_m), standardised."""
        return Padded(self.standardise[name](streams[name].values), streams[name].mask)

    def align(self, streams: Mapping[Modality, Padded]) -> Aligned:
        """The streams that are there, on their one time line.

        Raises
        ------
        ConfigError
            Their lengths differ. A clip that lacks a modality has one step of it, and is no such case.
        """
        present = {name: streams[name] for name in self.standardise if name in streams}
        lengths = {name: padded.values.shape[1] for name, padded in present.items()}
        steps = max(lengths.values())
        if any(length not in (1, steps) for length in lengths.values()):
            raise ConfigError(f"this system needs aligned streams; the longest here, by modality: {lengths}")
        values, masks = {}, []
        for name, padded in present.items():
            mask = padded.full_mask()
            missing = (0, steps - lengths[name])
            zeroed = padded.values.masked_fill(~mask.unsqueeze(-1), 0.0)
            values[name] = self.standardise[name](F.pad(zeroed, (0, 0, *missing)))
            masks.append(F.pad(mask, missing))
        return Aligned(values, torch.stack(masks).any(0))


def mlp(inputs: int, hidden: int, outputs: int, dropout: float) -> nn.Sequential:
    """A net of one hidden layer."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, outputs))


def hold(valid: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """A recurrent state (B, d) after a step that is valid (B,) for some clips: past its end a clip keeps its last."""
    return torch.where(valid[:, None], new, old)


class Recurrent(nn.LSTM):
    """An LSTM over a padded stream, (B, T, D) -> states (B, T, d). Padding lies behind, where nothing reads it."""

    def __init__(self, inputs: int, dim: int):
        super().__init__(inputs, dim, batch_first=True)

    def forward(self, x: Padded) -> Padded:
        return Padded(super().forward(x.values)[0], x.mask)


def squared_error(predicted: Tensor, truth: Padded, present: Tensor) -> Tensor:
    """Mean over valid steps and features of clips that are ``present`` (B,); both (B, T, D)."""
    weight = truth.full_mask() * present[:, None]  # (B, T)
    error = (predicted.float() - truth.values.float()).square()
    return sharded_mean((error.sum(-1) * weight).sum(), weight.sum() * error.shape[-1])
