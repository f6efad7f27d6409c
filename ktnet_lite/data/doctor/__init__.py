"""The doctor: the format of a file, detected from its content, and every problem in it."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from ktnet_lite.data import readers, store
from ktnet_lite.data.catalogue.download import sha256_of
from ktnet_lite.data.catalogue.entries import ENTRIES
from ktnet_lite.data.doctor import contents
from ktnet_lite.data.doctor.contents import Content, note
from ktnet_lite.data.doctor.findings import Finding, Report, place
from ktnet_lite.data.doctor.measure import labels_of, measure
from ktnet_lite.data.foreign import unreadable
from ktnet_lite.data.readers import scales
from ktnet_lite.data.readers.csd import is_csd
from ktnet_lite.errors import DataError
from ktnet_lite.names import SENTIMENT_RANGE, SPLITS

KINDS = {
    "mult": "MulT's pickle",
    "mmsa": "MMSA's pickle",
    "misa": "MISA's or MAG-BERT's tuples",
    "csd": "folder of CMU-MultimodalSDK's .csd files",
    "one csd": "one .csd file of CMU-MultimodalSDK; a data set is a folder of several",
    "store": "HDF5 file of ktnet-lite",
    "mosi-words": "raw files of mosi-words",
    "mosi-utterance": "raw files of mosi-utterance",
    "hazumi": "raw files of hazumi or hazumi-face",
    "mfn": "folder of MFN's HDF5 files",
}
PUBLISHED = {  # clips in train, valid, test
    (1284, 229, 686): "MOSI, official folds",
    (16326, 1871, 4659): "MOSEI as in MulT's and MMSA's files",
    (2717, 798, 938): "IEMOCAP as in MulT's files",
    (1193, 254, 752): "mosi-utterance, its own split",
    (220, 40, 80): "ICT-MMMO as in MFN's files",
    (5757, 799, 1576): "Hazumi 2010 and 2012, our split by session",
    (1635, 247, 455): "Hazumi 1902, our split by session",
}
CLOSE = 0.02  # sizes that differ by less are attributed to the same data set, with clips missing

Seen = dict[Any, tuple[str, int]]  # id or content -> split and index of its first occurrence


def check(path: Path | str) -> Report:
    """Examine a file or folder. Raises :class:`DataError` only if ``path`` does not exist."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"no file or folder at {path}")
    report = Report(path)
    kind = _identify(report)
    report.facts.append(("what", KINDS.get(kind, "unknown format")))
    if path.is_file():
        _add_file_facts(report, path)
    names: dict[str, tuple[str, ...] | None] = {}
    keys: dict[str, list[bytes | None]] = {}
    for name, content in contents.EXAMINERS.get(kind, contents.from_reader)(report, path):
        names[name], keys[name] = content.ids, _check_split(report, name, content)
        del content
    ids: Seen = {}
    clips: Seen = {}
    for name, of_split in names.items():  # last, since the examiner goes further only without errors
        _check_unique(report, name, list(of_split or ()), ids, "id", of_split)
        _check_unique(report, name, keys[name], clips, "content", of_split)
    if keys:
        _check_sizes(report, {name: len(of_split) for name, of_split in keys.items()})
    return report


def _check_split(report: Report, name: str, content: Content) -> list[bytes | None]:
    """Report on one split; return a digest of the content of each clip, None for an empty one."""
    counts: dict[str, int] = {modality: len(frames.clips) for modality, frames in content.fields.items()}
    if content.targets is not None:
        counts["labels"] = len(content.targets)
    if content.ids is not None:
        counts["ids"] = len(content.ids)
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} {field}" for field, count in counts.items())
        report.error(name, f"the counts differ: {listed}")
    digests = [blake2b(digest_size=16) for _ in range(max(counts.values(), default=0))]
    occupied = np.zeros(len(digests), bool)
    for modality, frames in content.fields.items():
        facts = measure(frames, digests)
        report.streams.append((name, modality, facts))
        occupied[: len(facts.lengths)] |= ~facts.absent & ~facts.silent
        where = f"{name}, {modality}"
        report.warn_clips(facts.absent, where, "lack this modality", content.ids)
        report.warn_clips(facts.silent, where, "are all zeros", content.ids)
        report.warn_clips(facts.nan > 0, where, f"hold NaN, {facts.nan.sum()} in all", content.ids)
        report.warn_clips(facts.inf > 0, where, f"hold inf, {facts.inf.sum()} in all", content.ids)
        report.warn_clips(facts.beyond, where, "have frames past their declared length", content.ids)
        if facts.constant:
            report.warn(where, f"{facts.constant} of {facts.dim} features are constant")
    _check_labels(report, name, content)
    return [digest.digest() if full else None for digest, full in zip(digests, occupied, strict=True)]


