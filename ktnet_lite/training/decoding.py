"""The rebuilt voice in acoustic words: decoders to named descriptors, beside retrieval, R2 and use for the score."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

from ktnet_lite.data.batching import Batch, Batches, Padded, collate
from ktnet_lite.data.descriptors import descriptors
from ktnet_lite.data.schema import Dataset, Split, Stream
from ktnet_lite.errors import ConfigError, DataError
from ktnet_lite.model.any_modality import AnyKTNet
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.losses import Objective, Rebuilt, predictions, resample
from ktnet_lite.names import Modality
from ktnet_lite.training.checkpoint import Finite

STRENGTHS = (1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0)  # of the penalty on the weights, for each step
CLIPS = 2000  # training clips that decoders are fitted to, evenly spaced: the steps of all may not fit in memory


@dataclass(frozen=True)
class Decoded:
    """R2 of one descriptor over the steps of a split, decoded from various features."""

    r2: Finite  # from the reconstruction, by the decoder of the real features
    own: Finite  # from the reconstruction, by a decoder of its own
    ceiling: Finite  # from the real features
    placebo: Finite  # as r2, but the descriptor is that of another clip, about as long


@dataclass(frozen=True)
class Fidelity:
    """How faithful a reconstruction of the voice is, and how useful."""

    retrieval: Finite  # how often a clip's own voice is nearer to it than another's, about as long; chance is 0.5
    r2: Finite  # of the real features
    use: Finite  # how much the score's absolute error grows if the reconstruction is that of another clip
    decoding: dict[str, Decoded]  # by descriptor


class _Steps(NamedTuple):
    """The valid steps of a reconstruction of some clips, on the time line of its source."""

    rebuilt: np.ndarray  # (steps, d)
    real: np.ndarray  # (steps, d)
    described: np.ndarray  # (steps, K)
    clip: np.ndarray  # (steps,) positions in the split


def fidelity(objective: Objective, dataset: Dataset, split: str = "test", draws: int = 5) -> dict[str, Fidelity]:
    """Measure theta and phi, by source, and A' of Eq. (2), ``combined``, on the clips of a split that lack nothing.

    Decoders are ridge regressions from the real features f_A to the descriptors, step by step, on the time line of the
    source. They are fitted to the training set; the validation set chooses their strength, and after that they are
    frozen. Nothing ties A' to f_A: its own decoder shows what it knows, the frozen one whether it says it as f_A does.

    Parameters
    ----------
    objective : Objective
        Of a trained "ours" with its audio target, or of "any".
    draws : int
        How often each clip meets another one: retrieval, placebo and use are means over them.

    Raises
    ------
    ConfigError
        The model does not reconstruct audio.
    DataError
        The audio features have no names, or a split has fewer than two clips with all modalities.
    """
    names = descriptors(dataset.header)
    train, valid, test = (_complete(objective, dataset, name) for name in ("train", "valid", split))
    train = train.select(np.unique(np.linspace(0, len(train) - 1, CLIPS).astype(int)))
    columns = list(names.values())
    fit, check, own = (_steps(objective, part, columns) for part in (train, valid, test))
    others, uses = [], []
    for seed in range(draws):
        other = as_long(test, seed)
        heard: dict[Modality, Stream] = {**test.streams, "audio": test.streams["audio"].select(other)}
        others.append(_steps(objective, dataclasses.replace(test, streams=heard), columns))
        uses.append(_use(objective, test, other))
    found = {}
    for name, real in own.items():
        controls = [each[name] for each in others]
        frozen = decoder(fit[name].real, fit[name].described, check[name].real, check[name].described)
        refitted = decoder(fit[name].rebuilt, fit[name].described, check[name].rebuilt, check[name].described)
        placebo = np.mean([_r2(each.described, frozen(each.rebuilt)) for each in controls], axis=0)
        decoded = (
            _r2(real.described, read) for read in (frozen(real.rebuilt), refitted(real.rebuilt), frozen(real.real))
        )
        found[name] = Fidelity(
            retrieval=float(np.mean([_distances(real) < _distances(each) for each in controls])),
            r2=float(r2_score(real.real, real.rebuilt, multioutput="variance_weighted")),
            use=float(np.mean([use[name] for use in uses])),
            decoding={word: Decoded(*map(float, r2)) for word, *r2 in zip(names, *decoded, placebo, strict=True)},
        )
    return found


def decoder(
    x: np.ndarray, y: np.ndarray, valid_x: np.ndarray, valid_y: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Fit ridge regressions from features (n, d) to descriptors (n, K); validation chooses the strength of each."""
    scaler = StandardScaler().fit(x)
    z, valid_z = scaler.transform(x), scaler.transform(valid_x)
    fitted = [Ridge(strength * len(z)).fit(z, y) for strength in STRENGTHS]
    guesses = [model.predict(valid_z).reshape(valid_y.shape) for model in fitted]  # of one descriptor, it is (n,)
    best = np.argmin([np.square(guess - valid_y).mean(0) for guess in guesses], axis=0)  # (K,)

    def decode(features: np.ndarray) -> np.ndarray:
        decoded = [fitted[i].predict(scaler.transform(features)).reshape(len(features), -1) for i in best]
        return np.stack([each[:, k] for k, each in enumerate(decoded)], axis=1)

    return decode


