"""A grid's tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ktbook.result_text import better, figure, seeds
from ktbook.result_text import table as captioned
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.reporting import markdown as pages
from ktnet_lite.reporting.tables import Table

BOLD = "The best of each metric is bold."
APART = "The best without the voice is bold; rows that get the voice at test stand apart."


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
    numbers = {row: values for (row, other), values in table.printed.items() if other == column}
    rows, apart = ([row for row in group if row in numbers] for group in pages.by_voice(table, column))
    marked = pages.best(numbers, rows)

    def cells(row: str) -> list[str]:
        return [pages.bold(f"{numbers[row][metric]:.3f}", (row, metric) in marked) for metric in metrics]

    laid_out = pages.laid_out(rows, apart, [METRICS[metric].label for metric in metrics], cells)
    caption = f"{table.data}, {column}: the paper's numbers, a single one for each cell; {better(metrics)}"
    return captioned(f"{caption}. {BOLD if not apart else APART}", laid_out)


def numbers(table: Table, column: str) -> str:
    """Write a column's rows with a caption; empty without any."""
    if not (content := pages.values(table, column)):
        return ""
    runs = seeds(len(table.results(row, name)) for row, name in table.needs if name == column)
    caption = f"`{table.data}`, {column}, test set: mean over {runs} and 95% interval; {better(table.grid.metrics)}"
    _, apart = pages.by_voice(table, column)
    return captioned(f"{caption}. {APART if apart else BOLD}", content)


def compared(table: Table) -> str:
    """Write the comparisons of a table with a caption."""
    sign = "Below zero the first row is better by MAE, above zero by the other metrics"
    if "mae" not in table.grid.metrics:
        sign = "Above zero the first row is better"
    caption = f"`{table.data}`, test set: the first row minus the second, paired on seeds and clips. {sign}."
    return captioned(caption, pages.compared(table.comparisons))


def grid_page(tables: Sequence[Table], drawn: Iterable[str], level: int = 2) -> str:
    """Write a grid on all its data sets; ``drawn`` are the names of the existing figures."""
    drawn = set(drawn)
    return "\n\n".join(part for table in tables for part in _on_data(table, drawn, "#" * level) if part) + "\n"


def _on_data(table: Table, drawn: set[str], heading: str) -> list[str]:
    parts = [f"{heading} On {table.data}"]
    to_get = pages.how_to_get(table)
    runs = table.results()
    if not runs:
        if table.printed:
            parts.append("The paper's numbers, as published; we have none of our own here.")
            for column in table.columns:
                parts.append(as_published(table, column))
        return [*parts, to_get]
    direction = METRICS[pages.chief(table.grid)].direction
    for column in table.columns:
        if (name := pages.picture_name(table, column)) in drawn:
            caption = f"{table.data}, {column}: mean over seeds and 95% interval; {direction}."
            parts.append(figure(name, alt(table, column), caption))
    parts += ["::::{tab-set}", ":::{tab-item} Numbers"]
    for column in table.columns:
        parts += [numbers(table, column), pages.not_run(table, column)]
    parts += [to_get, ":::"] if to_get else [":::"]
    if table.comparisons:
        parts += [":::{tab-item} Compared", compared(table), ":::"]
    return [*parts, ":::{tab-item} Runs", pages.provenance(runs), ":::", "::::"]
