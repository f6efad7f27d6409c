"""A bibliography style whose labels are the citations of the text: "Liu and Zhan, 2024"."""

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
    """Labels of authors and year; a letter tells entries apart, in any list, that share a label."""

    def format_labels(self, entries: Iterable[Entry]) -> Iterator[str]:
        sharing = defaultdict(list)
        for entry in SortingStyle().sort(ENTRIES.values()):
            sharing[label(entry)].append(entry.key)
        for entry in entries:
            keys = sharing[label(entry)]
            yield label(entry) + (ascii_lowercase[keys.index(entry.key)] if len(keys) > 1 else "")


def label(entry: Entry) -> str:
    """Name an entry as the text cites it: one or two authors, or the first of several, and the year."""
    names = [str(Text.from_latex(" ".join((*p.prelast_names, *p.last_names)))) for p in entry.persons["author"]]
    names = names if len(names) < 3 else [f"{names[0]} et al."]
    return f"{' and '.join(names)}, {entry.fields['year']}"


class NamedStyle(Style):
    """The style of the lists: pybtex's plain style with :class:`AuthorYear` labels."""

    default_label_style = AuthorYear


@node
def lettered(children: list[Node], data: dict[str, Any]) -> Text:
    """Format a citation in the text, with the year and the letter of its label."""
    (citation,), entry = children, data["entry"]
    fields = {**entry.fields, "year": data["formatted_entry"].label.rpartition(", ")[2]}
    return citation.format_data({**data, "entry": Entry(entry.type, fields, entry.persons)})


class NamedReferenceStyle(AuthorYearReferenceStyle):
    """The style of citations: authors and year, the year as in the label."""

    def inner(self, role_name: str) -> Node:
        return lettered[super().inner(role_name)]


def setup(app: Any) -> dict[str, bool]:
    register_plugin("pybtex.style.formatting", "named", NamedStyle)
    register_reference_style("sphinxcontrib.bibtex.style.referencing", "named", NamedReferenceStyle)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
