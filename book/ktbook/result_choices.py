"""What the grids show about the other readings of the paper, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from ktbook.result_text import CHIEF, command
from ktbook.result_text import table as captioned
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
    "base": Choice(
        "base",
        "Defaults",
        (
            "Kernel 1",
            "Three layers",
            "Eight heads",
            "Cross entropy",
            "Batch of 24",
            "Last step",
            "The paper's settings",
        ),
    ),
    "target": Choice(
        "transfer", "Teacher's features", ("Teacher's features, per clip", "Teacher's view", "Descriptors")
    ),
    "treatment": Choice("treatments", "teacher", ("joint", "random", "naive")),
    "lambda": Choice("lambda", "1", ("0", "0.1", "10")),
    "task_loss": Choice("task_loss", "Ours, cross entropy", ("Ours, L1",)),
    "consistency": Choice("table_5", "L2", ("L1",)),
    "concat": Choice("concat", "time", ("features",)),
    "targets": Choice("table_4", "Ours", ("Language",)),
    "pooling": Choice("pooling", "Ours, mean", ("Ours, last",)),
}


def swapped(comparison: Comparison) -> Comparison:
    """Return the comparison with its two rows swapped."""
    mean, low, high, runs, p = comparison.difference
    difference = Difference(-mean, -high, -low, runs, p)
    return comparison._replace(ours=comparison.other, other=comparison.ours, difference=difference)


def effects(choice: Choice, table: Table) -> list[Comparison]:
    """List the differences of every other reading from the default, in the chief metric."""
    return [
        side._replace(paper=None)
        for comparison in table.comparisons
        for side in (comparison, swapped(comparison))
        if side.metric in CHIEF and side.other == choice.default and side.ours in choice.others
    ]


def chosen(choice: Choice, table: Table) -> str | None:
    """Choose the reading with the lowest MAE on the validation set; None unless all readings have been run."""
    runs = {row: table.results(row, table.columns[0]) for row in (choice.default, *choice.others)}
    if not all(runs.values()):
        return None
    valid = {row: statistics.fmean(run.metrics["valid"]["mae"] for run in group) for row, group in runs.items()}
    return min(valid, key=valid.get)


def measured(choice: Choice, tables: Sequence[Table]) -> str:
    """Write the effects of the other readings on each data set, and which reading the validation set would choose."""
    rows = [("instead", "data", "difference of MAE [95%]", "p", "verdict")]
    missing, best = [], {}
    for table in tables:
        comparisons = effects(choice, table)
        for x in comparisons:
            rows.append((x.ours, f"`{table.data}`", str(x.difference), f"{x.p:.3g}", x.verdict))
        if not comparisons:
            missing.append(f"on `{table.data}` ({command(choice.grid, table.data)})")
        if name := chosen(choice, table):
            best.setdefault(name, []).append(f"`{table.data}`")
    text = f"The default is “{choice.default}”."
    if best:
        names = enumerated(f"“{name}” on {enumerated(data)}" for name, data in best.items())
        text += f" The validation set would choose {names}."
    if missing:
        text += f" Not measured yet: {', '.join(missing)}."
    caption = f"Test set: each reading minus “{choice.default}” in MAE, paired; below zero it is better."
    return "\n\n".join([*([captioned(caption, markdown(rows))] if len(rows) > 1 else []), text]) + "\n"


def collapse(table: Table) -> str:
    """Say how the spread of f_A on the validation set changes from the first to the last epoch, by treatment."""
    changes = []
    for row in ("naive", "joint", "random", "teacher"):
        spreads = [[epoch["valid_audio_std"] for epoch in run.curves] for run in table.results(row, table.columns[0])]
        if spreads:
            first, last = (statistics.fmean(curve[epoch] for curve in spreads) for epoch in (0, -1))
            changes.append(f"{first:.2f} to {last:.2f} with `{row}`")
    if not changes:
        return f"Not measured yet: {command(table.grid.name, table.data)}."
    return f"On `{table.data}` the standard deviation of $f_A$, first epoch to last, goes from {', '.join(changes)}."
