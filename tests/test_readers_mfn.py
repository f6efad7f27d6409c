"""MFN's folders of HDF5 files: a modality that a split lacks, padding at the front, labels from 1 to 5."""

import h5py
import numpy as np
import pytest

from ktnet_lite.data import catalogue, doctor, readers
from ktnet_lite.data.readers import mfn, scales
from ktnet_lite.data.schema import Dataset
from ktnet_lite.errors import DataError

CLIPS = {"train": 5, "valid": 3, "test": 4}
SHAPES = {"text_{}_emb.h5": (20, 30), "video_{}.h5": (20, 6), "audio_{}.h5": (20, 7)}
NO_TEXT = "split train: no text_train_emb.h5; read without language"

pytestmark = pytest.mark.filterwarnings("ignore:.*read without language")


def write(path, array):
    path.unlink(missing_ok=True)
    with h5py.File(path, "w") as file:
        file["d1"] = array


@pytest.fixture
def folder(tmp_path):
    """Clip i has 3 + i words; text is missing in train; clip 1 of each split has a silent last step."""
    rng = np.random.default_rng(0)
    for name, count in CLIPS.items():
        for file, (steps, dim) in SHAPES.items():
            array = np.zeros((count, steps, dim))
            for i in range(count):
                array[i, steps - 3 - i :] = rng.normal(size=(3 + i, dim)) + 3
            array[1, -1] = 0
            if file.format(name) != "text_train_emb.h5":
                write(tmp_path / file.format(name), array)
        write(tmp_path / f"y_{name}.h5", np.linspace(1, 5, count))
    return tmp_path


def test_a_split_without_a_file_lacks_the_modality(folder):
    assert readers.identify(folder) == "mfn"
    with pytest.warns(UserWarning, match=NO_TEXT):
        header, splits = readers.open_source(folder)
    data = Dataset.collect(header, splits)
    assert list(data["train"].streams) == ["vision", "audio"]
    assert list(data["test"].streams) == ["language", "vision", "audio"]
    assert data.dims == {"language": 30, "vision": 6, "audio": 7} and header.aligned
    assert data["valid"].streams["audio"].lengths.tolist() == [3, 4, 5]  # without the padding in front
    assert not data["valid"].streams["audio"].clip(1)[-1].any()  # zeros at the end are of the clip
    assert data["valid"].ids == ("valid_0", "valid_1", "valid_2")


def test_stars_become_scores_and_scores_stay(folder):
    np.testing.assert_array_equal(scales.stretched(np.array([1, 2, 3, 4.5, 5]), 1, 5), [-3, -1.5, 0, 2.25, 3])
    data = Dataset.collect(*mfn.read(folder))
    assert data["valid"].targets.tolist() == [-3, 0, 3] and "stretched" in data.header.provenance["scores"]
    write(folder / "y_valid.h5", np.array([[-1.0], [2.0], [3.0]]))
    write(folder / "y_train.h5", np.array([-3, -1, 0, 1, 3.0]))
    write(folder / "y_test.h5", np.array([0, 1, 2, 3.0]))
    data = Dataset.collect(*mfn.read(folder))
    assert data["valid"].targets.tolist() == [-1, 2, 3] and "scores" not in data.header.provenance


def cut(path):
    path.write_bytes(path.read_bytes()[:700])


def no_array(path):
    with h5py.File(path, "r+") as file:
        file["d2"] = file["d1"][()]
        del file["d1"]


