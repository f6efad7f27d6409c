"""The content of a file, split by split and unrepaired, valid or not, for the doctor to examine."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sized
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from ktnet_lite.data import readers, store
from ktnet_lite.data.doctor.findings import Report
from ktnet_lite.data.doctor.measure import Frames
from ktnet_lite.data.readers import pickles
from ktnet_lite.data.readers.csd import Videos
from ktnet_lite.data.readers.fields import FIELDS, ids_of, lengths_of, numbers
from ktnet_lite.data.schema import Split, combined_digest, split_digest
from ktnet_lite.errors import DataError
from ktnet_lite.names import SPLITS, Modality, Task

PUBLISHED_CSD = {(93, 2199): "MOSI, all labels"}  # videos, segments


class Content(NamedTuple):
    """The content of one split of a file, valid or not."""

    ids: tuple[str, ...] | None
    targets: np.ndarray | None
    fields: dict[Modality, Frames]


def note(report: Report, where: str, error: DataError) -> None:
    """Report the error of a reader, without the path, which the report gives already."""
    report.error(where, str(error).removeprefix(str(report.path)).lstrip(":, /\\"))


def from_store(report: Report, path: Path) -> Iterator[tuple[str, Content]]:
    """Yield the splits of a store, and compare the content with its checksum."""
    try:
        about = store.info(path)
    except DataError as error:
        note(report, "file", error)
        return
    report.facts.append(("data set", f"{about.header.name}, {about.header.task}"))
    digests = {}
    for name in about.clips:
        try:
            split = store.read(path, splits=[name])[name]
        except DataError as error:
            note(report, f"split {name}", error)
            continue
        digests[name] = split_digest(split)
        yield name, _validated(report, name, split, about.header.task)
    if digests.keys() == about.clips.keys() and combined_digest(digests) != about.checksum:
        report.error("checksum", "the content does not match the checksum; the file was altered after it was written")


def from_reader(report: Report, path: Path, form: str | None = None) -> Iterator[tuple[str, Content]]:
    """Yield the splits that the reader yields, up to the first that it rejects; report its errors and warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            header, splits = readers.open_source(path, form)
            for name, split in splits:
                yield name, _validated(report, name, split, header.task)
        except DataError as error:
            note(report, "reader", error)
    for warning in caught:
        report.warn("reader", str(warning.message))


def _validated(report: Report, name: str, split: Split, task: Task) -> Content:
    try:
        split.validate(f"split {name}", task)
    except DataError as error:
        note(report, "reader", error)
    return Content(split.ids, split.targets, {m: Frames.of(stream) for m, stream in split.streams.items()})


def from_pickle(report: Report, path: Path, form: str) -> Iterator[tuple[str, Content]]:
    """Yield the splits of a pickle with their padding; if they have no errors, run the reader too, for its findings."""
    try:
        content = pickles.load(path)
    except DataError as error:
        note(report, "file", error)
        return
    if isinstance(content, dict):
        for name in [name for name in SPLITS if isinstance(content.get(name), dict)]:
            yield name, _fields(report, name, content.pop(name))
    del content
    if not report.errors:
        for _ in from_reader(report, path, form):
            pass


def _fields(report: Report, name: str, fields: dict[str, Any]) -> Content:
    def checked(read: Callable, *arguments: Any) -> Any:
        """Return what ``read``, a check of the readers, returns, or None after reporting its error."""
        try:
            return read(report.path, name, *arguments)
        except DataError as error:
            where, _, what = str(error).removeprefix(f"{report.path}, split ").partition(": ")
            return report.error(where, what)

    targets = fields.get("regression_labels", fields.get("labels"))
    if targets is not None:
        try:
            targets = np.atleast_1d(targets)
        except ValueError:  # lists of different lengths
            targets = np.array(["ragged"])
    ids = fields.get("id")
    if ids is not None:
        ids = checked(ids_of, ids)
    frames = {}
    for key, modality in FIELDS.items():
        if key not in fields:
            report.error(f"{name}, {key}", "the field is missing")
        elif (array := checked(numbers, key, fields[key], 3)) is not None:
            lengths = fields.get(f"{key}_lengths")
            if lengths is not None:
                lengths = checked(lengths_of, f"{key}_lengths", lengths, array.shape[:2])
            frames[modality] = Frames(array, lengths)
    return Content(ids, targets, frames)


def from_csd(report: Report, path: Path) -> Iterator[tuple[str, Content]]:
    """Examine one .csd file, which is no data set and so has no splits."""
    try:
        videos = Videos(path)
    except DataError as error:
        return note(report, "file", error)
    segments = 0
    for video in videos:
        try:
            features, intervals = videos[video]
        except DataError as error:
            note(report, "file", error)
            continue
        segments += len(features)
        if features.dtype.kind == "f" and (bad := int((~np.isfinite(features)).sum())):
            report.warn(f"video {video}", f"{bad} NaN or inf in features")
        if backwards := int((intervals[:, 1] < intervals[:, 0]).sum()):
            report.warn(f"video {video}", f"{backwards} intervals end before they start")
    if not videos:
        report.error("file", "the file has no videos")
    counts = len(videos), segments
    name = f": {PUBLISHED_CSD[counts]}" if counts in PUBLISHED_CSD else ""
    report.facts.append(("holds", f"{len(videos)} videos, {segments} segments{name}"))
    yield from ()


def outline(report: Report, path: Path) -> Iterator[tuple[str, Content]]:
    """Outline the content of a file or folder that has no reader."""
    if path.is_dir():
        names = sorted(file.name for file in path.iterdir())
        report.facts.append(("holds", ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")))
    elif h5py.is_hdf5(path):
        try:
            with h5py.File(path, "r") as file:
                file.visititems(lambda name, item: report.facts.append((name, _outline(item))))
        except (OSError, RuntimeError) as error:
            report.error("file", f"damaged: {error}")
    else:
        try:
            report.facts.append(("pickle of", _outline(pickles.load(path))))
        except DataError:
            with open(path, "rb") as file:
                report.facts.append(("begins with", repr(file.read(16))))
    yield from ()


def _outline(item: Any) -> str:
    if isinstance(item, dict):
        return f"dict of {', '.join(map(str, list(item)[:10]))}"
    if hasattr(item, "shape"):
        return f"{item.dtype} of shape {item.shape}"
    return type(item).__name__ + (f" of {len(item)}" if isinstance(item, Sized) else "")


EXAMINERS: dict[str, Callable[[Report, Path], Iterator[tuple[str, Content]]]] = {
    "store": from_store,
    "mult": partial(from_pickle, form="mult"),
    "mmsa": partial(from_pickle, form="mmsa"),
    "one csd": from_csd,
    "": outline,
}  # other formats: from_reader
