"""The doctor: what a file is, whatever its name, and everything that is wrong with it, not only the first thing."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from ktnet_lite.data import readers, store
from ktnet_lite.data.catalogue.download import sha256_of
from ktnet_lite.data.catalogue.entries import ENTRIES
from ktnet_lite.data.doctor import contents
from ktnet_lite.data.doctor.contents import Found, note
from ktnet_lite.data.doctor.findings import Finding, Report, place
from ktnet_lite.data.doctor.measure import labels_of, measure
from ktnet_lite.data.readers.csd import is_csd
from ktnet_lite.errors import DataError
from ktnet_lite.names import SENTIMENT_RANGE, SPLITS

KINDS = {
    "mult": "MulT's pickle",
    "mmsa": "MMSA's pickle",
    "csd": "folder of CMU-MultimodalSDK's .csd files",
    "one csd": "one .csd file of CMU-MultimodalSDK; a data set is a folder of them",
    "store": "HDF5 file of ktnet-lite",
    "mosi-words": "raw files of mosi-words",
    "mosi-utterance": "raw files of mosi-utterance",
    "mfn": "folder of MFN's HDF5 files",
}
PUBLISHED = {  # clips in train, valid, test
    (1284, 229, 686): "MOSI, official folds",
    (16326, 1871, 4659): "MOSEI as in MulT's and MMSA's files",
    (2717, 798, 938): "IEMOCAP as in MulT's files",
    (1193, 254, 752): "mosi-utterance, its own split",
    (220, 40, 80): "ICT-MMMO as in MFN's files",
}
CLOSE = 0.02  # sizes that differ by less are said to be of the same data set, with clips missing


Seen = dict[Any, tuple[str, int]]  # id or content -> split and index where it stood first


def check(path: Path | str) -> Report:
    """Examine a file or folder. Raises :class:`DataError` only when there is nothing at ``path``."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"no file or folder at {path}")
    report = Report(path)
    kind = _identify(report)
    report.facts.append(("what", KINDS.get(kind, "no known format")))
    if path.is_file():
        _fingerprint(report, path)
    ids: Seen = {}
    clips: Seen = {}
    sizes: dict[str, int] = {}
    for name, found in contents.OF.get(kind, contents.by_reader)(report, path):
        sizes[name] = _split(report, name, found, ids, clips)
        del found
    if sizes:
        _sizes(report, sizes)
    return report


def _split(report: Report, name: str, found: Found, ids: Seen, clips: Seen) -> int:
    """Note all there is to say of one split; return how many clips it has."""
    counts: dict[str, int] = {modality: len(frames.clips) for modality, frames in found.fields.items()}
    if found.targets is not None:
        counts["labels"] = len(found.targets)
    if found.ids is not None:
        counts["ids"] = len(found.ids)
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} {field}" for field, count in counts.items())
        report.error(name, f"the counts differ: {listed}")
    digests = [blake2b(digest_size=16) for _ in range(max(counts.values(), default=0))]
    held = np.zeros(len(digests), bool)
    for modality, frames in found.fields.items():
        facts = measure(frames, digests)
        report.streams.append((name, modality, facts))
        held[: len(facts.lengths)] |= ~facts.absent & ~facts.silent
        where = f"{name}, {modality}"
        report.warn_of(facts.absent, where, "lack this modality", found.ids)
        report.warn_of(facts.silent, where, "are all zeros", found.ids)
        report.warn_of(facts.nan > 0, where, f"hold NaN, {facts.nan.sum()} in all", found.ids)
        report.warn_of(facts.inf > 0, where, f"hold inf, {facts.inf.sum()} in all", found.ids)
        report.warn_of(facts.beyond, where, "go on past their declared length", found.ids)
        if facts.constant:
            report.warn(where, f"{facts.constant} of {facts.dim} features never change")
    _labels(report, name, found)
    if found.ids is not None:
        _duplicates(report, name, list(found.ids), ids, "id", found.ids)
    keys = [digest.digest() if full else None for digest, full in zip(digests, held, strict=True)]
    _duplicates(report, name, keys, clips, "content", found.ids)
    return max(counts.values(), default=0)


