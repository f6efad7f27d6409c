"""Files that are not what was expected: what they are instead, or why they cannot be read, for messages."""

from __future__ import annotations

import errno
import re
import zipfile
from pathlib import Path

from ktnet_lite.errors import DataError, UnreadableError

LOCKED = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOLCK, errno.ENOSYS, getattr(errno, "EOPNOTSUPP", errno.ENOSYS)}
FORBIDDEN = {errno.EACCES, errno.EPERM}

HDF5 = b"\x89HDF\r\n\x1a\n"
SIGNATURES = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`",
    b"\x1f\x8b": "compressed with gzip; unpack it first (gunzip)",
    b"BZh": "compressed with bzip2; unpack it first (bunzip2)",
    b"\xfd7zXZ\0": "compressed with xz; unpack it first (unxz)",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it first (unzstd)",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
    HDF5: "an HDF5 file",
    b"\x93NUMPY": "an array of NumPy (.npy)",
    b"\x00\x05\x16\x07": "a companion file of macOS (._NAME), which holds no data",
    b"%PDF": "a PDF",
}
PAGE = (b"<!doctype html", b"<html", b"<head", b"<?xml", b"<script")


def instead(path: Path | str) -> str | None:
    """Say what a file is, if it is something that is often found in place of data; None if not, or if it is unreadable.

    Known are pointers of Git LFS, web pages, compressed files and archives, checkpoints of torch, and a few more.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(512)
    except OSError:
        return None
    if not start:
        return "an empty file"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGE):
        return "a web page (HTML): the download was not what it seemed; open the address in a browser"
    if start.startswith(b"PK"):
        return _archive(path)
    if start[257:262] == b"ustar":
        return "a tar archive; unpack it first"
    return next((about for sign, about in SIGNATURES.items() if start.startswith(sign)), None)


def _archive(path: Path | str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        names = []
    if any(name.endswith("data.pkl") for name in names):
        return "a checkpoint written by torch.save (a zip file)"
    if names and all(name.endswith(".npy") for name in names):
        return "a file of NumPy arrays (.npz)"
    return "a zip archive; unpack it first"


def unreadable(path: Path | str, error: OSError) -> DataError:
    """Describe why the system does not let a file be read; a damaged file has no error number."""
    match = re.search(r"errno = (\d+)", str(error))
    number = error.errno or (int(match[1]) if match else None)
    if isinstance(error, FileNotFoundError) or number == errno.ENOENT:
        return DataError(f"no file at {path}")
    if number in LOCKED:
        return UnreadableError(
            f"{path} cannot be locked for reading: another program is writing it, or its drive has no locks. Try again "
            "when that program is done; on a drive without locks, set HDF5_USE_FILE_LOCKING=FALSE. It may be sound"
        )
    if number in FORBIDDEN:
        return UnreadableError(f"{path} cannot be read: you have no permission; ask its owner, or copy it")
    if number == errno.EISDIR:
        return DataError(f"{path} is a folder, expected a file")
    if number is not None:
        return UnreadableError(
            f"{path} cannot be read ({errno.errorcode.get(number, number)}): its drive does not answer as it should. "
            "Try again, or copy the file to this machine; it may be sound"
        )
    return damaged(path, error)


def damaged(path: Path | str, error: BaseException) -> DataError:
    """Describe a file whose content makes no sense."""
    reason = str(error) if isinstance(error, (OSError, ValueError, DataError)) else f"{type(error).__name__}: {error}"
    return DataError(
        f"{path} is damaged or incomplete: {reason[:300]}; restore it from a copy, or fetch or convert it again"
    )
