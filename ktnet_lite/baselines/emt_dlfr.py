"""EMT-DLFR, the Efficient Multimodal Transformer with Dual-Level Feature Restoration.

Sun, Lian, Liu and Tao, *Efficient Multimodal Transformer with Dual-Level Feature Restoration for Robust Multimodal
Sentiment Analysis*, IEEE Transactions on Affective Computing 2023.

**Idea.** An LSTM turns each of the M modalities into steps X_m and a vector u_m, its last state. The few vectors
G = [u_1, ..., u_M] are the global context. Context and steps attend to each other and never steps to the steps of
another modality, so the cost is linear in M. Each layer promotes both and pools the M promoted contexts::

    X_m <- P(X_m, G),    G_m = P(G, X_m),    G <- sum over m of a_m G_m,    a = softmax(w tanh(W G_m))

    P(x, y) = FF(SA(x + CM(LN(x), LN(y)))),    y^ = D([u_1, ..., u_M, G])

where SA and FF are pre-norm self-attention and feed-forward layers. In training, each clip has a complete view and an
incomplete view (marked ~). Low-level restoration predicts the removed steps x_m; high-level attraction pulls the
vectors of both views together as SimSiam does, where sg is a stop-gradient::

    L = L_label(y~) + lambda_r sum_m smooth_L1(R_m(X~_m), x_m) + lambda_a (L_label(y^) + sum_v L_v)

    L_v = -(cos(q(z~), sg(z)) + cos(q(z), sg(z~))) / 2,    z = p(v),    v = u_1, ..., u_M and G

The lambdas, the three layers and the four heads are those of the public code for MOSI, as is the one P that all layers,
modalities and both directions share; ``attraction`` holds the label loss of the complete view, as there.

**Simplified.** Language has an LSTM like the other modalities, not BERT. All widths are d. The feed-forward network is
that of KTNet (ReLU, not GEGLU), and so are the positions and the head D. Attention weights have no dropout.

**Where we differ from the public code.** There a removed step is zeros (for language, an unknown word) that the LSTM
reads and the attention may use, the masks are drawn once, and each run has one rate. Here a missing step is skipped. In
training its place holds a learned vector e_m, from which it is restored; no kept step or context attends to it. Each
clip draws its rate anew, and two thirds of the clips also lose whole modalities. A missing u_m is e_m, and the pooling
leaves out its G_m. L_v counts where a vector lost some of its steps, for u_m not all of them: a constant would attract
complete clips to it. The networks p and q have layer norms, not batch norms, so a clip's terms do not depend on its
batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from math import gcd
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ktnet_lite.baselines.blocks import Baseline, Recurrent
from ktnet_lite.data.batching import Batch, Padded
from ktnet_lite.model.any_modality import drawn, placed, places, taken
from ktnet_lite.model.fast import Dropout
from ktnet_lite.model.layers import Attention, Positions, TransformerLayer
from ktnet_lite.model.losses import sharded_mean, task_loss
from ktnet_lite.model.network import Head, check_two
from ktnet_lite.names import Modality

LAYERS = 3

Masks = dict[Modality, Tensor]  # (B, T_m) of each modality


def having(masks: Masks) -> Tensor:
    """Mark the modalities of which a clip has any step, (B, M)."""
    return torch.stack([mask.any(1) for mask in masks.values()], dim=1)


class View(NamedTuple):
    """What the network computes from one view of a batch."""

    logits: Tensor  # (B, *outputs)
    local: dict[Modality, Tensor]  # promoted X_m, from which R_m restores the removed steps (B, T_m, d)
    vectors: dict[str, Tensor]  # u_m of each modality (B, d), and the promoted G as "context" (B, M * d)


class EMTDLFROutput(NamedTuple):
    """Output of a forward pass of :class:`EMTDLFR`; in evaluation, its only view is the complete one."""

    logits: Tensor  # (B, *outputs), of the incomplete view
    truth: dict[Modality, Padded]  # standardised streams, 0 at invalid steps (B, T_m, D_m)
    kept: Masks  # steps of the incomplete view
    incomplete: View
    complete: View


class Encoder(nn.Module):
    """An LSTM over the kept steps of a stream, and the learned vector e_m in place of what is missing."""

    def __init__(self, inputs: int, dim: int):
        super().__init__()
        self.recurrent, self.missing = Recurrent(inputs, dim), nn.Parameter(0.02 * torch.randn(dim))

    def forward(self, values: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Map values (B, T, D) of which some are kept (B, T) to X_m (B, T, d) and u_m (B, d)."""
        order = kept.int().argsort(dim=1, descending=True, stable=True)  # kept steps first (B, T)
        states = self.recurrent(Padded(values.take_along_dim(order[..., None], 1), kept.take_along_dim(order, 1)))
        local = states.values.take_along_dim(order.argsort(1)[..., None], dim=1)
        vector = torch.where(kept.any(1, keepdim=True), states.last(), self.missing)
        return torch.where(kept[..., None], local, self.missing), vector


