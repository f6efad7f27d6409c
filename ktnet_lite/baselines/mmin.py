"""MMIN, the Missing Modality Imagination Network, which predicts from any subset of the modalities.

Zhao, Li and Jin, *Missing Modality Imagination Network for Emotion Recognition with Uncertain Missing Modalities*,
ACL-IJCNLP 2021.

**Idea.** An encoder turns each modality m into a vector h_m. With a_m = 1 for an available modality and 0 for a missing
one, h holds what is available and t what is missing. The forward imagination predicts t from h; the backward
imagination predicts h from that prediction, which makes the cycle consistent::

    h_m = max over time of LSTM_m(x_m),    h = [a_m h_m],    t = [(1 - a_m) h_m]

    h', c = Forward(h),    h'', _ = Backward(h'),    y^ = D(c)

    L = L_label + lambda_1 |h' - t|^2 + lambda_2 |h'' - h|^2

where brackets concatenate all modalities and ``|.|^2`` is a mean. Forward and Backward are cascades of B residual
autoencoders. The label is read from the codes of all autoencoders of Forward::

    z_1 = h,    c_b = Enc_b(z_b),    z_{b+1} = z_b + Dec_b(c_b),    h' = T(z_{B+1}),    c = [c_1, ..., c_B]

B, the lambdas, the widths relative to d and the network T are those of the public code for IEMOCAP.

**Simplified.** Language has an LSTM like the other modalities, not a convolutional network. Only D has dropout.

**Where we differ from the public code.** There the encoders are first trained on complete clips; a frozen copy of them
provides t, and the second stage sees only incomplete clips. Here there is one stage: t comes from the encoders that are
being trained, without gradient. A third of the clips keep all modalities, so the task trains every encoder on complete
clips too, which keeps t informative. The other clips keep a random part, and the two errors are over these; a modality
that the clip never had does not count in the first. There a missing modality is a stream of zeros, which is encoded;
here it is zeros in h, because the length of that stream would give away the length of the missing one. The LSTMs skip
padding and missing steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ktnet_lite.baselines.blocks import Baseline, Recurrent, mlp, squared_error
from ktnet_lite.data.batching import Batch, Padded
from ktnet_lite.model.any_modality import at_hand, drawn, placed, places, taken
from ktnet_lite.model.network import Head, check_two
from ktnet_lite.names import Modality

BLOCKS = 5  # B, autoencoders of a cascade


class MMINOutput(NamedTuple):
    """Output of a forward pass of :class:`MMIN`."""

    logits: Tensor  # (B, *outputs)
    encoded: Tensor  # h_m of each modality that a clip has, otherwise 0 (B, M, d)
    present: Tensor  # which modalities a clip has (B, M)
    kept: Tensor  # which of them the prediction used: in training, perhaps not all (B, M)
    imagined: Tensor  # h' (B, M, d)


class Encoder(nn.Module):
    """An LSTM over the valid steps of a stream, and the maximum of each unit over time: (B, T, D) -> (B, d)."""

    def __init__(self, inputs: int, dim: int):
        super().__init__()
        self.recurrent = Recurrent(inputs, dim)

    def forward(self, x: Padded) -> Tensor:
        if x.mask is None:
            return self.recurrent(x).values.amax(1)
        order = x.mask.int().argsort(dim=1, descending=True, stable=True)  # valid steps first (B, T)
        valid = x.mask.take_along_dim(order, dim=1).unsqueeze(-1)  # (B, T, 1)
        values = x.values.take_along_dim(order.unsqueeze(-1), dim=1).masked_fill(~valid, 0.0)
        return self.recurrent(Padded(values)).values.masked_fill(~valid, -torch.inf).amax(1)


class Cascade(nn.Module):
    """Residual autoencoders in sequence, and T: h (B, M * d) -> h' (B, M * d) and the codes (B, ``codes``)."""

    def __init__(self, width: int, dim: int):
        super().__init__()
        code = (dim + 1) // 2
        self.codes = BLOCKS * code
        self.encoders = nn.ModuleList(three_layers(width, 2 * dim, dim, code, nn.LeakyReLU) for _ in range(BLOCKS))
        self.decoders = nn.ModuleList(three_layers(code, dim, 2 * dim, width, nn.ReLU) for _ in range(BLOCKS))
        self.out = mlp(width, width, width, 0.0)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        codes = []
        for encoder, decoder in zip(self.encoders, self.decoders, strict=True):
            codes.append(encoder(z))
            z = z + decoder(codes[-1])
        return self.out(z), torch.cat(codes, dim=-1)


