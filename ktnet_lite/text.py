"""Text for terminals and pages: tables, sizes, durations, lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tabulate import DataRow, TableFormat, tabulate

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
PIPES = TableFormat(None, None, None, None, DataRow("|", "|", "|"), DataRow("|", "|", "|"), 1, None)


def printable(text: str) -> str:
    """Write line breaks and other control characters of a text from data as their escapes."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def plain(name: str) -> str:
    """Write a name so that Markdown shows it as it is."""
    return re.sub(r"[\\`*$<\[]", r"\\\g<0>", printable(name))


def file_name(name: str) -> str:
    """Make a file's name, without its ending, from any name."""
    return re.sub(r"[^\w.-]+", "-", name)[:80]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows, the first of which is the heading, as plain text in columns two spaces apart."""
    laid_out = tabulate([map(printable, row) for row in rows], tablefmt="plain", disable_numparse=True)
    return "\n".join(line.rstrip() for line in laid_out.splitlines())


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows, the first of which is the heading, as a Markdown table that also lines up as plain text."""
    cells = [[re.sub(r"(?<!\\)\|", r"\|", printable(cell)) for cell in row] for row in rows]
    head, *body = tabulate(cells, tablefmt=PIPES, disable_numparse=True).splitlines()
    rule = re.sub(r"[^|]", "-", head.replace(r"\|", "--"))
    return "\n".join([head, rule, *body])


def listed(text: str) -> list[str]:
    """Split "a,b,c" into names, each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def enumerated(names: Iterable[str]) -> str:
    """Join names as a sentence does: "a, b and c"."""
    *most, last = list(names) or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


def count(number: int, noun: str) -> str:
    """Say how many: "1 seed", "5 seeds"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def size(number: float) -> str:
    """Write a number of bytes with three digits."""
    for unit in ("B", "KB", "MB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def duration(seconds: float) -> str:
    """Write a time span with at most two units."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
