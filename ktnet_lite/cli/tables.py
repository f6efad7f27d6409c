"""``ktnet-lite reproduce``, ``report`` and ``compare``: tables, and what they need."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ktnet_lite.errors import ConfigError
from ktnet_lite.experiments import grids, plan, result
from ktnet_lite.files import check_folder, write
from ktnet_lite.reporting import compare as comparing
from ktnet_lite.reporting import frame, markdown, subsets
from ktnet_lite.reporting import reproduce as reproduction
from ktnet_lite.reporting.tables import Table
from ktnet_lite.text import duration, listed, table

FOLDER = click.Path(file_okay=False, path_type=Path)
PLACE = click.Path(path_type=Path)  # of files to be written
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("grid", required=False, metavar="TABLE")
@click.option("--data", help="data sets of the table, a,b,c; by default those that need no download")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="runs of each cell")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="runs at once on this machine")
@click.option("--scheduler", metavar="ADDRESS", help="address of a Dask scheduler whose workers train instead")
@click.option("--out", type=PLACE, default="runs", show_default=True, help="folder of the runs and of the page")
@click.option("--data-from", default="", help="folder that holds the raw files already")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps")
@click.option("--dry-run", is_flag=True, help="show what would be trained, and estimate how long it takes")
@click.option("--publish", type=PLACE, help="also put small copies of the result files into this folder")
def reproduce(grid, data, seeds, jobs, scheduler, out: Path, data_from, device, dry_run, publish: Path | None) -> None:
    """Train what a table of the paper needs, and show it.

    TABLE is 1 to 5 or another grid; without it, all are listed. Only missing runs are trained: stop at any moment and
    give the same command again. A run that fails is kept with its notebook and does not stop the rest. TABLE may also
    be your own .yaml file, written like those in the package.
    """
    if grid is None:
        click.echo(_overview())
        return
    chosen, names = grids.load(grid), None if data is None else listed(data)
    places = {"out": out, "data_from": data_from, "device": device}
    if dry_run:
        click.echo(_planned(reproduction.jobs(chosen, names, range(seeds), **places), jobs))
        return
    for folder in filter(None, (out, publish)):
        check_folder(folder)
    made = reproduction.reproduce(chosen, names, seeds, workers=jobs, scheduler=scheduler, **places)
    if publish:
        for path, loaded in result.load_all(job.folder / "result.json" for job in made.jobs if job.done).items():
            loaded.publish(path.parent, publish)
    page, path = _page(made.tables), out / f"{chosen.name}.md"
    write(path, page)
    click.echo(f"{page}\nThis page: {path}")
    if made.failures:
        lines = "\n".join(f"  {folder}: {error.splitlines()[0]}" for folder, error in made.failures.items())
        click.echo(f"\n{len(made.failures)} of {len(made.jobs)} runs failed:\n{lines}", err=True)
        sys.exit(1)


@click.command()
@click.argument("tables", nargs=-1)
@click.option(
    "--results",
    "folders",
    type=FOLDER,
    multiple=True,
    help="folder with result files; by default those that come with a checkout",
)
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="use seeds 0 to this number")
@click.option(
    "--to", "folder", type=PLACE, help="write a page and a picture of each table there, instead of showing it"
)
def report(tables: tuple[str, ...], folders: tuple[Path, ...], seeds: int, folder: Path | None) -> None:
    """Show tables from result files alone.

    All of them, or TABLES.
    """
    if folder is not None:
        check_folder(folder)
    paths = result.find(folders) if folders else result.published()
    if not paths:
        where = ", ".join(map(str, folders)) or "the folder results of a checkout"
        raise ConfigError(
            f"no result files in {where}; produce some with ktnet-lite reproduce, and name --results runs"
        )
    results = frame.load(paths)
    for grid in map(grids.load, tables or grids.names()):
        built = reproduction.build(grid, results, seeds)
        page = _page(built)
        if folder is None:
            click.echo(page)
            continue
        path = folder / f"{grid.name}.md"
        write(path, page)
        for written in (*markdown.pictures(built, folder), path):
            click.echo(written)


@click.command()
@click.argument("ours", metavar="A", type=FILE)
@click.argument("other", metavar="B", type=FILE)
@click.option("--clips", type=click.IntRange(0), default=5, show_default=True, help="clips to show")
def compare(ours: Path, other: Path, clips: int) -> None:
    """Compare two result files on the same clips.

    Shows the difference of each metric, paired over clips, and the clips that differ most.
    """
    click.echo(comparing.compare(result.load(ours), result.load(other), clips))


def _page(built: Sequence[Table]) -> str:
    return markdown.page(built) + subsets.page(built)


def _overview() -> str:
    rows = [("TABLE", "WHAT", "DATA SETS")]
    for name in grids.names():
        grid = grids.load(name)
        rows.append((name, grid.title, ", ".join(grid.data)))
    return table(rows)


def _planned(jobs: list[plan.Job], workers: int) -> str:
    estimate, missing = plan.estimate_of(jobs), plan.missing(jobs)
    rows = [("RUN", "SECONDS", "SETTINGS")]
    for job in missing:
        seconds = estimate(job.config)
        name = f"{job.folder.parent.name}/{job.folder.name}"
        settings = ", ".join(f"{key} {value}" for key, value in job.config.settings.items())
        rows.append((name, "?" if seconds is None else f"{seconds:.0f}", settings))
    total = estimate.total(job.config for job in missing)
    time = "" if not total else f", about {duration(total / workers)} with --jobs {workers}"
    return f"{table(rows)}\n\n{len(jobs)} runs, {len(jobs) - len(missing)} done, {len(missing)} to do{time}"
