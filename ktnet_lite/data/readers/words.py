"""Words with their timings, as ``.csd`` files hold them: what was said when, and vectors for it."""

from __future__ import annotations

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from ktnet_lite.data.readers.csd import Sequence, between

SHIFTED = "CMU_MOSI_ModifiedTimestampedWords"  # root of the file in which word k + 1 stands beside interval k
SILENCE = "sp"

VECTORS = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 4), n_features=1024, dtype=np.float32)


def words_of(sequence: Sequence, root: str, start: float, end: float) -> Sequence:
    """The words of a segment (or its word vectors): those whose middle lies in it, without silence.

    The shift by one of the file with the root :data:`SHIFTED` is undone. Where nothing is said there is one silent
    step: an empty word (or a vector of zeros), as long as the segment.
    """
    features, intervals = sequence
    if root == SHIFTED:
        features, intervals = features[1:], intervals[:-1]
    if features.dtype.kind == "U":
        heard = features != SILENCE
        features, intervals = features[heard], intervals[heard]
    words = between(Sequence(features, intervals), start, end)
    if len(words.features):
        return words
    return Sequence(np.zeros((1, *features.shape[1:]), features.dtype), np.array([[start, end]]))


def vectors_of(words: np.ndarray) -> np.ndarray:
    """Each word as 1024 hashed character n-grams (T, 1024), the same on every machine; an empty one is zeros."""
    return VECTORS.transform(words).toarray()
