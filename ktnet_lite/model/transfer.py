"""Knowledge transfer: theta and phi of Eq. (1), which predict audio features, and delta of Eq. (2), which joins them.

Shapes: ``B`` clips, ``T_m`` steps of modality m, ``d`` the model's width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ktnet_lite.data.batching import Padded, one_time_line
from ktnet_lite.errors import ConfigError
from ktnet_lite.model.layers import Transformer
from ktnet_lite.names import Concat, Modality


class Transfer(nn.Module):
    """theta (from vision) or phi (from language) of Eq. (1): f_m (B, T_m, d) -> A'_m (B, T_m, d).

    Transformer blocks and a linear map into the space of f_A. Without that map the final norm would give every step
    the same length; a reconstruction must be free to fall back to the mean where the source says little.
    """

    def __init__(self, dim: int, heads: int, layers: int, dropout: float):
        super().__init__()
        self.transformer = Transformer(dim, heads, layers, dropout)
        self.out = nn.Linear(dim, dim)

    def forward(self, features: Padded) -> Padded:
        transferred = self.transformer(features)
        return Padded(self.out(transferred.values), transferred.mask)


class Combine(nn.Module):
    """delta of Eq. (2): one stream A' from the reconstructions of every source.

    ``concat="time"`` appends them along time, each marked by a learned source embedding; their lengths may differ.
    There may be fewer than all. ``concat="features"`` stacks them along features, works at n * d and maps back to d;
    it needs aligned streams, and every source.
    From n reconstructions, each (B, T_m, d), comes A' of shape (B, sum of T_m, d), or (B, T, d).

    Raises
    ------
    ConfigError
        ``concat="features"`` meets streams of different lengths.
    """

    def __init__(self, sources: Sequence[Modality], dim: int, heads: int, layers: int, dropout: float, concat: Concat):
        super().__init__()
        self.sources, self.concat = tuple(sources), concat
        if concat == "time":
            self.source_embedding = nn.Parameter(0.02 * torch.randn(len(sources), dim))
            self.transformer = Transformer(dim, heads, layers, dropout)
        else:
            width = dim * len(sources)
            self.transformer = Transformer(width, heads, layers, dropout)
            self.back = nn.Linear(width, dim)

    def forward(self, reconstructed: Mapping[Modality, Padded]) -> Padded:
        parts = [reconstructed[source] for source in self.sources if source in reconstructed]
        padded = any(part.mask is not None for part in parts)
        if self.concat == "time":
            marks = [self.source_embedding[i] for i, source in enumerate(self.sources) if source in reconstructed]
            values = torch.cat([part.values + mark for part, mark in zip(parts, marks, strict=True)], dim=1)
            mask = torch.cat([part.full_mask() for part in parts], dim=1) if padded else None
            return self.transformer(Padded(values, mask))  # (B, sum of T_m, d)
        try:  # at a step that only some sources have, the others count as 0
            aligned, mask = one_time_line({source: reconstructed[source] for source in self.sources})
        except ConfigError as error:
            raise ConfigError(f'concat="features": {error}; use concat="time"') from error
        joined = torch.cat(list(aligned.values()), dim=-1)  # (B, T, n * d)
        combined = self.transformer(Padded(joined, mask if padded else None))
        return Padded(self.back(combined.values), combined.mask)  # (B, T, d)
