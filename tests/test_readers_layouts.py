"""Layouts that people have: other names, shapes, lists and scales; and what a wrong file is instead."""

import errno
import gzip
import io
import json
import pickle
import zipfile

import h5py
import numpy as np
import pytest

from fuzz import originals
from ktnet_lite.data import doctor, hdf5, readers, store
from ktnet_lite.data.foreign import instead, unreadable
from ktnet_lite.data.readers import pickles, scales
from ktnet_lite.data.schema import Dataset
from ktnet_lite.errors import DataError, UnreadableError


@pytest.fixture
def content():
    return originals.mult(np.random.default_rng(0))


@pytest.fixture
def mmsa():
    return originals.mmsa(np.random.default_rng(0))


def loaded(tmp_path, content, **choices):
    path = originals.dump(content, tmp_path / "m.pkl", 4)
    return Dataset.collect(*readers.open_source(path, **choices))


def same(a, b):
    return a.checksum == b.checksum


@pytest.mark.parametrize("name", ["dev", "val", "validation"])
def test_the_validation_split_may_have_another_name(tmp_path, content, name):
    expected = loaded(tmp_path, content)
    content[name] = content.pop("valid")
    assert same(loaded(tmp_path, content), expected)
    assert not doctor.check(tmp_path / "m.pkl").errors


def test_two_splits_may_be_one_object(tmp_path, content):
    content["valid"] = content["test"]
    data = loaded(tmp_path, content)
    assert data["valid"].ids == data["test"].ids
    assert any(
        "repeat the content of clips in valid" in error.what for error in doctor.check(tmp_path / "m.pkl").errors
    )


@pytest.mark.parametrize("shape", [(-1,), (-1, 1), (-1, 1, 1)])
def test_labels_of_any_shape_with_one_number_a_clip_are_read_in_both_layouts(tmp_path, content, mmsa, shape):
    for layout, field in ((content, "labels"), (mmsa, "regression_labels")):
        expected = loaded(tmp_path, layout)
        for fields in layout.values():
            fields[field] = fields[field].reshape(shape)
        assert same(loaded(tmp_path, layout), expected)


def test_clips_without_ids_are_numbered_in_both_layouts(tmp_path, content, mmsa):
    for layout in (content, mmsa):
        for fields in layout.values():
            del fields["id"]
        assert loaded(tmp_path, layout)["test"].ids == ("test_0", "test_1", "test_2", "test_3")


def test_arrays_of_objects_and_nested_lists_are_numbers_too(tmp_path, content):
    expected = loaded(tmp_path, content)
    for fields in content.values():
        fields["text"], fields["audio"] = fields["text"].astype(object), list(fields["audio"])
        fields["vision"] = fields["vision"].astype(float).tolist()
    assert same(loaded(tmp_path, content), expected)


@pytest.mark.parametrize("aligned", [True, False])
def test_clips_of_different_lengths_are_read_as_they_are(tmp_path, content, aligned):
    for fields in content.values():
        for k, field in enumerate(("text", "vision", "audio")):
            clips = [clip[: 1 + (i + (0 if aligned else k)) % 5] for i, clip in enumerate(fields[field])]
            fields[field] = np.empty(len(clips), object)
            fields[field][:] = clips
    data = loaded(tmp_path, content)
    assert data.header.aligned is aligned
    assert data["train"].streams["language"].lengths.tolist() == [1, 2, 3, 4, 5, 1]
    np.testing.assert_array_equal(data["train"].streams["audio"].clip(2), content["train"]["audio"][2])
    report = doctor.check(tmp_path / "m.pkl")
    assert not report.errors and len(report.streams) == 9


def test_what_is_neither_numbers_nor_clips_says_what_it_is(tmp_path, content):
    content["train"]["text"] = [["so", "good"]] * 6
    with pytest.raises(DataError, match=r"split train, field 'text': a list, not of numbers, or its parts have diff"):
        loaded(tmp_path, content)
    content["train"]["text"] = np.full((6, 6, 5), "x" * 50)
    with pytest.raises(DataError, match=r"split train, field 'text': <U50 of shape \(6, 6, 5\); expected numbers"):
        loaded(tmp_path, content)


