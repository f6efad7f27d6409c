"""Word vectors: a wheel of spaCy and texts give the right vectors, every damaged table a DataError."""

import gzip
import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ktnet_lite.errors import DataError
from ktnet_lite.extract.vectors import WordTable, murmur

VECTORS = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
MEMBERS = "made-1.0/vocab/vectors", "made-1.0/vocab/key2row"
GLOVE = "good 1 2 3\n. . 4 5 6\nn't -1e-3 0 .5\n"


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def wheel(path: Path, vectors: bytes = npy(VECTORS), rows: bytes | None = None, names=MEMBERS) -> Path:
    rows = msgspec.msgpack.encode({murmur("good"): 0, murmur("bad"): 1}) if rows is None else rows
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("made/__init__.py", "")
        for name, content in zip(names, (vectors, rows), strict=False):
            archive.writestr(name, content)
    return path


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def wrong(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        WordTable.read(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("coffee", 3197928453018144401),  # the first four are in spaCy's documentation
        ("apple", 8566208034543834098),
        ("love", 3702023516439754181),
        ("I", 4690420944186131903),
        ("terrible", 10546341774584045391),  # the others are keys of en_core_web_md
        ("terribles", 15164970542187736222),
        ("caf\u00e9", 32833993555699147),
        ("incomprehensible", 16270117569272754549),
        ("internationalization", 13482343820443705570),
    ],
)
def test_the_key_of_a_word_is_spacys(text, key):
    assert murmur(text) == key


def test_a_wheel_gives_vectors_of_its_words(tmp_path):
    table = WordTable.read(wheel(tmp_path / "made-1.0-py3-none-any.whl"))
    assert (table.name, table.dim) == ("made-1.0", 3)
    np.testing.assert_array_equal(table.lookup("bad"), VECTORS[1])
    assert table.lookup("nothing") is None


def test_two_wheels_with_the_same_vectors_are_the_same_table(tmp_path):
    first = wheel(tmp_path / "a.whl")
    second = wheel(tmp_path / "b.zip", names=[f"another/{name}" for name in MEMBERS])
    other = wheel(tmp_path / "c.whl", npy(VECTORS + 1))
    assert WordTable.read(first).sha256 == WordTable.read(second).sha256 != WordTable.read(other).sha256


def test_a_text_is_read_with_and_without_header_plain_and_gzipped(tmp_path):
    plain = WordTable.read(written(tmp_path / "glove.txt", GLOVE))
    packed = tmp_path / "glove.txt.gz"
    packed.write_bytes(gzip.compress(GLOVE.encode()))
    headed = WordTable.read(written(tmp_path / "w2v.vec", f"3 3\n{GLOVE}"))
    for table in (plain, WordTable.read(packed), headed):
        np.testing.assert_array_equal(table.lookup("good"), VECTORS[0])
        np.testing.assert_array_equal(table.lookup(". ."), VECTORS[1])
    assert plain.sha256 == WordTable.read(packed).sha256 == hashlib.sha256(GLOVE.encode()).hexdigest() != headed.sha256
    assert plain.name == "glove.txt"


def test_a_word_is_also_found_in_lower_case_and_without_its_ending(tmp_path):
    table = WordTable.read(written(tmp_path / "glove.txt", GLOVE + "Bad 7 8 9\no'clock 0 0 1\n"))
    for word in ("GOOD", "good's", "Good'll"):
        np.testing.assert_array_equal(table.lookup(word), VECTORS[0])
    np.testing.assert_array_equal(table.lookup("Bad"), [7, 8, 9])
    np.testing.assert_array_equal(table.lookup("o'clock"), [0, 0, 1])
    assert table.lookup("bad") is None and table.lookup("'") is None


def test_a_negation_is_not_taken_for_its_opposite(tmp_path):
    table = WordTable.read(written(tmp_path / "glove.txt", GLOVE + "do 7 8 9\ndon 1 1 1\n"))
    np.testing.assert_allclose(table.lookup("don't"), [-1e-3, 0, 0.5])


