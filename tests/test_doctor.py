"""The doctor names what a file is and everything that is wrong with it, and never falls over what it examines."""

import pickle
import re

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from ktnet_lite.cli import main
from ktnet_lite.data import store, synthetic
from ktnet_lite.data.doctor import check
from ktnet_lite.errors import DataError

CLIPS = {"train": 8, "valid": 4, "test": 5}


def padded(n, steps, dim, seed, front=False):
    """Clips of 3, 4, 5, ... steps of numbers, with zeros before or behind."""
    rng = np.random.default_rng(seed)
    array = np.zeros((n, steps, dim))
    for i in range(n):
        length = 3 + i % (steps - 3)
        array[i, steps - length :] = rng.normal(size=(length, dim)) + 3
    return array if front else array[:, ::-1].copy()


def mult_content(front=False):
    return {
        name: {
            "text": padded(n, 12, 6, 1 + k, front),
            "audio": padded(n, 20, 5, 11 + k, front),
            "vision": padded(n, 20, 4, 21 + k, front),
            "labels": np.linspace(-3, 3, n).reshape(n, 1, 1),
            "id": np.array([[f"{name[:4]}{i}".encode(), b"0", b"1"] for i in range(n)]),
        }
        for k, (name, n) in enumerate(CLIPS.items())
    }


def mmsa_content():
    content = {}
    for name, fields in mult_content().items():
        n = len(fields["text"])
        content[name] = {field: fields[field] for field in ("text", "audio", "vision")} | {
            "id": [f"{name}$_${i}" for i in range(n)],
            "audio_lengths": [3] * n,
            "vision_lengths": [20] * n,
            "regression_labels": np.linspace(-1, 1, n),
        }
    return content


def dump(path, content):
    path.write_bytes(pickle.dumps(content))
    return path


def findings(report):
    return [f"{finding.level} {finding.where}: {finding.what}" for finding in report.findings]


def assert_found(report, pattern):
    assert any(re.search(pattern, finding) for finding in findings(report)), findings(report)


def test_a_sound_file_is_named_whatever_its_name(tmp_path):
    report = check(dump(tmp_path / "holiday.jpg", mult_content()))
    assert not report.findings
    text = str(report)
    assert "MulT's pickle" in text and "No problems found." in text
    assert "train 8, valid 4, test 5: not of a published data set" in text
    streams = {(split, modality): facts for split, modality, facts in report.streams}
    assert streams["train", "audio"].lengths.tolist() == [3, 4, 5, 6, 7, 8, 9, 10]
    assert {facts.side for facts in streams.values()} == {"back"}
    front = check(dump(tmp_path / "front.pkl", mult_content(front=True)))
    assert {facts.side for _, _, facts in front.streams} == {"front"}


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda d: d["train"]["text"].__setitem__((2, 11, 0), np.nan), r"train, language: 1 of 8 .*hold NaN, 1"),
        (lambda d: d["valid"]["vision"].__setitem__((1, 0, 0), np.inf), r"valid, vision: 1 of 4 .*hold inf, 1"),
        (lambda d: d["test"]["audio"].__setitem__(2, 0), r"test, audio: 1 of 5 clips lack .*at index 2 \(test2_0_1\)"),
        (lambda d: d["train"]["audio"].__setitem__((..., 1), 7), "train, audio: 1 of 5 features are constant"),
        (lambda d: d["test"]["labels"].__setitem__(3, 9), r"error test, labels: 1 are outside \[-3, 3\].* at index 3"),
        (lambda d: d["test"]["labels"].__setitem__(1, np.nan), "error test, labels: 1 are not finite.* at index 1"),
        (lambda d: d["test"]["labels"].__setitem__(..., 1), "warning test, labels: all labels are on one side of 0"),
        (lambda d: d["valid"].update(audio=d["valid"]["audio"][:3]), "error valid: the counts differ: .*, 3 audio"),
        (lambda d: d["test"]["id"].__setitem__(0, d["train"]["id"][5]), "error test: 1 clips repeat the id .* train"),
        (lambda d: [d["valid"][m].__setitem__(2, d["valid"][m][0]) for m in ("text", "audio", "vision")],
         "warning valid: 1 clips repeat the content of clips in valid, first index 2.*, that of index 0"),
        (lambda d: [d["test"][m].__setitem__(4, d["train"][m][1]) for m in ("text", "audio", "vision")],
         "error test: 1 clips repeat the content of clips in train, first index 4.*, that of index 1"),
        (lambda d: d.pop("valid"), "error splits: no split 'valid'; the file has train, test"),
        (lambda d: d["test"].pop("labels"), "error test, labels: there are no labels"),
        (lambda d: d["test"].pop("vision"), "error test, vision: the field is missing"),
        (lambda d: d["train"].update(text=d["train"]["text"].astype(str)), "error train, field 'text': <U.* expected"),
        (lambda d: d["train"].update(id={"a": 1}), "error train, field 'id': a dict, expected a list"),
    ],
)  # fmt: skip
def test_each_damage_is_found_and_placed(tmp_path, change, pattern):
    content = mult_content()
    change(content)
    assert_found(check(dump(tmp_path / "a.pkl", content)), pattern)


