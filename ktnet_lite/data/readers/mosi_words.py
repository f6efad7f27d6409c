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

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from ktnet_lite.data.readers.csd import Sequence, read_sequences, segments
from ktnet_lite.data.readers.folds import mosi_split
from ktnet_lite.data.schema import SPLITS, Header, Split, Stream
from ktnet_lite.errors import DataError

WORDS, LABELS = "CMU_MOSI_ModifiedTimestampedWords.csd", "CMU_MOSI_Opinion_Labels.csd"
SILENCE = "sp"
RHYTHM = ("duration", "pause before", "pause after", "characters per second", "position")


def read(folder: Path | str) -> tuple[Header, Iterator[tuple[str, Split]]]:
    """Header and splits from a folder that holds the words and the labels.

    Raises
    ------
    DataError
        A file is missing or damaged, or a labelled video has no words.
    """
    words, labels = (read_sequences(_find(Path(folder), name)) for name in (WORDS, LABELS))
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


def words_of(sequence: Sequence, start: float, end: float) -> tuple[list[str], np.ndarray]:
    """The words spoken between two moments, and their intervals (T, 2), with the shift by one undone.

    A word belongs to the clip that its middle lies in.
    """
    tokens, intervals = sequence.features[1:], sequence.intervals[:-1]
    middle = intervals.mean(axis=1)
    inside = (middle >= start) & (middle < end) & (tokens != SILENCE)
    return [str(word) for word in tokens[inside]], intervals[inside]


def rhythm(intervals: np.ndarray, words: list[str], start: float, end: float) -> np.ndarray:
    """What the timings of a clip's words say, shape (T, 5), in seconds, characters a second, and share of the clip."""
    begins, ends = intervals.T
    duration = np.maximum(ends - begins, 1e-3)
    before = begins - np.concatenate([[start], ends[:-1]])
    after = np.concatenate([begins[1:], [end]]) - ends
    pace = np.array([len(word) for word in words]) / duration
    position = (begins - start) / (end - start)
    return np.stack([duration, np.maximum(before, 0), np.maximum(after, 0), pace, position], axis=1)


def _splits(words: dict[str, Sequence], clips: dict[str, tuple]) -> Iterator[tuple[str, Split]]:
    vectorizer = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 4), n_features=1024, dtype=np.float32)
    for name in SPLITS:
        chosen = {clip: about for clip, about in clips.items() if mosi_split(about[0]) == name}
        texts, voices, said = [], [], []
        for video, start, end, _ in chosen.values():
            spoken, intervals = words_of(words[video], start, end)
            if spoken:
                texts.append(vectorizer.transform(spoken).toarray())
                voices.append(rhythm(intervals, spoken, start, end))
            else:  # one silent step: no word, and a pause as long as the clip
                texts.append(np.zeros((1, vectorizer.n_features), np.float32))
                voices.append(np.array([[0.0, end - start, 0.0, 0.0, 0.0]]))
            said.append(tuple(spoken) or ("",))
        streams = {"language": Stream.from_clips(texts), "audio": Stream.from_clips(voices)}
        scores = np.array([about[3] for about in chosen.values()], dtype=np.float32)
        yield name, Split(streams, scores, tuple(chosen), tuple(said))


def _find(folder: Path, name: str) -> Path:
    found = sorted(folder.rglob(name)) if folder.is_dir() else []
    if not found:
        raise DataError(f"{folder}: no {name} in it; `ktnet-lite data fetch mosi-words` gets it")
    return found[0]
