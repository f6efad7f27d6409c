"""A style of bibliography whose labels are what the text cites: "Liu and Zhan, 2024"."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from pybtex.database import Entry, parse_file
from pybtex.plugin import register_plugin
from pybtex.richtext import Text
from pybtex.style.formatting.plain import Style
from pybtex.style.labels import BaseLabelStyle
from pybtex.style.sorting.author_year_title import SortingStyle
from pybtex.style.template import Node, node
from sphinxcontrib.bibtex.plugin import register_plugin as register_reference_style
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle

ENTRIES = parse_file(str(Path(__file__).resolve().parents[1] / "references.bib")).entries


class AuthorYear(BaseLabelStyle):
    """Authors and year, with a letter where two entries, of any list, would have the same label."""

    def format_labels(self, entries: Iterable[Entry]) -> Iterator[str]:
        alike = defaultdict(list)
        for entry in SortingStyle().sort(ENTRIES.values()):
            alike[label(entry)].append(entry.key)
        for entry in entries:
            keys = alike[label(entry)]
            yield label(entry) + (ascii_lowercase[keys.index(entry.key)] if len(keys) > 1 else "")


def label(entry: Entry) -> str:
    """As the text cites it: one author, two, or the first of several, and the year."""
    names = [str(Text.from_latex(" ".join((*p.prelast_names, *p.last_names)))) for p in entry.persons["author"]]
    names = names if len(names) < 3 else [f"{names[0]} et al."]
    return f"{' and '.join(names)}, {entry.fields['year']}"


class NamedStyle(Style):
    default_label_style = AuthorYear


@node
def lettered(children: list[Node], data: dict[str, Any]) -> Text:
    """A citation in the text, its year that of the label."""
    (citation,), entry = children, data["entry"]
    fields = {**entry.fields, "year": data["formatted_entry"].label.rpartition(", ")[2]}
    return citation.format_data({**data, "entry": Entry(entry.type, fields, entry.persons)})


class NamedReferenceStyle(AuthorYearReferenceStyle):
    def inner(self, role_name: str) -> Node:
        return lettered[super().inner(role_name)]


def setup(app: Any) -> dict[str, bool]:
    register_plugin("pybtex.style.formatting", "named", NamedStyle)
    register_reference_style("sphinxcontrib.bibtex.style.referencing", "named", NamedReferenceStyle)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
