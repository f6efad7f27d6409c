"""Cross-modal attention between all pairs of streams, Eq. (3) and (4), and the decoder that predicts from it.

A bottleneck takes the place of the pairs where time is short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ktnet_lite.data.batching import Padded
from ktnet_lite.errors import ConfigError
from ktnet_lite.model.layers import Transformer
from ktnet_lite.model.network import Head
from ktnet_lite.names import Fusion, Modality, Pooling

LATENTS = 8  # of each stream in a bottleneck


class CrossModalFusion(nn.Module):
    """Fuse streams f_m (B, T_m, d) into logits, ``(B, *outputs)``, as MulT does (Tsai et al. 2019, section 3).

    Each target stream attends to every other stream through its own cross-modal transformer. Their outputs, joined
    along features, pass through a self-attention transformer (the decoder) and are pooled to one vector per target.
    The head reads the vectors of all targets.

    Parameters
    ----------
    streams : sequence of str
        Names of the streams.
    outputs : tuple of int
        Shape of one clip's logits.
    dim, heads, layers, dropout
        Width d, attention heads, layers in each transformer, dropout.
    targets : sequence of str, optional
        Target streams (Table IV); all by default.
    pooling : {"mean", "last"}
        Reduce a target stream to the mean of its valid steps, or to its last valid step.

    Raises
    ------
    ConfigError
        A target is not one of the streams or is given twice, or there is no target.
    """

    def __init__(
        self,
        streams: Sequence[Modality],
        outputs: tuple[int, ...],
        *,
        dim: int,
        heads: int,
        layers: int,
        dropout: float,
        targets: Sequence[Modality] | None = None,
        pooling: Pooling = "mean",
    ):
        super().__init__()
        self.streams, self.pooling = tuple(streams), pooling
        self.targets = self.streams if targets is None else tuple(targets)
        for target in self.targets:
            if target not in self.streams:
                raise ConfigError(f"target {target!r} is not one of the streams; choose from {', '.join(self.streams)}")
        if not self.targets or len(set(self.targets)) < len(self.targets):
            raise ConfigError(f"targets {self.targets}: give at least one stream, and none of them twice")

        def transformer(width: int) -> Transformer:
            return Transformer(width, heads, layers, dropout)

        self.cross_modal = nn.ModuleDict(
            {f"{source}_to_{target}": transformer(dim) for target in self.targets for source in self.sources(target)}
        )
        widths = {target: dim * max(1, len(self.sources(target))) for target in self.targets}
        self.decoders = nn.ModuleDict({target: transformer(width) for target, width in widths.items()})
        self.head = Head(sum(widths.values()), outputs, dropout)

    def sources(self, target: Modality) -> list[Modality]:
        """List the streams that a target attends to."""
        return [name for name in self.streams if name != target]

    def forward(self, features: Mapping[Modality, Padded]) -> Tensor:
        pooled = []
        for target in self.targets:
            attended = [
                self.cross_modal[f"{source}_to_{target}"](features[target], features[source]).values
                for source in self.sources(target)
            ] or [features[target].values]  # a single stream has no pair
            decoded = self.decoders[target](features[target]._replace(values=torch.cat(attended, dim=-1)))
            pooled.append(decoded.mean() if self.pooling == "mean" else decoded.last())
        return self.head(torch.cat(pooled, dim=-1))  # from (B, sum of widths)

    @torch.no_grad()
    def attention_maps(self, features: Mapping[Modality, Padded]) -> dict[str, list[Tensor]]:
        """Return the weights of every pair, by layer: ``{"vision_to_language": [(B, h, T_L, T_V), ...], ...}``."""
        maps = {}
        for target in self.targets:
            for source in self.sources(target):
                block = cast(Transformer, self.cross_modal[f"{source}_to_{target}"])
                maps[f"{source}_to_{target}"] = block.attention_weights(features[target], features[source])
        return maps


class BottleneckFusion(nn.Module):
    """Fuse streams f_m (B, T_m, d) into logits, ``(B, *outputs)``, through a few latent vectors for each stream.

    The latents of a stream, which are learned, attend to it (Jaegle et al. 2021); then the latents of all streams
    attend to each other (Nagrani et al. 2021). The head reads the mean over the latents of each stream. The cost grows
    with the length of a stream, where that of all pairs grows with the product of two lengths.

    Parameters
    ----------
    streams, outputs, dim, heads, layers, dropout
        As in :class:`CrossModalFusion`.
    """

    def __init__(
        self,
        streams: Sequence[Modality],
        outputs: tuple[int, ...],
        *,
        dim: int,
        heads: int,
        layers: int,
        dropout: float,
    ):
        super().__init__()
        self.streams = tuple(streams)
        self.latents = nn.ParameterDict({name: torch.randn(LATENTS, dim) for name in streams})
        self.read = nn.ModuleDict({name: Transformer(dim, heads, layers, dropout) for name in streams})
        self.mix = Transformer(dim, heads, layers, dropout)
        self.head = Head(dim * len(streams), outputs, dropout)

    def forward(self, features: Mapping[Modality, Padded]) -> Tensor:
        return self.mixed(
            [self.read[name](self.latents_of(name, features), features[name]).values for name in self.streams]
        )

    def mixed(self, read: Sequence[Tensor]) -> Tensor:
        """Let what the latents of each stream have read, (B, LATENTS, d), attend to each other; return the logits."""
        mixed = self.mix(Padded(torch.cat(list(read), dim=1))).values  # (B, M * LATENTS, d)
        return self.head(mixed.unflatten(1, (len(read), LATENTS)).mean(2).flatten(1))  # from (B, M * d)

    def latents_of(self, name: Modality, features: Mapping[Modality, Padded]) -> Padded:
        """Return the latents that read a stream, (B, LATENTS, d)."""
        latents = self.latents[name].expand(features[name].values.shape[0], -1, -1)
        late = None if features[name].times is None else torch.full_like(latents[..., 0], torch.inf)
        return Padded(latents, times=late)  # they see all that there is

    @torch.no_grad()
    def attention_maps(self, features: Mapping[Modality, Padded]) -> dict[str, list[Tensor]]:
        """Return what the latents of each stream attend to: ``{"vision_to_latents": [(B, h, LATENTS, T_V), ...]}``."""
        return {
            f"{name}_to_latents": cast(Transformer, self.read[name]).attention_weights(
                self.latents_of(name, features), features[name]
            )
            for name in self.streams
        }


def fusion_of(
    kind: Fusion,
    streams: Sequence[Modality],
    outputs: tuple[int, ...],
    *,
    targets: Sequence[Modality] | None = None,
    pooling: Pooling = "mean",
    **size: Any,
) -> CrossModalFusion | BottleneckFusion:
    """Build the fusion of a kind; a bottleneck has no targets and no pooling of streams."""
    if kind == "bottleneck":
        return BottleneckFusion(streams, outputs, **size)
    return CrossModalFusion(streams, outputs, targets=targets, pooling=pooling, **size)
