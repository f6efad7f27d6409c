"""Untrusted pickles, read by a small interpreter of their opcodes that imports nothing and calls nothing.

A pickle is a program for a stack machine. Python's machine imports whatever the program names and calls it; an
allow-list of names limits that, but NumPy's own functions still trust every statement about a shape, a type or a
length. The machine here knows the opcodes of plain values and containers, and the few names by which NumPy writes
arrays. A name is only a text: it stands for one of the functions in :data:`_BUILDERS`, which check all that they get.

Every length is compared with what the file has left, every opcode makes at most one object, and an array is a view of
bytes that were read. So memory is at most about 100 times the size of a file made of empty containers, and 1.4 times
that of a file of arrays. What refers to the same parts again and again, and so would grow where it is copied, may come to
16 times the file and 100 MB.
"""

from __future__ import annotations

import codecs
import io
import math
import os
import re
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from ktnet_lite.data.foreign import instead
from ktnet_lite.errors import DataError

NEEDED = 1.4  # memory for reading and packing, as a multiple of the size of the pickle
NEEDED_OLD = 2.5  # likewise up to protocol 2, where arrays are stored as text
DEEPEST = 32  # containers inside one another
DIMENSIONS = 8  # of an array
LONGEST = 1 << 40  # of one of them
REPEATED, SPARE = 16, 10**8  # times the file, and bytes more
LONGEST_INT = 64  # bytes; or digits, in text
DTYPE = re.compile(r"[<>=|]?(?:b1|[iu][1248]|f[248]|c8|c16|[SaU][1-9]\d{0,8}|O[48]?|bool|int|float|(?:u?int|float)\d+)")
ONLY = "only numbers, texts, arrays of them and plain containers are read"


class _Name(str):
    """A name that the pickle asks for, such as ``numpy.dtype``; never imported."""


class _Dtype:
    """The type of an array; its byte order comes after it is made."""

    def __init__(self, plain: np.dtype):
        self.plain = plain


class _Unbuilt:
    """An array of which nothing is known yet; replaced, in the memo too, when its content comes."""

    def __init__(self):
        self.keys: list[int] = []  # of the memo


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
    bar = tqdm(desc=f"read {path.name}", unit="B", unit_scale=True, delay=1, disable=None, leave=False)
    try:
        size = bar.total = path.stat().st_size
        with bar, io.BufferedReader(_Watched(path, bar)) as file:
            _check_memory(size, file.peek(2)[:2])
            content = _Machine(_Source(file, size)).run()
            _check_tree(content, size)
            return content
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except MemoryError:
        raise DataError(f"{path}: not enough memory to read it; a pickle must be read whole") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, LookupError, OverflowError, struct.error, RecursionError) as error:
        if found := instead(path):
            raise DataError(f"{path} is {found}, not a pickle") from None
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


class _Source:
    """The bytes of a pickle; more than there are is never asked for."""

    def __init__(self, file: BinaryIO, size: int):
        self.file, self.size = file, size

    def take(self, count: int) -> bytes:
        if not 0 <= count <= self.size - (self.file.tell() if count > 8 else 0):
            raise ValueError(f"{count} bytes at position {self.file.tell()} of {self.size}")
        content = self.file.read(count)
        if len(content) < count:
            raise ValueError(f"it ends at position {self.size}, in the middle")
        return content

    def number(self, form: str) -> Any:
        return struct.unpack("<" + form, self.take(struct.calcsize(form)))[0]

    def counted(self, form: str) -> bytes:
        return self.take(self.number(form))

    def line(self) -> bytes:
        line = self.file.readline()
        if line[-1:] != b"\n":
            raise ValueError(f"it ends at position {self.size}, in the middle")
        return line[:-1]

    def integer(self) -> int:
        text = self.line().removesuffix(b"L")
        if len(text) > LONGEST_INT:
            raise ValueError(f"a number of {len(text)} digits")
        return int(text)


def _long(content: bytes) -> int:
    if len(content) > LONGEST_INT:
        raise ValueError(f"a number of {len(content)} bytes")
    return int.from_bytes(content, "little", signed=True)


def _quoted(line: bytes) -> str:
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        raise ValueError(f"a text without quotes: {line[:20]!r}")
    return codecs.escape_decode(line[1:-1])[0].decode("latin1")


