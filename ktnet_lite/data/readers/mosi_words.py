"""``mosi-words``: the real words of CMU-MOSI with their timings, on the official split (1284, 229, 686 clips).

- Language: each word as a vector of 1024 hashed character n-grams (scikit-learn's ``HashingVectorizer``), the same
  on every machine and without a download. A ridge regression on a clip's mean vector reaches a Corr of 0.48, with one
  number for each word 0.50.
- "Audio" is *rhythm*, the part of a voice that timings hold, and should be called that: for each word, how long it
  lasts, the pauses around it, its pace, and where in the clip it is.
- There is no vision.

Traps of the raw files, handled here: in the words file token k + 1 belongs to interval k; ``sp`` is silence; two
clips hold no word at all, and become one silent step.
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
    """Header and splits from a folder that holds the words and the labels.

    Raises
    ------
    DataError
        A file is missing or damaged, or a labelled video has no words.
    """
    words, labels = (Videos(find(Path(folder), name, "mosi-words")) for name in (WORDS, LABELS))
    clips = segments(labels)
    for video in labels:
        if video not in words:
            raise DataError(f"{folder}: {LABELS} has video {video}, but {WORDS} has not; they belong to different sets")
    provenance = {
        "source": "CMU-MOSI words and opinion labels, CMU-MultimodalSDK layout",
        "licence": "CMU MultiComp Lab's, for research; cite Zadeh et al. 2016",
        "audio": f"rhythm, not sound: {', '.join(RHYTHM)}",
        "language": "hashed character n-grams, 1 to 4, 1024 numbers",
    }
    return Header("mosi-words", "sentiment", True, provenance), _splits(words, clips)


def rhythm(intervals: np.ndarray, words: Sequence[str], start: float, end: float) -> np.ndarray:
    """What the timings of a clip's words say, shape (T, 5), in seconds, characters a second, and share of the clip."""
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
        texts, voices, said = [], [], []
        for video, spans in groupby(chosen.values(), attrgetter("video")):
            sequence = videos[video]
            for _, start, end, _ in spans:
                words, intervals = words_of(sequence, videos.root, start, end)
                texts.append(vectors_of(words))
                said.append(tuple(map(str, words)))
                if any(words):
                    voices.append(rhythm(intervals, said[-1], start, end))
                else:  # one silent step: a pause as long as the clip
                    voices.append(np.array([[0.0, end - start, 0.0, 0.0, 0.0]]))
        streams: dict[Modality, Stream] = {"language": Stream.from_clips(texts), "audio": Stream.from_clips(voices)}
        scores = np.array([segment.score for segment in chosen.values()], dtype=np.float32)
        yield name, Split(streams, scores, tuple(chosen), tuple(said))
