"""MMSA's pickles, ``aligned_50.pkl`` and ``unaligned_50.pkl``: MOSI and MOSEI.

``d[train|valid|test]`` holds ``text`` (BERT features), ``audio``, ``vision``, ``id`` (``video$_$clip``),
``regression_labels`` and, when unaligned, ``audio_lengths`` and ``vision_lengths``. Frames past those lengths are not
zero in hundreds of clips: the lengths are to be trusted. ``raw_text`` is no list of the tokens that ``text`` embeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ktnet_lite.data.readers import pickles
from ktnet_lite.data.readers.mult import FIELDS, check_splits, clean, numbers
from ktnet_lite.data.readers.padding import extent, occupied, pack, pack_all, side
from ktnet_lite.data.schema import SPLITS, Header, Modality, Split, Stream
from ktnet_lite.errors import DataError


def read(path: Path | str, replace_nonfinite: bool = False) -> tuple[Header, Iterator[tuple[str, Split]]]:
    """Header and splits of one of MMSA's files; parameters and errors as of MulT's reader."""
    content = pickles.load(path)
    check_splits(path, content, (*FIELDS, "regression_labels"))
    shapes = [np.shape(content["train"][field]) for field in FIELDS]
    aligned = len({shape[1] for shape in shapes if len(shape) == 3}) == 1
    name = "mosei" if len(content["train"]["regression_labels"]) > 10_000 else "mosi"
    provenance = {"source": "MMSA's pickle", "file": Path(path).name, "licence": "of the data set's owners"}
    return Header(name, "sentiment", aligned, provenance), _splits(path, content, aligned, replace_nonfinite)


def _splits(path: Path | str, content: dict, aligned: bool, replace: bool) -> Iterator[tuple[str, Split]]:
    for name in SPLITS:
        fields = content.pop(name)
        scores = numbers(path, name, "regression_labels", fields["regression_labels"], 1).astype(np.float32)
        arrays: dict[Modality, np.ndarray] = {}
        for field, modality in FIELDS.items():
            array = numbers(path, name, field, fields.pop(field), 3)
            if len(array) != len(scores):
                raise DataError(f"{path}, split {name}, field {field!r}: {len(array)} clips, but {len(scores)} labels")
            arrays[modality] = clean(f"{path}, split {name}, field {field!r}", array, modality == "audio", replace)
        ids = tuple(map(str, fields.get("id", [f"{name}_{i}" for i in range(len(scores))])))
        streams = pack_all(arrays, aligned) if aligned else _by_length(path, name, fields, arrays)
        yield name, Split(streams, scores, ids)


def _by_length(
    path: Path | str, name: str, fields: dict[str, Any], arrays: dict[Modality, np.ndarray]
) -> dict[Modality, Stream]:
    streams = {}
    for modality in list(arrays):
        array = arrays.pop(modality)
        if modality == "language":
            steps = _text_mask(fields, array)
            where = side(steps)
            streams[modality] = pack(array, extent(steps, where), where)
            continue
        field = f"{modality}_lengths"
        if field not in fields:
            raise DataError(f"{path}, split {name}: no field {field!r}, so nothing tells frames from padding")
        lengths = np.asarray(fields[field], dtype=np.int64)
        wrong = (lengths < 0) | (lengths > array.shape[1])
        if lengths.shape != (len(array),) or wrong.any():
            where = f"{lengths[wrong][0]} at index {int(np.argmax(wrong))}" if wrong.any() else f"shape {lengths.shape}"
            raise DataError(
                f"{path}, split {name}, field {field!r}: {where}; expected {len(array)} of 0 to {array.shape[1]}"
            )
        streams[modality] = pack(array, lengths, "back")
    return streams


def _text_mask(fields: dict[str, Any], text: np.ndarray) -> np.ndarray:
    """Valid tokens (N, T): BERT's attention mask, channel 1 of ``text_bert`` (N, 3, T), where it is there."""
    bert = fields.get("text_bert")
    if bert is not None and np.ndim(bert) == 3 and np.shape(bert)[1:] == (3, text.shape[1]):
        return np.asarray(bert)[:, 1] > 0
    return occupied(text)
