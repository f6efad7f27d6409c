"""Data sets by name: fetched, built into a store on first use, and read.

The package redistributes no data. A reader builds ``<data folder>/<name>.h5`` from the raw files, and builds it again
if the recipe or the raw files change.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import ChainMap
from dataclasses import replace
from functools import cache
from pathlib import Path

from tqdm import tqdm

from ktnet_lite.data import readers, store, synthetic
from ktnet_lite.data.catalogue import download
from ktnet_lite.data.catalogue.download import MANY
from ktnet_lite.data.catalogue.entries import ENTRIES, Entry
from ktnet_lite.data.readers import csd_folder
from ktnet_lite.data.readers.folder import files_below
from ktnet_lite.data.schema import Dataset
from ktnet_lite.errors import ConfigError, DataError, UnreadableError, did_you_mean
from ktnet_lite.files import locked, stamp


def find(name: str) -> Entry:
    """Find the entry of a data set.

    Raises
    ------
    ConfigError
        There is no such data set; the message names the nearest.
    """
    if name not in ENTRIES:
        known = ["synthetic", *ENTRIES]
        hint = did_you_mean(name, known)
        raise ConfigError(f"{name!r} is neither a data set nor a file{hint}\nthe data sets are: {', '.join(known)}")
    return ENTRIES[name]


def home(folder: Path | str | None = None) -> Path:
    """Return the data folder, of built files and downloads: ``folder``, or ``data`` under the current folder."""
    return Path(folder or "data")


def stored(name: str, folder: Path | str | None = None) -> Path:
    """Return the path of a data set's built file in the data folder, whether or not it exists."""
    return home(folder) / f"{name}.h5"


def raw_folder(name: str, local: Path | str | None = None) -> Path | None:
    """Return the folder below which all raw files of a data set exist already, or None.

    Files are recognised by name and, where it is known, size; nothing is hashed. The .csd files of a data set without
    fixed files are those in a folder of its name.

    Parameters
    ----------
    name : str
    local : path, optional
        The folder to search; by default the one that the environment variable ``KTNET_DATA`` names, if it is set.
    """
    entry = find(name)
    if not (searched := local or os.environ.get("KTNET_DATA")):
        return None
    if not entry.files:
        folder = Path(searched, name)
        return folder if csd_folder.raw_files(folder) else None
    return Path(searched) if download.are_below(entry.files, Path(searched)) else None


def fetch(name: str, folder: Path | str | None = None, local: Path | str | None = None) -> Path:
    """Collect the raw files of a data set; return the file or folder that its reader takes.

    Parameters
    ----------
    name : str
    folder : path, optional
        The data folder (:func:`home`); downloads go to ``raw/<name>`` in it.
    local : path, optional
        Take the files from anywhere below this folder instead of downloading them; by default from the folder that
        ``KTNET_DATA`` names, if it holds them all (:func:`raw_folder`).

    Raises
    ------
    ConfigError
        There is no such data set.
    DataError
        A file has no public link, a dead link or the wrong content; the message gives source and licence.
    """
    entry = find(name)
    raw = home(folder) / "raw" / name
    local = local or raw_folder(name)
    if local is None:
        if not entry.public:
            raise DataError(f"{name} has no public link\n{entry.remedy}")
        many = len(entry.files) > MANY  # small ones, with one bar for all
        for file in tqdm(entry.files, desc=f"fetch {name}", unit="file", disable=None if many else True):
            target = raw / file.name
            if not _is_raw_file(file, target):
                with locked(_lock(name, folder)):
                    if not _is_raw_file(file, target):
                        download.download(file, target, entry.remedy, quiet=many)
        return raw
    if not Path(local).is_dir():
        raise DataError(f"no folder {local}\n{entry.remedy}")
    if not entry.files:
        return Path(local)
    paths = download.locate(entry.files, Path(local), entry.remedy).values()
    if len(paths) == 1:  # perhaps large: read it in place
        return next(iter(paths))
    for path in paths:
        download.copy(path, raw / path.name)
    return raw


def build(name: str, folder: Path | str | None = None, local: Path | str | None = None, verify: bool = False) -> Path:
    """Return the built file of a data set, after building it if it is missing, damaged or out of date.

    A file with a damaged header is rebuilt; ``verify`` reads the whole file to find other damage. Of several processes
    that need the same file, one builds it and the others wait. Parameters and errors as in :func:`fetch`; also
    :class:`DataError` if the raw files are invalid, and :class:`KTNetError` if the data folder cannot be written.
    """
    entry, path = find(name), stored(name, folder)
    seen, fault = stamp(path), _fault(entry, path, folder, local, verify)
    if fault is None:  # no lock: the folder may be one that this user can only read
        return path
    with locked(_lock(name, folder)):
        if stamp(path) != seen and (fault := _fault(entry, path, folder, local, verify)) is None:
            return path  # another process built it meanwhile
        if fault:
            warnings.warn(f"{fault}\n{name} is rebuilt", stacklevel=2)
        source = fetch(name, folder, local)
        header, splits = readers.open_source(source, entry.reader)
        built_from = {"recipe": str(entry.recipe), **_raw_provenance(entry, source)}
        provenance = ChainMap(built_from, header.provenance, {"licence": entry.licence})  # a view: readers add late
        with readers.naming(source):
            store.write(path, replace(header, name=name, provenance=provenance), splits)
    return path


