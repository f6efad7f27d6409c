"""Mutations of bytes, of the opcodes and the content of pickles, and of HDF5 files and the JSON in them."""

from __future__ import annotations

import json
import pickletools
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

HUGE = (1 << 31, 1 << 40, (1 << 63) - 1, -1, -(1 << 63), 10**30)
TEXTS = ("", "\ud800", "a\0b", "$x_1$", "=1+1", "ü视", "x" * 5000, "../../up", "nan", "1e999")


def weird(rng: random.Random) -> Any:
    """A value that nobody expects."""
    looped: list[Any] = []
    looped.append(looped)
    deep: Any = 1
    for _ in range(rng.choice((5, 70, 300))):
        deep = [deep]
    choices: list[Callable[[], Any]] = [
        lambda: None,
        lambda: rng.choice(HUGE),
        lambda: rng.choice((float("nan"), float("inf"), -0.0, 1e308)),
        lambda: rng.choice(TEXTS),
        lambda: rng.choice((True, b"", b"\xff" * 9, (), [], {}, {1: 2}, {"a": {}}, set(), 1j)),
        lambda: looped,
        lambda: deep,
        lambda: [[1], [1, 2]],
        lambda: np.zeros((0, rng.choice((0, 3, 1 << 30)))),
        lambda: np.full((rng.choice((1, 4, 6)), 6, 5), rng.choice((np.nan, np.inf, 1e300, 0.0))),
        lambda: np.array([rng.choice(TEXTS[2:]), "b"]),
        lambda: np.array([{}, [], None], dtype=object),
        lambda: np.zeros(4, dtype="f4,i8"),
        lambda: np.array(["2020-01-01"], dtype="M8[D]"),
        lambda: np.arange(24.0).reshape(4, 6)[:, ::-2],
        lambda: np.float16(1.5),
        lambda: np.array(3),
        lambda: np.asfortranarray(np.ones((4, 6, 5), ">f8")),
        lambda: np.ones((4, 6, 5), bool),
        lambda: [np.ones((n, 5)) for n in (1, 0, 4, 2)],
    ]
    return rng.choice(choices)()


