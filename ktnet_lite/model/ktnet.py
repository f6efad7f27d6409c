"""KTNet, the network of Fig. 1, in the paper's five variants.

Shapes: ``B`` clips, ``T_m`` steps and ``D_m`` features of modality m, ``d`` the model's width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ktnet_lite.data.batching import Padded
from ktnet_lite.errors import ConfigError
from ktnet_lite.model.encoder import ModalityEncoder, Standardise
from ktnet_lite.model.fusion import fusion_of
from ktnet_lite.model.network import Network
from ktnet_lite.model.transfer import Combine, Transfer
from ktnet_lite.names import MODALITIES, VARIANTS, Concat, Doubt, Fusion, Modality, Pooling, Reconstruction, Variant


class KTNetOutput(NamedTuple):
    """Output of a forward pass of :class:`KTNet`."""

    logits: Tensor  # (B, 7), (B, 1) or (B, 4, 2): see network.OUTPUTS
    reconstructed: dict[Modality, Padded]  # theta(f_V) (B, T_V, d) and phi(f_L) (B, T_L, d), or 2d; only in "ours"


class KTNet(Network):
    """The network of Fig. 1, in one of the paper's variants. A variant builds only the modules that it uses.

    The audio encoder that Eq. (1) needs in training belongs to :class:`ktnet_lite.model.losses.Objective`. So "ours"
    has no parameter through which audio could enter at test.

    Parameters
    ----------
    dims : dict of int
        Features per step, D_m, of every modality that the data set has. A variant uses those of them that it may
        observe. In ``mosi-words``, for example, there is no vision, so A' comes from language alone.
    outputs : tuple of int
        Shape of one clip's logits: (7,) sentiment classes, (1,) score, (4, 2) emotions.
    variant : str
        One of :data:`VARIANTS`.
    dim, heads, layers, dropout
        Width d, attention heads, layers in each set of transformer blocks (3 in the paper), dropout on embeddings
        and residual branches. Attention weights have no dropout: it would force torch's slow kernel.
    targets : sequence of str, optional
        Target modalities of the cross-modal attention (Table IV); all streams by default.
    concat, pooling, kernel
        Options of :class:`~ktnet_lite.model.transfer.Combine`, :class:`~ktnet_lite.model.fusion.CrossModalFusion` and
        :class:`~ktnet_lite.model.encoder.Embedding`.
    transfer, doubt
        Whether reconstructions say their doubt, and how it reaches the fusion: see
        :class:`~ktnet_lite.model.transfer.Transfer` and :class:`~ktnet_lite.model.transfer.Combine`.
    fusion : {"pairs", "bottleneck"}
        :class:`~ktnet_lite.model.fusion.CrossModalFusion`, or the cheaper
        :class:`~ktnet_lite.model.fusion.BottleneckFusion`, which has no targets and no pooling.
    causal : bool
        Whether each step sees only what has ended by its own end, so that a clip can be scored while it runs. A stream
        without a step is then empty, not one step of zeros.

    Raises
    ------
    ConfigError
        The variant or a target is unknown, or the data set has no modality that the variant observes.
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
        kernel: int = 1,
        transfer: Reconstruction = "point",
        doubt: Doubt = "bias",
        fusion: Fusion = "pairs",
        causal: bool = False,
    ):
        super().__init__()
        self.causal = causal
        if variant not in VARIANTS or variant == "any":  # that one is AnyKTNet
            known = ", ".join(name for name in VARIANTS if name != "any")
            raise ConfigError(f"unknown variant {variant!r}; choose from {known}")
        self.observed: tuple[Modality, ...] = tuple(name for name in VARIANTS[variant] if name in dims)
        if not self.observed:
            needs, has = ", ".join(VARIANTS[variant]), ", ".join(dims)
            raise ConfigError(f"variant {variant!r} observes {needs}, but the data has only {has}; choose another")
        self.variant, self.outputs, self.reconstructs = variant, outputs, variant == "ours"
        self.encoders = nn.ModuleDict(
            {name: ModalityEncoder(dims[name], dim, heads, layers, dropout, kernel, causal) for name in self.observed}
        )
        streams = self.observed
        if variant == "ours":
            size = dim, heads, layers, dropout
            self.transfer = nn.ModuleDict({name: Transfer(*size, transfer) for name in self.observed})
            self.combine = Combine(self.observed, *size, concat, transfer, doubt)  # delta
            streams = (*self.observed, "audio")
        fused = [name for name in MODALITIES if name in streams]
        options = {"dim": dim, "heads": heads, "layers": layers, "dropout": dropout}
        self.fusion = fusion_of(fusion, fused, outputs, targets=targets, pooling=pooling, **options)

    @property
    def inputs(self) -> dict[Modality, Standardise]:
        return {name: cast(ModalityEncoder, self.encoders[name]).embedding.standardise for name in self.observed}

    def forward(self, streams: Mapping[Modality, Padded]) -> KTNetOutput:
        """Map observed streams, each (B, T_m, D_m), to logits, ``(B, *outputs)``; other modalities are never read."""
        features, reconstructed = self.encode(streams)
        return KTNetOutput(self.fusion(features), reconstructed)

    def encode(self, streams: Mapping[Modality, Padded]) -> tuple[dict[Modality, Padded], dict[Modality, Padded]]:
        """Return the features f_m of every stream, A' as audio, each (B, T, d), and the reconstructions of Eq. (1)."""
        features, reconstructed = self.reconstruct(streams)
        if reconstructed:
            features["audio"] = self.combine(reconstructed)  # Eq. (2)
        return features, reconstructed

    def reconstruct(self, streams: Mapping[Modality, Padded]) -> tuple[dict[Modality, Padded], dict[Modality, Padded]]:
        """Return the features f_m of the observed streams, (B, T_m, d), and the reconstructions of Eq. (1)."""
        features = {name: self.encoders[name](streams[name]) for name in self.observed}
        transfer = self.transfer if self.variant == "ours" else ()
        return features, {name: self.transfer[name](features[name]) for name in self.observed if name in transfer}

    def attention_maps(self, streams: Mapping[Modality, Padded]) -> dict[str, list[Tensor]]:
        with torch.no_grad():
            return self.fusion.attention_maps(self.encode(streams)[0])
