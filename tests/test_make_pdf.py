"""The book as one PDF."""

import copy
import re
from pathlib import Path

import click
import pytest
from bs4 import BeautifulSoup

from chromium import launch

ROOT = Path(__file__).resolve().parents[1]
pikepdf = pytest.importorskip("pikepdf", reason="pip install pikepdf")
pytest.importorskip("playwright", reason="pip install playwright")

import make_pdf  # noqa: E402

CONTENTS = (ROOT / "_toc.yml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def document(site) -> make_pdf.Document:
    return make_pdf.Document(site)


@pytest.fixture(scope="module")
def select(document):
    """The tags of the document that a CSS selector finds; a function, so that pytest does not print the document."""
    text = BeautifulSoup(document.text({"notebooks-02_encoders": 1234}), "lxml")
    return lambda selector: text.select(selector)


def test_it_has_all_pages_in_their_order(document, select):
    listed = re.findall(r"(?:root|file): (\S+)", CONTENTS)
    assert [page.with_suffix("").as_posix() for page in document.pages] == listed
    assert [article["id"] for article in select("article")] == [name.replace("/", "-") for name in listed]
    entries = {link["href"]: link.get_text() for link in select("nav.book-contents a")}
    assert entries["#notebooks-02_encoders"] == "Encoders1234"


def test_every_link_within_it_leads_to_one_place(select):
    places = [tag["id"] for tag in select("[id]")]
    links = [link["href"][1:] for link in select("a[href^='#']")]
    assert len(links) > 200
    assert {link for link in links if places.count(link) != 1} == set()
    assert not [link["href"] for link in select("a[href]") if not re.match("#|https?:|mailto:", link["href"])]


def test_nothing_is_folded_and_solutions_end_their_chapter(select):
    assert not select("details, summary, article script, article button, .headerlink")
    chapter = select("#notebooks-02_encoders")[0]
    sections = [heading.get_text() for heading in chapter.select("h2")]
    assert sections[-1] == "Solutions" and "Exercises" in sections
    assert "# @title Solution 1" in chapter.find_all("section")[-1].get_text()


def test_questions_are_printed_without_their_answers(select):
    chapter = select("#notebooks-02_encoders")[0]
    options = [item.get_text().strip() for item in chapter.select("li.answer")]
    assert len(options) == 15 and not [text for text in options if "Right." in text or not text]


def test_every_picture_and_style_is_a_file(select):
    addresses = [tag["src"] for tag in select("[src]")] + [tag["href"] for tag in select("link")]
    assert len(addresses) > 50
    assert not [address for address in addresses if not address.startswith("file:///")]


@pytest.mark.browser
def test_it_prints_with_page_numbers_links_and_all_fonts(document, tmp_path):
    with launch():
        pass  # skips where there is no Chromium
    document = copy.copy(document)
    first, notation = Path("book/index.html"), Path("book/notation.html")
    document.parts = [("", [first]), ("Reference", [notation])]
    document.pages = {page: document.pages[page] for page in (first, notation)}
    document.chapters = {page: document.chapters[page] for page in (first, notation)}
    pdf = tmp_path / "book.pdf"
    make_pdf.print_pdf(document, pdf)
    assert [path.name for path in tmp_path.iterdir()] == ["book.pdf"]
    with pikepdf.open(pdf) as file:
        kinds = ("/CIDFontType0", "/CIDFontType2", "/TrueType", "/Type1")
        objects = [entry for entry in file.objects if isinstance(entry, pikepdf.Dictionary)]
        fonts = [entry.FontDescriptor for entry in objects if entry.get("/Subtype") in kinds]
        assert fonts and all({"/FontFile", "/FontFile2", "/FontFile3"} & set(font.keys()) for font in fonts)
        places = {name: pikepdf.Page(place[0]).index + 1 for name, place in file.Root.Dests.items()}
        assert (
            places["/book-index"] == 3 and places["/book-notation"] > 3 and len(file.pages) >= places["/book-notation"]
        )
        assert "/Outlines" in file.Root and "/StructTreeRoot" in file.Root
    assert make_pdf.finish(pdf, document) == {"book-index": 3, "book-notation": places["/book-notation"]}


def test_without_chromium_it_says_what_to_install(document, tmp_path, monkeypatch):
    monkeypatch.setattr(make_pdf.shutil, "which", lambda name: str(tmp_path / "no-such-browser"))
    with pytest.raises(click.ClickException, match="Install it"):
        make_pdf.print_pdf(document, tmp_path / "book.pdf")


def test_without_a_built_book_it_says_what_to_run(tmp_path):
    with pytest.raises(click.ClickException, match="make book"):
        make_pdf.main.callback(site=tmp_path, pdf=tmp_path / "book.pdf")
