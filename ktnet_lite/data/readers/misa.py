"""Pickles of MISA and MAG-BERT: lists of tuples, one a clip, word-aligned.

A clip is ``((..., vision (T, D), audio (T, D), ...), label, name)``, where the first part is ``(word numbers, vision,
audio, words)`` in MISA and ``(words, vision, audio)`` in MAG-BERT. MISA has a file for each split (``train.pkl``,
``dev.pkl``, ``test.pkl``), MAG-BERT one dict of the three lists. The files have no vectors of the words; they are
hashed as in ``mosi-words`` (:func:`ktnet_lite.data.readers.words.vectors_of`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ktnet_lite.data.readers import pickles
from ktnet_lite.data.readers.fields import OTHER_NAMES, clip_ids, named_splits, numbers, scores_of
from ktnet_lite.data.readers.folder import files_below
from ktnet_lite.data.readers.words import vectors_of
from ktnet_lite.data.schema import Header, Split, Stream
from ktnet_lite.errors import DataError
from ktnet_lite.names import SPLITS, Modality

LAYOUT = "((words, vision, audio), label, name)"


def is_folder(names: set[str]) -> bool:
    """Whether a folder with files of these names has MISA's three."""
    return {"train", "valid", "test"} <= {_split_of(name) for name in names if name.endswith(".pkl")}


def is_misa(path: Path | str) -> bool:
    """Whether a pickle is a list of MISA's tuples, or a dict of such lists. It is read whole."""
    try:
        content = pickles.load(path)
    except DataError:
        return False
    lists = list(content.values()) if isinstance(content, dict) else [content]
    return bool(lists) and all(isinstance(part, list) and part and _is_clip(part[0]) for part in lists)


def read(path: Path | str) -> tuple[Header, Iterator[tuple[str, Split]]]:
    """Read header and splits of a folder with three pickles, or of one pickle with three lists.

    Raises
    ------
    DataError
        A split is missing or no list of tuples; the message names file, split and index.
    """
    path = Path(path)
    if path.is_dir():
        files = {_split_of(file.name): file for file in files_below(path) if file.suffix == ".pkl"}
        content = named_splits(path, {name: pickles.load(file) for name, file in files.items() if name in SPLITS})
    else:
        content = pickles.load(path)
        if isinstance(content, list):
            raise DataError(
                f"{path} is one split of MISA, {len(content)} clips; give a folder with train.pkl, dev.pkl and test.pkl"
            )
        content = named_splits(path, content)
    provenance = {
        "source": "MISA's or MAG-BERT's pickle",
        "file": path.name,
        "language": "hashed character n-grams, 1 to 4, 1024 numbers",
        "licence": "of the data set's owners",
    }
    return Header(path.stem, "sentiment", True, provenance), _splits(path, content)


def _splits(path: Path, content: dict[str, Any]) -> Iterator[tuple[str, Split]]:
    for name in SPLITS:
        clips = content.pop(name)
        if not isinstance(clips, list) or not clips:
            raise DataError(f"{path}, split {name}: expected a list of tuples {LAYOUT}, at least one")
        parts: dict[Modality, list[np.ndarray]] = {"language": [], "vision": [], "audio": []}
        spoken, names = [], []
        scores = np.empty(len(clips), np.float32)
        for i, clip in enumerate(clips):
            where = f"{name}, clip {i}"
            if not _is_clip(clip):
                raise DataError(f"{path}, split {where}: expected a tuple {LAYOUT}")
            words, vision, audio = _words(clip[0]), clip[0][1], clip[0][2]
            spoken.append(tuple(word.decode("utf-8", "replace") if isinstance(word, bytes) else word for word in words))
            for modality, value in (("vision", vision), ("audio", audio)):
                array = numbers(path, where, modality, value, 2)
                if len(array) != len(words):
                    raise DataError(f"{path}, split {where}, {modality}: {len(array)} steps, but {len(words)} words")
                if parts[modality] and array.shape[1] != parts[modality][0].shape[1]:
                    expected = parts[modality][0].shape[1]
                    raise DataError(
                        f"{path}, split {where}, {modality}: {array.shape[1]} features, but {expected} before"
                    )
                parts[modality].append(array)
            parts["language"].append(vectors_of(np.array(spoken[-1], dtype=object)))
            scores[i] = scores_of(path, where, "label", np.reshape(clip[1], -1).tolist())[0]
            names.append(clip[2])
        ids = clip_ids(path, name, names, len(names))
        streams = {modality: Stream.from_clips(arrays) for modality, arrays in parts.items()}
        yield name, Split(streams, scores, ids, tuple(spoken))


def _split_of(file_name: str) -> str:
    stem = Path(file_name).stem.lower()
    return OTHER_NAMES.get(stem, stem)


def _is_clip(clip: Any) -> bool:
    """Whether a value has the layout of a clip, with words in it."""
    if not (isinstance(clip, tuple) and len(clip) == 3 and isinstance(clip[0], (tuple, list)) and len(clip[0]) >= 3):
        return False
    return _words(clip[0]) is not None and isinstance(clip[1], (int, float, list, np.ndarray, np.number))


def _words(parts: Sequence[Any]) -> Any:
    """Take the list of words, which is the first or the last part; None if there is none."""
    for words in (parts[-1], parts[0]):
        if isinstance(words, (list, tuple)) and words and all(isinstance(word, (str, bytes)) for word in words):
            return words
    return None