def test_a_pickled_table_is_its_path_and_a_changed_file_is_read_again(tmp_path):
    path = written(tmp_path / "glove.txt", GLOVE * 100)
    table = WordTable.read(path)
    copy = pickle.dumps(table)
    assert len(copy) < 500 and pickle.loads(copy) is table is WordTable.read(path)
    written(path, "good 9 9\n")
    assert WordTable.read(path).dim == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("good 1 2 3\nbad 1 2\n", "line 2: expected a word and 3 numbers"),
        ("good 1 2 3\nbad 1 2 3 4\n", "line 2"),
        ("good 1 2 3\nbad 1 x 3\n", "line 2"),
        ("good 1 2 3\n\n", "line 2"),
        ("2 3\ngood 1 2 3\n 1 2 3\n", "line 3"),
        ("1 2\ngood 1 2\nbad nan 1\n", "line 3: NaN"),
        ("good 1 1e99\n", "line 1: NaN or a number too large"),
        ("good\n", "line 1: expected a word and its numbers"),
        ("1 300\n", "is empty"),
        ("", "is empty"),
        ("<!DOCTYPE html><p>not found", "web page"),
    ],
)
def test_a_wrong_text_is_refused_with_the_line(text, reason, tmp_path):
    assert reason in wrong(written(tmp_path / "table.txt", text))


def test_a_wrong_wheel_is_refused(tmp_path):
    path = tmp_path / "made.whl"
    for vectors in (VECTORS[0], VECTORS.astype(int), VECTORS * np.nan, VECTORS[:0]):
        assert "expected finite numbers (N, D)" in wrong(wheel(path, npy(vectors)))
    for rows in ({}, {1: 2}, {1: -1}, {-1: 1}):
        assert "key2row" in wrong(wheel(path, rows=msgspec.msgpack.encode(rows)))
    huge = npy(VECTORS).replace(b"(2, 3), }           ", b"(99999999999999, 3)}")
    assert huge != npy(VECTORS)
    for content in (b"", b"no array", npy(VECTORS)[:-4], huge):
        assert "damaged" in wrong(wheel(path, content))
    assert "damaged" in wrong(wheel(path, rows=b"\x81\xa1a\x01"))
    assert "no vectors of spaCy" in wrong(wheel(path, names=MEMBERS[:1]))
    assert "no vectors of spaCy" in wrong(wheel(path, names=["glove.6B.50d.txt"]))
    assert "no file" in wrong(tmp_path / "none.whl")


def test_arrays_with_objects_are_not_unpickled(tmp_path):
    assert "damaged" in wrong(wheel(tmp_path / "made.whl", npy(np.array([[print]], object))))


def test_a_member_that_unpacks_to_more_than_the_limit_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("ktnet_lite.extract.vectors.LIMIT", len(npy(VECTORS)) - 1)
    assert "at most" in wrong(wheel(tmp_path / "made.whl"))


def test_damaged_archives_are_refused(tmp_path):
    path = wheel(tmp_path / "made.whl")
    content = bytearray(path.read_bytes())
    place = content.index(b"made-1.0/vocab/vectors") + 40
    content[place : place + 20] = bytes(20)
    path.write_bytes(content)
    assert "damaged" in wrong(path)
    packed = tmp_path / "glove.txt.gz"
    packed.write_bytes(gzip.compress(GLOVE.encode())[:-10])
    assert "damaged" in wrong(packed)


def test_the_vectors_of_en_core_web_md_are_those_known():
    wheels = sorted(Path(os.environ.get("KTNET_DATA", "nowhere")).rglob("*md*3.7.1-py3-none-any.whl"))
    if not wheels:
        pytest.skip("no wheel of en_core_web_md; set KTNET_DATA")
    table = WordTable.read(wheels[0])
    assert table.name == "en_core_web_md-3.7.1" and table.vectors.shape == (20000, 300)
    assert table.sha256 == "e2ad942ccbd3ae4eab0f4c6fc1a26137e43d74f58c3c12f98df9bf08287f2d2e"
    good, terrible = table.lookup("good"), table.lookup("terrible")
    assert good @ terrible / np.linalg.norm(good) / np.linalg.norm(terrible) == pytest.approx(0.6167, abs=1e-4)
