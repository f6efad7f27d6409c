"""Each chapter has five questions, the same in book/questions.yml, in its notebook and on the page for teachers."""

import re
from collections import Counter
from pathlib import Path

import nbformat
import pytest
import yaml

from ktbook import questions

CHAPTERS = questions.load()
NOTEBOOKS = questions.notebooks()
ALL = [question for chapter in CHAPTERS.values() for question in chapter]


def test_every_chapter_has_five_questions_and_no_other_has_any():
    assert {chapter: len(asked) for chapter, asked in CHAPTERS.items()} == dict.fromkeys(NOTEBOOKS, 5)
    assert len({question.ask for question in ALL}) == len(ALL)


@pytest.mark.parametrize("question", ALL, ids=lambda question: question.ask[:60])
def test_a_question_has_one_right_answer_and_says_something_to_each(question):
    verdicts = [option.verdict for option in question.options]
    assert verdicts.count("right") == 1 and len(verdicts) >= 3
    assert len({option.text for option in question.options}) == len(verdicts)
    for option in question.options:
        assert option.say.endswith((".", "!", "?")) and 20 < len(option.say) < 220, option
        assert not option.say.startswith(("Right", "Wrong", "No.", "Yes.")), "the verdict stands before it"


def test_an_entry_has_nothing_that_nobody_reads():
    for entries in yaml.safe_load(questions.FILE.read_text(encoding="utf-8")).values():
        for entry in entries:
            assert entry.keys() == {"ask", "options"}
            assert {frozenset(option) for option in entry["options"]} == {
                frozenset(("right", "say")),
                frozenset(("wrong", "say")),
            }


def test_neither_the_place_nor_the_length_of_an_answer_gives_it_away():
    place = Counter([option.verdict for option in question.options].index("right") for question in ALL)
    assert min(place[i] for i in range(3)) > len(ALL) / 5
    longest = [max(question.options, key=lambda option: len(option.text)).verdict for question in ALL]
    assert longest.count("right") < len(ALL) / 2


@pytest.mark.parametrize("chapter", NOTEBOOKS, ids=lambda chapter: NOTEBOOKS[chapter].stem)
def test_a_notebook_has_the_questions_of_its_chapter(chapter):
    path = NOTEBOOKS[chapter]
    assert questions.put(path, CHAPTERS[chapter]) == nbformat.read(path, as_version=4), "run: make questions"


def test_questions_are_html_that_markdown_leaves_alone():
    boxes = re.findall(r"<details.*?</details>", questions.cell(ALL), re.DOTALL)
    assert len(boxes) == sum(len(question.options) for question in ALL)
    assert not [box for box in boxes if "\n\n" in box or re.search(r"[`*$]", box)]
    assert questions.inline("a < `b` & *c*") == "a &lt; <code>b</code> &amp; <em>c</em>"


def test_putting_them_twice_changes_nothing_and_text_above_the_exercises_stays(tmp_path):
    path = tmp_path / "00_one.ipynb"
    cells = [nbformat.v4.new_markdown_cell("The end of a section.\n\n## Exercises\n\n**Exercise 1.**", id="a")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    once = questions.put(path, CHAPTERS[0])
    assert [cell.source.split("\n")[0] for cell in once.cells] == [
        "The end of a section.",
        "## Questions",
        "## Exercises",
    ]
    nbformat.write(once, path)
    assert questions.put(path, CHAPTERS[0]) == nbformat.read(path, as_version=4)


def test_the_page_for_teachers_has_all_of_them():
    page = questions.page(CHAPTERS)
    for question in ALL:
        assert question.ask in page
        assert all(option.text in page and option.say in page for option in question.options)
    assert page.count("Right.") == len(ALL)


def test_the_page_can_be_found():
    root = Path(questions.ROOT)
    assert "file: book/questions" in (root / "_toc.yml").read_text(encoding="utf-8")
    assert "](questions.md)" in (root / "book" / "teaching.md").read_text(encoding="utf-8")
