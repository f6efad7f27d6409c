"""Pickles from elsewhere, read without running anything in them: NumPy arrays and plain containers only."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ktnet_lite.errors import DataError

# NumPy's own pickles name these; the module moved from numpy.core to numpy._core in NumPy 2.
_NUMPY = {"_reconstruct": "multiarray", "scalar": "multiarray", "_frombuffer": "numeric"}
_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): dict,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "bytearray"): bytearray,
    ("builtins", "complex"): complex,
    ("_codecs", "encode"): lambda text, encoding="latin1": text.encode("latin1"),
}
_ALLOWED |= {("__builtin__", name): made for (module, name), made in list(_ALLOWED.items()) if module == "builtins"}


def _numpy_core(module: str, name: str) -> Any:
    core = importlib.import_module("numpy._core" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core")
    return getattr(importlib.import_module(f"{core.__name__}.{module}"), name)


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        for package in ("numpy.core", "numpy._core"):
            if name in _NUMPY and module == f"{package}.{_NUMPY[name]}":
                return _numpy_core(_NUMPY[name], name)
        raise DataError(
            f"the pickle asks for {module}.{name}; only NumPy arrays and plain containers are read, and nothing in it "
            "was run. If you trust the file, convert it yourself to arrays"
        )


def load(path: Path | str) -> Any:
    """The content of a pickle of arrays, dicts, lists, strings and numbers; Python 2's are read as latin-1.

    Raises
    ------
    DataError
        It names anything else (and nothing of it runs), is cut off, or is no pickle.
    """
    try:
        with open(path, "rb") as file:
            return _Restricted(file, encoding="latin1").load()
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise DataError(f"no file at {path}") from None
    except MemoryError:
        raise DataError(f"{path}: not enough memory to read it; a pickle must be read whole") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DataError(f"{path} is damaged, cut off or no pickle ({type(error).__name__}: {error})") from error