def three_layers(a: int, b: int, c: int, d: int, activation: type[nn.Module]) -> nn.Sequential:
    """A network of two hidden layers, (..., a) -> (..., d)."""
    return nn.Sequential(nn.Linear(a, b), activation(), nn.Linear(b, c), activation(), nn.Linear(c, d))


def only(marked: Tensor, encoded: Tensor) -> Tensor:
    """Put 0 in place of every h_m that is not ``marked`` (B, M): (B, M, d) -> (B, M, d)."""
    return encoded.masked_fill(~marked.unsqueeze(-1), 0.0)


class MMIN(Baseline):
    """Imagination of missing modalities from the available ones; each clip of a batch may have its own subset.

    Raises
    ------
    ConfigError
        The data has only one modality.
    """

    any_subset = True
    infers_audio = True
    complete = 1 / 3  # share of the training clips that keep all modalities, as in AnyKTNet

    def __init__(self, dims: Mapping[Modality, int], outputs: tuple[int, ...], *, dim: int, dropout: float):
        super().__init__(dims, outputs)
        check_two("mmin", dims)
        self.dim = dim
        self.weights = {"imagination": 4.0, "cycle": 2.0}  # lambda_1 and lambda_2
        self.encoders = nn.ModuleDict({name: Encoder(features, dim) for name, features in dims.items()})
        self.imagination, self.cycle = (Cascade(len(dims) * dim, dim) for _ in range(2))  # Forward and Backward
        self.head = Head(self.imagination.codes, outputs, dropout)

    def forward(self, streams: Mapping[Modality, Padded]) -> MMINOutput:
        """Predict from streams; a modality without a valid step is missing, and nothing else of it is read."""
        present = at_hand(streams, self.observed)
        kept = self.drop(present) if self.training else present
        encoded = self.encode(streams, present)
        imagined, codes = self.imagination(only(kept, encoded).flatten(1))
        return MMINOutput(self.head(codes), encoded, present, kept, imagined.view_as(encoded))

    def encode(self, streams: Mapping[Modality, Padded], present: Tensor) -> Tensor:
        """Return h_m of each modality that is ``present`` (B, M), otherwise 0: (B, M, d)."""
        encoded = []
        for name, clips in zip(self.observed, map(places, present.unbind(1)), strict=True):
            vectors = self.head.out.weight.new_zeros(len(present), self.dim)
            if len(clips):
                stream = self.standardised({name: taken(streams[name], clips)}, name)
                vectors = placed(Padded(self.encoders[name](stream)[:, None]), clips, len(present)).values[:, 0]
            encoded.append(vectors)
        return torch.stack(encoded, dim=1)

    def drop(self, present: Tensor) -> Tensor:
        """Draw what each training clip keeps of the modalities that it has, all or some, (B, M) -> (B, M)."""
        kept = drawn(present, self.complete)
        return torch.where(kept.any(1, keepdim=True), kept, present)

    def auxiliary(self, output: MMINOutput, batch: Batch) -> dict[str, Tensor]:
        """Return both errors over the clips from which something was dropped; without such clips, they are 0."""
        encoded, dropped = output.encoded.detach(), output.present & ~output.kept
        returned = self.cycle(output.imagined.flatten(1))[0].view_as(encoded)  # h'' (B, M, d)
        missing, available = only(dropped, encoded), only(output.kept, encoded)  # t and h (B, M, d)
        return {
            "imagination": squared_error(output.imagined, Padded(missing, output.present), dropped.any(1)),
            "cycle": squared_error(returned, Padded(available), dropped.any(1)),
        }
