"""Word vectors: spaCy's, read from the wheel of a pipeline without spaCy, and text files as GloVe and word2vec have.

J. Pennington, R. Socher and C. Manning, "GloVe: Global Vectors for Word Representation", EMNLP 2014; T. Mikolov et al.,
"Efficient Estimation of Word Representations in Vector Space", 2013. spaCy finds the row of a word by MurmurHash64A
(A. Appleby, 2008) of its UTF-8 bytes with seed 1.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np

from ktnet_lite.data.foreign import damaged, instead, unreadable
from ktnet_lite.errors import DataError
from ktnet_lite.text import size

LIMIT = 1 << 30  # bytes of a member of a wheel, unpacked
NUMBER = re.compile(rb"[-+]?[0-9]")
ENDING = re.compile(r"(?<=\w)'\w*$")
MASK = (1 << 64) - 1
DAMAGED = (
    *(EOFError, MemoryError, NotImplementedError, RuntimeError, ValueError, gzip.BadGzipFile, msgspec.MsgspecError),
    *(zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True, eq=False)
class WordTable:
    """A table of word vectors. A pickle of it holds only its path, so that processes read the file themselves.

    Parameters
    ----------
    path : Path
    name : str
        Of the pipeline and its version, or the file's.
    sha256 : str
        Of the members ``vectors`` and ``key2row`` of a wheel, one after the other, so that wheels with the same vectors
        are the same table; or of the unpacked text.
    vectors : float32 array, shape (N, D)
    row : callable
        From a word to its row; to None if it has none.
    """

    path: Path
    name: str
    sha256: str
    vectors: np.ndarray
    row: Callable[[str], int | None]

    @classmethod
    def read(cls, path: Path | str) -> WordTable:
        """Read a wheel of a spaCy pipeline, or a text with a word and its numbers on each line, also gzipped.

        All of it is kept in memory, 4 bytes a number: GloVe's 400,000 words of 300 numbers take 480 MB, and a minute to
        read. The file is not read again while it stays the same.

        Raises
        ------
        DataError
            The file cannot be read, is neither of these, or a line or member is invalid; the message names it.
        """
        path = Path(path)
        try:
            status = path.stat()
            return _read(path, status.st_mtime_ns, status.st_size)
        except OSError as error:
            raise unreadable(path, error) from None

    def __reduce__(self) -> tuple[Callable[[Path], WordTable], tuple[Path]]:
        return WordTable.read, (self.path,)

    @property
    def dim(self) -> int:
        """D."""
        return self.vectors.shape[1]

    def lookup(self, word: str) -> np.ndarray | None:
        """Find the vector (D,) of a word; None if there is none.

        Tried are the word as it is, in lower case, and without an ending after an apostrophe ("movie's", "they've").
        For "n't", which would leave the opposite, the vector of "n't" itself is taken.
        """
        lower = word.lower()
        for form in (word, lower, "n't" if lower.endswith("n't") else ENDING.sub("", lower)):
            if (row := self.row(form)) is not None:
                return self.vectors[row]
        return None


def murmur(text: str, seed: int = 1) -> int:
    """Hash a text as spaCy does: MurmurHash64A of its UTF-8 bytes."""
    key, factor = text.encode(), 0xC6A4A7935BD1E995
    value = seed ^ (len(key) * factor & MASK)
    whole = len(key) // 8 * 8
    for i in range(0, whole, 8):
        block = int.from_bytes(key[i : i + 8], "little") * factor & MASK
        value = (value ^ ((block ^ (block >> 47)) * factor & MASK)) * factor & MASK
    if key[whole:]:
        value = (value ^ int.from_bytes(key[whole:], "little")) * factor & MASK
    value = (value ^ (value >> 47)) * factor & MASK
    return value ^ (value >> 47)


@lru_cache(maxsize=1)
def _read(path: Path, modified: int, length: int) -> WordTable:
    try:
        if zipfile.is_zipfile(path):
            return _wheel(path)
        with open(path, "rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else open(path, "rb") as file:
            return _text(path, file)
    except DAMAGED as error:
        raise damaged(path, error) from None


def _wheel(path: Path) -> WordTable:
    with zipfile.ZipFile(path) as archive:
        folders = {name.removesuffix("/vectors") for name in archive.namelist() if name.endswith("vocab/vectors")}
        if len(folders) != 1 or f"{min(folders)}/key2row" not in archive.namelist():
            raise DataError(f"{path} holds no vectors of spaCy; give the wheel of a pipeline, or unpack a text table")
        folder = folders.pop()
        contents = []
        for name in (f"{folder}/vectors", f"{folder}/key2row"):
            length = archive.getinfo(name).file_size
            if length > LIMIT:
                raise DataError(f"{path}, {name}: {size(length)} unpacked, at most {size(LIMIT)} are read")
            contents.append(archive.read(name))
    vectors = np.load(io.BytesIO(contents[0]), allow_pickle=False)
    rows = msgspec.msgpack.decode(contents[1], type=dict[int, int])
    if vectors.ndim != 2 or vectors.dtype.kind != "f" or not vectors.size or not np.isfinite(vectors).all():
        raise DataError(f"{path}, {folder}/vectors: {vectors.dtype} {vectors.shape}; expected finite numbers (N, D)")
    if not rows or min(rows) < 0 or min(rows.values()) < 0 or max(rows.values()) >= len(vectors):
        raise DataError(f"{path}, {folder}/key2row: no words, or rows that are not among the {len(vectors)} vectors")
    digest = hashlib.sha256(contents[0])
    digest.update(contents[1])
    name = PurePosixPath(folder).parent.name or path.stem
    return WordTable(path, name, digest.hexdigest(), vectors.astype(np.float32, copy=False), _row_of(rows))


def _row_of(rows: dict[int, int]) -> Callable[[str], int | None]:
    """Look words up in sorted arrays of keys and rows, which take a tenth of a dict's memory."""
    keys = np.fromiter(rows.keys(), np.uint64, len(rows))
    order = keys.argsort()
    keys, places = keys[order], np.fromiter(rows.values(), np.int64, len(rows))[order]

    def row(word: str) -> int | None:
        key = np.uint64(murmur(word))
        i = int(keys.searchsorted(key))
        return int(places[i]) if i < len(keys) and keys[i] == key else None

    return row


