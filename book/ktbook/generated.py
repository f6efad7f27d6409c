"""The folder of generated files, ``book/generated``, which the book's pages include."""

from __future__ import annotations

from pathlib import Path

from ktnet_lite import files

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "book" / "generated"


def write(name: str, content: str | bytes) -> None:
    """Write a file below the folder, unless its content is unchanged, so that Sphinx does not rebuild its pages."""
    path = FOLDER / name
    data = content.encode() if isinstance(content, str) else content
    if not path.is_file() or path.read_bytes() != data:
        files.write(path, data)
