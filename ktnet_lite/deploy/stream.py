"""A causal model that scores a clip while it runs: keys and values stay, so that each new step is computed once.

Shapes: ``n`` new steps, ``S`` steps so far, ``d`` the model's width, ``h`` heads. There is one clip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from ktnet_lite.data.batching import Padded, joined
from ktnet_lite.errors import ConfigError
from ktnet_lite.model.any_modality import AnyKTNet
from ktnet_lite.model.encoder import ModalityEncoder
from ktnet_lite.model.fusion import BottleneckFusion, CrossModalFusion
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.layers import Transformer, TransformerLayer
from ktnet_lite.model.losses import predictions
from ktnet_lite.model.transfer import Combine, Transfer
from ktnet_lite.names import Modality


class Steps(NamedTuple):
    """What has arrived of one stream."""

    values: np.ndarray  # (n, D), raw features
    times: np.ndarray  # (n,) when each step ended; seconds, or shares of the clip


class Listener:
    """A trained model that hears one clip.

    At every moment its score is the one that the model gives the clip up to then. The modalities that "any" rebuilds
    are those of which nothing has arrived so far; when the first step of one arrives, what was computed from its
    reconstruction is computed again.

    Parameters
    ----------
    model : KTNet or AnyKTNet
        Trained with ``causal``.

    Raises
    ------
    ConfigError
        The model looks ahead.
    """

    def __init__(self, model: KTNet | AnyKTNet):
        if not model.causal:
            raise ConfigError(
                "this model looks ahead, so it can only start again on a longer clip; train with --causal"
            )
        if isinstance(model, KTNet) and model.reconstructs and model.combine.concat == "features":
            raise ConfigError('concat = "features" waits for both sources of a step; train with concat = "time"')
        self.model = model
        self.encoders = {name: _Encoder(cast(ModalityEncoder, model.encoders[name])) for name in model.observed}
        self.features: dict[Modality, Padded] = {}  # f_m (1, S, d) so far
        project = next(iter(self.encoders.values())).encoder.embedding.project
        none = project.weight.new_zeros(1, 0, project.out_features)
        self.nothing = Padded(none, times=none[..., 0].double())  # no step
        self.now = -np.inf
        self._follow()

    @torch.no_grad()
    def hear(self, arrived: Mapping[Modality, Steps], now: float) -> np.ndarray:
        """Hear all steps that have ended since the last call, up to a moment: the score (1,), or emotions (1, 4).

        Raises
        ------
        ValueError
            A step did not end between the last call and this one, or is of a modality that the model does not observe.
        """
        new: dict[Modality, Padded] = {}
        for name, (values, times) in arrived.items():
            if name not in self.encoders:
                raise ValueError(f"the model does not observe {name}; it observes {', '.join(self.encoders)}")
            if len(times) and not (self.now < times.min() and times.max() <= now):
                raise ValueError(f"{name}: a step ended at {times.min()} to {times.max()}, not in ({self.now}, {now}]")
            if len(times):
                steps = torch.as_tensor(values, dtype=torch.float32)[None]
                new[name] = self.encoders[name](Padded(steps, times=torch.as_tensor(times, dtype=torch.float64)[None]))
        first = new.keys() - self.features.keys()
        for name, padded in new.items():
            self.features[name] = joined([self.features[name], padded]) if name in self.features else padded
        self.now = now
        if first and isinstance(self.model, AnyKTNet):
            self._follow()
            new = self.features
        return predictions(self._logits(new), self.model.loss).numpy()

    def _follow(self) -> None:
        """Begin to follow what comes after the encoders, given which modalities have been heard."""
        model = self.model
        self.rebuilt: dict[Modality, _Rebuilt] = {}
        self.tokens: dict[Modality, Padded] = {}
        if isinstance(model, AnyKTNet):
            for name in model.observed:
                sources = [source for source in model.observed if source in self.features]
                if name not in sources and sources and model.missing != "token":
                    transfer = {source: cast(Transfer, model.transfer[f"{source}_to_{name}"]) for source in sources}
                    self.rebuilt[name] = _Rebuilt(transfer, cast(Combine, model.combine[name]))
                elif name not in sources:
                    self.tokens[name] = model.token(name, 1)
        elif model.reconstructs:
            transfer = {source: cast(Transfer, model.transfer[source]) for source in model.observed}
            self.rebuilt["audio"] = _Rebuilt(transfer, model.combine)
        self.fused = _Latents(model.fusion) if isinstance(model.fusion, BottleneckFusion) else _Pairs(model.fusion)

    def _logits(self, new: Mapping[Modality, Padded]) -> Tensor:
        whole = {name: new.get(name, self.nothing) for name in self.model.fusion.streams}
        whole |= {name: rebuilt(new, self.nothing) for name, rebuilt in self.rebuilt.items()}
        if isinstance(self.model, AnyKTNet):
            whole |= {name: self.model.finished(name, whole[name]) for name in self.rebuilt}
        whole |= self.tokens
        self.tokens = {}
        return self.fused(whole)


class _Continued:
    """A transformer that goes on where it stopped: :meth:`Transformer.forward` of the new steps alone."""

    def __init__(self, transformer: Transformer):
        self.transformer = transformer
        self.layers = cast(Sequence[TransformerLayer], transformer.layers)
        self.kept: list[tuple[Tensor, Tensor]] = []  # keys and values of each layer, (1, h, S, d / h)
        self.known: Padded | None = None  # the steps (1, S, 0) that they belong to

    def __call__(self, target: Padded, source: Padded | None = None) -> Padded:
        """Map new target steps (1, n, d), and what is new of the source (1, m, d), to (1, n, d)."""
        new = source or target
        new = new._replace(values=new.values[..., :0])
        self.known = new if self.known is None else joined([self.known, new])
        mask = self.known.attention_mask(target.times)
        x, kept = target.values, []
        for i, layer in enumerate(self.layers):
            q, k, v = layer.attention.project(*layer.normed(x, None if source is None else source.values))
            if self.kept:
                k, v = (torch.cat(pair, dim=2) for pair in zip(self.kept[i], (k, v), strict=True))
            kept.append((k, v))
            x = x + layer.attention.mixed(q, k, v, mask)  # without dropout: TransformerLayer.forward
            x = x + layer.feed_forward(layer.feed_forward_norm(x))
        self.kept = kept
        return target._replace(values=self.transformer.norm(x))


class _Encoder:
    """A modality encoder that goes on where it stopped."""

    def __init__(self, encoder: ModalityEncoder):
        self.encoder, self.transformer, self.steps = encoder, _Continued(encoder.transformer), 0
        self.before = encoder.embedding.standardise.mean.new_zeros(1, 0, len(encoder.embedding.standardise.mean))

    def __call__(self, new: Padded) -> Padded:
        """Map new steps (1, n, D_m) to features (1, n, d)."""
        embedding = self.encoder.embedding
        values = torch.cat([self.before, embedding.standardise(new.values)], dim=1)
        projected = embedding.project(embedding.windows(Padded(values)))[:, self.before.shape[1] :]
        embedded = embedding.positions(projected, self.steps)
        self.steps += new.values.shape[1]
        self.before = values[:, max(0, values.shape[1] - embedding.before) :]  # what the next projection sees
        return self.transformer(new._replace(values=embedded))


class _Rebuilt:
    """Eq. (1) and (2) for one modality, going on where they stopped."""

    def __init__(self, transfer: Mapping[Modality, Transfer], combine: Combine):
        self.transfer = {source: (_Continued(part.transformer), part.out) for source, part in transfer.items()}
        self.combine, self.transformer = combine, _Continued(combine.transformer)

    def __call__(self, new: Mapping[Modality, Padded], nothing: Padded) -> Padded:
        """Map new features of the sources (1, n_m, d) to new steps of A', (1, sum of n_m, d)."""
        parts: dict[Modality, Padded] = {}
        for source, (transformer, out) in self.transfer.items():
            transferred = transformer(new.get(source, nothing))
            parts[source] = transferred._replace(values=out(transferred.values))
        return self.transformer(self.combine.marked(parts))