def _check_labels(report: Report, name: str, content: Content) -> None:
    where = f"{name}, labels"
    if content.targets is None or content.targets.size == 0:
        return report.error(where, "there are no labels")
    if content.targets.dtype.kind not in "fiub":
        return report.error(where, "the labels are not numbers")
    labels = labels_of(content.targets)
    for earlier, others in report.labels[:1]:
        if labels.shape[1:] != others.shape[1:]:
            return report.error(where, f"{_task(labels)}, but {_task(others)} in {earlier}")
    report.labels.append((name, labels))
    low, high = SENTIMENT_RANGE if labels.ndim == 1 else (0, 1)
    wrong = {"not finite": ~np.isfinite(labels), f"outside [{low:g}, {high:g}]": (labels < low) | (labels > high)}
    for what, bad in wrong.items():
        if bad.any():
            i = int(np.argwhere(bad)[0][0])
            question = scales.question(labels) if what.startswith("outside") and labels.ndim == 1 else None
            first = f"{int(bad.sum())} are {what}; the first, {labels[i]}, at index {i}"
            report.error(where, f"{first}: {question}" if question else first)
    if len(labels) and (labels.reshape(len(labels), -1) > 0).all(axis=0).any() | (labels <= 0).all(axis=0).any():
        report.warn(where, "all labels are on one side of 0: accuracy and F1 mean nothing, and Corr may be undefined")


def _task(labels: np.ndarray) -> str:
    return "scores" if labels.ndim == 1 else "emotions"


def _check_unique(report: Report, name: str, keys: list, seen: Seen, what: str, ids: tuple[str, ...] | None) -> None:
    """Report ids or contents that occur twice; in another split, they make a test result worthless."""
    repeated: dict[str, list[tuple[int, int]]] = {}
    for i, key in enumerate(keys):
        if key is not None:
            split, first = seen.setdefault(key, (name, i))
            if (split, first) != (name, i):
                repeated.setdefault(split, []).append((first, i))
    for split, pairs in repeated.items():
        first, i = pairs[0]
        text = f"{len(pairs)} clips repeat the {what} of clips in {split}, first {place(i, ids)}, that of index {first}"
        report.findings.append(Finding("warning" if split == name else "error", name, text))


def _identify(report: Report) -> str:
    """Detect the format; return an empty string if no reader takes the file."""
    try:
        if is_csd(report.path):
            return "one csd"
        kind = readers.identify(report.path)
        if kind == "store" and not store.is_store(report.path):
            report.error("format", "HDF5, but neither a file of ktnet-lite nor a .csd file")
            return ""
        return kind
    except DataError as error:
        note(report, "format", error)
        return ""


def _add_file_facts(report: Report, path: Path) -> None:
    try:
        sha256 = sha256_of(path)
    except OSError as error:
        return report.error("file", str(unreadable(path, error)).removeprefix(f"{path} "))
    matches = [f"{file.name} of {e.name}" for e in ENTRIES.values() for file in e.files if file.sha256 == sha256]
    report.facts += [("size", f"{path.stat().st_size:,} bytes"), ("SHA-256", sha256)]
    report.facts.append(("known as", matches[0] if matches else "no file of the catalogue has this SHA-256"))


def _check_sizes(report: Report, sizes: dict[str, int]) -> None:
    for name in SPLITS:
        if name not in sizes:
            report.error("splits", f"no split {name!r}; the file has {', '.join(sizes)}")
    clips = tuple(sizes.get(name, 0) for name in SPLITS)
    text = ", ".join(f"{name} {count}" for name, count in sizes.items())
    for published, about in PUBLISHED.items():
        if clips == published:
            return report.facts.append(("sizes", f"{text}: {about}"))
        if np.allclose(clips, published, rtol=CLOSE):
            report.warn("splits", f"the sizes are {clips}, but {published} as published for {about}")
            return report.facts.append(("sizes", f"{text}: nearly {about}"))
    report.facts.append(("sizes", f"{text}: not of a published data set"))
