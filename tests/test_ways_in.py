"""Notebooks run elsewhere, or say why not; they link to the site, and in the book to its pages; comments are off."""

import re
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from sphinx.errors import ExtensionError

from ktbook import ways_in

ROOT = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
REPOSITORY = CONFIG["repository"]["url"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
LINKS = re.compile(rf"\({re.escape(ways_in.site_of(REPOSITORY))}/([^)]*)\)")


def first_cell(path: Path) -> str:
    return next(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")


def test_the_first_cell_is_the_same_everywhere_but_for_extras():
    assert len({re.sub(r"\[[\w,]+\]", "[]", first_cell(path)) for path in NOTEBOOKS}) == 1


@pytest.mark.parametrize("works", [True, False])
def test_the_first_cell_stops_only_where_the_package_cannot_be_installed(works, monkeypatch):
    """As in Colab: no package at first; pip brings it, or prints an error and goes on."""
    answers = iter([None, object() if works else None])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: next(answers))
    code = compile(first_cell(NOTEBOOKS[0]).replace("%pip", "pass  # %pip"), "cell", "exec")
    if works:
        exec(code, {})
    else:
        with pytest.raises(ImportError, match="pip says why, above"):
            exec(code, {})


def test_the_first_cell_does_nothing_where_the_package_is():
    before = set(sys.modules)
    exec(compile(first_cell(NOTEBOOKS[0]).replace("%pip", "raise RuntimeError  # %pip"), "cell", "exec"), {})
    assert not {name for name in set(sys.modules) - before if name.startswith("ktnet_lite")}


def test_links_to_the_site_become_links_between_pages():
    site = ways_in.site_of("https://github.com/Any-One/other.films")
    assert site == "https://any-one.github.io/other.films"
    text = f"[a]({site}/book/results/any.html#b-c), [d]({site}/book/data.html), [e]({site}/x.pdf), [f](https://x.github.io/y)"
    assert ways_in.linked(text, site) == (
        f"[a](../book/results/any.md#b-c), [d](../book/data.md), [e]({site}/x.pdf), [f](https://x.github.io/y)"
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebooks_link_to_the_site_names_a_page(path):
    for address in LINKS.findall(path.read_text(encoding="utf-8")):
        assert (ROOT / re.sub(r"\.html.*", ".md", address)).is_file(), address


def test_every_place_that_a_notebook_links_to_is_on_the_page(site):
    for path in NOTEBOOKS:
        for address in LINKS.findall(path.read_text(encoding="utf-8")):
            page, _, place = address.partition("#")
            assert not place or f'id="{place}"' in (site / page).read_text(encoding="utf-8"), address


def test_comments_are_off_and_take_their_repository_from_the_one_address():
    assert CONFIG["sphinx"]["config"]["giscus"] is None
    giscus = {"repo_id": "R_1", "category": "Q & A", "category_id": "DIC_1"}
    section = ways_in.comments("https://github.com/Any-One/other.films", giscus)
    assert 'data-repo="Any-One/other.films"' in section and 'data-category="Q &amp; A"' in section
    with pytest.raises(ExtensionError, match="category_id, repo_id"):
        ways_in.comments(REPOSITORY, {"category": "x"})


def test_binder_installs_what_the_notebooks_need():
    lines = (ROOT / ".binder" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert "-e .[experiments,extract,lab]" in lines
    (lock,) = [line.split()[1] for line in lines if line.startswith("-c ")]
    assert (ROOT / ".binder" / lock).is_file()
