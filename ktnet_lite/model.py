"""KTNet: modality encoders, knowledge transfer, cross-modal fusion, decoder; and the paper's five variants.

Shapes: ``B`` clips, ``T_m`` steps and ``D_m`` features of modality m, ``d`` the model's width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ktnet_lite.data.batching import Padded, one_time_line
from ktnet_lite.data.schema import MODALITIES, Modality
from ktnet_lite.errors import ConfigError
from ktnet_lite.fusion import CrossModalFusion, Pooling
from ktnet_lite.layers import Transformer
from ktnet_lite.network import Embedding, Network, Standardise

Concat = Literal["time", "features"]

# What each variant of the paper's Tables I to III observes, in training and at test.
VARIANTS: dict[str, tuple[Modality, ...]] = {
    "full": ("language", "vision", "audio"),
    "vision": ("vision",),
    "language": ("language",),
    "language_vision": ("language", "vision"),
    "ours": ("language", "vision"),  # and A', reconstructed from them
}


class ModalityEncoder(nn.Module):
    """X_m (B, T_m, D_m) -> f_m (B, T_m, d): embedding of each step, transformer (section III.A).

    ``features`` is D_m; the other parameters are those of :class:`ktnet_lite.layers.Transformer`.
    """

    def __init__(self, features: int, dim: int, heads: int, layers: int, dropout: float = 0.0):
        super().__init__()
        self.embedding = Embedding(features, dim, dropout)
        self.transformer = Transformer(dim, heads, layers, dropout)

    def forward(self, x: Padded) -> Padded:
        return self.transformer(self.embedding(x))


class Transfer(nn.Module):
    """theta (from vision) or phi (from language) of Eq. (1): f_m (B, T_m, d) -> A'_m (B, T_m, d).

    Transformer blocks and a linear map into the space of f_A. Without that map the final norm would give every step
    the same length; a reconstruction must be free to fall back to the mean where the source says little.
    """

    def __init__(self, dim: int, heads: int, layers: int, dropout: float):
        super().__init__()
        self.transformer = Transformer(dim, heads, layers, dropout)
        self.out = nn.Linear(dim, dim)

    def forward(self, features: Padded) -> Padded:
        transferred = self.transformer(features)
        return Padded(self.out(transferred.values), transferred.mask)


class Combine(nn.Module):
    """delta of Eq. (2): one stream A' from the reconstructions of every source.

    ``concat="time"`` puts them one after the other, each marked by a learned source embedding; lengths may differ.
    ``concat="features"`` puts them side by side, works at n * d and maps back to d; it needs aligned streams.
    From n reconstructions, each (B, T_m, d), comes A' of shape (B, sum of T_m, d), or (B, T, d).

    Raises
    ------
    ConfigError
        Streams of different lengths meet ``concat="features"``.
    """

    def __init__(self, sources: Sequence[Modality], dim: int, heads: int, layers: int, dropout: float, concat: Concat):
        super().__init__()
        self.sources, self.concat = tuple(sources), concat
        if concat == "time":
            self.source_embedding = nn.Parameter(0.02 * torch.randn(len(sources), dim))
            self.transformer = Transformer(dim, heads, layers, dropout)
        else:
            width = dim * len(sources)
            self.transformer = Transformer(width, heads, layers, dropout)
            self.back = nn.Linear(width, dim)

    def forward(self, reconstructed: Mapping[Modality, Padded]) -> Padded:
        parts = [reconstructed[source] for source in self.sources]
        if self.concat == "time":
            values = torch.cat([p.values + e for p, e in zip(parts, self.source_embedding, strict=True)], dim=1)
            padded = any(part.mask is not None for part in parts)
            mask = torch.cat([part.full_mask() for part in parts], dim=1) if padded else None
            return self.transformer(Padded(values, mask))  # (B, sum of T_m, d)
        try:  # where only some sources have a step, the others count as 0
            aligned, mask = one_time_line({source: reconstructed[source] for source in self.sources})
        except ConfigError as error:
            raise ConfigError(f'concat="features": {error}; use concat="time"') from error
        padded = any(part.mask is not None for part in parts)
        joined = torch.cat(list(aligned.values()), dim=-1)  # (B, T, n * d)
        combined = self.transformer(Padded(joined, mask if padded else None))
        return Padded(self.back(combined.values), combined.mask)  # (B, T, d)


class KTNetOutput(NamedTuple):
    """What a forward pass gives."""

    logits: Tensor  # (B, 7), (B, 1) or (B, 4, 2): see losses.OUTPUTS
    reconstructed: dict[Modality, Padded]  # theta(f_V) (B, T_V, d) and phi(f_L) (B, T_L, d); empty unless "ours"


class KTNet(Network):
    """The network of Fig. 1, in any of the paper's variants. A variant builds only the modules that it uses.

    The audio encoder that Eq. (1) needs in training is no part of it (see :class:`ktnet_lite.losses.Objective`):
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
        variant: str = "ours",
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
