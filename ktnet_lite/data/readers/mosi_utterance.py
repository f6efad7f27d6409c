"""``mosi-utterance``: CMU-MOSI with one vector a clip and modality, each clip seen among its neighbours in the video.

A clip becomes an aligned sequence: up to ``CONTEXT`` clips before it and after it in its video, in the order in which
they were spoken. A last feature marks the clip itself with 1, its neighbours with 0.

Traps of the raw files, handled here:

- Rows are not in the order of speaking: within a video all positive clips come first. A window of neighbours in file
  order would give the label away. The order comes from the clip's number in ``transcripts.csv``, as a number.
- The vectors are partly label-supervised on their own training videos, and 24 of the 31 official test videos are among
  those: they may be used with their own split only (1447 and 752 clips), never with the official folds. The valid
  split has to come from those training videos, so what it says is far too good; the test split is clean.
- Audio and vision are weak in them: ridge regression on the test clips gives Acc2 0.753 for text, 0.556 for audio,
  0.525 for vision, 0.621 for the majority. Figures on this set do not compare with the paper's MOSI tables.

The files hold 0/1 labels (score >= 0). Scores in [-3, 3] come from the opinion labels of the same clips.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ktnet_lite.data.readers.csd import Videos, segments
from ktnet_lite.data.readers.folder import find
from ktnet_lite.data.schema import Header, Split, Stream
from ktnet_lite.errors import DataError
from ktnet_lite.names import Modality

NAME = "mosi-utterance"
CONTEXT = 4
LABELS = "CMU_MOSI_Opinion_Labels.csd"
FILES: dict[Modality, str] = {"language": "text", "vision": "video", "audio": "audio"}
FETCH = f"fetch it again: `ktnet-lite data fetch {NAME}`"
VALID_EVERY = 6  # of the training videos in the order of their names, every sixth is for validation


def read(folder: Path | str) -> tuple[Header, Iterator[tuple[str, Split]]]:
    """Header and splits from a folder that holds the csv files and the opinion labels.

    Raises
    ------
    DataError
        A file is missing, a cell is no number (file, line, column), or files do not belong together.
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
    """The vectors of each clip of one part, by clip id."""
    paths = {modality: find(folder, f"{file}_{part}0.csv", NAME) for modality, file in FILES.items()}
    arrays = {modality: _numbers(path) for modality, path in paths.items()}
    index_file = find(folder, f"text_{part}.csv", NAME)
    index = _whole(index_file, _numbers(index_file), 0)
    for modality, path in paths.items():
        if len(arrays[modality]) != len(index):
            raise DataError(
                f"{folder}: {path.name} has {len(arrays[modality])} rows, {index_file.name} {len(index)}; "
                "they belong to different versions"
            )
    signs = np.stack([_whole(path, arrays[modality], -1) for modality, path in paths.items()], axis=1)
    loaded = {}
    for i, row in enumerate(index):
        if not 0 <= row < len(names):
            raise DataError(f"{index_file}, line {i + 1}: row {row} is not in transcripts.csv, which has {len(names)}")
        clip = names[row]
        if clip in loaded:
            first = index.tolist().index(row) + 1
            raise DataError(f"{index_file}, line {i + 1}, column 1: clip {clip} again, first in line {first}; {FETCH}")
        labels = set(signs[i].tolist())
        if clip not in scores or labels != {int(scores[clip] >= 0)}:
            raise DataError(
                f"{folder}, clip {clip} (line {i + 1} of the {part} files): labels {sorted(labels)} do not agree with "
                f"the score {scores.get(clip)}; the files belong to different versions"
            )
        loaded[clip] = {modality: array[i, :-1] for modality, array in arrays.items()}
    return loaded


def _split(clips: dict[str, dict[Modality, np.ndarray]], scores: dict[str, float]) -> Split:
    """Windows of neighbours, in the order in which they were spoken."""
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
            mark = (np.arange(len(window)) == place)[:, None]
            sequences.append(np.concatenate([vectors, mark], axis=1))
        streams[modality] = Stream.from_clips(sequences)
    return Split(streams, np.array([scores[clip] for clip in order], dtype=np.float32), tuple(order))


def _place(clip: str) -> tuple[str, int]:
    """Video and number of a clip id, so that clip 10 comes after clip 9."""
    video, _, number = clip.rpartition("_")
    return video, int(number)


def _numbers(path: Path) -> np.ndarray:
    """A csv file of numbers, (rows, columns); names line and column of what is none."""
    rows = _rows(path)
    for line, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise DataError(f"{path}, line {line}: {len(row)} columns, but line 1 has {len(rows[0])}; is it cut off?")
        for column, cell in enumerate(row, start=1):
            try:
                float(cell)
            except ValueError:
                raise DataError(f"{path}, line {line}, column {column}: {cell!r} is not a number") from None
    return np.array(rows, dtype=float)


def _whole(path: Path, array: np.ndarray, column: int) -> np.ndarray:
    """One column of a csv file as whole numbers; names line and column of what is none."""
    values = array[:, column]
    wrong = ~(np.isfinite(values) & (values == np.round(values)))
    if wrong.any():
        line, place = int(np.argmax(wrong)) + 1, range(array.shape[1])[column] + 1
        raise DataError(f"{path}, line {line}, column {place}: {values[line - 1]} is no whole number; {FETCH}")
    return values.astype(np.int64)


def _rows(path: Path) -> list[list[str]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as csv: {error}") from error
    if not rows:
        raise DataError(f"{path} is empty; {FETCH}")
    return rows
