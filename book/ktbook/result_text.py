"""Text that the results pages share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.measures.statistics import TESTED
from ktnet_lite.reporting.tables import Table

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


def figure(name: str, alternative: str, caption: str) -> str:
    """Write the directive for a figure of the results."""
    path = f"/book/generated/results/{name}"
    return f":::{{figure}} {path}\n:alt: {alternative}\n:class: drawn\n:width: 100%\n\n{caption}\n:::"
