"""Folders of HDF5 files in the layout of MFN's repository (Zadeh et al. 2018): ICT-MMMO and others.

Each split has the files ``audio_<split>.h5``, ``video_<split>.h5``, ``text_<split>_emb.h5`` and ``y_<split>.h5``, each
with one array ``d1``: word-aligned features (N, T, D) or labels (N,). If a file of features is missing, the split lacks
that modality.

Pitfalls of the raw files, handled here:

- Clips of ICT-MMMO are padded at the front, and a few end in words without a vector: zeros that are not padding.
- Labels from 1 to 5 become scores from -3 to 3. If any label is below 1, the labels are scores already.
- In the YouTube set of the same repository, 125 of 173 training clips are zeros in vision and audio. Its labels are
  three one-hot columns without a statement of which is positive. They are rejected, as a guess could invert them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from ktnet_lite.data import hdf5
from ktnet_lite.data.readers.fields import numbers
from ktnet_lite.data.readers.folder import files_below
from ktnet_lite.data.readers.padding import pack_all
from ktnet_lite.data.readers.scales import stretched
from ktnet_lite.data.schema import Header, Split, Stream
from ktnet_lite.errors import DataError
from ktnet_lite.names import SPLITS, Modality

FILES: dict[Modality, str] = {"language": "text_{}_emb.h5", "vision": "video_{}.h5", "audio": "audio_{}.h5"}
LABELS = "y_{}.h5"
ARRAY = "d1"
STARS = (1.0, 5.0)
LICENCE = "MIT (MFN's repository); the videos: of their makers, for research"
KNOWN: dict[tuple[int, ...], str] = {(220, 40, 80): "mmmo"}  # clips in train, valid, test


def read(folder: Path | str) -> tuple[Header, Iterator[tuple[str, Split]]]:
    """Read header and splits from a folder with the files of one data set.

    Raises
    ------
    DataError
        Labels are missing, a split has no features, or a file is invalid; the message names the file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the one with {LABELS.format('train')} and the features")
    labels = {name: _labels(folder, name) for name in SPLITS}
    lowest = min(np.nanmin(y, initial=np.inf) for y in labels.values())
    provenance = {"source": "MFN's HDF5 files", "licence": LICENCE}
    if lowest >= STARS[0]:
        provenance["scores"] = "labels from 1 to 5, stretched to [-3, 3]"
        labels = {name: stretched(y, *STARS) for name, y in labels.items()}
    files: dict[str, dict[Modality, Path]] = {}
    for name in SPLITS:
        paths = {modality: _find(folder, file.format(name)) for modality, file in FILES.items()}
        files[name] = {modality: path for modality, path in paths.items() if path}
        if not files[name]:
            raise DataError(f"{folder}, split {name}: no features; expected {_listed(name, FILES)}")
        if missing := [modality for modality in FILES if modality not in files[name]]:
            warnings.warn(
                f"{folder}, split {name}: no {_listed(name, missing)}; read without {', '.join(missing)}", stacklevel=2
            )
    steps = {_shape(path)[1] for paths in files.values() for path in paths.values()}
    name = KNOWN.get(tuple(len(labels[split]) for split in SPLITS), folder.resolve().name)
    return Header(name, "sentiment", len(steps) == 1, provenance), _splits(files, labels, len(steps) == 1)


def _splits(
    files: dict[str, dict[Modality, Path]], labels: dict[str, np.ndarray], aligned: bool
) -> Iterator[tuple[str, Split]]:
    for name in SPLITS:
        scores = labels[name]
        arrays: dict[Modality, np.ndarray | Stream] = {
            modality: _array(path, name, 3) for modality, path in files[name].items()
        }
        for modality, array in arrays.items():
            if len(array) != len(scores):
                raise DataError(f"{files[name][modality]}: {len(array)} clips, but {len(scores)} labels")
        ids = tuple(f"{name}_{i}" for i in range(len(scores)))
        yield name, Split(pack_all(arrays, aligned), scores, ids)


def _labels(folder: Path, name: str) -> np.ndarray:
    path = _find(folder, LABELS.format(name))
    if path is None:
        raise DataError(f"{folder}: no {LABELS.format(name)} in it; give the folder of one data set")
    shape = _shape(path)
    if len(shape) > 1 and shape[1:] not in ((1,), (1, 1)):
        raise DataError(
            f"{path}: labels of shape {shape}, expected (N,) scores. If they are one-hot, the files do not say which "
            "column is positive; find out, and store scores instead"
        )
    labels = _array(path, name, len(shape)).reshape(-1).astype(np.float32)
    if len(labels) == 0:
        raise DataError(f"{path}: no clips")
    return labels


def _array(path: Path, name: str, dimensions: int) -> np.ndarray:
    with _opened(path) as array:
        return numbers(path, name, ARRAY, hdf5.read_array(array), dimensions)


def _shape(path: Path) -> tuple[int, ...]:
    with _opened(path) as array:
        shape = array.shape
    if len(shape) < 1 + (not path.name.startswith("y_")):
        raise DataError(f"{path}: {ARRAY} of shape {shape}; expected (N, T, D) features or (N,) labels")
    return shape


@contextmanager
def _opened(path: Path) -> Iterator[h5py.Dataset]:
    with hdf5.opened(path) as file:
        array = hdf5.member(file, ARRAY)
        if not isinstance(array, h5py.Dataset):
            raise DataError(f"{path}: no array {ARRAY!r}; it has {', '.join(file) or 'nothing'}")
        yield hdf5.checked(array)


def _find(folder: Path, name: str) -> Path | None:
    """Find the only file of a name below a folder; None if there is no such file."""
    paths = [path for path in files_below(folder) if path.name == name]
    if len(paths) > 1:
        places = ", ".join(str(path.parent.relative_to(folder)) for path in paths)
        raise DataError(f"{folder}: {name} is in {places}; give the folder of one data set")
    return paths[0] if paths else None


def _listed(name: str, modalities: Iterable[Modality]) -> str:
    return ", ".join(FILES[modality].format(name) for modality in modalities)
