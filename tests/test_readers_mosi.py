"""CMU-MOSI: .csd files, the two real sets built from their raw files, and every trap that they hold."""

import csv
import json
import shutil

import h5py
import numpy as np
import pytest

from ktnet_lite.data import readers
from ktnet_lite.data.readers import csd, csd_folder, mosi_utterance, mosi_words, words
from ktnet_lite.data.readers.folds import MOSI_TEST, MOSI_VALID
from ktnet_lite.data.schema import Dataset
from ktnet_lite.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*NaN or inf read as 0")  # every folder below holds some

VIDEOS = {"train": "v1", "valid": MOSI_VALID[0], "test": MOSI_TEST[0]}


def write_csd(path, root, videos):
    """A file of exactly the CMU-MultimodalSDK's layout."""
    with h5py.File(path, "w") as file:
        for video, (features, intervals) in videos.items():
            file[f"{root}/data/{video}/features"] = features
            file[f"{root}/data/{video}/intervals"] = np.asarray(intervals, dtype=float)
        file[f"{root}/metadata/root name"] = np.array([root.encode()])
    return path


@pytest.fixture
def folder(tmp_path):
    """Words, a face at 2 frames a second, a voice at 4, and two labelled segments in each of three videos."""
    seconds = np.arange(6)
    words = np.array([[b"so"], [b"good"], [b"sp"], [b"very"], [b"bad"], [b"film"]])
    spans = np.stack([seconds, seconds + 1], axis=1)
    face, voice = np.arange(12) / 2, np.arange(24) / 4
    segments = ([[1.5], [-2.0]], [[0, 3], [3, 6]])
    everyone = VIDEOS.values()
    write_csd(tmp_path / "words.csd", "Words", {v: (words, spans) for v in everyone})
    faces = np.arange(12.0)[:, None] * np.ones(3)
    write_csd(tmp_path / "facet.csd", "FACET", {v: (faces, np.stack([face, face + 0.5], 1)) for v in everyone})
    voices = np.arange(24.0)[:, None] * np.ones(74)
    voices[0, 0] = -np.inf
    write_csd(tmp_path / "x.csd", "COVAREP", {v: (voices, np.stack([voice, voice + 0.25], 1)) for v in everyone})
    write_csd(tmp_path / "labels.csd", "Opinion Segment Labels", {v: segments for v in everyone})
    return tmp_path


def test_a_folder_of_csd_files_is_aligned_to_its_words(folder):
    assert readers.identify(folder) == "csd"
    header, splits = readers.open_source(folder, unaligned=True)
    data = Dataset.collect(header, splits)
    assert not header.aligned
    clip = data["test"].streams
    assert [clip[m].lengths.tolist() for m in ("language", "vision", "audio")] == [[2, 3], [6, 6], [12, 12]]
    assert data["test"].ids == (f"{VIDEOS['test']}_1", f"{VIDEOS['test']}_2")
    assert data["test"].targets.tolist() == [1.5, -2.0]
    assert data["train"].words == (("so", "good"), ("very", "bad", "film"))
    np.testing.assert_allclose(clip["audio"].clip(1)[:, 1], np.arange(12, 24))
    assert clip["audio"].clip(0)[0, 0] == 0

    aligned = Dataset.collect(*csd_folder.read(folder))
    np.testing.assert_allclose(aligned["test"].streams["vision"].clip(1)[:, 0], [6.5, 8.5, 10.5])  # means over a second
    np.testing.assert_allclose(aligned["test"].streams["audio"].clip(0)[0], [2.0] + [1.5] * 73)  # -inf left out


def test_a_segment_without_words_is_one_silent_step(folder):
    (folder / "labels.csd").unlink()
    labels = {video: ([[1.0], [2.0]], [[0, 3], [3, 3.25]]) for video in VIDEOS.values()}
    write_csd(folder / "labels.csd", "Opinion Segment Labels", labels)
    for aligned, steps in ((True, [1, 1]), (False, [0, 1])):
        test = Dataset.collect(*readers.open_source(folder, unaligned=not aligned))["test"]
        assert test.words[1] == ("",) and not test.streams["language"].clip(1).any()
        assert [test.streams[m].lengths[1] for m in ("vision", "audio")] == steps
        np.testing.assert_array_equal(test.streams["audio"].clip(1)[0, 1:], 12)


