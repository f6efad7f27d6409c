"""Reproduce a table on a SLURM cluster: each SLURM job is a Dask worker that trains one run at a time.

    pip install dask-jobqueue
    python notebooks/experiments/slurm.py table_1 --workers 8 --queue gpu --gpu

Fetch the data first: `ktnet-lite data fetch NAME`. Start the script in a checkout that all nodes see, on a machine
that may submit jobs and that the nodes can reach. It runs until the table is complete, so start it in tmux or the like.
A job that ends is submitted again, and an interrupted run resumes. Stopping the script ends its jobs; the same command
resumes.
"""

import click
from dask_jobqueue import SLURMCluster

from ktnet_lite.experiments import grids
from ktnet_lite.reporting import markdown as pages
from ktnet_lite.reporting.reproduce import reproduce


def start(queue: str | None, minutes: int, memory: str, cores: int, gpu: bool) -> SLURMCluster:
    """Describe a cluster without jobs yet. A worker has one thread: it trains one run at a time, on all its cores."""
    return SLURMCluster(
        queue=queue,
        walltime=str(minutes),
        memory=memory,
        cores=1,
        job_cpu=cores,
        job_extra_directives=["--gres=gpu:1"] if gpu else [],
        job_script_prologue=[f"export OMP_NUM_THREADS={cores}"],
        worker_extra_args=["--lifetime", f"{minutes - 5}m"],  # stops in time to hand its run over
        scheduler_options={"dashboard_address": ":0"},
    )


@click.command()
@click.argument("table")
@click.option("--data", multiple=True, help="data set of the table; by default those that need no download")
@click.option("--seeds", default=5, show_default=True, help="runs of each cell")
@click.option("--out", default="runs", show_default=True, help="folder of the runs; all nodes must see it")
@click.option("--workers", default=4, show_default=True, help="number of SLURM jobs at once")
@click.option("--queue", help="SLURM partition; by default that of your cluster")
@click.option("--minutes", type=click.IntRange(10), default=240, show_default=True, help="time limit of a job")
@click.option("--memory", default="16GB", show_default=True, help="of a job")
@click.option("--cores", default=4, show_default=True, help="of a job")
@click.option("--gpu", is_flag=True, help="ask for a GPU for each job")
def main(table, data, seeds, out, workers, **job):
    """Reproduce TABLE (as ktnet-lite reproduce does) on workers that SLURM starts."""
    with start(**job) as cluster:
        cluster.adapt(minimum_jobs=workers, maximum_jobs=workers)  # SLURM gets a new job for each that ends
        made = reproduce(grids.load(table), data or None, seeds, out=out, scheduler=cluster.scheduler_address)
    click.echo(pages.page(made.tables))
    for folder, error in made.failures.items():
        click.echo(f"failed: {folder}: {error}", err=True)


if __name__ == "__main__":
    main()
