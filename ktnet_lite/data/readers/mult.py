"""Pickles of MulT: ``mosi``, ``mosei_senti`` and ``iemocap``, ``<data>_data.pkl`` (aligned) and ``..._noalign.pkl``.

``d[train|valid|test]`` holds ``text``, ``audio``, ``vision`` (N, T, D), ``labels`` and perhaps ``id``. The data set is
detected from the shapes, not the file name. Labels of IEMOCAP are one-hot, (N, 4, 2). Audio has -inf, which means 0
(:mod:`ktnet_lite.data.readers.repair`).
"""

from __future__ import annotations

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
    numbers,
    numeric,
    same_times,
    scores_of,
    shape_of,
    take_splits,
)
from ktnet_lite.data.readers.padding import pack_all
from ktnet_lite.data.schema import Header, Split
from ktnet_lite.errors import DataError
from ktnet_lite.names import EMOTIONS, SPLITS, Task

# Features of text, vision and audio, and steps of text
KNOWN: dict[tuple[int, ...], str] = {(300, 20, 5, 50): "mosi", (300, 35, 74, 50): "mosei", (300, 35, 74, 20): "iemocap"}


def read(path: Path | str) -> tuple[Header, Iterator[tuple[str, Split]]]:
    """Read header and splits of a file of MulT.

    A pickle can only be read whole; after that each array is released as soon as it is packed.

    Raises
    ------
    DataError
        A split or field is missing, or counts or shapes differ; the message names file, split, field and index.
    """
    content = take_splits(path, pickles.load(path), (*FIELDS, "labels"))
    shapes = [shape_of(content["train"][field]) for field in FIELDS]
    key = (*(shape[-1] for shape in shapes), shapes[0][0])
    aligned = same_times(content)
    labels = numeric(content["train"]["labels"])
    task: Task = "emotion" if labels is not None and labels.shape[1:] == (len(EMOTIONS), 2) else "sentiment"
    provenance = {"source": "MulT's pickle", "file": Path(path).name, "licence": "of the data set's owners"}
    header = Header(KNOWN.get(key, Path(path).stem), task, aligned, provenance)
    return header, _splits(path, content, header)


def _splits(path: Path | str, content: Content, header: Header) -> Iterator[tuple[str, Split]]:
    for name in SPLITS:
        fields = content.pop(name)
        targets = (_emotions if header.task == "emotion" else scores_of)(path, name, "labels", fields["labels"])
        check_clips(path, name, fields, len(targets))
        ids = clip_ids(path, name, fields.get("id"), len(targets))
        arrays = {modality: fields.pop(field) for field, modality in FIELDS.items()}
        yield name, Split(pack_all(arrays, header.aligned), targets, ids)


def _emotions(path: Path | str, name: str, field: str, value: Any) -> np.ndarray:
    labels = numbers(path, name, field, value, 3)
    if labels.shape[1:] != (len(EMOTIONS), 2):
        raise DataError(
            f"{path}, split {name}, field {field!r}: shape {labels.shape}, but (N, {len(EMOTIONS)}, 2) in train"
        )
    hot = np.isin(labels, (0, 1)).all(axis=(1, 2)) & (labels.sum(axis=2) == 1).all(axis=1)
    if not hot.all():
        i = int(np.argmin(hot))
        raise DataError(
            f"{path}, split {name}, field {field!r}: {labels[i].tolist()} at index {i} is not one-hot ({(~hot).sum()} "
            "in total); correct these labels"
        )
    return labels.argmax(axis=2).astype(np.int64)
