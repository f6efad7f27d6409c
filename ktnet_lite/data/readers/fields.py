"""The common layout of the pickles of MulT and MMSA: ``d[split][field]``, with padded or ragged clips."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ktnet_lite.data.schema import Stream
from ktnet_lite.errors import DataError
from ktnet_lite.names import SPLITS, Modality

FIELDS: dict[str, Modality] = {"text": "language", "vision": "vision", "audio": "audio"}
OTHER_NAMES = {"dev": "valid", "val": "valid", "validation": "valid"}  # of splits

Content = dict[str, dict[str, Any]]
Clips = np.ndarray | Stream  # padded (N, T, D), or of different lengths


def take_splits(path: Path | str, content: Any, fields: tuple[str, ...]) -> Content:
    """Check that every split and field exists; return the content with features as arrays of equal shapes.

    Clips of different lengths, as a list or an array of objects, become a stream.
    """
    content = named_splits(path, content)
    for name in SPLITS:
        if not isinstance(content[name], dict):
            raise DataError(f"{path}, split {name}: a {type(content[name]).__name__}, expected a dict of fields")
        content[name] = dict(content[name])  # two splits may be one object
        for field in fields:
            if field not in content[name]:
                raise DataError(f"{path}, split {name}: no field {field!r}; it has {listed(content[name])}")
        for field in FIELDS:
            content[name][field] = clips_of(path, name, field, content[name][field])
            shape, expected = (shape_of(content[split][field]) for split in (name, SPLITS[0]))
            if shape != expected:
                raise DataError(
                    f"{path}, split {name}, field {field!r}: clips of shape {shape}, but {expected} in {SPLITS[0]}"
                )
    return content


def named_splits(path: Path | str, content: Any) -> dict[str, Any]:
    """Check that a pickle has every split; ``dev`` and ``val`` are other names of ``valid``."""
    if not isinstance(content, dict):
        raise DataError(f"{path}: a {type(content).__name__}, expected a dict of train, valid and test")
    splits = {OTHER_NAMES.get(name, name): part for name, part in content.items() if name not in SPLITS}
    splits |= {name: part for name, part in content.items() if name in SPLITS}
    for name in SPLITS:
        if name not in splits:
            raise DataError(f"{path}: no split {name!r}; it has {listed(content)}")
    return splits


def clips_of(path: Path | str, name: str, field: str, value: Any) -> Clips:
    """Take features as an array (N, T, D) or, if clips differ in length, as a stream."""
    try:
        return numbers(path, name, field, value, 3)
    except DataError:
        rows = value if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim == 1) else ()
        clips = [clip for row in rows if (clip := numeric(row)) is not None]
        full = [clip for clip in clips if clip.size]
        if len(clips) < len(rows) or {clip.ndim for clip in full} != {2} or len({len(clip[0]) for clip in full}) > 1:
            raise
    return Stream.from_clips([clip if clip.size else np.zeros((0, len(full[0][0]))) for clip in clips])


def shape_of(clips: Clips) -> tuple[int, ...]:
    """Return (T, D) of padded clips, (D,) of others."""
    return (clips.dim,) if isinstance(clips, Stream) else clips.shape[1:]


def same_times(content: Content) -> bool:
    """Whether the streams of every clip have the same steps: padded to one length, or of equal lengths."""
    fields = [[content[name][field] for field in FIELDS] for name in SPLITS]
    if not any(isinstance(clips, Stream) for clips in fields[0]):
        return len({clips.shape[1] for clips in fields[0]}) == 1
    return all(
        all(isinstance(clips, Stream) and np.array_equal(clips.lengths, split[0].lengths) for clips in split)
        for split in fields
    )


def numbers(path: Path | str, name: str, field: str, value: Any, dimensions: int) -> np.ndarray:
    """Take a field as an array of numbers. Raises :class:`DataError` if it has another type or number of dimensions."""
    array = numeric(value)
    if array is None or array.ndim != dimensions or 0 in array.shape[1:]:
        kind = _kind(value) if array is None else f"{array.dtype} of shape {array.shape}"
        raise DataError(
            f"{path}, split {name}, field {field!r}: {kind}; expected numbers in {dimensions} dimensions, none of "
            "length 0"
        )
    return array


def numeric(value: Any) -> np.ndarray | None:
    """Take an array, an array of objects or nested lists as an array of numbers; None if that is impossible."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value if value.dtype.kind in "fiub" else None
    if not isinstance(value, (list, tuple, np.ndarray)):
        return None
    parts = [value]
    while parts:  # texts would make an array with room for the longest at each place
        part = parts.pop()
        if isinstance(part, (list, tuple)) or (isinstance(part, np.ndarray) and part.dtype == object):
            parts.extend(part)
        elif not isinstance(part, (int, float, np.number, np.bool_)) and (
            not isinstance(part, np.ndarray) or part.dtype.kind not in "fiub"
        ):
            return None
    try:
        array = np.array(value.tolist() if isinstance(value, np.ndarray) else value)
    except (ValueError, OverflowError):  # of different lengths, or too large
        return None
    return array if array.dtype.kind in "fiub" else None


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.dtype != object:
        return f"{value.dtype} of shape {value.shape}"
    container = "an array of objects" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
    return f"{container}, not of numbers, or its parts have different shapes"


