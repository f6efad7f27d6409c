"""Learned alignment of face and voice to the words, for systems that need aligned streams.

Graves, Fernandez, Gomez and Schmidhuber, *Connectionist Temporal Classification: Labelling Unsegmented Sequence Data
with Recurrent Neural Networks*, ICML 2006; used for the "CTC +" rows as in Tsai et al. (2019).

**Idea.** A recurrent net says for each frame t which word k of the clip it belongs to, or none (the blank). CTC sums
over all ways in which the words can come one after the other, ::

    p(1, ..., n | frames) = sum over paths pi that give 1, ..., n of prod_t P[t, pi_t],    L = -log p / n,

and so learns to place them without being told when a word is said. The frames of word k, weighed by P[., k], are its
aligned frame; the system behind takes these and is trained with it.

**Simplified.** One LSTM layer for each of face and voice.

**Where we differ from the public code.** It has a fixed number of positions, reads the labels from an LSTM's output
as it is (bounded, so that P can never be sharp), counts padding as frames and as words, and adds frames up, so that a
longer clip has larger ones. Here a word's key is made of its embedding and its position, so that any number of words
will do and what is said can help; P knows only the words and frames that a clip has; and an aligned frame is a
weighted mean. The loss is a mean, over clips that have a frame for each word, with weight 0.1, against a sum with
weight 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ktnet_lite.baselines.blocks import Recurrent
from ktnet_lite.data.batching import Batch, Padded
from ktnet_lite.errors import ConfigError
from ktnet_lite.model.encoder import Standardise
from ktnet_lite.model.layers import sinusoidal_positions
from ktnet_lite.model.losses import sharded_mean
from ktnet_lite.model.network import Network
from ktnet_lite.names import Modality

NEVER = -1e4  # logit of a word that the clip does not have


def ctc(log_probabilities: Tensor, frames: Tensor, words: Tensor, present: Tensor) -> Tensor:
    """-log p(1, ..., n | frames) / n, mean over the clips that are ``present`` and have a frame for each word.

    ``log_probabilities`` (B, T, 1 + L), blank first; ``frames`` and ``words`` (B,) count the valid ones.
    """
    labels = torch.arange(1, log_probabilities.shape[-1]).expand(len(words), -1)  # (B, L)
    # On the CPU: torch's CUDA kernel has no deterministic backward pass.
    losses = F.ctc_loss(
        log_probabilities.float().cpu().transpose(0, 1),
        labels,
        frames.cpu(),
        words.cpu(),
        reduction="none",
        zero_infinity=True,
    ).to(words.device)
    counted = present & (frames >= words)  # with fewer frames than words there is no path
    return sharded_mean((losses / words * counted).sum(), counted.sum())


class Aligner(nn.Module):
    """Frames (B, T, D) and words (B, L, D_L), both standardised, -> log P (B, T, 1 + L), blank first."""

    def __init__(self, features: int, words: int, dim: int):
        super().__init__()
        self.frames = Recurrent(features, dim)
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(words, dim)
        self.blank = nn.Parameter(torch.zeros(dim))

    def forward(self, frames: Padded, words: Padded) -> Tensor:
        clips, count = words.values.shape[:2]
        dim = len(self.blank)
        positions = sinusoidal_positions(count, dim).to(words.values)
        keys = torch.cat([self.blank.expand(clips, 1, -1), self.key(words.values) + positions], dim=1)  # (B, 1 + L, d)
        logits = self.query(self.frames(frames).values) @ keys.transpose(1, 2) / dim**0.5  # (B, T, 1 + L)
        valid = F.pad(words.full_mask(), (1, 0), value=True)
        return logits.masked_fill(~valid[:, None], NEVER).log_softmax(-1)


class CTCOutput(NamedTuple):
    """What a forward pass gives."""

    logits: Tensor  # (B, *outputs)
    inner: NamedTuple  # the output of the system behind
    streams: dict[Modality, Padded]  # what it was given, each (B, L, D_m)
    log_probabilities: dict[Modality, Tensor]  # (B, T_m, 1 + L)


class CTCAligned(Network):
    """A system for aligned streams, behind aligners that bring every other stream onto the words' time line.

    Raises
    ------
    ConfigError
        There are no words to align to.
    """

    def __init__(self, network: Network, dim: int):
        super().__init__()
        dims = {name: len(layer.mean) for name, layer in network.inputs.items()}
        if "language" not in dims:
            raise ConfigError("CTC aligns to words; this data gives it none")
        self.network, self.outputs, self.observed = network, network.outputs, network.observed
        self.infers_audio = network.infers_audio
        names = [name for name in dims if name != "language"]
        self.aligners = nn.ModuleDict({name: Aligner(dims[name], dims["language"], dim) for name in names})
        self.weights = {**network.weights, **{f"{name}_ctc": 0.1 for name in names}}

    @property
    def inputs(self) -> Mapping[Modality, Standardise]:
        return self.network.inputs

    def forward(self, streams: Mapping[Modality, Padded]) -> CTCOutput:
        aligned, log_probabilities = {"language": streams["language"]}, {}
        for name in self.aligners:
            if name in streams:
                aligned[name], log_probabilities[name] = self.align(streams, name)
        output = self.network(aligned)
        return CTCOutput(output.logits, output, aligned, log_probabilities)

    def align(self, streams: Mapping[Modality, Padded], name: Modality) -> tuple[Padded, Tensor]:
        """One stream on the words' time line (B, L, D), in its own units, and log P."""
        words = Padded(self.inputs["language"](streams["language"].values), streams["language"].mask)
        frames = streams[name]
        log_probabilities = self.aligners[name](Padded(self.inputs[name](frames.values), frames.mask), words)
        weights = log_probabilities[..., 1:].exp() * frames.full_mask().unsqueeze(-1)  # (B, T, L)
        total = weights.sum(1).clamp(min=1e-9).unsqueeze(-1)  # (B, L, 1)
        return Padded(weights.transpose(1, 2) @ frames.values / total, words.mask), log_probabilities

    def auxiliary(self, output: CTCOutput, batch: Batch) -> dict[str, Tensor]:
        # What the system behind is to reconstruct must not be made easy by a worse alignment.
        detached = {name: Padded(padded.values.detach(), padded.mask) for name, padded in output.streams.items()}
        terms = self.network.auxiliary(output.inner, batch._replace(streams=detached))
        words = batch.streams["language"].lengths
        for name, log_probabilities in output.log_probabilities.items():
            frames = batch.streams[name].lengths
            terms[f"{name}_ctc"] = ctc(log_probabilities, frames, words, batch.present[name])
        return terms
