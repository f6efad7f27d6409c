"""Trained models that come with the package, by name: ``ktnet_lite/trained``, whose checksums are tested."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ktnet_lite.errors import CheckpointError, did_you_mean

FOLDER = Path(__file__).resolve().parents[1] / "trained"


def checksums() -> dict[str, str]:
    """Read the SHA-256 of each file of the folder, by name, from the list that ``sha256sum`` checks."""
    lines = (FOLDER / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    return {name: sha256 for sha256, name in map(str.split, lines)}


def located(path: Path | str) -> Path:
    """Return the file of a model that comes with the package, given its name; any other path stays as it is.

    Raises
    ------
    CheckpointError
        There is no model of this name, and no such file; or the model's file was altered.
    """
    name, path = str(path), Path(path)
    if path.suffix or path.name != name or path.exists():
        return path
    known = {Path(file).stem: sha256 for file, sha256 in checksums().items() if file.endswith(".pt")}
    if name not in known:
        hint = did_you_mean(name, known)
        raise CheckpointError(f"no checkpoint at {name}; with the package come {', '.join(known)}{hint}")
    path = FOLDER / f"{name}.pt"
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != known[name]:
        raise CheckpointError(f"{path} is missing or its SHA-256 is wrong; reinstall ktnet-lite")
    return path
