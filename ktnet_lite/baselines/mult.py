"""MulT, the Multimodal Transformer: the paper's backbone.

Tsai, Bai, Liang, Kolter, Morency and Salakhutdinov, *Multimodal Transformer for Unaligned Multimodal Language
Sequences*, ACL 2019.

**Idea.** Every modality is a target that attends to every other modality, so the streams need no common time line. For
each ordered pair, layer i of a cross-modal transformer computes ::

    Z[i] = CM(LN(Z[i-1]), LN(X_source)) + LN(Z[i-1]),    Z[0] = X_target,

followed by a feed-forward network. At every layer, keys and values come from the source's *embedded* steps. The pairs
of a target, joined along features, pass through a self-attention transformer (the memory). The vectors of all targets
pass through a residual block. The label is regressed with the L1 loss.

KTNet uses the same fusion (:class:`ktnet_lite.model.fusion.CrossModalFusion`). KTNet adds self-attention within each
modality before the fusion, and A'.

**Where we differ from the public code.** There the last step of the memory is read, which is padding when padding comes
last, and neither keys nor memory are masked. Here padding is masked, and a stream is reduced to its masked mean or its
last valid step (``pooling``). We leave out the causal mask, the dropout on attention weights, and the positions that
are added a second time in the memory. In the code the residual is Z[i-1], not LN(Z[i-1]) as in the equation; ours is
Z[i-1] too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from ktnet_lite.data.batching import Padded
from ktnet_lite.model.encoder import Embedding, Standardise
from ktnet_lite.model.fusion import CrossModalFusion
from ktnet_lite.model.network import Network, Output
from ktnet_lite.names import Modality


class MulT(Network):
    """Cross-modal transformers for every ordered pair of modalities. ``fusion`` are options of CrossModalFusion."""

    def __init__(
        self,
        dims: Mapping[Modality, int],
        outputs: tuple[int, ...],
        *,
        dim: int,
        dropout: float,
        kernel: int = 1,
        **fusion: Any,
    ):
        super().__init__()
        self.observed, self.outputs = tuple(dims), outputs
        self.embeddings = nn.ModuleDict(
            {name: Embedding(features, dim, dropout, kernel) for name, features in dims.items()}
        )
        self.fusion = CrossModalFusion(self.observed, outputs, dim=dim, dropout=dropout, **fusion)

    @property
    def inputs(self) -> dict[Modality, Standardise]:
        return {name: cast(Embedding, self.embeddings[name]).standardise for name in self.observed}

    def embed(self, streams: Mapping[Modality, Padded]) -> dict[Modality, Padded]:
        """Embed the steps of each modality: (B, T_m, D_m) -> (B, T_m, d)."""
        return {name: self.embeddings[name](streams[name]) for name in self.observed}

    def forward(self, streams: Mapping[Modality, Padded]) -> Output:
        return Output(self.fusion(self.embed(streams)))

    def attention_maps(self, streams: Mapping[Modality, Padded]) -> dict[str, list[Tensor]]:
        with torch.no_grad():
            return self.fusion.attention_maps(self.embed(streams))
