"""The field's metrics by their exact published definitions, as fractions, not percent.

Acc7, Acc5, Acc2, F1, MAE and Corr follow MulT (Tsai et al. 2019), whose code produced the published tables. Each
function states where it differs, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, f1_score

from ktnet_lite.errors import KTNetError
from ktnet_lite.names import EMOTIONS, SENTIMENT_RANGE, Task


class Metric(NamedTuple):
    """A metric's label and direction."""

    label: str
    higher_is_better: bool

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1."""
        return 1 if self.higher_is_better else -1

    @property
    def direction(self) -> str:
        """The direction in words: "higher is better" or "lower is better"."""
        return "higher is better" if self.higher_is_better else "lower is better"

    @property
    def arrow(self) -> str:
        """The direction as a sign, ↑ or ↓."""
        return "↑" if self.higher_is_better else "↓"

    @property
    def best(self) -> Callable[[Iterable[float]], float]:
        """The function that chooses the best of several values, ``max`` or ``min``."""
        return max if self.higher_is_better else min

    def gain(self, difference: float) -> float:
        """Return the difference with the sign that makes an improvement positive."""
        return self.sign * difference


METRICS: dict[str, Metric] = {
    "acc7": Metric("Acc7", True),
    "acc7_argmax": Metric("Acc7 (arg max)", True),
    "acc5": Metric("Acc5", True),
    "acc2_nonzero": Metric("Acc2 (non-zero)", True),
    "f1_nonzero": Metric("F1 (non-zero)", True),
    "acc2_has_zero": Metric("Acc2 (has-zero)", True),
    "f1_has_zero": Metric("F1 (has-zero)", True),
    "acc2_median": Metric("Acc2 (median)", True),
    "f1_nonzero_mult": Metric("F1 (non-zero, MulT-compatible)", True),
    "f1_has_zero_mult": Metric("F1 (has-zero, MulT-compatible)", True),
    "mae": Metric("MAE", False),
    "corr": Metric("Corr", True),
    **{f"accuracy_{emotion}": Metric(f"Acc {emotion}", True) for emotion in EMOTIONS},
    **{f"f1_{emotion}": Metric(f"F1 {emotion}", True) for emotion in EMOTIONS},
    "accuracy_mean": Metric("Acc (mean)", True),
    "f1_mean": Metric("F1 (mean)", True),
}
_EMOTION = {name for name in METRICS if name.endswith((*EMOTIONS, "_mean"))}
OF_TASK: dict[Task, set[str]] = {  # acc7_argmax and acc2_median come beside them, where they can
    "sentiment": METRICS.keys() - _EMOTION - {"acc7_argmax", "acc2_median"},
    "emotion": _EMOTION,
}

SAME = 1e-6  # scores that differ by less are equal up to rounding, so their correlation is noise


class Metrics(NamedTuple):
    """Metric values by name; an undefined value is None, with the reason in ``undefined``."""

    values: dict[str, float | None]
    undefined: dict[str, str]


def sentiment_metrics(scores: np.ndarray, targets: np.ndarray, classes: np.ndarray | None = None) -> Metrics:
    """Compute the metrics of MOSI and MOSEI.

    - ``acc7``, ``acc5``: agreement after clipping to [-3, 3] or [-2, 2] and rounding halves to even, as NumPy does.
    - ``acc2_nonzero``, ``f1_nonzero``: positive (score > 0) against negative, without the clips of target 0.
    - ``acc2_has_zero``, ``f1_has_zero``: non-negative (score >= 0) against negative.
    - F1 is weighted by the true classes. MulT and MISA swap prediction and truth, which weights by the predicted
      classes. Published numbers may be of that kind, so ``f1_..._mult`` reports it too.

    Parameters
    ----------
    scores, targets : arrays of shape (N,)
    classes : int array of shape (N,), optional
        Arg max of the seven classes as -3 to 3, for ``acc7_argmax``.

    Raises
    ------
    KTNetError
        A number is not finite, the shapes differ, or a class is not one of -3 to 3; the message names the index.
    """
    scores, targets = _checked(scores, targets, clip_shape=())
    values: dict[str, float | None] = {}
    undefined: dict[str, str] = {}
    for bound, name in ((3, "acc7"), (2, "acc5")):
        values[name] = accuracy_score(*(np.clip(x, -bound, bound).round().astype(int) for x in (targets, scores)))
    if classes is not None:
        classes, _ = _checked(classes, targets, clip_shape=(), allowed=range(-3, 4))
        values["acc7_argmax"] = accuracy_score(np.clip(targets, -3, 3).round().astype(int), classes.astype(int))
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
    constant = [name for name, x in (("prediction", scores), ("target", targets)) if np.ptp(x) < SAME]
    if constant:
        values["corr"] = None
        undefined["corr"] = f"every {' and '.join(constant)} is the same"
    else:
        values["corr"] = float(pearsonr(scores, targets).statistic)
    return Metrics({name: value if value is None else float(value) for name, value in values.items()}, undefined)


def measured(predicted: np.ndarray, targets: np.ndarray, classes: np.ndarray | None = None) -> Metrics:
    """Compute the metrics of scores, (N,), or of the probability of each emotion, (N, 4)."""
    if targets.ndim == 2:
        return emotion_metrics(predicted > 0.5, targets)
    return sentiment_metrics(predicted, targets, classes)


def acc2_median(scores: np.ndarray, targets: np.ndarray, median: float) -> float | None:
    """Compute Acc2 at the median of the training labels: above it against below, without the clips that lie on it.

    Where most labels have one sign, the conventions of MOSI make any model look good; here a constant is right in about
    half of the clips. Arrays of shape (N,); None if no clip lies on one of the sides.
    """
    scores, targets = _checked(scores, targets, clip_shape=())
    counts = targets != median
    above = targets[counts] > median
    return None if len(np.unique(above)) < 2 else float(accuracy_score(above, scores[counts] > median))


def emotion_metrics(predicted: np.ndarray, targets: np.ndarray) -> Metrics:
    """Compute the metrics of IEMOCAP: binary accuracy and weighted F1 per emotion, in order, and their means.

    Parameters
    ----------
    predicted, targets : arrays of zeros and ones, shape (N, 4)

    Raises
    ------
    KTNetError
        A value is not 0 or 1 (such as a probability or logit), or a shape is wrong; the message names the index.
    """
    predicted, targets = _checked(predicted, targets, clip_shape=(len(EMOTIONS),), allowed=(0, 1))
    _checked(targets, targets, clip_shape=(len(EMOTIONS),), allowed=(0, 1))
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
        emotions = (values[f"{name}_{emotion}"] for emotion in EMOTIONS)
        defined = [value for value in emotions if value is not None]
        values[f"{name}_mean"] = float(np.mean(defined)) if defined else None
        if not defined:
            undefined[f"{name}_mean"] = "no emotion has both labels"
    return Metrics(values, undefined)


def constant_baselines(train: np.ndarray, test: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Compute the metrics of constant predictions on the test targets, which every table should show first.

    - ``training median`` (sentiment): the constant with the least training MAE.
    - ``majority sign``, ``majority label``: the majority in the training set, as a score of 1 or -1, or for each
      emotion. The test set may have another majority: on MOSI most training clips are positive, most test clips not.
    - ``best constant``: for each metric, the best value of any constant on these test targets. A model that does not
      beat it has shown nothing.

    Parameters
    ----------
    train, test : arrays of shape (N,), or (N, 4) of zeros and ones
        Labels of the training and test set, whose numbers of clips N may differ.
    """
    if train.ndim == 2:
        labels = {"majority label": train, "best constant": test}
        guesses = {name: np.tile(known.mean(axis=0) > 0.5, (len(test), 1)) for name, known in labels.items()}
        return {name: emotion_metrics(guess, test).values for name, guess in guesses.items()}

    def constant(score: float | np.floating) -> dict[str, float | None]:
        return sentiment_metrics(np.full(len(test), score), test).values

    low, high = SENTIMENT_RANGE
    rows = [constant(score) for score in (*np.arange(low, high + 1), np.median(test))]
    return {
        "training median": constant(np.median(train)),
        "majority sign": constant(1.0 if (train > 0).sum() > (train < 0).sum() else -1.0),
        "best constant": {name: _best(name, [row[name] for row in rows]) for name in rows[0]},
    }


