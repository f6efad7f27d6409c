"""A grid's table from result files alone: our means with intervals, the paper's numbers, and paired comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from ktnet_lite.experiments.grids import Grid
from ktnet_lite.experiments.result import Result
from ktnet_lite.measures.statistics import Interval, mean_interval
from ktnet_lite.names import Fill
from ktnet_lite.reporting import paper
from ktnet_lite.reporting.compare import Comparison, corrected, paired
from ktnet_lite.reporting.verdicts import better_or_worse

Place = tuple[str, str]  # row, column


class Value(NamedTuple):
    """One metric of one cell."""

    interval: Interval
    paper: float | None  # None where the paper has no number, or has it on other data

    @property
    def difference(self) -> float | None:
        """Our mean minus the paper's number."""
        return None if self.paper is None else self.interval.mean - self.paper

    def verdict(self, metric: str) -> str:
        """Return ``level`` where the paper's number lies in our interval, else ``better`` or ``worse``."""
        if self.paper is None:
            return ""
        if self.interval.low is None or self.interval.high is None:
            return "one run"
        if self.interval.low <= self.paper <= self.interval.high:
            return "level"
        return better_or_worse(metric, self.interval.mean - self.paper)


class Table(NamedTuple):
    """A grid on one data set."""

    grid: Grid
    data: str
    needs: dict[Place, str]  # cell -> the data set that its runs are trained on
    runs: pd.DataFrame  # rows of the results' frame, with the row and the column of the cell, by cell and seed
    values: dict[Place, dict[str, Value]]  # cell -> metric -> value
    printed: dict[Place, dict[str, float]]  # the paper's numbers, where it has this table on this data
    comparisons: list[Comparison]

    @property
    def columns(self) -> list[str]:
        """The columns, in order."""
        return list(dict.fromkeys(column for _, column in self.needs))

    @property
    def missing(self) -> dict[Place, str]:
        """Cells without any result, and the data set that each needs."""
        run = set(zip(self.runs["row"], self.runs["column"], strict=True))
        return {place: data for place, data in self.needs.items() if place not in run}

    def tests(self, row: str, column: str, fill: Fill | None = None) -> pd.DataFrame:
        """The rows of one cell, by seed, tested with audio or with a fill."""
        here = self.runs[(self.runs["row"] == row) & (self.runs["column"] == column)]
        return here[here["fill"] == (fill or "")]

    def results(self, row: str | None = None, column: str | None = None) -> list[Result]:
        """The results of one cell by seed, of one column, or of the whole table."""
        here = self.runs[self.runs["fill"] == ""]
        for name, value in (("row", row), ("column", column)):
            here = here if value is None else here[here[name] == value]
        return list(here["result"])


def build(grid: Grid, data: str, results: pd.DataFrame, seeds: Sequence[int]) -> Table:
    """Build the table of a grid on one of its data sets from a frame of results."""
    cells = grid.cells(data)
    needs = {(cell.row, cell.column): cell.parameters["dataset"] for cell in cells}
    wanted = pd.DataFrame(
        [(cell.row, cell.column, config.key) for cell in cells for config in cell.configs(seeds)],
        columns=["row", "column", "key"],
    )
    printed = paper.table(grid.paper) if grid.paper else None
    table = Table(grid, data, needs, wanted.merge(results, on="key"), {}, {}, [])
    if printed and printed.data == data:
        table.printed.update(printed.values)
    for place in needs:
        tests, numbers = table.tests(*place), table.printed.get(place, {})
        known = {metric: tests[metric].dropna() for metric in grid.metrics if metric in tests}
        table.values[place] = {
            metric: Value(mean_interval(list(values)), numbers.get(metric))
            for metric, values in known.items()
            if len(values)
        }
    return table._replace(comparisons=_compare(table, printed))


def _compare(table: Table, printed: paper.PaperTable | None) -> list[Comparison]:
    compared = []
    for column in table.columns:
        for pair in table.grid.compare:
            for metric, difference in paired(*(table.tests(row, column) for row in pair)).items():
                cells = (printed.values.get((row, column), {}) if printed else {} for row in pair)
                numbers = [cell[metric] for cell in cells if metric in cell]
                gap = numbers[0] - numbers[1] if len(numbers) == 2 else None
                compared.append(Comparison(column, *pair, metric, difference, difference.p, gap))
    return corrected(compared)
