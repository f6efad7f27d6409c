"""A folder of CMU-MultimodalSDK ``.csd`` files: words or word vectors, a face, a voice, and labels, by segment.

Which file is what shows in its content: labels by the name of their root, words by their type, word vectors by 300
features, the voice by COVAREP's 74 or an acoustic name, the face by the rest. A segment is a label's interval. Aligned,
the face and the voice are averaged over each word's interval, as far as they are finite; unaligned, a segment has the
frames that lie in it. COVAREP and Facet hold NaN and inf where they found nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from ktnet_lite.data.readers.csd import Sequence, Videos, between, segments
from ktnet_lite.data.readers.folds import mosi_split
from ktnet_lite.data.readers.words import vectors_of, words_of
from ktnet_lite.data.schema import SPLITS, Header, Modality, Split, Stream
from ktnet_lite.errors import DataError

SOUND = ("covarep", "acoustic", "opensmile", "audio")


def read(folder: Path | str, aligned: bool = True) -> tuple[Header, Iterator[tuple[str, Split]]]:
    """Header and splits of a folder; a ``folds.json`` (split to video ids) in it overrides MOSI's standard folds.

    Raises
    ------
    DataError
        No labels or no language among the files, two files of one kind, or a fold without videos.
    """
    folder = Path(folder)
    files: dict[str, Videos] = {}
    for videos in (Videos(path) for path in raw_files(folder) if path.suffix == ".csd"):
        kind = role(videos)
        if kind in files:
            names = f"{files[kind].path.name} and {videos.path.name}"
            raise DataError(f"{folder}: {names} are both {kind}; leave one of them")
        files[kind] = videos
    for kind in ("labels", "language"):
        if kind not in files:
            names = ", ".join(videos.path.name for videos in files.values())
            raise DataError(f"{folder}: no .csd file of {kind} among {names or 'none'}")
    folds = next((path for path in raw_files(folder) if path.suffix == ".json"), None)
    chosen = None if folds is None else json.loads(folds.read_text(encoding="utf-8"))
    name = "mosi-csd" if chosen is None else folder.name
    files_used = ", ".join(f"{kind}: {videos.path.name}" for kind, videos in files.items())
    provenance = {"source": "CMU-MultimodalSDK", "files": files_used, "licence": "of the data set's owners"}
    return Header(name, "sentiment", aligned, provenance), _splits(files, chosen, aligned)


def raw_files(folder: Path) -> list[Path]:
    """The files that the numbers of a folder come from, wherever below it they lie."""
    return sorted(path for path in folder.rglob("*") if path.name.endswith((".csd", "folds.json")))


def role(videos: Videos) -> str:
    """labels, language, vision or audio: what a ``.csd`` file holds."""
    first = next(iter(videos.values()), None)
    if first is None:
        raise DataError(f"{videos.path}: no videos in it")
    called = f"{videos.root} {videos.path.name}".lower()
    width = None if first.features.dtype.kind == "U" else first.features.shape[1]
    if "label" in called:
        return "labels"
    if width in (None, 300):
        return "language"
    return "audio" if width == 74 or any(word in called for word in SOUND) else "vision"


def _splits(files: dict[str, Videos], folds: dict | None, aligned: bool) -> Iterator[tuple[str, Split]]:
    clips = segments(files.pop("labels"))
    split_of = mosi_split if folds is None else {v: name for name, videos in folds.items() for v in videos}.get
    for name in SPLITS:
        chosen = {
            clip: about for clip, about in clips.items() if split_of(about[0]) == name and about[0] in files["language"]
        }
        if not chosen:
            raise DataError(
                f"no labelled segment belongs to split {name!r}; give the folds as folds.json in the folder"
            )
        parts: dict[Modality, list[np.ndarray]] = {kind: [] for kind in files}
        said = []
        for video, spans in groupby(chosen.values(), itemgetter(0)):
            there = {kind: videos.get(video) for kind, videos in files.items()}
            for _, start, end, _ in spans:
                words = words_of(there["language"], files["language"].root, start, end)
                for kind, frames in there.items():
                    if kind != "language":
                        parts[kind].append(_frames(frames, words.intervals if aligned else None, start, end))
                if words.features.dtype.kind == "U":
                    said.append(tuple(map(str, words.features)))
                    words = words._replace(features=vectors_of(words.features))
                parts["language"].append(words.features)
        width = {kind: max(p.shape[1] for p in parts[kind] if p.ndim == 2) for kind in parts}
        streams = {kind: Stream.from_clips([p.reshape(len(p), width[kind]) for p in parts[kind]]) for kind in parts}
        scores = np.array([about[3] for about in chosen.values()], dtype=np.float32)
        yield name, Split(streams, scores, tuple(chosen), tuple(said) or None)


def _frames(frames: Sequence | None, words: np.ndarray | None, start: float, end: float) -> np.ndarray:
    """Frames of a segment (T, D), or their mean over each word (words, D); none where the video has no such stream."""
    if frames is None:
        return np.empty((0, 0), np.float32)
    if words is None:
        return between(frames, start, end).features
    means = np.zeros((len(words), frames.features.shape[1]))
    for i, (begin, finish) in enumerate(words):
        inside = between(frames, begin, finish).features
        finite = np.isfinite(inside)
        if len(inside):
            sums, counts = inside.sum(axis=0, where=finite, dtype=np.float64), finite.sum(axis=0)
            means[i] = np.divide(sums, counts, where=counts > 0, out=np.full(len(sums), np.nan))
    return means
