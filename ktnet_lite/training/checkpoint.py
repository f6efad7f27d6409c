"""Checkpoint files: saved whole or not at all, read as weights only, and checked before they are trusted."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from ktnet_lite.errors import CheckpointError
from ktnet_lite.files import replacing

FORMAT = 1


def save(path: Path, content: dict[str, Any]) -> None:
    """Save a checkpoint; a previous file at ``path`` survives any failure.

    Raises
    ------
    CheckpointError
        The disk is full or read-only; the message says that the previous file is intact.
    """
    with replacing(path, CheckpointError) as partial, open(partial, "wb") as file:
        try:
            torch.save({"format": FORMAT, **content}, file)
        except RuntimeError as error:  # torch's zip writer, of a write that failed
            raise OSError(str(error)) from error


def load(path: Path) -> dict[str, Any]:
    """Load a checkpoint onto the CPU. The CRC-32 of its zip members is checked first; no code in it can run.

    Raises
    ------
    CheckpointError
        The file does not exist, is truncated or altered, or is not a checkpoint of this package.
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
            f"{path} is not a checkpoint of ktnet-lite: it holds more than weights; no code was run, do not trust it"
        ) from None
    except Exception as error:  # zipfile, pickle and torch raise a dozen kinds on damaged or foreign files
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is damaged or not a checkpoint of ktnet-lite: {reason}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of ktnet-lite, format {FORMAT}")
    return content