def load(name_or_path: str | Path, folder: Path | str | None = None, local: Path | str | None = None) -> Dataset:
    """Load a data set by name, fetched and built on first use, or from a file of any known format.

    Parameters and errors as in :func:`fetch`; also the errors of the readers.
    """
    if name_or_path == "synthetic":
        return synthetic.make().dataset
    if str(name_or_path) in ENTRIES or not Path(name_or_path).exists():
        path = build(str(name_or_path), folder, local)
        try:
            return store.read(path)
        except UnreadableError:
            raise
        except DataError:
            return store.read(build(str(name_or_path), folder, local, verify=True))
    with readers.naming(name_or_path):
        return Dataset.collect(*readers.open_source(Path(name_or_path)))


def fingerprint(name_or_path: str, folder: Path | str | None = None, local: Path | str | None = None) -> str:
    """Identify the data of a data set or file without building or reading the data set.

    A data set of the catalogue is identified by its recipe and the SHA-256 of its raw files if all of them are known,
    else by the checksum of its built file; a file of this package by its checksum; any other file or folder by its
    bytes. Parameters as in :func:`load`.

    Raises
    ------
    ConfigError
        There is no such data set or file.
    DataError
        The fingerprint needs the built file, and there is none or it is damaged or out of date.
    """
    path = Path(name_or_path)
    if name_or_path in ENTRIES or not path.exists():
        entry = find(name_or_path)
        if known := _known_hashes(entry):
            return hashlib.sha256(f"{entry.recipe} {known}".encode()).hexdigest()
        path = stored(entry.name, folder)
        if not _is_fresh(entry, path, folder, local):
            raise DataError(f"{path} does not exist or is out of date; run `ktnet-lite data fetch {entry.name}` first")
    if store.is_store(path):
        return store.info(path).checksum
    files = [path] if path.is_file() else files_below(path)
    return _bytes_of(path, tuple(files), max((file.stat().st_mtime_ns for file in files), default=0))


@cache
def _bytes_of(path: Path, files: tuple[Path, ...], changed: int) -> str:
    """Digest names and contents; read once as long as no file has changed."""
    names = (f"{file.relative_to(path)} {download.sha256_of(file)}" for file in files)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _lock(name: str, folder: Path | str | None) -> Path:
    """Return the path of the lock under which a data set is downloaded and built."""
    return home(folder) / f".{name}.lock"


def _is_raw_file(file: download.RawFile, path: Path) -> bool:
    return path.is_file() and download.sha256_of(path) == file.sha256


def _fault(entry: Entry, path: Path, folder: Path | str | None, local: Path | str | None, verify: bool) -> str | None:
    """Say what is wrong with the built file: None if it is fresh and sound, "" if it is missing or out of date."""
    try:
        if not _is_fresh(entry, path, folder, local):
            return ""
        if verify:
            store.read(path, splits=(), verify=True)
    except UnreadableError:  # it may be sound
        raise
    except DataError as error:
        return str(error)
    return None


def _raw_files(entry: Entry, source: Path) -> list[Path]:
    if not entry.files:
        return csd_folder.raw_files(source)
    return [source / file.name if source.is_dir() else source for file in entry.files]


def _raw_provenance(entry: Entry, source: Path) -> dict[str, str]:
    """Identify the raw files by SHA-256 and, where it is not known beforehand, by size and time too."""
    if known := _known_hashes(entry):
        return {"raw": known}
    return {"raw": _hashes(entry, source), "raw sizes and times": _stamps(entry, source)}


def _known_hashes(entry: Entry) -> str:
    """Return the SHA-256 of every raw file, or of their list if it is long; nothing unless all are known beforehand."""
    hashes = [file.sha256 for file in entry.files]
    if not all(hashes):
        return ""
    return " ".join(hashes) if len(hashes) <= MANY else hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def _hashes(entry: Entry, source: Path) -> str:
    return " ".join(map(download.sha256_of, _raw_files(entry, source)))


def _stamps(entry: Entry, source: Path) -> str:
    return " ".join(f"{(stat := path.stat()).st_size}@{stat.st_mtime_ns}" for path in _raw_files(entry, source))


def _is_fresh(entry: Entry, path: Path, folder: Path | str | None, local: Path | str | None) -> bool:
    """Whether the built file exists and comes from this recipe and, as far as is known, these raw files."""
    if not path.is_file():
        return False
    provenance = store.info(path).header.provenance
    if provenance.get("recipe") != str(entry.recipe):
        return False
    if known := _known_hashes(entry):
        return provenance.get("raw") == known
    if local is None and raw_folder(entry.name) is None:
        return True
    try:
        source = fetch(entry.name, folder, local)
    except DataError as error:
        warnings.warn(f"{error}\n{path}, built earlier, is used instead", stacklevel=3)
        return True
    if provenance.get("raw sizes and times") == _stamps(entry, source):
        return True
    return provenance.get("raw") == _hashes(entry, source)  # moved or touched, but perhaps unchanged
