"""Run many trainings: what is missing, several at once, on this machine or on a Dask cluster.

Each training is one papermill run (:func:`ktnet_lite.experiments.notebook.run`) and one Dask task. Dask hands the tasks out,
lets "ours" wait for its teacher, and gives a task to another worker when one dies; files and locks of the run's
folder do the rest, so a sweep may be stopped at any moment, started again, or run twice at once.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import dask
from distributed import Client, KilledWorker, LocalCluster, as_completed
from tqdm import tqdm

from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import KTNetError
from ktnet_lite.experiments import result as results
from ktnet_lite.experiments.estimate import Estimate
from ktnet_lite.text import duration

DEATHS = 3  # of workers, before a training is given up: it may be what kills them


class Job(NamedTuple):
    """One training of a sweep."""

    config: TrainConfig
    folder: Path
    teacher: Path | None  # folder of the run that must come first

    @property
    def done(self) -> bool:
        return (self.folder / "result.json").is_file()


class Outcome(NamedTuple):
    """How a training ended: its folder and, unless all went well, what went wrong."""

    folder: Path
    error: str = ""
    busy: bool = False  # another sweep was at it


def plan(configs: Iterable[TrainConfig]) -> list[Job]:
    """The trainings, each once, a teacher before its first pupil.

    "ours" by the treatment "teacher" takes the full model that it would train itself: one a seed, shared by all.
    """
    jobs: dict[Path, Job] = {}

    def add(config: TrainConfig) -> Path:
        teacher = None
        if config.variant == "ours" and config.treatment == "teacher" and not config.teacher:
            teacher = add(config.taught_by)
            config = dataclasses.replace(config, teacher=str(teacher / "model.pt"))
        folder = results.run_folder(config)
        jobs.setdefault(folder, Job(config, folder, teacher))
        return folder

    for config in configs:
        add(config)
    return list(jobs.values())


def missing(jobs: Sequence[Job]) -> list[Job]:
    """Those without a result."""
    return [job for job in jobs if not job.done]


def estimate_of(jobs: Sequence[Job]) -> Estimate:
    """What trainings take, by the results that there are: those published with the project, and those of the jobs."""
    known = [*results.published(), *(job.folder / "result.json" for job in jobs if job.done)]
    estimate = Estimate()
    for path in known:
        estimate.learn(results.load(path))
    return estimate


def run(
    jobs: Sequence[Job], *, workers: int = 1, scheduler: str | None = None, progress: bool = True
) -> dict[Path, str]:
    """Do what is missing; return the failures, folder -> error. They do not stop the rest.

    Parameters
    ----------
    jobs : sequence of Job
        Of :func:`plan`.
    workers : int
        Trainings at once on this machine, each with its share of the cores.
    scheduler : str, optional
        Address of a Dask scheduler whose workers see the same folders; then ``workers`` counts for nothing.

    Raises
    ------
    KTNetError
        No scheduler answers there.
    """
    waiting = missing(jobs)
    if not waiting:
        return {}
    failures: dict[Path, str] = {}
    with _client(min(workers, len(waiting)), scheduler) as client, _Progress(jobs, waiting, client, progress) as shown:
        for wait in (False, True):  # first what nobody else is at
            outcomes = list(_outcomes(client, waiting, wait, shown))
            failures |= {outcome.folder: outcome.error for outcome in outcomes if outcome.error}
            busy = {outcome.folder for outcome in outcomes if outcome.busy}
            waiting = [job for job in waiting if job.folder in busy]
    return failures


def train(config: dict[str, Any], folder: str, wait: bool, teacher: Outcome | None = None) -> Outcome:
    """What a worker does for one job; nothing is raised for what goes wrong in the training itself."""
    from ktnet_lite.experiments import notebook as experiments

    if teacher is not None and (teacher.error or teacher.busy):
        error = f"the teacher that it needs failed: {teacher.folder}" if teacher.error else ""
        return Outcome(Path(folder), error, teacher.busy)
    try:
        experiments.run(TrainConfig.build(config), live=False, again=False, wait=wait)
    except experiments.BusyError:
        return Outcome(Path(folder), busy=True)
    except KTNetError as error:
        return Outcome(Path(folder), str(error))
    return Outcome(Path(folder))


def _outcomes(client: Client, jobs: Sequence[Job], wait: bool, shown: _Progress) -> Iterator[Outcome]:
    """Outcomes as they come; trainings are begun in the order of the jobs."""
    futures = {}
    for i, job in enumerate(jobs):
        arguments = job.config.as_dict(), str(job.folder), wait, futures.get(job.teacher)
        key = f"{'pupil' if job.teacher else 'training'}-{uuid4().hex}"  # a large group of a name is begun in order
        futures[job.folder] = client.submit(train, *arguments, key=key, priority=-i)
    folders = {future.key: folder for folder, future in futures.items()}
    for future in as_completed(futures.values()):
        folder = folders[future.key]
        try:
            outcome = future.result()
        except KilledWorker:
            remedy = "most likely for want of memory: lower batch_size, set grid (say 50), or run fewer at once"
            outcome = Outcome(folder, f"{DEATHS + 1} workers died on it, {remedy}")
        if not outcome.busy:
            shown.finished(outcome)
        yield outcome


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Client]:
    """A client of the scheduler at that address, or of a cluster of processes on this machine."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a worker's death is told in the outcome
    with dask.config.set({"distributed.scheduler.allowed-failures": DEATHS}):
        if scheduler:
            try:
                client = Client(scheduler, timeout="10s")
            except (OSError, ValueError) as error:
                raise KTNetError(f"no Dask scheduler answers at {scheduler}: {error}") from error
            with client:
                yield client
            return
        threads = max((os.cpu_count() or 1) // workers, 1)
        with (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                env={"OMP_NUM_THREADS": str(threads)},
                memory_limit=0,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client


class _Progress:
    """A bar over trainings, with the time left by what such trainings took before."""

    def __init__(self, jobs: Sequence[Job], waiting: Sequence[Job], client: Client, progress: bool):
        self.estimate = estimate_of(jobs)
        self.left = {job.folder: job.config for job in waiting}
        self.client = client
        done, bar_format = len(jobs) - len(waiting), "{percentage:3.0f}%|{bar:20}| {n}/{total} runs, {elapsed}{postfix}"
        self.bar = tqdm(total=len(jobs), initial=done, disable=not progress, bar_format=bar_format)

    def __enter__(self) -> _Progress:
        self._tell()
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.close()

    def finished(self, outcome: Outcome) -> None:
        self.left.pop(outcome.folder, None)
        self.bar.update()
        if outcome.error:
            self.bar.write(f"failed: {outcome.folder}\n  {outcome.error.splitlines()[0]}")
        else:
            self.estimate.learn(results.load(outcome.folder / "result.json"))
        self._tell()

    def _tell(self) -> None:
        workers = max(len(self.client.nthreads()), 1)
        left = self.estimate.total(self.left.values())
        self.bar.set_postfix_str("" if left is None or not self.left else f"about {duration(left / workers)} left")
