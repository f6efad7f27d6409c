"""NaN and inf in what readers give: set to 0 where that is what they stand for or what is asked for, and counted."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ktnet_lite.data.schema import Header, Modality, Split, blocks


def zeroed(
    path: Path | str, header: Header, splits: Iterator[tuple[str, Split]], everything: bool
) -> tuple[Header, Iterator[tuple[str, Split]]]:
    """The same splits with -inf in audio, or every number that is not finite, set to 0 in place.

    How many there were stands in the new header's provenance once the last split has been taken, and in a warning.
    """
    header = replace(header, provenance=dict(header.provenance))
    return header, _zeroed(path, header.provenance, splits, everything)


def _zeroed(
    path: Path | str, provenance: dict[str, str], splits: Iterator[tuple[str, Split]], everything: bool
) -> Iterator[tuple[str, Split]]:
    counts: dict[str, int] = {}
    for name, split in splits:
        counts |= {f"{name} {modality}": _zero(split, modality, everything) for modality in split.streams}
        yield name, split
        del split  # the next one may be as large
    if any(counts.values()):
        what = "NaN or inf" if everything else "-inf"
        listed = ", ".join(f"{count} in {where}" for where, count in counts.items() if count)
        provenance[f"{what} read as 0"] = listed
        warnings.warn(f"{path}: numbers that were {what} are read as 0: {listed}", stacklevel=2)


def _zero(split: Split, modality: Modality, everything: bool) -> int:
    if not (everything or modality == "audio"):
        return 0
    values, count = split.streams[modality].values, 0
    for block in blocks(len(values)):
        bad = ~np.isfinite(values[block]) if everything else np.isneginf(values[block])
        count += int(bad.sum())
        values[block][bad] = 0
    return count
