"""CONTRIBUTING.md names commands, files and markers that exist; its links are right on GitHub and in the book."""

import re
import shlex
from pathlib import Path

import click
import pytest

from ktnet_lite.cli import main
from ktnet_lite.experiments import grids

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_exists(line):
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
        files = [word for word in arguments if word.endswith((".py", ".ipynb"))]
        assert files
        assert all((ROOT / name).is_file() for name in files)
    else:
        assert program in ("git", "cd")


def test_each_file_that_the_page_names_exists():
    named = set(re.findall(r"(?<![\w/.-])((?:book|ktnet_lite|notebooks|tests|results)/[\w./-]*)", PAGE))
    assert len(named) > 15
    for name in named | {"requirements.lock", "_toc.yml", ".pre-commit-config.yaml", ".devcontainer"}:
        assert name in PAGE
        assert (ROOT / name.rstrip(".")).exists(), name


def test_names_in_code_are_those_of_the_package():
    named = re.findall(r"`(\w+)` (?:in|to) `(ktnet_lite/[\w/]+\.py)`", PAGE)
    assert len(named) > 3
    for noun, name in named:
        assert re.search(rf"^(?:class )?{noun}\b", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE), noun


def test_the_markers_are_those_of_the_tests(pytestconfig):
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert {"process", "kernel", "browser", "slow"} == set(rows)
    registered = {line.split(":")[0] for line in pytestconfig.getini("markers")}
    assert set(rows) <= registered


def test_links_are_right_on_github_and_in_the_book():
    """The book's page includes this one, and rewrites the links that begin as its ``relative-docs``."""
    page = (ROOT / "book" / "contributing.md").read_text(encoding="utf-8")
    (prefix,) = re.findall(r"^```\{include\} \.\./CONTRIBUTING\.md\n:relative-docs: (\S+)\n```\n$", page)
    links = re.findall(r"\]\((.*?)\)", PAGE)
    local = [link for link in links if not link.startswith("https://")]
    assert len(local) > 8
    assert [link for link in local if not link.startswith(prefix)] == []
    assert [link for link in local if not (ROOT / link).is_file()] == []
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    pages = [str(Path(link).with_suffix("").as_posix()) for link in local]
    assert [name for name in pages if not re.search(rf"file: {name}$", contents, re.MULTILINE)] == []
    assert not re.search(r"\{\w+\}`|\]\(\)", PAGE), "GitHub does not show Sphinx roles and empty links"


def test_the_page_asks_for_what_the_pull_request_template_asks_for():
    template = (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text(encoding="utf-8")
    for command in ("make check", "make test", "make notebooks"):
        assert command in template
        assert command in PAGE


def test_the_changelog_of_the_book_is_the_changelog():
    (included,) = re.findall(r"```\{include\} (\S+)", (ROOT / "book" / "changelog.md").read_text(encoding="utf-8"))
    assert (ROOT / "book" / included).resolve() == ROOT / "CHANGELOG.md"
