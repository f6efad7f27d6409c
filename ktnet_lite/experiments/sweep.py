"""Train many runs: those that are missing, several at once, on this machine or on a Dask cluster.

Each run is one papermill run (:func:`ktnet_lite.experiments.notebook.run`) and one Dask task. Dask distributes the
tasks, makes "ours" wait for its teacher, and hands a task to another worker when one dies. Files and locks in the run's
folder do the rest, so a sweep may be stopped at any moment, started again, or started twice at once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, as_completed
from tqdm import tqdm

from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import BusyError, KTNetError
from ktnet_lite.experiments import result
from ktnet_lite.experiments.plan import Job, estimate_of, missing
from ktnet_lite.text import duration

DEATHS = 3  # workers that may die on a run before it is given up, since it may be what kills them


class Outcome(NamedTuple):
    """How a run ended: its folder, and the error if there was one."""

    folder: Path
    error: str = ""
    busy: bool = False  # another sweep is training it


def run(
    jobs: Sequence[Job], *, workers: int = 1, scheduler: str | None = None, progress: bool = True
) -> dict[Path, str]:
    """Train the missing runs; return the failures, folder -> error. A failure does not stop the rest.

    Parameters
    ----------
    jobs : sequence of Job
        From :func:`ktnet_lite.experiments.plan.plan`.
    workers : int
        Runs at once on this machine, each with its share of the cores.
    scheduler : str, optional
        Address of a Dask scheduler whose workers see the same folders; ``workers`` is then ignored.

    Raises
    ------
    KTNetError
        No scheduler answers at that address.
    """
    waiting = missing(jobs)
    if not waiting:
        return {}
    failures: dict[Path, str] = {}
    with _client(min(workers, len(waiting)), scheduler) as client, _Progress(jobs, waiting, client, progress) as shown:
        for wait in (False, True):  # first the runs that no other sweep is training
            outcomes = list(_outcomes(client, waiting, wait, shown))
            failures |= {outcome.folder: outcome.error for outcome in outcomes if outcome.error}
            busy = {outcome.folder for outcome in outcomes if outcome.busy}
            waiting = [job for job in waiting if job.folder in busy]
    return failures


def train(config: dict[str, Any], folder: str, wait: bool, teacher: Outcome | None = None) -> Outcome:
    """Train one job on a worker; an error in the run itself is returned, not raised."""
    from ktnet_lite.experiments import notebook

    if teacher is not None and (teacher.error or teacher.busy):
        error = f"the teacher that this run needs failed: {teacher.folder}" if teacher.error else ""
        return Outcome(Path(folder), error, teacher.busy)
    try:
        notebook.run(TrainConfig.build(config), live=False, again=False, wait=wait)
    except BusyError:
        return Outcome(Path(folder), busy=True)
    except KTNetError as error:
        return Outcome(Path(folder), str(error))
    return Outcome(Path(folder))


def _outcomes(client: Client, jobs: Sequence[Job], wait: bool, shown: _Progress) -> Iterator[Outcome]:
    """Yield outcomes as they arrive; runs start in the order of the jobs."""
    futures: dict[Path, Future] = {}
    for i, job in enumerate(jobs):
        arguments = job.config.as_dict(), str(job.folder), wait, futures.get(job.teacher) if job.teacher else None
        key = f"{'student' if job.teacher else 'run'}-{uuid4().hex}"  # Dask starts a large group of one name in order
        futures[job.folder] = client.submit(train, *arguments, key=key, priority=-i)
    folders = {future.key: folder for folder, future in futures.items()}
    for future in as_completed(futures.values()):
        folder = folders[future.key]
        try:
            outcome = future.result()
        except KilledWorker:
            remedy = "probably because memory ran out: lower batch_size, set grid (say 50), or run fewer at once"
            outcome = Outcome(folder, f"{DEATHS + 1} workers died on it, {remedy}")
        if not outcome.busy:
            shown.finished(outcome)
        yield outcome


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Client]:
    """Connect to the scheduler at an address, or to a new cluster of processes on this machine."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # the outcome reports a worker's death
    with dask.config.set({"distributed.scheduler.allowed-failures": DEATHS}):
        if scheduler:
            try:
                client = Client(scheduler, timeout="10s")
            except (OSError, ValueError) as error:
                raise KTNetError(f"no Dask scheduler answers at {scheduler}: {error}") from error
            with client:
                yield client
            return
        cores = max((os.cpu_count() or 1) // workers, 1)
        with (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                env={"OMP_NUM_THREADS": str(cores)},
                memory_limit=0,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client


class _Progress:
    """A progress bar over runs, with the time left as estimated from similar runs."""

    def __init__(self, jobs: Sequence[Job], waiting: Sequence[Job], client: Client, progress: bool):
        self.estimate = estimate_of(jobs)
        self.left = {job.folder: job.config for job in waiting}
        self.client = client
        done, bar_format = len(jobs) - len(waiting), "{percentage:3.0f}%|{bar:20}| {n}/{total} runs, {elapsed}{postfix}"
        self.bar = tqdm(total=len(jobs), initial=done, disable=not progress, bar_format=bar_format)

    def __enter__(self) -> _Progress:
        self._show()
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.close()

    def finished(self, outcome: Outcome) -> None:
        self.left.pop(outcome.folder, None)
        self.bar.update()
        if outcome.error:
            self.bar.write(f"failed: {outcome.folder}\n  {outcome.error.splitlines()[0]}")
        else:
            for loaded in result.load_all([outcome.folder / "result.json"]).values():
                self.estimate.learn(loaded)
        self._show()

    def _show(self) -> None:
        workers = max(len(self.client.nthreads()), 1)
        left = self.estimate.total(self.left.values())
        self.bar.set_postfix_str("" if left is None or not self.left else f"about {duration(left / workers)} left")
