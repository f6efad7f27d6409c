"""What ``fit``, ``evaluate`` and ``predict`` ask of a network, whatever its inside; its first and its last layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ktnet_lite.data.batching import Batch, Padded, statistics
from ktnet_lite.data.schema import Modality, Split, Stream
from ktnet_lite.layers import Positions

# What stands in for audio that a network observes and a clip has not: raw zeros, the training split's mean, or
# what the network itself infers from the other modalities.
Fill = Literal["zero", "mean", "inferred"]
FILLS: tuple[Fill, ...] = ("zero", "mean", "inferred")


class Standardise(nn.Module):
    """(B, T, D) -> (B, T, D), each feature minus the training split's mean, over its standard deviation.

    Both are kept in the features' own units, (D,); before :meth:`fit` they are 0 and 1.
    """

    def __init__(self, features: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def fit(self, stream: Stream) -> None:
        """Take mean and scale from a stream; they travel with the weights.

        Raises
        ------
        DataError
            The stream has no step at all.
        """
        self.load_state_dict(statistics(stream))

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.scale


class Embedding(nn.Module):
    """X_m (B, T_m, D_m) -> (B, T_m, d): standardise, project each step, add positions.

    The temporal projection is a convolution of width 1, that is a linear map of each step, so padding cannot leak
    into valid steps.
    """

    def __init__(self, features: int, dim: int, dropout: float):
        super().__init__()
        self.standardise = Standardise(features)
        self.project = nn.Linear(features, dim, bias=False)
        self.positions = Positions(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Padded) -> Padded:
        projected = self.project(self.standardise(x.values))  # (B, T, d)
        return Padded(self.dropout(self.positions(projected)), x.mask)


class Head(nn.Module):
    """MulT's last block: a residual net of two layers, and a linear map, ``(B, width) -> (B, *outputs)``."""

    def __init__(self, width: int, outputs: tuple[int, ...], dropout: float):
        super().__init__()
        self.outputs = outputs
        self.residual = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width))
        self.out = nn.Linear(width, math.prod(outputs))

    def forward(self, joint: Tensor) -> Tensor:
        return self.out(joint + self.residual(joint)).unflatten(-1, self.outputs)


class Output(NamedTuple):
    """The least that a forward pass gives."""

    logits: Tensor  # (B, 7), (B, 1) or (B, 4, 2): see losses.OUTPUTS


class Network(nn.Module):
    """A system that predicts sentiment from padded streams.

    ``forward(streams)`` takes the ``observed`` modalities, each (B, T_m, D_m), and returns a NamedTuple with
    ``logits``, ``(B, *outputs)``. A subclass sets ``observed``, ``outputs`` and ``inputs``.

    Attributes
    ----------
    observed : tuple of str
        What a prediction needs.
    outputs : tuple of int
        Shape of one clip's logits.
    weights : dict of float
        Of the terms that :meth:`auxiliary` adds to the task loss.
    infers_audio : bool
        Whether ``forward`` also takes clips without audio, and works out itself what it would have said.
    reconstructs : bool
        Whether training needs a target for reconstructed audio, Eq. (1).
    aligned_only : bool
        Whether every stream must lie on the words' time line.
    """

    observed: tuple[Modality, ...]
    outputs: tuple[int, ...]
    weights: Mapping[str, float] = MappingProxyType({})
    infers_audio = False
    reconstructs = False
    aligned_only = False

    @property
    def inputs(self) -> Mapping[Modality, Standardise]:
        """The first layer of each modality that the network has any use for, in training or later."""
        raise NotImplementedError

    @property
    def trained_on(self) -> tuple[Modality, ...]:
        """What a training batch must hold."""
        return tuple(self.inputs)

    @property
    def fills(self) -> tuple[Fill, ...]:
        """The ways to predict clips whose audio is gone; none where the network does not observe audio."""
        if "audio" not in self.observed:
            return ()
        return ("inferred",) if self.infers_audio else ("zero", "mean")

    def fit_statistics(self, split: Split) -> None:
        """Take each feature's mean and scale from the training split.

        Raises
        ------
        DataError
            No clip of it has a step of a modality that the network uses.
        """
        for name, layer in self.inputs.items():
            layer.fit(split.streams[name])

    def auxiliary(self, output: NamedTuple, batch: Batch, loss: str) -> dict[str, Tensor]:
        """Terms of the training objective besides the task loss (whose name is ``loss``), without their ``weights``."""
        return {}

    def attention_maps(self, streams: Mapping[Modality, Padded]) -> dict[str, list[Tensor]]:
        """Weights of the cross-modal attention for pictures, ``{"vision_to_language": [(B, h, T_L, T_V), ...]}``."""
        return {}
