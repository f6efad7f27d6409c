"""MulT's pickles: ``mosi``, ``mosei_senti`` and ``iemocap``, ``<data>_data.pkl`` (aligned) and ``..._noalign.pkl``.

``d[train|valid|test]`` holds ``text``, ``audio``, ``vision`` (N, T, D), ``labels`` and perhaps ``id``. Which set it is
shows in its shapes, not its name. Audio holds -inf, which stands for 0. IEMOCAP's labels are one-hot, (N, 4, 2).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ktnet_lite.data.readers import pickles
from ktnet_lite.data.readers.padding import CHUNK, pack_all
from ktnet_lite.data.schema import EMOTIONS, SPLITS, Header, Modality, Split
from ktnet_lite.errors import DataError

FIELDS: dict[str, Modality] = {"text": "language", "vision": "vision", "audio": "audio"}
# Features of text, vision, audio, and the length of a clip of text
KNOWN = {(300, 20, 5, 50): "mosi", (300, 35, 74, 50): "mosei", (300, 35, 74, 20): "iemocap"}


def read(path: Path | str, replace_nonfinite: bool = False) -> tuple[Header, Iterator[tuple[str, Split]]]:
    """Header and splits of one of MulT's files.

    The pickle is read whole, as it must be; from then on each array is let go as soon as it is packed.

    Parameters
    ----------
    replace_nonfinite : bool
        Set NaN and inf in features to 0, instead of refusing them. -inf in audio is always read as 0.

    Raises
    ------
    DataError
        A split or field is missing, counts or shapes do not match; names file, split, field and index.
    """
    content = pickles.load(path)
    check_splits(path, content, (*FIELDS, "labels"))
    shapes = {field: np.shape(content["train"][field]) for field in FIELDS}
    for name in SPLITS:
        _check_shapes(path, name, content[name], shapes)
    key = (*(shapes[field][2] for field in FIELDS), shapes["text"][1])
    aligned = len({shape[1] for shape in shapes.values()}) == 1
    task = "emotion" if np.shape(content["train"]["labels"])[1:] == (len(EMOTIONS), 2) else "sentiment"
    provenance = {"source": "MulT's pickle", "file": Path(path).name, "licence": "of the data set's owners"}
    header = Header(KNOWN.get(key, Path(path).stem), task, aligned, provenance)
    return header, _splits(path, content, header, replace_nonfinite)


def check_splits(path: Path | str, content: Any, fields: tuple[str, ...]) -> None:
    """Raise :class:`DataError` unless ``content`` is ``{split: {field: ...}}`` with every split and field."""
    if not isinstance(content, dict):
        raise DataError(f"{path}: a {type(content).__name__}, expected a dict of train, valid and test")
    for name in SPLITS:
        if name not in content:
            raise DataError(f"{path}: no split {name!r}; it has {', '.join(map(str, content))}")
        if not isinstance(content[name], dict):
            raise DataError(f"{path}, split {name}: a {type(content[name]).__name__}, expected a dict of fields")
        for field in fields:
            if field not in content[name]:
                raise DataError(
                    f"{path}, split {name}: no field {field!r}; it has {', '.join(map(str, content[name]))}"
                )


def numbers(path: Path | str, name: str, field: str, value: Any, dimensions: int) -> np.ndarray:
    """A field as an array of numbers with that many dimensions, or a :class:`DataError`."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiub" or array.ndim != dimensions:
        raise DataError(
            f"{path}, split {name}, field {field!r}: {array.dtype} of shape {array.shape}; expected numbers in "
            f"{dimensions} dimensions"
        )
    return array


def clean(where: str, array: np.ndarray, minus_inf_is_zero: bool, replace: bool) -> np.ndarray:
    """Features with -inf (in audio) or every non-finite number (on demand) set to 0; a warning counts them."""
    if array.dtype.kind != "f" or not (minus_inf_is_zero or replace):
        return array
    if not array.flags.writeable:
        array = array.copy()
    count = 0
    for start in range(0, len(array), CHUNK):
        part = array[start : start + CHUNK]
        bad = ~np.isfinite(part) if replace else np.isneginf(part)
        count += int(bad.sum())
        part[bad] = 0
    if count:
        warnings.warn(
            f"{where}: {count} numbers were {'not finite' if replace else '-inf'} and are read as 0", stacklevel=2
        )
    return array


def _check_shapes(path: Path | str, name: str, fields: dict[str, Any], shapes: dict[str, tuple]) -> None:
    clips = len(fields["labels"])
    for field in FIELDS:
        array = numbers(path, name, field, fields[field], 3)
        if len(array) != clips:
            raise DataError(f"{path}, split {name}, field {field!r}: {len(array)} clips, but {clips} labels")
        if array.shape[1:] != shapes[field][1:]:
            raise DataError(
                f"{path}, split {name}, field {field!r}: clips of {array.shape[1:]}, but {shapes[field][1:]} in train"
            )


def _splits(path: Path | str, content: dict, header: Header, replace: bool) -> Iterator[tuple[str, Split]]:
    for name in SPLITS:
        fields = content.pop(name)
        labels = _labels(path, name, fields["labels"], header.task)
        ids = _ids(name, fields.get("id"), len(labels))
        arrays: dict[Modality, np.ndarray] = {}
        for field, modality in FIELDS.items():
            where = f"{path}, split {name}, field {field!r}"
            arrays[modality] = clean(where, np.asarray(fields.pop(field)), modality == "audio", replace)
        yield name, Split(pack_all(arrays, header.aligned), labels, ids)


def _labels(path: Path | str, name: str, value: Any, task: str) -> np.ndarray:
    labels = np.asarray(value)
    if task == "emotion":
        return labels.argmax(axis=-1).astype(np.int64)  # (N, 4, 2) one-hot
    flat = labels.reshape(len(labels), -1)
    if flat.shape[1] != 1 or flat.dtype.kind not in "fiu":
        raise DataError(
            f"{path}, split {name}, field 'labels': {labels.dtype} of shape {labels.shape}; expected (N, 1, 1) "
            f"scores or (N, {len(EMOTIONS)}, 2) one-hot emotions"
        )
    return flat[:, 0].astype(np.float32)


def _ids(name: str, value: Any, clips: int) -> tuple[str, ...]:
    """Ids as text; made from the split's name where there are none or where they are not unique."""
    if value is not None and len(value) == clips:
        rows = np.asarray(value, dtype=object).reshape(clips, -1)
        texts = ("_".join(x.decode() if isinstance(x, bytes) else str(x) for x in row) for row in rows)
        ids = tuple(texts)
        if len(set(ids)) == clips:
            return ids
    return tuple(f"{name}_{i}" for i in range(clips))
