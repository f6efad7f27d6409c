"""Raw files anywhere below a folder."""

from __future__ import annotations

from pathlib import Path

from ktnet_lite.data.foreign import unreadable
from ktnet_lite.errors import DataError

COMPANION = "._"  # macOS leaves ._NAME beside NAME on drives of other systems


def files_below(folder: Path | str) -> list[Path]:
    """List the files below a folder, also behind links to files, without the companions that macOS leaves.

    Raises
    ------
    UnreadableError
        The folder cannot be read.
    """
    try:
        paths = sorted(Path(folder).rglob("*"))
        return [path for path in paths if not path.name.startswith(COMPANION) and path.is_file()]
    except OSError as error:
        raise unreadable(folder, error) from error


def find(folder: Path, name: str, dataset: str) -> Path:
    """Find the file called ``name`` below a folder; the first in order, if there are several.

    Raises
    ------
    DataError
        There is no such file; the message says how to fetch the files of ``dataset``.
    """
    paths = [path for path in files_below(folder) if path.name == name]
    if not paths:
        raise DataError(f"{folder}: no {name} in it; run `ktnet-lite data fetch {dataset}` to get it")
    return paths[0]