def _utf8(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")


def _truth_or_int(source: _Source) -> int | bool:
    text = source.line()
    if text in (b"00", b"01"):
        return text == b"01"
    if len(text) > LONGEST_INT:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


# Opcodes that push one plain value, by the function that reads it.
_VALUES: dict[bytes, Callable[[_Source], Any]] = {
    b"N": lambda source: None,
    b"\x88": lambda source: True,
    b"\x89": lambda source: False,
    b"I": _truth_or_int,
    b"L": _Source.integer,
    b"K": lambda source: source.number("B"),
    b"M": lambda source: source.number("H"),
    b"J": lambda source: source.number("i"),
    b"\x8a": lambda source: _long(source.counted("B")),
    b"\x8b": lambda source: _long(source.counted("i")),
    b"F": lambda source: float(source.line()),
    b"G": lambda source: struct.unpack(">d", source.take(8))[0],
    b"S": lambda source: _quoted(source.line()),
    b"T": lambda source: source.counted("i").decode("latin1"),
    b"U": lambda source: source.counted("B").decode("latin1"),
    b"V": lambda source: source.line().decode("raw-unicode-escape"),
    b"\x8c": lambda source: _utf8(source.counted("B")),
    b"X": lambda source: _utf8(source.counted("I")),
    b"\x8d": lambda source: _utf8(source.counted("Q")),
    b"C": lambda source: source.counted("B"),
    b"B": lambda source: source.counted("I"),
    b"\x8e": lambda source: source.counted("Q"),
    b"\x96": lambda source: source.counted("Q"),
    b"]": lambda source: [],
    b"}": lambda source: {},
    b")": lambda source: (),
    b"\x8f": lambda source: [],  # a set
}
_TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
_PUT: dict[bytes, Callable[[_Source], int]] = {
    b"p": _Source.integer,
    b"q": lambda source: source.number("B"),
    b"r": lambda source: source.number("I"),
}
_GET = {b"g": _PUT[b"p"], b"h": _PUT[b"q"], b"j": _PUT[b"r"]}


class _Machine:
    """The stack machine of a pickle, without any means to import or to call."""

    def __init__(self, source: _Source):
        self.source = source
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # the stacks below each mark
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Run up to the end; return the value on top."""
        stop = b"."
        while (code := self.source.take(1)) != stop:
            if read := _VALUES.get(code):
                self.stack.append(read(self.source))
            elif action := _ACTIONS.get(code):
                action(self)
            elif count := _TUPLES.get(code):
                if len(self.stack) < count:
                    raise ValueError("an empty stack")
                self.stack[-count:] = [tuple(self.stack[-count:])]
            elif read := _PUT.get(code):
                self.remember(read(self.source))
            elif read := _GET.get(code):
                self.stack.append(self.memo[read(self.source)])
            else:
                raise DataError(_REFUSED.get(code, f"is damaged or not a pickle (byte {code!r} is no opcode)"))
        return self.stack.pop()

    def remember(self, key: int) -> None:
        value = self.memo[key] = self.stack[-1]
        if isinstance(value, _Unbuilt):
            value.keys.append(key)

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def push_all(self, make: Callable[[list[Any]], Any]) -> None:
        items = self.since_mark()
        self.stack.append(make(items))

    def extend(self, items: list[Any]) -> None:
        container = self.stack[-1]
        if not isinstance(container, list):
            raise ValueError(f"items for a {type(container).__name__}")
        container.extend(items)

    def set_items(self, items: list[Any]) -> None:
        container = self.stack[-1]
        if not isinstance(container, dict):
            raise ValueError(f"entries for a {type(container).__name__}")
        container.update(_entries(items))

    def name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ValueError("a name that is no text")
        module = {"__builtin__": "builtins", "numpy._core.multiarray": "numpy.core.multiarray"}.get(module, module)
        module = "numpy.core.numeric" if module == "numpy._core.numeric" else module
        full = f"{module}.{name}"
        if full not in _BUILDERS and full not in _MARKERS:
            raise DataError(
                f"the pickle asks for {full[:100]}; {ONLY}, and nothing in it was run. If you trust the file, convert "
                "its content to arrays yourself"
            )
        self.stack.append(_Name(full))

    def reduce(self) -> None:
        arguments, name = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, _Name) and name in _BUILDERS and isinstance(arguments, tuple)):
            raise DataError(f"the pickle calls {str(name)[:100]!r}; {ONLY}, and nothing in it was run")
        self.stack.append(_BUILDERS[name](*arguments))

    def build(self) -> None:
        state, value = self.stack.pop(), self.stack.pop()
        if isinstance(value, _Unbuilt):
            array = _array(*_state(state))
            for key in value.keys:
                self.memo[key] = array
            self.stack.append(array)
        elif isinstance(value, _Dtype):
            value.plain = _ordered(value.plain, state)
            self.stack.append(value)
        else:
            raise DataError(f"the pickle sets the attributes of an object; {ONLY}, and nothing in it was run")


def _entries(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Pair keys and values. Keys are texts and numbers; anything deeper could be hashed without end."""
    if len(items) % 2:
        raise ValueError("a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, (str, bytes, int, float, type(None))):
            raise DataError(f"the pickle holds a dict with a {type(key).__name__} as key; keys are texts or numbers")
        yield key, value


_ACTIONS: dict[bytes, Callable[[_Machine], Any]] = {
    b"\x80": lambda vm: vm.source.take(1),  # protocol
    b"\x95": lambda vm: vm.source.take(8),  # length of a frame
    b"(": _Machine.mark,
    b"0": lambda vm: vm.stack.pop() if vm.stack else vm.since_mark(),
    b"1": _Machine.since_mark,
    b"2": lambda vm: vm.stack.append(vm.stack[-1]),
    b"l": lambda vm: vm.push_all(list),
    b"t": lambda vm: vm.push_all(tuple),
    b"d": lambda vm: vm.push_all(lambda items: dict(_entries(items))),
    b"\x91": lambda vm: vm.push_all(list),  # a frozen set
    b"a": lambda vm: vm.extend([vm.stack.pop()]),
    b"e": lambda vm: vm.extend(vm.since_mark()),
    b"\x90": lambda vm: vm.extend(vm.since_mark()),
    b"s": lambda vm: vm.set_items([vm.stack.pop(), vm.stack.pop()][::-1]),
    b"u": lambda vm: vm.set_items(vm.since_mark()),
    b"\x94": lambda vm: vm.remember(len(vm.memo)),
    b"c": lambda vm: vm.name(_utf8(vm.source.line()), _utf8(vm.source.line())),
    b"\x93": lambda vm: vm.name(*[vm.stack.pop(), vm.stack.pop()][::-1]),
    b"R": _Machine.reduce,
    b"b": _Machine.build,
}
_REFUSED = {
    **dict.fromkeys((b"P", b"Q"), "the pickle is part of a larger file, such as a checkpoint of torch"),
    **dict.fromkeys((b"\x97", b"\x98"), "the arrays of the pickle are in other files"),
    **dict.fromkeys(
        (b"i", b"o", b"\x81", b"\x92", b"\x82", b"\x83", b"\x84"),
        f"the pickle holds objects of classes; {ONLY}, and nothing in it was run",
    ),
}


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


def _ordered(dtype: np.dtype, state: Any) -> np.dtype:
    """Set the byte order of a dtype; the rest of its state must be that of a plain one."""
    if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "=", "|"):
        raise ValueError("the state of a dtype")
    if state[2:5] != (None, None, None):
        raise DataError(f"the pickle holds a structured array; {ONLY}")
    return dtype.newbyteorder(state[1])


def _state(state: Any) -> tuple[Any, Any, Any, Any]:
    if not isinstance(state, tuple) or len(state) not in (4, 5):
        raise ValueError("the state of an array")
    shape, dtype, fortran, content = state[-4:]  # before them the version
    return content, dtype, shape, "F" if fortran else "C"


def _array(content: Any, dtype: Any, shape: Any, order: Any = "C") -> np.ndarray:
    """Build an array whose content has exactly the size that its shape and dtype say."""
    if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple) or order not in ("C", "F"):
        raise ValueError("an array without type, shape or order")
    plain, count = dtype.plain, 1
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
    "numpy.core.multiarray._reconstruct": lambda *_: _Unbuilt(),
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _array,
    "collections.OrderedDict": lambda pairs=(): dict(_entries([part for pair in _listed(pairs) for part in pair])),
    "collections.defaultdict": lambda *_: {},
    "_codecs.encode": _encoded,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.set": _listed,
    "builtins.frozenset": _listed,
    "builtins.complex": _complex,
}


def _check_tree(content: Any, size: int) -> None:
    """Raise :class:`DataError` if a part is unfinished, too deep, or repeated so often that copies would fill memory."""
    left = REPEATED * size + SPARE
    parts = [(content, 0)]
    while parts:
        part, depth = parts.pop()
        left -= 8 + (part.nbytes if isinstance(part, np.ndarray) else 0)
        if depth > DEEPEST or left < 0:
            raise DataError("the pickle nests its parts too deep, or repeats them too often; it would not fit in memory")
        if isinstance(part, dict):
            parts += ((value, depth + 1) for value in part.values())
        elif isinstance(part, (list, tuple)) or (isinstance(part, np.ndarray) and part.dtype == object):
            parts += ((value, depth + 1) for value in (part.flat if isinstance(part, np.ndarray) else part))
        elif isinstance(part, (_Name, _Dtype, _Unbuilt)):
            raise DataError(f"the pickle holds {type(part).__name__.strip('_').lower()} without content; {ONLY}")


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