def test_every_damage_is_named_not_only_the_first(tmp_path):
    content = mult_content()
    content["train"]["text"][0, 11, 0] = np.nan
    content["valid"]["labels"][0] = 5
    del content["test"]["audio"]
    report = check(dump(tmp_path / "a.pkl", content))
    for pattern in ("hold NaN", r"outside \[-3, 3\]", "test, audio: the field is missing"):
        assert_found(report, pattern)
    assert len(report.errors) == 2
    assert "2 errors, 1 warnings" in str(report)


def test_a_modality_of_zeros_in_an_mmsa_file_is_silent_and_garbage_past_the_length_is_seen(tmp_path):
    content = mmsa_content()
    content["train"]["vision"][0] = 0
    report = check(dump(tmp_path / "a.pkl", content))
    assert "MMSA's pickle" in str(report)
    assert_found(report, "train, vision: 1 of 8 clips are all zeros, the first at index 0")
    assert_found(report, "train, audio: 7 of 8 clips have frames past their declared length, the first at index 1")
    content["test"]["vision_lengths"][2] = 99
    assert_found(check(dump(tmp_path / "b.pkl", content)), "error test, field 'vision_lengths': 99 at index 2")


def test_an_mmsa_file_padded_at_the_front_is_measured_there(tmp_path):
    content = mmsa_content()
    for fields in content.values():
        fields["audio"] = fields["audio"][:, ::-1].copy()
    report = check(dump(tmp_path / "a.pkl", content))
    audio = {split: facts for split, modality, facts in report.streams if modality == "audio"}
    assert {facts.side for facts in audio.values()} == {"front"} and not audio["train"].silent.any()
    assert_found(report, "train, audio: 7 of 8 clips have frames past their declared length, the first at index 1")


WEIRD = [
    None, [], "text", 3, 2.5, True, b"b", {"a": 1}, [[1], [1, 2]], range(3), np.zeros(3), np.array(3), np.array([{}]),
    np.zeros((0, 4, 2)), np.zeros((8, 4, 2)), np.zeros((4, 0, 6)), np.zeros((5, 12, 0)), np.full((4, 1, 1), 1j),
]  # fmt: skip


@pytest.mark.parametrize("make", [mult_content, mmsa_content])
@pytest.mark.parametrize("value", WEIRD, ids=[f"{type(value).__name__}-{i}" for i, value in enumerate(WEIRD)])
@pytest.mark.slow
def test_it_never_falls_over_a_weird_field(tmp_path, make, value):
    for split in CLIPS:
        for field in make()[split]:
            content = make()
            content[split][field] = value
            report = check(dump(tmp_path / "a.pkl", content))
            assert report.errors or value is None, (split, field)
            assert str(report)


@pytest.mark.parametrize("value", WEIRD, ids=[f"{type(value).__name__}-{i}" for i, value in enumerate(WEIRD)])
def test_it_never_falls_over_a_weird_whole(tmp_path, value):
    wholes = [value, {"train": value}, mult_content() | {"valid": value}, mmsa_content() | {"test": value}]
    for whole in wholes:
        report = check(dump(tmp_path / "a.pkl", whole))
        assert report.errors and str(report)


HDF5 = {
    "a link that leads nowhere": {"a": h5py.SoftLink("/nowhere")},
    "a link to another file": {"a": h5py.ExternalLink("none.h5", "/x")},
    "nothing in it": {"a": h5py.Empty("f")},
    "a type": {"a": np.dtype("f4")},
    "no videos": {"r/data": None},
    "no group of data": {"r/data": np.zeros(3)},
    "no group of a video": {"r/data/v": np.zeros(3)},
    "no video behind the link": {"r/data/v": h5py.SoftLink("/nowhere")},
    "no features behind the link": {"r/data/v/features": h5py.SoftLink("/x"), "r/data/v/intervals": np.zeros((1, 2))},
    "a number for features": {"r/data/v/features": 3.0, "r/data/v/intervals": np.zeros((1, 2))},
    "empty features": {"r/data/v/features": h5py.Empty("f"), "r/data/v/intervals": np.zeros((1, 2))},
    "a table": {"r/data/v/features": np.zeros(2, dtype=[("a", "f4")]), "r/data/v/intervals": np.zeros((2, 2))},
    "words for intervals": {"r/data/v/features": np.zeros((1, 2)), "r/data/v/intervals": np.array([[b"a", b"b"]])},
}


