"""HDF5 files of any origin, opened and read so that every failure says what is wrong and where.

A file that is locked, forbidden or on a drive that does not answer is told from a damaged one. Nothing outside the file
is read: links to other files, external and virtual arrays are refused, and so are arrays larger than the file can hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ktnet_lite.data.foreign import HDF5, damaged, instead, unreadable
from ktnet_lite.errors import DataError, UnreadableError

GREATEST_RATIO = 1100  # deflate shrinks at most 1032 : 1; a larger ratio shows a forged or damaged file
SPARE = 1 << 20  # bytes that an array may have whatever the size of its file
DAMAGE = (RuntimeError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, AssertionError)


def is_hdf5(path: Path | str) -> bool:
    """Whether a file has the signature of HDF5, at its start or after a user block of 512 bytes or more.

    Raises
    ------
    UnreadableError
        The file exists, but cannot be read.
    """
    try:
        with open(path, "rb") as file:
            size, offset = Path(path).stat().st_size, 0
            while offset < size:
                file.seek(offset)
                if file.read(len(HDF5)) == HDF5:
                    return True
                offset = max(512, 2 * offset)
    except OSError as error:
        raise unreadable(path, error) from error
    return False


@contextmanager
def opened(path: Path | str) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; any failure inside becomes a :class:`DataError` that names the file.

    Raises
    ------
    UnreadableError
        The file is locked, forbidden or on a drive that does not answer; it may be sound.
    DataError
        There is no such file, it is not HDF5, it is damaged, or it needs more memory than there is.
    """
    path = Path(path)
    if path.is_file() and not is_hdf5(path):
        other = instead(path)
        raise DataError(f"{path} is not an HDF5 file, or its start is damaged" + (f": it is {other}" if other else ""))
    try:
        with h5py.File(path, "r") as file:
            yield file
    except DataError:
        raise
    except OSError as error:
        raise unreadable(path, error) from error
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory ({error}); read less of it at once") from error
    except DAMAGE as error:
        raise damaged(path, error) from error


def passes(path: Path | str, test: Callable[[h5py.File], bool]) -> bool:
    """Whether a file is HDF5 and passes a test; False if it is damaged, or there is no file.

    Raises
    ------
    UnreadableError
        The file exists, but cannot be read now.
    """
    if not Path(path).is_file() or not is_hdf5(path):
        return False
    try:
        with opened(path) as file:
            return test(file)
    except UnreadableError:
        raise
    except DataError:
        return False


def member(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset | None:
    """Take a part of a group, or None if there is none.

    Raises
    ------
    ValueError
        It is a link into another file, whose content is not this file's.
    """
    if name not in group:
        return None
    for step in name.split("/"):
        if isinstance(group.get(step, getlink=True), h5py.ExternalLink):
            raise ValueError(f"{group.name.rstrip('/')}/{step} is a link into another file; copy the content here")
        group = group[step]
    return group


def checked(dataset: Any, kinds: str = "fiu", dimensions: int | None = None) -> h5py.Dataset:
    """Return an array of an HDF5 file if it can be read safely.

    Raises
    ------
    ValueError
        It is no array, has other kinds or dimensions than these, lies outside the file, or is larger than the file
        allows.
    """
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise ValueError(f"{getattr(dataset, 'name', None) or 'a part'} is missing or no array")
    if dataset.external is not None or dataset.is_virtual:
        raise ValueError(f"{dataset.name} lies in other files; copy the content here")
    if dataset.dtype.kind not in kinds or dimensions not in (None, dataset.ndim):
        wanted = "" if dimensions is None else f" of {dimensions} dimensions"
        raise ValueError(f"{dataset.name} is {dataset.dtype} of shape {dataset.shape}, expected another array{wanted}")
    size = math.prod(map(int, dataset.shape)) * dataset.dtype.itemsize
    chunk = math.prod(map(int, dataset.chunks or ())) * dataset.dtype.itemsize
    if size > GREATEST_RATIO * dataset.id.get_storage_size() + SPARE:
        raise ValueError(f"{dataset.name} claims {size} bytes, more than its file can hold")
    if chunk > max(size, SPARE) + GREATEST_RATIO * dataset.id.get_storage_size():
        raise ValueError(f"{dataset.name} claims chunks of {chunk} bytes, more than its file can hold")
    return dataset


def read_array(dataset: Any, kinds: str = "fiu", dimensions: int | None = None) -> np.ndarray:
    """Read an array whole; errors as :func:`checked`."""
    return checked(dataset, kinds, dimensions)[()]
