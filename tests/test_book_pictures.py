"""Every picture of a chapter is a figure of the book: with a number, and with its description as the caption."""

import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from docutils import nodes
from docutils.utils import new_document
from lxml import html

from ktbook import pictures

ROOT = Path(__file__).resolve().parents[1]
COURSE = sorted(ROOT.glob("notebooks/[0-9]*.ipynb"))


@pytest.fixture(scope="module")
def captions(site) -> dict[str, list[tuple[int, str, str]]]:
    """Number, caption and text of each picture in each chapter's outputs."""
    found = {}
    for path in COURSE:
        page = html.parse(site / "notebooks" / f"{path.stem}.html", html.HTMLParser(encoding="utf-8"))
        found[path.stem] = []
        for image in page.xpath("//*[contains(@class, 'cell_output')]//img"):
            (figure,) = image.xpath("ancestor::figure")
            (number,) = figure.xpath(".//*[@class='caption-number']/text()")
            (caption,) = figure.xpath(".//*[@class='caption-text']")
            number = int(re.fullmatch(r"Fig\. (\d+) ", number)[1])
            found[path.stem].append((number, caption.text_content(), image.get("alt")))
    return found


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_a_chapter_shows_the_text_of_each_picture_once(path, captions):
    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]
    texts = [output.metadata[pictures.PNG].alt for output in outputs if pictures.PNG in output.get("data", {})]
    assert texts and [caption for _, caption, _ in captions[path.stem]] == texts
    assert {alt for _, _, alt in captions[path.stem]} == {pictures.ALT}, "a screen reader reads the caption once"


def test_numbers_rise_through_the_course(captions):
    numbers = [number for chapter in captions.values() for number, _, _ in chapter]
    assert all(one < other for one, other in pairwise(numbers)) and len(numbers) > 70


def test_a_box_takes_the_place_of_an_image_and_holds_it():
    document = new_document("page")
    document += [nodes.paragraph(), image := nodes.image(uri="a.png", classes=["drawn"]), nodes.paragraph()]
    pictures.put_into(figure := nodes.figure("", nodes.caption("text", "text")), image)
    pictures.put_into(box := nodes.container(), image)
    assert document.children[1] is figure and figure.children[0] is box and box.children == [image]
    assert len(document.children) == 3 and not figure["classes"]