class _Pairs:
    """:class:`CrossModalFusion` of the new steps."""

    def __init__(self, fusion: CrossModalFusion):
        self.fusion = fusion
        self.cross_modal = {name: _Continued(cast(Transformer, part)) for name, part in fusion.cross_modal.items()}
        self.decoders = {name: _Continued(cast(Transformer, part)) for name, part in fusion.decoders.items()}
        self.sums: dict[Modality, Tensor] = {}  # (1, width) of the decoded steps, or the last of them
        self.counts = dict.fromkeys(fusion.targets, 0)

    def __call__(self, new: Mapping[Modality, Padded]) -> Tensor:
        pooled = []
        for target in self.fusion.targets:
            attended = [
                self.cross_modal[f"{source}_to_{target}"](new[target], new[source]).values
                for source in self.fusion.sources(target)
            ] or [new[target].values]
            decoded = self.decoders[target](new[target]._replace(values=torch.cat(attended, dim=-1)))
            pooled.append(self._pooled(target, decoded))
        return self.fusion.head(torch.cat(pooled, dim=-1))

    def _pooled(self, target: Modality, decoded: Padded) -> Tensor:
        """Pool all decoded steps so far, (1, width)."""
        steps = decoded.values.shape[1]
        before = self.sums.get(target, torch.zeros_like(decoded.values[:, :1].sum(1)))
        if self.fusion.pooling == "last":
            self.sums[target] = decoded.last() if steps else before
            return self.sums[target]
        self.sums[target] = before + decoded.values.sum(1)
        self.counts[target] += steps
        return self.sums[target] / max(self.counts[target], 1)


class _Latents:
    """:class:`BottleneckFusion` of the new steps: the latents read again, from keys and values that stay."""

    def __init__(self, fusion: BottleneckFusion):
        self.fusion = fusion
        self.read = {name: _Continued(cast(Transformer, part)) for name, part in fusion.read.items()}

    def __call__(self, new: Mapping[Modality, Padded]) -> Tensor:
        latents = {name: self.fusion.latents_of(name, new) for name in self.fusion.streams}
        return self.fusion.mixed([self.read[name](latents[name], new[name]).values for name in self.fusion.streams])
