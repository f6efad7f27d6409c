"""The reference for ``step.py``: KTNet computed as MulT's code (Tsai et al. 2019) does.

It works in Time x Batch x Channel, with separate projections of queries, keys and values, and explicit matmul, softmax
and matmul over full padded lengths. It always averages attention weights over heads. It has dropout on attention
weights and ReLU, and projects the input by a convolution of width 1.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ktnet_lite.data.batching import Padded
from ktnet_lite.model.encoder import Embedding
from ktnet_lite.model.layers import Attention, Transformer, TransformerLayer
from ktnet_lite.model.losses import Objective


class PlainAttention(nn.Module):
    """Multi-head attention in separate steps, with the weights of :class:`ktnet_lite.model.layers.Attention`."""

    def __init__(self, fused: Attention, dropout: float):
        super().__init__()
        self.heads, self.dropout, self.out = fused.heads, dropout, fused.out
        dim = self.out.in_features
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        weights, biases = fused.qkv.weight.data.chunk(3), fused.qkv.bias.data.chunk(3)
        for linear, weight, bias in zip((self.query, self.key, self.value), weights, biases, strict=True):
            linear.load_state_dict({"weight": weight, "bias": bias})
            linear.requires_grad_(fused.qkv.weight.requires_grad)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map (T, B, d), (S, B, d), (S, B, d), (B, S) to (T, B, d) and the weights averaged over heads, (B, T, S)."""
        steps, batch, dim = query.shape
        q = self._split(self.query(query) * (dim // self.heads) ** -0.5)
        k, v = self._split(self.key(key)), self._split(self.value(value))  # (B h, S, d / h)
        weights = torch.bmm(q, k.transpose(1, 2))  # (B h, T, S)
        if mask is not None:
            weights = weights.masked_fill(~mask.repeat_interleave(self.heads, 0)[:, None], -torch.inf)
        weights = F.softmax(weights.float(), dim=-1).type_as(weights)
        weights = F.dropout(weights, self.dropout, self.training)
        attended = torch.bmm(weights, v).transpose(0, 1).contiguous().view(steps, batch, dim)
        return self.out(attended), weights.view(batch, self.heads, steps, -1).sum(1) / self.heads

    def _split(self, x: Tensor) -> Tensor:
        steps, batch, dim = x.shape
        return x.contiguous().view(steps, batch * self.heads, dim // self.heads).transpose(0, 1)


class PlainLayer(nn.Module):
    """A pre-norm layer on (T, B, d), with dropout on attention weights, ReLU and residual branches."""

    def __init__(self, layer: TransformerLayer, dropout: float):
        super().__init__()
        self.attention = PlainAttention(layer.attention, dropout)
        self.attention_norm, self.feed_forward_norm = layer.attention_norm, layer.feed_forward_norm
        self.first, _, self.second = layer.feed_forward
        self.relu_dropout, self.residual_dropout = dropout, layer.dropout.p

    def forward(self, x: Tensor, source: Tensor | None, mask: Tensor | None) -> Tensor:
        normed = self.attention_norm(x)
        keys, values = (normed if source is None else self.attention_norm(source) for _ in range(2))
        attended, _ = self.attention(normed, keys, values, mask)
        x = x + F.dropout(attended, self.residual_dropout, self.training)
        hidden = F.dropout(F.relu(self.first(self.feed_forward_norm(x))), self.relu_dropout, self.training)
        return x + F.dropout(self.second(hidden), self.residual_dropout, self.training)


class PlainTransformer(nn.Module):
    """:class:`ktnet_lite.model.layers.Transformer` in Time x Batch x Channel."""

    def __init__(self, transformer: Transformer, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList(PlainLayer(layer, dropout) for layer in transformer.layers)
        self.norm = transformer.norm

    def forward(self, target: Padded, source: Padded | None = None) -> Padded:
        x, keys = target.values.transpose(0, 1), None if source is None else source.values.transpose(0, 1)
        for layer in self.layers:
            x = layer(x, keys, (target if source is None else source).mask)
        return Padded(self.norm(x).transpose(0, 1), target.mask)


class PlainConvolution(nn.Module):
    """The projection of an encoder as a convolution of width 1: (B, T, D) -> (B, T, d)."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.convolution = nn.Conv1d(linear.in_features, linear.out_features, 1, bias=False)
        self.convolution.load_state_dict({"weight": linear.weight.data.unsqueeze(-1)})
        self.convolution.requires_grad_(linear.weight.requires_grad)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x.transpose(1, 2)).transpose(1, 2)


def plain(objective: Objective, dropout: float) -> Objective:
    """Return the reference: a copy with the same weights, and every encoder and transformer in its plain form."""
    reference = copy.deepcopy(objective)
    for parent in list(reference.modules()):
        if isinstance(parent, Embedding):
            parent.project = PlainConvolution(parent.project)
        for name, child in parent.named_children():
            if isinstance(child, Transformer):
                setattr(parent, name, PlainTransformer(child, dropout))
    return reference
