"""Predictions of a model in every condition of a test, and those of other people's code from a file."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ktnet_lite.data.batching import Batches, Padded, pad
from ktnet_lite.data.fits import check_fits
from ktnet_lite.data.schema import Split, Stream
from ktnet_lite.errors import ConfigError, DataError
from ktnet_lite.model import losses
from ktnet_lite.model.any_modality import AnyKTNet
from ktnet_lite.model.network import Network
from ktnet_lite.names import EMOTIONS, Fill, Modality
from ktnet_lite.robustness.conditions import Kept
from ktnet_lite.training.evaluation import fill_in

Scores = dict[str, np.ndarray]  # by condition: (N,), or (N, 4) probabilities of the emotions


def fills_of(model: Network) -> tuple[Fill, ...]:
    """Return the ways in which a model can do without a modality; the harness tests each, and chooses none."""
    if model.any_subset:
        return ("inferred",)
    return ("zero", "mean", *(fill for fill in model.fills if fill == "inferred"))


@torch.no_grad()
def predict(model: Network, split: Split, kept: Kept, fill: Fill, batch_size: int = 64) -> np.ndarray:
    """Predict every clip from what is kept of it, (N,) scores or (N, 4) probabilities.

    What is not kept is not read. A model that can miss any modality never attends to missing steps. For other models
    they are filled in, and so is a modality of which nothing is left.

    Parameters
    ----------
    kept : dict of bool array (rows,)
        From :meth:`ktnet_lite.robustness.conditions.Masks.kept`.
    fill : {"zero", "mean", "inferred"}
        One of :func:`fills_of`. "inferred" for other models than "any": missing audio is inferred by the model, and
        everything else is filled in by its mean.

    Raises
    ------
    ConfigError
        The model cannot do that.
    DataError
        The split does not fit the model.
    """
    if fill not in fills_of(model):
        raise ConfigError(f"this model cannot do without a modality by {fill!r}: {', '.join(fills_of(model))}")
    check_fits(model, split)
    model.eval()
    predicted = np.empty((len(split), len(EMOTIONS)) if model.loss == "emotion" else len(split))
    for part in _parts(model, split, kept, fill):
        predicted[part] = _predict(model, split, kept, part, fill, batch_size)
    return predicted


def _parts(model: Network, split: Split, kept: Kept, fill: Fill) -> list[np.ndarray]:
    """Part the clips into those with and those without audio, where a model infers it for whole batches."""
    if fill != "inferred" or model.any_subset:
        return [np.arange(len(split))]
    silent = _counts(split.streams["audio"], kept["audio"]) == 0
    return [part for part in (np.flatnonzero(silent), np.flatnonzero(~silent)) if len(part)]


def _predict(model: Network, split: Split, kept: Kept, clips: np.ndarray, fill: Fill, batch_size: int) -> np.ndarray:
    names = [name for name in model.observed if name in split.streams]
    masked = {name: _masked(split.streams[name], kept[name], clips) for name in names}
    streams = {name: stream for name, (stream, _) in masked.items()}
    batches = Batches(Split(streams, split.targets[clips], tuple(split.ids[i] for i in clips)), batch_size, names)
    had = {name: torch.from_numpy(split.streams[name].lengths[clips] > 0) for name in names}
    observes_silence = isinstance(model, AnyKTNet) and model.silence == "observed"
    scores = []
    order = []
    device = next(model.parameters()).device
    for batch in batches:
        index = batch.indices.numpy()
        given: dict[Modality, Padded] = {}
        lacking: dict[Modality, Tensor] = {}
        for name in names:
            valid = pad(masked[name][1], index).values[..., 0] > 0  # (B, T): kept
            padded, present = batch.streams[name], batch.present[name]
            if model.any_subset:
                silent = ~had[name][batch.indices] & observes_silence & bool(kept[name].any())
                given[name] = Padded(padded.values, torch.where(silent[:, None], padded.full_mask(), valid))
                continue
            lacking[name] = ~present & had[name][batch.indices]
            step = torch.zeros(padded.values.shape[-1]) if fill == "zero" else model.inputs[name].mean.cpu()
            hidden = padded.full_mask() & ~valid & present[:, None]
            given[name] = Padded(torch.where(hidden[..., None], step, padded.values), padded.mask)
        given = {name: padded.map(lambda tensor: tensor.to(device)) for name, padded in given.items()}
        if not model.any_subset:
            if fill == "inferred" and lacking["audio"].all():
                del given["audio"], lacking["audio"]
            given = fill_in(model, given, {name: rows.to(device) for name, rows in lacking.items()}, fill)
        scores.append(losses.predictions(model(given).logits, model.loss).cpu().numpy())
        order.append(index)
    return np.concatenate(scores)[np.argsort(np.concatenate(order))]


def _counts(stream: Stream, kept: np.ndarray) -> np.ndarray:
    """Count the steps of each clip that are kept, (N,)."""
    return np.bincount(np.repeat(np.arange(len(stream)), stream.lengths), kept, len(stream))


def _masked(stream: Stream, kept: np.ndarray, clips: np.ndarray) -> tuple[Stream, Stream]:
    """Take clips without the streams of which nothing is kept, with zeros at other missing steps; and what is kept."""
    lengths = np.where(_counts(stream, kept) > 0, stream.lengths, 0)[clips]
    rows = stream.rows(clips[lengths > 0])
    values = np.where(kept[rows, None], stream.values[rows], np.float32(0))
    return Stream(values, lengths), Stream(kept[rows, None].astype(np.float32), lengths)


def evaluate(model: Network, split: Split, masks: Mapping[str, Kept], fill: Fill) -> Scores:
    """Predict a split in every condition; parameters and errors are those of :func:`predict`."""
    return {condition: predict(model, split, kept, fill) for condition, kept in masks.items()}


def read_predictions(path: Path, split: Split, masks: Mapping[str, Kept]) -> Scores:
    """Read predictions of other people's code: a CSV file with the columns id, condition and score.

    Raises
    ------
    DataError
        The file is damaged, a prediction is missing, twice there or no number; the message names clip and condition.
    """
    places = {clip: i for i, clip in enumerate(split.ids)}
    scores = {condition: np.full(len(split), np.nan) for condition in masks}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                clip, condition, score = (row[name] for name in ("id", "condition", "score"))
                where = f"{path}, clip {clip!r}, condition {condition!r}"
                if clip not in places or condition not in masks:
                    raise DataError(f"{where}: there is no such {'clip' if clip not in places else 'condition'}")
                if not np.isnan(scores[condition][places[clip]]):
                    raise DataError(f"{where}: predicted twice")
                scores[condition][places[clip]] = value = float(score)
                if not np.isfinite(value):
                    raise DataError(f"{where}: the score {score} is not a finite number")
    except KeyError as error:
        raise DataError(f"{path} has no column {error}; it needs id, condition and score") from error
    except (OSError, UnicodeDecodeError, ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as predictions: {error}") from error
    for condition in masks:
        missing = np.isnan(scores[condition])
        if missing.any():
            clip = split.ids[int(missing.argmax())]
            raise DataError(
                f"{path}: no prediction for clip {clip!r} in condition {condition!r} ({missing.sum()} missing there)"
            )
    return scores
