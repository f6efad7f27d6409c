"""MCTN, the Multimodal Cyclic Translation Network, which needs only one modality at test.

Pham, Liang, Manzini, Morency and Poczos, *Found in Translation: Learning Robust Joint Representations by Cyclic
Translations Between Modalities*, AAAI 2019.

**Idea.** A representation from which vision can be predicted given the words is a representation of both. A
sequence-to-sequence network with attention translates the source S into a target T1 and, with the same weights, the
translation back into the source::

    z = Enc(S),   T1^ = Dec(z),   S^ = Dec(Enc(T1^)).

A third modality adds a second level without a cycle: z2 = Enc2(z), T2^ = Dec2(z2). A recurrent network reads the label
from the last z. The objective is ::

    L = L_label + lambda_t |T1^ - T1|^2 + lambda_c |S^ - S|^2 + lambda_2 |T2^ - T2|^2,

where each lambda is 0.1, as in the public code. At test only the source is needed; no decoder runs. Here S is language,
T1 is vision and T2 is audio; modalities that the data lacks are skipped.

**Simplified.** One layer each; the lambdas are not searched.

**Where we differ from the public code.** There all modalities are padded to one width so that they can share weights,
and the errors count that padding. Here each modality has its own linear map into and out of Enc and Dec, which share
all other weights, and errors are over valid steps. There the attention scores are linear, so the decoder's state
cancels and has no effect; here they are tanh scores (Bahdanau). In both, the decoder does not see the true past, which
would let it ignore the source. The label is read from the last state instead of by attention over the states.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ktnet_lite.baselines.blocks import Baseline, Recurrent, squared_error
from ktnet_lite.data.batching import Batch, Padded
from ktnet_lite.model.network import Head, check_two
from ktnet_lite.names import Modality


class Encoder(nn.Module):
    """A bidirectional LSTM that sums both directions: (B, S, D) -> (B, S, d)."""

    def __init__(self, inputs: int, dim: int):
        super().__init__()
        self.recurrent = nn.LSTM(inputs, dim, batch_first=True, bidirectional=True)

    def forward(self, x: Padded) -> Padded:
        packed = pack_padded_sequence(x.values, x.lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True, total_length=x.values.shape[1])
        forward, backward = states.chunk(2, dim=-1)
        return Padded(forward + backward, x.mask)


class Decoder(nn.Module):
    """An LSTM that attends to the encoded source before each step: (B, S, d) -> states (B, steps, d)."""

    def __init__(self, dim: int):
        super().__init__()
        self.cell = nn.LSTMCell(dim, dim)
        self.key, self.query = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        self.score = nn.Linear(dim, 1, bias=False)

    def forward(self, encoded: Padded, steps: int) -> Tensor:
        keys = self.key(encoded.values)  # (B, S, d)
        hidden = cell = torch.zeros_like(keys[:, 0])
        states = []
        for _ in range(steps):
            scores = self.score(torch.tanh(keys + self.query(hidden)[:, None])).squeeze(-1)  # (B, S)
            weights = scores.masked_fill(~encoded.full_mask(), -torch.inf).softmax(-1)
            context = torch.einsum("bs,bsd->bd", weights, encoded.values)
            hidden, cell = self.cell(context, (hidden, cell))
            states.append(hidden)
        return torch.stack(states, dim=1)


class MCTNOutput(NamedTuple):
    """Output of a forward pass of :class:`MCTN`."""

    logits: Tensor  # (B, *outputs)
    encoded: list[Padded]  # z, and z2 with a third modality, each (B, T_S, d)


class MCTN(Baseline):
    """Cyclic translation from the first modality (language) to the second, then translation to the third.

    Raises
    ------
    ConfigError
        The data has only one modality.
    """

    def __init__(self, dims: Mapping[Modality, int], outputs: tuple[int, ...], *, dim: int, dropout: float):
        super().__init__(dims, outputs)
        check_two("mctn", dims)
        self.source, *self.targets = dims
        self.observed = (self.source,)
        self.weights = {"translation": 0.1, "cycle": 0.1, "second_translation": 0.1}  # the lambdas
        self.into = nn.ModuleDict({name: nn.Linear(dims[name], dim) for name in (self.source, self.targets[0])})
        self.out = nn.ModuleDict({name: nn.Linear(dim, features) for name, features in dims.items()})
        self.encoders = nn.ModuleList(Encoder(dim, dim) for _ in self.targets)
        self.decoders = nn.ModuleList(Decoder(dim) for _ in self.targets)
        self.recurrent = Recurrent(dim, dim)
        self.head = Head(dim, outputs, dropout)

    def forward(self, streams: Mapping[Modality, Padded]) -> MCTNOutput:
        source = self.standardised(streams, self.source)
        encoded = [Padded(self.into[self.source](source.values), source.mask)]
        for encoder in self.encoders:
            encoded.append(encoder(encoded[-1]))
        return MCTNOutput(self.head(self.recurrent(encoded[-1]).last()), encoded[1:])

    def auxiliary(self, output: MCTNOutput, batch: Batch) -> dict[str, Tensor]:
        truth = {name: self.standardised(batch.streams, name) for name in self.inputs}
        first, present = self.targets[0], batch.present[self.targets[0]]
        translated = self.out[first](self.decoders[0](output.encoded[0], truth[first].values.shape[1]))
        again = self.encoders[0](Padded(self.into[first](translated), truth[first].mask))
        back = self.out[self.source](self.decoders[0](again, truth[self.source].values.shape[1]))
        terms = {
            "translation": squared_error(translated, truth[first], present),
            "cycle": squared_error(back, truth[self.source], present),
        }
        if len(self.targets) > 1:
            second = self.targets[1]
            states = self.decoders[1](output.encoded[1], truth[second].values.shape[1])
            terms["second_translation"] = squared_error(self.out[second](states), truth[second], batch.present[second])
        return terms