def _text(path: Path, file: Iterable[bytes]) -> WordTable:
    digest, numbers, rows, dim, first = hashlib.sha256(), array("f"), {}, 0, 1
    for i, line in enumerate(file, 1):
        digest.update(line)
        fields = line.rstrip().split(b" ")
        if i == 1 and len(fields) == 2 and all(map(bytes.isdigit, fields)):
            first = 2  # after word2vec's header: how many words, and D
            continue
        dim = dim or len(fields) - 1
        if not _holds(fields, dim, numbers):
            what = instead(path) if i == 1 else None
            about = f"it is {what}" if what else f"line {i}: expected a word and {dim or 'its'} numbers"
            raise DataError(f"{path} is no table of word vectors: {about}")
        rows.setdefault(b" ".join(fields[:-dim]).decode(errors="replace"), i - first)
    if not rows:
        raise DataError(f"{path} is empty; expected lines with a word and its numbers")
    vectors = np.frombuffer(numbers, np.float32).reshape(-1, dim)  # (N, D)
    if not (finite := np.isfinite(vectors).all(1)).all():
        raise DataError(f"{path}, line {first + finite.argmin()}: NaN or a number too large for float32")
    return WordTable(path, path.name, digest.hexdigest(), vectors, rows.get)


def _holds(fields: list[bytes], dim: int, numbers: array) -> bool:
    """Append the last ``dim`` fields; false if they are no numbers, or do not follow a word, which may have spaces."""
    if dim == 0 or len(fields) <= dim or not fields[0]:
        return False
    if len(fields) > dim + 1 and NUMBER.match(fields[-dim - 1]):
        return False
    try:
        numbers.extend(map(float, fields[-dim:]))
    except ValueError:
        return False
    return True
