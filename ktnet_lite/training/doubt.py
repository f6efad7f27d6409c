"""What a trained model does not know: the intervals of its scores, and the doubt of its reconstructions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple, cast

import numpy as np
import torch

from ktnet_lite.data.batching import Batches
from ktnet_lite.data.schema import Split
from ktnet_lite.data.synthetic import Synthetic, redraw
from ktnet_lite.errors import ConfigError
from ktnet_lite.measures import calibration
from ktnet_lite.model.losses import Objective
from ktnet_lite.model.network import Network
from ktnet_lite.model.transfer import mean_and_log_variance
from ktnet_lite.names import Modality, Precision
from ktnet_lite.training.build import recordings
from ktnet_lite.training.evaluation import evaluate_subsets, predict


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
                raise ConfigError("these reconstructions say no doubt; train with transfer = 'gaussian'")
            mean, log_variance = mean_and_log_variance(predicted)
            parts.setdefault(name, []).append((mean, log_variance.exp(), target, batch.indices[clip]))
    return {name: Doubted(*(torch.cat(p).numpy() for p in zip(*each, strict=True))) for name, each in parts.items()}


def irreducible(objective: Objective, made: Synthetic, split: str, draws: int = 40) -> dict[str, np.ndarray]:
    """Compute how far the audio features f_A vary where one source is known: no reconstruction can have less variance.

    The voice of every clip is drawn again, :func:`ktnet_lite.data.synthetic.redraw`, and encoded; the variance is that
    over the draws. Returns an array (steps, d) for each reconstruction of audio, in the order of
    :func:`reconstructions`.
    """
    known = made.dataset[split]
    found = {}
    for name in reconstructions(objective, known):
        source, _, target = name.partition("_to_")
        if target in ("", "audio"):
            targets = []
            for seed in range(draws):
                voice = redraw(made, split, [cast("Modality", source)], seed)
                heard = dataclasses.replace(known, streams={**known.streams, "audio": voice})
                targets.append(reconstructions(objective, heard)[name].target)
            found[name] = np.var(targets, axis=0, ddof=1)
    return found


def calibrated(objective: Objective, split: Split, truth: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
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
        known = {"error": np.square(target - mean)} | ({"true": truth[name]} if name in truth else {})
        found[name] = {
            "crps": float(calibration.crps(mean, deviation, target).mean()),
            "crps_constant": float(calibration.crps(*constant, target).mean()),
            "coverage_80": calibration.coverage(mean, deviation, target, 0.8),
        }
        for what, variance in known.items():
            agreement = calibration.agreement(doubted.variance, variance)._asdict()
            found[name] |= {f"{what}_{part}": value for part, value in agreement.items()}
    return found
