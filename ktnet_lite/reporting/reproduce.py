"""Reproduce a table: run what its grid lacks, then build it from the result files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ktnet_lite.data import catalogue
from ktnet_lite.data.catalogue.entries import ENTRIES
from ktnet_lite.errors import DataError
from ktnet_lite.experiments import sweep
from ktnet_lite.experiments.grids import Grid
from ktnet_lite.reporting import tables
from ktnet_lite.reporting.tables import Collection, Table


def at_hand(grid: Grid, data: str, data_from: str = "") -> bool:
    """Whether every file that a data set of the grid needs is here, or below ``data_from``; nothing is downloaded."""
    return all(_is_here(cell.parameters["dataset"], data_from) for cell in grid.cells(data))


def _is_here(name: str, data_from: str) -> bool:
    if name not in ENTRIES:
        return name == "synthetic" or Path(name).exists()
    if (catalogue.home() / f"{name}.h5").is_file():
        return True
    try:
        return bool(data_from) and bool(catalogue.build(name, local=data_from))
    except DataError:
        return False


def trainings(
    grid: Grid, data: Sequence[str] | None, seeds: Sequence[int], out: Path | str = "runs", **options: str
) -> list[sweep.Job]:
    """The trainings of a grid on some of its data sets, seed by seed, so that an early end leaves a whole table."""
    chosen = data or [name for name in grid.data if at_hand(grid, name, options.get("data_from", ""))]
    where = {"out": str(Path(out).resolve()), **options}
    cells = [cell for name in chosen for cell in grid.cells(name)]
    return sweep.plan(config for seed in seeds for cell in cells for config in cell.configs([seed], **where))


class Reproduction(NamedTuple):
    """What :func:`reproduce` gives."""

    tables: list[Table]
    jobs: list[sweep.Job]
    failures: dict[Path, str]  # folder -> what went wrong


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
    """Run what is missing of a grid and build its tables.

    Parameters
    ----------
    grid : Grid
        Of :func:`ktnet_lite.experiments.grids.load`.
    data : sequence of str, optional
        Data sets of the grid; by default those that are at hand. The others get a table all the same, which says what
        it needs.
    seeds : int
        Trainings of each cell: seeds 0, 1, ...
    out : path
        Folder of the runs.
    workers, scheduler, progress
        As of :func:`ktnet_lite.experiments.sweep.run`.
    options
        More parameters of every training: ``device``, ``data_from``.

    Raises
    ------
    ConfigError
        A data set that the grid does not have.
    DataError
        A data set that was asked for by name and cannot be had.
    """
    jobs = trainings(grid, data, range(seeds), out, **options)
    failures = sweep.run(jobs, workers=workers, scheduler=scheduler, progress=progress)
    done = Collection(job.folder / "result.json" for job in jobs if job.done)
    return Reproduction(build(grid, done, seeds, data), jobs, failures)


def build(grid: Grid, collection: Collection, seeds: int, data: Sequence[str] | None = None) -> list[Table]:
    """The tables of a grid from result files alone."""
    return [tables.build(grid, name, collection, range(seeds)) for name in data or grid.data]
