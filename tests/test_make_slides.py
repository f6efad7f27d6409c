"""Slides: from each chapter its question, sections, figures, questions and what is known; each fits on a screen."""

import re
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from lxml import html

import make_slides
from chromium import serve

ROOT = Path(__file__).resolve().parents[1]
COURSE = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    to = tmp_path_factory.mktemp("slides")
    done = CliRunner().invoke(make_slides.main, ["--to", str(to)], catch_exceptions=False)
    assert done.exit_code == 0 and done.output.startswith(f"{len(COURSE)} chapters")
    return to


def figures(path: Path) -> list[str]:
    """The figures of a chapter, those of its solutions left out."""
    cells = [
        cell for cell in nbformat.read(path, as_version=4).cells if "hide-cell" not in cell.metadata.get("tags", [])
    ]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return [output.data["image/png"].strip() for output in outputs if "image/png" in output.get("data", {})]


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_a_chapters_slides_have_its_question_its_figures_and_what_is_known(path, folder):
    page = html.parse(folder / f"{path.stem}.html").getroot()
    slides = page.xpath("//section")
    titles = [slide.findtext("h2") for slide in slides]
    assert len(slides) > 10 and "The question." in slides[0].text_content()
    assert titles.count("Question") == 5 and titles[-1] == "What is now known"
    assert not {"Set-up", "Exercises"} & set(titles)
    shown = [image.get("src").partition("base64,")[2].strip() for image in page.xpath("//img")]
    assert shown == figures(path)
    assert all(len(image.get("alt")) > 20 for image in page.xpath("//img"))
    for slide in slides:
        text = " ".join(slide.text_content().split())
        assert slide.xpath(".//img") or len(text) > len(slide.findtext("h2") or "") + 20, text
        assert not text.endswith((":", ",")), f"announces what is not shown: {text[-80:]}"


def test_nothing_is_loaded_from_elsewhere_and_all_that_is_loaded_is_there(folder):
    for path in folder.glob("*.html"):
        for address in re.findall(r'(?:src|href)="([^"]*)"', path.read_text(encoding="utf-8")):
            assert address.startswith("data:image/png;base64,") or (folder / address).is_file(), address[:80]


def test_a_paragraph_is_cut_at_a_sentence():
    long = "One sentence is here. " + " ".join(["Then"] + ["more"] * make_slides.WORDS) + "."
    assert make_slides.shortened(long) == "One sentence is here."
    assert make_slides.shortened("Two. Sentences.") == "Two. Sentences."
    assert make_slides.finished("It is so. By hand:", announces=False) == "It is so."
    assert make_slides.finished("By hand:", announces=True) == "By hand:"
    assert make_slides.finished("By hand:", announces=False) == "By hand."


def test_markdown_becomes_html_without_links():
    made = html.fromstring(make_slides.rendered("A [link](x.md) to $a_b < c$ and `code`"))
    assert made.text_content().strip() == r"A link to \(a_b < c\) and code"
    assert made.findtext(".//code") == "code" and made.find(".//a") is None


@pytest.mark.browser
def test_every_slide_fits_on_a_screen_and_keys_turn_them(folder, browser):
    with serve(folder) as address:
        for path in COURSE:
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            page.goto(f"{address}/{path.stem}.html")
            page.wait_for_function("MathJax.startup && MathJax.startup.promise")
            page.evaluate("() => MathJax.startup.promise")
            sizes = page.evaluate(
                "() => [...document.querySelectorAll('section')].map(s => [s.offsetHeight, s.scrollWidth])"
            )
            assert [i + 1 for i, (height, width) in enumerate(sizes) if height > 721 or width > 1280] == [], path.stem
            assert page.locator("mjx-merror").count() == 0
            page.keyboard.press("ArrowRight")
            page.wait_for_function("() => scrollY > 700")
            page.keyboard.press("Home")
            page.wait_for_function("() => scrollY === 0")
            page.close()
