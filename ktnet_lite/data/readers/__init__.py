"""Readers of published files: each returns a header at once and yields the splits one by one.

``identify`` detects the format of a file or folder from its content; ``open_source`` reads it.
"""

from __future__ import annotations

import itertools
import pickletools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ktnet_lite.data import hdf5, store
from ktnet_lite.data.foreign import instead, unreadable
from ktnet_lite.data.readers import csd, csd_folder, hazumi, mfn, misa, mmsa, mosi_utterance, mosi_words, mult
from ktnet_lite.data.readers.fields import FIELDS
from ktnet_lite.data.readers.folder import files_below
from ktnet_lite.data.readers.repair import without_bad_clips, zero_nonfinite
from ktnet_lite.data.readers.scales import Range, rescaled
from ktnet_lite.data.schema import Header, Split
from ktnet_lite.errors import DataError

Source = tuple[Header, Iterator[tuple[str, Split]]]

READERS: dict[str, Callable[[Path], Source]] = {
    "mult": mult.read,
    "mmsa": mmsa.read,
    "mosi-words": mosi_words.read,
    "mosi-utterance": mosi_utterance.read,
    "misa": misa.read,
    "hazumi": hazumi.read,
    "csd": csd_folder.read,
    "mfn": mfn.read,
    "store": lambda path: ((data := store.read(path)).header, iter(data.splits.items())),
}
FORMATS = tuple(READERS)
ASKED = ("mult", "mmsa", "misa", "csd")  # formats in which labels may have any scale
LABELS = {"labels": "mult", "regression_labels": "mmsa"}  # the field by which pickles differ
PEEK = 100_000  # opcodes of a pickle that are searched for names of fields
LONGEST = 64  # characters of a name


def identify(path: Path | str) -> str:
    """Detect which of :data:`FORMATS` a file or folder has. A pickle is not loaded; only its beginning is scanned.

    Raises
    ------
    DataError
        The format is unknown; the message gives what the file contains, and the known formats.
    """
    path = Path(path)
    if path.is_dir():
        return _identify_folder(path)
    if not path.is_file():
        raise DataError(f"no file or folder at {path}")
    if csd.is_csd(path):
        raise DataError(f"{path} is one .csd file; give the folder that holds words, labels and the other files")
    if hdf5.is_hdf5(path):
        return "store"
    if other := instead(path):
        raise DataError(f"{path} is {other}; known formats: {', '.join(FORMATS)}")
    return _identify_pickle(path)


def open_source(
    path: Path | str,
    form: str | None = None,
    replace_nonfinite: bool = False,
    drop_bad_clips: bool = False,
    unaligned: bool = False,
    score_range: Range | None = None,
) -> Source:
    """Read header and splits of a file or folder, in the given format or in the detected one.

    Parameters
    ----------
    replace_nonfinite : bool
        Set NaN and inf in features to 0, instead of rejecting them. In .csd files, and as -inf in any audio, they stand
        for a missing value and are always read as 0. The provenance counts them once all splits have been read.
    drop_bad_clips : bool
        Leave out clips without a valid label or without any step (:meth:`ktnet_lite.data.schema.Split.bad`), instead of
        rejecting them.
    unaligned : bool
        Keep each stream of a folder of .csd files on its own time line, instead of aligning it to the words.
    score_range : (float, float), optional
        The lowest and highest score that the labels can have; they are stretched to [-3, 3]. By default, labels that
        look like classes or another scale are asked about.

    Raises
    ------
    DataError
        The format is unknown, the file is damaged or of another format, or its labels may have another scale; iterating
        over the splits raises it too.
    """
    path = Path(path)
    if score_range and not score_range[0] < score_range[1]:
        raise DataError(f"a range of scores from {score_range[0]:g} to {score_range[1]:g}; give the lowest one first")
    form = form or identify(path)
    if form not in READERS:
        raise DataError(f"unknown format {form!r}; known formats: {', '.join(FORMATS)}")
    if unaligned and form != "csd":
        raise DataError(f"{path} is of format {form}; only a folder of .csd files can be read as unaligned")
    header, splits = csd_folder.read(path, aligned=False) if unaligned else READERS[form](path)
    if form in ASKED or score_range:
        splits = rescaled(path, header, splits, score_range)
    splits = zero_nonfinite(path, header, splits, everything=replace_nonfinite or form == "csd")
    return header, without_bad_clips(path, header, splits) if drop_bad_clips else splits


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Add the path to errors that lack it, as those of a validation, which knows only the name of the data set."""
    try:
        yield
    except DataError as error:
        if str(path) in str(error):
            raise
        raise DataError(f"{path}: {error}") from error


def _identify_folder(path: Path) -> str:
    names = {file.name for file in files_below(path)}
    if hazumi.is_folder(names):
        return "hazumi"
    if {"text_train0.csv", "transcripts.csv"} <= names:
        return "mosi-utterance"
    if {mosi_words.WORDS, mosi_words.LABELS} == {name for name in names if name.endswith(".csd")}:
        return "mosi-words"
    if any(name.endswith(".csd") for name in names):
        return "csd"
    if {"y_train.h5", "audio_train.h5"} <= names:
        return "mfn"
    if misa.is_folder(names):
        return "misa"
    raise DataError(
        f"folder {path} has neither .csd files, nor the csv files of mosi-utterance, nor y_train.h5 and "
        "audio_train.h5, nor train.pkl, dev.pkl and test.pkl"
    )


def _identify_pickle(path: Path) -> str:
    """Detect the format from the names of fields, which precede the arrays, reading no further than needed."""
    texts: dict[str, None] = {}  # in order
    damage = ""
    try:
        with open(path, "rb") as file:
            for _, argument, _ in itertools.islice(pickletools.genops(file), PEEK):
                if isinstance(argument, str) and len(argument) < LONGEST:
                    texts[argument] = None
                    if len(FIELDS.keys() & texts) >= 2 and (labels := LABELS.keys() & texts):
                        return LABELS[labels.pop()]
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # pickletools raises ValueError and others
        damage = f" ({str(error)[:100]})"
    if FIELDS.keys() <= texts.keys():
        return "mult"
    if not damage and misa.is_misa(path):
        return "misa"
    if not texts:
        raise DataError(f"{path} is not of a known format{damage}; known formats: {', '.join(FORMATS)}")
    names = ", ".join(map(repr, itertools.islice(texts, 10)))
    raise DataError(
        f"{path} is neither HDF5 nor a pickle of MulT, MMSA or MISA: the first names in it are {names}; known formats: "
        f"{', '.join(FORMATS)}; if you know its format, give it with --format"
    )
