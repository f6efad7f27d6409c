"""The content of a file, split by split and unrepaired, valid or not, for the doctor to examine."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sized
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ktnet_lite.data import hdf5, readers, store
from ktnet_lite.data.doctor.findings import Report
from ktnet_lite.data.doctor.measure import Frames
from ktnet_lite.data.readers import pickles
from ktnet_lite.data.readers.csd import Videos
from ktnet_lite.data.readers.fields import FIELDS, OTHER_NAMES, clips_of, ids_of, lengths_of, listed, numeric
from ktnet_lite.data.schema import Header, Split, Stream, check_split, combined_digest, split_digest
from ktnet_lite.errors import DataError, UnreadableError
from ktnet_lite.names import SPLITS, Modality

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
    if about.header.recipes:
        report.facts.append(("extracted", about.header.provenance.get("extracted", "from clips")))
    digests: dict[str, str] = {}
    dims: dict[Modality, int] = {}
    for name in about.clips:
        try:
            split = store.read(path, splits=[name])[name]
        except DataError as error:
            note(report, f"split {name}", error)
            continue
        digests[name] = split_digest(split)
        yield name, _checked(report, about.header, name, split, dims)
    if digests.keys() == about.clips.keys() and combined_digest(digests) != about.checksum:
        report.error("checksum", "the content does not match the checksum; the file was altered after it was written")


def from_reader(report: Report, path: Path, form: str | None = None) -> Iterator[tuple[str, Content]]:
    """Yield the splits that the reader yields, up to the first that it rejects; report its errors and warnings.

    It reads and checks exactly as converting and training do, so what has no errors here is taken there.
    """
    dims: dict[Modality, int] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            header, splits = readers.open_source(path, form)
            for name, split in splits:
                yield name, _checked(report, header, name, split, dims)
        except DataError as error:
            note(report, "reader", error)
    for warning in caught:
        report.warn("reader", str(warning.message).removeprefix(str(path)).lstrip(":, /\\"))


def _checked(report: Report, header: Header, name: str, split: Split, dims: dict[Modality, int]) -> Content:
    try:
        check_split(header, name, split, dims)
    except DataError as error:
        report.error("reader", str(error).removeprefix(f"{header.name}, "))
    return Content(split.ids, split.targets, {m: Frames.of(stream) for m, stream in split.streams.items()})


def from_pickle(report: Report, path: Path, form: str) -> Iterator[tuple[str, Content]]:
    """Yield the splits of a pickle with their padding; if they have no errors, run the reader too, for its findings."""
    try:
        content = pickles.load(path)
    except DataError as error:
        note(report, "file", error)
        return
    if isinstance(content, dict):
        content = {OTHER_NAMES.get(name, name): fields for name, fields in content.items()}
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
        labels = numeric(targets)
        targets = np.array(["no numbers"]) if labels is None else np.atleast_1d(labels)
    ids = fields.get("id")
    if ids is not None:
        ids = checked(ids_of, ids)
    frames = {}
    for key, modality in FIELDS.items():
        if key not in fields:
            report.error(f"{name}, {key}", "the field is missing")
        elif (clips := checked(clips_of, key, fields[key])) is not None:
            lengths = fields.get(f"{key}_lengths")
            if isinstance(clips, Stream):
                frames[modality] = Frames.of(clips)
                continue
            if lengths is not None:
                lengths = checked(lengths_of, f"{key}_lengths", lengths, clips.shape[:2])
            frames[modality] = Frames(clips, lengths)
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
        return
    try:
        if not hdf5.is_hdf5(path):
            return report.facts.append(("pickle of", _outline(pickles.load(path))))
        with hdf5.opened(path) as file:
            file.visititems(lambda name, item: report.facts.append((name, _outline(item))))
    except UnreadableError:
        pass  # told already
    except DataError:
        with open(path, "rb") as file:
            report.facts.append(("begins with", repr(file.read(16))))
    yield from ()


def _outline(item: Any) -> str:
    if isinstance(item, dict):
        return f"dict of {listed(item)}"
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
