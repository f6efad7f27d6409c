"""Export trained models to ONNX files for the page's runtime. The forward passes are those of the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from ktnet_lite.data.batching import Padded
from ktnet_lite.deploy.dense import exportable
from ktnet_lite.deploy.export import trace
from ktnet_lite.model.encoder import ModalityEncoder
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.losses import consistency_loss, predictions

STEPS = 64  # most steps of a stream on the page


class Predictor(nn.Module):
    """A model for one clip that maps plain tensors (``inputs``) to plain tensors (``outputs``)."""

    def __init__(self, model: KTNet):
        super().__init__()
        self.model, self.inputs = model, model.observed
        rebuilt = [f"{source}_rebuilt" for source in model.observed if model.reconstructs]
        self.outputs = ("score", *rebuilt, *model.fusion.cross_modal)

    def forward(self, *streams: Tensor) -> tuple[Tensor, ...]:
        """Map streams (1, T_m, D_m) to score (1,), theta(f_V) and phi(f_L) (1, T_m, d), attention (1, T, S) per pair.

        The attention of a pair is that of its last layer, averaged over heads, as in
        :func:`ktnet_lite.reporting.plots.clip_attention`.
        """
        observed = {name: Padded(values) for name, values in zip(self.inputs, streams, strict=True)}
        features, reconstructed = self.model.encode(observed)
        score = predictions(self.model.fusion(features), "l1")
        maps = self.model.fusion.attention_maps(features).values()
        return score, *(padded.values for padded in reconstructed.values()), *(layers[-1].mean(1) for layers in maps)


class Consistency(nn.Module):
    """Eq. (1) for one clip, and the error of predicting the mean of f_A at every step, where R2 = 0."""

    inputs = "audio", "language_rebuilt", "vision_rebuilt"
    outputs = "language_error", "vision_error", "language_mean_error", "vision_mean_error"

    def __init__(self, encoder: ModalityEncoder, mean: Tensor):
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", mean)

    def forward(self, audio: Tensor, language: Tensor, vision: Tensor) -> tuple[Tensor, ...]:
        """Map audio (1, T_A, D_A), phi(f_L) (1, T_L, d), theta(f_V) (1, T_V, d) to four errors, each of shape ()."""
        target = self.encoder(Padded(audio))
        guesses = language, vision, self.mean.expand_as(language), self.mean.expand_as(vision)
        return tuple(consistency_loss(Padded(guess), target) for guess in guesses)


def export(module: Predictor | Consistency, widths: Mapping[str, int], path: Path) -> None:
    """Write a module as ONNX, for one clip of any length; ``widths`` has the features per step of each input."""
    examples = {name: torch.zeros(1, 9 + i, widths[name]) for i, name in enumerate(module.inputs)}
    lengths = tuple({1: Dim(f"{name}_steps")} for name in module.inputs)
    shapes = (lengths,) if isinstance(module, Predictor) else lengths
    graph = trace(exportable(module), examples, module.outputs, shapes)
    path.write_bytes(graph.SerializeToString(deterministic=True))
