"""What a trained model does not know: the intervals of its scores, and the doubt of its reconstructions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple, cast

import numpy as np
import torch

from ktnet_lite.data.batching import Batches, Padded
from ktnet_lite.data.schema import Split
from ktnet_lite.data.synthetic import Synthetic, redraw
from ktnet_lite.errors import ConfigError, DataError
from ktnet_lite.measures import calibration
from ktnet_lite.model import losses
from ktnet_lite.model.any_modality import AnyKTNet
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.losses import Objective
from ktnet_lite.model.network import Network
from ktnet_lite.model.transfer import mean_and_log_variance
from ktnet_lite.names import Modality, Precision
from ktnet_lite.training.build import recordings
from ktnet_lite.training.evaluation import evaluate_subsets, predict

NO_DOUBT = "these reconstructions say no doubt; train with transfer = 'gaussian'"


def validated_half_widths(
    model: Network, valid: Split, batch_size: int = 24, precision: Precision = "float32"
) -> dict[str, list[float]]:
    """Compute the :func:`ktnet_lite.measures.calibration.half_widths` of the intervals of a model's scores.

    There is one list for each subset of the modalities that the model takes, such as ``language_vision``, and none for
    emotions. Clips of one recording count together, unless all clips are of one.

    The epoch was chosen on the same clips. With hundreds of them and tens of epochs, this narrows the intervals little.
    """
    if model.loss == "emotion":
        return {}
    options = batch_size, precision
    if model.any_subset:
        found = evaluate_subsets(model, valid, "inferred", *options)
        scores = {"_".join(subset): x.predictions for subset, x in found.items()}
    else:
        scores = {"_".join(model.observed): predict(model, valid, None, *options)}
    groups = recordings(valid)
    groups = groups if groups.max() > 0 else np.arange(len(valid))
    return {
        subset: calibration.half_widths(np.abs(predicted - valid.targets), groups)
        for subset, predicted in scores.items()
    }


class Doubted(NamedTuple):
    """The valid steps of reconstructions that say their doubt, and what really was there."""

    mean: np.ndarray  # (steps, d)
    variance: np.ndarray  # (steps, d)
    target: np.ndarray  # (steps, d)
    clip: np.ndarray  # (steps,) positions in the split


@torch.no_grad()
def reconstructions(objective: Objective, split: Split) -> dict[str, Doubted]:
    """Return the "gaussian" reconstructions of a split, by source ("ours") or by pair ("any").

    Raises
    ------
    ConfigError
        The model does not say its doubt.
    """
    objective.eval()
    parts: dict[str, list[tuple[torch.Tensor, ...]]] = {}
    for batch in Batches(split, 64, objective.modalities, next(objective.parameters()).device):
        for name, rebuilt in objective.rebuilt(batch).items():
            predicted, target, clip = rebuilt.steps()
            if predicted.shape[1] != 2 * target.shape[1]:
                raise ConfigError(NO_DOUBT)
            mean, log_variance = mean_and_log_variance(predicted)
            parts.setdefault(name, []).append((mean, log_variance.exp(), target, batch.indices[clip]))
    return {name: Doubted(*(torch.cat(p).numpy() for p in zip(*each, strict=True))) for name, each in parts.items()}


class Variances(NamedTuple):
    """The variance that reconstructions state, and the one that there is: true, or squared errors; both (steps, d)."""

    stated: np.ndarray
    found: np.ndarray


def irreducible(
    objective: Objective, made: Synthetic, split: str, clips: int = 200, draws: int = 40
) -> dict[str, Variances]:
    """Compute how far the audio features f_A vary where one source is known: no reconstruction can have less variance.

    The voices of the split's first clips are drawn again, :func:`ktnet_lite.data.synthetic.redraw`, and encoded; the
    variance is that over the draws. The keys are the reconstructions of audio, as in :func:`reconstructions`.
    """
    clips = min(clips, len(made.causes[split]))
    known = made.dataset[split].select(np.arange(clips))
    made = made._replace(causes={split: made.causes[split][:clips]})
    found = {}
    for name, doubted in reconstructions(objective, known).items():
        source, _, target = name.partition("_to_")
        if target in ("", "audio"):
            targets = []
            for seed in range(draws):
                voice = redraw(made, split, [cast("Modality", source)], seed)
                heard = dataclasses.replace(known, streams={**known.streams, "audio": voice})
                targets.append(reconstructions(objective, heard)[name].target)
            found[name] = Variances(doubted.variance, np.var(targets, axis=0, ddof=1))
    return found


def calibrated(objective: Objective, split: Split, truth: Mapping[str, Variances]) -> dict[str, dict[str, float]]:
    """Measure the doubt of each reconstruction of a split.

    ``crps`` and ``crps_constant``, the score of the real features' own mean and spread; ``coverage_80`` of the central
    80% intervals; ``error_*``, how far the variance explains squared errors; and ``true_*``, how far it explains the
    variance that is irreducible, where that is known: slope, correlation and ratio of
    :class:`ktnet_lite.measures.calibration.Agreement`.
    """
    found = {}
    for name, doubted in reconstructions(objective, split).items():
        mean, target, deviation = doubted.mean, doubted.target, np.sqrt(doubted.variance)
        constant = target.mean(0), np.maximum(target.std(0), 1e-6)
        known = {"error": Variances(doubted.variance, np.square(target - mean))}
        known |= {"true": truth[name]} if name in truth else {}
        found[name] = {
            "crps": float(calibration.crps(mean, deviation, target).mean()),
            "crps_constant": float(calibration.crps(*constant, target).mean()),
            "coverage_80": calibration.coverage(mean, deviation, target, 0.8),
        }
        for what, pair in known.items():
            agreement = calibration.agreement(*pair)._asdict()
            found[name] |= {f"{what}_{part}": value for part, value in agreement.items()}
    return found


@torch.no_grad()
def imagined(
    model: KTNet | AnyKTNet, split: Split, full: KTNet | None = None, draws: int = 30, seed: int = 0
) -> np.ndarray:
    """Predict each clip as if its voice were heard, once for each of several voices that it may have: (draws, N).

    The spread over the draws is what hearing would change: the price of not hearing. A voice is drawn from what words
    and face say of f_A, each weighted by its precision, one over its variance. All steps of a clip deviate together, as
    a whole voice does; steps that deviate on their own would cancel out in the score.

    Parameters
    ----------
    model : KTNet or AnyKTNet
        "ours" or "any", with ``transfer="gaussian"``.
    split : Split
        Clips with words and face, as far as the model knows them; their audio is not read.
    full : KTNet, optional
        Who would hear: the teacher of "ours". The model "any" hears itself.

    Raises
    ------
    ConfigError
        The model does not say its doubt.
    DataError
        A clip lacks words or face.
    """
    generator = torch.Generator().manual_seed(seed)
    hears, sources = full or model, [name for name in model.observed if name != "audio"]
    for name in sources:
        if not (split.streams[name].lengths > 0).all():
            raise DataError(f"clip {split.ids[split.streams[name].lengths.argmin()]!r} has no {name}; leave it out")
    scores = np.empty((draws, len(split)))
    for batch in Batches(split, 64, sources):
        features = {name: hears.encoders[name](batch.streams[name]) for name in sources}
        line = features[sources[0]]
        mean, deviation = _joint(model.reconstruct(batch.streams)[1], line)
        for draw in range(draws):
            noise = torch.randn(len(mean), 1, mean.shape[-1], generator=generator)
            logits = hears.fusion({**features, "audio": line._replace(values=mean + deviation * noise)})
            scores[draw, batch.indices.numpy()] = losses.predictions(logits, hears.loss).numpy()
    return scores


def _joint(rebuilt: Mapping[Modality, Padded], line: Padded) -> tuple[torch.Tensor, torch.Tensor]:
    """Join what the sources say of f_A by precision: mean and deviation (B, T, d) on a time line."""
    steps, dim = line.values.shape[1:]
    precision, weighted = 0.0, 0.0
    for padded in rebuilt.values():
        if padded.values.shape[-1] != 2 * dim:
            raise ConfigError(NO_DOUBT)
        mean, log_variance = mean_and_log_variance(losses.resample(padded.values, padded.lengths, line.lengths, steps))
        precision, weighted = precision + (-log_variance).exp(), weighted + (-log_variance).exp() * mean
    precision = torch.as_tensor(precision)
    return weighted / precision, precision.rsqrt()