class Promotion(nn.Module):
    """P, half a mutual promotion unit: x (B, T, d) attends to a source (B, S, d), then to itself -> (B, T, d)."""

    def __init__(self, dim: int, dropout: float):
        super().__init__()
        heads = gcd(4, dim)
        self.norm, self.source_norm, self.attention = nn.LayerNorm(dim), nn.LayerNorm(dim), Attention(dim, heads)
        self.dropout, self.layer = Dropout(dropout), TransformerLayer(dim, heads, dropout)

    def forward(self, x: Padded, source: Padded) -> Tensor:
        attended = self.attention(self.norm(x.values), self.source_norm(source.values), source.mask)
        return self.layer(x.values + self.dropout(attended), None, x.mask)


class Attraction(nn.Module):
    """The networks p and q of one vector v."""

    def __init__(self, width: int):
        super().__init__()
        norm, hidden = nn.LayerNorm(width, elementwise_affine=False), (width + 1) // 2
        self.project = nn.Sequential(nn.Linear(width, width), norm)
        layers = nn.Linear(width, hidden, bias=False), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, width)
        self.predict = nn.Sequential(*layers)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return L_v of each clip from v in both views (B, width): (B,), between -1 and 1."""
        a, b = self.project(a), self.project(b)
        pairs = (self.predict(a), b.detach()), (self.predict(b), a.detach())
        return -reduce(torch.add, [F.cosine_similarity(x.float(), z.float()) for x, z in pairs]) / 2


class EMTDLFR(Baseline):
    """A global context that exchanges with the steps of each modality; each clip of a batch may have its own subset.

    Raises
    ------
    ConfigError
        The data has only one modality.
    """

    any_subset = True
    infers_audio = True
    whole = 1 / 3  # share of the training clips that keep some of every modality, as in AnyKTNet

    def __init__(self, dims: Mapping[Modality, int], outputs: tuple[int, ...], *, dim: int, dropout: float):
        super().__init__(dims, outputs)
        check_two("emt_dlfr", dims)
        width = len(dims) * dim
        self.weights = {"restoration": 1.0, "attraction": 1.0}  # lambda_r and lambda_a
        self.encoders = nn.ModuleDict({name: Encoder(features, dim) for name, features in dims.items()})
        self.positions, self.promotion = Positions(dim), Promotion(dim, dropout)
        self.pool = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False))
        self.head = Head(2 * width, outputs, dropout)
        self.restore = nn.ModuleDict({name: nn.Linear(dim, features) for name, features in dims.items()})
        widths = dict.fromkeys(self.observed, dim) | {"context": width}
        self.attract = nn.ModuleDict({name: Attraction(size) for name, size in widths.items()})

    def forward(self, streams: Mapping[Modality, Padded]) -> EMTDLFROutput:
        """Predict from streams; a modality without a valid step is missing, and nothing else of it is read."""
        first, truth = next(iter(streams.values())).values, {}
        size, device = len(first), first.device
        for name in self.observed:
            x = Padded(
                self.inputs[name].mean.expand(size, 1, -1), torch.zeros(size, 1, dtype=torch.bool, device=device)
            )  # no valid step
            if name in streams and len(clips := places(streams[name].present)):
                x = placed(self.standardised({name: taken(streams[name], clips)}, name), clips, size)
            truth[name] = Padded(x.values.masked_fill(~x.full_mask()[..., None], 0.0), x.full_mask())
        valid = {name: x.full_mask() for name, x in truth.items()}
        complete, kept = self.view(truth, valid), self.drop(valid) if self.training else valid
        incomplete = self.view(truth, kept) if self.training else complete
        return EMTDLFROutput(incomplete.logits, truth, kept, incomplete, complete)

    def view(self, streams: Mapping[Modality, Padded], kept: Masks) -> View:
        """Predict from the steps that are ``kept``."""
        local, vectors, keys = {}, {}, {}
        for name, stream in streams.items():
            x, vectors[name] = self.encoders[name](stream.values, kept[name])
            local[name], keys[name] = self.positions(x), kept[name]
            for rest in (stream.full_mask(), torch.ones_like(kept[name])):  # attention needs a key, if only for R_m
                keys[name] = torch.where(keys[name].any(1, keepdim=True), keys[name], rest)
        context, has = torch.stack(list(vectors.values()), dim=1), having(kept)  # G (B, M, d) and (B, M)
        counted = has | ~has.any(1, keepdim=True)
        for _ in range(LAYERS):
            steps, shared = {name: Padded(x, keys[name]) for name, x in local.items()}, Padded(context)
            local = {name: self.promotion(x, shared) for name, x in steps.items()}
            promoted = torch.stack([self.promotion(shared, x) for x in steps.values()], dim=1)  # G_m (B, M, M, d)
            promoted = torch.where(has[..., None, None], promoted, context[:, None]).flatten(2)  # (B, M, M * d)
            shares = self.pool(promoted).masked_fill(~counted[..., None], -torch.inf).softmax(1)  # a (B, M, 1)
            context = (shares * promoted).sum(1).view_as(context)
        vectors["context"] = context.flatten(1)
        return View(self.head(torch.cat(list(vectors.values()), dim=1)), local, vectors)

    def drop(self, valid: Masks) -> Masks:
        """Draw which of its valid steps each training clip keeps; no clip loses everything."""
        present = having(valid)
        size, device = len(present), present.device
        keeps = drawn(present, self.whole)
        keeps = torch.where(keeps.any(1, keepdim=True), keeps, present)  # (B, M)
        before = {name: mask & keep[:, None] for (name, mask), keep in zip(valid.items(), keeps.unbind(1), strict=True)}
        rate = torch.rand(size, 1, device=device)
        kept = {name: mask & (torch.rand(mask.shape, device=device) >= rate) for name, mask in before.items()}
        left = having(kept).any(1, keepdim=True)
        return {name: torch.where(left, kept[name], mask) for name, mask in before.items()}

    def auxiliary(self, output: EMTDLFROutput, batch: Batch) -> dict[str, Tensor]:
        """Return both terms over what was removed; the label loss of the complete view is over all clips."""
        _, truth, kept, incomplete, complete = output
        lost = {name: x.full_mask() & ~kept[name] for name, x in truth.items()}
        some = having(lost)  # (B, M)
        counts = dict(zip(truth, (some & having(kept)).unbind(1), strict=True)) | {"context": some.any(1)}  # (B,) each

        def restoration(name: Modality) -> Tensor:
            restored, steps = self.restore[name](incomplete.local[name]).float(), lost[name]
            error = F.smooth_l1_loss(restored, truth[name].values.detach().float(), reduction="none")  # (B, T_m, D_m)
            return sharded_mean((error.sum(-1) * steps).sum(), steps.sum() * error.shape[-1])

        def attraction(name: str) -> Tensor:
            each = self.attract[name](incomplete.vectors[name], complete.vectors[name])  # (B,)
            return sharded_mean((each * counts[name]).sum(), counts[name].sum())

        label = task_loss(complete.logits, batch.targets, self.loss)
        return {
            "restoration": reduce(torch.add, map(restoration, self.observed)),
            "attraction": reduce(torch.add, map(attraction, counts), label),
        }
