"""A grid's table from result files alone: ours with intervals, the paper's beside it, what of its claims held."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import false_discovery_control

from ktnet_lite import __version__
from ktnet_lite.errors import DataError
from ktnet_lite.experiments import result as results
from ktnet_lite.experiments.grids import Cell, Grid
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.measures.statistics import Difference, Interval, mean_interval, paired_difference
from ktnet_lite.reporting import paper
from ktnet_lite.reporting.report import TESTED

SURE = 0.05  # a comparison's p, corrected, below which its sign is taken as shown


class Value(NamedTuple):
    """One metric of one cell: over seeds, and beside the paper's."""

    interval: Interval
    paper: float | None  # None where the paper has none, or has it on other data

    @property
    def difference(self) -> float | None:
        return None if self.paper is None else self.interval.mean - self.paper

    def verdict(self, metric: str) -> str:
        """``level`` where the paper's number is inside our interval, else ``better`` or ``worse``."""
        if self.paper is None:
            return ""
        if self.interval.low is None:
            return "one run"
        if self.interval.low <= self.paper <= self.interval.high:
            return "level"
        return "better" if (self.difference > 0) == METRICS[metric].higher_is_better else "worse"


class Comparison(NamedTuple):
    """Two rows of a column, paired on seeds and clips."""

    column: str
    ours: str
    other: str
    metric: str
    difference: Difference
    p: float  # corrected for the number of comparisons in the table (Benjamini & Hochberg 1995)
    paper: float | None  # the paper's difference, on its own data

    @property
    def verdict(self) -> str:
        """What the runs say of the paper's sign, or, where it has none, of the difference."""
        if self.p >= SURE:
            return "not shown"
        if not self.paper:  # none, or a tie
            return "better" if (self.difference.mean > 0) == METRICS[self.metric].higher_is_better else "worse"
        return "holds" if (self.difference.mean > 0) == (self.paper > 0) else "reversed"


class Table(NamedTuple):
    """A grid on one data set."""

    grid: Grid
    data: str
    runs: dict[tuple[str, str], list[dict[str, Any]]]  # (row, column) -> results, by seed; empty where there are none
    values: dict[tuple[str, str], dict[str, Value]]  # (row, column) -> metric -> value
    printed: dict[tuple[str, str], dict[str, float]]  # the paper's, where it has this table on this data
    comparisons: list[Comparison]

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(column for _, column in self.runs))

    @property
    def lacking(self) -> dict[tuple[str, str], str]:
        """Cells without any result, and the name of the data that each needs."""
        cells = self.grid.cells(self.data)
        needs = {(cell.row, cell.column): cell.parameters["dataset"] for cell in cells}
        return {place: name for place, name in needs.items() if not self.runs[place]}


class Collection:
    """Result files, found by what was trained; of several, that of this version of the package.

    Raises
    ------
    DataError
        A file that is no result, or two results of one training on different data.
    """

    def __init__(self, paths: Iterable[Path]):
        self.found: dict[str, tuple[Path, dict[str, Any]]] = {}
        for path in paths:
            result = results.load(path)
            key = _identity(result["parameters"])
            if key in self.found and self.found[key][1]["dataset"]["checksum"] != result["dataset"]["checksum"]:
                raise DataError(f"{path} and {self.found[key][0]} are of one training, but on different data")
            if key not in self.found or result["package"] == __version__:
                self.found[key] = path, result

    def of(self, cell: Cell, seeds: Sequence[int]) -> list[dict[str, Any]]:
        """What there is of a cell."""
        keys = [_identity(config.as_dict()) for config in cell.configs(seeds)]
        return [self.found[key][1] for key in keys if key in self.found]


def build(grid: Grid, data: str, collection: Collection, seeds: Sequence[int]) -> Table:
    """The table of a grid on one of its data sets."""
    runs = {(cell.row, cell.column): collection.of(cell, seeds) for cell in grid.cells(data)}
    printed = paper.table(grid.paper) if grid.paper else None
    beside = printed.values if printed and printed.data == data else {}
    values = {}
    for place, group in runs.items():
        theirs = beside.get(place, {})
        tests = [run["metrics"]["test"] for run in group]
        known = {name: [x for test in tests if (x := test[name]) is not None] for name in grid.metrics}
        values[place] = {name: Value(mean_interval(x), theirs.get(name)) for name, x in known.items() if x}
    return Table(grid, data, runs, values, beside, _compare(grid, runs, printed))


def _compare(grid: Grid, runs: dict, printed: paper.PaperTable | None) -> list[Comparison]:
    compared = []
    for column in dict.fromkeys(column for _, column in runs):
        for ours, other in grid.compare:
            groups = [{_seed(run): run for run in runs.get((row, column), ())} for row in (ours, other)]
            seeds = sorted(groups[0].keys() & groups[1].keys())
            if not seeds:
                continue
            targets = _targets(run for group in groups for run in group.values())
            task = groups[0][seeds[0]]["dataset"]["task"]
            scores = [np.array([group[seed]["predictions"]["scores"] for seed in seeds]) for group in groups]
            for metric, function in TESTED[task].items():
                found = paired_difference(function, *scores, targets)
                theirs = [printed and printed.values.get((row, column), {}).get(metric) for row in (ours, other)]
                difference = None if None in theirs else theirs[0] - theirs[1]
                compared.append(Comparison(column, ours, other, metric, found, found.p, difference))
    if not compared:
        return []
    corrected = false_discovery_control([comparison.p for comparison in compared])
    return [comparison._replace(p=float(p)) for comparison, p in zip(compared, corrected, strict=True)]


def _targets(runs: Iterable[dict[str, Any]]) -> np.ndarray:
    runs = list(runs)
    clips = [(run["predictions"]["ids"], run["predictions"]["targets"]) for run in runs]
    if any(other != clips[0] for other in clips):
        raise DataError(f"results of {runs[0]['dataset']['name']!r} are of different test clips and cannot be compared")
    return np.array(clips[0][1])


def _seed(result: dict[str, Any]) -> int:
    return result["parameters"]["seed"]


def _identity(parameters: dict[str, Any]) -> str:
    return json.dumps(results.science(parameters), sort_keys=True)
