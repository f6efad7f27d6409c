"""Folders of ``.csd`` files of CMU-MultimodalSDK: words or word vectors, vision, audio and labels, by segment.

The role of a file is detected: a name with "label" means labels; text means words; 300 features mean word vectors; 74
(COVAREP) or an acoustic name mean audio; any other file is vision. Every labelled interval is a segment. Aligned, audio
and vision are averaged over the interval of each word, without NaN and inf; unaligned, a segment has the frames inside
it. COVAREP and Facet write NaN and inf where they detect nothing. Keys are videos or, in files that the SDK aligned,
segments: ``<video>[<k>]``. Segments of videos without words or outside all folds are left out, and counted.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from ktnet_lite.data.foreign import unreadable
from ktnet_lite.data.readers.csd import Segment, Sequence, Videos, between, segments, video_of
from ktnet_lite.data.readers.fields import OTHER_NAMES, listed
from ktnet_lite.data.readers.folder import files_below
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
    roles = ", ".join(f"{kind}: {videos.path.name}" for kind, videos in files.items())
    provenance = {"source": "CMU-MultimodalSDK", "files": roles, "licence": "of the data set's owners"}
    sources: dict[Modality, Videos] = {kind: videos for kind, videos in files.items() if kind != "labels"}
    header = Header(name, "sentiment", aligned, provenance)
    return header, _splits(folder, header, files["labels"], sources, split_of)


def raw_files(folder: Path) -> list[Path]:
    """List the files that are read, anywhere below a folder."""
    return [path for path in files_below(folder) if path.name.endswith((".csd", "folds.json"))]


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
        folds = msgspec.json.decode(path.read_bytes(), type=dict[str, list[str]])
        folds = {OTHER_NAMES.get(name, name): videos for name, videos in folds.items()}
        pairs = [(video, name) for name in SPLITS for video in folds[name]]
    except OSError as error:
        raise unreadable(path, error) from error
    except (msgspec.MsgspecError, RecursionError, KeyError, UnicodeDecodeError) as error:
        raise DataError(
            f'{path} is not {{"train": [...], "valid": [...], "test": [...]}} with video ids in the lists ({error!r}); '
            "correct it, or remove it to use MOSI's standard folds"
        ) from error
    split_of = dict(pairs)
    for video, name in pairs:
        if split_of[video] != name:
            raise DataError(f"{path}: video {video} is in {name} and in {split_of[video]}; list it only once")
    return split_of.get


def _splits(
    folder: Path,
    header: Header,
    labels: Videos,
    sources: dict[Modality, Videos],
    split_of: Callable[[str], str | None],
) -> Iterator[tuple[str, Split]]:
    clips = segments(labels)
    language = sources["language"]
    _report_left_out(
        folder,
        header,
        clips,
        {
            "have no words": [key for key in labels if _key(language, key) is None],
            "are in no fold": [key for key in labels if split_of(video_of(key)) is None],
        },
    )
    for name in SPLITS:
        chosen = {
            clip: segment
            for clip, segment in clips.items()
            if split_of(video_of(segment.video)) == name and _key(language, segment.video) is not None
        }
        if not chosen:
            raise DataError(
                f"{folder}: no labelled segment belongs to split {name!r}; its videos are {listed(labels)}; correct "
                "folds.json, or put one into the folder if there is none"
            )
        parts: dict[Modality, list[np.ndarray]] = {kind: [] for kind in sources}
        spoken = []
        for key, spans in groupby(chosen.values(), attrgetter("video")):
            spoken_words = language[_key(language, key) or key]
            others = {kind: _sequence(videos, key) for kind, videos in sources.items() if kind != "language"}
            for segment in spans:
                words = words_of(spoken_words, language.root, *_span(language, segment))
                for kind, frames in others.items():
                    if frames is None:  # this video lacks the modality
                        parts[kind].append(np.empty((0, sources[kind].dim or 0)))
                    elif header.aligned:
                        times = np.where(np.isfinite(words.intervals), words.intervals, [segment[1:3]])
                        parts[kind].append(_means(frames, times))
                    else:
                        parts[kind].append(between(frames, *_span(sources[kind], segment)).features)
                if language.dim is None:
                    spoken.append(tuple(map(str, words.features)))
                    words = words._replace(features=vectors_of(words.features))
                parts["language"].append(words.features)
        streams = {kind: Stream.from_clips(part) for kind, part in parts.items() if any(map(len, part))}
        scores = np.array([segment.score for segment in chosen.values()], dtype=np.float32)
        yield name, Split(streams, scores, tuple(chosen), tuple(spoken) or None)


def _key(videos: Videos, key: str) -> str | None:
    """Find the key of a segment, or else that of its video."""
    return next((name for name in (key, video_of(key)) if name in videos), None)


def _span(videos: Videos, segment: Segment) -> tuple[float, float]:
    """Return the time of a segment; all times where the file has a sequence of its own for it."""
    own = segment.video in videos and video_of(segment.video) != segment.video
    return (-np.inf, np.inf) if own else (segment.start, segment.end)


def _sequence(videos: Videos, key: str) -> Sequence | None:
    name = _key(videos, key)
    return None if name is None else videos[name]


def _report_left_out(folder: Path, header: Header, clips: dict[str, Segment], reasons: dict[str, list[str]]) -> None:
    """Write into the provenance, and warn, how many segments are left out, why, and of which videos."""
    counts = Counter(segment.video for segment in clips.values())
    messages = [
        f"{sum(counts[key] for key in keys)} of {len(clips)}, whose videos {reason} ({listed(keys)})"
        for reason, keys in reasons.items()
        if keys
    ]
    if messages:
        header.provenance["segments left out"] = "; ".join(messages)
        warnings.warn(f"{folder}: segments left out: {'; '.join(messages)}", stacklevel=2)


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
