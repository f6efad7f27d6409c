"""RMFN, the Recurrent Multistage Fusion Network.

Liang, Liu, Zadeh and Morency, *Multimodal Language Analysis with Recurrent Multistage Fusion*, EMNLP 2018.

**Idea.** Fuse in small steps. Each modality has an LSTHM, an LSTM that also reads the last fused z::

    i, f, o = sigmoid(W x_t + U h_{t-1} + V z_{t-1} + b),   c_t = f c_{t-1} + i tanh(W x_t + U h_{t-1} + V z_{t-1} + b)
    h_t = o tanh(c_t)

On the joined states h = [h_L; h_V; h_A] of all modalities, K stages follow. Stage k is ::

    highlight   a[k] = f_H(h~[k-1]; h),      h~[k] = a[k] * h        select the units that matter now
    fuse        s[k] = f_F(h~[k]; s[k-1])                            fuse them with the previous stage

and z_t = summarise(s[1], ..., s[K]). The prediction reads the last [h; z]. Both f_H and f_F are LSTMs over the stages.

**Simplified.** K = 3, the paper's best on MOSI. The cell of f_H starts from a linear map of h, every other state from
zeros.

**Where we differ.** The authors published no code. A softmax over all D units of h makes h~ about D times smaller than
h; ours is scaled by D, so uniform attention leaves h unchanged. In the ports that we know, the fusion starts from
random numbers at every call, z passes through two squashing functions, and padding counts as time.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ktnet_lite.baselines.blocks import Baseline, hold, mlp
from ktnet_lite.data.batching import Padded
from ktnet_lite.model.network import Head, Output
from ktnet_lite.names import Modality

STAGES = 3


class LSTHM(nn.Module):
    """One step of an LSTM with a hybrid memory: x (B, D), z (B, d_z), and h, c (B, d) -> h, c."""

    def __init__(self, inputs: int, dim: int, fused: int):
        super().__init__()
        self.cell = nn.LSTMCell(inputs + fused, dim)  # [W V] [x; z] = W x + V z

    def forward(self, x: Tensor, z: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return self.cell(torch.cat([x, z], dim=-1), state)


class MultistageFusion(nn.Module):
    """Highlight, fuse and summarise: h (B, D) -> z (B, d)."""

    def __init__(self, units: int, dim: int, dropout: float, stages: int = STAGES):
        super().__init__()
        self.stages = stages
        self.start = nn.Linear(units, units)
        self.highlight, self.fuse = nn.LSTMCell(units, units), nn.LSTMCell(units, units)
        self.summarise = mlp(stages * units, dim, dim, dropout)

    def forward(self, h: Tensor) -> Tensor:
        zeros = torch.zeros_like(h)
        highlight, fuse = (zeros, self.start(h)), (zeros, zeros)  # hidden and cell of each LSTM
        highlighted, fused = zeros, []
        for _ in range(self.stages):
            highlight = self.highlight(highlighted, highlight)
            highlighted = highlight[0].softmax(-1) * h.shape[-1] * h
            fuse = self.fuse(highlighted, fuse)
            fused.append(fuse[0])
        return self.summarise(torch.cat(fused, dim=-1))


class RMFN(Baseline):
    """LSTHMs and recurrent multistage fusion, for aligned streams."""

    aligned_only = True

    def __init__(self, dims: Mapping[Modality, int], outputs: tuple[int, ...], *, dim: int, dropout: float):
        super().__init__(dims, outputs)
        self.dim = dim
        self.cells = nn.ModuleDict({name: LSTHM(features, dim, dim) for name, features in dims.items()})
        self.fusion = MultistageFusion(dim * len(dims), dim, dropout)
        self.head = Head(dim * (len(dims) + 1), outputs, dropout)

    def forward(self, streams: Mapping[Modality, Padded]) -> Output:
        values, mask = self.align(streams)
        z = mask.new_zeros(len(mask), self.dim, dtype=values[self.observed[0]].dtype)
        states = {name: (z, z) for name in self.observed}
        for t, valid in enumerate(mask.unbind(1)):
            for name in self.observed:
                h, c = states[name]
                new_h, new_c = self.cells[name](values[name][:, t], z, (h, c))
                states[name] = hold(valid, new_h, h), hold(valid, new_c, c)
            z = hold(valid, self.fusion(torch.cat([states[name][0] for name in self.observed], dim=-1)), z)
        return Output(self.head(torch.cat([*(states[name][0] for name in self.observed), z], dim=-1)))
