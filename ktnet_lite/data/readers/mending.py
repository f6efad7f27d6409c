"""What is not sound in the splits that readers give, set to 0 or left out: counted, noted and warned of."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ktnet_lite.data.schema import Header, Split, blocks
from ktnet_lite.errors import DataError
from ktnet_lite.names import Modality

Splits = Iterator[tuple[str, Split]]
Mend = Callable[[str, Split], tuple[Split, dict[str, int]]]  # to the mended split, and how much was mended where


def zeroed(path: Path | str, header: Header, splits: Splits, everything: bool) -> Splits:
    """The same splits with -inf in audio, or every number that is not finite, set to 0 in place.

    How many there were is added to the header's provenance once the last split has been taken, and said in a warning.
    """

    def mend(name: str, split: Split) -> tuple[Split, dict[str, int]]:
        mended = [modality for modality in split.streams if everything or modality == "audio"]
        return split, {f"{name} {modality}": _zero(split, modality, everything) for modality in mended}

    return _mended(path, header, splits, mend, f"{'NaN or inf' if everything else '-inf'} read as 0")


def without_bad_clips(path: Path | str, header: Header, splits: Splits) -> Splits:
    """The same splits without the clips that are :meth:`Split.bad`, counted as in :func:`zeroed`."""

    def mend(name: str, split: Split) -> tuple[Split, dict[str, int]]:
        bad = split.bad(header.task)
        if bad.all():
            raise DataError(f"{path}, split {name}: there would be no clip left; see `ktnet-lite data check`")
        return split.select(np.flatnonzero(~bad)) if bad.any() else split, {name: int(bad.sum())}

    return _mended(path, header, splits, mend, "clips left out")


def _mended(path: Path | str, header: Header, splits: Splits, mend: Mend, what: str) -> Splits:
    counts: dict[str, int] = {}
    for name, split in splits:
        split, found = mend(name, split)
        counts |= found
        yield name, split
        del split  # the next one may be as large
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
