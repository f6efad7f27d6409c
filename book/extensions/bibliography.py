"""A style of bibliography whose labels are what the text cites: "Liu and Zhan, 2024"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from string import ascii_lowercase
from typing import Any

from pybtex.database import Entry
from pybtex.plugin import register_plugin
from pybtex.richtext import Text
from pybtex.style.formatting.plain import Style
from pybtex.style.labels import BaseLabelStyle


class AuthorYear(BaseLabelStyle):
    """Authors and year, with a letter where two entries of a list would have the same label."""

    def format_labels(self, entries: Iterable[Entry]) -> Iterator[str]:
        labels = [label(entry) for entry in entries]
        many, seen = Counter(labels), Counter()
        for text in labels:
            yield text + (ascii_lowercase[seen[text]] if many[text] > 1 else "")
            seen[text] += 1


def label(entry: Entry) -> str:
    """As the text cites it: one author, two, or the first of several, and the year."""
    names = [str(Text.from_latex(" ".join((*p.prelast_names, *p.last_names)))) for p in entry.persons["author"]]
    names = names if len(names) < 3 else [f"{names[0]} et al."]
    return f"{' and '.join(names)}, {entry.fields['year']}"


class NamedStyle(Style):
    default_label_style = AuthorYear


def setup(app: Any) -> dict[str, bool]:
    register_plugin("pybtex.style.formatting", "named", NamedStyle)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