def as_long(split: Split, seed: int = 0) -> np.ndarray:
    """Find another clip for each, (N,), whose audio is about as long."""
    chance = np.random.default_rng(seed).random(len(split))
    order = np.lexsort((chance, split.streams["audio"].lengths))
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)
    return other


@torch.no_grad()
def _steps(objective: Objective, split: Split, columns: Sequence[int]) -> dict[str, _Steps]:
    """Return reconstructions, real features and descriptors, some columns of X_A, of clips that lack nothing."""
    objective.eval()
    parts: dict[str, list[tuple[torch.Tensor, ...]]] = {}
    for batch in Batches(split, 64, objective.modalities, next(objective.parameters()).device):
        described = batch.streams["audio"]._replace(values=batch.streams["audio"].values[..., columns])
        for name, each in _rebuilt(objective, batch).items():
            for rebuilt in each:
                predicted, real, clip = rebuilt.steps()
                there = rebuilt._replace(real=described).steps()[1]
                numbers = (x.double() for x in (predicted[:, : real.shape[1]], real, there))
                parts.setdefault(name, []).append((*numbers, batch.indices[clip]))
    joined = {name: [torch.cat(part).numpy() for part in zip(*each, strict=True)] for name, each in parts.items()}
    return {name: _Steps(*each) for name, each in joined.items()}


def _complete(objective: Objective, dataset: Dataset, name: str) -> Split:
    """Take the clips of a split that have every modality that the model is trained on."""
    model, split = objective.model, dataset[name]
    if not (model.reconstructs or (isinstance(model, AnyKTNet) and model.missing != "token")):
        raise ConfigError("this model reconstructs no voice; train one with variant = 'ours' or 'any'")
    needed = {modality: split.streams.get(modality) for modality in objective.modalities}
    has = [np.zeros(len(split), bool) if stream is None else stream.lengths > 0 for stream in needed.values()]
    clips = np.flatnonzero(np.all(has, axis=0))
    if "audio" not in needed or len(clips) < 2:
        raise DataError(
            f"split {name} of {dataset.header.name!r} has {len(clips)} clips with all of {', '.join(needed)}"
        )
    return split.select(clips)


def _combine(model: KTNet | AnyKTNet, reconstructed: Mapping[Modality, Padded]) -> Padded:
    """Return A' of Eq. (2), as the fusion reads it."""
    return model.combine(reconstructed) if isinstance(model, KTNet) else model.combined("audio", reconstructed)


def _rebuilt(objective: Objective, batch: Batch) -> dict[str, list[Rebuilt]]:
    """Return the reconstructions of the voice by source, and A' in as many parts as it has time lines."""
    model, target = cast("KTNet | AnyKTNet", objective.model), objective.audio_target
    audio = {
        name: rebuilt for name, rebuilt in objective.rebuilt(batch).items() if "_to_" not in name or "_to_audio" in name
    }
    found = {name.removesuffix("_to_audio"): [rebuilt] for name, rebuilt in audio.items()}
    reconstructed = model.reconstruct(batch.streams)[1]
    combined, start, parts = _combine(model, reconstructed), 0, []
    for source, padded in reconstructed.items():
        line = slice(start, start + padded.values.shape[1])
        values = combined.values[:, line]
        if values.shape[1]:  # else all sources share a time line
            values = F.pad(values, (0, padded.values.shape[-1] - values.shape[-1]))  # a gaussian's place for its doubt
            part = Padded(values, combined.full_mask()[:, line])
            (own,) = found[source]
            parts.append(own._replace(reconstructed=target.read(source, part) if target else part))
        start = line.stop
    return {**found, "combined": parts}


@torch.no_grad()
def _use(objective: Objective, split: Split, other: np.ndarray) -> dict[str, float]:
    """Compute how much the absolute error of the scores grows if reconstructions are those of other clips, (N,)."""
    model, grows = cast("KTNet | AnyKTNet", objective.model), {}
    device, sources = next(model.parameters()).device, [name for name in model.observed if name != "audio"]
    for batch in Batches(split, 64, sources, device):
        features, own = model.reconstruct(batch.streams)
        others = model.reconstruct(collate(split, other[batch.indices.numpy()], sources).to(device).streams)[1]
        theirs: dict[Modality, Padded] = {}
        for name, padded in others.items():
            line = own[name].lengths, own[name].values.shape[1]
            theirs[name] = own[name]._replace(values=resample(padded.values, padded.lengths, *line))

        before = _error(model, features, own, batch)
        for name, parts in {**{name: {**own, name: theirs[name]} for name in own}, "combined": theirs}.items():
            grows[name] = grows.get(name, 0.0) + (_error(model, features, parts, batch) - before) / split.targets.size
    return grows


def _error(
    model: KTNet | AnyKTNet, features: Mapping[Modality, Padded], rebuilt: Mapping[Modality, Padded], batch: Batch
) -> float:
    """Sum the absolute errors of a batch's scores from words, face and what they say of the voice."""
    logits = model.fusion({**features, "audio": _combine(model, rebuilt)})
    return (predictions(logits, model.loss) - batch.targets).abs().sum().item()


def _r2(real: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    return np.asarray(r2_score(real, decoded, multioutput="raw_values"))


def _distances(pair: _Steps) -> np.ndarray:
    """Return the mean squared difference of reconstruction and real features of each clip, (N,)."""
    squared = np.square(pair.rebuilt - pair.real).mean(1)
    return np.bincount(pair.clip, squared) / np.bincount(pair.clip)
