"""The label file of a folder of clips."""

import pytest

from ktnet_lite.errors import DataError
from ktnet_lite.extract import labels


def written(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


GOOD = "id,score,split\na,1.5,train\nb,-2,valid\nc,0,test\n"


def test_rows_become_labels(tmp_path):
    assert labels.read(written(tmp_path, GOOD)) == [
        labels.Label("a", 1.5, "train", ""),
        labels.Label("b", -2.0, "valid", ""),
        labels.Label("c", 0.0, "test", ""),
    ]


def test_a_spreadsheet_may_write_a_mark_capitals_and_further_columns(tmp_path):
    path = written(tmp_path, "\ufeffID , Score,SPLIT,Text,rater\na,1,Train,so good,x\nb,1,valid,,y\nc,1,test,,z\n")
    assert labels.read(path)[0] == labels.Label("a", 1.0, "train", "so good")


def test_a_range_is_stretched(tmp_path):
    text = "id,score,split\na,1,train\nb,3,valid\nc,5,test\n"
    assert [row.score for row in labels.read(written(tmp_path, text), (1, 5))] == [-3, 0, 3]


def test_labels_that_look_like_stars_ask_for_their_range(tmp_path):
    rows = "".join(f"c{i},{i % 5 + 1},{('train', 'valid', 'test')[i % 3]}\n" for i in range(30))
    with pytest.raises(DataError, match="--score-range 1 5"):
        labels.read(written(tmp_path, "id,score,split\n" + rows))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,score\na,1\n", "neither a column split nor a column speaker"),
        ("name,score,split\na,1,train\n", "no column id; it has name, score and split"),
        ("id,score,split\n", "has no row"),
        ("id,score,split\na,good,train\n", "row 2: score 'good' is not a number"),
        ("id,score,split\na,nan,train\n", "row 2: score 'nan' is not a number"),
        ("id,score,split\na,4,train\n", r"row 2: score 4 is outside \[-3, 3\]"),
        ("id,score,split\na,1,train\na,2,test\n", "row 3: 'a' has a label in row 2 already"),
        ("id,score,split\na,1,dev\n", "row 2: split 'dev' is not one of train, valid and test"),
        ("id,score,split\n,1,train\n", "row 2: the cell id is empty"),
        ("id,score,split\na,1,train\nb,1,test\n", "no clip is in split valid"),
        ("id,score,speaker\na,1,x\nb,1,y\n", "2 speakers cannot be divided"),
        ("id,score,split,speaker\na,1,train,x\nb,1,test,x\n", "speaker 'x' is in test here and in train above"),
    ],
)
def test_a_bad_file_says_which_row_and_what_to_do(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        labels.read(written(tmp_path, text))


def test_bytes_that_are_not_utf8_say_where(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"id,score,split\n\xff,1,train\n")
    with pytest.raises(DataError, match=r"not UTF-8 \(byte 15\)"):
        labels.read(path)


def test_ten_speakers_are_divided_by_their_shares():
    splits = labels.divide([f"s{i}" for i in range(10)] * 3)
    assert sorted(splits.values()) == ["test"] * 2 + ["train"] * 7 + ["valid"]


def test_speakers_are_divided_whatever_the_order_of_the_clips():
    speakers = ["a"] * 50 + ["b"] * 7 + ["c"] * 5 + ["d"] * 30
    assert labels.divide(speakers) == labels.divide(speakers[::-1])
    assert set(labels.divide(speakers).values()) == {"train", "valid", "test"}


def test_a_label_finds_its_clip_or_says_which_is_near(tmp_path):
    files = {"one": tmp_path / "one.mp4", "one.mp4": tmp_path / "one.mp4"}
    rows = [labels.Label("one", 1, "train", "")]
    assert labels.locate(rows, files, "labels.csv") == [tmp_path / "one.mp4"]
    with pytest.raises(DataError, match=r"row 3: there is no clip 'on'; did you mean 'one'\?"):
        labels.locate([*rows, labels.Label("on", 1, "train", "")], files, "labels.csv")
    with pytest.raises(DataError, match=r"row 3: .*one\.mp4 has a label in row 2 already"):
        labels.locate([*rows, labels.Label("one.mp4", 1, "train", "")], files, "labels.csv")
