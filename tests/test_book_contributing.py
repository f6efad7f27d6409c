"""The page on contributing names commands, files and targets that are there; the changelog's page is the changelog."""

import re
import shlex
from pathlib import Path

import click
import pytest

from ktnet_lite.cli import main
from ktnet_lite.experiments import grids

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "book" / "contributing.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_is_one(line):
    program, *arguments = [word for word in shlex.split(line) if not re.fullmatch(r"[A-Z_]+=.*", word)]
    if program == "ktnet-lite":
        command = main
        while isinstance(command, click.Group):
            command, arguments = command.get_command(None, arguments[0]), arguments[1:]
        given = command.make_context(command.name, arguments).params
        assert given["data"] in grids.load(given["grid"]).data
    elif program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    elif program == ".venv/bin/python":
        assert [word for word in arguments if word.endswith((".py", ".ipynb"))]
    else:
        assert program in ("git", "cd")


def test_every_file_that_the_page_names_is_there():
    named = set(re.findall(r"(?<![\w/.-])((?:book|ktnet_lite|notebooks|tests|results)/[\w./-]*)", PAGE))
    assert len(named) > 8
    for name in named | {"requirements.lock", "_toc.yml"}:
        assert (ROOT / name.rstrip(".")).exists(), name


def test_github_finds_the_page():
    (link,) = re.findall(r"\]\((.+?)\)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert (ROOT / link).is_file()


def test_the_changelog_of_the_book_is_the_changelog():
    (included,) = re.findall(r"```\{include\} (\S+)", (ROOT / "book" / "changelog.md").read_text(encoding="utf-8"))
    assert (ROOT / "book" / included).resolve() == ROOT / "CHANGELOG.md"
