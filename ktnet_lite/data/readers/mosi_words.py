"""``mosi-words``: the words of CMU-MOSI with their timings, on the official split (1284, 229, 686 clips).

- Language: each word is a vector of 1024 hashed character n-grams (scikit-learn's ``HashingVectorizer``), equal on
  every machine and without a download. Ridge regression on the mean vector of a clip reaches a Corr of 0.48; with
  one-hot words instead, 0.50.
- Audio: *rhythm*, the part of a voice that timings contain (always call it rhythm). Each word has its duration, the
  pauses around it, its pace, and its position in the clip.
- Vision: none.

Pitfalls of the raw files, handled here: in the file of words, token k + 1 belongs to interval k; ``sp`` is silence; two
clips have no words and become one silent step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np

from ktnet_lite.data.readers.csd import Segment, Videos, segments
from ktnet_lite.data.readers.folder import find
from ktnet_lite.data.readers.folds import mosi_split
from ktnet_lite.data.readers.words import SHIFTED, vectors_of, words_of
from ktnet_lite.data.schema import Header, Split, Stream
from ktnet_lite.errors import DataError
from ktnet_lite.names import SPLITS, Modality

WORDS, LABELS = f"{SHIFTED}.csd", "CMU_MOSI_Opinion_Labels.csd"
RHYTHM = ("duration", "pause before", "pause after", "characters per second", "position")


def read(folder: Path | str) -> tuple[Header, Iterator[tuple[str, Split]]]:
    """Read header and splits from a folder with the words and the labels.

    Raises
    ------
    DataError
        A file is missing or damaged, or a labelled video has no words.
    """
    words, labels = (Videos(find(Path(folder), name, "mosi-words")) for name in (WORDS, LABELS))
    clips = segments(labels)
    for video in labels:
        if video not in words:
            raise DataError(f"{folder}: {LABELS} has video {video}, but {WORDS} does not; use files of one data set")
    provenance = {
        "source": "CMU-MOSI words and opinion labels, CMU-MultimodalSDK layout",
        "licence": "CMU MultiComp Lab's, for research; cite Zadeh et al. 2016",
        "audio": f"rhythm, not sound: {', '.join(RHYTHM)}",
        "language": "hashed character n-grams, 1 to 4, 1024 numbers",
    }
    return Header("mosi-words", "sentiment", True, provenance), _splits(words, clips)


def rhythm(intervals: np.ndarray, words: Sequence[str], start: float, end: float) -> np.ndarray:
    """Compute the rhythm of a clip, shape (T, 5), in seconds, characters per second and share of the clip."""
    begins, ends = intervals.T
    duration = np.maximum(ends - begins, 1e-3)
    before = begins - np.concatenate([[start], ends[:-1]])
    after = np.concatenate([begins[1:], [end]]) - ends
    pace = np.array([len(word) for word in words]) / duration
    position = (begins - start) / (end - start)
    return np.stack([duration, np.maximum(before, 0), np.maximum(after, 0), pace, position], axis=1)


def _splits(videos: Videos, clips: dict[str, Segment]) -> Iterator[tuple[str, Split]]:
    for name in SPLITS:
        chosen = {clip: segment for clip, segment in clips.items() if mosi_split(segment.video) == name}
        texts, rhythms, spoken = [], [], []
        for video, spans in groupby(chosen.values(), attrgetter("video")):
            sequence = videos[video]
            for _, start, end, _ in spans:
                words, intervals = words_of(sequence, videos.root, start, end)
                texts.append(vectors_of(words))
                spoken.append(tuple(map(str, words)))
                if any(words):
                    rhythms.append(rhythm(intervals, spoken[-1], start, end))
                else:  # one silent step: a pause as long as the clip
                    rhythms.append(np.array([[0.0, end - start, 0.0, 0.0, 0.0]]))
        streams: dict[Modality, Stream] = {"language": Stream.from_clips(texts), "audio": Stream.from_clips(rhythms)}
        scores = np.array([segment.score for segment in chosen.values()], dtype=np.float32)
        yield name, Split(streams, scores, tuple(chosen), tuple(spoken))
