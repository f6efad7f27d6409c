"""The page on the paper: a figure of its pipeline with links into the course, and its tables as printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ktbook.generated import ROOT, write
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.reporting import paper
from ktnet_lite.text import markdown

ABOUT = {
    "I": "sentiment",
    "II": "sentiment",
    "III": "two emotions",
    "IV": "the target of cross-modal attention",
    "V": "the distance of Eq. (1)",
}


def pipeline() -> str:
    """Embed ``images/pipeline.svg`` in a page of book/, with links to the pages of the built site."""
    picture = (ROOT / "book" / "images" / "pipeline.svg").read_text(encoding="utf-8")
    picture = re.sub(r'href="\.\./\.\./(notebooks/\w+)\.ipynb', r'href="../\1.html', picture)
    return f'```{{raw}} html\n<div style="overflow-x: auto">\n{picture}</div>\n```\n'


def printed() -> dict[str, dict[str, Any]]:
    """Read the paper's tables with every number as printed (0.700, 0.71)."""
    path = Path(paper.__file__).with_suffix(".yaml")
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)


def heading(metric: str) -> str:
    """Name a metric's column, with an arrow in the better direction."""
    shown = METRICS[paper.CONVENTION.get(metric, metric)]
    return f"{shown.label.removesuffix(' (non-zero)')} {shown.arrow}"


def table(number: str, content: dict[str, Any]) -> str:
    """Write one of the paper's tables under a heading, one half below the other."""
    rows = [("", *map(heading, content["metrics"]))]
    for name, half in content.items():
        if isinstance(half, dict):
            rows.append((f"*{name}*", *[""] * len(content["metrics"])))
            rows += [(row.replace(" ", "\N{NO-BREAK SPACE}"), *numbers) for row, numbers in half.items()]
    title = f"### The paper's Table {number}: {content['data']}, {ABOUT[number]}"
    return f"(paper-table-{number.lower()})=\n{title}\n\n{markdown(rows)}"


def tables() -> str:
    """Write all of the paper's tables."""
    return "\n\n".join(table(number, content) for number, content in printed().items()) + "\n"


def make(*_: Any) -> None:
    """Write the figure and the tables."""
    write("pipeline.md", pipeline())
    write("paper_tables.md", tables())


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", make)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
