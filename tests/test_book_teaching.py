"""The page on teaching names exercises that exist, all of them; its command takes the solutions out."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "book" / "teaching.md").read_text(encoding="utf-8")
EXERCISE = re.compile(r"(?<![\w.])(\d+\.\d)(?![\w.]*\d)")


def exercises() -> set[str]:
    found = set()
    for path in ROOT.glob("notebooks/[0-9]*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        prose = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        numbers = re.findall(r"^\*\*Exercise (\d)\.", prose, re.MULTILINE)
        found |= {f"{int(path.stem[:2])}.{number}" for number in numbers}
    return found


def test_every_exercise_has_its_row_and_no_other():
    rows = re.findall(r"^\| (\d+\.\d) \|", PAGE, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == exercises()


def test_every_exercise_that_is_named_exists():
    text = PAGE.replace("CC BY 4.0", "")
    named = EXERCISE.findall(text)
    assert len(named) > 80
    assert set(named) <= exercises()


def test_every_week_day_and_minute_follows_the_one_before():
    weeks = [int(week) for week in re.findall(r"^\| \(?(\d+)\)? \|", PAGE, re.MULTILINE)]
    assert weeks == list(range(1, 16))
    spans = [(int(start), int(end)) for start, end in re.findall(r"^\| (\d+) to (\d+) \|", PAGE, re.MULTILINE)]
    assert [end for _, end in spans] == [*(start for start, _ in spans[1:]), 90]


def test_the_term_has_all_exercises_but_those_that_it_leaves_to_projects():
    term = PAGE[PAGE.index("## One term") : PAGE.index("## The exercises")]
    rows, left_out = term.rsplit("\n\n", 2)[:2]
    assert set(EXERCISE.findall(rows)) == exercises() - set(EXERCISE.findall(left_out))


def test_a_chapter_takes_less_than_the_time_that_the_page_says():
    assert "in under three minutes" in PAGE
    for path in ROOT.glob("notebooks/[0-9]*.ipynb"):
        assert nbformat.read(path, as_version=4).metadata.ktnet_lite.seconds < 3 * 60, path.name


@pytest.mark.process
def test_the_command_for_a_handout_takes_solutions_and_outputs_out(tmp_path):
    (command,) = re.findall(r"^```bash\n(jupyter nbconvert.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    words = shlex.split(command.replace("\\\n", " ").replace(" handout ", f" {shlex.quote(tmp_path.as_posix())} "))
    subprocess.run([sys.executable, "-m", *words], cwd=ROOT, check=True, capture_output=True)
    (handout,) = tmp_path.glob("*.ipynb")
    cells = nbformat.read(handout, as_version=4).cells
    assert any("**Exercise 1.**" in cell.source for cell in cells)
    assert not any("Solution" in cell.source for cell in cells if cell.cell_type == "code")
    assert not any(cell.get("outputs") for cell in cells)
