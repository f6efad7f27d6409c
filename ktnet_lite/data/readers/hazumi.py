"""``hazumi`` and ``hazumi-face``: a person talks with a system, and outsiders judge the person's impression.

Osaka University's Multimodal Dialogue Corpus publishes, for every exchange (one turn of the system and the answer),
features of what was said, of the face and of the voice, and the judgements of five raters from 1 to 7. A clip is an
exchange with up to ``CONTEXT`` exchanges before it, never one after it, as an aligned sequence of one vector each.
The last feature marks the clip's own exchange with 1 and those before it with 0. The score is the mean of the raters
minus 4.

Pitfalls of the raw files, handled here:

- The name of one column ends in a line feed inside quotes, other names differ between the corpora, and the files begin
  with a byte order mark. Columns are taken by position.
- In 11 % of the exchanges of 2010 and 2012 nothing was said, and in 42 % of those of 1902 no word was recognised. The
  language features are zeros then, except a count of 1 that stands for nothing. A clip whose own exchange has no word
  has no language; earlier exchanges without a word stay as they are in the file.
- How much was said tells much about the score. A model that knows only this is a row of the tables.
- In 1902 the transcripts of some sessions have more exchanges than the features: they are joined by their start.
- Clips of one session are alike: whole sessions belong to a split.
"""

from __future__ import annotations

import csv
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ktnet_lite.data.foreign import unreadable
from ktnet_lite.data.readers.folder import files_below
from ktnet_lite.data.readers.padding import marked
from ktnet_lite.data.schema import Header, Split, Stream
from ktnet_lite.errors import DataError
from ktnet_lite.names import SPLITS, Modality

CONTEXT = 3  # exchanges before the clip's own
MIDDLE = 4.0  # of the raters' scale
SESSION = re.compile(r"(2010|2012|1902)[FM]\d{4}")
LICENCE = "no licence is stated; Osaka University's, for research; cite Komatani and Okada 2021"


class Layout(NamedTuple):
    """Where the columns of a corpus are."""

    columns: int
    start: int  # of the exchange, in ms
    raters: slice  # whose mean is the label
    streams: dict[Modality, tuple[slice, ...]]
    spoken: slice  # all zeros where nothing was said


ONLINE = Layout(
    1252,
    1,
    slice(15, 16),
    {"language": (slice(467, 1252),), "vision": (slice(401, 467),), "audio": (slice(17, 401),)},
    slice(484, 1252),
)
FACE_TO_FACE = Layout(
    1483,
    0,
    slice(15, 20),
    {
        "language": (slice(404, 1371), slice(1372, 1376)),
        "vision": (slice(1388, 1482),),
        "audio": (slice(20, 404),),
    },
    slice(1378, 1379),
)
LAYOUTS = {"2010": ONLINE, "2012": ONLINE, "1902": FACE_TO_FACE}


class Session(NamedTuple):
    """The exchanges of one person, in order."""

    scores: np.ndarray  # (N,)
    streams: dict[Modality, np.ndarray]  # (N, D)
    spoken: np.ndarray  # (N,), whether anything was said
    utterances: list[str]


def split_of(sessions: Sequence[str]) -> dict[str, str]:
    """Divide sessions: of their names in order, every fifth is for test, the third, thirteenth, ... for valid.

    A name holds year, sex, decade of age and number, so every split has people of all ages from each corpus.
    """
    return {
        name: "test" if i % 5 == 4 else "valid" if i % 10 == 2 else "train" for i, name in enumerate(sorted(sessions))
    }


def is_folder(names: set[str]) -> bool:
    """Whether a folder with files of these names has tables and transcripts of Hazumi."""
    sessions = {suffix: {Path(name).stem for name in names if name.endswith(suffix)} for suffix in (".csv", ".eaf")}
    return any(SESSION.fullmatch(name) for name in sessions[".csv"] & sessions[".eaf"])


def read(folder: Path | str) -> tuple[Header, Iterator[tuple[str, Split]]]:
    """Read header and splits from a folder with the files of the corpora of 2010 and 2012, or of 1902.

    Raises
    ------
    DataError
        Files are missing, or one has another layout; the message names file, line and column.
    """
    folder = Path(folder)
    files = files_below(folder)
    tables = {path.stem: path for path in files if path.suffix == ".csv" and SESSION.fullmatch(path.stem)}
    layouts = {LAYOUTS[name[:4]].columns for name in tables}
    if len(layouts) != 1:
        found = ", ".join(sorted({name[:4] for name in tables})) or "none"
        raise DataError(f"{folder}: expected files of Hazumi 2010 and 2012, or of 1902 alone; found those of {found}")
    transcripts = {path.stem: path for path in files if path.suffix == ".eaf"}
    if missing := sorted(tables.keys() - transcripts.keys()):
        raise DataError(f"{folder}: no transcript {missing[0]}.eaf ({len(missing)} are missing)")
    face = any(name.startswith("1902") for name in tables)
    provenance = {
        "source": "Osaka University's Multimodal Dialogue Corpus (Hazumi), features and transcripts",
        "licence": LICENCE,
        "scores": "mean of five raters, 1 to 7, minus 4",
        "context": f"{CONTEXT} exchanges before the clip's own",
    }
    header = Header("hazumi-face" if face else "hazumi", "sentiment", True, provenance)
    return header, _splits(tables, transcripts)


