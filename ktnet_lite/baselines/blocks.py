"""Parts that several baselines share: a common time line, small networks, masked recurrence, a masked error.

Shapes: ``B`` clips, ``T`` steps, ``D_m`` features of modality m, ``d`` width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ktnet_lite.data.batching import Padded, one_time_line
from ktnet_lite.model.encoder import Standardise
from ktnet_lite.model.losses import sharded_mean
from ktnet_lite.model.network import Network
from ktnet_lite.names import Modality


class Aligned(NamedTuple):
    """Standardised streams on one time line."""

    values: dict[Modality, Tensor]  # (B, T, D_m); standardised zeros where a clip lacks the modality
    mask: Tensor  # (B, T)

    def joined(self) -> Padded:
        """Concatenate all modalities along features, (B, T, sum of D_m)."""
        return Padded(torch.cat(list(self.values.values()), dim=-1), self.mask)


class Baseline(Network):
    """A network that standardises each modality before its encoders."""

    def __init__(self, dims: Mapping[Modality, int], outputs: tuple[int, ...]):
        super().__init__()
        self.observed, self.outputs = tuple(dims), outputs
        self.standardise = nn.ModuleDict({name: Standardise(features) for name, features in dims.items()})

    @property
    def inputs(self) -> Mapping[Modality, Standardise]:
        return cast(Mapping[Modality, Standardise], self.standardise)

    def standardised(self, streams: Mapping[Modality, Padded], name: Modality) -> Padded:
        """Standardise the stream of one modality, (B, T_m, D_m)."""
        return Padded(self.standardise[name](streams[name].values), streams[name].mask)

    def align(self, streams: Mapping[Modality, Padded]) -> Aligned:
        """Put all streams that are present on one time line.

        Raises
        ------
        ConfigError
            The streams of a clip differ in length.
        """
        values, mask = one_time_line({name: streams[name] for name in self.inputs if name in streams})
        return Aligned({name: self.standardise[name](x) for name, x in values.items()}, mask)


def mlp(inputs: int, hidden: int, outputs: int, dropout: float) -> nn.Sequential:
    """A network of one hidden layer, (..., inputs) -> (..., outputs)."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, outputs))


def hold(valid: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Update a recurrent state (B, d) in clips where the step is valid (B,); a clip that has ended keeps its state."""
    return torch.where(valid[:, None], new, old)


class Recurrent(nn.LSTM):
    """An LSTM over a padded stream, (B, T, D) -> states (B, T, d); padding comes last and affects no valid state."""

    def __init__(self, inputs: int, dim: int):
        super().__init__(inputs, dim, batch_first=True)

    def forward(self, x: Padded) -> Padded:  # type: ignore[override]
        return Padded(super().forward(x.values)[0], x.mask)


def squared_error(predicted: Tensor, truth: Padded, present: Tensor) -> Tensor:
    """Mean squared error over valid steps and features of the clips that are ``present`` (B,); inputs (B, T, D)."""
    weight = truth.full_mask() * present[:, None]  # (B, T)
    error = (predicted.float() - truth.values.float()).square()
    return sharded_mean((error.sum(-1) * weight).sum(), weight.sum() * error.shape[-1])
