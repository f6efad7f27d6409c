"""The scale of labels: scores in [-3, 3] are taken, other scales are stretched if known, and asked about if not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ktnet_lite.data.checks import FEW
from ktnet_lite.data.schema import Header, Split
from ktnet_lite.errors import DataError
from ktnet_lite.names import SENTIMENT_RANGE

Range = tuple[float, float]
FEWEST = 10  # labels from which a scale can be recognised


def stretched(scores: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map scores from [low, high] to [-3, 3], float32 (N,); an invalid label stays out of range."""
    bottom, top = SENTIMENT_RANGE
    return ((scores - low) / (high - low) * (top - bottom) + bottom).astype(np.float32)


def question(scores: np.ndarray) -> str | None:
    """Say what labels (N,) look like if they are not plainly scores in [-3, 3], and what to answer; else None."""
    scores = scores[np.isfinite(scores)]
    values = np.unique(scores)
    if len(scores) < FEWEST or len(values) == 1:
        return None
    (bottom, top), low, high = SENTIMENT_RANGE, float(values[0]), float(values[-1])
    whole = (values == np.round(values)).all() and high - low == len(values) - 1 > 0
    if whole and low == 1 and high > 2:
        return f"the labels are the whole numbers from 1 to {high:g}, like stars; if so, give --score-range 1 {high:g}"
    if whole and low >= 0:
        return (
            f"the labels are the whole numbers from {low:g} to {high:g}, like numbers of classes, and a class is no "
            f"score. Store scores instead; or, if these are scores, say their range: --score-range {bottom:g} {top:g} "
            "takes them as they are"
        )
    if low >= -1 and high <= 1:
        return (
            f"no label is outside [-1, 1], where [{bottom:g}, {top:g}] is usual. To stretch them give --score-range -1 "
            f"1; if they are right as they are, --score-range {bottom:g} {top:g}"
        )
    if np.mean((scores < bottom) | (scores > top)) > FEW:
        return (
            f"the labels go from {low:g} to {high:g}, and scores in [{bottom:g}, {top:g}] are needed. Say which range "
            "they have, and they are stretched, as with --score-range 0 10; classes have to be replaced by scores"
        )
    return None


def rescaled(
    path: Path | str, header: Header, splits: Iterator[tuple[str, Split]], known: Range | None
) -> Iterator[tuple[str, Split]]:
    """Stretch the labels from a known range, or ask about the range if that of the first split is not plain.

    Raises
    ------
    DataError
        The labels may have another scale, or be classes, and ``known`` is None; the message says how to answer.
    """
    if header.task != "sentiment":
        yield from splits
        return
    stretch = None if known == SENTIMENT_RANGE else known
    if stretch:
        header.provenance["scores"] = f"labels from {stretch[0]:g} to {stretch[1]:g}, stretched to [-3, 3]"
    first = True
    for name, split in splits:
        if stretch:
            own = {modality: stretched(targets, *stretch) for modality, targets in split.own_targets.items()}
            split = replace(split, targets=stretched(split.targets, *stretch), own_targets=own)
        elif first and not known and (text := question(split.targets)):
            raise DataError(f"{path}, split {name}, labels: {text} (of `ktnet-lite data convert`)")
        first = False
        yield name, split
        del split  # frees memory for the next
