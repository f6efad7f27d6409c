"""Untrusted pickles, read without running anything: only numbers, texts, arrays of them and plain containers come out.

A pickle is a program for a stack machine. Python's machine imports whatever the program names and calls it; an
allow-list of names limits that, but NumPy's own functions still trust every statement about a shape, a type or a
length. The machine here (:mod:`ktnet_lite.data.opcodes`) makes plain values only. The few names by which NumPy
writes arrays stand for functions of this module, which check all that they get.

Memory is at most about 100 times the size of a file made of empty containers, and 1.4 times that of a file of arrays.
What refers to the same parts again and again, and so would grow when copied, may come to 16 times the file and 100 MB.
"""

from __future__ import annotations

import io
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ktnet_lite.data.foreign import instead, unreadable
from ktnet_lite.data.opcodes import FAILURES, ONLY, Machine, Source, Unfinished, check_tree, entries
from ktnet_lite.errors import DataError

NEEDED = 1.4  # memory for reading and packing, as a multiple of the size of the pickle
NEEDED_OLD = 2.5  # likewise up to protocol 2, where arrays are stored as text
DIMENSIONS = 8  # of an array
LONGEST = 1 << 40  # of one of them
DTYPE = re.compile(r"[<>=|]?(?:b1|[iu][1248]|f[248]|c8|c16|[SaU][1-9]\d{0,8}|O[48]?|bool|int|float|(?:u?int|float)\d+)")


class _Dtype(Unfinished):
    """The type of an array; its byte order comes after it is made."""

    def __init__(self, plain: np.dtype):
        super().__init__()
        self.plain = plain


