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

    The temporal projection is a convolution: a linear map of the ``kernel`` steps around each step, or, if it is
    ``causal``, of those up to it. What lies outside of the clip counts as the training mean, so padding cannot leak
    into valid steps.
    """

    def __init__(self, features: int, dim: int, dropout: float, kernel: int = 1, causal: bool = False):
        super().__init__()
        self.kernel = kernel
        self.before = kernel - 1 if causal else kernel // 2  # steps before each that it sees
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
        steps = values.shape[1]
        padded = F.pad(values, (0, 0, self.before, self.kernel - 1 - self.before))
        return torch.cat([padded[:, i : i + steps] for i in range(self.kernel)], dim=-1)


class ModalityEncoder(nn.Module):
    """Embed each step, then transform: X_m (B, T_m, D_m) -> f_m (B, T_m, d) (section III.A).

    ``features`` is D_m and ``kernel`` the steps that the projection sees; the other parameters are those of
    :class:`ktnet_lite.model.layers.Transformer`. A ``causal`` one gives its features times, so that no step of what is
    computed from them depends on what comes later.
    """

    def __init__(
        self,
        features: int,
        dim: int,
        heads: int,
        layers: int,
        dropout: float = 0.0,
        kernel: int = 1,
        causal: bool = False,
    ):
        super().__init__()
        self.causal = causal
        self.embedding = Embedding(features, dim, dropout, kernel, causal)
        self.transformer = Transformer(dim, heads, layers, dropout)

    def forward(self, x: Padded) -> Padded:
        embedded = self.embedding(x)
        return self.transformer(embedded._replace(times=x.timed().times) if self.causal else embedded)
