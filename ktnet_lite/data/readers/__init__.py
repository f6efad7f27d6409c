"""Readers of what others publish: each gives a header at once and the splits one by one.

``identify`` says what a file or a folder is, whatever its name; ``open_source`` reads it.
"""

from __future__ import annotations

import itertools
import pickletools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import h5py

from ktnet_lite.data import store
from ktnet_lite.data.readers import csd, csd_folder, mfn, mmsa, mosi_utterance, mosi_words, mult
from ktnet_lite.data.readers.fields import FIELDS
from ktnet_lite.data.readers.mending import without_bad_clips, zeroed
from ktnet_lite.data.schema import Header, Split
from ktnet_lite.errors import DataError

Source = tuple[Header, Iterator[tuple[str, Split]]]

READERS: dict[str, Callable[[Path], Source]] = {
    "mult": mult.read,
    "mmsa": mmsa.read,
    "mosi-words": mosi_words.read,
    "mosi-utterance": mosi_utterance.read,
    "csd": csd_folder.read,
    "mfn": mfn.read,
    "store": lambda path: ((data := store.read(path)).header, iter(data.splits.items())),
}
FORMATS = tuple(READERS)
LABELS = {"labels": "mult", "regression_labels": "mmsa"}  # the field that tells one kind of pickle from the other
PEEK = 100_000  # opcodes of a pickle that are looked at for the names of its fields
LONGEST = 64  # characters of such a name


def identify(path: Path | str) -> str:
    """One of :data:`FORMATS`, from the content. Of a pickle only the beginning is looked at, and nothing is built.

    Raises
    ------
    DataError
        Nothing that is known; says what was found and what is understood.
    """
    path = Path(path)
    if path.is_dir():
        return _identify_folder(path)
    if not path.is_file():
        raise DataError(f"no file or folder at {path}")
    if csd.is_csd(path):
        raise DataError(f"{path} is one .csd file; give the folder that holds words, labels and the others")
    if h5py.is_hdf5(path):
        return "store"
    return _identify_pickle(path)


def open_source(
    path: Path | str,
    form: str | None = None,
    replace_nonfinite: bool = False,
    drop_bad_clips: bool = False,
    unaligned: bool = False,
) -> Source:
    """Header and splits of a file or folder, in the format given or found.

    Parameters
    ----------
    replace_nonfinite : bool
        Set NaN and inf in features to 0, instead of refusing them. In .csd files they stand for "nothing found", and
        -inf in audio does everywhere: these are always read as 0. How many stands in the provenance at the end.
    drop_bad_clips : bool
        Leave out clips that have no sound label or no step at all (:meth:`ktnet_lite.data.schema.Split.bad`), instead
        of refusing them.
    unaligned : bool
        Leave the streams of a folder of .csd files on their own time lines, instead of aligning them to the words.

    Raises
    ------
    DataError
        An unknown format, or a file that is damaged or not of that format; the splits raise it too, as they come.
    """
    path = Path(path)
    form = form or identify(path)
    if form not in READERS:
        raise DataError(f"unknown format {form!r}; known formats: {', '.join(FORMATS)}")
    if unaligned and form != "csd":
        raise DataError(f"{path} is of format {form}; only a folder of .csd files can be read as aligned or unaligned")
    header, splits = csd_folder.read(path, aligned=False) if unaligned else READERS[form](path)
    header = replace(header, provenance=dict(header.provenance))  # what is mended is noted in it, as it is found
    splits = zeroed(path, header, splits, everything=replace_nonfinite or form == "csd")
    return header, without_bad_clips(path, header, splits) if drop_bad_clips else splits


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Errors name the file, also those of a validation that knows only the data set's name."""
    try:
        yield
    except DataError as error:
        if str(path) in str(error):
            raise
        raise DataError(f"{path}: {error}") from error


def _identify_folder(path: Path) -> str:
    names = {file.name for file in path.rglob("*") if file.is_file()}
    if {"text_train0.csv", "transcripts.csv"} <= names:
        return "mosi-utterance"
    if {mosi_words.WORDS, mosi_words.LABELS} == {name for name in names if name.endswith(".csd")}:
        return "mosi-words"
    if any(name.endswith(".csd") for name in names):
        return "csd"
    if {"y_train.h5", "audio_train.h5"} <= names:
        return "mfn"
    raise DataError(
        f"folder {path} holds no .csd files, not the csv files of mosi-utterance and not y_train.h5 with audio_train.h5"
    )


def _identify_pickle(path: Path) -> str:
    """From the names of fields, which stand between the arrays; read no further than they tell."""
    texts: dict[str, None] = {}  # in order
    damage = ""
    try:
        with open(path, "rb") as file:
            for _, argument, _ in itertools.islice(pickletools.genops(file), PEEK):
                if isinstance(argument, str) and len(argument) < LONGEST:
                    texts[argument] = None
                    if len(FIELDS.keys() & texts) >= 2 and (labels := LABELS.keys() & texts):
                        return LABELS[labels.pop()]
    except Exception as error:  # pickletools raises ValueError and others on what is no pickle
        damage = f" ({error})"
    if FIELDS.keys() <= texts.keys():
        return "mult"
    if not texts:
        raise DataError(f"{path} is no file of a known format{damage}; known: {', '.join(FORMATS)}")
    names = ", ".join(map(repr, itertools.islice(texts, 10)))
    raise DataError(
        f"{path} is neither HDF5 nor a pickle of MulT's or MMSA's: the first names in it are {names}; known formats: "
        f"{', '.join(FORMATS)}; if it is of one nevertheless, convert it with --format"
    )
