"""Text that the results pages share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.measures.statistics import TESTED
from ktnet_lite.reporting.tables import Table
from ktnet_lite.text import count, enumerated

Tables = Mapping[str, Sequence[Table]]  # grid -> its tables, one per data set

CHIEF = {metrics[0] for metrics in TESTED.values()}  # the metrics that sentences report
NOTHING = "No result files yet; `ktnet-lite reproduce 1 --data synthetic` makes some."


def unbroken(text: str) -> str:
    """Keep intervals, differences, p-values and numbers of seeds on one line, by spaces that do not break."""
    text = re.sub(r"\[([-+]?[\d.]+), ([-+]?[\d.]+)\]", "[\\1,\N{NO-BREAK SPACE}\\2]", text)
    text = re.sub(r"\b(MAE|Acc2?) (?=[-+]\d)", "\\1\N{NO-BREAK SPACE}", text)
    text = re.sub(r"\b(\d+) (seeds?)\b", "\\1\N{NO-BREAK SPACE}\\2", text)
    return text.replace("p = ", "p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")


def short(metric: str) -> str:
    """Name a metric without its convention."""
    return METRICS[metric].label.split(" (")[0]


def mean(values: Sequence[float]) -> str:
    """Write the mean of some numbers, such as those of several seeds."""
    return f"{np.mean(values):.3f}"


def command(grid: str, data: str = "synthetic") -> str:
    """Write the command that trains a grid on a data set."""
    return f"`ktnet-lite reproduce {grid.removeprefix('table_')} --data {data}`"


def table(caption: str, content: str) -> str:
    """Write the directive for a table in Markdown with a caption, a single line."""
    return f"~~~{{table}} {caption}\n{content}\n~~~"  # tildes: a caption may have backticks


def seeds(counts: Iterable[int]) -> str:
    """Say how many seeds rows have: "5 seeds", "2 to 5 seeds"."""
    known = sorted({number for number in counts if number})
    least = f"{known[0]} to " if len(known) > 1 else ""
    return least + count(known[-1], "seed") if known else "no seeds"


def better(metrics: Iterable[str]) -> str:
    """Say for a caption in which direction metrics are better."""
    names = list(metrics)
    low = [METRICS[name].label for name in names if not METRICS[name].higher_is_better]
    if not low:
        return "higher is better"
    return "lower is better" if len(low) == len(names) else f"{enumerated(low)}: lower is better, the others: higher"


def figure(name: str, alternative: str, caption: str) -> str:
    """Write the directive for a figure of the results."""
    path = f"/book/generated/results/{name}"
    return f":::{{figure}} {path}\n:alt: {alternative}\n:class: drawn\n:width: 100%\n\n{caption}\n:::"
