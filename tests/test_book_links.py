"""In the built book every link leads somewhere, nothing is loaded from elsewhere, and pictures have a text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from lxml import html

ROOT = Path(__file__).resolve().parents[1]
ADDRESSES = ("href", "src", "data", "poster", "xlink:href")
LOADED = {"img", "script", "iframe", "source", "video", "audio", "track", "object", "embed", "input", "image", "use"}
LOADED_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect", "dns-prefetch", "manifest"}
DROPS = re.compile(r"\.(png|jpe?g|gif|svg|webp)$", re.IGNORECASE)


class Site:
    """A folder of pages, each read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        found = [path for path in self.folder.rglob("*.html") if "_static" not in path.parts]
        utf8 = html.HTMLParser(encoding="utf-8")
        self.pages = {path: html.parse(path, utf8).getroot() for path in found}
        self.anchors = {path: set(page.xpath("//@id | //@name")) for path, page in self.pages.items()}

    def addresses(self) -> Iterator[tuple[Path, html.HtmlElement, str]]:
        """Each address in each page: the page, the tag, and the address."""
        for path, page in self.pages.items():
            for tag in page.iter("*"):
                for key in ADDRESSES:
                    if key in tag.attrib:
                        yield path, tag, tag.get(key)
                for candidate in filter(None, (part.strip() for part in tag.get("srcset", "").split(","))):
                    yield path, tag, candidate.split()[0]

    def dead_links(self) -> list[str]:
        """Addresses within the site that lead to no file, or to no place in it."""
        dead = []
        for path, _, address in self.addresses():
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or address in ("", "#"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            inside = target.is_relative_to(self.folder) and target.is_file()
            if not inside or (parts.fragment and unquote(parts.fragment) not in self.anchors.get(target, ())):
                dead.append(f"{path.relative_to(self.folder).as_posix()}: {address}")
        return dead

    def loads_from_elsewhere(self) -> list[str]:
        """What a browser would ask another site for while it shows a page."""
        found = []
        for path, tag, address in self.addresses():
            loaded = tag.tag in LOADED or (tag.tag == "link" and LOADED_LINKS & set(tag.get("rel", "").split()))
            if loaded and urlsplit(address).netloc:
                found.append(f"{path.relative_to(self.folder).as_posix()}: {address}")
        for path in self.folder.rglob("*.css"):
            style = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
            for address in re.findall(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')]+)", style):
                found.append(f"{path.relative_to(self.folder).as_posix()}: {address}")
        return found

    def unclear_pictures(self) -> list[str]:
        """Pictures without a text that says what they show: none, a file's name, or hardly a word.

        An empty text marks a picture as decoration, which needs ``role="presentation"`` or ``aria-hidden`` too.
        """
        found = []
        for path, page in self.pages.items():
            for tag in page.iter("img", "object", "iframe", "canvas"):
                text = " ".join((tag.get("alt") or tag.get("aria-label") or tag.get("title") or "").split())
                decoration = tag.get("role") == "presentation" or tag.get("aria-hidden") == "true"
                if not decoration and (DROPS.search(text) or len(text.split()) < 2):
                    shown = html.tostring(tag, encoding="unicode")[:120]
                    found.append(f"{path.relative_to(self.folder).as_posix()}: {shown}")
        return found


@pytest.fixture(scope="module")
def built(site: Path) -> Site:
    return Site(site)


def test_every_link_within_the_book_leads_somewhere(built):
    assert built.dead_links() == []
    assert sum(1 for _ in built.addresses()) > 1000


def test_nothing_is_loaded_from_another_site(built):
    assert built.loads_from_elsewhere() == []


def test_every_picture_says_what_it_shows(built):
    assert built.unclear_pictures() == []
    assert sum(1 for page in built.pages.values() for _ in page.iter("img")) > 50


def test_a_notebook_leads_to_colab_by_a_badge_that_the_book_holds(built):
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        page = built.pages[built.folder / "notebooks" / f"{path.stem}.html"]
        (badge,) = page.xpath("//img[@alt='Open in Colab']")
        assert badge.get("src") == "../_images/colab-badge.svg"
        assert badge.getparent().get("href").endswith(f"/notebooks/{path.name}")


@pytest.fixture
def page(tmp_path):
    """A function that makes a site of one page from what stands in its body."""

    def make(body: str, style: str = "") -> Site:
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "other.html").write_text('<h1 id="top">Other</h1>', encoding="utf-8")
        (tmp_path / "style.css").write_text(style, encoding="utf-8")
        (tmp_path / "index.html").write_text(f'<body id="here">{body}</body>', encoding="utf-8")
        return Site(tmp_path)

    return make


@pytest.mark.parametrize(
    "good",
    [
        "#here",
        "sub/other.html#top",
        "sub/other.html",
        "style.css?v=1",
        "https://example.org/x",
        "mailto:a@example.org",
        "#",
    ],
)
def test_a_link_that_leads_somewhere_passes(good, page):
    assert page(f'<a href="{good}">there</a>').dead_links() == []


@pytest.mark.parametrize(
    "bad", ["#nowhere", "sub/other.html#here", "sub/none.html", "../outside.html", "/index.html", "other.md"]
)
def test_a_dead_link_is_found(bad, page):
    assert page(f'<a href="{bad}">there</a>').dead_links() == [f"index.html: {bad}"]


@pytest.mark.parametrize(
    "body",
    [
        '<img src="https://example.org/a.png">',
        '<script src="//cdn.example.org/a.js"></script>',
        '<link rel="stylesheet" href="https://example.org/a.css">',
        '<link rel="preconnect" href="https://example.org">',
        '<img srcset="style.css 1x, https://example.org/a.png 2x">',
        '<iframe src="https://example.org"></iframe>',
    ],
)
def test_a_thing_loaded_from_elsewhere_is_found(body, page):
    (found,) = page(body).loads_from_elsewhere()
    assert "example.org" in found


def test_a_style_that_loads_from_elsewhere_is_found_and_a_link_to_elsewhere_is_none(page):
    link = '<a href="https://example.org">there</a><link rel="canonical" href="https://example.org">'
    built = page(link, style="/* url(https://no.example) */ @font-face { src: url('https://example.org/a.woff') }")
    assert built.loads_from_elsewhere() == ["style.css: https://example.org/a.woff"]


@pytest.mark.parametrize(
    ("tag", "unclear"),
    [
        ('<img src="style.css">', True),
        ('<img src="style.css" alt="">', True),
        ('<img src="style.css" alt="picture">', True),
        ('<img src="style.css" alt="../_images/some plot.png">', True),
        ('<object data="style.css"></object>', True),
        ('<img src="style.css" alt="Loss falls from 2 to 1 in ten epochs">', False),
        ('<img src="style.css" alt="" role="presentation">', False),
        ('<object data="style.css" aria-label="Words and face make a score"></object>', False),
    ],
)
def test_a_picture_without_a_useful_text_is_found(tag, unclear, page):
    assert bool(page(tag).unclear_pictures()) == unclear


def test_what_others_made_is_as_it_came():
    lists = list((ROOT / "book" / "static" / "vendor").glob("*/SHA256SUMS"))
    assert ROOT / "book" / "static" / "vendor" / "mathjax" / "SHA256SUMS" in lists
    for listed in lists:
        entries = [line.split(maxsplit=1) for line in listed.read_text(encoding="utf-8").splitlines()]
        files = {path.relative_to(listed.parent).as_posix() for path in listed.parent.rglob("*") if path.is_file()}
        assert {name for _, name in entries} == files - {"SHA256SUMS", "README.md"}
        for checksum, name in entries:
            assert hashlib.sha256((listed.parent / name).read_bytes()).hexdigest() == checksum, name
