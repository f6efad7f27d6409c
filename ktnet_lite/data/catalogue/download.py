"""Raw files: downloaded with resume and checked by SHA-256, or found in a folder of the user."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import requests
from tqdm import tqdm

from ktnet_lite.errors import DataError
from ktnet_lite.files import explained, replacing, settle

BLOCK = 1 << 20  # bytes
TIMEOUT = (10.0, 60.0)  # seconds to connect, seconds without a byte
TRIES = 4
MANY = 20  # files; more are not listed one by one
PAUSE = 1.0  # seconds before the second try; doubled each time


@dataclass(frozen=True)
class RawFile:
    """A file as its owners distribute it.

    Parameters
    ----------
    name : str
        Without folders.
    sha256 : str
        Empty if its owners publish none.
    url : str
        Empty if there is no reliable public link.
    size : int
        Bytes; 0 if unknown.
    """

    name: str
    sha256: str = ""
    url: str = ""
    size: int = 0


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 of a file, with a progress bar if it is large."""
    digest = hashlib.sha256()
    size = path.stat().st_size
    hide = None if size > 200 * BLOCK else True
    with open(path, "rb") as file, _bar(f"check {path.name}", size, hide) as bar:
        while block := file.read(BLOCK):
            digest.update(block)
            bar.update(len(block))
    return digest.hexdigest()


def locate(files: Iterable[RawFile], folder: Path, remedy: str) -> dict[str, Path]:
    """Find each file by name anywhere below ``folder``, and check its SHA-256 if one is known.

    Raises
    ------
    DataError
        The folder or a file does not exist, or a file has another SHA-256; the message gives both.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}\n{remedy}")
    candidates = _candidates(files, folder)
    if missing := [file.name for file, paths in candidates.items() if not paths]:
        more = f" and {len(missing) - MANY} more" if len(missing) > MANY else ""
        raise DataError(f"not found below {folder}: {', '.join(missing[:MANY])}{more}\n{remedy}")
    return {file.name: _matching(file, paths, remedy) for file, paths in candidates.items()}


def are_below(files: Iterable[RawFile], folder: Path) -> bool:
    """Whether every file exists below ``folder``, by name and, where it is known, size; nothing is hashed."""
    return all(
        any(file.size in (0, path.stat().st_size) for path in paths)
        for file, paths in _candidates(files, folder).items()
    )


def copy(source: Path, target: Path) -> None:
    """Copy a file whole or not at all. Raises :class:`DataError` if it cannot be read or written."""
    with explained(target, DataError):
        if not (target.exists() and target.samefile(source)):
            with replacing(target, DataError) as partial:
                shutil.copyfile(source, partial)


def download(file: RawFile, target: Path, remedy: str, quiet: bool = False) -> None:
    """Download to ``<target>.partial``, resuming an earlier try, and rename it once its SHA-256 is right.

    Raises
    ------
    DataError
        The link is dead or unreachable, the content has another SHA-256, or the disk is full or read-only.
    """
    partial = target.with_name(target.name + ".partial")
    reason = ""
    with explained(target, DataError):
        target.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(TRIES):
            time.sleep(PAUSE * 2 ** (attempt - 1) if reason else 0)
            resumed = partial.exists()
            try:
                _transfer(file, partial, quiet)
            except requests.RequestException as error:
                reason = _reason(error)
                if _is_final(error):
                    break
                continue
            sha256 = sha256_of(partial)
            if sha256 == file.sha256:
                settle(partial, target)
                return
            partial.unlink()
            reason = f"its SHA-256 is {sha256}, expected {file.sha256}: the file has changed at its source"
            if not resumed:  # otherwise the fault may be in the old part: try once more
                break
    raise DataError(f"cannot download {file.url}\n{reason}\n{remedy}")


def _transfer(file: RawFile, partial: Path, quiet: bool) -> None:
    start = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with requests.get(file.url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # already complete; its hash is checked next
        response.raise_for_status()
        resumes = response.status_code == requests.codes.partial_content
        with open(partial, "ab" if resumes else "wb") as out, _bar(file.name, file.size, quiet or None) as bar:
            bar.update(start if resumes else 0)
            for block in response.iter_content(1 << 16):
                out.write(block)
                bar.update(len(block))
                if out.tell() > file.size:
                    return  # larger than expected: its hash will differ
    if (size := partial.stat().st_size) < file.size:
        raise requests.ConnectionError(f"the transfer ended after {size} of {file.size} bytes")


def _candidates(files: Iterable[RawFile], folder: Path) -> dict[RawFile, list[Path]]:
    """Find all paths below ``folder`` that have the name of each file."""
    by_name = {file.name: file for file in files}
    candidates: dict[RawFile, list[Path]] = {file: [] for file in by_name.values()}
    for parent, _, names in os.walk(folder):
        for name in by_name.keys() & names:
            if Path(parent, name).is_file():
                candidates[by_name[name]].append(Path(parent, name))
    return {file: sorted(paths) for file, paths in candidates.items()}


def _matching(file: RawFile, paths: list[Path], remedy: str) -> Path:
    rows = []
    for path in paths:
        if not file.sha256 or (sha256 := sha256_of(path)) == file.sha256:
            return path
        rows.append(f"  {sha256}  {path}\n")
    raise DataError(
        f"{file.name} is not the expected file. SHA-256:\n{''.join(rows)}  {file.sha256}  expected\n{remedy}"
    )


def _is_final(error: requests.RequestException) -> bool:
    """Whether another try is useless: the server gave an answer, and it is not busy."""
    code = error.response.status_code if error.response is not None else 0
    return 400 <= code < 500 and code not in (requests.codes.request_timeout, requests.codes.too_many_requests)


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"the server did not answer within {TIMEOUT[0]:g} s, or sent nothing for {TIMEOUT[1]:g} s"
    text = str(error)
    return text if text.startswith("the transfer") else f"the connection failed ({text.splitlines()[0][:200]})"


def _bar(label: str, size: int, hide: bool | None) -> tqdm:
    return tqdm(total=size, desc=label, unit="B", unit_scale=True, disable=hide)
