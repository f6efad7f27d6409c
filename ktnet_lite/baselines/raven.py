"""RAVEN, the Recurrent Attended Variation Embedding Network: vision and audio shift the words.

Wang, Shen, Liu, Liang, Zadeh and Morency, *Words Can Shift: Dynamically Adjusting Word Representations Using Nonverbal
Behaviors*, AAAI 2019.

**Idea.** The same word means something else when it is said with a smile. For each word with embedding e, one LSTM per
nonverbal modality reads the frames during that word; the final states are h_v and h_a. Scalar gates weight them, and
their sum shifts the word by at most beta times the length of e::

    w_m = sigmoid(W_hm [h_m; e] + b_m)                          for m = v, a
    h   = w_v (W_v h_v) + w_a (W_a h_a) + b
    e'  = e + alpha h,     alpha = min(beta |e| / |h|, 1)

An LSTM reads the shifted words, and its last state gives the prediction.

**Simplified.** Our data sets do not record when each word is spoken. In unaligned data, the frames of a clip are
distributed evenly over its words. In aligned data, each word has one frame (an average), so the nonverbal LSTMs take a
single step. ``ctc_raven`` learns the alignment instead.

**Where we differ from the public code.** There the gradients of the nonverbal part are cut (``.data``), so this part
never trains; the gates have no sigmoid; and small shifts are scaled too. Here the equations hold as above.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ktnet_lite.baselines.blocks import Baseline, Recurrent
from ktnet_lite.data.batching import Padded
from ktnet_lite.errors import ConfigError
from ktnet_lite.model.network import Head, Output
from ktnet_lite.names import Modality

BETA = 1.0  # largest shift, as a multiple of the length of the word's embedding


def deal(frames: Padded, words: Padded) -> Padded:
    """Distribute the frames of a clip evenly over its words: (B, T, D) and L words -> (B, L, S, D), mask (B, L, S).

    Both streams span the same clip. Frame j of T has its centre at (j + 1/2) / T and goes to word k of L if the centre
    lies in [k / L, (k + 1) / L). With fewer frames than words, some words have no frame.
    """
    frame_count, word_count = frames.lengths[:, None], words.lengths[:, None]  # (B, 1)
    k = torch.arange(words.values.shape[1] + 1, device=frames.values.device)  # borders of the words
    # j >= k T / L - 1/2 in integers; words beyond the clip's last have their border at T, and so no frame
    border = -(-(2 * k * frame_count - word_count) // (2 * word_count))
    border = border.clamp(min=torch.zeros_like(frame_count), max=frame_count)  # (B, L + 1)
    start, count = border[:, :-1], border.diff(dim=1)
    index = start.unsqueeze(-1) + torch.arange(max(int(count.max()), 1), device=start.device)  # (B, L, S)
    mask = index < border[:, 1:].unsqueeze(-1)
    clip = torch.arange(len(index), device=index.device)[:, None, None]
    return Padded(frames.values[clip, index.clamp(max=frames.values.shape[1] - 1)], mask)


def shift(words: Tensor, shifts: Tensor, beta: float = BETA) -> Tensor:
    """Return ``e + alpha h`` with ``alpha = min(beta |e| / |h|, 1)``; both (..., D)."""
    size, length = words.norm(dim=-1, keepdim=True), shifts.norm(dim=-1, keepdim=True)
    return words + shifts * (beta * size / length.clamp(min=1e-9)).clamp(max=1.0)


class RAVEN(Baseline):
    """Words shifted by gated nonverbal states, and an LSTM over the shifted words.

    Raises
    ------
    ConfigError
        The data has no words, or only words.
    """

    def __init__(self, dims: Mapping[Modality, int], outputs: tuple[int, ...], *, dim: int, dropout: float):
        super().__init__(dims, outputs)
        self.nonverbal = tuple(name for name in dims if name != "language")
        if "language" not in dims or not self.nonverbal:
            raise ConfigError(f"raven shifts words by vision or audio, but this data has only {', '.join(dims)}")
        words = dims["language"]
        self.frames = nn.ModuleDict({name: Recurrent(dims[name], dim) for name in self.nonverbal})
        self.gates = nn.ModuleDict({name: nn.Linear(dim + words, 1) for name in self.nonverbal})
        self.shifts = nn.ModuleDict({name: nn.Linear(dim, words, bias=False) for name in self.nonverbal})
        self.bias = nn.Parameter(torch.zeros(words))
        self.dropout = nn.Dropout(dropout)
        self.recurrent = Recurrent(words, dim)
        self.head = Head(dim, outputs, dropout)

    def forward(self, streams: Mapping[Modality, Padded]) -> Output:
        words = self.standardised(streams, "language")  # (B, L, D_L)
        shifts = self.bias
        for name in self.nonverbal:
            state = self.state(name, deal(self.standardised(streams, name), words))  # (B, L, d)
            gate = torch.sigmoid(self.gates[name](torch.cat([state, words.values], dim=-1)))  # (B, L, 1)
            shifts = shifts + gate * self.shifts[name](state)
        shifted = self.dropout(shift(words.values, shifts.expand_as(words.values)))
        return Output(self.head(self.recurrent(Padded(shifted, words.mask)).last()))

    def state(self, name: Modality, frames: Padded) -> Tensor:
        """Return the final state over each word's frames, (B, L, S, D) -> (B, L, d); zero for a word without frames."""
        values, mask, *_ = frames
        assert mask is not None  # deal always sets it
        last = self.frames[name](Padded(values.flatten(0, 1), mask.flatten(0, 1))).last()  # (B L, d)
        return last.unflatten(0, mask.shape[:2]) * mask.any(-1, keepdim=True)
