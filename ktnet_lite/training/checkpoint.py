"""Files of weights: saved whole or not at all, read as weights only, and checked before they are trusted."""

from __future__ import annotations

import contextlib
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from ktnet_lite.errors import CheckpointError

FORMAT = 1


def save(path: Path, content: dict[str, Any]) -> None:
    """Write to a neighbour file, flush, then replace: whatever stood at ``path`` survives a failure.

    Raises
    ------
    CheckpointError
        The disk is full or read-only; the message says that the previous file is intact.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            torch.save({"format": FORMAT, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        kept = f"; the previous {path.name} is intact" if path.exists() else ""
        raise CheckpointError(f"cannot save {path}: {error}{kept}; free some space or choose another folder") from error


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU. Its zip members' CRC-32 are checked first, and no code in it can run.

    Raises
    ------
    CheckpointError
        No such file, truncated, altered, or not a checkpoint of this package.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            # The CRC-32 do not cover the directory; for a part marked there as a folder (0x10) torch would read nothing
            # and take whatever its memory holds for weights.
            folders = (info.filename for info in archive.infolist() if info.external_attr & 0x10)
            damaged = next(folders, None) or archive.testzip()
        if damaged:
            raise CheckpointError(f"{path} is damaged (in its part {damaged}); delete it, or restore it from a copy")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint at {path}") from None
    except CheckpointError:
        raise
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} is no checkpoint of ktnet-lite: it holds more than weights; nothing in it was run, do not trust it"
        ) from None
    except Exception as error:  # zipfile, pickle and torch raise a dozen kinds on damaged or foreign files
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is damaged or not a checkpoint of ktnet-lite: {reason}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of ktnet-lite, format {FORMAT}")
    return content
