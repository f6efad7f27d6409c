"""What a file is that has come in place of another: told from its first bytes, for messages."""

from __future__ import annotations

import zipfile
from pathlib import Path

SIGNATURES = {
    b"": "an empty file",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`",
    b"\x1f\x8b": "compressed with gzip; unpack it first (gunzip)",
    b"BZh": "compressed with bzip2; unpack it first (bunzip2)",
    b"\xfd7zXZ\0": "compressed with xz; unpack it first (unxz)",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it first (unzstd)",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
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
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGE):
        return "a web page (HTML): the download was not what it seemed; open the address in a browser"
    if start.startswith(b"PK"):
        return _archive(path)
    if start[257:262] == b"ustar":
        return "a tar archive; unpack it first"
    return next((about for sign, about in SIGNATURES.items() if start.startswith(sign) and (sign or not start)), None)


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
