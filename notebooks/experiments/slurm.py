"""Reproduce a table on a cluster that is run by SLURM: each SLURM job is a Dask worker, which trains.

    pip install dask-jobqueue
    python notebooks/experiments/slurm.py table_1 --workers 8 --queue gpu --gpu

Start it, from a checkout that all nodes see, where jobs may be submitted and can be answered; in tmux, say, for it
stays until all is done. Fetch the data first: `ktnet-lite data fetch NAME`. Jobs that end are submitted anew, and a
training that was cut off goes on. When this script is stopped its jobs end; the same command goes on.
"""

import click
from dask_jobqueue import SLURMCluster

from ktnet_lite.experiments import grids
from ktnet_lite.reporting import markdown as pages
from ktnet_lite.reporting.reproduce import reproduce


def start(queue: str | None, minutes: int, memory: str, cores: int, gpu: bool) -> SLURMCluster:
    """A cluster without jobs yet. A worker has one thread, so it does one training at a time, on all its cores."""
    return SLURMCluster(
        queue=queue,
        walltime=str(minutes),
        memory=memory,
        cores=1,
        job_cpu=cores,
        job_extra_directives=["--gres=gpu:1"] if gpu else [],
        job_script_prologue=[f"export OMP_NUM_THREADS={cores}"],
        worker_extra_args=["--lifetime", f"{minutes - 5}m"],  # hands its training over before it is killed
        scheduler_options={"dashboard_address": ":0"},
    )


@click.command()
@click.argument("table")
@click.option("--data", multiple=True, help="data set of the table; by default those that are at hand")
@click.option("--seeds", default=5, show_default=True, help="trainings of each cell")
@click.option("--out", default="runs", show_default=True, help="folder of the runs, which all nodes see")
@click.option("--workers", default=4, show_default=True, help="SLURM jobs at once")
@click.option("--queue", help="SLURM's partition; by default SLURM's own")
@click.option("--minutes", type=click.IntRange(10), default=240, show_default=True, help="walltime of a job")
@click.option("--memory", default="16GB", show_default=True, help="of a job")
@click.option("--cores", default=4, show_default=True, help="of a job")
@click.option("--gpu", is_flag=True, help="ask for a GPU for each job")
def main(table, data, seeds, out, workers, **job):
    """Reproduce TABLE (as ktnet-lite reproduce does) on workers that SLURM starts."""
    with start(**job) as cluster:
        cluster.adapt(minimum_jobs=workers, maximum_jobs=workers)  # always so many; one that ended is replaced
        made = reproduce(grids.load(table), data or None, seeds, out=out, scheduler=cluster.scheduler_address)
    click.echo(pages.page(made.tables))
    for folder, error in made.failures.items():
        click.echo(f"failed: {folder}: {error}", err=True)


if __name__ == "__main__":
    main()
