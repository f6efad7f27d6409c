"""The paper's numbers, as its tables print them."""

import pytest

from ktnet_lite.errors import ConfigError
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.reporting import paper


def test_all_numbers_are_there_and_in_range():
    counts = {number: len(paper.table(number).values) for number in ("I", "II", "III", "IV", "V")}
    assert counts == {"I": 16, "II": 15, "III": 16, "IV": 4, "V": 2}  # rows of the five tables, counted in the paper
    for number in counts:
        table = paper.table(number)
        for values in table.values.values():
            assert list(values) == list(table.metrics) and set(values) <= set(METRICS)
            assert all(0 < value < 1 or (name == "mae" and value < 1.1) for name, value in values.items())


def test_some_numbers_against_the_page():
    assert paper.table("I").values["Ours", "word aligned"] == {
        "acc7": 0.391,
        "acc2_nonzero": 0.823,
        "f1_nonzero": 0.822,
        "mae": 0.858,
        "corr": 0.691,
    }
    assert paper.table("I").values["CTC + RAVEN", "unaligned"]["mae"] == 1.076
    assert paper.table("III").values["MFM", "word aligned"]["accuracy_sad"] == 0.884


def test_where_the_paper_contradicts_itself_both_numbers_stand():
    """Tables II and IV show the same run, "Ours", but with another Corr."""
    second, fourth = (paper.table(number).values["Ours", "word aligned"] for number in ("II", "IV"))
    assert {name for name in second if second[name] != fourth[name]} == {"corr"}
    assert (second["corr"], fourth["corr"]) == (0.637, 0.630)
    assert paper.table("V").values["L2", "word aligned"] == second


def test_no_other_table():
    with pytest.raises(ConfigError, match="no table 'VI' of results; it has I, II, III, IV, V"):
        paper.table("VI")
