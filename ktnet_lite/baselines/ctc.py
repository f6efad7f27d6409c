"""CTC, learned alignment of vision and audio to the words, for systems that need aligned streams.

Graves, Fernandez, Gomez and Schmidhuber, *Connectionist Temporal Classification: Labelling Unsegmented Sequence Data
with Recurrent Neural Networks*, ICML 2006; used for the "CTC +" rows as in Tsai et al. (2019).

**Idea.** A recurrent network predicts, for each frame t, to which word k of the clip the frame belongs, or the blank
if it belongs to none. CTC sums over all paths in which the words follow one another, ::

    p(1, ..., n | frames) = sum over paths pi that give 1, ..., n of prod_t P[t, pi_t],    L = -log p / n,

and so learns when each word is spoken without labels for the times. The frames of a clip, averaged with weights
P[., k], are the aligned frame of word k. A system for aligned streams reads these frames and is trained jointly.

**Simplified.** One LSTM layer each for vision and audio.

**Where we differ from the public code.** There the number of positions is fixed, and the labels are read directly from
an LSTM's output, which is bounded, so P can never be sharp. Padding counts as frames and as words, and an aligned
frame is a sum, so longer clips have larger frames. Here the key of a word combines its embedding and its position, so
any number of words works and the alignment can depend on the words. P covers only the words and frames that a clip
has, and an aligned frame is a weighted mean. The loss there is a sum with weight 1; here it is a mean with weight 0.1,
over clips with at least one frame per word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

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

NEVER = -1e4  # logit of a word beyond the clip's last


def ctc(log_probabilities: Tensor, frames: Tensor, words: Tensor, present: Tensor) -> Tensor:
    """Mean of -log p(1, ..., n | frames) / n over the clips that are ``present`` and have at least n frames.

    ``log_probabilities`` is (B, T, 1 + L), blank first; ``frames`` and ``words`` (B,) count the valid steps.
    """
    labels = torch.arange(1, log_probabilities.shape[-1]).expand(len(words), -1)  # (B, L)
    # This runs on the CPU because torch's CUDA kernel has no deterministic backward pass.
    losses = F.ctc_loss(
        log_probabilities.float().cpu().transpose(0, 1),
        labels,
        frames.cpu(),
        words.cpu(),
        reduction="none",
        zero_infinity=True,
    ).to(words.device)
    counted = present & (frames >= words)  # with fewer frames than words no path exists
    return sharded_mean((losses / words * counted).sum(), counted.sum())


class Aligner(nn.Module):
    """Map standardised frames (B, T, D) and words (B, L, D_L) to log P (B, T, 1 + L), blank first."""

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
    """Output of a forward pass of :class:`CTCAligned`."""

    logits: Tensor  # (B, *outputs)
    inner: Any  # output of the inner network
    streams: dict[Modality, Padded]  # input of the inner network, each (B, L, D_m)
    log_probabilities: dict[Modality, Tensor]  # (B, T_m, 1 + L)


class CTCAligned(Network):
    """A network for aligned streams, fed by aligners that put every other stream on the time line of the words.

    Raises
    ------
    ConfigError
        The data has no words.
    """

    def __init__(self, network: Network, dim: int):
        super().__init__()
        dims = {name: len(layer.mean) for name, layer in network.inputs.items()}
        if "language" not in dims:
            raise ConfigError(
                f"CTC aligns to words, but this data has only {', '.join(dims)}; use a system without CTC"
            )
        self.network, self.outputs, self.observed = network, network.outputs, network.observed
        self.infers_audio = network.infers_audio
        self.aligned = tuple(name for name in dims if name != "language")
        self.aligners = nn.ModuleDict({name: Aligner(dims[name], dims["language"], dim) for name in self.aligned})
        self.weights = {**network.weights, **{f"{name}_ctc": 0.1 for name in self.aligned}}

    @property
    def inputs(self) -> Mapping[Modality, Standardise]:
        return self.network.inputs

    def forward(self, streams: Mapping[Modality, Padded]) -> CTCOutput:
        aligned: dict[Modality, Padded] = {"language": streams["language"]}
        log_probabilities: dict[Modality, Tensor] = {}
        for name in self.aligned:
            if name in streams:
                aligned[name], log_probabilities[name] = self.align(streams, name)
        output = self.network(aligned)
        return CTCOutput(output.logits, output, aligned, log_probabilities)

    def align(self, streams: Mapping[Modality, Padded], name: Modality) -> tuple[Padded, Tensor]:
        """Put one stream on the time line of the words, (B, L, D), in its own units; return log P with it."""
        words = Padded(self.inputs["language"](streams["language"].values), streams["language"].mask)
        frames = streams[name]
        log_probabilities = self.aligners[name](Padded(self.inputs[name](frames.values), frames.mask), words)
        weights = log_probabilities[..., 1:].exp() * frames.full_mask().unsqueeze(-1)  # (B, T, L)
        total = weights.sum(1).clamp(min=1e-9).unsqueeze(-1)  # (B, L, 1)
        return Padded(weights.transpose(1, 2) @ frames.values / total, words.mask), log_probabilities

    def auxiliary(self, output: CTCOutput, batch: Batch) -> dict[str, Tensor]:
        # A worse alignment must not make the targets of the inner network's reconstruction easier.
        detached = {name: Padded(padded.values.detach(), padded.mask) for name, padded in output.streams.items()}
        terms = self.network.auxiliary(output.inner, batch._replace(streams=detached))
        words = batch.streams["language"].lengths
        for name, log_probabilities in output.log_probabilities.items():
            frames = batch.streams[name].lengths
            terms[f"{name}_ctc"] = ctc(log_probabilities, frames, words, batch.present[name])
        return terms
