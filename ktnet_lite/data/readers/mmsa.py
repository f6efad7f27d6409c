"""Pickles of MMSA, such as ``aligned_50.pkl`` and ``unaligned_50.pkl``: MOSI, MOSEI, SIMS and SIMS v2.

``d[train|valid|test]`` holds ``text`` (BERT features), ``audio``, ``vision``, ``id`` (``video$_$clip``),
``regression_labels`` and, if unaligned, ``audio_lengths`` and ``vision_lengths``. In hundreds of clips the frames past
those lengths are not zero, so the lengths decide. They count from the side where they cover more frames that are not
zero. The length of a text is that of BERT's attention mask, channel 1 of ``text_bert`` (N, 3, T), if the file has it.
``raw_text`` does not list the tokens that ``text`` embeds. SIMS has three more labels a clip, one for each modality
alone (``regression_labels_T``, ``_V``, ``_A``). Its scores are from -1 to 1, and are stretched to [-3, 3].
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ktnet_lite.data.readers import pickles
from ktnet_lite.data.readers.fields import (
    FIELDS,
    Content,
    check_clips,
    clip_ids,
    lengths_of,
    numbers,
    same_times,
    scores_of,
    shape_of,
    take_splits,
)
from ktnet_lite.data.readers.padding import declared, occupied, pack_all
from ktnet_lite.data.readers.scales import stretched
from ktnet_lite.data.schema import Header, Split
from ktnet_lite.errors import DataError
from ktnet_lite.names import SPLITS, Modality

LABELS = "regression_labels"
OWN_LABELS: dict[Modality, str] = {  # of SIMS: what the raters heard or saw alone
    "language": f"{LABELS}_T",
    "vision": f"{LABELS}_V",
    "audio": f"{LABELS}_A",
}
KNOWN: dict[tuple[int, ...], str] = {(768, 20, 5): "mosi", (768, 35, 74): "mosei"}  # features of text, vision, audio


def read(path: Path | str) -> tuple[Header, Iterator[tuple[str, Split]]]:
    """Read header and splits of a file of MMSA, like :func:`ktnet_lite.data.readers.mult.read`."""
    content = take_splits(path, pickles.load(path), (*FIELDS, LABELS))
    aligned = same_times(content)
    dims = tuple(shape_of(content["train"][field])[-1] for field in FIELDS)
    name = "sims" if OWN_LABELS["language"] in content["train"] else KNOWN.get(dims, Path(path).stem)
    provenance = {"source": "MMSA's pickle", "file": Path(path).name, "licence": "of the data set's owners"}
    if name == "sims":
        provenance["scores"] = "labels from -1 to 1, stretched to [-3, 3]"
    return Header(name, "sentiment", aligned, provenance), _splits(path, content, aligned)


def _splits(path: Path | str, content: Content, aligned: bool) -> Iterator[tuple[str, Split]]:
    for name in SPLITS:
        fields = content.pop(name)
        scores = scores_of(path, name, LABELS, fields[LABELS])
        check_clips(path, name, fields, len(scores))
        ids = clip_ids(path, name, fields.get("id"), len(scores))
        own = {m: scores_of(path, name, field, fields[field]) for m, field in OWN_LABELS.items() if field in fields}
        if own:
            scores, own = stretched(scores, -1, 1), {m: stretched(targets, -1, 1) for m, targets in own.items()}
        arrays = {modality: fields.pop(field) for field, modality in FIELDS.items()}
        steps = {
            modality: _valid(path, name, field, fields, arrays[modality], aligned)
            for field, modality in FIELDS.items()
            if isinstance(arrays[modality], np.ndarray)
        }
        yield name, Split(pack_all(arrays, aligned, steps), scores, ids, own_targets=own)


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
