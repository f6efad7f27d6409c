"""The equation ledger: every equation has its code, its tests and its chapter, and the lack of one is noticed."""

import copy
from pathlib import Path

import pytest

from ktbook import ledger

ROOT = Path(__file__).resolve().parents[1]

LEDGER = ledger.load()
ADDRESS = "https://example.org/repository/blob/main"


def test_the_ledger_has_the_papers_six_equations():
    assert list(LEDGER) == [1, 2, 3, 4, 5, 6]


def test_every_equation_has_its_code_its_tests_and_its_chapter():
    assert list(ledger.problems(LEDGER)) == []


@pytest.mark.parametrize("kind", [*ledger.TEXTS, *ledger.LISTS])
@pytest.mark.parametrize("number", LEDGER)
def test_what_an_equation_lacks_is_reported(number, kind):
    for broken in (None, [] if kind in ledger.LISTS else ""):
        entries = copy.deepcopy(LEDGER)
        entries[number][kind] = broken
        assert list(ledger.problems(entries)) == [f"Eq. ({number}) has no {kind}"]
    del entries[number][kind]
    assert list(ledger.problems(entries)) == [f"Eq. ({number}) has no {kind}"]


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("code", "ktnet_lite.model.losses.no_such_loss", "ktnet_lite/model/losses.py has no no_such_loss"),
        ("code", "ktnet_lite.model.losses.Objective.backward", "ktnet_lite/model/losses.py has no Objective.backward"),
        ("code", "ktnet_lite.model.losses", "ktnet_lite.model.losses is in no module"),
        ("code", "ktnet_lite.nowhere.loss", "ktnet_lite.nowhere.loss is in no module"),
        ("tests", "test_losses.py::test_nothing", "tests/test_losses.py has no test_nothing"),
        ("tests", "test_nowhere.py::test_nothing", "there is no tests/test_nowhere.py"),
        ("tests", "test_losses.py", "tests/test_losses.py has no "),
        ("chapters", {"notebook": "99_no.ipynb", "heading": "The distance"}, "there is no notebooks/99_no.ipynb"),
        (
            "chapters",
            {"notebook": "03_knowledge_transfer.ipynb", "heading": "The distance!"},
            "notebooks/03_knowledge_transfer.ipynb has no heading 'The distance!'",
        ),
    ],
)
def test_what_an_equation_names_and_is_not_there_is_reported(kind, name, message):
    broken = copy.deepcopy(LEDGER)
    broken[2][kind].append(name)
    assert list(ledger.problems(broken)) == [f"Eq. (2): {message}"]


def test_every_test_of_the_ledger_is_one_that_runs():
    for entry in LEDGER.values():
        for name in entry["tests"]:
            file, _, function = name.partition("::")
            assert file.startswith("test_") and function.startswith("test_"), name
            assert "skip" not in ledger.test(name).text, name


def test_source_is_taken_whole_with_its_decorators_and_its_lines():
    name = "test_losses.py::test_resampling_by_hand"
    source = ledger.test(name)
    first, last = source.lines
    lines = (ROOT / source.path).read_text(encoding="utf-8").splitlines()
    assert source.path == "tests/test_losses.py" and source.text.splitlines() == lines[first - 1 : last]
    assert source.text.startswith("@pytest.mark.parametrize(") and "def test_resampling_by_hand(" in source.text
    method = ledger.code("ktnet_lite.model.losses.Objective.forward")
    assert method.text.startswith("def forward(self, batch: Batch, labels: bool = True)") and method.text.endswith(
        'return {"loss": total, **terms}'
    )


def test_the_page_holds_what_the_ledger_names():
    page = ledger.page(LEDGER, ADDRESS)
    for number, entry in LEDGER.items():
        assert f"{entry['formula']} \\tag{{{number}}}" in page and entry["words"] in page and entry["reading"] in page
        for source in [*map(ledger.code, entry["code"]), *map(ledger.test, entry["tests"])]:
            first, last = source.lines
            assert source.text in page and f"({ADDRESS}/{source.path}#L{first}-L{last})" in page
        for place in entry["chapters"]:
            assert ledger.chapter(place) in page


def test_formulas_stand_in_the_ledger_alone():
    """The pages that show the equations include what the ledger makes."""
    assert "generated/ledger.md" in (ROOT / "book" / "ledger.md").read_text(encoding="utf-8")
    notation = (ROOT / "book" / "notation.md").read_text(encoding="utf-8")
    assert "generated/equations.md" in notation and "\\tag" not in notation
    assert [line for line in ledger.equations(LEDGER).splitlines() if "\\tag" in line] == [
        f"{entry['formula']} \\tag{{{number}}}" for number, entry in LEDGER.items()
    ]