def test_sims_keeps_the_label_of_each_modality_and_its_scale(tmp_path, mmsa):
    rng = np.random.default_rng(1)
    for fields in mmsa.values():
        for suffix in ("", "_T", "_A", "_V"):
            fields["regression_labels" + suffix] = rng.uniform(-1, 1, len(fields["id"]))
    data = loaded(tmp_path, mmsa)
    assert data.header.name == "sims" and "stretched" in data.header.provenance["scores"]
    np.testing.assert_allclose(data["train"].targets, 3 * mmsa["train"]["regression_labels"], rtol=1e-6)
    assert list(data["test"].own_targets) == ["language", "vision", "audio"]
    np.testing.assert_allclose(data["test"].own_targets["vision"], 3 * mmsa["test"]["regression_labels_V"], rtol=1e-6)
    store.write(tmp_path / "sims.h5", data.header, data.splits.items(), progress=False)
    back = store.read(tmp_path / "sims.h5")
    assert same(back, data) and list(back["train"].own_targets) == ["language", "vision", "audio"]
    assert list(store.read(tmp_path / "sims.h5", modalities=["audio"])["train"].own_targets) == ["audio"]
    assert data["train"].without("audio").own_targets.keys() == {"language", "vision"}
    assert len(data["train"].select([1, 3]).own_targets["audio"]) == 2


def misa_folder(tmp_path, clips):
    for name, part in clips.items():
        originals.dump(part, tmp_path / "misa" / f"{name}.pkl", 4)
    return tmp_path / "misa"


def test_misas_files_and_mag_berts_are_read_with_their_words(tmp_path):
    (tmp_path / "misa").mkdir()
    clips = originals.misa(np.random.default_rng(0))
    folder = misa_folder(tmp_path, clips)
    (folder / "._train.pkl").write_bytes(b"\0\5\x16\7")
    assert readers.identify(folder) == "misa"
    data = Dataset.collect(*readers.open_source(folder))
    assert data.dims == {"language": 1024, "vision": 4, "audio": 2}
    assert data["valid"].words[0] == ("so", "good", "film") and data["valid"].ids[1] == "dev[1]"
    for part in clips.values():  # MAG-BERT: one file, and no numbers of words
        part[:] = [((words, vision, audio), label, name) for (_, vision, audio, words), label, name in part]
    path = originals.dump(clips, tmp_path / "mag.pkl", 4)
    assert readers.identify(path) == "misa" and same(Dataset.collect(*readers.open_source(path)), data)
    clips["test"][2] = ((["so"], np.ones((2, 4)), np.ones((1, 2))), 1.0, "x")
    with pytest.raises(DataError, match=r"split test, clip 2, vision: 2 steps, but 1 words"):
        Dataset.collect(*readers.open_source(originals.dump(clips, path, 4)))


def test_the_real_file_of_misa_is_read(tmp_path, real_data):
    path = real_data / "misa" / "mosi-dev.pkl"
    if not path.is_file():
        pytest.skip(f"no {path}")
    with pytest.raises(DataError, match=r"is one split of MISA, 229 clips; give a folder with train\.pkl"):
        readers.open_source(path)
    (tmp_path / "misa").mkdir()
    clips = pickles.load(path)
    folder = misa_folder(tmp_path, {"train": clips[:150], "dev": clips[150:190], "test": clips[190:]})
    data = Dataset.collect(*readers.open_source(folder, replace_nonfinite=True))
    assert data.dims == {"language": 1024, "vision": 47, "audio": 74} and len(data["test"]) == 39
    assert data["train"].ids[0] == "WKA5OygbEKI[0]" and data["train"].targets[0] == np.float32(1.8)


@pytest.fixture
def csd(tmp_path):
    (tmp_path / "csd").mkdir()
    return originals.write_csd(tmp_path / "csd", np.random.default_rng(0))


def test_companions_of_macos_are_no_data(csd):
    expected = Dataset.collect(*readers.open_source(csd))
    for name in ("._COVAREP.csd", "._folds.json", "._labels.csd"):
        (csd / name).write_bytes(bytes.fromhex("0005160700020000") + bytes(200))
    assert same(Dataset.collect(*readers.open_source(csd)), expected)


