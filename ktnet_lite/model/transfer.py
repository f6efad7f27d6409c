"""Knowledge transfer: theta and phi of Eq. (1), which predict audio features, and delta of Eq. (2), which joins them.

A reconstruction may say its doubt: it is then a mean and a log-variance of each feature, side by side.

Shapes: ``B`` clips, ``T_m`` steps of modality m, ``d`` the model's width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ktnet_lite.data.batching import Padded, joined, one_time_line
from ktnet_lite.errors import ConfigError
from ktnet_lite.model.layers import Transformer
from ktnet_lite.names import Concat, Doubt, Modality, Reconstruction

LOG_VARIANCE = -6.0, 3.0  # the least and the largest log-variance of a reconstructed feature


def mean_and_log_variance(gaussian: Tensor) -> tuple[Tensor, Tensor]:
    """Split a reconstruction with its doubt, (..., 2d), into mean and log-variance, each (..., d)."""
    mean, log_variance = gaussian.chunk(2, dim=-1)
    return mean, log_variance.clamp(*LOG_VARIANCE)


class Transfer(nn.Module):
    """theta (from vision) or phi (from language) of Eq. (1): f_m (B, T_m, d) -> A'_m (B, T_m, d).

    Transformer blocks and a linear map into the space of f_A. Without that map the final norm would give every step
    the same length; a reconstruction must be free to fall back to the mean where the source says little.

    A "gaussian" one gives mean and log-variance, (B, T_m, 2d): see :func:`mean_and_log_variance`.
    """

    def __init__(self, dim: int, heads: int, layers: int, dropout: float, kind: Reconstruction = "point"):
        super().__init__()
        self.transformer = Transformer(dim, heads, layers, dropout)
        self.out = nn.Linear(dim, dim if kind == "point" else 2 * dim)

    def forward(self, features: Padded) -> Padded:
        transferred = self.transformer(features)
        return transferred._replace(values=self.out(transferred.values))


class Combine(nn.Module):
    """delta of Eq. (2): one stream A' from the reconstructions of every source.

    ``concat="time"`` appends them along time, each marked by a learned source embedding; their lengths may differ.
    There may be fewer than all. ``concat="features"`` stacks them along features, works at n * d and maps back to d;
    it needs aligned streams, and every source.
    From n reconstructions, each (B, T_m, d), comes A' of shape (B, sum of T_m, d), or (B, T, d).

    Of "gaussian" reconstructions, (B, T_m, 2d), the means are joined. With ``doubt="bias"``, attention to a step of A'
    is biased by minus half the mean log-variance over its features: the surer step counts more. No gradient flows
    through the bias, so the variance stays what Eq. (1) makes of it.

    Raises
    ------
    ConfigError
        ``concat="features"`` meets streams of different lengths.
    """

    def __init__(
        self,
        sources: Sequence[Modality],
        dim: int,
        heads: int,
        layers: int,
        dropout: float,
        concat: Concat,
        kind: Reconstruction = "point",
        doubt: Doubt = "bias",
    ):
        super().__init__()
        self.sources, self.concat, self.kind, self.doubt = tuple(sources), concat, kind, doubt
        if concat == "time":
            self.source_embedding = nn.Parameter(0.02 * torch.randn(len(sources), dim))
            self.transformer = Transformer(dim, heads, layers, dropout)
        else:
            width = dim * len(sources)
            self.transformer = Transformer(width, heads, layers, dropout)
            self.back = nn.Linear(width, dim)

    def forward(self, reconstructed: Mapping[Modality, Padded]) -> Padded:
        if self.concat == "time":
            return self.transformer(self.marked(reconstructed))
        if self.kind == "gaussian":
            reconstructed = {source: self.believed(padded) for source, padded in reconstructed.items()}
        parts = [reconstructed[source] for source in self.sources]
        times = max(parts, key=lambda part: part.values.shape[1]).times
        try:  # at a step that only some sources have, the others count as 0
            aligned, mask = one_time_line({source: reconstructed[source] for source in self.sources})
        except ConfigError as error:
            raise ConfigError(f'concat="features": {error}; use concat="time"') from error
        values = torch.cat(list(aligned.values()), dim=-1)  # (B, T, n * d)
        known = [part.bias.where(part.full_mask(), 0.0) for part in parts if part.bias is not None]
        longer = [F.pad(bias, (0, values.shape[1] - bias.shape[1])) for bias in known]
        bias = torch.stack(longer).mean(0) if longer else None
        padded = any(part.mask is not None for part in parts)
        combined = self.transformer(Padded(values, mask if padded else None, bias, times))
        return combined._replace(values=self.back(combined.values))  # (B, T, d)

    def marked(self, reconstructed: Mapping[Modality, Padded]) -> Padded:
        """Append the reconstructions along time, each marked by its source: (B, sum of T_m, d)."""
        parts = []
        for source, mark in zip(self.sources, self.source_embedding, strict=True):
            if source in reconstructed:
                part = reconstructed[source]
                part = self.believed(part) if self.kind == "gaussian" else part
                parts.append(part._replace(values=part.values + mark))
        return joined(parts)

    def believed(self, gaussian: Padded) -> Padded:
        """Take the mean of a reconstruction (B, T_m, 2d), and its doubt as a bias (B, T_m)."""
        mean, log_variance = mean_and_log_variance(gaussian.values)
        bias = -log_variance.detach().mean(-1) / 2 if self.doubt == "bias" else None
        return gaussian._replace(values=mean, bias=bias)
