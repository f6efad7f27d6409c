"""MFN, the memory fusion network on which Graph-MFN and MFM build.

Zadeh, Liang, Mazumder, Poria, Cambria and Morency, *Memory Fusion Network for Multi-view Sequential Learning*, AAAI
2018.

Each modality has an LSTM. At each step, the memories C = [c_{t-1}; c_t] of all modalities are fused into f_t, which
updates a gated memory u::

    u^ = tanh(D_u(f_t)),   g_1, g_2 = sigmoid(D_g1([f_t; u_{t-1}])), sigmoid(D_g2([f_t; u_{t-1}]))
    u_t = g_1 u_{t-1} + g_2 u^

The gates also see u_{t-1}, as in the authors' code but unlike the paper. In MFN ``f_t = softmax(D_a(C)) * C``
(delta-memory attention); Graph-MFN replaces it with a graph.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ktnet_lite.baselines.blocks import Aligned, hold, mlp
from ktnet_lite.names import Modality


class Fuse(nn.Module):
    """The fusion of one step: memories [c_{t-1}; c_t] of each modality, (B, 2d) -> f_t (B, ``width``)."""

    width: int


class DeltaAttention(Fuse):
    """``f_t = softmax(D_a(C)) * C`` over all units of all modalities: (B, 2d) of each -> (B, sum of 2d)."""

    def __init__(self, modalities: int, dim: int, dropout: float):
        super().__init__()
        self.width = 2 * dim * modalities
        self.attention = mlp(self.width, dim, self.width, dropout)

    def forward(self, memories: Mapping[Modality, Tensor]) -> Tensor:
        joined = torch.cat(list(memories.values()), dim=-1)
        return self.attention(joined).softmax(-1) * self.width * joined  # uniform attention leaves C unchanged


class MemoryFusion(nn.Module):
    """The memory fusion network: aligned streams -> [h_T of each modality; u_T] (B, ``width``)."""

    def __init__(self, dims: Mapping[Modality, int], dim: int, dropout: float, fuse: Fuse):
        super().__init__()
        self.modalities = tuple(dims)
        self.cells = nn.ModuleDict({name: nn.LSTMCell(features, dim) for name, features in dims.items()})
        self.fuse = fuse
        self.propose = mlp(fuse.width, dim, dim, dropout)
        self.gates = nn.ModuleList(mlp(fuse.width + dim, dim, dim, dropout) for _ in range(2))
        self.dim, self.width = dim, dim * (len(dims) + 1)

    def forward(self, aligned: Aligned) -> Tensor:
        values, mask = aligned
        memory = next(iter(values.values())).new_zeros(len(mask), self.dim)  # u
        states = {name: (memory, memory) for name in self.modalities}  # h and c
        for t, valid in enumerate(mask.unbind(1)):
            memories = {}
            for name in self.modalities:
                h, c = states[name]
                new_h, new_c = self.cells[name](values[name][:, t], (h, c))
                memories[name] = torch.cat([c, new_c], dim=-1)  # [c_{t-1}; c_t]
                states[name] = hold(valid, new_h, h), hold(valid, new_c, c)
            fused = self.fuse(memories)
            keep, take = (torch.sigmoid(gate(torch.cat([fused, memory], dim=-1))) for gate in self.gates)
            memory = hold(valid, keep * memory + take * torch.tanh(self.propose(fused)), memory)
        return torch.cat([*(h for h, _ in states.values()), memory], dim=-1)
