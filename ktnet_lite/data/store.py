"""The file of a data set: HDF5, written whole or not at all, read lazily, with a checksum over every byte.

Layout, with N clips in a split and T steps in all of them together::

    /                     attributes: format = "ktnet-lite", version
    /header               JSON: name, task, aligned, provenance, names of the splits, checksum of the content, and a
                          seal, the checksum of all of these
    /<split>/ids          JSON list of N names
    /<split>/words        JSON list of N lists of words (optional)
    /<split>/targets      (N,) or (N, 4)
    /<split>/<modality>/  values float32 (T, D), lengths int64 (N,), targets float32 (N,) of this modality (optional)

Texts are stored as byte arrays because HDF5 has checksums for chunks and metadata, but not for its heap of strings.
Files of version 1, which have no seal, are read too.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import h5py
import msgspec
import numpy as np
from tqdm import tqdm

from ktnet_lite.data import hdf5
from ktnet_lite.data.schema import Dataset, Header, Split, Stream, combined_digest, split_digest, validated
from ktnet_lite.errors import DataError
from ktnet_lite.files import replacing
from ktnet_lite.names import MODALITIES, Modality, Task
from ktnet_lite.text import enumerated

FORMAT = np.bytes_("ktnet-lite")
VERSION = 2
READABLE = (1, 2)
CHUNK = 1 << 20  # bytes before compression

T = TypeVar("T")


class _Stored(msgspec.Struct, frozen=True):
    """The header, as a file holds it."""

    name: str
    task: Task
    aligned: bool
    provenance: dict[str, str]
    splits: list[str]
    checksum: str
    seal: str = ""

    @property
    def header(self) -> Header:
        return Header(self.name, self.task, self.aligned, self.provenance)

    def computed_seal(self) -> str:
        """SHA-256 of everything else."""
        content = msgspec.to_builtins(msgspec.structs.replace(self, seal=""))
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Info:
    """Description of a stored data set, without its arrays.

    Parameters
    ----------
    header : Header
    checksum : str
        Checksum of the content (:attr:`ktnet_lite.data.schema.Dataset.checksum`).
    clips : dict of int
        Number of clips of each split.
    streams : dict of dict
        ``streams[split][modality]`` is the shape of the values, (steps of all clips, D).
    size : int
        Bytes on disk.
    """

    header: Header
    checksum: str
    clips: dict[str, int]
    streams: dict[str, dict[Modality, tuple[int, int]]]
    size: int


def write(path: Path | str, header: Header, splits: Iterable[tuple[str, Split]], progress: bool = True) -> str:
    """Write a data set split by split; return the checksum of its content.

    Each split is validated, written and released before the next is taken. A previous file at ``path`` is replaced only
    once the new one is whole, so it survives any failure.

    Raises
    ------
    DataError
        A split is invalid, or the disk is full or read-only.
    """
    path = Path(path)
    with replacing(path, DataError) as partial, _Output(partial, "w+") as output:
        with h5py.File(output, "w", libver="latest") as file:
            file.attrs.update(format=FORMAT, version=VERSION)
            checksum = _write_content(file, header, iter(splits), output, progress)
        output.check()
    return checksum


def read(
    path: Path | str,
    splits: Iterable[str] | None = None,
    modalities: Iterable[Modality] | None = None,
    verify: bool = False,
) -> Dataset:
    """Read a data set, or only the given splits and modalities.

    Every chunk is compared with its own checksum, and a whole data set with the checksum of its content. With
    ``verify`` a part is too, which means reading the whole file first.

    Raises
    ------
    DataError
        The file does not exist, is not of this package or version, or is damaged; or it lacks a split or modality.
    """
    with _opened(path) as (file, stored):
        names = stored.splits if splits is None else list(splits)
        for name in names:
            if name not in stored.splits:
                raise DataError(f"{path} has no split {name!r}; it has {', '.join(stored.splits)}")
        available = [name for name in MODALITIES if any(name in file[split] for split in names)]
        selected = available if modalities is None else list(modalities)
        for modality in selected:
            if modality not in available:
                raise DataError(f"{path} has no {modality} in {', '.join(names)}; it has {', '.join(available)}")
        whole = splits is None and modalities is None
        if verify and not whole:
            digests = {name: split_digest(_read_split(file[name], MODALITIES)) for name in stored.splits}
            _compare(path, combined_digest(digests), stored.checksum)
        dataset = Dataset(stored.header, {name: _read_split(file[name], selected) for name in names})
        if whole:
            dataset.validate()
            _compare(path, dataset.checksum, stored.checksum)
        for name in () if whole else dataset:
            dataset[name].validate_parts(f"{stored.name}, split {name}", stored.task)
        return dataset


def info(path: Path | str) -> Info:
    """Read header and sizes, but no arrays. Raises :class:`DataError` like :func:`read`."""
    with _opened(path) as (file, stored):
        streams: dict[str, dict[Modality, tuple[int, int]]] = {}
        for name in stored.splits:
            streams[name] = {}
            for modality in MODALITIES:
                if modality in file[name]:
                    steps, dim = hdf5.checked(file[name].get(f"{modality}/values"), "f", 2).shape
                    streams[name][modality] = steps, dim
        clips = {name: len(hdf5.checked(file[name].get("targets"))) for name in stored.splits}
        return Info(stored.header, stored.checksum, clips, streams, Path(path).stat().st_size)


class _Output(io.FileIO):
    """A file that keeps its first error for :meth:`check`; HDF5 loses errors of delayed writes, or crashes on them."""

    error: OSError | None = None

    def write(self, content: Any) -> int:
        content = memoryview(content).cast("B")
        done = 0
        try:
            while self.error is None and done < len(content):
                done += super().write(content[done:])
        except OSError as error:
            self.error = error
        return len(content)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def check(self) -> None:
        if self.error is not None:
            raise self.error


def is_store(path: Path | str) -> bool:
    """Whether a file was written by this package, in any version, even if it is damaged.

    Raises
    ------
    UnreadableError
        The file exists, but cannot be read now.
    """
    return hdf5.passes(path, lambda file: bool(file.attrs.get("format") == FORMAT))


def _write_content(
    file: h5py.File, header: Header, splits: Iterator[tuple[str, Split]], output: _Output, progress: bool
) -> str:
    digests: dict[str, str] = {}
    splits = validated(header, splits)
    while (item := next(splits, None)) is not None:
        name, split = item
        size = sum(stream.values.nbytes for stream in split.streams.values())
        hide = None if progress else True  # None: hidden if there is no terminal
        with tqdm(total=size, desc=f"write {name}", unit="B", unit_scale=True, disable=hide) as bar:

            def advance(written: int, bar: tqdm = bar) -> None:
                output.check()
                bar.update(written)

            _write_split(file.create_group(name), split, advance)
        digests[name] = split_digest(split)
        del item, split  # frees memory for the next
    if not digests:
        raise DataError(f"{header.name}: no splits to write")
    checksum = combined_digest(digests)
    stored = _Stored(header.name, header.task, header.aligned, dict(header.provenance), list(digests), checksum)
    _write_json(file, "header", msgspec.to_builtins(msgspec.structs.replace(stored, seal=stored.computed_seal())))
    return checksum


def _write_split(group: h5py.Group, split: Split, advance: Callable[[int], None]) -> None:
    _write_json(group, "ids", split.ids)
    if split.words is not None:
        _write_json(group, "words", split.words)
    _write_array(group, "targets", split.targets)
    for modality, targets in split.own_targets.items():
        _write_array(group, f"{modality}/targets", targets)
    for modality, stream in split.streams.items():
        _write_array(group, f"{modality}/lengths", stream.lengths)
        _write_array(group, f"{modality}/values", stream.values, advance)


def _write_array(group: h5py.Group, name: str, array: np.ndarray, advance: Callable[[int], None] | None = None) -> None:
    row = max(1, array[:1].nbytes)
    rows = max(1, min(len(array), CHUNK // row))
    options = {"chunks": (rows, *array.shape[1:]), "maxshape": (None, *array.shape[1:])}
    filters = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}
    dataset = group.create_dataset(name, array.shape, array.dtype, **options, **filters)
    for start in range(0, len(array), rows):
        dataset[start : start + rows] = array[start : start + rows]
        if advance is not None:
            advance(array[start : start + rows].nbytes)


def _write_json(group: h5py.Group, name: str, content: Any) -> None:
    _write_array(group, name, np.frombuffer(json.dumps(content).encode(), np.uint8))


@contextmanager
def _opened(path: Path | str) -> Iterator[tuple[h5py.File, _Stored]]:
    """Open a file and read its header; every failure becomes a :class:`DataError`."""
    with hdf5.opened(path) as file:
        if file.attrs.get("format") != FORMAT:
            raise DataError(
                f"{path} is HDF5, but not a file of ktnet-lite, and of no other layout that is known; "
                "`ktnet-lite data check` shows what it holds"
            )
        if (version := file.attrs["version"]) not in READABLE:
            raise DataError(
                f"{path} has format version {version}, but this ktnet-lite reads {enumerated(map(str, READABLE))}; "
                "convert the original file again, or install the release that wrote it"
            )
        stored = _read_json(file, "header", _Stored)
        if stored.seal != stored.computed_seal() and (version > 1 or stored.seal):
            raise DataError(f"{path} is damaged: its header does not match its checksum; convert or fetch it again")
        if missing := [name for name in stored.splits if not isinstance(hdf5.member(file, name), h5py.Group)]:
            raise ValueError(f"the splits {enumerated(missing)} are missing")
        yield file, stored


def _compare(path: Path | str, actual: str, stored: str) -> None:
    if actual != stored:
        raise DataError(f"{path} is damaged: the content does not match the checksum; convert or fetch it again")


def _read_split(group: h5py.Group, modalities: Iterable[Modality]) -> Split:
    streams = {
        modality: Stream(
            _read_array(group, f"{modality}/values", "f", 2), _read_array(group, f"{modality}/lengths", "i", 1)
        )
        for modality in MODALITIES
        if modality in modalities and modality in group
    }
    own = {name: _read_array(group, f"{name}/targets", "f", 1) for name in streams if "targets" in group[name]}
    words = None
    if "words" in group and "language" in streams:
        words = tuple(map(tuple, _read_json(group, "words", list[list[str]])))
    return Split(streams, _read_array(group, "targets"), tuple(_read_json(group, "ids", list[str])), words, own)


def _read_array(group: h5py.Group, name: str, kinds: str = "fiu", dimensions: int | None = None) -> np.ndarray:
    dataset = hdf5.checked(hdf5.member(group, name), kinds, dimensions)
    if not dataset.fletcher32:
        raise ValueError(f"{dataset.name} has no checksum")
    return dataset[()]


def _read_json(group: h5py.Group, name: str, kind: type[T]) -> T:
    """Read JSON of the given type. Raises :class:`ValueError` for any other."""
    try:
        return msgspec.json.decode(_read_array(group, name, "u", 1).tobytes(), type=kind)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{group.name.rstrip('/')}/{name}: {error}") from error
