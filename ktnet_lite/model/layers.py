"""Positions, attention, Eq. (3), and the transformer layer, Eq. (4), from which every part of the model is built.

Shapes: ``B`` clips, ``T`` target steps, ``S`` source steps, ``d`` width, ``h`` heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ktnet_lite.data.batching import Padded
from ktnet_lite.model.fast import Dropout, attend, spread


def sinusoidal_positions(steps: int, dim: int) -> Tensor:
    """Sine and cosine positions, shape (steps, dim), as in Vaswani et al. (2017), section 3.5."""
    frequency = torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))  # (ceil(dim / 2),)
    angle = torch.arange(steps)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :dim]


class Positions(nn.Module):
    """Scale by sqrt(d) and add sinusoidal positions: (B, T, d) -> (B, T, d). The first step has position ``start``."""

    table: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.scale = math.sqrt(dim)
        self.register_buffer("table", sinusoidal_positions(64, dim), persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        end, dim = start + x.shape[1], x.shape[2]
        if end > len(self.table):  # double the table, so that long streams seldom rebuild it
            self.table = sinusoidal_positions(max(end, 2 * len(self.table)), dim).to(self.table)
        return x * self.scale + self.table[start:end]


class Attention(nn.Module):
    """Multi-head attention CM(target, source), Eq. (3); self-attention without a source.

    Queries, keys and values come from one fused projection; ``d_k`` is the head's width, d / h. The forward pass
    never builds the T x S weights (:func:`ktnet_lite.model.fast.attend`); :meth:`weights` computes them for figures.

    Parameters
    ----------
    dim, heads : int
        Width d and heads h.

    Raises
    ------
    ValueError
        d is not a multiple of h.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__()
        if dim % heads:
            raise ValueError(f"width {dim} is not a multiple of {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)

    def forward(self, target: Tensor, source: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Map a target (B, T, d) and a source (B, S, d) to (B, T, d).

        The mask (B, S) is True at valid source steps, or a number that is added to the scores of each source step.
        One for each target step, (B, T, S), may leave a step without any source; so one more key and its value are
        zeros, and always there (``add_zero_attn`` of torch's own attention).
        """
        return self.mixed(*self.project(target, source), mask)

    def mixed(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Map queries (B, h, T, d / h), keys and values (B, h, S, d / h) to (B, T, d)."""
        if mask is not None and mask.dim() == 3:
            k, v, mask = _with_nothing(k, v, mask)
        return self.out(attend(q, k, v, mask).transpose(1, 2).flatten(2))  # from (B, h, T, d / h)

    def weights(self, target: Tensor, source: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the attention weights, shape (B, h, T, S); every row sums to 1, or with zeros to look at to less."""
        q, k, v = self.project(target, source)
        steps = k.shape[2]
        if mask is not None and mask.dim() == 3:
            k, _, mask = _with_nothing(k, v, mask)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        if mask is not None:
            mask = spread(mask)
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        return scores.softmax(-1)[..., -steps:]

    def project(self, target: Tensor, source: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries (B, h, T, d / h), keys and values (B, h, S, d / h)."""
        if source is None:
            q, k, v = self.qkv(target).chunk(3, dim=-1)
        else:
            dim = target.shape[-1]
            weight, bias = self.qkv.weight, self.qkv.bias
            q = F.linear(target, weight[:dim], bias[:dim])
            k, v = F.linear(source, weight[dim:], bias[dim:]).chunk(2, dim=-1)
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (q, k, v))
        return q, k, v


def _with_nothing(k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Put a key and a value of zeros, which every step sees, before the others: S becomes S + 1."""
    seen = mask.new_ones if mask.dtype == torch.bool else mask.new_zeros
    k, v = (F.pad(x, (0, 0, 1, 0)) for x in (k, v))
    return k, v, torch.cat([seen(*mask.shape[:2], 1), mask], dim=2)


class TransformerLayer(nn.Module):
    """Pre-norm layer: attention and a feed-forward network of 4d with residuals, Eq. (4): (B, T, d) -> (B, T, d).

    With a ``source`` (B, S, d) the attention is cross-modal, Eq. (3); ``mask`` is that of :class:`Attention`.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.attention = Attention(dim, heads)
        self.attention_norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(nn.Linear(dim, 4 * dim), nn.ReLU(), nn.Linear(4 * dim, dim))
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, source: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        x = x + self.dropout(self.attention(*self.normed(x, source), mask))  # m' = m' + Z'_m, Eq. (4)
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))

    def normed(self, x: Tensor, source: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Normalise target and source for the attention; both share one norm, as in MulT."""
        return self.attention_norm(x), None if source is None else self.attention_norm(source)


class Transformer(nn.Module):
    """A set of transformer blocks and a final norm: self-attention, or cross-modal attention with a source.

    In a cross-modal stack, each layer takes queries from the output of the layer below, and keys and values from the
    same source features (Tsai et al. 2019, section 3.2).

    Parameters
    ----------
    dim, heads, layers : int
        Width d, attention heads, and number of blocks (3 in the paper).
    dropout : float
        Dropout on both residual branches of every block.
    """

    def __init__(self, dim: int, heads: int, layers: int, dropout: float = 0.0):
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, target: Padded, source: Padded | None = None) -> Padded:
        """Map a target (B, T, d), and optionally a source (B, S, d), to (B, T, d) with the target's mask and bias."""
        x, keys = target.values, None if source is None else source.values
        mask = (source or target).attention_mask(target.times)
        for layer in self.layers:
            x = layer(x, keys, mask)
        return target._replace(values=self.norm(x))

    @torch.no_grad()
    def attention_weights(self, target: Padded, source: Padded | None = None) -> list[Tensor]:
        """Return the attention weights of every layer, each (B, h, T, S)."""
        x, keys = target.values, None if source is None else source.values
        mask = (source or target).attention_mask(target.times)
        weights = []
        for layer in cast(Sequence[TransformerLayer], self.layers):
            weights.append(layer.attention.weights(*layer.normed(x, keys), mask))
            x = layer(x, keys, mask)
        return weights
