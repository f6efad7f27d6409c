"""The book as one PDF: the pages that `make book` built, in their order, printed by Chromium.

    python book/make_pdf.py             # or: make pdf

Solutions of exercises, folded on the screen, stand at the end of their chapter. Links between pages lead to pages of
the PDF. It needs Chromium or Chrome, and the packages `playwright` and `pikepdf`; nothing is downloaded.
"""

from __future__ import annotations

import shutil
from html import escape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pikepdf
import yaml
from bs4 import BeautifulSoup, Tag
from playwright.sync_api import Browser, Error, Playwright, sync_playwright

from ktnet_lite import __version__

ROOT = Path(__file__).resolve().parents[1]
STYLE = ROOT / "book" / "print.css"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SCREEN_ONLY = "script, style, button, input, select, canvas, iframe, dialog, summary, .headerlink"
FOOTER = '<div style="width: 100%; font-size: 8pt; text-align: center"><span class="pageNumber"></span></div>'
READY = """async () => {
    await MathJax.startup.promise;
    await document.fonts.ready;
    await Promise.all([...document.images].map((image) => image.decode()));
}"""


def open_browser(playwright: Playwright) -> Browser:
    """Chromium: the system's where there is one, else Playwright's own."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        return playwright.chromium.launch(executable_path=path, args=["--disable-background-networking"])
    except Error as error:
        hint = (
            "Chromium did not start. Install it (on Debian: apt install chromium), or run: playwright install chromium"
        )
        raise click.ClickException(f"{hint}\n{error}") from None


def parsed(text: str) -> BeautifulSoup:
    return BeautifulSoup(text, "html.parser")


def anchor(page: Path, name: str = "") -> str:
    """The name that a place in a page of the site has in the one document."""
    return "--".join(filter(None, [page.with_suffix("").as_posix().replace("/", "-"), name]))


class Document:
    """One document from the pages of a built site."""

    def __init__(self, site: Path) -> None:
        self.site = site.resolve()
        first = Path(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["root"] + ".html")
        home = parsed((self.site / first).read_text(encoding="utf-8"))
        self.parts: list[tuple[str, list[Path]]] = [("", [first])]
        for item in home.select("nav.bd-links p.caption, nav.bd-links a.reference.internal"):
            if item.name == "p":
                self.parts.append((item.get_text(strip=True), []))
            elif item["href"] != "#":
                self.parts[-1][1].append(self.file(first, item["href"]).relative_to(self.site))
        names = [page for _, pages in self.parts for page in pages]
        self.pages = {page: parsed((self.site / page).read_text(encoding="utf-8")) for page in names}
        self.styles = [self.file(first, link["href"]) for link in home.select("link[rel=stylesheet]")]
        self.chapters = {page: self.chapter(page) for page in self.pages}

    def file(self, page: Path, address: str) -> Path:
        """The file that an address in a page names."""
        return (self.site / page.parent / unquote(urlsplit(address).path)).resolve()

    def chapter(self, page: Path) -> Tag:
        """A page's article, to stand among others: places renamed, links turned, nothing folded."""
        article = self.pages[page].select_one("article.bd-article")
        for answer in article.select("details.answer"):  # the page for teachers says which is right
            answer.name = "li"
            answer.p.decompose()
            answer.summary.unwrap()
        for tag in article.select(SCREEN_ONLY):
            tag.decompose()
        if solutions := [cell.extract() for cell in article.select("div.cell.tag_hide-cell")]:
            section = parsed("<section><h2>Solutions</h2></section>").section
            section.extend(solutions)
            article.append(section)
        for details in article.select("details"):
            details.name = "div"
        for tag in article.find_all(True):
            for key, value in list(tag.attrs.items()):
                if key in ("id", "name", "for", "aria-labelledby", "aria-describedby"):
                    tag[key] = anchor(page, value)
                elif key == "src" or (tag.name, key) == ("link", "href"):
                    tag[key] = self.file(page, value).as_uri()
                elif key in ("href", "xlink:href"):
                    self.turn(tag, key, page)
                elif "url(#" in value:
                    tag[key] = value.replace("url(#", f"url(#{anchor(page)}--")
        article["id"] = anchor(page)
        return article

    def turn(self, tag: Tag, key: str, page: Path) -> None:
        """Make a link to a page of the site one within the document; one to another of its files is none on paper."""
        parts = urlsplit(tag[key])
        if parts.scheme or parts.netloc:
            return
        target = self.file(page, tag[key]).relative_to(self.site) if parts.path else page
        if target in self.pages:
            tag[key] = "#" + anchor(target, parts.fragment)
        else:
            del tag[key]

    def math(self) -> str:
        """What sets the formulas, as a page that has some loads it."""
        for page, soup in self.pages.items():
            for script in soup.select("head script[src*=mathjax]"):
                settings = script.find_previous_sibling("script", string=lambda text: text and "window.MathJax" in text)
                return f'{settings}<script defer src="{self.file(page, script["src"]).as_uri()}"></script>'
        raise click.ClickException("no page of the book has a formula")

    def contents(self, numbers: dict[str, int]) -> str:
        """The table of contents; ``numbers`` are pages of the PDF, by the anchor of the chapter that begins there."""
        text = ""
        for caption, pages in self.parts:
            text += f"<h2>{escape(caption)}</h2>" if caption else ""
            for page in pages:
                title, name = self.chapters[page].select_one("h1").get_text(), anchor(page)
                text += f'<p><a href="#{name}">{escape(title)}<span>{numbers.get(name, "")}</span></a></p>'
        return text

    def text(self, numbers: dict[str, int]) -> str:
        """The document."""
        config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
        title, address = escape(config["title"]), config["repository"]["url"]
        return f"""<!DOCTYPE html>
<html lang="en" data-theme="light" data-mode="light">
<head>
<meta charset="utf-8">
<title>{title}</title>
{"".join(f'<link rel="stylesheet" href="{style.as_uri()}">' for style in [*self.styles, STYLE])}
{self.math()}
</head>
<body>
<div class="cover">
<h1>{title}</h1>
<p>{escape(config["author"])}</p>
<p>Version {__version__}. <a href="{address}">{address}</a></p>
<p>{config["html"]["extra_footer"]}</p>
</div>
<nav class="book-contents"><h1>Contents</h1>{self.contents(numbers)}</nav>
<main>{"".join(map(str, self.chapters.values()))}</main>
</body>
</html>
"""


