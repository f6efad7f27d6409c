"""MulT, the Multimodal Transformer: the paper's backbone.

Tsai, Bai, Liang, Kolter, Morency and Salakhutdinov, *Multimodal Transformer for Unaligned Multimodal Language
Sequences*, ACL 2019.

**Idea.** Every modality is a target that looks at each other modality where it needs to, so the streams need no common
time line. For each ordered pair, layer i of a cross-modal transformer computes ::

    Z[i] = CM(LN(Z[i-1]), LN(X_source)) + LN(Z[i-1]),    Z[0] = X_target,

with keys and values from the source's *embedded* steps at every layer, and a feed-forward net after it. A target's
pairs, side by side, go through a self-attention transformer (the memory), and the targets' vectors through a residual
block. The label is regressed with the L1 loss.

KTNet's fusion is this one (:class:`ktnet_lite.model.fusion.CrossModalFusion`); what KTNet adds is self-attention inside
each modality first, and A'.

**Where we differ from the public code.** It reads the memory's last step, which with padding behind is padding, and
masks neither keys nor memory: here padding is masked and a stream is read by its masked mean, or by its last valid step
(``pooling``). Its causal mask, its dropout on attention weights and the positions that it adds a second time in the
memory are left out. Its residual is Z[i-1], not LN(Z[i-1]) as the equation has it; so is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ktnet_lite.data.batching import Padded
from ktnet_lite.model.encoder import Embedding, Standardise
from ktnet_lite.model.fusion import CrossModalFusion
from ktnet_lite.model.network import Network, Output
from ktnet_lite.names import Modality


class MulT(Network):
    """Directional cross-modal transformers for every pair of modalities. Options: see :class:`CrossModalFusion`."""

    def __init__(
        self, dims: Mapping[Modality, int], outputs: tuple[int, ...], *, dim: int, dropout: float, **fusion: Any
    ):
        super().__init__()
        self.observed, self.outputs = tuple(dims), outputs
        self.embeddings = nn.ModuleDict({name: Embedding(features, dim, dropout) for name, features in dims.items()})
        self.fusion = CrossModalFusion(self.observed, outputs, dim=dim, dropout=dropout, **fusion)

    @property
    def inputs(self) -> dict[Modality, Standardise]:
        return {name: embedding.standardise for name, embedding in self.embeddings.items()}

    def embed(self, streams: Mapping[Modality, Padded]) -> dict[Modality, Padded]:
        """Each modality's steps at width d, (B, T_m, d)."""
        return {name: self.embeddings[name](streams[name]) for name in self.observed}

    def forward(self, streams: Mapping[Modality, Padded]) -> Output:
        return Output(self.fusion(self.embed(streams)))

    def attention_maps(self, streams: Mapping[Modality, Padded]) -> dict[str, list[Tensor]]:
        with torch.no_grad():
            return self.fusion.attention_maps(self.embed(streams))
