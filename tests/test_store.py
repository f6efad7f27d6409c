"""The HDF5 store: a true copy, whole or not at all, and no damage goes unnoticed."""

import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from ktnet_lite.data import store, synthetic
from ktnet_lite.data.schema import Header, Split, Stream
from ktnet_lite.errors import DataError


@pytest.fixture(scope="module")
def data():
    return synthetic.make((12, 4, 6)).dataset


@pytest.fixture
def path(data, tmp_path):
    store.write(tmp_path / "data.h5", data.header, data.splits.items())
    return tmp_path / "data.h5"


def same(a: Split, b: Split) -> bool:
    return (
        a.ids == b.ids
        and a.words == b.words
        and np.array_equal(a.targets, b.targets)
        and a.streams.keys() == b.streams.keys()
        and all(np.array_equal(s.values, b.streams[m].values) for m, s in a.streams.items())
        and all(np.array_equal(s.lengths, b.streams[m].lengths) for m, s in a.streams.items())
    )


def test_what_is_read_is_what_was_written(data, path):
    back = store.read(path)
    assert back.header == data.header
    assert all(same(data[name], back[name]) for name in data)
    assert back.checksum == data.checksum == store.info(path)["checksum"]


def test_a_part_is_read_alone(data, path):
    part = store.read(path, splits=["valid"], modalities=["vision"])
    assert list(part) == ["valid"] and part.dims == {"vision": 16} and part["valid"].words is None
    np.testing.assert_array_equal(part["valid"].streams["vision"].values, data["valid"].streams["vision"].values)
    assert store.info(path)["splits"]["test"]["clips"] == 6
    with pytest.raises(DataError, match="no split 'dev'; it has test, train, valid"):
        store.read(path, splits=["dev"])
    with pytest.raises(DataError, match="split test: no smell; it has audio, language, vision"):
        store.read(path, splits=["test"], modalities=["smell"])


def test_a_clip_without_a_modality_and_a_missing_stream_survive(tmp_path):
    streams = {
        "vision": Stream(np.ones((3, 2), np.float32), np.array([3, 0])),
        "audio": Stream(np.ones((4, 2), np.float32), np.array([2, 2])),
    }
    split = Split(streams, np.array([1.0, -1.0], np.float32), ("a", "b"))
    store.write(tmp_path / "d.h5", Header("d", "sentiment", False), [("train", split)])
    assert same(store.read(tmp_path / "d.h5")["train"], split)


def test_an_interrupted_conversion_leaves_the_old_file_and_no_half_one(data, path):
    before = path.read_bytes()

    def stops():
        yield "train", data["train"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write(path, data.header, stops())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_killed_conversion_leaves_nothing_that_looks_whole(tmp_path):
    script = f"""
        import os, signal
        from ktnet_lite.data import store, synthetic
        data = synthetic.make((12, 4, 6)).dataset
        def dies():
            yield "train", data["train"]
            os.kill(os.getpid(), signal.SIGTERM)
        store.write({str(tmp_path / "data.h5")!r}, data.header, dies())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)])
    assert done.returncode != 0
    assert not (tmp_path / "data.h5").exists()
    with pytest.raises(DataError):
        store.read(tmp_path / "data.h5.partial")


def test_a_full_disk_is_explained_and_the_old_file_survives(data, path, monkeypatch):
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot write .*data\.h5: .*No space left"):
        store.write(path, data.header, data.splits.items())
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_truncation_is_noticed(path):
    content = path.read_bytes()
    for share in (0.0, 0.1, 0.5, 0.9, 0.999):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(DataError, match="is damaged"):
            store.read(path)


def test_no_flipped_bit_ever_gives_other_data(data, path):
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    noticed = 0
    for position in rng.integers(len(content), size=150):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            back = store.read(path)
        except DataError:
            noticed += 1
        else:  # a byte that means nothing
            assert back.checksum == data.checksum
    assert noticed > 50


def test_other_files_are_told_apart(path, tmp_path):
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = 99
    with pytest.raises(DataError, match="has format 99, this version reads 1"):
        store.read(path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1, 2]
    with pytest.raises(DataError, match="no data set of ktnet-lite"):
        store.read(tmp_path / "other.h5")
    with pytest.raises(DataError, match="no file at"):
        store.read(tmp_path / "none.h5")


def test_an_unsound_split_is_not_written(data, tmp_path):
    bad = Split(data["train"].streams, data["train"].targets[:-1], data["train"].ids)
    with pytest.raises(DataError, match=r"split train, targets: shape \(11,\), expected \(12,\)"):
        store.write(tmp_path / "bad.h5", data.header, [("train", bad)])
    other = Split({"vision": data["test"].streams["language"]}, data["test"].targets, data["test"].ids)
    with pytest.raises(DataError, match="vision: 32 features a step, but other splits have 16"):
        store.write(tmp_path / "bad.h5", data.header, [("train", data["train"]), ("test", other)])
    assert not any(tmp_path.iterdir())