def _labels(report: Report, name: str, found: Found) -> None:
    where = f"{name}, labels"
    if found.targets is None or found.targets.size == 0:
        return report.error(where, "there are none")
    if found.targets.dtype.kind not in "fiub":
        return report.error(where, "they are not numbers")
    labels = labels_of(found.targets)
    for first, others in report.labels[:1]:
        if labels.shape[1:] != others.shape[1:]:
            return report.error(where, f"{_task(labels)}, but {_task(others)} in {first}")
    report.labels.append((name, labels))
    low, high = SENTIMENT_RANGE if labels.ndim == 1 else (0, 1)
    wrong = {"not finite": ~np.isfinite(labels), f"outside [{low:g}, {high:g}]": (labels < low) | (labels > high)}
    for what, bad in wrong.items():
        if bad.any():
            i = int(np.argwhere(bad)[0][0])
            report.error(where, f"{int(bad.sum())} are {what}; the first, {labels[i]}, at index {i}")
    if len(labels) and (labels.reshape(len(labels), -1) > 0).all(axis=0).any() | (labels <= 0).all(axis=0).any():
        report.warn(where, "all on one side of 0: accuracy and F1 tell nothing, and Corr may be undefined")


def _task(labels: np.ndarray) -> str:
    return "scores" if labels.ndim == 1 else "emotions"


def _duplicates(report: Report, name: str, keys: list, seen: Seen, what: str, ids: tuple[str, ...] | None) -> None:
    """Note the ids or contents that stand twice, in this split or in one before it."""
    twice: dict[str, list[tuple[int, int]]] = {}
    for i, key in enumerate(keys):
        if key is not None:
            split, first = seen.setdefault(key, (name, i))
            if (split, first) != (name, i):
                twice.setdefault(split, []).append((first, i))
    for split, pairs in twice.items():
        first, i = pairs[0]
        text = f"{len(pairs)} clips have the {what} of another in {split}, first {place(i, ids)}, that of index {first}"
        inside_content = split == name and what == "content"
        report.findings.append(Finding("warning" if inside_content else "error", name, text))


def _identify(report: Report) -> str:
    """The format; empty for one that no reader takes."""
    if is_csd(report.path):
        return "one csd"
    try:
        kind = readers.identify(report.path)
    except DataError as error:
        note(report, "format", error)
        return ""
    if kind == "store" and not store.is_store(report.path):
        report.error("format", "HDF5, but neither a file of ktnet-lite nor a .csd file")
        return ""
    return kind


def _fingerprint(report: Report, path: Path) -> None:
    sha256 = sha256_of(path)
    known = [f"{file.name} of {e.name}" for e in ENTRIES.values() for file in e.files if file.sha256 == sha256]
    report.facts += [("size", f"{path.stat().st_size:,} bytes"), ("SHA-256", sha256)]
    report.facts.append(("known as", known[0] if known else "no file of the catalogue has this SHA-256"))


def _sizes(report: Report, sizes: dict[str, int]) -> None:
    for name in SPLITS:
        if name not in sizes:
            report.error("splits", f"no {name!r}; there are {', '.join(sizes)}")
    found = tuple(sizes.get(name, 0) for name in SPLITS)
    text = ", ".join(f"{name} {count}" for name, count in sizes.items())
    for published, about in PUBLISHED.items():
        if found == published:
            return report.facts.append(("sizes", f"{text}: {about}"))
        if np.allclose(found, published, rtol=CLOSE):
            report.warn("splits", f"sizes are {found}; published for {about}: {published}")
            return report.facts.append(("sizes", f"{text}: nearly {about}"))
    report.facts.append(("sizes", f"{text}: of no published data set"))
