"""Files that are written whole or not at all, locks for what processes share, and errors that say what to do."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from filelock import FileLock, Timeout

from ktnet_lite.errors import BusyError, KTNetError

if sys.platform != "win32":
    import fcntl

DAY = 86_400.0  # seconds; where files cannot be locked, an older unfinished one is a leftover
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8) if os.name == "nt" else ()  # seconds between tries to replace a file that is open
STREAMS = Path("/dev"), Path("/dev/fd")  # /dev/stdout may be a file, which must not be replaced
REMEDIES = {
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EISDIR: "choose another name",
    **dict.fromkeys([errno.ENOSPC, errno.EDQUOT], "free some space or choose another folder"),
    **dict.fromkeys(
        [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS],
        "its disk, perhaps a network drive, cannot lock files: choose a folder on another",
    ),
}


@contextmanager
def replacing(path: Path, error: type[KTNetError] = KTNetError) -> Iterator[Path]:
    """Yield a new file beside ``path`` to be written, and move it to ``path`` once it is whole and on the disk.

    After any failure, ``path`` is what it was before and the new file is gone. What a killed process left of such a
    file is removed first. Links are followed; to a device or pipe the content goes directly.

    Raises
    ------
    error
        The file cannot be written; the message says why, whether a previous file is intact, and what to do.
    """
    with explained(path, error):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "there is a folder of this name")
        if path.exists() and (not path.is_file() or path.parent in STREAMS):
            yield path
            return
        path = Path(os.path.realpath(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        partial, held = _create(path)
        try:
            yield partial
            if os.name == "nt":
                held.close()  # an open file cannot be moved
            settle(partial, path)
        finally:
            with suppress(OSError):
                partial.unlink()
            with suppress(OSError):
                held.close()


def write(path: Path, content: bytes | str, error: type[KTNetError] = KTNetError) -> None:
    """Write a file, whole or not at all, text as UTF-8; parameters and errors as in :func:`replacing`."""
    with replacing(path, error) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def settle(partial: Path, path: Path) -> None:
    """Move a finished file to its place, once it is on the disk."""
    with open(partial, "rb+") as file:
        os.fsync(file.fileno())
    for pause in PAUSES:
        with suppress(PermissionError):
            os.replace(partial, path)
            break
        time.sleep(pause)
    else:
        os.replace(partial, path)
    with suppress(OSError):  # Windows opens no folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def stamp(path: Path) -> tuple[int, int] | None:
    """Tell one writing of a file from another; None if there is no file."""
    return (path.stat().st_ino, path.stat().st_mtime_ns) if path.is_file() else None


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Let one process at a time run what follows; ``path`` is the lock's own file, which stays.

    Raises
    ------
    BusyError
        Another process holds the lock, and ``wait`` is false.
    KTNetError
        The lock's file cannot be written or locked.
    """
    lock = FileLock(path.absolute(), is_singleton=True)  # who holds it may take it again
    with explained(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            busy = f"another process is at work in {path.parent}"
            if not wait:
                raise BusyError(busy) from None
            warnings.warn(f"{busy}; waiting until it has finished", stacklevel=3)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def check_folder(folder: Path) -> None:
    """Raise :class:`KTNetError` if files cannot be written to a folder, which need not exist and is not made."""
    with explained(folder):
        nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        tempfile.TemporaryFile(dir=nearest).close()


@contextmanager
def explained(path: Path, error: type[KTNetError] = KTNetError) -> Iterator[None]:
    """Turn an OSError into an error for people: that ``path`` cannot be written, why, and what to do."""
    try:
        yield
    except (OSError, NotImplementedError) as caught:  # filelock raises the latter
        number, name = getattr(caught, "errno", errno.ENOSYS), getattr(caught, "filename", None)
        why = getattr(caught, "strerror", None) or str(caught)
        why = "the file is larger than this disk or a limit allows" if number == errno.EFBIG else why
        if number in (errno.EACCES, errno.EIO) and name and Path(name).is_file() and not str(name).endswith(".partial"):
            raise error(f"cannot read {name}: {why}") from caught  # what is being copied or converted
        if number in (errno.ENOTDIR, errno.EEXIST):
            for place in (path, *path.absolute().parents):
                if place.is_file():
                    raise error(f"cannot write {path}: {place} is a file; choose another folder") from caught
        kept = f"; the previous {path.name} is intact" if number != errno.ENAMETOOLONG and path.is_file() else ""
        remedy = REMEDIES.get(number, "choose another folder")
        raise error(f"cannot write {path}: {why}{kept}; {remedy}") from caught


def _create(path: Path) -> tuple[Path, FileIO]:
    """Create a file with a name of its own beside ``path``; it is locked until it is closed."""
    while True:
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        held = FileIO(partial, "x+")
        if _lock(held, exclusive=False) is not False and os.fstat(held.fileno()).st_nlink:
            return partial, held
        held.close()  # another writer took it for a leftover before it was locked


def _remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of a file; what is still being written is locked, or else it is young."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}.partial"):
        with suppress(OSError):
            with FileIO(partial, "r+") as file:
                if lock := _lock(file, exclusive=True):
                    partial.unlink()
            if lock is None and time.time() - partial.stat().st_mtime > DAY:
                partial.unlink()


def _lock(file: FileIO, exclusive: bool) -> bool | None:
    """Lock a file until it is closed; False if another process has it locked, None if the system cannot.

    A writer's lock is shared, as is that of HDF5, so that the file can be read as soon as it is in its place.
    """
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
