"""Modality encoders, X_m -> f_m (section III.A): standardise, project, add positions, transform.

Shapes: ``B`` clips, ``T_m`` steps and ``D_m`` features of modality m, ``d`` the model's width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ktnet_lite.data.batching import Padded, statistics
from ktnet_lite.data.schema import Stream
from ktnet_lite.model.layers import Positions, Transformer


class Standardise(nn.Module):
    """Subtract the training mean of each feature and divide by its standard deviation: (B, T, D) -> (B, T, D).

    Both are kept in the features' own units, (D,); before :meth:`fit` they are 0 and 1.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def fit(self, stream: Stream) -> None:
        """Take mean and scale from a stream; they are saved with the weights.

        Raises
        ------
        DataError
            The stream has no step at all.
        """
        self.load_state_dict(statistics(stream))

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.scale


class Embedding(nn.Module):
    """Standardise, project each step with its neighbours, add positions: X_m (B, T_m, D_m) -> (B, T_m, d).

    The temporal projection is a convolution: a linear map of the ``kernel`` steps around each step. What lies outside
    of the clip counts as the training mean, so padding cannot leak into valid steps.
    """

    def __init__(self, features: int, dim: int, dropout: float, kernel: int = 1):
        super().__init__()
        self.kernel = kernel
        self.standardise = Standardise(features)
        self.project = nn.Linear(features * kernel, dim, bias=False)
        self.positions = Positions(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Padded) -> Padded:
        projected = self.project(self.windows(Padded(self.standardise(x.values), x.mask)))  # (B, T, d)
        return Padded(self.dropout(self.positions(projected)), x.mask)

    def windows(self, x: Padded) -> Tensor:
        """Put each step and its neighbours into one vector, (B, T, D) -> (B, T, kernel * D)."""
        if self.kernel == 1:
            return x.values
        values = x.values if x.mask is None else x.values.masked_fill(~x.mask.unsqueeze(-1), 0.0)
        side, steps = self.kernel // 2, values.shape[1]
        padded = F.pad(values, (0, 0, side, side))
        return torch.cat([padded[:, i : i + steps] for i in range(self.kernel)], dim=-1)


class ModalityEncoder(nn.Module):
    """Embed each step, then transform: X_m (B, T_m, D_m) -> f_m (B, T_m, d) (section III.A).

    ``features`` is D_m and ``kernel`` the steps that the projection sees; the other parameters are those of
    :class:`ktnet_lite.model.layers.Transformer`.
    """

    def __init__(self, features: int, dim: int, heads: int, layers: int, dropout: float = 0.0, kernel: int = 1):
        super().__init__()
        self.embedding = Embedding(features, dim, dropout, kernel)
        self.transformer = Transformer(dim, heads, layers, dropout)

    def forward(self, x: Padded) -> Padded:
        return self.transformer(self.embedding(x))