def load(path: Path | str) -> Any:
    """Load a pickle of arrays, dicts, lists, strings and numbers; sets come as lists, texts of Python 2 as latin-1.

    Raises
    ------
    DataError
        The pickle asks for anything else (which is never run), is damaged, or needs more memory than there is.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no file at {path}")
    if other := instead(path):
        raise DataError(f"{path} is {other}, not a pickle")
    bar = tqdm(desc=f"read {path.name}", unit="B", unit_scale=True, delay=1, disable=None, leave=False)
    try:
        size = bar.total = path.stat().st_size
        with bar, io.BufferedReader(_Watched(path, bar)) as file:
            _check_memory(size, file.peek(2)[:2])
            content = Machine(Source(file, size), _BUILDERS, _MARKERS, _finished).run()
            check_tree(content, size)
            return content
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except MemoryError:
        raise DataError(f"{path}: not enough memory to read it; a pickle must be read whole") from None
    except OSError as error:
        raise unreadable(path, error) from error
    except FAILURES as error:
        raise DataError(f"{path} is damaged or not a pickle ({type(error).__name__}: {error})") from error


class _Watched(io.FileIO):
    """A file that advances a progress bar while it is read."""

    def __init__(self, path: Path, bar: tqdm):
        super().__init__(path)
        self.bar = bar

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        self.bar.update(count)
        return count


def _dtype(name: Any, *_: Any) -> _Dtype:
    """Take a dtype by its name. Only numbers, texts and plain objects are known, also by the names of old NumPy."""
    if not isinstance(name, str) or not DTYPE.fullmatch(name):
        raise DataError(f"the pickle holds an array of type {str(name)[:40]!r}; {ONLY}")
    if name.lstrip("<>=|").startswith("O"):  # O8 and O4 before NumPy 1.7
        return _Dtype(np.dtype("O"))
    try:
        return _Dtype(np.dtype(re.sub(r"a(?=\d)", "S", name)))
    except TypeError:
        raise DataError(f"the pickle holds an array of type {name[:40]!r}; {ONLY}") from None


def _finished(value: Any, state: Any) -> Any:
    """Give an array its content, or a type its byte order."""
    if not isinstance(value, Unfinished):
        raise DataError(f"the pickle sets the attributes of an object; {ONLY}, and nothing in it was run")
    if not isinstance(value, _Dtype):
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise ValueError("the state of an array")
        shape, dtype, fortran, content = state[-4:]  # before them the version
        return _array(content, dtype, shape, "F" if fortran else "C")
    if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "=", "|"):
        raise ValueError("the state of a type")
    if state[2:5] != (None, None, None):
        raise DataError(f"the pickle holds a structured array; {ONLY}")
    value.plain = value.plain.newbyteorder(state[1])
    return value


def _array(content: Any, dtype: Any, shape: Any, order: Any = "C") -> np.ndarray:
    """Build an array whose content has exactly the size that its shape and dtype say."""
    if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple) or order not in ("C", "F"):
        raise ValueError("an array without type, shape or order")
    plain = dtype.plain
    if len(shape) > DIMENSIONS or not all(type(n) is int and 0 <= n <= LONGEST for n in shape):
        raise ValueError(f"an array of shape {str(shape)[:60]}")
    count = math.prod(shape)
    if plain.kind == "O":
        if not isinstance(content, list) or len(content) != count:
            raise ValueError(f"an array of {count} objects with other content")
        objects = np.empty(count, object)
        for i, item in enumerate(content):  # an array or a list stays one object
            objects[i] = item
        return objects.reshape(shape, order=order)
    if isinstance(content, str):  # of Python 2
        content = content.encode("latin1")
    if not isinstance(content, bytes) or len(content) != count * plain.itemsize:
        raise ValueError(f"an array of shape {shape} and type {plain} with other content")
    if plain.kind == "b":
        return (np.frombuffer(content, np.uint8) != 0).reshape(shape, order=order)
    if plain.kind == "U" and count and np.frombuffer(content, plain.byteorder + "u4").max() > sys.maxunicode:
        raise ValueError("an array of texts with characters that do not exist")
    return np.frombuffer(content, plain).reshape(shape, order=order)


def _scalar(dtype: Any, content: Any) -> Any:
    if isinstance(dtype, _Dtype) and dtype.plain.kind == "O":
        return content
    return _array(content, dtype, ())[()]


def _encoded(text: Any, _: Any = "latin1") -> bytes:
    if not isinstance(text, str):
        raise ValueError("bytes that are no text")
    return text.encode("latin1")


def _bytes(content: Any = b"", _: Any = "latin1") -> bytes:
    """Take the content of bytes or of a bytearray, as Python 2 and 3 write it."""
    if isinstance(content, (str, bytes)):
        return content if isinstance(content, bytes) else content.encode("latin1")
    if not isinstance(content, list):
        raise ValueError(f"bytes of a {type(content).__name__}")
    return bytes(content)


def _listed(items: Any = ()) -> list[Any]:
    if not isinstance(items, (list, tuple)):
        raise ValueError(f"a set of a {type(items).__name__}")
    return list(items)


def _complex(real: Any, imaginary: Any) -> complex:
    if not (isinstance(real, float) and isinstance(imaginary, float)):
        raise ValueError("a complex number of other parts")
    return complex(real, imaginary)


_MARKERS = {"numpy.ndarray"} | {f"builtins.{name}" for name in ("list", "dict", "int", "float", "str", "bool", "tuple")}
_BUILDERS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": lambda *_: Unfinished(),
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _array,
    "collections.OrderedDict": lambda pairs=(): dict(entries([part for pair in _listed(pairs) for part in pair])),
    "collections.defaultdict": lambda *_: {},
    "_codecs.encode": _encoded,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.set": _listed,
    "builtins.frozenset": _listed,
    "builtins.complex": _complex,
}


def _check_memory(size: int, start: bytes) -> None:
    """Raise :class:`DataError` if a pickle of ``size`` bytes, which begins with ``start``, needs too much memory."""
    memory = installed_memory()
    needed = size * (NEEDED if start[:1] == b"\x80" and start[1:] > b"\x02" else NEEDED_OLD)
    if memory is not None and needed > memory:
        raise DataError(
            f"it must be read whole, which takes about {needed / 1e9:.3g} GB of memory, but this machine has "
            f"{memory / 1e9:.3g} GB; run `ktnet-lite data convert` on a larger machine"
        )


def installed_memory() -> int | None:
    """Return the bytes of memory of this machine; None if the system does not report them (Windows)."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
