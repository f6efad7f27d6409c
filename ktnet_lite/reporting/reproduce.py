"""Reproduce a table: train what its grid is missing, then build it from the result files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ktnet_lite.config import TrainConfig
from ktnet_lite.data.catalogue import local
from ktnet_lite.experiments.grids import Cell, Grid
from ktnet_lite.experiments.plan import Job, plan
from ktnet_lite.experiments.runs import obtain
from ktnet_lite.reporting import frame, tables
from ktnet_lite.reporting.tables import Table


def available(grid: Grid, data: str, data_from: str = "") -> bool:
    """Tell whether a data set of the grid needs no download: its files are here, or below ``data_from``."""
    return all(local.is_here(cell.parameters["dataset"], local=data_from or None) for cell in grid.cells(data))


def jobs(
    grid: Grid, data: Sequence[str] | None, seeds: Sequence[int], out: Path | str = "runs", **options: str
) -> list[Job]:
    """Plan the runs of a grid on some of its data sets, seed by seed, so that an early stop leaves a whole table."""
    places = {"out": str(Path(out).resolve()), **options}
    cells = _cells(grid, data, options.get("data_from", ""))
    return plan(config for seed in seeds for cell in cells for config in cell.configs([seed], **places))


def _cells(grid: Grid, data: Sequence[str] | None, data_from: str) -> list[Cell]:
    chosen = data or [name for name in grid.data if available(grid, name, data_from)]
    return [cell for name in chosen for cell in grid.cells(name)]


class Reproduction(NamedTuple):
    """The tables of a grid, and the runs behind them."""

    tables: list[Table]
    jobs: list[Job]
    failures: dict[Path, str]  # folder -> error


def reproduce(
    grid: Grid,
    data: Sequence[str] | None = None,
    seeds: int = 5,
    *,
    out: Path | str = "runs",
    workers: int = 1,
    scheduler: str | None = None,
    progress: bool = True,
    **options: str,
) -> Reproduction:
    """Train what is missing of a grid and build its tables.

    Parameters
    ----------
    grid : Grid
        From :func:`ktnet_lite.experiments.grids.load`.
    data : sequence of str, optional
        Data sets of the grid; by default those that need no download. The table of any other says what it needs.
    seeds : int
        Runs of each cell: seeds 0, 1, ...
    out : path
        Folder of the runs.
    workers, scheduler, progress
        As in :func:`ktnet_lite.experiments.sweep.run`.
    options
        More parameters of every run: ``device``, ``data_from``.

    Raises
    ------
    ConfigError
        The grid has no such data set.
    DataError
        A data set that was asked for by name cannot be obtained.
    """
    data_from = options.get("data_from", "")
    for name in dict.fromkeys(cell.parameters["dataset"] for cell in _cells(grid, data, data_from)):
        obtain(TrainConfig(dataset=name, data_from=data_from))
    planned = jobs(grid, data, range(seeds), out, **options)
    from ktnet_lite.experiments import sweep  # Dask takes a second to load

    failures = sweep.run(planned, workers=workers, scheduler=scheduler, progress=progress)
    results = frame.load(job.folder / "result.json" for job in planned if job.done)
    return Reproduction(build(grid, results, seeds, data), planned, failures)


def build(grid: Grid, results: pd.DataFrame, seeds: int, data: Sequence[str] | None = None) -> list[Table]:
    """Build the tables of a grid from a frame of results alone."""
    return [tables.build(grid, name, results, range(seeds)) for name in data or grid.data]
