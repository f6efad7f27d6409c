"""The opcodes of pickles: a stack machine that makes plain values and containers, and can neither import nor call.

What it makes of a name that the pickle calls is the caller's decision (:mod:`ktnet_lite.data.readers.pickles`,
:mod:`ktnet_lite.training.checkpoint`). Every length is compared with what the file has left, and every opcode makes at
most one object.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from ktnet_lite.errors import DataError

LONGEST_INT = 64  # bytes; or digits, in text
DEEPEST = 32  # containers inside one another
REPEATED, SPARE = 16, 10**8  # times the file, and bytes more
ONLY = "only numbers, texts, arrays of them and plain containers are read"
FAILURES = (ValueError, TypeError, LookupError, OverflowError, struct.error, RecursionError)  # of a damaged pickle
MOVED = {  # modules by their names today -> the names that builders are known by
    "__builtin__": "builtins",
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
}


class Name(str):
    """A name that the pickle asks for, such as ``numpy.dtype``; never imported."""


class Unfinished:
    """A value whose content comes later; then it is replaced, in the memo too."""

    def __init__(self):
        self.keys: list[int] = []  # of the memo


class Source:
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
        return _decimal(self.line().removesuffix(b"L"))


def _decimal(text: bytes) -> int:
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


def _truth_or_int(source: Source) -> int | bool:
    text = source.line()
    return text == b"01" if text in (b"00", b"01") else _decimal(text)


# Opcodes that push one plain value, by the function that reads it.
_VALUES: dict[bytes, Callable[[Source], Any]] = {
    b"N": lambda source: None,
    b"\x88": lambda source: True,
    b"\x89": lambda source: False,
    b"I": _truth_or_int,
    b"L": Source.integer,
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
_PUT: dict[bytes, Callable[[Source], int]] = {
    b"p": Source.integer,
    b"q": lambda source: source.number("B"),
    b"r": lambda source: source.number("I"),
}
_GET = {b"g": _PUT[b"p"], b"h": _PUT[b"q"], b"j": _PUT[b"r"]}


class Machine:
    """The stack machine of a pickle.

    Parameters
    ----------
    source : Source
    builders : dict of functions
        Names that the pickle may call, and what is called instead.
    markers : set of str
        Names that it may only mention.
    finish : function of a value and a state
        Returns the value with this state, for a value that a builder made; raises :class:`DataError` for any other.
    outside : function of an id, optional
        Returns a part that the file keeps outside of the pickle, as torch's checkpoints do.
    """

    def __init__(
        self,
        source: Source,
        builders: Mapping[str, Callable[..., Any]],
        markers: set[str],
        finish: Callable[[Any, Any], Any],
        outside: Callable[[Any], Any] | None = None,
    ):
        self.source, self.builders, self.markers, self.finish, self.outside = source, builders, markers, finish, outside
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
                refused = REFUSED.get(code)
                raise DataError(refused) if refused else ValueError(f"byte {code!r} is no opcode")
        value = self.stack.pop()
        if self.stack or self.marked:
            raise ValueError("it ends in the middle")
        return value

    def remember(self, key: int) -> None:
        value = self.memo[key] = self.stack[-1]
        if isinstance(value, Unfinished):
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
        container.update(entries(items))

    def name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ValueError("a name that is no text")
        full = f"{MOVED.get(module, module)}.{name}"
        if full not in self.builders and full not in self.markers:
            raise DataError(
                f"the pickle asks for {module[:50]}.{name[:50]}; {ONLY}, and nothing in it was run. If you trust the "
                "file, convert its content to arrays yourself"
            )
        self.stack.append(Name(full))

    def fetch(self) -> None:
        if self.outside is None:
            raise DataError(REFUSED[b"P"])
        self.stack.append(self.outside(self.stack.pop()))

    def reduce(self) -> None:
        arguments, name = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, Name) and name in self.builders and isinstance(arguments, tuple)):
            called = name if isinstance(name, Name) else f"a {type(name).__name__}"
            raise DataError(f"the pickle calls {called}; {ONLY}, and nothing in it was run")
        self.stack.append(self.builders[name](*arguments))

    def build(self) -> None:
        state, value = self.stack.pop(), self.stack.pop()
        finished = self.finish(value, state)
        for key in value.keys if isinstance(value, Unfinished) else ():
            self.memo[key] = finished
        self.stack.append(finished)


def entries(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Pair keys and values. Keys are texts and numbers; anything deeper could be hashed without end."""
    if len(items) % 2:
        raise ValueError("a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, (str, bytes, int, float, type(None))):
            raise DataError(f"the pickle holds a dict with a {type(key).__name__} as key; keys are texts or numbers")
        yield key, value


_ACTIONS: dict[bytes, Callable[[Machine], Any]] = {
    b"\x80": lambda vm: vm.source.take(1),  # protocol
    b"\x95": lambda vm: vm.source.take(8),  # length of a frame
    b"(": Machine.mark,
    b"0": lambda vm: vm.stack.pop() if vm.stack else vm.since_mark(),
    b"1": Machine.since_mark,
    b"2": lambda vm: vm.stack.append(vm.stack[-1]),
    b"l": lambda vm: vm.push_all(list),
    b"t": lambda vm: vm.push_all(tuple),
    b"d": lambda vm: vm.push_all(lambda items: dict(entries(items))),
    b"\x91": lambda vm: vm.push_all(list),  # a frozen set
    b"a": lambda vm: vm.extend([vm.stack.pop()]),
    b"e": lambda vm: vm.extend(vm.since_mark()),
    b"\x90": lambda vm: vm.extend(vm.since_mark()),
    b"s": lambda vm: vm.set_items([vm.stack.pop(), vm.stack.pop()][::-1]),
    b"u": lambda vm: vm.set_items(vm.since_mark()),
    b"\x94": lambda vm: vm.remember(len(vm.memo)),
    b"c": lambda vm: vm.name(_utf8(vm.source.line()), _utf8(vm.source.line())),
    b"\x93": lambda vm: vm.name(*[vm.stack.pop(), vm.stack.pop()][::-1]),
    b"Q": Machine.fetch,
    b"R": Machine.reduce,
    b"b": Machine.build,
}
REFUSED = {
    b"P": "the pickle is part of a larger file, such as a checkpoint of torch",
    **dict.fromkeys((b"\x97", b"\x98"), "the arrays of the pickle are in other files"),
    **dict.fromkeys(
        (b"i", b"o", b"\x81", b"\x92", b"\x82", b"\x83", b"\x84"),
        f"the pickle holds objects of classes; {ONLY}, and nothing in it was run",
    ),
}


def check_tree(content: Any, size: int) -> None:
    """Raise :class:`DataError` if a part is unfinished, nested too deep, or repeated too often."""
    left = REPEATED * size + SPARE
    inside = [iter([content])]  # the parts still to come, of each container on the way down
    while inside:
        for part in inside[-1]:
            left -= 8 + getattr(part, "nbytes", 0)
            if len(inside) > DEEPEST or left < 0:
                raise DataError(
                    "the pickle nests its parts too deep, or repeats them too often; it would fill the memory"
                )
            if isinstance(part, (Name, Unfinished)):
                raise DataError(f"the pickle holds an array or a type without content; {ONLY}")
            if isinstance(part, np.ndarray) and part.dtype == object:
                inside.append(iter(part.flat))
                break
            if isinstance(part, (dict, list, tuple)):
                inside.append(iter(part.values() if isinstance(part, dict) else part))
                break
        else:
            inside.pop()
