"""The canonical HDF5 file of a data set: written once and whole, read by split and modality.

Layout, format 1: attributes ``format``, ``name``, ``task``, ``aligned``, ``provenance`` (JSON), ``checksum``; a group
for each split with ``ids``, ``targets``, perhaps ``words``, and a group for each modality with ``values`` (steps, D)
float32 and ``lengths`` (N,). Chunked, compressed, each chunk with a Fletcher-32. Texts are UTF-8 bytes, separated by
a zero byte (the words of a clip by spaces), because HDF5 neither compresses nor checks strings of variable length.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tqdm import tqdm

from ktnet_lite.data.schema import (
    Dataset,
    Header,
    Modality,
    Split,
    Stream,
    check_agreement,
    combined_digest,
    split_digest,
)
from ktnet_lite.errors import DataError

FORMAT = 1
SIGNATURE = "ktnet-lite"
FILTERS: dict[str, Any] = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}


def write(path: Path | str, header: Header, splits: Iterable[tuple[str, Split]], progress: bool = False) -> str:
    """Write a data set split by split, so that only one is ever in memory; return its checksum.

    Everything goes to ``<path>.partial``, which takes the name ``path`` only when it is complete: an interrupted
    conversion leaves whatever stood there before.

    Raises
    ------
    DataError
        A split is not sound, or the file cannot be written (disk full, read-only folder).
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    digests: dict[str, str] = {}
    dims: dict[Modality, int] = {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(partial, "w", libver="latest") as file:
            for name, split in tqdm(splits, desc=f"writing {path.name}", unit="split", disable=not progress):
                split.validate(f"{header.name}, split {name}", header.task)
                check_agreement(header, name, split, dims)
                dims |= {modality: stream.dim for modality, stream in split.streams.items()}
                _write_split(file.create_group(name), split)
                digests[name] = split_digest(split)
            if not digests:
                raise DataError(f"{header.name}: no split at all, so nothing to write")
            checksum = combined_digest(digests)
            provenance = json.dumps(dict(header.provenance), sort_keys=True)
            about = {"name": header.name, "task": header.task, "aligned": header.aligned, "provenance": provenance}
            file.attrs.update({"signature": SIGNATURE, "format": FORMAT, **about, "checksum": checksum})
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error}; free some space or choose another folder") from error
    finally:
        partial.unlink(missing_ok=True)
    return checksum


def read(
    path: Path | str, splits: Sequence[str] | None = None, modalities: Sequence[Modality] | None = None
) -> Dataset:
    """Read a data set, or only the named splits and modalities of it; the rest stays on disk.

    A whole data set is held against its checksum; a part is guarded by the checksum of each chunk.

    Raises
    ------
    DataError
        No such file, damaged, another format, or a split or modality that it does not have.
    """
    with _open(path) as file:
        header = _header(file)
        names = list(file) if splits is None else list(splits)
        for name in names:
            if name not in file:
                raise DataError(f"{path} has no split {name!r}; it has {', '.join(file)}")
        dataset = Dataset(header, {name: _read_split(file[name], modalities) for name in names})
        dataset.validate()
        if splits is None and modalities is None and dataset.checksum != file.attrs["checksum"]:
            raise DataError(f"{path} is damaged: its content does not match its checksum; convert or fetch it again")
        return dataset


def info(path: Path | str) -> dict[str, Any]:
    """Header, checksum and sizes, without reading a feature."""
    with _open(path) as file:
        header = _header(file)
        sizes = {
            name: {
                "clips": len(split["targets"]),
                "modalities": {m: split[m]["values"].shape for m in split if isinstance(split[m], h5py.Group)},
            }
            for name, split in file.items()
        }
        return {"header": header, "checksum": file.attrs["checksum"], "splits": sizes}


class _open:  # noqa: N801
    """Open a store, turning every way in which HDF5 says "damaged" into a DataError that names the file."""

    def __init__(self, path: Path | str):
        self.path = Path(path)

    def __enter__(self) -> h5py.File:
        if not self.path.is_file():
            raise DataError(f"no file at {self.path}")
        try:
            self.file = h5py.File(self.path, "r")
            known = self.file.attrs.get("signature") == SIGNATURE
            version = self.file.attrs.get("format")
        except Exception as error:  # h5py raises OSError, RuntimeError, KeyError and more on damage
            raise self._damaged(error) from error
        if not known:
            self.file.close()
            raise DataError(
                f"{self.path} is HDF5, but no data set of ktnet-lite; `ktnet-lite data check` says what it is"
            )
        if version != FORMAT:
            self.file.close()
            raise DataError(
                f"{self.path} has format {version}, this version reads {FORMAT}; convert the raw files again"
            )
        return self.file

    def __exit__(self, kind, error, trace) -> None:
        self.file.close()
        if error is not None and not isinstance(error, (DataError, KeyboardInterrupt, MemoryError)):
            raise self._damaged(error) from error

    def _damaged(self, error: BaseException) -> DataError:
        return DataError(f"{self.path} is damaged or no HDF5 file ({error}); convert or fetch it again")


def _header(file: h5py.File) -> Header:
    attrs = file.attrs
    return Header(str(attrs["name"]), str(attrs["task"]), bool(attrs["aligned"]), json.loads(attrs["provenance"]))


def _write_split(group: h5py.Group, split: Split) -> None:
    arrays = {"ids": _to_bytes(split.ids), "targets": split.targets}
    if split.words is not None:
        arrays["words"] = _to_bytes(" ".join(words) for words in split.words)
    for name, stream in split.streams.items():
        arrays |= {f"{name}/values": stream.values, f"{name}/lengths": stream.lengths}
    for name, array in arrays.items():
        group.create_dataset(name, data=array, chunks=True, **FILTERS)


def _read_split(group: h5py.Group, modalities: Sequence[Modality] | None) -> Split:
    there = [name for name in group if isinstance(group[name], h5py.Group)]
    wanted = there if modalities is None else list(modalities)
    for name in wanted:
        if name not in there:
            raise DataError(f"{group.file.filename}, split {group.name[1:]}: no {name}; it has {', '.join(there)}")
    words = None
    if "words" in group and "language" in wanted:
        words = tuple(tuple(clip.split(" ")) for clip in _from_bytes(group["words"]))
    return Split(
        {name: Stream(group[name]["values"][:], group[name]["lengths"][:]) for name in wanted},
        group["targets"][:],
        tuple(_from_bytes(group["ids"])),
        words,
    )


def _to_bytes(texts: Iterable[str]) -> np.ndarray:
    return np.frombuffer("\0".join(texts).encode(), dtype=np.uint8)


def _from_bytes(dataset: h5py.Dataset) -> list[str]:
    return dataset[:].tobytes().decode().split("\0")
