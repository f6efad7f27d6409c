"""Tables and sizes for a terminal."""

from ktnet_lite.text import size, table


def test_columns_are_of_equal_width():
    assert table([("a", "bbb"), ("cc", "d")]) == "a   bbb\ncc  d"


def test_sizes_have_three_digits():
    assert [size(n) for n in (0, 999, 1500, 11_270_000, 12e9, 3.5e12)] == [
        "0 B", "999 B", "1.5 KB", "11.3 MB", "12 GB", "3.5e+03 GB"
    ]  # fmt: skip