def test_files_that_the_sdk_aligned_have_a_key_for_each_segment(csd):
    expected = Dataset.collect(*readers.open_source(csd))
    for file_name, root in (("words", "words"), ("COVAREP", "COVAREP"), ("labels", "Opinion Segment Labels")):
        with h5py.File(csd / f"{file_name}.csd", "r+") as file:
            data = file[f"{root}/data"]
            for video in list(data):
                features, intervals = data[video]["features"][()], data[video]["intervals"][()]
                del data[video]
                rows = (slice(0, 1), slice(1, 2)) if file_name == "labels" else (slice(0, 4), slice(4, 8))
                for k, part in enumerate(rows):
                    data[f"{video}[{k}]/features"], data[f"{video}[{k}]/intervals"] = features[part], intervals[part]
    data = Dataset.collect(*readers.open_source(csd))
    assert data["test"].ids == ("vd[0]", "vd[1]")
    for modality, stream in expected["train"].streams.items():
        np.testing.assert_array_equal(data["train"].streams[modality].values, stream.values)


def test_segments_that_are_left_out_are_counted(csd):
    with h5py.File(csd / "words.csd", "r+") as file:
        del file["words/data/va"]
    folds = {"train": ["va", "vb"], "dev": ["vc"], "test": []}
    (csd / "folds.json").write_text(json.dumps(folds), encoding="utf-8")
    told = r"segments left out: 2 of 8, whose videos have no words \(va\); 2 of 8, whose videos are in no fold \(vd\)"
    with pytest.warns(UserWarning, match=told), pytest.raises(DataError, match=r"no labelled segment .* split 'test'"):
        Dataset.collect(*readers.open_source(csd))
    (csd / "folds.json").write_text(json.dumps(folds | {"test": ["vd"], "train": ["vb"]}), encoding="utf-8")
    header, splits = readers.open_source(csd)
    with pytest.warns(UserWarning, match=r"left out: 2 of 8, whose videos have no words \(va\)"):
        Dataset.collect(header, splits)
    assert "va" in header.provenance["segments left out"]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (np.arange(12) % 4, "whole numbers from 0 to 3, like numbers of classes"),
        (np.arange(12) % 2, "whole numbers from 0 to 1, like numbers of classes"),
        (np.arange(14) % 7, "whole numbers from 0 to 6, like numbers of classes"),
        (1 + np.arange(12) % 5, "whole numbers from 1 to 5, like stars; if so, give --score-range 1 5"),
        (np.linspace(-1, 1, 12), r"no label is outside \[-1, 1\].*--score-range -1 1"),
        (np.linspace(0, 10, 12), "the labels go from 0 to 10.*as with --score-range 0 10"),
        (np.linspace(-3, 3, 12), None),
        (np.array([-3, -2, -1, 0, 1, 2, 3] * 2), None),
        (np.append(np.linspace(-3, 3, 40), 7), None),  # one mistake is no scale
        (np.zeros(12), None),
        (np.arange(4), None),  # too few to tell
    ],
)
def test_labels_of_another_scale_are_asked_about(labels, told):
    question = scales.question(np.asarray(labels, np.float32))
    if told is None:
        assert question is None
    else:
        with pytest.raises(DataError, match=told):
            raise DataError(question)
        assert "drop" not in question


def test_a_known_range_is_stretched_and_written_down(tmp_path, content):
    for fields in content.values():
        fields["labels"] = np.linspace(0, 10, len(fields["labels"]))
    for fields in content.values():  # enough clips to tell a scale
        for field in ("text", "vision", "audio", "labels"):
            fields[field] = np.concatenate([fields[field]] * 3)
        fields["id"] = [f"{k}{i}" for k in range(3) for i in fields["id"]]
    with pytest.raises(DataError, match=r"split train, labels: the labels go from 0 to 10"):
        loaded(tmp_path, content)
    assert "the labels go from 0 to 10" in str(doctor.check(tmp_path / "m.pkl"))
    data = loaded(tmp_path, content, score_range=(0, 10))
    assert data["test"].targets.min() == -3 and data["test"].targets.max() == 3
    assert data.header.provenance["scores"] == "labels from 0 to 10, stretched to [-3, 3]"
    with pytest.raises(DataError, match="a range of scores from 3 to 3; give the lowest one first"):
        loaded(tmp_path, content, score_range=(3, 3))


