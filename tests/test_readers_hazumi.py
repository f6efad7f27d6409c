"""Hazumi: sessions stay whole, a clip has no future, nothing said is no language; on made and on the real files."""

import csv
import tarfile
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from ktnet_lite.data import catalogue, doctor, readers
from ktnet_lite.data.catalogue import entries
from ktnet_lite.data.readers import hazumi
from ktnet_lite.data.schema import Dataset
from ktnet_lite.errors import DataError

LENGTHS = (5, 3, 6, 4, 7)
NAMES = [f"2010F{number}" for number in (2001, 2002, 3001)] + ["2012M2001", "2012M3001"]


def transcript(path, starts, words):
    root = ElementTree.Element("ANNOTATION_DOCUMENT")
    order = ElementTree.SubElement(root, "TIME_ORDER")
    for k, start in enumerate(starts):
        ElementTree.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=f"t{k}", TIME_VALUE=str(start))
    for name, texts in (("sys_utterance", ["?"] * len(starts)), ("user_utterance", words)):
        tier = ElementTree.SubElement(root, "TIER", TIER_ID=name)
        for k, text in enumerate(texts):
            annotation = ElementTree.SubElement(tier, "ANNOTATION")
            part = ElementTree.SubElement(annotation, "ALIGNABLE_ANNOTATION", TIME_SLOT_REF1=f"t{k}")
            ElementTree.SubElement(part, "ANNOTATION_VALUE").text = text
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def write(folder, name, n, layout=hazumi.ONLINE, seed=0):
    """A session in which nothing is said in exchange 2; its features are numbers of exchange and column."""
    rng = np.random.default_rng(seed)
    rows = [[f"{1000 * i + column % 100 / 100}" for column in range(layout.columns)] for i in range(n)]
    for i, row in enumerate(rows):
        row[layout.start] = str(5000 * i)
        row[layout.raters] = [f"{rng.integers(1, 8)}.0" for _ in row[layout.raters]]
        if i == 1:
            row[layout.spoken] = ["0"] * len(row[layout.spoken])
    heading = ["kurtosis\n" if column == 400 else f"c{column}" for column in range(layout.columns)]
    with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([heading, *rows])
    words = ["" if i == 1 else f"はい{i}" for i in range(n)]
    extra = 1 if layout is hazumi.FACE_TO_FACE else 0  # one exchange more than the features have
    transcript(folder / f"{name}.eaf", [5000 * i for i in range(n + extra)], words + ["more"] * extra)
    return rows


@pytest.fixture
def folder(tmp_path):
    for name, n in zip(NAMES, LENGTHS, strict=True):
        write(tmp_path, name, n)
    return tmp_path


