"""Untrusted pickles, read without running code from them: only NumPy arrays and plain containers are accepted.

NumPy's unpickling trusts every statement about a dtype, and a crafted one makes it treat bytes of the file as pointers.
So a dtype is built here from its name and byte order only, and structured dtypes are rejected.
"""

from __future__ import annotations

import io
import os
import pickle
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from ktnet_lite.errors import DataError

_CORE = "numpy._core" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core"
_scalar = import_module(f"{_CORE}.multiarray").scalar
_frombuffer = import_module(f"{_CORE}.numeric")._frombuffer

NEEDED = 1.4  # memory for reading and packing, as a multiple of the size of the pickle
NEEDED_OLD = 2.5  # likewise up to protocol 2, where arrays are stored as text
PLAIN = "biufcSUO"  # kinds of dtype: numbers, texts and plain objects


class _Dtype:
    """The harmless part of a pickled dtype."""

    def __init__(self, name: Any, *_: Any):
        self.plain = np.dtype(name) if isinstance(name, str) else np.dtype("V")
        if self.plain.kind not in PLAIN:
            raise DataError(
                f"the pickle holds an array of type {name!r}; only numbers, texts and plain objects are read"
            )

    def __setstate__(self, state: tuple) -> None:
        _, order, subarray, names, fields, *_ = state
        if (subarray, names, fields) != (None, None, None):
            raise DataError("the pickle holds a structured array; only numbers, texts and plain objects are read")
        self.plain = self.plain.newbyteorder(order)


class _Array(np.ndarray):
    """An array that takes its dtype from a :class:`_Dtype`; ``np.asarray`` turns it into an ordinary array."""

    def __setstate__(self, state: tuple) -> None:
        *before, dtype, fortran, content = state  # (version, shape, dtype, fortran, content)
        super().__setstate__((*before, _plain(dtype), fortran, content))


def _plain(dtype: Any) -> np.dtype:
    if not isinstance(dtype, _Dtype):
        raise DataError("the pickle holds an array without a dtype; only NumPy arrays and plain containers are read")
    return dtype.plain


def _empty(*_: Any) -> np.ndarray:
    return np.empty(0, np.uint8).view(_Array)


_ALLOWED: dict[str, Any] = {
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": _Dtype,
    "collections.OrderedDict": dict,
    "collections.defaultdict": lambda *_: {},
    "_codecs.encode": lambda text, _="latin1": text.encode("latin1"),
}
for _core in ("numpy.core", "numpy._core"):  # the module moved in NumPy 2
    _ALLOWED[f"{_core}.multiarray._reconstruct"] = _empty
    _ALLOWED[f"{_core}.multiarray.scalar"] = lambda dtype, *content: _scalar(_plain(dtype), *content)
    _ALLOWED[f"{_core}.numeric._frombuffer"] = lambda data, dtype, *rest: _frombuffer(data, _plain(dtype), *rest)
for _module in ("builtins", "__builtin__"):
    for _type in (set, frozenset, bytes, bytearray, complex, list, dict, tuple, int, float, str, bool):
        _ALLOWED[f"{_module}.{_type.__name__}"] = _type


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[f"{module}.{name}"]
        except KeyError:
            raise DataError(
                f"the pickle asks for {module}.{name}; only NumPy arrays and plain containers are read, and nothing in "
                "it was run. If you trust the file, convert its content to arrays yourself"
            ) from None


class _Watched(io.FileIO):
    """A file that advances a progress bar while it is read."""

    def __init__(self, path: Path, bar: tqdm):
        super().__init__(path)
        self.bar = bar

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        self.bar.update(count)
        return count


def load(path: Path | str) -> Any:
    """Load a pickle of arrays, dicts, lists, strings and numbers; strings of Python 2 are decoded as latin-1.

    Raises
    ------
    DataError
        The pickle asks for anything else (which is never run), is damaged, or needs more memory than there is.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no file at {path}")
    size = path.stat().st_size
    bar = tqdm(total=size, desc=f"read {path.name}", unit="B", unit_scale=True, delay=1, disable=None, leave=False)
    try:
        with bar, io.BufferedReader(_Watched(path, bar)) as file:
            _check_memory(path, size, file.peek(2)[:2])
            return _unpickle(path, file)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _unpickle(path: Path, file: BinaryIO) -> Any:
    try:
        return _Restricted(file, encoding="latin1").load()
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except MemoryError:
        raise DataError(f"{path}: not enough memory to read it, or damaged; a pickle must be read whole") from None
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{path} is damaged or not a pickle ({type(error).__name__}: {error})") from error


def _check_memory(path: Path, size: int, start: bytes) -> None:
    """Raise :class:`DataError` if a pickle of ``size`` bytes, whose first two are ``start``, needs too much memory."""
    memory = installed_memory()
    needed = size * (NEEDED if start[:1] == b"\x80" and start[1:] > b"\x02" else NEEDED_OLD)
    if memory is not None and needed > memory:
        raise DataError(
            f"{path} must be read whole, which takes about {needed / 1e9:.3g} GB of memory, but this machine has "
            f"{memory / 1e9:.3g} GB; run `ktnet-lite data convert` on a larger machine"
        )


def installed_memory() -> int | None:
    """Return the bytes of memory of this machine; None if the system does not report them (Windows)."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
