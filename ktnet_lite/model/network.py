"""The interface of every system to training and evaluation, and the head that turns features into predictions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor, nn

from ktnet_lite.data.batching import Batch, Padded
from ktnet_lite.data.schema import Split
from ktnet_lite.errors import ConfigError
from ktnet_lite.model.encoder import Standardise
from ktnet_lite.names import Fill, Modality, TaskLoss

# Shape of one clip's logits under each task loss: 7 sentiment classes, 1 score, 4 binary emotions.
OUTPUTS: dict[TaskLoss, tuple[int, ...]] = {"cross_entropy": (7,), "l1": (1,), "emotion": (4, 2)}


class Head(nn.Module):
    """MulT's last block: a residual network of two layers and a linear map, ``(B, width) -> (B, *outputs)``."""

    def __init__(self, width: int, outputs: tuple[int, ...], dropout: float):
        super().__init__()
        self.outputs = outputs
        self.residual = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width))
        self.out = nn.Linear(width, math.prod(outputs))

    def forward(self, joint: Tensor) -> Tensor:
        return self.out(joint + self.residual(joint)).unflatten(-1, self.outputs)


def check_two(system: str, modalities: Iterable[Modality]) -> None:
    """Raise a ConfigError unless there are two modalities or more."""
    if len(known := list(modalities)) < 2:
        raise ConfigError(f"{system} needs two modalities or more, but this data has only {', '.join(known)}")


class Output(NamedTuple):
    """The smallest output of a forward pass."""

    logits: Tensor  # (B, 7), (B, 1) or (B, 4, 2): see OUTPUTS


class Network(nn.Module):
    """A system that predicts sentiment from padded streams.

    ``forward(streams)`` takes the ``observed`` modalities, each (B, T_m, D_m), and returns a NamedTuple with
    ``logits``, ``(B, *outputs)``. A subclass sets ``observed``, ``outputs`` and ``inputs``.

    Attributes
    ----------
    observed : tuple of str
        Modalities that a prediction needs.
    outputs : tuple of int
        Shape of one clip's logits.
    weights : dict of float
        Weight of each term that :meth:`auxiliary` adds to the task loss.
    infers_audio : bool
        Whether ``forward`` also takes clips without audio and infers what the audio would have contributed.
    reconstructs : bool
        Whether training needs a target for reconstructed audio, Eq. (1).
    aligned_only : bool
        Whether all streams must share one time line.
    any_subset : bool
        Whether each clip may lack any of the observed modalities.
    causal : bool
        Whether no step sees what ends after it, so that a score can go on while a clip runs.
    closed_form : bool
        Whether :meth:`solve` sets the weights, in place of training epochs.
    recipes : dict of str
        How the training data was extracted from clips (:attr:`ktnet_lite.data.schema.Header.recipes`).
    """

    observed: tuple[Modality, ...]
    outputs: tuple[int, ...]
    weights: Mapping[str, float] = MappingProxyType({})
    infers_audio = False
    reconstructs = False
    aligned_only = False
    any_subset = False
    causal = False
    closed_form = False
    recipes: Mapping[Modality, str] = MappingProxyType({})

    @property
    def loss(self) -> TaskLoss:
        """The task loss, Eq. (5), that ``outputs`` implies.

        Raises
        ------
        ConfigError
            No task loss takes logits of this shape.
        """
        for loss, outputs in OUTPUTS.items():
            if outputs == self.outputs:
                return loss
        shapes = ", ".join(map(str, OUTPUTS.values()))
        raise ConfigError(f"{type(self).__name__} has outputs = {self.outputs}; no task loss takes them, only {shapes}")

    @property
    def inputs(self) -> Mapping[Modality, Standardise]:
        """First layer of each modality that the network uses, in training or at test."""
        raise NotImplementedError

    @property
    def trained_on(self) -> tuple[Modality, ...]:
        """Modalities that a training batch must hold."""
        return tuple(self.inputs)

    @property
    def fills(self) -> tuple[Fill, ...]:
        """Ways to fill in missing audio at test; empty if the network observes no audio, or nothing else."""
        if "audio" not in self.observed or self.observed == ("audio",):
            return ()
        return ("inferred",) if self.infers_audio else ("zero", "mean")

    def answer(self, batch: Batch) -> Any:
        """Return the output for a batch.

        A modality that a clip lacks is one step of zeros, and has no valid step for systems that are causal or take any
        subset.
        """
        if not (self.any_subset or self.causal):
            return self(batch.streams)
        return self({name: batch.given(name) for name in self.observed if name in batch.streams})

    def fit_statistics(self, split: Split) -> None:
        """Take the mean and scale of each feature from the training set.

        Raises
        ------
        DataError
            A modality that the network uses has no step in any clip of the split.
        """
        for name, layer in self.inputs.items():
            layer.fit(split.streams[name])

    def solve(self, train: Split, valid: Split) -> None:
        """Set the weights by a formula or solver instead of training epochs; see ``closed_form``."""
        raise NotImplementedError(f"{type(self).__name__} has no closed form; train it in epochs")

    def auxiliary(self, output: Any, batch: Batch) -> dict[str, Tensor]:
        """Return the terms that training adds to the task loss, by name, before they are weighted."""
        return {}

    def rebuilt(self, batch: Batch) -> dict[str, Any]:
        """Return what was reconstructed in a batch, :class:`ktnet_lite.model.losses.Rebuilt`, by name."""
        return {}

    def attention_maps(self, streams: Mapping[Modality, Padded]) -> dict[str, list[Tensor]]:
        """Return the cross-modal attention weights, by layer: ``{"vision_to_language": [(B, h, T_L, T_V), ...]}``."""
        return {}
