"""The field's metrics, by their exact published definitions. Fractions, not percent."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, f1_score

from ktnet_lite.data.schema import EMOTIONS
from ktnet_lite.errors import KTNetError


class Metric(NamedTuple):
    """How a metric is shown, and which way is better."""

    label: str
    higher_is_better: bool


METRICS: dict[str, Metric] = {
    "acc7": Metric("Acc7", True),
    "acc7_argmax": Metric("Acc7 (arg max)", True),
    "acc5": Metric("Acc5", True),
    "acc2_nonzero": Metric("Acc2 (non-zero)", True),
    "f1_nonzero": Metric("F1 (non-zero)", True),
    "acc2_has_zero": Metric("Acc2 (has-zero)", True),
    "f1_has_zero": Metric("F1 (has-zero)", True),
    "f1_nonzero_mult": Metric("F1 (non-zero, MulT-compatible)", True),
    "f1_has_zero_mult": Metric("F1 (has-zero, MulT-compatible)", True),
    "mae": Metric("MAE", False),
    "corr": Metric("Corr", True),
    **{f"accuracy_{emotion}": Metric(f"Acc {emotion}", True) for emotion in EMOTIONS},
    **{f"f1_{emotion}": Metric(f"F1 {emotion}", True) for emotion in EMOTIONS},
    "accuracy_mean": Metric("Acc (mean)", True),
    "f1_mean": Metric("F1 (mean)", True),
}


class Metrics(NamedTuple):
    """Values by name; an undefined one is None, with its reason in ``undefined``."""

    values: dict[str, float | None]
    undefined: dict[str, str]


def sentiment_metrics(scores: np.ndarray, targets: np.ndarray, classes: np.ndarray | None = None) -> Metrics:
    """Metrics of MOSI and MOSEI.

    - ``acc7``, ``acc5``: agreement after clipping to [-3, 3] or [-2, 2] and rounding halves to even, as NumPy does.
    - ``acc2_nonzero``, ``f1_nonzero``: positive against negative, clips with target 0 left out (score > 0).
    - ``acc2_has_zero``, ``f1_has_zero``: non-negative against negative (score >= 0).
    - F1 is weighted by the true classes. MulT and MISA hand prediction and truth over in the wrong order, which
      weights by the predicted ones; the published numbers may be of that kind, so ``..._mult`` stands beside it.

    Parameters
    ----------
    scores, targets : arrays of shape (N,)
    classes : int array of shape (N,), optional
        Arg max of the seven classes as -3 to 3, for ``acc7_argmax``.

    Raises
    ------
    KTNetError
        A score is not finite.
    """
    scores, targets = _checked(scores, targets)
    values: dict[str, float | None] = {}
    undefined: dict[str, str] = {}
    for bound, name in ((3, "acc7"), (2, "acc5")):
        values[name] = accuracy_score(*(np.clip(x, -bound, bound).round().astype(int) for x in (targets, scores)))
    if classes is not None:
        values["acc7_argmax"] = accuracy_score(np.clip(targets, -3, 3).round().astype(int), classes)
    nonzero = targets != 0
    for name, truth, predicted in (
        ("nonzero", targets[nonzero] > 0, scores[nonzero] > 0),
        ("has_zero", targets >= 0, scores >= 0),
    ):
        names = f"acc2_{name}", f"f1_{name}", f"f1_{name}_mult"
        if len(np.unique(truth)) < 2:
            reason = "every target is of one class" if len(truth) else "every target is zero"
            values |= dict.fromkeys(names)
            undefined |= dict.fromkeys(names, reason)
            continue
        values[names[0]] = accuracy_score(truth, predicted)
        values[names[1]] = _weighted_f1(truth, predicted)
        values[names[2]] = _weighted_f1(predicted, truth)
    values["mae"] = float(np.abs(scores - targets).mean())
    constant = [name for name, x in (("prediction", scores), ("target", targets)) if np.ptp(x) == 0]
    if constant:
        values["corr"] = None
        undefined["corr"] = f"every {' and '.join(constant)} is the same"
    else:
        values["corr"] = float(pearsonr(scores, targets).statistic)
    return Metrics({name: value if value is None else float(value) for name, value in values.items()}, undefined)


def emotion_metrics(predicted: np.ndarray, targets: np.ndarray) -> Metrics:
    """IEMOCAP: binary accuracy and weighted F1 of each emotion, in the order of ``EMOTIONS``, and their means.

    Parameters
    ----------
    predicted, targets : arrays of zeros and ones, shape (N, 4)
    """
    predicted, targets = _checked(predicted, targets)
    values: dict[str, float | None] = {}
    undefined: dict[str, str] = {}
    for i, emotion in enumerate(EMOTIONS):
        truth, guess = targets[:, i].astype(int), predicted[:, i].astype(int)
        for name, function in (("accuracy", accuracy_score), ("f1", _weighted_f1)):
            if len(np.unique(truth)) < 2:
                values[f"{name}_{emotion}"] = None
                undefined[f"{name}_{emotion}"] = "every clip has the same label"
            else:
                values[f"{name}_{emotion}"] = float(function(truth, guess))
    for name in ("accuracy", "f1"):
        known = [values[f"{name}_{emotion}"] for emotion in EMOTIONS if values[f"{name}_{emotion}"] is not None]
        values[f"{name}_mean"] = float(np.mean(known)) if known else None
        if not known:
            undefined[f"{name}_mean"] = "no emotion has both labels"
    return Metrics(values, undefined)


def constant_baselines(train: np.ndarray, test: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Metrics on the test targets of predicting one constant: what every table should print first.

    Sentiment: the training median, and the training majority sign (as a score of 1 or -1). Emotion: the majority
    label of each.
    """
    if train.ndim == 2:
        majority = np.tile((train.mean(axis=0) > 0.5).astype(int), (len(test), 1))
        return {"majority label": emotion_metrics(majority, test).values}
    sign = 1.0 if (train > 0).sum() > (train < 0).sum() else -1.0
    return {
        "training median": sentiment_metrics(np.full(len(test), np.median(train)), test).values,
        "majority sign": sentiment_metrics(np.full(len(test), sign), test).values,
    }


def _weighted_f1(truth: Any, predicted: Any) -> float:
    return f1_score(truth, predicted, average="weighted", zero_division=0)


def _checked(predicted: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    predicted, targets = np.asarray(predicted, dtype=float), np.asarray(targets, dtype=float)
    if predicted.shape != targets.shape or len(targets) == 0:
        raise KTNetError(f"predictions of shape {predicted.shape} cannot be measured against targets {targets.shape}")
    if not (finite := np.isfinite(predicted)).all():
        index = np.argwhere(~finite)[0].tolist()
        raise KTNetError(f"the prediction at index {index} is not a number; the model diverged or its input is damaged")
    return predicted, targets
