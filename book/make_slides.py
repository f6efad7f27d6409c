"""Make slides from the chapters, in _build/slides: python book/make_slides.py, or make slides.

A chapter becomes one page: its question; for each section the first paragraph with its formulas or table, and each
figure with what to see in it; its questions, whose answers open; and what is now known. Arrow keys and the space bar
turn the slides. The browser prints them as a PDF, a slide on each page.
"""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import nbformat
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

ROOT = Path(__file__).resolve().parents[1]
VENDOR = ROOT / "book" / "static" / "vendor" / "mathjax"
LEFT_OUT = ("Set-up", "Exercises")
WORDS = 70  # of a paragraph, at most, when it has more than one sentence
SEE = "**What you should see:**"

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="slides.css">
<script>
MathJax = {{options: {{enableMenu: false}}, tex: {{tags: "none", packages: {{"[-]": ["autoload", "require"]}}}}}};
</script>
<script defer src="mathjax/tex-chtml.js"></script>
<script defer src="slides.js"></script>
<main>
{slides}
</main>
</html>
"""


class Picture(NamedTuple):
    """A figure of a chapter."""

    png: str  # in base64
    alt: str


class Section(NamedTuple):
    """A heading, and the paragraphs and figures under it."""

    heading: str
    blocks: list[str | Picture]


def sections(notebook: nbformat.NotebookNode) -> Iterator[Section]:
    """Yield the sections of a chapter, from its title on."""
    section = Section("", [])
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for block in re.split(r"\n\s*\n", cell.source.strip()):
                if heading := re.match(r"#+ (.+)", block):
                    yield section
                    section = Section(heading[1], [])
                else:
                    section.blocks.append(block)
        for output in cell.get("outputs", ()):
            if png := output.get("data", {}).get("image/png"):
                section.blocks.append(Picture(png, output.metadata.get("image/png", {}).get("alt", "")))
    yield section


def shortened(text: str) -> str:
    """Return the first sentences of a paragraph, as many as a slide has room for."""
    sentences = re.split(r"(?<=[.!?:])\s+(?=[A-Z`$*(])", text)
    kept = sentences[:1]
    for sentence in sentences[1:]:
        if len(" ".join([*kept, sentence]).split()) > WORDS:
            break
        kept.append(sentence)
    return " ".join(kept)


def finished(text: str, announces: bool) -> str:
    """Return a paragraph without an end that announces what is not shown."""
    if announces or text.endswith((".", "!", "?", ")")):
        return text
    *whole, last = re.split(r"(?<=[.!?])\s+", text)
    return " ".join(whole) if whole else last.rstrip(":,") + "."


def formula(text: str, options: dict) -> str:
    """Write a formula for MathJax."""
    opening, closing = (r"\[", r"\]") if options["display_mode"] else (r"\(", r"\)")
    return opening + html.escape(text, quote=False) + closing


def rendered(text: str) -> str:
    """Write Markdown as HTML, with the text of links in place of links."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return MarkdownIt("commonmark").enable("table").use(dollarmath_plugin, renderer=formula).render(text)


def is_prose(block: str | Picture) -> bool:
    """Tell whether a block is a paragraph that can open a slide."""
    return isinstance(block, str) and not block.startswith((SEE, "$$", "|", "-", "```", "<"))


def text_slide(section: Section) -> str:
    """Write the first paragraph of a section with the formulas or list after it, and a table if there is no figure."""
    prose = [i for i, block in enumerate(section.blocks) if is_prose(block)][:1]
    if not prose:
        return ""
    first = prose[0]
    texts = [block for block in section.blocks[first + 1 : first + 6] if isinstance(block, str)]
    shown = [block for block in texts if block.startswith("$$")][:2]
    if texts[:1] and texts[0].startswith("- ") and len(texts[0].split()) < WORDS:
        shown.insert(0, texts[0])
    parts = [finished(shortened(section.blocks[first]), announces=bool(shown)), *shown]
    if not any(isinstance(block, Picture) for block in section.blocks):
        parts += [block for block in texts if block.startswith("|") and len(block.splitlines()) < 9][:1]
        seen = [block for block in section.blocks if isinstance(block, str) and block.startswith(SEE)]
        parts += [finished(shortened(block), announces=False) for block in seen[:1] if len(parts) < 3]
    return slide(section.heading, "".join(map(rendered, parts)))


def picture_slides(section: Section) -> Iterator[str]:
    """Yield a slide for each figure, with what one should see in it."""
    for i, block in enumerate(section.blocks):
        if isinstance(block, Picture):
            after = [x for x in section.blocks[i + 1 : i + 4] if isinstance(x, str) and x.startswith(SEE)]
            said = rendered(finished(shortened(after[0]), announces=False)) if after else ""
            image = f'<img src="data:image/png;base64,{block.png}" alt="{html.escape(block.alt)}">'
            yield slide(section.heading, f"<figure>{image}</figure>{said}")


def slide(heading: str, body: str, kind: str = "") -> str:
    """Write a slide."""
    title = rendered(heading).strip().removeprefix("<p>").removesuffix("</p>")
    return f"<section{f' class={kind}' if kind else ''}>\n<h2>{title}</h2>\n{body}\n</section>"


def chapter(notebook: nbformat.NotebookNode) -> tuple[str, list[str]]:
    """Return the title of a chapter and its slides."""
    _, first, *others = sections(notebook)
    question = next((x for x in first.blocks if isinstance(x, str) and x.startswith("**The question.**")), "")
    slides = [slide(first.heading, rendered(question), "title")]
    for section in others:
        if section.heading == "Questions":
            asked = [block for block in section.blocks if isinstance(block, str) and block.startswith("**Question")]
            answers = [block for block in section.blocks if isinstance(block, str) and block.startswith("<details")]
            slides += [slide("Question", rendered(a) + b) for a, b in zip(asked, answers, strict=True)]
        elif section.heading == "Summary":
            known = next(block for block in section.blocks if isinstance(block, str) and block.startswith("- "))
            slides.append(slide("What is now known", rendered(known)))
        elif section.heading not in LEFT_OUT:
            slides += [text for text in (text_slide(section), *picture_slides(section)) if text]
    return first.heading, slides


@click.command()
@click.option("--to", type=click.Path(path_type=Path), default=ROOT / "_build" / "slides", help="folder of the slides")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(to: Path, paths: tuple[Path, ...]) -> None:
    """Make slides from the chapters PATHS, by default from all."""
    to.mkdir(parents=True, exist_ok=True)
    for name in ("slides.css", "slides.js"):
        shutil.copyfile(ROOT / "book" / "slides" / name, to / name)
    shutil.copytree(VENDOR, to / "mathjax", dirs_exist_ok=True)
    links = []
    for path in paths or sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        title, slides = chapter(nbformat.read(path, as_version=4))
        number = int(path.stem[:2])
        page = PAGE.format(title=html.escape(title), slides="\n".join(slides))
        (to / f"{path.stem}.html").write_text(page, encoding="utf-8")
        links.append(f'<li><a href="{path.stem}.html">{number}. {html.escape(title)}</a>, {len(slides)} slides</li>')
    body = f"<ul>{''.join(links)}</ul>"
    (to / "index.html").write_text(PAGE.format(title="Slides", slides=slide("Slides", body)), encoding="utf-8")
    click.echo(f"{len(links)} chapters: {to / 'index.html'}")


if __name__ == "__main__":
    main()
