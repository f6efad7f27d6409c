"""Checks of the parts of a split, each with a message that names the field, the index and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ktnet_lite.errors import DataError
from ktnet_lite.names import EMOTIONS, SENTIMENT_RANGE, Task

if TYPE_CHECKING:
    from ktnet_lite.data.schema import Stream

DROP = "leave such clips out with `ktnet-lite data convert --drop-bad-clips`"
FEW = 0.05  # a larger share of labels out of range shows another scale, not mistakes


def check_targets(targets: np.ndarray, clips: int, where: str, task: Task) -> None:
    """Raise :class:`DataError` unless targets are scores (N,) in range, or zeros and ones (N, 4) of emotions."""
    shape = (clips,) if task == "sentiment" else (clips, len(EMOTIONS))
    if targets.shape != shape:
        raise DataError(f"{where}, targets: shape {targets.shape}, expected {shape} for {clips} ids and task {task}")
    if targets.dtype.kind not in "fiu":
        raise DataError(f"{where}, targets: dtype {targets.dtype} is not numeric")
    if not (finite := np.isfinite(targets)).all():
        i = int(np.argmin(finite.reshape(clips, -1).all(axis=1)))
        raise DataError(f"{where}, targets: {targets[i]} at index {i} ({(~finite).sum()} in total); {DROP}")
    if (wrong := outside(targets, task)).any():
        i = int(np.argmax(wrong.reshape(clips, -1).any(axis=1)))
        allowed = "[{:g}, {:g}]".format(*SENTIMENT_RANGE) if task == "sentiment" else "{0, 1}"
        raise DataError(
            f"{where}, targets: {targets[i]} at index {i} is outside {allowed} ({wrong.sum()} of {wrong.size}); "
            + (f"correct it, or {DROP}" if wrong.mean() < FEW else "these labels have another scale or are classes")
        )


def outside(targets: np.ndarray, task: Task) -> np.ndarray:
    """Mark invalid targets: NaN, a score out of range, an emotion label that is neither 0 nor 1."""
    low, high = SENTIMENT_RANGE
    return ~((targets >= low) & (targets <= high) if task == "sentiment" else np.isin(targets, (0, 1)))


def check_stream(stream: Stream, clips: int, where: str) -> None:
    """Raise :class:`DataError` unless a stream holds float32 (steps, D) without NaN, divided among all clips."""
    if len(stream) != clips:
        raise DataError(f"{where}: {len(stream)} clips, but {clips} ids; give each clip one id")
    if stream.values.ndim != 2 or stream.values.dtype != np.float32:
        raise DataError(
            f"{where}: values are {stream.values.dtype} of shape {stream.values.shape}; expected float32 (steps, D)"
        )
    if stream.lengths.ndim != 1 or stream.lengths.dtype != np.int64:
        raise DataError(
            f"{where}: lengths are {stream.lengths.dtype} of shape {stream.lengths.shape}; expected int64 (clips,)"
        )
    if (wrong := (stream.lengths < 0) | (stream.lengths > len(stream.values))).any():
        i = int(np.argmax(wrong))
        problem = "negative" if stream.lengths[i] < 0 else f"more than all {len(stream.values)} steps"
        raise DataError(f"{where}, lengths: {stream.lengths[i]} at index {i} is {problem}")
    if stream.lengths.sum() != len(stream.values):
        raise DataError(f"{where}: lengths add up to {stream.lengths.sum()}, but values has {len(stream.values)} steps")
    if not (finite := np.isfinite(stream.values).all(axis=1)).all():
        row = int(np.argmin(finite))
        i = int(np.searchsorted(np.cumsum(stream.lengths), row, side="right"))
        raise DataError(
            f"{where}, clip {i}, step {row - stream.offsets[i]}: NaN or inf ({(~finite).sum()} steps in total); "
            "convert the file with `ktnet-lite data convert --replace-nonfinite`, which sets them to 0 and counts them"
        )


def check_words(words: Sequence[Sequence[str]], language: Stream | None, clips: int, where: str) -> None:
    """Raise :class:`DataError` unless each language step has one word."""
    if language is None or len(words) != clips:
        raise DataError(f"{where}, words: {len(words)} lists of words for {clips} clips of language")
    for i, (clip, steps) in enumerate(zip(words, language.lengths, strict=True)):
        if len(clip) != steps:
            raise DataError(f"{where}, words of clip {i}: {len(clip)} words, but {steps} language steps")
        for word in clip:
            check_text(word, f"{where}, words of clip {i}")


def check_text(text: str, where: str) -> None:
    """Raise :class:`DataError` unless a value is a text that UTF-8 can hold."""
    if not isinstance(text, str):
        raise DataError(f"{where}: {text!r} is a {type(text).__name__}, expected a text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: {text!r} has the character {text[error.start]!r}, which no file can hold; correct it"
        ) from None
