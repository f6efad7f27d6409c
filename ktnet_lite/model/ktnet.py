"""KTNet, the network of Fig. 1, in the paper's five variants.

Shapes: ``B`` clips, ``T_m`` steps and ``D_m`` features of modality m, ``d`` the model's width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ktnet_lite.data.batching import Padded
from ktnet_lite.errors import ConfigError
from ktnet_lite.model.encoder import ModalityEncoder, Standardise
from ktnet_lite.model.fusion import CrossModalFusion
from ktnet_lite.model.network import Network
from ktnet_lite.model.transfer import Combine, Transfer
from ktnet_lite.names import MODALITIES, VARIANTS, Concat, Modality, Pooling, Variant


class KTNetOutput(NamedTuple):
    """What a forward pass gives."""

    logits: Tensor  # (B, 7), (B, 1) or (B, 4, 2): see network.OUTPUTS
    reconstructed: dict[Modality, Padded]  # theta(f_V) (B, T_V, d) and phi(f_L) (B, T_L, d); empty unless "ours"


class KTNet(Network):
    """The network of Fig. 1, in any of the paper's variants. A variant builds only the modules that it uses.

    The audio encoder that Eq. (1) needs in training is no part of it (see :class:`ktnet_lite.model.losses.Objective`):
    at test "ours" has no parameter that audio could enter.

    Parameters
    ----------
    dims : dict of int
        Features per step, D_m, of the modalities that the data set has. A variant uses what it may observe of them;
        ``mosi-words``, for one, has no vision, and A' then comes from language alone.
    outputs : tuple of int
        Shape of one clip's logits: (7,) sentiment classes, (1,) score, (4, 2) emotions.
    variant : str
        One of :data:`VARIANTS`.
    dim, heads, layers, dropout
        Width d, attention heads, layers in each set of transformer blocks (3 in the paper), dropout on embeddings
        and residual branches. Attention weights have none: that would force torch's slow kernel.
    targets : sequence of str, optional
        Target modalities of the cross-modal attention (Table IV); all streams by default.
    concat, pooling
        How delta joins reconstructions (:class:`Combine`); how a target stream becomes one vector.

    Raises
    ------
    ConfigError
        Unknown variant or target; a variant for which the data set has no modality.
    """

    def __init__(
        self,
        dims: Mapping[Modality, int],
        outputs: tuple[int, ...],
        variant: Variant = "ours",
        *,
        dim: int = 40,
        heads: int = 8,
        layers: int = 3,
        dropout: float = 0.1,
        targets: Sequence[Modality] | None = None,
        concat: Concat = "time",
        pooling: Pooling = "mean",
    ):
        super().__init__()
        if variant not in VARIANTS:
            raise ConfigError(f"unknown variant {variant!r}; the variants are {', '.join(VARIANTS)}")
        self.observed: tuple[Modality, ...] = tuple(name for name in VARIANTS[variant] if name in dims)
        if not self.observed:
            raise ConfigError(f"variant {variant!r} observes {VARIANTS[variant]}, but the data has only {tuple(dims)}")
        self.variant, self.outputs, self.reconstructs = variant, outputs, variant == "ours"
        self.encoders = nn.ModuleDict(
            {name: ModalityEncoder(dims[name], dim, heads, layers, dropout) for name in self.observed}
        )
        streams = self.observed
        if variant == "ours":
            self.transfer = nn.ModuleDict({name: Transfer(dim, heads, layers, dropout) for name in self.observed})
            self.combine = Combine(self.observed, dim, heads, layers, dropout, concat)  # delta
            streams = (*self.observed, "audio")
        self.fusion = CrossModalFusion(
            [name for name in MODALITIES if name in streams],
            outputs,
            dim=dim,
            heads=heads,
            layers=layers,
            dropout=dropout,
            targets=targets,
            pooling=pooling,
        )

    @property
    def inputs(self) -> dict[Modality, Standardise]:
        return {name: encoder.embedding.standardise for name, encoder in self.encoders.items()}

    def forward(self, streams: Mapping[Modality, Padded]) -> KTNetOutput:
        """Observed streams, each (B, T_m, D_m), -> logits, ``(B, *outputs)``. Other modalities are never touched."""
        features, reconstructed = self.encode(streams)
        return KTNetOutput(self.fusion(features), reconstructed)

    def encode(self, streams: Mapping[Modality, Padded]) -> tuple[dict[Modality, Padded], dict[Modality, Padded]]:
        """Features f_m of every stream, A' included, each (B, T, d); and the reconstructions of Eq. (1)."""
        features = {name: self.encoders[name](streams[name]) for name in self.observed}
        reconstructed: dict[Modality, Padded] = {}
        if self.variant == "ours":
            reconstructed = {name: self.transfer[name](features[name]) for name in self.observed}
            features["audio"] = self.combine(reconstructed)
        return features, reconstructed

    def attention_maps(self, streams: Mapping[Modality, Padded]) -> dict[str, list[Tensor]]:
        with torch.no_grad():
            return self.fusion.attention_maps(self.encode(streams)[0])
