"""The equation ledger: ``book/ledger.yaml``, with the source of the code and tests that it names."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import nbformat
import yaml
from sphinx.errors import ExtensionError

from ktbook.generated import ROOT, write
from ktnet_lite.text import markdown

TEXTS = ("title", "formula", "words", "reading")
LISTS = ("code", "tests", "chapters")


class Source(NamedTuple):
    """The source of a function, class or method."""

    path: str  # relative to the repository's root
    lines: tuple[int, int]  # first and last
    text: str


def load() -> dict[int, dict[str, Any]]:
    """Read the ledger's entries, by equation number."""
    return yaml.safe_load((ROOT / "book" / "ledger.yaml").read_text(encoding="utf-8"))


@cache
def definition(path: str, name: str) -> Source:
    """Find a definition in a file by its name, ``Class.method`` for a method; LookupError if there is none."""
    if not (ROOT / path).is_file():
        raise LookupError(f"there is no {path}")
    text = (ROOT / path).read_text(encoding="utf-8")
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        children = [child for child in getattr(node, "body", ()) if getattr(child, "name", None) == part]
        if not children:
            raise LookupError(f"{path} has no {name}")
        node = children[-1]
    first = min(child.lineno for child in (node, *node.decorator_list))
    lines = text.splitlines()[first - 1 : node.end_lineno]
    return Source(path, (first, node.end_lineno), textwrap.dedent("\n".join(lines)))


def code(name: str) -> Source:
    """Find the source of a dotted name of the package."""
    module, _, inside = name.rpartition(".")
    while module and not ROOT.joinpath(*module.split(".")).with_suffix(".py").is_file():
        module, _, outer = module.rpartition(".")
        inside = f"{outer}.{inside}"
    if not module:
        raise LookupError(f"{name} is in no module")
    return definition(module.replace(".", "/") + ".py", inside)


def test(name: str) -> Source:
    """Find the source of a test, ``file::function``."""
    file, _, function = name.partition("::")
    return definition(f"tests/{file}", function)


@cache
def headings(notebook: str) -> list[str]:
    """List the headings of a notebook, in order."""
    path = ROOT / "notebooks" / notebook
    if not path.is_file():
        raise LookupError(f"there is no notebooks/{notebook}")
    cells = nbformat.read(path, as_version=4).cells
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return re.findall(r"^#+ (.+?)\s*$", prose, re.MULTILINE)


def chapter(entry: dict[str, str]) -> str:
    """Write a link to a heading of a notebook."""
    notebook, heading = entry["notebook"], entry["heading"]
    if heading not in headings(notebook):
        raise LookupError(f"notebooks/{notebook} has no heading {heading!r}")
    anchor = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
    return f"[chapter {int(notebook[:2])}, *{heading}*](../notebooks/{notebook}#{anchor})"


def problems(ledger: dict[int, dict[str, Any]]) -> Iterator[str]:
    """Yield what the ledger lacks, and each name in it that does not exist."""
    finders: dict[str, Callable] = {"code": code, "tests": test, "chapters": chapter}
    for number, entry in ledger.items():
        for kind in (*TEXTS, *LISTS):
            if not entry.get(kind):
                yield f"Eq. ({number}) has no {kind}"
        for kind in LISTS:
            for name in entry.get(kind) or ():
                try:
                    finders[kind](name)
                except LookupError as error:
                    yield f"Eq. ({number}): {error}"


def display(number: int, formula: str) -> str:
    """Write a display formula with the paper's number."""
    return f"$$\n{formula} \\tag{{{number}}}\n$$"


def equations(ledger: dict[int, dict[str, Any]]) -> str:
    """Write the formulas alone."""
    return "\n\n".join(display(number, entry["formula"]) for number, entry in ledger.items()) + "\n"


def dropdown(kind: str, name: str, source: Source, repository: str) -> str:
    """Write a closed box with a link to the source, and the source."""
    first, last = source.lines
    link = f"[`{source.path}`, lines {first} to {last}]({repository}/{source.path}#L{first}-L{last})"
    return f"::::{{dropdown}} {kind}: `{name}`\n{link}\n\n````python\n{source.text}\n````\n::::"


def page(ledger: dict[int, dict[str, Any]], repository: str) -> str:
    """Write the whole ledger; ``repository`` is the address of the root folder of the code."""
    rows = [("", "in the code", "tests", "chapter")]
    sections = []
    for number, entry in ledger.items():
        names = [name.removeprefix("ktnet_lite.") for name in entry["code"]]
        chapters = sorted({int(place["notebook"][:2]) for place in entry["chapters"]})
        rows.append(
            (
                f"[Eq. ({number})](#eq-{number}) {entry['title'].lower()}",
                ", ".join(f"`{name}`" for name in names),
                str(len(entry["tests"])),
                ", ".join(map(str, chapters)),
            )
        )
        sections += [
            f"(eq-{number})=\n## Eq. ({number}): {entry['title'].lower()}",
            display(number, entry["formula"]),
            entry["words"],
            entry["reading"],
            "Taught in " + "; ".join(chapter(place) for place in entry["chapters"]) + ".",
            *(dropdown("Code", name, code(name), repository) for name in entry["code"]),
            *(dropdown("Test", name.partition("::")[2], test(name), repository) for name in entry["tests"]),
        ]
    return "\n\n".join([markdown(rows), *sections]) + "\n"


def make(app: Any, config: Any) -> None:
    """Write the formulas and the ledger; a problem in the ledger fails the build."""
    ledger, theme = load(), config.html_theme_options
    if errors := list(problems(ledger)):
        raise ExtensionError("book/ledger.yaml: " + "; ".join(errors))
    write("equations.md", equations(ledger))
    write("ledger.md", page(ledger, f"{theme['repository_url']}/blob/{theme['repository_branch']}"))


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", make)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