def _places(tree: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        found.append((tree, key))
        _places(value, found)
    return found


def content(tree: Any, rng: random.Random) -> Any:
    """Change one place of nested dicts and lists, in place; return the tree."""
    parent, key = rng.choice(_places(tree, []))
    what = rng.randrange(8)
    if what == 0:
        del parent[key]
    elif what == 1:
        parent[key] = [parent[key]] * rng.choice((1, 2, 1000))
    elif what == 2 and isinstance(parent, dict):
        parent[rng.choice(TEXTS)] = parent.pop(key)
    elif what == 3 and isinstance(parent[key], np.ndarray) and parent[key].dtype.kind in "fiu":
        array = parent[key]
        changes: list[Callable[[], Any]] = [
            lambda: array[:-1],
            lambda: array.astype(object),
            lambda: list(array),
            lambda: array.tolist(),
            lambda: array.astype(rng.choice(("f8", ">f4", "i8", "c16", "S3", "U3", "?", "f2"))),
            lambda: array.T,
            lambda: array.reshape(-1),
            lambda: array[None],
            lambda: np.where(rng.random() < 0.5, np.nan, array.astype(float)),
        ]
        with np.errstate(all="ignore"):
            parent[key] = rng.choice(changes)()
    elif what == 4:
        other, name = rng.choice(_places(tree, []))
        parent[key] = other[name]
    else:
        parent[key] = weird(rng)
    return tree


def of_bytes(whole: bytes, rng: random.Random) -> bytes:
    """Change some bytes."""
    damaged, at = bytearray(whole), rng.randrange(len(whole))
    what = rng.randrange(8)
    if what == 0:
        damaged = damaged[:at]
    elif what == 1:
        damaged = damaged[at:]
    elif what == 2:
        damaged[at : at + rng.choice((1, 8, 300))] = bytes(rng.randrange(256) for _ in range(rng.choice((1, 8, 30))))
    elif what == 3:
        other = rng.randrange(len(whole))
        damaged[at : at + 16] = damaged[other : other + 16]
    elif what == 4:
        size = rng.choice((4, 8))
        damaged[at : at + size] = (rng.choice(HUGE) % (1 << 8 * size)).to_bytes(size, "little")
    else:
        for _ in range(rng.choice((1, 1, 1, 5))):
            damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


HOSTILE = (
    b"cos\nsystem\n(Vtouch RAN\ntR",
    b"cbuiltins\nexec\n(Vopen('RAN', 'w')\ntR",
    b"cbuiltins\ngetattr\n(cnumpy\nndarray\nVshape\ntR",
    b"\x8c\x08builtins\x8c\x05print\x93)\x81",
    b"(Vtouch RAN\nios\nsystem\n",
    b"cnumpy\nndarray\n(I4\ntR",
    b"cnumpy\nndarray\n(J\xff\xff\xff\x7fI8\ntR",
    b"c__builtin__\nbytearray\n(J\xff\xff\xff\x7ftR",
    b"c__builtin__\nint\n(V" + b"9" * 9000 + b"\ntR",
    b"cnumpy\ndtype\n(VO8\nI0\nI1\ntR}b",
    b"ccollections\nOrderedDict\n(((tttR",
    b"r\xff\xff\xff\x7f",
    b"\x8b\xff\xff\xff\x7f",
    b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"]\x94h\x00a",
    b"(" * 300 + b"t" * 300,
    b"]" * 50 + b"a" * 49,
    b"cnumpy\nndarray\n}Va\nI1\nsb",
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR",
    b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(VO\ntR]tR",
    b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(VS999999999\ntRVx\ntR",
)


def opcodes(whole: bytes, rng: random.Random) -> bytes:
    """Delete, repeat, swap or replace whole opcodes of a pickle, or add hostile ones."""
    starts = [position for _, _, position in pickletools.genops(whole)]
    pieces = [whole[a:b] for a, b in zip(starts, [*starts[1:], len(whole)], strict=True)]
    at = rng.randrange(1, len(pieces) - 1)
    what = rng.randrange(6)
    if what == 0:
        del pieces[at]
    elif what == 1:
        pieces.insert(at, pieces[at])
    elif what == 2:
        other = rng.randrange(1, len(pieces) - 1)
        pieces[at], pieces[other] = pieces[other], pieces[at]
    elif what == 3 and (numbers := [i for i, piece in enumerate(pieces) if piece[:1] in b"KMJ"]):
        pieces[rng.choice(numbers)] = b"J" + struct.pack("<i", rng.choice((-1, 0, 1, 7, 10**6, 2**31 - 1)))
    elif what == 4:
        pieces.insert(at, rng.choice(HOSTILE))
    else:
        pieces[at] = rng.choice(HOSTILE)
    return b"".join(pieces)


def hdf5(path: Path, rng: random.Random) -> None:
    """Change the structure of an HDF5 file, in place."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = rng.choice(names)
        parent, _, last = name.rpartition("/")
        group, item = file[parent or "/"], file[name]
        value = item[()] if isinstance(item, h5py.Dataset) else None
        what = rng.randrange(14)
        if what == 0:
            del group[last]
        elif what == 1:
            group.move(last, rng.choice(("x", "ü", "train", "va", "features")) + str(rng.randrange(3)))
        else:
            del group[last]
            replacements: list[Callable[[], Any]] = [
                lambda: group.create_group(last),
                lambda: group.create_dataset(last, data=h5py.Empty("f4")),
                lambda: group.create_dataset(last, (1 << rng.choice((20, 40, 60)), 4), "f4", chunks=(1 << 20, 4)),
                lambda: group.create_dataset(last, (10,), "f4", chunks=(1 << 27,), maxshape=(None,)),
                lambda: group.create_dataset(last, data=[rng.choice(TEXTS[3:6])] * 4, dtype=h5py.string_dtype()),
                lambda: group.create_dataset(last, data=np.zeros(4, "f4,i4")),
                lambda: group.create_dataset(last, data=np.float64(rng.choice((1, np.nan)))),
                lambda: group.create_dataset(last, (4, 3), "f4", external=[("/etc/passwd", 0, 48)]),
                lambda: group.__setitem__(last, h5py.ExternalLink("/etc/hosts", "/x")),
                lambda: group.__setitem__(last, h5py.SoftLink(rng.choice(("/", "/nowhere", name)))),
                lambda: group.create_dataset(last, data=np.full(np.shape(value), rng.choice((0, np.nan, 1e300)))),
                lambda: group.create_dataset(last, data=np.zeros((0, rng.choice((0, 3))))),
            ]
            replacements[what - 2]()


def stored_json(path: Path, rng: random.Random) -> None:
    """Change a text of a store so that its own checksum is right: only the file's checksums can tell."""
    with h5py.File(path, "r+") as file:
        name = rng.choice(("header", "header", "train/ids", "test/words"))
        tree = {"": json.loads(file[name][()].tobytes())}
        try:
            text = json.dumps(content(tree, rng).get(""), default=str)
        except (ValueError, RecursionError):  # a list in itself
            text = "[" * 3000
        if rng.random() < 0.2:
            text = rng.choice((text[:-3], "[" * 5000, text.replace("1", "1e999"), text.replace('"', "'"), "\x00"))
        del file[name]
        array = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
        if len(array):
            file.create_dataset(name, data=array, chunks=array.shape, fletcher32=True)
