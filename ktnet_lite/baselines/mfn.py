"""The memory fusion network that Graph-MFN and MFM stand on.

Zadeh, Liang, Mazumder, Poria, Cambria and Morency, *Memory Fusion Network for Multi-view Sequential Learning*, AAAI
2018.

An LSTM for each modality; at each step, what changed between their memories C = [c_{t-1}; c_t] is fused to f_t, and a
gated memory keeps it::

    u^ = tanh(D_u(f_t)),   g_1, g_2 = sigmoid(D_g1([f_t; u_{t-1}])), sigmoid(D_g2([f_t; u_{t-1}]))
    u_t = g_1 u_{t-1} + g_2 u^

As the authors' code, and unlike the paper, the gates also see u_{t-1}. In MFN ``f_t = softmax(D_a(C)) * C``
(delta-memory attention); Graph-MFN puts its graph there.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ktnet_lite.baselines.blocks import Aligned, hold, mlp
from ktnet_lite.names import Modality


class DeltaAttention(nn.Module):
    """``softmax(D_a(C)) * C`` over all units of every modality's [c_{t-1}; c_t] (B, 2d): -> (B, sum of 2d)."""

    def __init__(self, modalities: int, dim: int, dropout: float):
        super().__init__()
        self.width = 2 * dim * modalities
        self.attention = mlp(self.width, dim, self.width, dropout)

    def forward(self, memories: Mapping[Modality, Tensor]) -> Tensor:
        joined = torch.cat(list(memories.values()), dim=-1)
        return self.attention(joined).softmax(-1) * self.width * joined  # even attention leaves C as it is


class MemoryFusion(nn.Module):
    """Aligned streams -> [h_T of each modality; u_T] (B, ``width``).

    ``fuse`` turns the memories of one step into f_t (B, ``fuse.width``).
    """

    def __init__(self, dims: Mapping[Modality, int], dim: int, dropout: float, fuse: nn.Module):
        super().__init__()
        self.cells = nn.ModuleDict({name: nn.LSTMCell(features, dim) for name, features in dims.items()})
        self.fuse = fuse
        self.propose = mlp(fuse.width, dim, dim, dropout)
        self.gates = nn.ModuleList(mlp(fuse.width + dim, dim, dim, dropout) for _ in range(2))
        self.dim, self.width = dim, dim * (len(dims) + 1)

    def forward(self, aligned: Aligned) -> Tensor:
        values, mask = aligned
        memory = next(iter(values.values())).new_zeros(len(mask), self.dim)  # u
        states = {name: (memory, memory) for name in self.cells}
        for t, valid in enumerate(mask.unbind(1)):
            memories = {}
            for name, cell in self.cells.items():
                new = cell(values[name][:, t], states[name])
                memories[name] = torch.cat([states[name][1], new[1]], dim=-1)  # [c_{t-1}; c_t]
                states[name] = tuple(hold(valid, *pair) for pair in zip(new, states[name], strict=True))
            fused = self.fuse(memories)
            keep, take = (torch.sigmoid(gate(torch.cat([fused, memory], dim=-1))) for gate in self.gates)
            memory = hold(valid, keep * memory + take * torch.tanh(self.propose(fused)), memory)
        return torch.cat([*(h for h, _ in states.values()), memory], dim=-1)
