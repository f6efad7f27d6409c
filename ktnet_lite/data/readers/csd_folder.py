"""A folder of CMU-MultimodalSDK ``.csd`` files: words or word vectors, a face, a voice, and labels, by segment.

Which file is what shows in its content: labels by the name of their root, words by their type, word vectors by 300
features, the voice by COVAREP's 74 or an acoustic name, the face by the rest. A segment is a label's interval. Aligned,
the face and the voice are averaged over each word's interval, as far as they are finite; unaligned, a segment has the
frames that lie in it. COVAREP and Facet hold NaN and inf where they found nothing.
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
SOUND = ("covarep", "acoustic", "opensmile", "audio")


def read(folder: Path | str, aligned: bool = True) -> tuple[Header, Iterator[tuple[str, Split]]]:
    """Header and splits of a folder; a ``folds.json`` (split to video ids) in it overrides MOSI's standard folds.

    Raises
    ------
    DataError
        No labels or no language among the files, two files of one kind, or a fold without videos.
    """
    folder = Path(folder)
    raw = raw_files(folder)
    files: dict[Role, Videos] = {}
    for videos in (Videos(path) for path in raw if path.suffix == ".csd"):
        kind = role(videos)
        if kind in files:
            names = f"{files[kind].path.name} and {videos.path.name}"
            raise DataError(f"{folder}: {names} are both {kind}; leave one of them")
        files[kind] = videos
    for required in ("labels", "language"):
        if required not in files:
            names = ", ".join(videos.path.name for videos in files.values())
            raise DataError(f"{folder}: no .csd file of {required} among {names or 'none'}")
    folds = next((path for path in raw if path.suffix == ".json"), None)
    split_of = mosi_split if folds is None else _folds(folds)
    name = "mosi-csd" if folds is None else folder.name
    files_used = ", ".join(f"{kind}: {videos.path.name}" for kind, videos in files.items())
    provenance = {"source": "CMU-MultimodalSDK", "files": files_used, "licence": "of the data set's owners"}
    sources: dict[Modality, Videos] = {kind: videos for kind, videos in files.items() if kind != "labels"}
    return Header(name, "sentiment", aligned, provenance), _splits(files["labels"], sources, split_of, aligned)


def raw_files(folder: Path) -> list[Path]:
    """The files that the numbers of a folder come from, wherever below it they lie."""
    return sorted(path for path in folder.rglob("*") if path.name.endswith((".csd", "folds.json")))


def role(videos: Videos) -> Role:
    """labels, language, vision or audio: what a ``.csd`` file holds."""
    if not videos:
        raise DataError(f"{videos.path}: no videos in it")
    called = f"{videos.root} {videos.path.name}".lower()
    if "label" in called:
        return "labels"
    if videos.dim in (None, 300):
        return "language"
    return "audio" if videos.dim == 74 or any(word in called for word in SOUND) else "vision"


def _folds(path: Path) -> Callable[[str], str | None]:
    """The split of a video, by a file of lists."""
    try:
        folds = json.loads(path.read_text(encoding="utf-8"))
        listed = [(video, name) for name in SPLITS for video in [*folds[name]]]
        split_of = dict(listed)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{path} is not {{"train": [...], "valid": [...], "test": [...]}} with video ids in the lists ({error!r}); '
            "correct it, or take it away for MOSI's standard folds"
        ) from error
    for video, name in listed:
        if split_of[video] != name:
            raise DataError(f"{path}: video {video} is in {name} and in {split_of[video]}; leave it in one of them")
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
                f"no labelled segment belongs to split {name!r}; give the folds as folds.json in the folder"
            )
        parts: dict[Modality, list[np.ndarray]] = {kind: [] for kind in sources}
        said = []
        for video, spans in groupby(chosen.values(), attrgetter("video")):
            spoken = language[video]
            sequences = {kind: videos.get(video) for kind, videos in sources.items() if kind != "language"}
            for _, start, end, _ in spans:
                words = words_of(spoken, language.root, start, end)
                for kind, frames in sequences.items():
                    if frames is None:  # this video lacks the modality
                        parts[kind].append(np.empty((0, sources[kind].dim or 0)))
                    elif aligned:
                        parts[kind].append(_means(frames, words.intervals))
                    else:
                        parts[kind].append(between(frames, start, end).features)
                if language.dim is None:
                    said.append(tuple(map(str, words.features)))
                    words = words._replace(features=vectors_of(words.features))
                parts["language"].append(words.features)
        streams = {kind: Stream.from_clips(part) for kind, part in parts.items() if any(map(len, part))}
        scores = np.array([segment.score for segment in chosen.values()], dtype=np.float32)
        yield name, Split(streams, scores, tuple(chosen), tuple(said) or None)


def _means(frames: Sequence, words: np.ndarray) -> np.ndarray:
    """The mean of the frames in each word's interval (words, D); zeros for a word without frames."""
    means = np.zeros((len(words), frames.features.shape[1]))
    for i, (begin, finish) in enumerate(words):
        inside = between(frames, begin, finish).features
        finite = np.isfinite(inside)
        if len(inside):
            sums, counts = inside.sum(axis=0, where=finite, dtype=np.float64), finite.sum(axis=0)
            means[i] = np.divide(sums, counts, where=counts > 0, out=np.full(len(sums), np.nan))
    return means
