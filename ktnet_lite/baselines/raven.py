"""RAVEN, the Recurrent Attended Variation Embedding Network: words shifted by face and voice.

Wang, Shen, Liu, Liang, Zadeh and Morency, *Words Can Shift: Dynamically Adjusting Word Representations Using Nonverbal
Behaviors*, AAAI 2019.

**Idea.** The same word means something else with a smile. For each word with embedding e, an LSTM reads the frames of
each nonverbal modality while the word is said, with final states h_v and h_a. Scalar gates weigh them, and the word
is shifted, by no more than its own size times beta::

    w_m = sigmoid(W_hm [h_m; e] + b_m)                          for m = v, a
    h   = w_v (W_v h_v) + w_a (W_a h_a) + b
    e'  = e + alpha h,     alpha = min(beta |e| / |h|, 1)

An LSTM over the shifted words gives the prediction from its last state.

**Simplified.** Data sets here have one time line a clip, not the times of words. Where streams are unaligned, a clip's
frames are dealt evenly to its words; where they are aligned, a word has one frame (their average), and its nonverbal
LSTM takes one step. ``ctc_raven`` learns the alignment instead.

**Where we differ from the public code.** It cuts the gradients of the nonverbal part (``.data``), so that this part
never trains, leaves the gates' sigmoid out, and scales small shifts too; here the equations stand as above.
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

BETA = 1.0  # largest shift, in lengths of the word's embedding


def deal(frames: Padded, words: Padded) -> Padded:
    """The frames of each word, dealt evenly over the clip: (B, T, D) and L words -> (B, L, S, D), mask (B, L, S).

    Both streams span the same clip: frame j of T, whose middle is at (j + 1/2) / T, goes to word k of L when that lies
    in [k / L, (k + 1) / L). A word has no frame where there are fewer frames than words.
    """
    frame_count, word_count = frames.lengths[:, None], words.lengths[:, None]  # (B, 1)
    k = torch.arange(words.values.shape[1] + 1, device=frames.values.device)  # borders of the words
    # j >= k T / L - 1/2 in whole numbers; words past the clip's last have their border at T, and so no frame
    border = -(-(2 * k * frame_count - word_count) // (2 * word_count))
    border = border.clamp(min=torch.zeros_like(frame_count), max=frame_count)  # (B, L + 1)
    start, count = border[:, :-1], border.diff(dim=1)
    index = start.unsqueeze(-1) + torch.arange(max(int(count.max()), 1), device=start.device)  # (B, L, S)
    mask = index < border[:, 1:].unsqueeze(-1)
    clip = torch.arange(len(index), device=index.device)[:, None, None]
    return Padded(frames.values[clip, index.clamp(max=frames.values.shape[1] - 1)], mask)


def shift(words: Tensor, shifts: Tensor, beta: float = BETA) -> Tensor:
    """``e + alpha h`` with ``alpha = min(beta |e| / |h|, 1)``; both (..., D)."""
    size, length = words.norm(dim=-1, keepdim=True), shifts.norm(dim=-1, keepdim=True)
    return words + shifts * (beta * size / length.clamp(min=1e-9)).clamp(max=1.0)


class RAVEN(Baseline):
    """Words shifted by gated nonverbal states, then an LSTM over them.

    Raises
    ------
    ConfigError
        There are no words, or nothing but words.
    """

    def __init__(self, dims: Mapping[Modality, int], outputs: tuple[int, ...], *, dim: int, dropout: float):
        super().__init__(dims, outputs)
        self.nonverbal = tuple(name for name in dims if name != "language")
        if "language" not in dims or not self.nonverbal:
            raise ConfigError(f"raven shifts words by face or voice; this data gives it only {', '.join(dims)}")
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
        """Final state over each word's frames, (B, L, S, D) -> (B, L, d); zero for a word without a frame."""
        flat = Padded(frames.values.flatten(0, 1), frames.mask.flatten(0, 1))  # (B L, S, D)
        last = self.frames[name](flat).last().unflatten(0, frames.mask.shape[:2])
        return last * frames.mask.any(-1, keepdim=True)
