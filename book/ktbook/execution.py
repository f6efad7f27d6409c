"""A table of how the notebooks were executed, from the metadata that ``notebooks/execute.py`` writes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat

from ktbook import generated
from ktnet_lite.text import markdown


def table(notebooks: Iterable[Path]) -> str:
    """Write one row per notebook: how long its committed outputs took, and on which machine."""
    rows = [("notebook", "time", "machine, cores", "Python", "torch")]
    for path in notebooks:
        metadata = nbformat.read(path, as_version=4).metadata
        run = metadata.ktnet_lite
        chapter = f"{{doc}}`/notebooks/{path.stem}`"
        rows.append((chapter, f"{run.seconds} s", run.machine, metadata.language_info.version, run.torch))
    return markdown(rows) + "\n"


def make(*_: Any) -> None:
    """Write the table."""
    generated.write("execution.md", table(sorted((generated.ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))))


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", make)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
