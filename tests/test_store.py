"""The HDF5 store: a true copy, whole or not at all, and no damage goes unnoticed."""

import json
import subprocess
import sys
import textwrap
import weakref

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


def run(script: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)


def test_what_is_read_is_what_was_written(data, path):
    back = store.read(path)
    assert back.header == data.header and list(back) == list(data)
    assert all(same(data[name], back[name]) for name in data)
    assert back.checksum == data.checksum == store.info(path).checksum
    assert store.write(path, data.header, reversed(data.splits.items())) == data.checksum  # in any order


def test_info_tells_sizes(data, path):
    about = store.info(path)
    assert about.header == data.header
    assert about.clips == {"train": 12, "valid": 4, "test": 6}
    assert about.streams["test"]["vision"] == data["test"].streams["vision"].values.shape
    assert about.size == path.stat().st_size


def test_a_part_is_read_alone(data, path):
    part = store.read(path, splits=["valid"], modalities=["vision"])
    assert list(part) == ["valid"] and part.dims == {"vision": 16} and part["valid"].words is None
    np.testing.assert_array_equal(part["valid"].streams["vision"].values, data["valid"].streams["vision"].values)
    with pytest.raises(DataError, match="no split 'dev'; it has train, valid, test"):
        store.read(path, splits=["dev"])
    with pytest.raises(DataError, match="no smell in test; it has language, vision, audio"):
        store.read(path, splits=["test"], modalities=["smell"])