def scores_of(path: Path | str, name: str, field: str, value: Any) -> np.ndarray:
    """Take labels of shape (N,), (N, 1) or (N, 1, 1) as float32 (N,)."""
    labels = numeric(value)
    if labels is None or labels.ndim == 0 or labels.dtype.kind == "b" or labels.size != len(labels):
        kind = _kind(value) if labels is None else f"{labels.dtype} of shape {labels.shape}"
        raise DataError(f"{path}, split {name}, field {field!r}: {kind}; expected one number a clip, such as (N, 1, 1)")
    with np.errstate(over="ignore"):  # too large for float32: inf, which validation rejects
        return labels.reshape(-1).astype(np.float32)


def lengths_of(path: Path | str, name: str, field: str, value: Any, shape: tuple[int, int]) -> np.ndarray:
    """Take declared lengths as int64 (N,), each an integer from 0 to T, for clips of shape (N, T)."""
    lengths = scores_of(path, name, field, value)
    clips, total = shape
    if len(lengths) != clips:
        raise DataError(f"{path}, split {name}, field {field!r}: {len(lengths)} lengths, but {clips} clips")
    wrong = ~((lengths >= 0) & (lengths <= total) & (lengths == np.floor(lengths)))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise DataError(f"{path}, split {name}, field {field!r}: {lengths[i]:g} at index {i}; expected 0 to {total}")
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
    if not isinstance(value, (list, tuple)) and (not isinstance(value, np.ndarray) or value.ndim not in (1, 2)):
        raise DataError(f"{path}, split {name}, field 'id': a {type(value).__name__}, expected a list")
    if clips not in (None, len(value)):
        raise DataError(f"{path}, split {name}, field 'id': {len(value)} ids, but {clips} labels")
    rows = [row if isinstance(row, (list, tuple, np.ndarray)) else [row] for row in map(_plain, value)]
    for i, row in enumerate(rows):
        if any(isinstance(part, (list, tuple, dict, np.ndarray)) for part in map(_plain, row)):
            raise DataError(f"{path}, split {name}, field 'id': {type(row).__name__} at index {i}; expected texts")
    return tuple("_".join(map(_text, row)) for row in rows)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0 else value


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(_plain(value))


def clip_ids(path: Path | str, name: str, value: Any, clips: int) -> tuple[str, ...]:
    """Take the ids as text; number the clips if there are no ids or, with a warning, if they are not unique."""
    ids = None if value is None else ids_of(path, name, value, clips)
    if ids is not None and len(set(ids)) < clips:
        warnings.warn(
            f"{path}, split {name}: ids are not unique; clips are named {name}_0, {name}_1, ...", stacklevel=2
        )
        ids = None
    return ids or tuple(f"{name}_{i}" for i in range(clips))


def listed(names: Iterable[Any]) -> str:
    """Join the names of fields or splits, at most ten."""
    names = [str(name)[:40] for name in names]
    return ", ".join([*names[:10], *(["..."] if len(names) > 10 else [])]) or "nothing"
