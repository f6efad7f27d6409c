"""Real data where it is already, so that a chapter can show it and still runs where it is not."""

from __future__ import annotations

import os
from pathlib import Path

from ktnet_lite.data import catalogue, store
from ktnet_lite.data.schema import Dataset


def load(name: str, folder: Path | str | None = None) -> Dataset | None:
    """The data set of that name without any download; None where it is not at hand.

    It is, when its raw files lie below the folder that ``KTNET_DATA`` names, or when it was built earlier in the data
    folder (:func:`ktnet_lite.data.catalogue.home`).

    Raises
    ------
    DataError
        ``KTNET_DATA`` is set and its folder lacks the raw files, or the file is damaged.
    """
    if local := os.environ.get("KTNET_DATA"):
        return catalogue.load(name, folder, local)
    built = catalogue.home(folder) / f"{name}.h5"
    return store.read(built) if built.is_file() else None