def test_damage_elsewhere_does_not_touch_a_part_unless_it_is_verified(data, path):
    with h5py.File(path, "r") as file:
        chunk = file["train/vision/values"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes(bytes(content))
    assert same(store.read(path, splits=["test"])["test"], data["test"])
    with pytest.raises(DataError, match="is damaged"):
        store.read(path, splits=["test"], verify=True)


def test_a_change_by_hand_is_noticed(data, path):
    with h5py.File(path, "r+") as file:
        file["test/targets"][2] = 0.125
    with pytest.raises(DataError, match="content does not match the checksum"):
        store.read(path)
    with pytest.raises(DataError, match="content does not match the checksum"):
        store.read(path, splits=["train"], verify=True)


def test_missing_modalities_words_and_emotions_survive(tmp_path):
    streams = {
        "language": Stream(np.ones((2, 3), np.float32), np.array([0, 2])),
        "vision": Stream(np.ones((3, 2), np.float32), np.array([3, 0])),
    }
    words = ((), ("two words", "naïve\0"))
    split = Split(streams, np.eye(4, dtype=np.int64)[:2], ("a", "ü"), words)
    empty = Stream(np.zeros((0, 5), np.float32), np.array([0]))
    other = Split({"audio": empty, "vision": streams["vision"].select([0])}, np.ones((1, 4), np.int64), ("a",))
    store.write(tmp_path / "d.h5", Header("d", "emotion", False), [("train", split), ("test", other)])
    back = store.read(tmp_path / "d.h5")
    assert same(back["train"], split) and same(back["test"], other)
    assert list(store.read(tmp_path / "d.h5", modalities=["audio"])["train"].streams) == []


def test_only_one_split_is_in_memory_at_a_time(data, tmp_path):
    alive: list[weakref.ref] = []

    def splits():
        for name in data:
            assert all(split() is None for split in alive)
            split = data[name].select(range(3))
            alive.append(weakref.ref(split))
            yield name, split
            del split

    store.write(tmp_path / "data.h5", data.header, splits())
    assert len(alive) == 3


def test_an_interrupted_conversion_leaves_the_old_file_and_no_half_one(data, path):
    before = path.read_bytes()

    def stops(error):
        yield "train", data["train"]
        raise error

    for error in (KeyboardInterrupt, DataError("a bad split")):
        with pytest.raises((KeyboardInterrupt, DataError)):
            store.write(path, data.header, stops(error))
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.process
def test_a_killed_conversion_leaves_nothing_that_looks_whole(data, tmp_path):
    path = tmp_path / "data.h5"
    done = run(f"""
        import os, signal
        from ktnet_lite.data import store, synthetic
        data = synthetic.make((12, 4, 6)).dataset
        def dies():
            yield "train", data["train"]
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        store.write({str(path)!r}, data.header, dies())
    """)
    assert done.returncode != 0
    (partial,) = tmp_path.iterdir()
    assert partial.match(".data.h5.*.partial")
    with pytest.raises(DataError):
        store.read(partial)
    store.write(path, data.header, data.splits.items())  # what is left over is in nobody's way
    assert list(tmp_path.iterdir()) == [path] and store.read(path).checksum == data.checksum


@pytest.mark.process
def test_a_full_disk_is_explained_and_the_old_file_survives(data, path):
    """The limit on a file's size stands for a full disk. HDF5 itself loses the error of a delayed write."""
    pytest.importorskip("resource", reason="limits of Unix")
    before = path.read_bytes()
    done = run(f"""
        import resource
        import numpy as np
        from ktnet_lite.data import store
        from ktnet_lite.data.schema import Header, Split, Stream
        from ktnet_lite.errors import DataError
        values = np.random.default_rng(0).normal(size=(300_000, 4)).astype(np.float32)
        split = Split({{"audio": Stream(values, np.array([300_000]))}}, np.zeros(1, np.float32), ("a",))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
        for _ in range(2):
            try:
                store.write({str(path)!r}, Header("d", "sentiment", False), [("train", split)])
            except DataError as error:
                print(error)
    """)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.count(f"cannot write {path}: the file is larger than this disk or a limit allows") == 2
    assert done.stdout.count("the previous data.h5 is intact; choose another folder") == 2
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_explained(data, path):
    with pytest.raises(DataError, match=r"cannot write .*below\.h5: .*choose another folder"):
        store.write(path / "below.h5", data.header, data.splits.items())


def test_truncation_is_noticed(path):
    content = path.read_bytes()
    for share in (0.0, 0.1, 0.5, 0.9, 0.999):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(DataError, match="damaged"):
            store.read(path)
        with pytest.raises(DataError, match="damaged"):
            store.info(path)


def test_no_flipped_bit_ever_gives_other_data(data, path):
    content = path.read_bytes()
    about = store.info(path)
    rng = np.random.default_rng(0)
    noticed = 0
    for position in rng.integers(len(content), size=300):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            back = store.read(path)
        except DataError:
            noticed += 1
        else:  # a byte that means nothing
            assert back.header == data.header and all(same(data[name], back[name]) for name in data)
            assert store.info(path) == about
    assert noticed > 250


def test_other_files_are_told_apart(path, tmp_path):
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 99
    with pytest.raises(DataError, match="has format version 99, but this ktnet-lite reads 1 and 2"):
        store.read(path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1, 2]
    with pytest.raises(DataError, match="is HDF5, but not a file of ktnet-lite"):
        store.read(tmp_path / "other.h5")
    (tmp_path / "text.h5").write_text("hello", encoding="utf-8")
    with pytest.raises(DataError, match="is not an HDF5 file"):
        store.read(tmp_path / "text.h5")
    with pytest.raises(DataError, match="no file"):
        store.read(tmp_path / "none.h5")


def test_a_file_that_promises_more_than_it_holds_is_refused_before_reading(path):
    with h5py.File(path, "r+") as file:
        file["train/vision/values"].resize((10**12, 16))
    with pytest.raises(DataError, match=r"claims 64000000000000 bytes"):
        store.read(path)


def test_an_unsound_split_is_not_written(data, tmp_path):
    bad = Split(data["train"].streams, data["train"].targets[:-1], data["train"].ids)
    with pytest.raises(DataError, match=r"split train, targets: shape \(11,\), expected \(12,\)"):
        store.write(tmp_path / "bad.h5", data.header, [("train", bad)])
    other = Split({"vision": data["test"].streams["language"]}, data["test"].targets, data["test"].ids)
    with pytest.raises(DataError, match="vision: 32 features per step, but other splits have 16"):
        store.write(tmp_path / "bad.h5", data.header, [("train", data["train"]), ("test", other)])
    with pytest.raises(DataError, match="no splits to write"):
        store.write(tmp_path / "bad.h5", data.header, [])
    assert not any(tmp_path.iterdir())


def rewrite_header(path, **changes):
    with h5py.File(path, "r+") as file:
        header = json.loads(file["header"][()].tobytes()) | changes
        header = {key: value for key, value in header.items() if value is not None}
        del file["header"]
        content = np.frombuffer(json.dumps(header).encode(), np.uint8)
        file.create_dataset("header", data=content, chunks=content.shape, fletcher32=True)


@pytest.mark.parametrize(
    "changes", [{"name": "other"}, {"aligned": True}, {"provenance": {"licence": "free"}}, {"seal": None}]
)
def test_a_changed_header_is_noticed(path, changes):
    rewrite_header(path, **changes)
    for read in (store.read, store.info):
        with pytest.raises(DataError, match="is damaged: its header does not match its checksum"):
            read(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": [1e3]}, r"/header: Expected `str`, got `array` - at `\$\.task`"),
        ({"provenance": [1]}, r"/header: Expected `object`, got `array` - at `\$\.provenance`"),
        ({"splits": ["train", 3]}, r"/header: Expected `str`, got `int` - at `\$\.splits"),
        ({"checksum": None}, "/header: Object missing required field `checksum`"),
    ],
)
def test_a_header_of_another_form_names_the_field(path, changes, message):
    rewrite_header(path, **changes)
    with pytest.raises(DataError, match=message):
        store.info(path)


def test_files_of_version_1_which_have_no_seal_are_read(data, path):
    rewrite_header(path, seal=None)
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 1
    assert store.read(path).checksum == data.checksum and store.info(path).header == data.header