def print_pdf(document: Document, pdf: Path) -> None:
    """Print twice: where chapters begin, known after the first time, stands in the contents the second time."""
    source = pdf.with_suffix(".html")
    with sync_playwright() as playwright:
        browser = open_browser(playwright)
        numbers: dict[str, int] = {}
        for _ in range(2):
            source.write_text(document.text(numbers), encoding="utf-8")
            page = browser.new_page()
            page.goto(source.as_uri())
            page.evaluate(READY)
            page.pdf(
                path=pdf,
                format="A4",
                margin={"top": "18mm", "bottom": "18mm", "left": "20mm", "right": "20mm"},
                print_background=True,
                display_header_footer=True,
                header_template="<span></span>",
                footer_template=FOOTER,
                outline=True,
                tagged=True,
            )
            page.close()
            numbers = finish(pdf, document)
        browser.close()
    source.unlink()


def finish(pdf: Path, document: Document) -> dict[str, int]:
    """Pack the file; the page on which each chapter begins, counted from 1."""
    with pikepdf.open(pdf, allow_overwriting_input=True) as file:
        file.save(object_stream_mode=pikepdf.ObjectStreamMode.generate)
        places = file.Root.Dests
        return {name: pikepdf.Page(places[f"/{name}"][0]).index + 1 for name in map(anchor, document.pages)}


@click.command()
@click.option("--site", default=ROOT / "_build" / "html", type=click.Path(path_type=Path), help="the built book")
@click.option("--pdf", default=ROOT / "_build" / "pdf" / "ktnet-lite.pdf", type=click.Path(path_type=Path))
def main(site: Path, pdf: Path) -> None:
    """Print the built book as one PDF."""
    if not (site / "index.html").is_file():
        raise click.ClickException(f"there is no built book in {site}; run: make book")
    pdf.parent.mkdir(parents=True, exist_ok=True)
    print_pdf(Document(site), pdf)
    with pikepdf.open(pdf) as file:
        click.echo(f"{pdf}: {len(file.pages)} pages, {pdf.stat().st_size / 2**20:.1f} MB")


if __name__ == "__main__":
    main()
