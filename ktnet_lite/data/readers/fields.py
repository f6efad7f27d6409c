"""The common layout of the pickles of MulT and MMSA: ``d[split][field]``, with padded arrays (N, T, D)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ktnet_lite.errors import DataError
from ktnet_lite.names import SPLITS, Modality

FIELDS: dict[str, Modality] = {"text": "language", "vision": "vision", "audio": "audio"}

Content = dict[str, dict[str, Any]]


def take_splits(path: Path | str, content: Any, fields: tuple[str, ...]) -> Content:
    """Check that every split and field exists; return the content with features as arrays of equal shapes."""
    if not isinstance(content, dict):
        raise DataError(f"{path}: a {type(content).__name__}, expected a dict of train, valid and test")
    for name in SPLITS:
        if name not in content:
            raise DataError(f"{path}: no split {name!r}; it has {', '.join(map(str, content)) or 'nothing'}")
        if not isinstance(content[name], dict):
            raise DataError(f"{path}, split {name}: a {type(content[name]).__name__}, expected a dict of fields")
        for field in fields:
            if field not in content[name]:
                available = ", ".join(map(str, content[name])) or "nothing"
                raise DataError(f"{path}, split {name}: no field {field!r}; it has {available}")
        for field in FIELDS:
            content[name][field] = numbers(path, name, field, content[name][field], 3)
            shape, expected = (content[split][field].shape[1:] for split in (name, SPLITS[0]))
            if shape != expected:
                raise DataError(
                    f"{path}, split {name}, field {field!r}: clips of shape {shape}, but {expected} in {SPLITS[0]}"
                )
    return content


def numbers(path: Path | str, name: str, field: str, value: Any, dimensions: int) -> np.ndarray:
    """Take a field as an array of numbers. Raises :class:`DataError` if it has another type or number of dimensions."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(f"{path}, split {name}, field {field!r}: clips of different shapes ({error})") from error
    if array.dtype.kind not in "fiub" or array.ndim != dimensions or 0 in array.shape[1:]:
        raise DataError(
            f"{path}, split {name}, field {field!r}: {array.dtype} of shape {array.shape}; expected numbers in "
            f"{dimensions} dimensions, none of length 0"
        )
    return array


def lengths_of(path: Path | str, name: str, field: str, value: Any, shape: tuple[int, int]) -> np.ndarray:
    """Take declared lengths as int64 (N,), each an integer from 0 to T, for clips of shape (N, T)."""
    lengths = numbers(path, name, field, value, 1)
    clips, total = shape
    if len(lengths) != clips:
        raise DataError(f"{path}, split {name}, field {field!r}: {len(lengths)} lengths, but {clips} clips")
    wrong = ~((lengths >= 0) & (lengths <= total) & (lengths == np.floor(lengths)))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise DataError(f"{path}, split {name}, field {field!r}: {lengths[i]} at index {i}; expected 0 to {total}")
    return lengths.astype(np.int64)


def check_clips(path: Path | str, name: str, fields: dict[str, Any], clips: int) -> None:
    """Raise :class:`DataError` unless every modality has ``clips`` clips, and there is at least one."""
    if clips == 0:
        raise DataError(f"{path}, split {name}: no clips")
    for field in FIELDS:
        if len(fields[field]) != clips:
            raise DataError(f"{path}, split {name}, field {field!r}: {len(fields[field])} clips, but {clips} labels")


def ids_of(path: Path | str, name: str, value: Any, clips: int | None = None) -> tuple[str, ...]:
    """Take the field ``id`` as text; bytes are decoded, and the parts of a row are joined by ``_``."""
    if not isinstance(value, (list, tuple)) and np.ndim(value) == 0:
        raise DataError(f"{path}, split {name}, field 'id': a {type(value).__name__}, expected a list")
    if clips not in (None, len(value)):
        raise DataError(f"{path}, split {name}, field 'id': {len(value)} ids, but {clips} labels")
    rows = np.asarray(value, dtype=object)
    rows = rows.reshape(len(rows), math.prod(rows.shape[1:]))
    texts = ([x.decode("utf-8", "replace") if isinstance(x, bytes) else str(x) for x in row] for row in rows)
    return tuple(map("_".join, texts))
