"""Pickles of MMSA, ``aligned_50.pkl`` and ``unaligned_50.pkl``: MOSI and MOSEI.

``d[train|valid|test]`` holds ``text`` (BERT features), ``audio``, ``vision``, ``id`` (``video$_$clip``),
``regression_labels`` and, if unaligned, ``audio_lengths`` and ``vision_lengths``. In hundreds of clips the frames past
those lengths are not zero, so the lengths decide. They count from the side where they cover more frames that are not
zero. The length of a text is that of BERT's attention mask, channel 1 of ``text_bert`` (N, 3, T), if the file has it.
``raw_text`` does not list the tokens that ``text`` embeds.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ktnet_lite.data.readers import pickles
from ktnet_lite.data.readers.fields import FIELDS, Content, check_clips, ids_of, lengths_of, numbers, take_splits
from ktnet_lite.data.readers.padding import declared, occupied, pack_all
from ktnet_lite.data.schema import Header, Split
from ktnet_lite.errors import DataError
from ktnet_lite.names import SPLITS

KNOWN: dict[tuple[int, ...], str] = {(768, 20, 5): "mosi", (768, 35, 74): "mosei"}  # features of text, vision, audio


def read(path: Path | str) -> tuple[Header, Iterator[tuple[str, Split]]]:
    """Read header and splits of a file of MMSA, like :func:`ktnet_lite.data.readers.mult.read`."""
    content = take_splits(path, pickles.load(path), (*FIELDS, "id", "regression_labels"))
    shapes = [content["train"][field].shape for field in FIELDS]
    aligned = len({shape[1] for shape in shapes}) == 1
    name = KNOWN.get(tuple(shape[2] for shape in shapes), Path(path).stem)
    provenance = {"source": "MMSA's pickle", "file": Path(path).name, "licence": "of the data set's owners"}
    return Header(name, "sentiment", aligned, provenance), _splits(path, content, aligned)


def _splits(path: Path | str, content: Content, aligned: bool) -> Iterator[tuple[str, Split]]:
    for name in SPLITS:
        fields = content.pop(name)
        scores = numbers(path, name, "regression_labels", fields["regression_labels"], 1).astype(np.float32)
        check_clips(path, name, fields, len(scores))
        ids = ids_of(path, name, fields["id"], len(scores))
        arrays = {modality: fields.pop(field) for field, modality in FIELDS.items()}
        steps = {
            modality: _valid(path, name, field, fields, arrays[modality], aligned) for field, modality in FIELDS.items()
        }
        yield name, Split(pack_all(arrays, aligned, steps), scores, ids)


def _valid(
    path: Path | str, name: str, field: str, fields: dict[str, Any], array: np.ndarray, aligned: bool
) -> np.ndarray:
    """Mark the valid steps (N, T) of one modality: as the file declares, or else where not all features are zero."""
    steps = occupied(array)
    valid = _declared(path, name, field, fields, steps, aligned)
    if valid is None:
        return steps
    present = (steps & valid).any(axis=1, keepdims=True)
    if valid.any() and not present.any():
        warnings.warn(
            f"{path}, split {name}, field {field!r}: only zeros within the declared lengths; read as missing",
            stacklevel=2,
        )
    return valid & present


def _declared(
    path: Path | str, name: str, field: str, fields: dict[str, Any], steps: np.ndarray, aligned: bool
) -> np.ndarray | None:
    clips, total = steps.shape
    if field == "text":
        if "text_bert" not in fields:
            return None
        bert = numbers(path, name, "text_bert", fields["text_bert"], 3)
        if bert.shape != (clips, 3, total):
            expected = clips, 3, total
            raise DataError(f"{path}, split {name}, field 'text_bert': shape {bert.shape}, expected {expected}")
        return bert[:, 1] > 0
    key = f"{field}_lengths"
    if key not in fields:
        if aligned:
            return None
        raise DataError(f"{path}, split {name}: no field {key!r}, which separates frames from padding")
    return declared(steps, lengths_of(path, name, key, fields[key], steps.shape))[1]
