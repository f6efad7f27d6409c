"""MCTN, the Multimodal Cyclic Translation Network: needs one modality at test.

Pham, Liang, Manzini, Morency and Poczos, *Found in Translation: Learning Robust Joint Representations by Cyclic
Translations Between Modalities*, AAAI 2019.

**Idea.** What must be known of the words to tell what the face did is a representation of both. A sequence-to-sequence
net with attention translates the source S into a target T1 and, with the same weights, its translation back::

    z = Enc(S),   T1^ = Dec(z),   S^ = Dec(Enc(T1^)).

With a third modality there is a second level, without a cycle: z2 = Enc2(z), T2^ = Dec2(z2). The label is read from
the last z by a recurrent net. The objective is ::

    L = L_label + lambda_t |T1^ - T1|^2 + lambda_c |S^ - S|^2 + lambda_2 |T2^ - T2|^2,

each lambda 0.1 as in public code. At test the source alone is needed: no decoder runs. Here S is language, T1 vision
and T2 audio, of those that the data has.

**Simplified.** One layer each; lambdas not searched.

**Where we differ from the public code.** It pads all modalities to one width, so that weights can be shared, and counts
that padding in its errors; here Enc and Dec share everything but a linear map into and out of each modality, and errors
are over valid steps. Its attention scores do not depend on the decoder's state (a linear score, in which the state
cancels); here they are tanh scores (Bahdanau). As there, the decoder is not given the true past, which would
spare it the source. The label is read from the last state instead of an attention over states.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ktnet_lite.baselines.blocks import Baseline, Recurrent, squared_error
from ktnet_lite.data.batching import Batch, Padded
from ktnet_lite.errors import ConfigError
from ktnet_lite.model.network import Head
from ktnet_lite.names import Modality


class Encoder(nn.Module):
    """Bidirectional LSTM whose directions are added: (B, S, D) -> (B, S, d)."""

    def __init__(self, inputs: int, dim: int):
        super().__init__()
        self.recurrent = nn.LSTM(inputs, dim, batch_first=True, bidirectional=True)

    def forward(self, x: Padded) -> Padded:
        packed = pack_padded_sequence(x.values, x.lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True, total_length=x.values.shape[1])
        forward, backward = states.chunk(2, dim=-1)
        return Padded(forward + backward, x.mask)


class Decoder(nn.Module):
    """LSTM that looks at the encoded source before each step: (B, S, d) -> ``steps`` states (B, steps, d)."""

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
    """What a forward pass gives."""

    logits: Tensor  # (B, *outputs)
    encoded: list[Padded]  # z, and z2 where there is a third modality, each (B, T_S, d)


class MCTN(Baseline):
    """Cyclic translation from the first modality (language) to the second, and on to the third.

    Raises
    ------
    ConfigError
        There is one modality alone.
    """

    def __init__(self, dims: Mapping[Modality, int], outputs: tuple[int, ...], *, dim: int, dropout: float):
        super().__init__(dims, outputs)
        if len(dims) < 2:
            raise ConfigError(f"mctn translates between two modalities or more; there is only {', '.join(dims)}")
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
        truth = {name: self.standardised(batch.streams, name) for name in self.standardise}
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