def boast(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("d1", (5, 20, 10**9), "f8", chunks=(1, 1, 1000), compression="gzip")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("y_test.h5", lambda p: p.unlink(), "no y_test.h5 in it"),
        ("y_train.h5", lambda p: write(p, np.eye(3)[[0, 1, 2, 0, 1]]), r"labels of shape \(5, 3\).* which column is"),
        ("y_train.h5", lambda p: write(p, np.zeros(0)), "y_train.h5: no clips"),
        ("y_valid.h5", lambda p: write(p, np.array([1, np.nan, 5])), "split valid, targets: nan at index 1"),
        ("y_valid.h5", lambda p: write(p, np.array([1, 6, 5])), r"targets: 4.5 at index 1 is outside \[-3, 3\]"),
        ("y_valid.h5", lambda p: write(p, 1.0), r"y_valid.h5: d1 of shape \(\)"),
        ("audio_train.h5", lambda p: write(p, np.ones((4, 20, 7))), "audio_train.h5: 4 clips, but 5 labels"),
        ("audio_test.h5", lambda p: write(p, np.ones((4, 20))), "audio_test.h5, split test.* in 3 dimensions"),
        ("audio_test.h5", lambda p: write(p, np.ones(4)), r"audio_test.h5: d1 of shape \(4,\)"),
        (
            "audio_test.h5",
            lambda p: write(p, np.ones((4, 20, 9))),
            "audio: 9 features per step, but .* have 7",
        ),
        ("video_test.h5", cut, "video_test.h5 is damaged or incomplete"),
        ("video_test.h5", no_array, "video_test.h5: no array 'd1'; it has d2"),
        ("audio_train.h5", boast, r"audio_train.h5 is damaged.* claims .* more than its file can hold"),
    ],
)
def test_wrong_files_say_which_and_where(folder, name, change, message):
    change(folder / name)
    with pytest.raises(DataError, match=message):
        Dataset.collect(*mfn.read(folder))


def test_a_split_without_any_features_and_two_sets_in_one_folder_are_refused(folder):
    (folder / "more").mkdir()
    write(folder / "more" / "y_train.h5", np.ones(5))
    with pytest.raises(DataError, match=r"y_train.h5 is in .*more.*; give the folder of one data set"):
        mfn.read(folder)
    (folder / "more" / "y_train.h5").unlink()
    for file in SHAPES:
        (folder / file.format("valid")).unlink()
    with pytest.raises(DataError, match=r"split valid: no features; expected text_valid_emb.h5, video_valid.h5, audio"):
        mfn.read(folder)
    with pytest.raises(DataError, match=r"is not a folder; give the one with y_train\.h5"):
        mfn.read(folder / "y_test.h5")


def test_the_real_mmmo_is_read(real_data):
    """Three stars are neutral; the padding is in front; no words in train."""
    data = Dataset.collect(*readers.open_source(real_data / "small-sets" / "mmmo"))
    assert data.header.name == "mmmo" and data.header.aligned
    assert {name: len(data[name]) for name in data} == {"train": 220, "valid": 40, "test": 80}
    assert list(data["train"].streams) == ["vision", "audio"]
    assert data.dims == {"language": 300, "vision": 36, "audio": 74}
    with h5py.File(real_data / "small-sets" / "mmmo" / "text_test_emb.h5") as file:
        text = file["d1"][()]
    padded = np.flatnonzero(~text[:, 0].any(axis=-1))  # 10 clips begin with zeros
    assert len(padded) == 10
    for i in padded:
        clip = data["test"].streams["language"].clip(i)
        assert clip[0].any()
        np.testing.assert_allclose(clip, text[i, -len(clip) :], rtol=1e-6)
    report = doctor.check(real_data / "small-sets" / "mmmo")
    assert not report.errors and "ICT-MMMO as in MFN's files" in str(report) and NO_TEXT in str(report)


def test_the_real_youtube_set_is_refused_for_its_labels(real_data):
    with pytest.raises(DataError, match=r"labels of shape \(173, 3\).*do not say which column is positive"):
        readers.open_source(real_data / "small-sets" / "youtube")
    with h5py.File(real_data / "small-sets" / "youtube" / "audio_train.h5") as file:
        assert (~file["d1"][()].any(axis=(1, 2))).sum() == 125


def test_the_catalogue_builds_mmmo_from_a_folder_that_holds_its_files(real_data, tmp_path):
    data = catalogue.load("mmmo", folder=tmp_path, local=real_data)
    assert data.header.provenance["licence"].startswith("MIT") and len(data["test"]) == 80
