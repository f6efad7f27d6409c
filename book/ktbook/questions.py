"""The questions of each chapter, ``book/questions.yml``: as a cell of its notebook, and all on a page for teachers.

An option is a box that opens, without a kernel and without a script: in the book, in Colab, in Jupyter and on GitHub.
"""

from __future__ import annotations

import hashlib
import html
import re
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import yaml

from ktbook.generated import ROOT, write

FILE = ROOT / "book" / "questions.yml"
CELL = "questions"  # the id of the cell
BEFORE = "## Exercises"
INTRODUCTION = "Answer first, then open your answer. It says what is right or wrong about it."
VERDICTS = {"right": "Right.", "wrong": "No."}


class Option(NamedTuple):
    """An option of a question, and what to tell a reader who chose it."""

    verdict: str  # right or wrong
    text: str
    say: str


class Question(NamedTuple):
    """A question with its options, in the order in which they are shown."""

    ask: str
    options: tuple[Option, ...]


def digest(text: str) -> bytes:
    """Return a number that depends on the text alone, and tells nothing about it."""
    return hashlib.sha256(text.encode()).digest()


def load() -> dict[int, list[Question]]:
    """Read all questions, by chapter; the order of options depends on their texts alone."""

    def question(entry: dict[str, Any]) -> Question:
        options = [
            Option(verdict, option[verdict], option["say"])
            for option in entry["options"]
            for verdict in VERDICTS
            if verdict in option
        ]
        return Question(entry["ask"], tuple(sorted(options, key=lambda x: digest(entry["ask"] + x.text))))

    chapters = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {chapter: [question(entry) for entry in entries] for chapter, entries in chapters.items()}


def inline(text: str) -> str:
    """Write a line of Markdown, with code and emphasis, as HTML."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
    return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", text)


def box(option: Option) -> str:
    """Write an option as a closed box; no line is blank, which would end the HTML in Markdown."""
    return (
        f'<details class="answer {option.verdict}">\n<summary>{inline(option.text)}</summary>\n'
        f"<p><strong>{VERDICTS[option.verdict]}</strong> {inline(option.say)}</p>\n</details>"
    )


def cell(questions: list[Question]) -> str:
    """Write the section of a notebook."""
    parts = ["## Questions", INTRODUCTION]
    for number, question in enumerate(questions, start=1):
        parts += [f"**Question {number}.** {question.ask}", "\n".join(map(box, question.options))]
    return "\n\n".join(parts)


def put(path: Path, questions: list[Question]) -> nbformat.NotebookNode:
    """Return a notebook with its questions, before its exercises."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [each for each in notebook.cells if each.id != CELL]
    (place,) = [i for i, each in enumerate(notebook.cells) if BEFORE in each.source.splitlines()]
    above, _, exercises = notebook.cells[place].source.partition(BEFORE)
    if above:  # the end of another section
        notebook.cells.insert(place, nbformat.v4.new_markdown_cell(above.strip(), id=f"above-{CELL}"))
        place += 1
        notebook.cells[place].source = BEFORE + exercises
    notebook.cells.insert(place, nbformat.v4.new_markdown_cell(cell(questions), id=CELL))
    return notebook


def notebooks() -> dict[int, Path]:
    """Find the notebook of each chapter."""
    return {int(path.stem[:2]): path for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))}


def page(chapters: dict[int, list[Question]]) -> str:
    """Write all questions with their answers."""
    parts = []
    for chapter, path in notebooks().items():
        title = nbformat.read(path, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")
        parts.append(f"## Chapter {chapter}: {title[0].lower() + title[1:]}")
        parts.append(f"On [](../notebooks/{path.name}).")
        for number, question in enumerate(chapters[chapter], start=1):
            parts.append(f"**{chapter}.{number}** {question.ask}")
            parts.append("\n".join(f"- *{x.text}* {VERDICTS[x.verdict]} {x.say}" for x in question.options))
    return "\n\n".join(parts) + "\n"


def make(app: Any, config: Any) -> None:
    """Write the page for teachers."""
    write("questions.md", page(load()))


def setup(app: Any) -> dict[str, bool]:
    """Write the page when the build begins."""
    app.connect("config-inited", make)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
