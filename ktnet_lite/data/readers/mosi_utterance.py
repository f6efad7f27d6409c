"""``mosi-utterance``: CMU-MOSI with one vector per clip and modality, each clip in the context of its video.

A clip becomes an aligned sequence: the clip with up to ``CONTEXT`` clips before and after it in its video, in the order
in which they were spoken. The last feature marks the clip itself with 1 and its neighbours with 0.

Pitfalls of the raw files, handled here:

- Rows are not in spoken order: within a video all positive clips come first, so a window of neighbours in file order
  would reveal the label. The order comes from the number of the clip in ``transcripts.csv``, compared as a number.
- The vectors were partly trained on the labels of their own training videos, which include 24 of the 31 official test
  videos. Use them with their own split only (1447 and 752 clips), never with the official folds. The validation set has
  to come from those training videos, so its scores are far too good; the test set is clean.
- Audio and vision are weak: ridge regression reaches a test Acc2 of 0.753 for text, 0.556 for audio and 0.525 for
  vision; the majority class, 0.621. Results on this set are not comparable with the MOSI tables of the paper.

The files have 0/1 labels (score >= 0). Scores in [-3, 3] come from the opinion labels of the same clips.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ktnet_lite.data.readers.csd import Videos, segments
from ktnet_lite.data.readers.folder import find
from ktnet_lite.data.readers.padding import marked
from ktnet_lite.data.schema import Header, Split, Stream
from ktnet_lite.errors import DataError
from ktnet_lite.names import Modality

NAME = "mosi-utterance"
CONTEXT = 4
LABELS = "CMU_MOSI_Opinion_Labels.csd"
FILES: dict[Modality, str] = {"language": "text", "vision": "video", "audio": "audio"}
FETCH = f"fetch it again: `ktnet-lite data fetch {NAME}`"
VALID_EVERY = 6  # every sixth training video, in order of name, is for validation


def read(folder: Path | str) -> tuple[Header, Iterator[tuple[str, Split]]]:
    """Read header and splits from a folder with the csv files and the opinion labels.

    Raises
    ------
    DataError
        A file is missing, a cell is not a number (the message names line and column), or files do not match.
    """
    folder = Path(folder)
    provenance = {
        "source": "declare-lab/multimodal-deep-learning, utterance-level features; scores from the opinion labels",
        "licence": "MIT (the features); the videos: CMU MultiComp Lab's, for research",
        "caution": "features are partly label-supervised; own split only; not comparable with the official MOSI tables",
        "context": f"{CONTEXT} clips on either side; the last feature marks the clip itself",
    }
    return Header(NAME, "sentiment", True, provenance), _splits(folder)


def _splits(folder: Path) -> Iterator[tuple[str, Split]]:
    names = [row[0] for row in _rows(find(folder, "transcripts.csv", NAME))]
    scores = {clip: segment.score for clip, segment in segments(Videos(find(folder, LABELS, NAME))).items()}
    train, test = (_load(folder, part, names, scores) for part in ("train", "test"))
    if both := sorted(train.keys() & test.keys()):
        raise DataError(f"{folder}: {len(both)} clips are in train and in test, the first {both[0]}; {FETCH}")
    videos = sorted({_place(clip)[0] for clip in train})
    held_out = set(videos[VALID_EVERY - 1 :: VALID_EVERY])
    yield "train", _split({clip: x for clip, x in train.items() if _place(clip)[0] not in held_out}, scores)
    yield "valid", _split({clip: x for clip, x in train.items() if _place(clip)[0] in held_out}, scores)
    yield "test", _split(test, scores)


def _load(folder: Path, part: str, names: list[str], scores: dict[str, float]) -> dict[str, dict[Modality, np.ndarray]]:
    """Load the vectors of each clip of one part, by clip id."""
    paths = {modality: find(folder, f"{file}_{part}0.csv", NAME) for modality, file in FILES.items()}
    arrays = {modality: _numbers(path) for modality, path in paths.items()}
    index_file = find(folder, f"text_{part}.csv", NAME)
    index = _whole(index_file, _numbers(index_file), 0)
    for modality, path in paths.items():
        if len(arrays[modality]) != len(index):
            raise DataError(
                f"{folder}: {path.name} has {len(arrays[modality])} rows, but {index_file.name} {len(index)}; "
                f"the files belong to different versions, so {FETCH}"
            )
    signs = np.stack([_whole(path, arrays[modality], -1) for modality, path in paths.items()], axis=1)
    loaded = {}
    for i, row in enumerate(index):
        if not 0 <= row < len(names):
            raise DataError(
                f"{index_file}, line {i + 1}: row {row} is not in transcripts.csv, which has {len(names)} rows; {FETCH}"
            )
        clip = names[row]
        if clip in loaded:
            first = index.tolist().index(row) + 1
            raise DataError(f"{index_file}, line {i + 1}, column 1: clip {clip} is in line {first} already; {FETCH}")
        labels = set(signs[i].tolist())
        if clip not in scores or labels != {int(scores[clip] >= 0)}:
            raise DataError(
                f"{folder}, clip {clip} (line {i + 1} of the {part} files): labels {sorted(labels)} contradict the "
                f"score {scores.get(clip)}; the files belong to different versions, so {FETCH}"
            )
        loaded[clip] = {modality: array[i, :-1] for modality, array in arrays.items()}
    return loaded


def _split(clips: dict[str, dict[Modality, np.ndarray]], scores: dict[str, float]) -> Split:
    """Make a window of neighbours in spoken order for each clip."""
    order = sorted(clips, key=_place)
    videos: dict[str, list[str]] = {}
    for clip in order:
        videos.setdefault(_place(clip)[0], []).append(clip)
    windows = []
    for spoken in videos.values():
        for i in range(len(spoken)):
            first = max(i - CONTEXT, 0)
            windows.append((spoken[first : i + CONTEXT + 1], i - first))
    streams = {}
    for modality in FILES:
        sequences = []
        for window, place in windows:
            vectors = np.stack([clips[clip][modality] for clip in window])  # (T, D)
            sequences.append(marked(vectors, place))
        streams[modality] = Stream.from_clips(sequences)
    return Split(streams, np.array([scores[clip] for clip in order], dtype=np.float32), tuple(order))


def _place(clip: str) -> tuple[str, int]:
    """Split a clip id into video and number, so that clip 10 comes after clip 9."""
    video, _, number = clip.rpartition("_")
    return video, int(number)


def _numbers(path: Path) -> np.ndarray:
    """Read a csv file of numbers, (rows, columns); an error names line and column."""
    rows = _rows(path)
    for line, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise DataError(f"{path}, line {line}: {len(row)} columns, but line 1 has {len(rows[0])}; {FETCH}")
        for column, cell in enumerate(row, start=1):
            try:
                float(cell)
            except ValueError:
                raise DataError(f"{path}, line {line}, column {column}: {cell!r} is not a number") from None
    return np.array(rows, dtype=float)


def _whole(path: Path, array: np.ndarray, column: int) -> np.ndarray:
    """Take a column of a csv file as integers; an error names line and column."""
    values = array[:, column]
    wrong = ~(np.isfinite(values) & (values == np.round(values)))
    if wrong.any():
        line, place = int(np.argmax(wrong)) + 1, range(array.shape[1])[column] + 1
        raise DataError(f"{path}, line {line}, column {place}: {values[line - 1]} is not an integer; {FETCH}")
    return values.astype(np.int64)


def _rows(path: Path) -> list[list[str]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as csv: {error}; {FETCH}") from error
    if not rows:
        raise DataError(f"{path} is empty; {FETCH}")
    return rows