@pytest.mark.parametrize("name", HDF5)
def test_it_never_falls_over_weird_hdf5(tmp_path, name):
    with h5py.File(tmp_path / "a.csd", "w") as file:
        for path, item in HDF5[name].items():
            if item is None:
                file.create_group(path)
            else:
                file[path] = item
    for path in (tmp_path / "a.csd", tmp_path):  # the file, and the folder that holds it
        report = check(path)
        assert report.errors and str(report)


def test_splits_of_different_tasks_are_told(tmp_path):
    content = mult_content()
    content["train"]["labels"] = np.zeros((8, 4, 2))
    report = check(dump(tmp_path / "a.pkl", content))
    assert_found(report, "error valid, labels: scores, but emotions in train")
    assert str(report)


def test_published_sizes_are_recognised_and_near_ones_too(tmp_path):
    def of(*sizes):
        content = {}
        for name, n in zip(CLIPS, sizes, strict=True):
            content[name] = {field: padded(n, 6, 2, len(name)) for field in ("text", "audio", "vision")}
            content[name]["labels"] = np.linspace(-3, 3, n).reshape(n, 1, 1)
        return check(dump(tmp_path / "a.pkl", content))

    assert ("sizes", "train 1284, valid 229, test 686: MOSI, official folds") in of(1284, 229, 686).facts
    assert_found(of(1283, 229, 685), r"warning splits: the sizes are \(1283, 229, 685\), but .* as published for MOSI")


def test_a_store_is_read_split_by_split_and_its_checksum_recomputed(tmp_path):
    path = tmp_path / "s.h5"
    store.write(path, *_synthetic())
    assert not [finding for finding in check(path).findings if "are constant" not in finding.what]
    with h5py.File(path, "r+") as file:
        file["train/targets"][3] = 1.25
    assert_found(check(path), "error checksum: the content does not match the checksum")
    content = bytearray(path.read_bytes())
    with h5py.File(path, "r") as file:
        offset = file["test/audio/values"].id.get_chunk_info(0).byte_offset
    content[offset + 100] ^= 1
    path.write_bytes(content)
    assert_found(check(path), "error split test: .*damaged")


def _synthetic():
    dataset = synthetic.make((12, 4, 6)).dataset
    return dataset.header, dataset.splits.items()


def test_what_no_reader_takes_is_outlined(tmp_path):
    (tmp_path / "a.txt").write_text("hello", encoding="utf-8")
    assert "begins with" in str(check(tmp_path / "a.txt")) and check(tmp_path / "a.txt").errors
    assert "dict of x, y" in str(check(dump(tmp_path / "b.pkl", {"x": 1, "y": 2})))
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["d1"] = np.zeros((2, 3))
    assert "float64 of shape (2, 3)" in str(check(tmp_path / "c.h5"))
    assert "a.txt, b.pkl, c.h5" in str(check(tmp_path))
    with pytest.raises(DataError, match="no file or folder at"):
        check(tmp_path / "nothing")


def test_one_csd_file_is_no_data_set_and_not_wrong(tmp_path):
    with h5py.File(tmp_path / "a.csd", "w") as file:
        for video, features in (("v1", [[1.0], [np.nan]]), ("v2", [[2.0]])):
            group = file.create_group(f"Labels/data/{video}")
            group["features"] = np.array(features)
            group["intervals"] = np.array([[0.0, 1.0], [3.0, 2.0]][: len(features)])
    report = check(tmp_path / "a.csd")
    assert ("holds", "2 videos, 3 segments") in report.facts and not report.errors
    assert_found(report, "warning video v1: 1 NaN or inf in features")
    assert_found(report, "warning video v1: 1 intervals end before they start")
    with h5py.File(tmp_path / "a.csd", "r+") as file:
        del file["Labels/data/v2/intervals"]
    assert_found(check(tmp_path / "a.csd"), "error file: .*video v2: no 'intervals'")


def test_the_command_prints_the_page_and_tells_by_its_status(tmp_path):
    sound = CliRunner().invoke(main, ["data", "check", str(dump(tmp_path / "a.pkl", mult_content()))])
    assert sound.exit_code == 0 and "No problems found." in sound.output
    content = mult_content()
    content["test"].pop("text")
    broken = CliRunner().invoke(main, ["data", "check", str(dump(tmp_path / "b.pkl", content))])
    assert broken.exit_code == 1 and "test, text" in broken.output


@pytest.mark.slow
def test_the_real_sets(real_data):
    report = check(real_data / "mosi-csd")
    assert ("sizes", "train 1284, valid 229, test 686: MOSI, official folds") in report.facts
    assert_found(report, r"train, language: 2 of 1284 clips are all zeros, the first at index 125 \(2WGyTLYerpo_44\)")
    words = check(real_data / "mosi-csd" / "CMU_MOSI_ModifiedTimestampedWords.csd")
    assert ("known as", "CMU_MOSI_ModifiedTimestampedWords.csd of mosi-words") in words.facts and not words.errors
    assert check(real_data / "mosi-utterance" / "CMUMOSI_features_raw_2way.pkl").errors  # another layout, not unsafe
