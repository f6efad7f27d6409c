"""Forward passes without branches that depend on the data, as an exported graph needs them.

Shapes: ``B`` clips, ``T_m`` steps and ``D_m`` features of modality m, ``d`` the model's width.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from ktnet_lite.data.batching import Padded, first, joined
from ktnet_lite.model.any_modality import AnyKTNet
from ktnet_lite.model.layers import Positions, sinusoidal_positions
from ktnet_lite.model.losses import predictions
from ktnet_lite.model.network import Network
from ktnet_lite.names import Modality


class AnyPositions(nn.Module):
    """:class:`ktnet_lite.model.layers.Positions` computed for each length, in place of a table that grows."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + sinusoidal_positions(*x.shape[1:])


def exportable(module: nn.Module) -> nn.Module:
    """Copy a module to the CPU, ready to predict, with positions for streams of any length."""
    module = copy.deepcopy(module).cpu().eval().requires_grad_(False)
    for part in list(module.modules()):
        for name, child in part.named_children():
            if isinstance(child, Positions):
                setattr(part, name, AnyPositions(child.scale))
    return module


class Predictor(nn.Module):
    """A system that maps plain tensors to predictions.

    ``forward(language, language_mask, ...)`` takes a stream (B, T_m, D_m) and a mask (B, T_m), True at valid steps, for
    each modality in ``observed``. It returns scores (B,), or the probability of each emotion (B, 4). Values at other
    steps are not read. A clip without a valid step lacks the modality: "any" rebuilds it; for other systems it is one
    step of zeros, as in :func:`ktnet_lite.data.batching.pad`.
    """

    def __init__(self, model: Network):
        super().__init__()
        self.model = cast(Network, exportable(model))

    def forward(self, *tensors: Tensor) -> Tensor:
        pairs = zip(self.model.observed, tensors[::2], tensors[1::2], strict=True)
        streams = {name: Padded(values.where(mask.unsqueeze(-1), 0.0), mask) for name, values, mask in pairs}
        if isinstance(self.model, AnyKTNet):
            logits = self.model.fusion(completed(self.model, streams))
        else:
            if not self.model.causal:  # there, a stream without a step is empty
                streams = {name: padded.attendable() for name, padded in streams.items()}
            logits = self.model(streams).logits
        return predictions(logits, self.model.loss)


def trimmed(padded: Padded, clips: Tensor | None = None) -> Padded:
    """Drop the steps that no clip has, or none of the marked clips (B,): (B, T, d) -> (B, T', d).

    The other clips then have no valid step. The first step stays, so that there always is one.
    """
    mask = padded.full_mask() if clips is None else padded.full_mask() & clips[:, None]
    steps = (mask.any(0) | first(mask)).nonzero().squeeze(1)  # (T',)
    if torch.compiler.is_compiling():  # else the graph would hold for T' = 1 alone, or for all but that
        torch._check(steps.shape[0] > 1)
        torch._check(steps.shape[0] < 2**31)
    return padded._replace(mask=mask).map(lambda part: part.index_select(1, steps))


def completed(model: AnyKTNet, streams: Mapping[Modality, Padded]) -> dict[Modality, Padded]:
    """Return a stream (B, T', d) of every modality: in each clip the real one, its reconstruction or a token.

    This is ``AnyKTNet.complete`` without branches. Each pair is computed for every clip, but only on the steps that
    some clip of the batch needs; a clip alone costs no more than there.
    """
    features = {
        name: model.encoders[name](padded.attendable())._replace(mask=padded.mask) for name, padded in streams.items()
    }
    present = {name: padded.full_mask().any(1) for name, padded in streams.items()}  # (B,) each
    rebuilt = torch.stack(list(present.values())).any(0) & (model.missing != "token")  # (B,): rebuild what is missing
    whole = {}
    for name, here in present.items():
        parts = [features[name], model.token(name, here.shape[0])._replace(mask=(~rebuilt & ~here)[:, None])]
        if model.missing != "token":
            sources = {source: trimmed(features[source], rebuilt & ~here) for source in features if source != name}
            parts.append(combined(model, name, sources, rebuilt & ~here))
        whole[name] = trimmed(joined(parts))
    return whole


def combined(model: AnyKTNet, name: Modality, sources: Mapping[Modality, Padded], clips: Tensor) -> Padded:
    """Rebuild a modality in the clips (B,) that lack it, Eq. (1) and (2), from sources (B, T_m, d): (B, T', d)."""
    parts = {
        source: model.transfer[f"{source}_to_{name}"](padded.attendable())._replace(mask=padded.mask)
        for source, padded in sources.items()
    }
    one, padded = next(iter(parts.items()))
    mask = padded.full_mask()
    parts[one] = padded._replace(mask=mask | (first(mask) & ~clips[:, None]))  # a key for the other clips
    return trimmed(model.combined(name, parts), clips)
