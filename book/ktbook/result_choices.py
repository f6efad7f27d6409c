"""What other readings of the paper do, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from ktbook.result_text import CHIEF, command
from ktnet_lite.measures.statistics import Difference
from ktnet_lite.reporting.compare import Comparison
from ktnet_lite.reporting.tables import Table
from ktnet_lite.text import enumerated, markdown


class Choice(NamedTuple):
    """Readings of the paper that a grid compares."""

    grid: str
    default: str
    others: tuple[str, ...]


CHOICES = {
    "treatment": Choice("treatments", "teacher", ("joint", "random", "naive")),
    "lambda": Choice("lambda", "1", ("0", "0.1", "10")),
    "task_loss": Choice("task_loss", "Ours, cross entropy", ("Ours, L1",)),
    "consistency": Choice("table_5", "L2", ("L1",)),
    "concat": Choice("concat", "time", ("features",)),
    "targets": Choice("table_4", "Ours", ("Language",)),
    "pooling": Choice("pooling", "Ours, mean", ("Ours, last",)),
}


def turned(found: Comparison) -> Comparison:
    """The same comparison from the other side."""
    mean, low, high, runs, p = found.difference
    difference = Difference(-mean, -high, -low, runs, p)
    return found._replace(ours=found.other, other=found.ours, difference=difference)


def effects(choice: Choice, table: Table) -> list[Comparison]:
    """Every other reading minus the default, by the chief metric."""
    found = []
    for comparison in table.comparisons:
        for its in (comparison, turned(comparison)):
            if its.metric in CHIEF and its.other == choice.default and its.ours in choice.others:
                found.append(its._replace(paper=None))
    return found


def chosen(choice: Choice, table: Table) -> str | None:
    """The reading of least MAE on the valid split, once all have been run."""
    runs = {row: table.results(row, table.columns[0]) for row in (choice.default, *choice.others)}
    if not all(runs.values()):
        return None
    valid = {row: statistics.fmean(run.metrics["valid"]["mae"] for run in group) for row, group in runs.items()}
    return min(valid, key=valid.get)


def measured(choice: Choice, tables: Sequence[Table]) -> str:
    """What the other readings do, data set by data set, and which one the valid split would choose."""
    rows = [("instead", "data", "difference of MAE [95%]", "p", "verdict")]
    lacking, best = [], {}
    for table in tables:
        its = effects(choice, table)
        for x in its:
            rows.append((x.ours, f"`{table.data}`", str(x.difference), f"{x.p:.3f}", x.verdict))
        if not its:
            lacking.append(f"on `{table.data}` ({command(choice.grid, table.data)})")
        if name := chosen(choice, table):
            best.setdefault(name, []).append(f"`{table.data}`")
    parts = [markdown(rows)] if len(rows) > 1 else []
    told = f"The default is “{choice.default}”."
    if best:
        told += (
            f" The valid split would choose {enumerated(f'“{x}” on {enumerated(data)}' for x, data in best.items())}."
        )
    if lacking:
        told += f" Not measured yet: {', '.join(lacking)}."
    return "\n\n".join([*parts, told]) + "\n"


def collapse(table: Table) -> str:
    """How much f_A varies on the valid split after the first and the last epoch, by treatment."""
    told = []
    for row in ("naive", "joint", "random", "teacher"):
        spreads = [[epoch["valid_audio_std"] for epoch in run.curves] for run in table.results(row, table.columns[0])]
        if spreads:
            first, last = (statistics.fmean(its[epoch] for its in spreads) for epoch in (0, -1))
            told.append(f"{first:.2f} to {last:.2f} with `{row}`")
    if not told:
        return f"Not measured yet: {command(table.grid.name, table.data)}."
    return f"On `{table.data}` the standard deviation of $f_A$, first epoch to last, goes from {', '.join(told)}."
