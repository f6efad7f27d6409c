"""A grid's tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ktbook.result_text import figure
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.reporting import markdown as pages
from ktnet_lite.reporting.tables import Table
from ktnet_lite.text import markdown


def alt(table: Table, column: str) -> str:
    """Describe the figure of a column in words."""
    metric = pages.chief(table.grid)
    rows = [
        f"{row} {values[metric].interval}"
        for (row, other), values in table.values.items()
        if other == column and metric in values
    ]
    return f"{METRICS[metric].label} on {table.data}, {column}, mean and 95% interval. {'; '.join(rows)}."


def as_published(table: Table, column: str) -> str:
    """Write the paper's numbers alone, for data on which nothing has been run."""
    metrics = [metric for metric in table.grid.metrics if any(metric in row for row in table.printed.values())]
    rows = [
        (row, *(f"{numbers[metric]:.3f}" for metric in metrics))
        for (row, other), numbers in table.printed.items()
        if other == column
    ]
    return markdown([("", *(METRICS[metric].label for metric in metrics)), *rows])


def grid_page(tables: Sequence[Table], drawn: Iterable[str], level: int = 2) -> str:
    """Write a grid on all its data sets; ``drawn`` are the names of the existing figures."""
    drawn = set(drawn)
    return "\n\n".join(part for table in tables for part in _on_data(table, drawn, "#" * level)) + "\n"


def _on_data(table: Table, drawn: set[str], heading: str) -> list[str]:
    parts = [f"{heading} On {table.data}"]
    to_get = pages.how_to_get(table)
    runs = table.results()
    if not runs:
        if table.printed:
            parts.append("The paper's numbers, as published; we have none of our own here.")
            for column in table.columns:
                parts += [f"**{column}**", as_published(table, column)]
        return [*parts, to_get]
    better = METRICS[pages.chief(table.grid)].direction
    for column in table.columns:
        if (name := pages.picture_name(table, column)) in drawn:
            caption = f"{table.data}, {column}: mean over seeds and 95% interval; {better}."
            parts.append(figure(name, alt(table, column), caption))
    parts += ["::::{tab-set}", ":::{tab-item} Numbers"]
    for column in table.columns:
        parts += [f"**{column}**", pages.values(table, column)]
    parts += [to_get, ":::"] if to_get else [":::"]
    if table.comparisons:
        parts += [":::{tab-item} Compared", pages.compared(table.comparisons), ":::"]
    return [*parts, ":::{tab-item} Runs", pages.provenance(runs), ":::", "::::"]
