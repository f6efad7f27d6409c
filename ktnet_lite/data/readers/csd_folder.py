"""Folders of ``.csd`` files of CMU-MultimodalSDK: words or word vectors, vision, audio and labels, by segment.

The role of a file is detected: a name with "label" means labels; text means words; 300 features mean word vectors; 74
(COVAREP) or an acoustic name mean audio; any other file is vision. Every labelled interval is a segment. Aligned, audio
and vision are averaged over the interval of each word, without NaN and inf; unaligned, a segment has the frames inside
it. COVAREP and Facet write NaN and inf where they detect nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Literal

import numpy as np

from ktnet_lite.data.readers.csd import Sequence, Videos, between, segments
from ktnet_lite.data.readers.folds import mosi_split
from ktnet_lite.data.readers.words import vectors_of, words_of
from ktnet_lite.data.schema import Header, Split, Stream
from ktnet_lite.errors import DataError
from ktnet_lite.names import SPLITS, Modality

Role = Modality | Literal["labels"]
ACOUSTIC = ("covarep", "acoustic", "opensmile", "audio")


def read(folder: Path | str, aligned: bool = True) -> tuple[Header, Iterator[tuple[str, Split]]]:
    """Read header and splits; a ``folds.json`` (split to video ids) in the folder overrides MOSI's standard folds.

    Raises
    ------
    DataError
        Labels or language are missing, two files have the same role, or a split has no segments.
    """
    folder = Path(folder)
    raw = raw_files(folder)
    files: dict[Role, Videos] = {}
    for videos in (Videos(path) for path in raw if path.suffix == ".csd"):
        kind = role(videos)
        if kind in files:
            names = f"{files[kind].path.name} and {videos.path.name}"
            raise DataError(f"{folder}: {names} are both {kind}; remove one of them")
        files[kind] = videos
    for required in ("labels", "language"):
        if required not in files:
            names = ", ".join(videos.path.name for videos in files.values())
            raise DataError(f"{folder}: no .csd file of {required} among {names or 'none'}")
    folds = next((path for path in raw if path.suffix == ".json"), None)
    split_of = mosi_split if folds is None else _folds(folds)
    name = "mosi-csd" if folds is None else folder.name
    listed = ", ".join(f"{kind}: {videos.path.name}" for kind, videos in files.items())
    provenance = {"source": "CMU-MultimodalSDK", "files": listed, "licence": "of the data set's owners"}
    sources: dict[Modality, Videos] = {kind: videos for kind, videos in files.items() if kind != "labels"}
    return Header(name, "sentiment", aligned, provenance), _splits(files["labels"], sources, split_of, aligned)


def raw_files(folder: Path) -> list[Path]:
    """List the files that are read, anywhere below a folder."""
    return sorted(path for path in folder.rglob("*") if path.name.endswith((".csd", "folds.json")))


def role(videos: Videos) -> Role:
    """Detect what a ``.csd`` file holds."""
    if not videos:
        raise DataError(f"{videos.path} has no videos")
    name = f"{videos.root} {videos.path.name}".lower()
    if "label" in name:
        return "labels"
    if videos.dim in (None, 300):
        return "language"
    return "audio" if videos.dim == 74 or any(word in name for word in ACOUSTIC) else "vision"


def _folds(path: Path) -> Callable[[str], str | None]:
    """Read the split of each video from a file of lists."""
    try:
        folds = json.loads(path.read_text(encoding="utf-8"))
        listed = [(video, name) for name in SPLITS for video in [*folds[name]]]
        split_of = dict(listed)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{path} is not {{"train": [...], "valid": [...], "test": [...]}} with video ids in the lists ({error!r}); '
            "correct it, or remove it to use MOSI's standard folds"
        ) from error
    for video, name in listed:
        if split_of[video] != name:
            raise DataError(f"{path}: video {video} is in {name} and in {split_of[video]}; list it only once")
    return split_of.get


def _splits(
    labels: Videos, sources: dict[Modality, Videos], split_of: Callable[[str], str | None], aligned: bool
) -> Iterator[tuple[str, Split]]:
    clips = segments(labels)
    language = sources["language"]
    for name in SPLITS:
        chosen = {
            clip: segment
            for clip, segment in clips.items()
            if split_of(segment.video) == name and segment.video in language
        }
        if not chosen:
            raise DataError(
                f"no labelled segment belongs to split {name!r}; put the folds as folds.json into the folder"
            )
        parts: dict[Modality, list[np.ndarray]] = {kind: [] for kind in sources}
        spoken = []
        for video, spans in groupby(chosen.values(), attrgetter("video")):
            sequence = language[video]
            others = {kind: videos.get(video) for kind, videos in sources.items() if kind != "language"}
            for _, start, end, _ in spans:
                words = words_of(sequence, language.root, start, end)
                for kind, frames in others.items():
                    if frames is None:  # this video lacks the modality
                        parts[kind].append(np.empty((0, sources[kind].dim or 0)))
                    elif aligned:
                        parts[kind].append(_means(frames, words.intervals))
                    else:
                        parts[kind].append(between(frames, start, end).features)
                if language.dim is None:
                    spoken.append(tuple(map(str, words.features)))
                    words = words._replace(features=vectors_of(words.features))
                parts["language"].append(words.features)
        streams = {kind: Stream.from_clips(part) for kind, part in parts.items() if any(map(len, part))}
        scores = np.array([segment.score for segment in chosen.values()], dtype=np.float32)
        yield name, Split(streams, scores, tuple(chosen), tuple(spoken) or None)


def _means(frames: Sequence, words: np.ndarray) -> np.ndarray:
    """Average the frames in the interval of each word, (words, D); zeros for a word without frames."""
    means = np.zeros((len(words), frames.features.shape[1]))
    for i, (begin, finish) in enumerate(words):
        inside = between(frames, begin, finish).features
        finite = np.isfinite(inside)
        if len(inside):
            sums, counts = inside.sum(axis=0, where=finite, dtype=np.float64), finite.sum(axis=0)
            means[i] = np.divide(sums, counts, where=counts > 0, out=np.full(len(sums), np.nan))
    return means
