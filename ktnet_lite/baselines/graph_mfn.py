"""Graph-MFN, a memory fusion network with a dynamic fusion graph.

Zadeh, Liang, Poria, Cambria and Morency, *Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and
Interpretable Dynamic Fusion Graph*, ACL 2018.

**Idea.** The combination of modalities that matters changes from moment to moment. A graph has a vertex for each set of
modalities (three singles, three pairs, one triple) and an output vertex T. Edges lead from each set to every larger
set that contains it, and from all sets to T. Each edge has an efficacy between 0 and 1, computed at every step from
the single-modality vertices v_m::

    alpha = sigmoid(D_alpha([v_L; v_V; v_A]))                     19 efficacies for three modalities
    v_S   = D_S([alpha_{R,S} v_R for R within S]),    T = D_T([alpha_{R,T} v_R for all R])

T replaces the attention of MFN (:mod:`ktnet_lite.baselines.mfn`).

**Where we differ from the public code.** There the D_S are kept in a plain dict and so never trained, the efficacies
have no sigmoid, and the D are linear. Here, as in the paper, the D_S are trained, the efficacies have a sigmoid, and
the D are networks of one hidden layer. Single-modality vertices read [c_{t-1}; c_t], as in MFN; one port reads
[h_{t-1}; h_t]. Padding does not change a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor, nn

from ktnet_lite.baselines.blocks import Baseline, mlp
from ktnet_lite.baselines.mfn import Fuse, MemoryFusion
from ktnet_lite.data.batching import Padded
from ktnet_lite.model.network import Head, Output
from ktnet_lite.names import Modality

OUTPUT = "T"


class DynamicFusionGraph(Fuse):
    """The dynamic fusion graph: [c_{t-1}; c_t] of each modality, (B, 2d) -> T (B, d)."""

    def __init__(self, modalities: tuple[Modality, ...], dim: int, dropout: float):
        super().__init__()
        self.modalities, self.width = modalities, dim
        sets = [frozenset(group) for n in range(1, len(modalities) + 1) for group in combinations(modalities, n)]
        # Sources of the edges into each vertex; smaller sets come first.
        self.edges = {self.name(s): [self.name(r) for r in sets if r < s] for s in sets if len(s) > 1}
        self.edges[OUTPUT] = [self.name(s) for s in sets]
        self.singles = nn.ModuleDict({name: mlp(2 * dim, dim, dim, dropout) for name in modalities})
        self.vertices = nn.ModuleDict({s: mlp(dim * len(into), dim, dim, dropout) for s, into in self.edges.items()})
        self.efficacies = mlp(dim * len(modalities), dim, sum(map(len, self.edges.values())), dropout)

    def name(self, group: frozenset[Modality]) -> str:
        """Name a set by its modalities, in the graph's order: ``language_audio``."""
        return "_".join(name for name in self.modalities if name in group)

    def forward(self, memories: Mapping[Modality, Tensor]) -> Tensor:
        value: dict[str, Tensor] = {name: self.singles[name](memories[name]) for name in self.modalities}  # each (B, d)
        joined = torch.cat([value[name] for name in self.modalities], dim=-1)
        efficacy = torch.sigmoid(self.efficacies(joined))  # (B, edges)
        edge = iter(efficacy.unsqueeze(-1).unbind(1))  # each (B, 1)
        for vertex, into in self.edges.items():
            value[vertex] = self.vertices[vertex](torch.cat([next(edge) * value[r] for r in into], dim=-1))
        return value[OUTPUT]


class GraphMFN(Baseline):
    """A memory fusion network with a dynamic fusion graph, for aligned streams."""

    aligned_only = True

    def __init__(self, dims: Mapping[Modality, int], outputs: tuple[int, ...], *, dim: int, dropout: float):
        super().__init__(dims, outputs)
        self.memory = MemoryFusion(dims, dim, dropout, DynamicFusionGraph(tuple(dims), dim, dropout))
        self.head = Head(self.memory.width, outputs, dropout)

    def forward(self, streams: Mapping[Modality, Padded]) -> Output:
        return Output(self.head(self.memory(self.align(streams))))
