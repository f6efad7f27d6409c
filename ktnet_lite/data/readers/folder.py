"""Raw files of a known name, anywhere below a folder."""

from __future__ import annotations

from pathlib import Path

from ktnet_lite.errors import DataError


def find(folder: Path, name: str, dataset: str) -> Path:
    """Find the file called ``name`` below a folder; the first in order, if there are several.

    Raises
    ------
    DataError
        There is no such file; the message says how to fetch the files of ``dataset``.
    """
    paths = sorted(folder.rglob(name)) if folder.is_dir() else []
    if not paths:
        raise DataError(f"{folder}: no {name} in it; run `ktnet-lite data fetch {dataset}` to get it")
    return paths[0]