def _splits(tables: dict[str, Path], transcripts: dict[str, Path]) -> Iterator[tuple[str, Split]]:
    places = split_of(list(tables))
    for name in SPLITS:
        chosen = [session for session, split in places.items() if split == name]
        if not chosen:
            raise DataError(f"{len(tables)} sessions are too few to divide: there is none for {name}")
        yield name, _split({session: _session(tables[session], transcripts[session]) for session in chosen})


def _split(sessions: dict[str, Session]) -> Split:
    """Make a clip of each exchange with those before it."""
    steps: dict[Modality, list[np.ndarray]] = {"language": [], "vision": [], "audio": []}
    ids, words = [], []
    for name, session in sessions.items():
        for i in range(len(session.scores)):
            window = slice(max(i - CONTEXT, 0), i + 1)
            ids.append(f"{name}_{i + 1}")
            heard = window if session.spoken[i] else slice(0)
            for modality, values in session.streams.items():
                seen = values[heard if modality == "language" else window]
                steps[modality].append(marked(seen, len(seen) - 1))
            words.append(tuple(session.utterances[heard]))
    scores = np.concatenate([session.scores for session in sessions.values()])
    return Split({name: Stream.from_clips(clips) for name, clips in steps.items()}, scores, tuple(ids), tuple(words))


def _session(table: Path, transcript: Path) -> Session:
    layout = LAYOUTS[table.stem[:4]]
    rows = _rows(table, layout.columns)
    utterances = _utterances(transcript)
    starts = _numbers(table, rows, (slice(layout.start, layout.start + 1),))[:, 0]
    ratings = _numbers(table, rows, (layout.raters,))
    streams = {modality: _numbers(table, rows, columns) for modality, columns in layout.streams.items()}
    return Session(
        (ratings.mean(axis=1) - MIDDLE).astype(np.float32),
        {modality: values.astype(np.float32) for modality, values in streams.items()},
        np.any(_numbers(table, rows, (layout.spoken,)), axis=1),
        [utterances.get(int(start), "") for start in starts],
    )


def _rows(path: Path, columns: int) -> list[list[str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            _, *rows = csv.reader(file)
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, csv.Error) as error:  # empty, not UTF-8, or a line too long
        raise DataError(f"{path} is no table with a heading: {error}") from error
    for line, row in enumerate(rows, start=1):
        if len(row) != columns:
            raise DataError(f"{path}, exchange {line}: {len(row)} columns, expected {columns}; fetch the file again")
    if not rows:
        raise DataError(f"{path}: no exchange; fetch the file again")
    return rows


def _numbers(path: Path, rows: list[list[str]], columns: tuple[slice, ...]) -> np.ndarray:
    """Take columns as numbers, (N, D)."""
    try:
        return np.array([[float(cell) for part in columns for cell in row[part]] for row in rows])
    except ValueError:
        for line, row in enumerate(rows, start=1):
            for part in columns:
                for column, cell in enumerate(row[part], start=part.start):
                    try:
                        float(cell)
                    except ValueError:
                        raise DataError(f"{path}, exchange {line}, column {column}: {cell!r} is no number") from None
        raise


def _utterances(path: Path) -> dict[int, str]:
    """Read what the person said, by the start of the exchange in ms."""
    try:
        document = ElementTree.parse(path).getroot()
        slots = {slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE", -1)) for slot in document.iter("TIME_SLOT")}
        tiers = [tier for tier in document.iter("TIER") if tier.get("TIER_ID") == "user_utterance"]
        return {
            slots[annotation.get("TIME_SLOT_REF1")]: (annotation.findtext("ANNOTATION_VALUE") or "").strip()
            for tier in tiers
            for annotation in tier.iter("ALIGNABLE_ANNOTATION")
        }
    except OSError as error:
        raise unreadable(path, error) from error
    except (ElementTree.ParseError, ValueError, KeyError) as error:
        raise DataError(f"{path} is no transcript of ELAN: {error!r}; fetch the file again") from error
