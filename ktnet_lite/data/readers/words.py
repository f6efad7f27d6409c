"""Words with their timings from ``.csd`` files, and vectors for them."""

from __future__ import annotations

import numpy as np

from ktnet_lite.data.readers.csd import Sequence, between

SHIFTED = "CMU_MOSI_ModifiedTimestampedWords"  # root of the file in which word k + 1 has interval k
SILENCE = "sp"


def words_of(sequence: Sequence, root: str, start: float, end: float) -> Sequence:
    """Take the words (or word vectors) whose middle is in a segment, without silence.

    The shift by one in the file with the root :data:`SHIFTED` is undone. A segment without words becomes one silent
    step: an empty word (or a vector of zeros), as long as the segment.
    """
    features, intervals = sequence
    if root == SHIFTED:
        features, intervals = features[1:], intervals[:-1]
    if features.dtype.kind == "U":
        spoken = features != SILENCE
        features, intervals = features[spoken], intervals[spoken]
    words = between(Sequence(features, intervals), start, end)
    if len(words.features):
        return words
    return Sequence(np.zeros((1, *features.shape[1:]), features.dtype), np.array([[start, end]]))


def vectors_of(words: np.ndarray) -> np.ndarray:
    """Hash character n-grams of each word to (T, 1024), equal on every machine; an empty word becomes zeros."""
    from scipy.sparse import csr_matrix  # here, since they take two seconds to load
    from sklearn.feature_extraction.text import HashingVectorizer

    vectors = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 4), n_features=1024, dtype=np.float32)
    return csr_matrix(vectors.transform(words)).toarray()
