"""Many training runs: grids, the papermill notebook, result files, sweeps and run-time estimates."""

from __future__ import annotations

from pathlib import Path

from ktnet_lite.errors import KTNetError


def notebook_path(name: str) -> Path:
    """Find an experiment notebook, in the checkout if there is one, else in the installed package."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package.parent / "notebooks" / "experiments", package / "notebooks"):
        if (folder / f"{name}.ipynb").is_file():
            return folder / f"{name}.ipynb"
    raise KTNetError(f"no experiment notebook {name!r} in this installation; install ktnet-lite again")
