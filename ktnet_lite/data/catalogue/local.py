"""Data sets that are on this machine already: whether one is here, and how to load it without a download."""

from __future__ import annotations

from pathlib import Path

from ktnet_lite.data import catalogue, store
from ktnet_lite.data.catalogue.entries import ENTRIES
from ktnet_lite.data.schema import Dataset


def is_here(name: str, folder: Path | str | None = None, local: Path | str | None = None) -> bool:
    """Whether a data set or file can be loaded without a download.

    A data set of the catalogue needs its built file in the data folder (:func:`ktnet_lite.data.catalogue.home`) or its
    raw files below ``local`` (:func:`ktnet_lite.data.catalogue.raw_folder`).
    """
    if name not in ENTRIES:
        return name == "synthetic" or Path(name).exists()
    return catalogue.stored(name, folder).is_file() or catalogue.raw_folder(name, local) is not None


def load(name: str, folder: Path | str | None = None) -> Dataset | None:
    """Load a data set or file that is here, without any download; return None if it is not.

    Raises
    ------
    DataError
        A file is damaged, or a raw file does not have the expected SHA-256.
    """
    if not is_here(name, folder):
        return None
    raw = catalogue.raw_folder(name) if name in ENTRIES else None
    if name in ENTRIES and raw is None:
        return store.read(catalogue.stored(name, folder))
    return catalogue.load(name, folder, raw)
