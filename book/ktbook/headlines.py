"""The landing page's three lines, written by hand in ``book/headlines.yaml``, and the comparisons behind each."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ktbook import generated
from ktbook.result_text import Tables
from ktnet_lite.experiments import yaml_file
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.reporting.compare import Comparison
from ktnet_lite.text import count

PATH = generated.ROOT / "book" / "headlines.yaml"


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A comparison that a line rests on, and the verdict that it must have."""

    grid: str
    data: str
    column: str
    ours: str
    other: str
    verdict: str  # better, worse or no difference detected: of ours, whatever the paper says
    metric: str = "mae"


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A headline. ``{0}`` in its text stands for the difference of its first check."""

    title: str
    text: str
    checks: list[Check] = []
    not_run: list[str] = []  # data sets without any result


class Seen(NamedTuple):
    """What the results say about a check."""

    check: Check
    comparison: Comparison | None  # without the paper's sign; None where it has not been run

    @property
    def agrees(self) -> bool:
        """Whether the comparison has the verdict that the check expects."""
        return self.comparison is not None and self.comparison.verdict == self.check.verdict


def load() -> list[Line]:
    """Read the headlines."""
    return msgspec.convert(yaml_file.read(PATH), list[Line])


def seen(line: Line, tables: Tables) -> list[Seen]:
    """Look up what the results say about each check of a line."""
    return [
        Seen(
            check,
            next(
                (
                    x._replace(paper=None)
                    for table in tables[check.grid]
                    for x in table.comparisons
                    if (table.data, x.column, x.ours, x.other, x.metric)
                    == (check.data, check.column, check.ours, check.other, check.metric)
                ),
                None,
            ),
        )
        for check in line.checks
    ]


def of_the_paper(tables: Tables) -> list[str]:
    """List the paper's own data sets: the first of each grid that stands for one of its tables."""
    return list(dict.fromkeys(group[0].data for group in tables.values() if group[0].grid.paper))


def markdown(tables: Tables) -> str:
    """Write the headlines with the numbers that they rest on, as far as they have been run."""
    parts = []
    for line in load():
        numbers = [x.comparison for x in seen(line, tables)]
        shown = [
            f"{METRICS[x.metric].label} {x.difference}, {count(x.difference.runs, 'seed')}" if x else "not run yet"
            for x in numbers
        ]
        parts.append(f"**{line.title}** {line.text.format(*shown)}")
    return "\n\n".join(parts) + "\n"
