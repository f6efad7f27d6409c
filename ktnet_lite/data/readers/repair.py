"""Repairs of the splits that readers yield: invalid values set to 0, bad clips left out, with counts and a warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ktnet_lite.data.schema import Header, Split, blocks
from ktnet_lite.errors import DataError
from ktnet_lite.names import Modality

Splits = Iterator[tuple[str, Split]]
Repair = Callable[[str, Split], tuple[Split, dict[str, int]]]  # returns the repaired split, and counts by place


def zero_nonfinite(path: Path | str, header: Header, splits: Splits, everything: bool) -> Splits:
    """Set -inf in audio, or all NaN and inf if ``everything``, to 0 in place.

    After the last split the counts are added to the provenance of the header and given in a warning.
    """

    def repair(name: str, split: Split) -> tuple[Split, dict[str, int]]:
        modalities = [modality for modality in split.streams if everything or modality == "audio"]
        return split, {f"{name} {modality}": _zero(split, modality, everything) for modality in modalities}

    return _repaired(path, header, splits, repair, f"{'NaN or inf' if everything else '-inf'} read as 0")


def without_bad_clips(path: Path | str, header: Header, splits: Splits) -> Splits:
    """Leave out the clips that are :meth:`Split.bad`, counted as in :func:`zero_nonfinite`."""

    def repair(name: str, split: Split) -> tuple[Split, dict[str, int]]:
        bad = split.bad(header.task)
        if bad.all():
            raise DataError(f"{path}, split {name}: there would be no clip left; run `ktnet-lite data check` on it")
        return split.select(np.flatnonzero(~bad)) if bad.any() else split, {name: int(bad.sum())}

    return _repaired(path, header, splits, repair, "clips left out")


def _repaired(path: Path | str, header: Header, splits: Splits, repair: Repair, what: str) -> Splits:
    counts: dict[str, int] = {}
    for name, split in splits:
        split, repairs = repair(name, split)
        counts |= repairs
        yield name, split
        del split  # frees memory for the next
    if listed := ", ".join(f"{count} in {where}" for where, count in counts.items() if count):
        header.provenance[what] = listed
        warnings.warn(f"{path}: {what}: {listed}", stacklevel=2)


def _zero(split: Split, modality: Modality, everything: bool) -> int:
    values, count = split.streams[modality].values, 0
    for block in blocks(len(values)):
        bad = ~np.isfinite(values[block]) if everything else np.isneginf(values[block])
        count += int(bad.sum())
        values[block][bad] = 0
    return count