def _best(name: str, values: list[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return METRICS[name].best(defined) if defined else None


def _weighted_f1(truth: Any, predicted: Any) -> float:
    return float(f1_score(truth, predicted, average="weighted", zero_division=0))


def _checked(
    predicted: Any, targets: Any, clip_shape: tuple[int, ...], allowed: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return both as finite float arrays of shape (N, *clip_shape), N > 0; predictions must be allowed values."""
    predicted, targets = np.asarray(predicted, dtype=float), np.asarray(targets, dtype=float)
    if predicted.shape != targets.shape or targets.shape[1:] != clip_shape or targets.size == 0:
        expected = f"({', '.join(('N', *map(str, clip_shape)))}{'' if clip_shape else ','})"
        raise KTNetError(
            f"predictions of shape {predicted.shape} do not match targets of shape {targets.shape}; "
            f"both must be {expected}"
        )
    for name, array, remedy in (
        ("prediction", predicted, "the model diverged or its input is damaged"),
        ("target", targets, "drop clips without a label"),
    ):
        if not (finite := np.isfinite(array)).all():
            raise KTNetError(f"the {name} at index {_first(~finite)} is not a number; {remedy}")
    if allowed is not None and (wrong := ~np.isin(predicted, allowed)).any():
        index = _first(wrong)
        raise KTNetError(
            f"{predicted[tuple(index)]:g} at index {index} is not a class; classes are {', '.join(map(str, allowed))}"
        )
    return predicted, targets


def _first(mask: np.ndarray) -> list[int]:
    return np.argwhere(mask)[0].tolist()
