"""KTNet for clips that lack any modality: Eq. (1) between all pairs of modalities, Eq. (2) for each of them.

Shapes: ``B`` clips, ``T_m`` steps and ``D_m`` features of modality m, ``d`` the model's width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ktnet_lite.data.batching import Batch, Padded
from ktnet_lite.model.encoder import ModalityEncoder, Standardise
from ktnet_lite.model.fusion import fusion_of
from ktnet_lite.model.losses import Rebuilt, consistency_loss
from ktnet_lite.model.network import Network, check_two
from ktnet_lite.model.transfer import Combine, Transfer
from ktnet_lite.names import (
    MODALITIES,
    Distance,
    Doubt,
    Fusion,
    Missing,
    Modality,
    Pooling,
    Reconstruction,
    Sharing,
    Silence,
    subsets,
)


class AnyOutput(NamedTuple):
    """Output of a forward pass of :class:`AnyKTNet`; a clip of which a stream has no valid step is not in it."""

    logits: Tensor  # (B, *outputs)
    features: dict[Modality, Padded]  # f_m (B, T_m, d) of every clip that has modality m
    reconstructed: dict[str, Padded]  # "language_to_audio" (B, T_L, d or 2d), of clips with language, without audio


def places(which: Tensor) -> Tensor:
    """Number the clips that are marked, (B,) -> (n,)."""
    return which.nonzero().squeeze(1)


def taken(padded: Padded, clips: Tensor) -> Padded:
    """Take some clips (n,) of a padded stream (B, T, d), without the steps at the end that none of them has."""
    mask = padded.full_mask()[clips]  # (n, T)
    used = mask.any(0).nonzero()
    steps = int(used[-1]) + 1 if len(used) else 1
    mask = mask[:, :steps]
    return padded.map(lambda part: part[clips, :steps])._replace(mask=None if mask.all() else mask)


def placed(padded: Padded, clips: Tensor, size: int) -> Padded:
    """Put some clips (n, T, d) at their places in a batch of ``size``; the other clips have no valid step."""
    if len(clips) == size:
        return padded

    def at(part: Tensor) -> Tensor:
        return part.new_zeros(size, *part.shape[1:]).index_copy(0, clips, part)

    return padded._replace(mask=padded.full_mask()).map(at)


def merged(*streams: Padded) -> Padded:
    """Join streams of which each clip has valid steps in at most one, all (B, T_i, d) -> (B, max T_i, d)."""
    steps = max(stream.values.shape[1] for stream in streams)
    values = streams[0].values.new_zeros(len(streams[0].values), steps, streams[0].values.shape[2])
    mask = torch.zeros(values.shape[:2], dtype=torch.bool, device=values.device)
    rest: dict[str, Tensor] = {}  # bias and times, if any stream has them; they are 0 in those that have none
    for stream in streams:
        missing = steps - stream.values.shape[1]
        valid = F.pad(stream.full_mask(), (0, missing))
        values = torch.where(valid.unsqueeze(-1), F.pad(stream.values, (0, 0, 0, missing)), values)
        mask = mask | valid
        for name, part in (("bias", stream.bias), ("times", stream.times)):
            if part is not None:
                rest[name] = torch.where(valid, F.pad(part, (0, missing)), rest.get(name, 0.0))
    return Padded(values, mask, **rest)


def drawn(present: Tensor, complete: float, nothing: float = 0.0) -> Tensor:
    """Draw what each training clip keeps of the modalities that it has, (B, M) -> (B, M).

    The shares ``complete`` and ``nothing`` of the clips keep everything and nothing. The others keep what they have of
    a random, proper subset.
    """
    clips, count = present.shape
    names = MODALITIES[:count]
    proper = [[name in subset for name in names] for subset in subsets(names)[1:]]
    rows = torch.tensor(proper, device=present.device)  # (2^M - 2, M)
    some = rows[torch.randint(len(rows), (clips,), device=present.device)]
    share = torch.rand(clips, 1, device=present.device)
    return present & (some | (share < complete)) & (share < 1 - nothing)


def at_hand(streams: Mapping[Modality, Padded], names: Sequence[Modality]) -> Tensor:
    """Mark which of some modalities each clip has, (B, M); a stream that is not given is in no clip."""
    none = torch.zeros_like(next(iter(streams.values())).present)
    return torch.stack([streams[name].present if name in streams else none for name in names], dim=1)


class AnyKTNet(Network):
    """The network of Fig. 1 for every subset of the modalities; clips of one batch may each have their own.

    What a clip lacks is predicted from what it has: theta of Eq. (1) exists for every ordered pair of modalities, delta
    of Eq. (2) for every modality. The fusion then reads a stream of each modality, real or reconstructed, with the same
    weights. "ours" is the case in which all clips have language and vision.

    In training, a share of the clips keeps all that it has and the other clips keep a random subset. What is dropped in
    this way is the target of Eq. (1), without gradient: the task, in the clips that keep it, is what makes f_m
    informative. A few clips keep nothing, so that the model also knows what to predict for a clip that has nothing: its
    streams are then one step each, which is learned.

    Parameters
    ----------
    dims, outputs, dim, heads, layers, dropout, targets, pooling, kernel, transfer, doubt, fusion, causal
        As in :class:`ktnet_lite.model.ktnet.KTNet`.
    weights : dict of float
        lambda of Eq. (1) for each source; a batch's loss has the mean over all pairs.
    consistency : {"l2", "l1", "gaussian"}
        Distance of Eq. (1); "gaussian" with the ``transfer`` of this name.
    missing : {"reconstruction", "token", "both"}
        What stands for a missing modality: A' of Eq. (2); one step that is learned, a token (modality dropout); or A'
        with the token added to its steps.
    sharing : {"none", "source"}
        Whether the transfer networks of a source share all but their last map.
    silence : {"missing", "observed"}
        What it means that a clip of a batch has no step of a modality: that the modality is missing, or that nothing
        was said or seen, which is an observation. As in the other variants, it is then one step of zeros. A modality
        that the batch does not hold is missing either way.
    complete : float
        Share of the training clips that keep every modality; the other subsets share what is left equally, but for
        ``nothing``.
    others : bool
        A control: Eq. (1) predicts the features of another clip of the batch.

    Raises
    ------
    ConfigError
        The data has a single modality, or a target is unknown.
    """

    nothing = 0.02  # share of the training clips that keep nothing
    any_subset = True
    infers_audio = True

    def __init__(
        self,
        dims: Mapping[Modality, int],
        outputs: tuple[int, ...],
        *,
        dim: int = 40,
        heads: int = 8,
        layers: int = 3,
        dropout: float = 0.1,
        targets: Sequence[Modality] | None = None,
        pooling: Pooling = "mean",
        kernel: int = 1,
        weights: Mapping[Modality, float] | None = None,
        consistency: Distance = "l2",
        missing: Missing = "reconstruction",
        sharing: Sharing = "none",
        silence: Silence = "missing",
        complete: float = 1 / 3,
        others: bool = False,
        transfer: Reconstruction = "point",
        doubt: Doubt = "bias",
        fusion: Fusion = "pairs",
        causal: bool = False,
    ):
        super().__init__()
        self.observed: tuple[Modality, ...] = tuple(name for name in MODALITIES if name in dims)
        check_two("variant 'any'", self.observed)
        self.outputs, self.consistency, self.missing = outputs, consistency, missing
        self.whole, self.others, self.silence, self.dim, self.causal = complete, others, silence, dim, causal
        size = dim, heads, layers, dropout
        self.encoders = nn.ModuleDict(
            {name: ModalityEncoder(dims[name], *size, kernel, causal) for name in self.observed}
        )
        self.tokens = nn.ParameterDict({name: 0.02 * torch.randn(1, dim) for name in self.observed})
        if missing != "token":
            pairs = list(permutations(self.observed, 2))
            self.transfer = nn.ModuleDict({f"{source}_to_{name}": Transfer(*size, transfer) for source, name in pairs})
            if sharing == "source":
                for source, name in pairs:
                    first = next(other for other in self.observed if other != source)
                    self.transfer[f"{source}_to_{name}"].transformer = self.transfer[f"{source}_to_{first}"].transformer
            self.combine = nn.ModuleDict(
                {name: Combine(self._sources(name), *size, "time", transfer, doubt) for name in self.observed}
            )
            lambdas = weights or dict.fromkeys(self.observed, 1.0)
            self.weights = {f"{source}_to_{name}": lambdas[source] / len(pairs) for source, name in pairs}
        options = {"dim": dim, "heads": heads, "layers": layers, "dropout": dropout}
        self.fusion = fusion_of(fusion, self.observed, outputs, targets=targets, pooling=pooling, **options)

    @property
    def inputs(self) -> dict[Modality, Standardise]:
        return {name: cast(ModalityEncoder, self.encoders[name]).embedding.standardise for name in self.observed}

    def answer(self, batch: Batch) -> AnyOutput:
        return self(self._given(batch))

    def forward(self, streams: Mapping[Modality, Padded]) -> AnyOutput:
        """Map streams, each (B, T_m, D_m), to logits, ``(B, *outputs)``.

        A clip lacks a modality if the stream is not given or the clip has no valid step in it; nothing else of it is
        read, not even its length.
        """
        features = self.encode(streams)
        present = at_hand(streams, self.observed)
        whole, reconstructed = self.complete(features, self.drop(present) if self.training else present)
        return AnyOutput(self.fusion(whole), features, reconstructed)

    def encode(self, streams: Mapping[Modality, Padded]) -> dict[Modality, Padded]:
        """Return f_m (B, T_m, d) of the clips that have modality m; no entry where none of them has it."""
        features: dict[Modality, Padded] = {}
        for name in self.observed:
            if name in streams and len(clips := places(streams[name].present)):
                encoded = self.encoders[name](taken(streams[name], clips))
                features[name] = placed(encoded, clips, len(streams[name].values))
        return features

    def drop(self, present: Tensor) -> Tensor:
        """Draw what each training clip keeps of the modalities that it has, (B, M) -> (B, M)."""
        return drawn(present, self.whole, self.nothing)

    def complete(
        self, features: Mapping[Modality, Padded], kept: Tensor
    ) -> tuple[dict[Modality, Padded], dict[str, Padded]]:
        """Return a stream of every modality, real where it is ``kept`` (B, M), and the reconstructions of Eq. (1)."""
        whole, reconstructed = {}, {}
        keeps = dict(zip(self.observed, kept.unbind(1), strict=True))  # (B,) each
        rebuilt = kept.any(1) & (self.missing != "token")  # what such a clip lacks is reconstructed
        for name, keep in keeps.items():
            parts = [features[name].where(keep)] if keep.any() else []
            for source in self._sources(name):
                if len(clips := places(rebuilt & keeps[source] & ~keep)):
                    pair = f"{source}_to_{name}"
                    reconstructed[pair] = placed(self.transfer[pair](taken(features[source], clips)), clips, len(keep))
            if len(clips := places(rebuilt & ~keep)):
                pairs = {source: reconstructed.get(f"{source}_to_{name}") for source in self._sources(name)}
                said = {source: taken(pair, clips) for source, pair in pairs.items() if pair is not None}
                parts.append(placed(self.combined(name, said), clips, len(keep)))
            if len(clips := places(~rebuilt & ~keep)):
                parts.append(placed(self.token(name, len(clips)), clips, len(keep)))
            whole[name] = parts[0] if len(parts) == 1 else merged(*parts)
        return whole, reconstructed

    def reconstruct(self, streams: Mapping[Modality, Padded]) -> tuple[dict[Modality, Padded], dict[Modality, Padded]]:
        """Return f_m (B, T_m, d) of words and face, which every clip has, and what each says of the voice, Eq. (1)."""
        features = {source: self.encoders[source](streams[source]) for source in self._sources("audio")}
        return features, {source: self.transfer[f"{source}_to_audio"](padded) for source, padded in features.items()}

    def combined(self, name: Modality, reconstructed: Mapping[Modality, Padded]) -> Padded:
        """Join what the sources say of a modality, each (B, T_m, d), as the fusion reads it: (B, sum of T_m, d)."""
        return self.finished(name, self.combine[name](reconstructed))

    def finished(self, name: Modality, combined: Padded) -> Padded:
        """Add the token to the steps of A', Eq. (2), if ``missing`` is "both"."""
        if self.missing != "both":
            return combined
        return combined._replace(values=combined.values + self.tokens[name])

    def token(self, name: Modality, clips: int) -> Padded:
        """Return what stands for a modality of which nothing can be rebuilt: one step, there from the beginning."""
        token = self.tokens[name].expand(clips, 1, -1)  # (clips, 1, d)
        return Padded(token, times=torch.zeros_like(token[..., 0]) if self.causal else None)

    def auxiliary(self, output: AnyOutput, batch: Batch) -> dict[str, Tensor]:
        """Return l_c of Eq. (1) for each ordered pair, over the clips from which the second modality was dropped."""
        terms = {}
        for pair in self.weights:
            rebuilt, real = output.reconstructed.get(pair), output.features.get(cast("Modality", pair.split("_to_")[1]))
            rows = output.logits.new_zeros(0, 1, self.dim)
            doubtful = torch.cat([rows, rows], dim=-1) if self.consistency == "gaussian" else rows
            parts = Padded(doubtful), Padded(rows)  # no clip; still a term: all processes of a run have the same
            if rebuilt is not None and real is not None:
                clips = places(rebuilt.present & real.present)
                targets = clips.roll(1) if self.others else clips
                parts = taken(rebuilt, clips), taken(real._replace(values=real.values.detach()), targets)
            terms[pair] = consistency_loss(*parts, kind=self.consistency)
        return terms

    @torch.no_grad()
    def rebuilt(self, batch: Batch) -> dict[str, Rebuilt]:
        """Return the reconstructions of every pair, of the clips that have both modalities."""
        features = self.encode(self._given(batch))
        found = {}
        for pair in self.weights:
            source, name = (features.get(cast("Modality", part)) for part in pair.split("_to_"))
            if source is not None and name is not None and len(clips := places(source.present & name.present)):
                found[pair] = Rebuilt(self.transfer[pair](taken(source, clips)), taken(name, clips), clips)
        return found

    @torch.no_grad()
    def attention_maps(self, streams: Mapping[Modality, Padded]) -> dict[str, list[Tensor]]:
        return self.fusion.attention_maps(self.complete(self.encode(streams), at_hand(streams, self.observed))[0])

    def _sources(self, missing: Modality) -> list[Modality]:
        return [name for name in self.observed if name != missing]

    def _given(self, batch: Batch) -> dict[Modality, Padded]:
        """Return the streams of a batch, without a valid step where a modality counts as missing."""
        known = [name for name in self.observed if name in batch.streams]
        return {name: batch.streams[name] if self.silence == "observed" else batch.given(name) for name in known}