@pytest.mark.slow
def test_the_real_folder_is_read_as_csd(real_data):
    """With the same clips, words and vectors as mosi-words."""
    data = Dataset.collect(*readers.open_source(real_data / "mosi-csd", "csd"))
    same = Dataset.collect(*readers.open_source(real_data / "mosi-csd", "mosi-words"))
    assert {name: len(data[name]) for name in data} == {"train": 1284, "valid": 229, "test": 686}
    for name in data:
        assert data[name].ids == same[name].ids and data[name].words == same[name].words
        assert np.array_equal(*(d[name].streams["language"].values for d in (data, same)))


def test_what_is_not_finite_in_csd_files_is_read_as_0_and_counted(folder, recwarn):
    with h5py.File(folder / "facet.csd", "r+") as file:
        file[f"FACET/data/{VIDEOS['valid']}/features"][8:10] = np.nan  # all of the second before last
    with pytest.warns(UserWarning, match="NaN or inf read as 0: 3 in valid vision") as said:
        data = Dataset.collect(*readers.open_source(folder))
    assert len(said) == 1 and data.header.provenance["NaN or inf read as 0"] == "3 in valid vision"
    assert data["valid"].streams["vision"].clip(1)[1].tolist() == [0, 0, 0]


def test_folds_of_ones_own_are_taken(folder):
    folds = {"train": [VIDEOS["test"]], "valid": [VIDEOS["train"]], "test": [VIDEOS["valid"]]}
    (folder / "folds.json").write_text(json.dumps(folds), encoding="utf-8")
    data = Dataset.collect(*csd_folder.read(folder))
    assert data["train"].ids[0] == f"{VIDEOS['test']}_1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"train": ["v1"], "val', "folds.json is not .*correct it, or remove it"),
        ("[1, 2]", "folds.json is not"),
        ('{"train": ["v1"], "valid": ["v2"]}', "folds.json is not .*'test'"),
        ('{"train": ["v1"], "valid": ["v2"], "test": 3}', "folds.json is not"),
        ('{"train": [["v1"]], "valid": ["v2"], "test": []}', "folds.json is not"),
        ('{"train": ["v1"], "valid": ["v2"], "test": ["v1"]}', "video v1 is in train and in test"),
    ],
)
def test_wrong_folds_say_what(folder, text, message):
    (folder / "folds.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        csd_folder.read(folder)


def test_words_of_any_length_and_features_in_one_dimension_are_read(folder):
    expected = Dataset.collect(*readers.open_source(folder))
    with h5py.File(folder / "words.csd", "r+") as words, h5py.File(folder / "labels.csd", "r+") as labels:
        for video in VIDEOS.values():
            group = words[f"Words/data/{video}"]
            said = group["features"].asstr()[:, 0].astype(object)
            del group["features"]
            group.create_dataset("features", data=said, dtype=h5py.string_dtype())
            group = labels[f"Opinion Segment Labels/data/{video}"]
            scores = group["features"][:, 0]
            del group["features"]
            group["features"] = scores
    assert Dataset.collect(*readers.open_source(folder)).checksum == expected.checksum


def test_a_modality_that_no_video_of_a_split_has_is_left_out(folder):
    with h5py.File(folder / "facet.csd", "r+") as file:
        del file[f"FACET/data/{VIDEOS['valid']}"]
    for unaligned in (False, True):
        data = Dataset.collect(*readers.open_source(folder, unaligned=unaligned))
        assert list(data["valid"].streams) == ["language", "audio"] and "vision" in data["test"].streams


def test_videos_of_one_file_must_have_the_same_features(folder):
    with h5py.File(folder / "facet.csd", "r+") as file:
        del file[f"FACET/data/{VIDEOS['test']}/features"]
        file[f"FACET/data/{VIDEOS['test']}/features"] = np.zeros((12, 2))
    with pytest.raises(DataError, match=rf"{VIDEOS['test']}: 2 features per step, but 3 features per step in video"):
        Dataset.collect(*readers.open_source(folder))


def test_only_a_csd_folder_can_be_unaligned(real_data):
    with pytest.raises(DataError, match=r"mosi-utterance is of format mosi-utterance; only a folder of \.csd files"):
        readers.open_source(real_data / "mosi-utterance", unaligned=True)


def test_wrong_csd_files_say_where_and_what(folder, tmp_path):
    shutil.copy(folder / "facet.csd", folder / "facet2.csd")
    with pytest.raises(DataError, match=r"facet\.csd and facet2\.csd are both vision"):
        csd_folder.read(folder)
    (folder / "facet2.csd").unlink()
    (folder / "labels.csd").unlink()
    with pytest.raises(DataError, match=r"no \.csd file of labels"):
        csd_folder.read(folder)
    bad = write_csd(folder / "labels.csd", "Labels", {"v1": ([[1.0]], [[0, 1], [1, 2]])})
    with pytest.raises(DataError, match=r"video v1, intervals: shape \(2, 2\), expected \(1, 2\)"):
        dict(csd.Videos(bad))
    bad.write_bytes(bad.read_bytes()[:100])
    with pytest.raises(DataError, match="damaged"):
        dict(csd.Videos(bad))
    with h5py.File(bad, "w") as file:
        file["x"] = 1
    with pytest.raises(DataError, match=r"no /<root>/data as in a \.csd file; it has x"):
        dict(csd.Videos(bad))


def test_rhythm_by_hand():
    intervals = np.array([[1.0, 1.5], [2.0, 2.25]])
    expected = [[0.5, 1.0, 0.5, 4.0, 0.25], [0.25, 0.5, 1.75, 16.0, 0.5]]
    np.testing.assert_allclose(mosi_words.rhythm(intervals, ["so", "good"], 0.0, 4.0), expected)


def test_the_words_of_mosi_are_those_of_the_transcripts(real_data):
    """As shipped, the words stand one interval too late: undone, 1,934 clips have their transcript's words, else 1."""
    videos = csd.Videos(real_data / "mosi-csd" / mosi_words.WORDS)
    sequences = dict(videos)
    clips = csd.segments(csd.Videos(real_data / "mosi-csd" / mosi_words.LABELS))
    with open(real_data / "mosi-utterance" / "transcripts.csv", newline="", encoding="utf-8") as file:
        transcripts = {row[0]: row[1].split() for row in csv.reader(file)}
    assert clips.keys() == transcripts.keys()

    def matching(root):
        said = (words.words_of(sequences[about[0]], root, *about[1:3]).features for about in clips.values())
        return sum([w.upper() for w in s] == transcripts[clip] for clip, s in zip(clips, said, strict=True))

    assert matching(videos.root) == 1934
    assert matching("as shipped") == 1


@pytest.mark.slow
def test_mosi_words_is_the_official_set(real_data):
    data = Dataset.collect(*mosi_words.read(real_data))
    assert {name: len(data[name]) for name in data} == {"train": 1284, "valid": 229, "test": 686}
    assert data.dims == {"language": 1024, "audio": 5} and data.header.aligned
    assert "rhythm, not sound" in data.header.provenance["audio"]
    for name in data:
        with h5py.File(real_data / "mosi-labels" / f"y_{name}.h5") as file:
            np.testing.assert_allclose(np.sort(data[name].targets), np.sort(file["data"][:]), atol=1e-5)
    silent = [i for i, words in enumerate(data["train"].words) if words == ("",)]
    assert len(silent) == 2
    rhythms = {data["train"].ids[i]: data["train"].streams["audio"].clip(i) for i in silent}
    np.testing.assert_allclose(rhythms["VCslbP0mgZI_1"], [[0, 0.089796, 0, 0, 0]], atol=1e-4)
    assert not rhythms["2WGyTLYerpo_44"].any()  # its label's interval has no length at all
    assert not any(data["train"].streams["language"].clip(i).any() for i in silent)


def test_mosi_utterance_is_in_the_order_of_speaking(real_data):
    """Its rows are not: within a video all positive clips come first, so a window by row would tell the label."""
    data = Dataset.collect(*mosi_utterance.read(real_data))
    assert {name: len(data[name]) for name in data} == {"train": 1193, "valid": 254, "test": 752}
    videos = {name: {clip.rpartition("_")[0] for clip in data[name].ids} for name in data}
    assert not videos["train"] & videos["valid"] and not videos["train"] & videos["test"]
    assert len(videos["train"] | videos["valid"]) == 62 and len(videos["test"]) == 31
    test = data["test"]
    numbers = [(clip.rpartition("_")[0], int(clip.rpartition("_")[2])) for clip in test.ids]
    assert numbers == sorted(numbers)

    rows = mosi_utterance._numbers(real_data / "mosi-utterance" / "text_test0.csv")
    index = mosi_utterance._numbers(real_data / "mosi-utterance" / "text_test.csv")[:, 0].astype(int)
    names = [row[0] for row in mosi_utterance._rows(real_data / "mosi-utterance" / "transcripts.csv")]
    vectors = {names[row]: vector[:-1] for row, vector in zip(index, rows, strict=True)}
    assert ((rows[:, -1] > 0) == [test.targets[test.ids.index(names[row])] >= 0 for row in index]).all()
    for i in (0, 5, 400, 751):
        window = test.streams["language"].clip(i)
        place = window[:, -1].tolist().index(1.0)
        assert window[:, -1].sum() == 1
        np.testing.assert_allclose(window[place, :-1], vectors[test.ids[i]], rtol=1e-5)
        if place:
            np.testing.assert_allclose(window[place - 1, :-1], vectors[test.ids[i - 1]], rtol=1e-5)


def test_identify_knows_the_real_folders(real_data):
    assert readers.identify(real_data / "mosi-csd") == "mosi-words"
    assert readers.identify(real_data / "mosi-utterance") == "mosi-utterance"
    with pytest.raises(DataError, match=r"is one \.csd file; give the folder"):
        readers.identify(real_data / "mosi-csd" / mosi_words.WORDS)


def on_line(text, line, column, value):
    """A csv file with another value on one line."""
    lines = text.splitlines(keepends=True)
    cells = lines[line - 1].rstrip().split(",")
    cells[column] = value
    lines[line - 1] = ",".join(cells) + "\n"
    return "".join(lines)


def first_cells(text, *lines):
    return [text.splitlines()[line - 1].partition(",")[0] + "," for line in lines]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "audio_test0.csv",
            lambda t: t[:-40],
            r"audio_test0\.csv, line 752: \d+ columns, but line 1 has 74; fetch it again",
        ),
        (
            "text_train0.csv",
            lambda t: t.replace('"-1.1352200000000001"', '"x"', 1),
            r"line 1, column 1: 'x' is not a number",
        ),
        ("video_test0.csv", lambda t: t.split("\n", 1)[1], r"video_test0\.csv has 751 rows, but text_test\.csv 752"),
        (
            "transcripts.csv",
            lambda t: "\n".join(t.split("\n")[:900]),
            r"text_.*\.csv, line \d+: row \d+ is not in transcripts",
        ),
        ("text_test.csv", lambda t: "", "is empty"),
        (
            "text_test.csv",
            lambda t: on_line(t, 7, 0, "nan"),
            r"text_test\.csv, line 7, column 1: nan is not an integer",
        ),
        ("text_train.csv", lambda t: on_line(t, 3, 0, "12.5"), r"text_train\.csv, line 3, column 1: 12.5 is not an"),
        (
            "audio_test0.csv",
            lambda t: on_line(t, 2, -1, "nan"),
            r"audio_test0\.csv, line 2, column 74: nan is not an",
        ),
        ("video_train0.csv", lambda t: on_line(t, 9, -1, "0.5"), r"video_train0\.csv, line 9, column 101: 0.5 is not"),
        (
            "text_test.csv",
            lambda t: t.replace(*first_cells(t, 5, 4)),
            r"line 5, column 1: clip .* is in line 4 already",
        ),
    ],
)
@pytest.mark.slow
def test_a_damaged_csv_says_line_and_column(real_data, tmp_path, name, change, message):
    for file in (real_data / "mosi-utterance").glob("*.csv"):
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / mosi_words.LABELS).symlink_to(real_data / "mosi-csd" / mosi_words.LABELS)
    text = (tmp_path / name).read_text(encoding="utf-8")
    (tmp_path / name).unlink()
    (tmp_path / name).write_text(change(text), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        Dataset.collect(*mosi_utterance.read(tmp_path))


def test_no_clip_is_in_train_and_test(real_data, tmp_path):
    for file in [*(real_data / "mosi-utterance").glob("*.csv"), real_data / "mosi-csd" / mosi_words.LABELS]:
        if "_test" not in file.name:
            for name in {file.name, file.name.replace("train", "test")}:
                (tmp_path / name).symlink_to(file)
    with pytest.raises(DataError, match=r"1447 clips are in train and in test, the first .*data fetch mosi-utterance"):
        Dataset.collect(*mosi_utterance.read(tmp_path))


@pytest.mark.parametrize("module", [mosi_words, mosi_utterance])
def test_a_missing_file_is_named(module, tmp_path):
    with pytest.raises(DataError, match=r"no .* in it; run `ktnet-lite data fetch mosi-"):
        Dataset.collect(*module.read(tmp_path))
