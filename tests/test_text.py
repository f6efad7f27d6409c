"""Text for terminals and pages."""

import re

import pytest

from ktnet_lite.text import count, duration, enumerated, file_name, listed, markdown, plain, size, table


def test_columns_are_of_equal_width():
    assert table([("a", "bbb"), ("cc", "d")]) == "a   bbb\ncc  d"


def test_numbers_in_a_table_stay_as_they_are_written():
    assert table([("a", "b"), ("1.500", "007")]) == "a      b\n1.500  007"


def test_a_table_has_no_trailing_spaces():
    assert table([("a", "b"), ("cc", "")]) == "a   b\ncc"


def test_a_markdown_table_lines_up():
    assert markdown([("", "mae"), ("ours", "0.9")]).splitlines() == [
        "|      | mae |",
        "|------|-----|",
        "| ours | 0.9 |",
    ]


def test_names_keep_a_table_in_its_rows_and_columns():
    names = "a|b", "c\nd", "e\x1b[2J", "f\u2028g\udcff", r"h\|i"
    laid_out = markdown([names, names]).splitlines()
    assert len(laid_out) == 3 and len(set(map(len, laid_out))) == 1
    assert [len(re.split(r"(?<!\\)\|", line)) for line in laid_out] == [7, 7, 7]
    assert laid_out[0] == r"| a\|b | c\nd | e\x1b[2J | f\u2028g\udcff | h\|i |"
    assert table([("x", "y"), (names[1], names[2])]).splitlines()[1] == r"c\nd  e\x1b[2J"


def test_markdown_shows_a_name_as_it_is():
    assert plain("vid$_$1 <b> *x* [l](u) `q`") == r"vid\$_\$1 \<b> \*x\* \[l](u) \`q\`"
    assert plain("language_vision, audio = 0") == "language_vision, audio = 0"
    assert plain("a\nb") == r"a\\nb"


def test_any_name_makes_a_file_name():
    assert file_name("mosi-words_1.5") == "mosi-words_1.5"
    assert file_name("../a b\0/视频?") == "..-a-b-视频-"
    assert len(file_name("x" * 500)) == 80


def test_sizes_have_three_digits():
    assert [size(n) for n in (0, 999, 1500, 11_270_000, 12e9, 3.5e12)] == [
        "0 B", "999 B", "1.5 KB", "11.3 MB", "12 GB", "3.5e+03 GB"
    ]  # fmt: skip
    assert [size(n) for n in (999_400, 999_500, 999_600_000)] == ["999 KB", "1 MB", "1 GB"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (29.4, "29 s"),
        (31, "1 min"),
        (90 * 60, "1 h 30 min"),
        (59.4 * 60, "59 min"),
        (59.9 * 60, "1 h 00 min"),
    ],
)
def test_durations_have_two_units_at_most(seconds, text):
    assert duration(seconds) == text


def test_names_in_a_row_are_read_and_written():
    assert listed(" a,b, a,,c ,") == ["a", "b", "c"] and listed(" , ") == []
    assert [enumerated(names) for names in ("", "a", "ab", "abc")] == ["none", "a", "a and b", "a, b and c"]


def test_one_is_singular():
    assert [count(n, "seed") for n in (0, 1, 5)] == ["0 seeds", "1 seed", "5 seeds"]
