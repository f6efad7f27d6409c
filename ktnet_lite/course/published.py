"""Published results, for chapters that show what larger models and more seeds give."""

from __future__ import annotations

from ktnet_lite.experiments import grids, result
from ktnet_lite.reporting import frame, tables
from ktnet_lite.reporting.tables import Table

SEEDS = 5  # of every published comparison


def table(grid: str, data: str) -> Table | None:
    """Build a grid's table on one data set from the result files of the checkout; None where there are none.

    An installed package comes without the result files.

    Parameters
    ----------
    grid : str
        A name from :func:`ktnet_lite.experiments.grids.names`.
    data : str
        One of the grid's data sets.
    """
    chosen = grids.load(grid)
    runs = [config for cell in chosen.cells(data) for config in cell.configs(range(SEEDS))]
    names = tuple(f"{config.system}-" for config in runs)
    files = [path for path in result.published() if path.parent.name == data and path.name.startswith(names)]
    return tables.build(chosen, data, frame.load(files), range(SEEDS)) if files else None