def test_a_clip_is_an_exchange_with_those_before_it(folder):
    assert readers.identify(folder) == "hazumi"
    data = Dataset.collect(*readers.open_source(folder))
    assert data.header.name == "hazumi" and data.header.aligned
    assert [len(data[name]) for name in ("train", "valid", "test")] == [5 + 3 + 4, 6, 7]
    test = data["test"]
    assert test.ids == tuple(f"2012M3001_{i}" for i in range(1, 8))
    audio = test.streams["audio"]
    assert audio.lengths.tolist() == [1, 2, 3, 4, 4, 4, 4]
    assert (audio.clip(5)[:, 0] // 1000).tolist() == [2, 3, 4, 5], "exchange 6 with the three before it"
    assert audio.clip(5)[:, -1].tolist() == [0, 0, 0, 1], "the last feature marks the clip's own exchange"
    assert data.dims == {"language": 786, "vision": 67, "audio": 385}


def test_an_exchange_without_a_word_has_no_language(folder):
    test = Dataset.collect(*readers.open_source(folder))["test"]
    assert test.streams["language"].lengths.tolist() == [1, 0, 3, 4, 4, 4, 4]
    assert test.words[1] == () and test.words[3] == ("はい0", "", "はい2", "はい3")
    assert test.streams["audio"].lengths[1] == 2 and not any(test.bad("sentiment"))


def test_the_label_is_the_mean_of_the_raters_minus_4(tmp_path):
    for number in range(5):
        rows = write(tmp_path, f"1902F200{number}", 3, hazumi.FACE_TO_FACE, seed=number)
    data = Dataset.collect(*readers.open_source(tmp_path))
    expected = [np.mean([float(cell) for cell in row[15:20]]) - 4 for row in rows]
    np.testing.assert_allclose(data["test"].targets, expected, rtol=1e-6)
    assert data.header.name == "hazumi-face" and data.dims["vision"] == 95
    assert data["test"].words[2] == ("はい0", "", "はい2"), "joined by start, as the transcript has an exchange more"


def test_sessions_are_divided_whole_and_the_same_way_whatever_their_order():
    sessions = [f"2012F{number}" for number in range(2001, 2021)]
    splits = hazumi.split_of(sessions)
    assert splits == hazumi.split_of(sessions[::-1])
    counts = {split: list(splits.values()).count(split) for split in ("train", "valid", "test")}
    assert counts == {"train": 14, "valid": 2, "test": 4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "2010F2002.eaf").unlink(), r"no transcript 2010F2002\.eaf \(1 are missing\)"),
        (lambda f: (f / "2010F2002.eaf").write_text("<a>", encoding="utf-8"), r"2010F2002\.eaf is no transcript"),
        (lambda f: (f / "2010F2001.csv").write_text("", encoding="utf-8"), r"2010F2001\.csv is no table"),
        (lambda f: (f / "2010F2001.csv").write_text("a\n1,2\n", encoding="utf-8"), "exchange 1: 2 columns, expected"),
        (lambda f: write(f, "1902F2001", 3, hazumi.FACE_TO_FACE), "found those of 1902, 2010, 2012"),
        (lambda f: [(f / f"{name}.csv").unlink() for name in NAMES[2:]], "2 sessions are too few"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(folder, change, message):
    change(folder)
    with pytest.raises(DataError, match=message):
        Dataset.collect(*hazumi.read(folder))
    assert doctor.check(folder).errors


def test_a_cell_that_is_no_number_is_named(folder):
    path = folder / "2010F2001.csv"
    path.write_text(path.read_text(encoding="utf-8-sig").replace("2000.17", "?", 1), encoding="utf-8")
    with pytest.raises(DataError, match=r"2010F2001\.csv, exchange 3, column 17: '\?' is no number"):
        Dataset.collect(*hazumi.read(folder))


def test_the_recipe_names_every_file_once():
    for name, sessions in (("hazumi", 33 + 63), ("hazumi-face", 28)):
        files = entries.ENTRIES[name].files
        assert len(files) == len({file.name for file in files}) == 2 * sessions
        assert all(file.url.endswith(file.name) and len(file.sha256) == 64 and file.size for file in files)
        assert "and the other" in entries.ENTRIES[name].remedy, "a message does not list them all"


@pytest.mark.slow
def test_the_real_files_read_by_a_few_lines_agree(real_data, tmp_path):
    """Counts, labels and features of every session, taken from the raw files without the reader."""
    archives = [real_data / "hazumi" / f"hazumi{year}.tar.xz" for year in (2010, 2012)]
    if not all(path.is_file() for path in archives):
        pytest.skip("no real Hazumi files")
    for path in archives:
        with tarfile.open(path) as archive:
            archive.extractall(tmp_path / "raw", filter="data")
    built = catalogue.build("hazumi", tmp_path / "data", tmp_path / "raw")
    data = catalogue.store.read(built)
    assert [len(data[name]) for name in data] == [5757, 799, 1576]
    clips = {clip: (split, i) for split in data for i, clip in enumerate(data[split].ids)}
    silent = 0
    for path in sorted((tmp_path / "raw" / "dumpfiles").iterdir()):
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))[1:]
        for k in (0, len(rows) // 2, len(rows) - 1):
            split, i = clips[f"{path.stem}_{k + 1}"]
            assert np.isclose(data[split].targets[i], float(rows[k][15]) - 4)
            for modality, first, last in (("audio", 17, 401), ("vision", 401, 467), ("language", 467, 1252)):
                own = data[split].streams[modality].clip(i)
                if modality != "language" or any(float(cell) for cell in rows[k][484:1252]):
                    np.testing.assert_allclose(own[-1, :-1], np.array(rows[k][first:last], float), rtol=1e-5)
        silent += sum(not any(float(cell) for cell in row[484:1252]) for row in rows)
        assert f"{path.stem}_{len(rows) + 1}" not in clips
    assert silent == sum(int((data[name].streams["language"].lengths == 0).sum()) for name in data) == 931
    people = [{clip.split("_")[0] for clip in data[name].ids} for name in data]
    assert sum(map(len, people)) == len(set.union(*people)) == 96
