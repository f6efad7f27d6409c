"""The label file of a folder of clips: a score for each, and the split that it belongs to, speaker by speaker."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ktnet_lite.data.foreign import unreadable
from ktnet_lite.data.readers import scales
from ktnet_lite.errors import DataError, did_you_mean
from ktnet_lite.names import SENTIMENT_RANGE, SPLITS
from ktnet_lite.text import enumerated

COLUMNS = ("id", "score", "split", "speaker", "text")
SHARES = {"train": 0.7, "test": 0.2, "valid": 0.1}  # of the clips, when speakers are divided


class Label(NamedTuple):
    """A row of the label file.

    Parameters
    ----------
    clip : str
        The clip's file below the folder, with or without its ending.
    score : float
        In [-3, 3].
    split, text : str
        ``text`` is what is said in the clip; empty if the file does not tell.
    """

    clip: str
    score: float
    split: str
    text: str


def read(path: Path, score_range: tuple[float, float] | None = None) -> list[Label]:
    """Read a CSV file with the columns id, score, and split or speaker or both; text may be there too.

    Clips of one speaker never stand in two splits. Without the column split, the speakers are divided.

    Parameters
    ----------
    score_range : (float, float), optional
        Lowest and highest score that the labels can have; they are stretched to -3 and 3.

    Raises
    ------
    DataError
        The file cannot be read, or a cell is invalid; the message names the row. Or the scores may have another scale,
        a speaker is in two splits, or a split has no clip.
    """
    rows = _rows(path)
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        if (first := seen.setdefault(row["id"], number)) != number:
            raise DataError(f"{path}, row {number}: {row['id']!r} has a label in row {first} already; keep one of them")
    scores = np.array([_score(path, number, row["score"]) for number, row in enumerate(rows, start=2)])
    if score_range is None and (question := scales.question(scores)):
        raise DataError(f"{path}, column score: {question}")
    low, high = score_range or SENTIMENT_RANGE
    if ((scores < low) | (scores > high)).any():
        i = int(((scores < low) | (scores > high)).argmax())
        raise DataError(f"{path}, row {i + 2}: score {scores[i]:g} is outside [{low:g}, {high:g}]; correct it")
    scores = scales.stretched(scores, low, high)
    splits = _splits(path, rows)
    return [
        Label(row["id"], float(score), split, row.get("text", ""))
        for row, score, split in zip(rows, scores, splits, strict=True)
    ]


def divide(speakers: Sequence[str]) -> dict[str, str]:
    """Divide speakers into splits: each, those with most clips first, goes where the fewest clips are for its share.

    Raises
    ------
    DataError
        There are fewer than three speakers.
    """
    counts = Counter(speakers)
    if len(counts) < len(SHARES):
        raise DataError(
            f"{len(counts)} speakers cannot be divided into {enumerated(SPLITS)}, and the clips of one speaker must "
            "not be in two of them; add the column split, with train, valid or test"
        )
    held = dict.fromkeys(SHARES, 0.0)
    splits = {}
    for speaker, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        splits[speaker] = min(held, key=lambda split: held[split] / SHARES[split])
        held[splits[speaker]] += count
    return splits


def locate(labels: Iterable[Label], files: dict[str, Path], where: str) -> list[Path]:
    """Find the file of each label.

    Parameters
    ----------
    files : dict of Path
        The files of the folder by the name that a label may give them.
    where : str
        The label file, for messages.

    Raises
    ------
    DataError
        A label names no file; the message gives the row and the nearest name.
    """
    found: dict[Path, int] = {}  # -> row
    for number, label in enumerate(labels, start=2):
        if (path := files.get(label.clip)) is None:
            raise DataError(
                f"{where}, row {number}: there is no clip {label.clip!r}{did_you_mean(label.clip, files)}; correct the "
                "id, or remove the row"
            )
        if (first := found.setdefault(path, number)) != number:
            raise DataError(f"{where}, row {number}: {path.name} has a label in row {first} already; keep one of them")
    return list(found)


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            names = [(name or "").strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            rows = [{name: (row[name] or "").strip() for name in COLUMNS if name in names} for row in reader]
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start}); save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV file: {error}") from None
    if missing := {"id", "score"} - set(names):
        raise DataError(f"{path}: no column {enumerated(sorted(missing))}; it has {enumerated(names)}")
    if not {"split", "speaker"} & set(names):
        raise DataError(
            f"{path}: neither a column split nor a column speaker. Name the speaker of each clip, and the speakers are "
            "divided into train, valid and test; a model must not be tested on a voice that it was trained on"
        )
    if not rows:
        raise DataError(f"{path} has no row")
    for number, row in enumerate(rows, start=2):
        for name in ("id", "split", "speaker"):
            if name in row and not row[name]:
                raise DataError(f"{path}, row {number}: the cell {name} is empty")
    return rows


def _score(path: Path, number: int, cell: str) -> float:
    try:
        score = float(cell)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise DataError(f"{path}, row {number}: score {cell!r} is not a number")
    return score


def _splits(path: Path, rows: Sequence[dict[str, str]]) -> list[str]:
    if "split" in rows[0]:
        splits = [row["split"].lower() for row in rows]
        for number, split in enumerate(splits, start=2):
            if split not in SPLITS:
                raise DataError(f"{path}, row {number}: split {split!r} is not one of {enumerated(SPLITS)}")
    else:
        try:
            divided = divide([row["speaker"] for row in rows])
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        splits = [divided[row["speaker"]] for row in rows]
    home: dict[str, str] = {}
    for number, (row, split) in enumerate(zip(rows, splits, strict=True), start=2):
        if "speaker" in row and home.setdefault(row["speaker"], split) != split:
            raise DataError(
                f"{path}, row {number}: speaker {row['speaker']!r} is in {split} here and in {home[row['speaker']]} "
                "above. A model that knows the speaker scores too well; put all clips of a speaker into one split"
            )
    for split in SPLITS:
        if split not in splits:
            raise DataError(f"{path}: no clip is in split {split}; training needs {enumerated(SPLITS)}")
    return splits
