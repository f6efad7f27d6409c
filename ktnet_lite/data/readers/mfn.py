"""Folders of HDF5 files as MFN's repository holds them (Zadeh et al. 2018): ICT-MMMO, and others in that layout.

For each split ``audio_<split>.h5``, ``video_<split>.h5``, ``text_<split>_emb.h5`` and ``y_<split>.h5``, each with one
array ``d1``: features (N, T, D), word-aligned, or labels (N,). A file of features may be missing: then that split lacks
that modality.

Traps of the raw files, handled here:

- Clips of ICT-MMMO are padded at the front, and a few end in words without a vector: zeros that are no padding.
- Its labels go from 1 to 5 and become scores from -3 to 3. Labels that go below 1 are scores already.
- Of the YouTube set beside it 125 of 173 training clips are zeros in face and voice, and its labels are three one-hot
  columns; nowhere is it said which one is positive. They are refused, because guessing would turn the meaning around.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ktnet_lite.data.readers.fields import numbers
from ktnet_lite.data.readers.padding import pack_all
from ktnet_lite.data.schema import Header, Split
from ktnet_lite.data.store import read_array
from ktnet_lite.errors import DataError
from ktnet_lite.names import SENTIMENT_RANGE, SPLITS, Modality

FILES: dict[Modality, str] = {"language": "text_{}_emb.h5", "vision": "video_{}.h5", "audio": "audio_{}.h5"}
LABELS = "y_{}.h5"
ARRAY = "d1"
STARS = (1.0, 5.0)
LICENCE = "MIT (MFN's repository); the videos: of their makers, for research"
KNOWN: dict[tuple[int, ...], str] = {(220, 40, 80): "mmmo"}  # clips in train, valid, test


def read(folder: Path | str) -> tuple[Header, Iterator[tuple[str, Split]]]:
    """Header and splits from a folder that holds the files of one data set.

    Raises
    ------
    DataError
        Labels are missing, a split has no features at all, or a file holds something else; names file and index.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give the one that holds {LABELS.format('train')} and the features")
    labels = {name: _labels(folder, name) for name in SPLITS}
    lowest = min(np.nanmin(y, initial=np.inf) for y in labels.values())
    provenance = {"source": "MFN's HDF5 files", "licence": LICENCE}
    if lowest >= STARS[0]:
        provenance["scores"] = "labels from 1 to 5, stretched to [-3, 3]"
        labels = {name: stretched(y) for name, y in labels.items()}
    files: dict[str, dict[Modality, Path]] = {}
    for name in SPLITS:
        paths = {modality: _find(folder, file.format(name)) for modality, file in FILES.items()}
        found = files[name] = {modality: path for modality, path in paths.items() if path}
        if not found:
            raise DataError(f"{folder}, split {name}: no features; expected {_listed(name, FILES)}")
        if missing := [modality for modality in FILES if modality not in found]:
            warnings.warn(f"{folder}, split {name}: no {_listed(name, missing)}; its clips lack it", stacklevel=2)
    steps = {_shape(path)[1] for found in files.values() for path in found.values()}
    name = KNOWN.get(tuple(len(labels[split]) for split in SPLITS), folder.resolve().name)
    return Header(name, "sentiment", len(steps) == 1, provenance), _splits(files, labels, len(steps) == 1)


def stretched(stars: np.ndarray) -> np.ndarray:
    """Labels from 1 to 5 as scores from -3 to 3, (N,); what is no such label stays out of range."""
    low, high = SENTIMENT_RANGE
    return ((stars - STARS[0]) / (STARS[1] - STARS[0]) * (high - low) + low).astype(np.float32)


def _splits(
    files: dict[str, dict[Modality, Path]], labels: dict[str, np.ndarray], aligned: bool
) -> Iterator[tuple[str, Split]]:
    for name in SPLITS:
        scores = labels[name]
        arrays = {modality: _array(path, name, 3) for modality, path in files[name].items()}
        for modality, array in arrays.items():
            if len(array) != len(scores):
                raise DataError(f"{files[name][modality]}: {len(array)} clips, but {len(scores)} labels")
        ids = tuple(f"{name}_{i}" for i in range(len(scores)))
        yield name, Split(pack_all(arrays, aligned), scores, ids)


def _labels(folder: Path, name: str) -> np.ndarray:
    path = _find(folder, LABELS.format(name))
    if path is None:
        raise DataError(f"{folder}: no {LABELS.format(name)} in it")
    shape = _shape(path)
    if len(shape) > 1 and shape[1:] not in ((1,), (1, 1)):
        raise DataError(
            f"{path}: labels of shape {shape}, expected (N,) scores; if they are one-hot, the files do not say which "
            "column is positive: find out, and write scores instead"
        )
    labels = _array(path, name, len(shape)).reshape(-1).astype(np.float32)
    if len(labels) == 0:
        raise DataError(f"{path}: no clips at all")
    return labels


def _array(path: Path, name: str, dimensions: int) -> np.ndarray:
    return numbers(path, name, ARRAY, _opened(path, read_array), dimensions)


def _shape(path: Path) -> tuple[int, ...]:
    shape = _opened(path, lambda array: array.shape)
    if len(shape) < 1 + (not path.name.startswith("y_")):
        raise DataError(f"{path}: {ARRAY} of shape {shape}; expected (N, T, D) features or (N,) labels")
    return shape


def _opened(path: Path, take: Callable[[h5py.Dataset], Any]) -> Any:
    """What ``take`` gets from the array of a file; every failure to open it is told."""
    try:
        with h5py.File(path, "r") as file:
            if not isinstance(file.get(ARRAY), h5py.Dataset):
                raise DataError(f"{path}: no array {ARRAY!r}; it has {', '.join(file) or 'nothing'}")
            return take(file[ARRAY])
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged, or no HDF5: {error}") from error


def _find(folder: Path, name: str) -> Path | None:
    """The file of that name below a folder; None where there is none."""
    found = sorted(folder.rglob(name))
    if len(found) > 1:
        places = ", ".join(str(path.parent.relative_to(folder)) for path in found)
        raise DataError(f"{folder}: {name} is in {places}; give the folder of one data set")
    return found[0] if found else None


def _listed(name: str, modalities: Iterable[Modality]) -> str:
    return ", ".join(FILES[modality].format(name) for modality in modalities)
