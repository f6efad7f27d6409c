"""MFM, the Multimodal Factorization Model: separate factors for the label and for each modality.

Tsai, Liang, Zadeh, Morency and Salakhutdinov, *Learning Factorized Multimodal Representations*, ICLR 2019.

**Idea.** Each latent code yields a factor. The discriminative factor f_y, from z_y, is shared by the label and all
modalities; each generative factor f_m, from z_m, belongs to one modality. Inference and generation are trained
together::

    z_y = Q_y(x_L, x_V, x_A),  z_m = Q_m(x_m),    y^ = D(f_y),  x^_m = F_m(f_y, f_m)

    L = L_label + lambda_x sum_m |x^_m - x_m|^2 + lambda_p MMD(z, N(0, 1)) + lambda_s L_surrogate

where ``|.|^2`` is a mean over steps and features. MMD, with a Gaussian kernel, keeps the codes close to the prior. When
audio is missing, a surrogate infers the codes that depend on audio, z_y and z_A, from the other modalities. It is
trained to predict the label and the audio from its own codes through the same generators::

    L_surrogate = L_label + lambda_x |x^_A - x_A|^2

Q_y is a memory fusion network as in the paper (:mod:`ktnet_lite.baselines.mfn`); every other Q and F is an LSTM.

**Simplified.** Surrogate and model are trained together, not one after the other; only audio has a surrogate.

**Where we differ from the public code.** The MMD kernel is ``exp(-|a - b|^2 / d)``; with ``d^2`` as there, it is flat.
The generators see their factors at every step instead of their own last output. Errors and states stop at the end of
a clip. The lambdas are ours; the public code searches them for each data set (0.01 to 10 for x, and 1 to 200 for p with
the flat kernel).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ktnet_lite.baselines.blocks import Aligned, Baseline, Recurrent, mlp, squared_error
from ktnet_lite.baselines.mfn import DeltaAttention, MemoryFusion
from ktnet_lite.data.batching import Batch, Padded
from ktnet_lite.model.losses import task_loss
from ktnet_lite.model.network import Head
from ktnet_lite.names import Modality


def mmd(codes: Tensor, prior: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of two samples (N, d), with the kernel ``exp(-|a - b|^2 / d)``."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-(a[:, None] - b[None]).square().mean(-1)).mean()

    codes, prior = codes.float(), prior.float()
    return kernel(codes, codes) + kernel(prior, prior) - 2 * kernel(codes, prior)


class Codes(NamedTuple):
    """Latent codes of a batch."""

    label: Tensor  # z_y (B, d)
    own: dict[Modality, Tensor]  # z_m (B, d)


class MFMOutput(NamedTuple):
    """Output of a forward pass of :class:`MFM`; the prediction was made from these codes."""

    logits: Tensor  # (B, *outputs)
    codes: Codes
    aligned: Aligned


class Encoder(nn.Module):
    """An LSTM whose last state is mapped to codes: (B, T, D) -> (B, ``codes`` * d)."""

    def __init__(self, inputs: int, dim: int, codes: int = 1):
        super().__init__()
        self.recurrent, self.out = Recurrent(inputs, dim), nn.Linear(dim, codes * dim)

    def forward(self, x: Padded) -> Tensor:
        return self.out(self.recurrent(x).last())


class Generator(nn.Module):
    """F_m, an LSTM that generates a stream from factors: (B, 2d) -> (B, T, D)."""

    def __init__(self, dim: int, features: int):
        super().__init__()
        self.recurrent, self.out = Recurrent(2 * dim, dim), nn.Linear(dim, features)

    def forward(self, factors: Tensor, steps: int) -> Tensor:
        return self.out(self.recurrent(Padded(factors[:, None].expand(-1, steps, -1))).values)


class MFM(Baseline):
    """Discriminative and generative factors of aligned streams, with surrogate inference for missing audio."""

    aligned_only = True

    def __init__(self, dims: Mapping[Modality, int], outputs: tuple[int, ...], *, dim: int, dropout: float):
        super().__init__(dims, outputs)
        self.weights = {"generation": 0.1, "prior": 0.1, "surrogate": 1.0}  # the lambdas
        memory = MemoryFusion(dims, dim, dropout, DeltaAttention(len(dims), dim, dropout))
        self.infer_label = nn.ModuleDict({"memory": memory, "out": nn.Linear(memory.width, dim)})
        self.infer_own = nn.ModuleDict({name: Encoder(features, dim) for name, features in dims.items()})
        self.label_factor = mlp(dim, dim, dim, dropout)
        self.own_factors = nn.ModuleDict({name: mlp(dim, dim, dim, dropout) for name in dims})
        self.generators = nn.ModuleDict({name: Generator(dim, features) for name, features in dims.items()})
        self.head = Head(dim, outputs, dropout)
        self.infers_audio = "audio" in dims and len(dims) > 1
        if self.infers_audio:
            rest = sum(features for name, features in dims.items() if name != "audio")
            self.surrogate = Encoder(rest, dim, codes=2)

    def forward(self, streams: Mapping[Modality, Padded]) -> MFMOutput:
        """Predict from streams with or without audio; without it, the surrogate infers the codes.

        The surrogate serves whole batches: if the batch has audio, a clip without audio counts as zeros.
        """
        aligned = self.align(streams)
        codes = self.surrogate_codes(aligned) if "audio" not in streams and self.infers_audio else self.codes(aligned)
        return MFMOutput(self.predict(codes), codes, aligned)

    def codes(self, aligned: Aligned) -> Codes:
        """Infer z_y and every z_m from all modalities, by Q_y and Q_m."""
        label = self.infer_label["out"](self.infer_label["memory"](aligned))
        own = {name: self.infer_own[name](Padded(x, aligned.mask)) for name, x in aligned.values.items()}
        return Codes(label, own)

    def surrogate_codes(self, aligned: Aligned) -> Codes:
        """Infer z_y and z_A from all modalities except audio."""
        rest = Aligned({name: x for name, x in aligned.values.items() if name != "audio"}, aligned.mask)
        label, audio = self.surrogate(rest.joined()).chunk(2, dim=-1)
        return Codes(label, {"audio": audio})

    def predict(self, codes: Codes) -> Tensor:
        """Return y^ = D(f_y), ``(B, *outputs)``."""
        return self.head(self.label_factor(codes.label).relu())

    def generate(self, codes: Codes, name: Modality, steps: int) -> Tensor:
        """Return x^_m = F_m(f_y, f_m), (B, steps, D_m)."""
        factors = torch.cat([self.label_factor(codes.label), self.own_factors[name](codes.own[name])], dim=-1)
        return self.generators[name](factors.relu(), steps)

    def auxiliary(self, output: MFMOutput, batch: Batch) -> dict[str, Tensor]:
        _, codes, (values, mask) = output

        def generation(codes: Codes, name: Modality) -> Tensor:
            generated = self.generate(codes, name, mask.shape[1])
            return squared_error(generated, Padded(values[name], mask), batch.present[name])

        every = [codes.label, *codes.own.values()]
        terms = {
            "generation": reduce(torch.add, [generation(codes, name) for name in values]),
            "prior": reduce(torch.add, [mmd(z, torch.randn_like(z, dtype=torch.float32)) for z in every]),
        }
        if self.infers_audio:
            inferred = self.surrogate_codes(output.aligned)
            label = task_loss(self.predict(inferred), batch.targets, self.loss)
            terms["surrogate"] = label + self.weights["generation"] * generation(inferred, "audio")
        return terms