def zipped(*names):
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return whole.getvalue()


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html><title>Quota exceeded</title>", "a web page"),
        (b"<html>", "a web page"),
        (gzip.compress(pickle.dumps({})), "gunzip"),
        (zipped("a/data.pkl", "a/version"), "torch.save"),
        (zipped("x.npy", "y.npy"), ".npz"),
        (zipped("a.csv"), "a zip archive"),
        (b"PK\x03\x04 cut", "a zip archive"),
        (bytes(257) + b"ustar" + bytes(60), "a tar archive"),
        (bytes.fromhex("0005160700020000"), "a companion file of macOS"),
        (pickle.dumps({}), None),
        (b"hello", None),
    ],
    ids=range(13),
)
def test_what_a_wrong_file_is_instead_is_said(tmp_path, start, what):
    path = tmp_path / "a.pkl"
    path.write_bytes(start)
    assert (what in instead(path)) if what else instead(path) is None
    if what:
        for read in (pickles.load, readers.identify, store.read):
            with pytest.raises(DataError, match=r"a\.pkl") as caught:
                read(path)
            assert what in str(caught.value)
        assert what in str(doctor.check(path))


def test_a_file_that_the_system_keeps_is_not_called_damaged(tmp_path, monkeypatch):
    path = originals.write_store(tmp_path, np.random.default_rng(0))
    for number, message in (
        (errno.EACCES, "you have no permission"),
        (errno.EAGAIN, "cannot be locked for reading: another program is writing it, or its drive has no locks"),
        (errno.EIO, r"cannot be read \(EIO\): its drive does not answer"),
    ):

        def refuse(*_, number=number, **__):
            raise OSError(number, "no")

        with monkeypatch.context() as patch:
            patch.setattr(h5py, "File", refuse)
            for read in (store.read, store.info, readers.identify, store.is_store):
                with pytest.raises(UnreadableError, match=message):
                    read(path)
            assert "damaged" not in str(doctor.check(path)) and "delete" not in str(doctor.check(path))
    inside = OSError("Can't read data (file read failed: time = now, errno = 5, error message = 'I/O error')")
    assert isinstance(unreadable(path, inside), UnreadableError)
    assert not isinstance(unreadable(path, OSError("Unable to open file (truncated file)")), UnreadableError)


def test_hdf5_does_not_reach_into_other_files(tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.arange(3.0)
    (tmp_path / "raw.bin").write_bytes(bytes(24))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["link"] = h5py.ExternalLink("secret.h5", "/x")
        file.create_dataset("outside", (3,), "f8", external=[(str(tmp_path / "raw.bin"), 0, 24)])
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "x", (3,))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("bomb", (1 << 40,), "f4", chunks=(1 << 20,))
        file["sound"] = np.arange(3.0)
    for name, why in (
        ("link", "link into another file"),
        ("outside", "lies in other files"),
        ("virtual", "lies in other files"),
        ("bomb", "more than its file can hold"),
        ("nothing", "is missing"),
    ):
        with (
            pytest.raises(DataError, match=rf"a\.h5 is damaged or incomplete: .*{why}"),
            hdf5.opened(tmp_path / "a.h5") as file,
        ):
            hdf5.read_array(hdf5.member(file, name))
    with hdf5.opened(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(hdf5.read_array(hdf5.member(file, "sound")), np.arange(3.0))


def test_ids_and_words_that_no_file_can_hold_are_refused_by_doctor_and_readers_alike(tmp_path, content):
    content["valid"]["id"][1] = "a\ud800"
    with pytest.raises(DataError, match=r"split valid, ids, index 1: .* which no file can hold"):
        loaded(tmp_path, content)
    assert "which no file can hold" in str(doctor.check(tmp_path / "m.pkl").errors)
