"""Plan runs: each once, a teacher before its students, with an estimate of how long they take."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ktnet_lite.config import TrainConfig
from ktnet_lite.experiments import result
from ktnet_lite.experiments.estimate import Estimate
from ktnet_lite.experiments.runs import finished, run_folder
from ktnet_lite.names import System


class Job(NamedTuple):
    """One run of a sweep."""

    config: TrainConfig
    folder: Path
    teacher: Path | None  # folder of the run that must come first

    @property
    def done(self) -> bool:
        """Whether the run has a result."""
        return (self.folder / "result.json").is_file()


def plan(configs: Iterable[TrainConfig]) -> list[Job]:
    """Plan runs, each once, a teacher before its first student.

    "ours" with the treatment "teacher" uses the full model that it would train itself: one per seed, shared by all.
    """
    jobs: dict[Path, Job] = {}

    def add(config: TrainConfig) -> Path:
        teacher = None
        if config.needs_teacher:
            teacher = add(config.taught_by)
            config = dataclasses.replace(config, teacher=str(teacher / "model.pt"))
        folder = run_folder(config)
        jobs.setdefault(folder, Job(config, folder, teacher))
        return folder

    for config in configs:
        add(config)
    return list(jobs.values())


def only(configs: Iterable[TrainConfig]) -> list[Job]:
    """Plan exactly these runs, full models first.

    A full model that "ours" would train as its teacher anyway becomes its teacher, and is not trained again.
    """
    ordered = sorted(configs, key=lambda config: config.variant == "ours")
    full = {run_folder(config) for config in ordered if config.system == System("ktnet", "full")}
    jobs = []
    for config in ordered:
        teacher = run_folder(config.taught_by) if config.needs_teacher else None
        if teacher not in full:
            teacher = None
        if teacher:
            config = dataclasses.replace(config, teacher=str(teacher / "model.pt"))
        jobs.append(Job(config, run_folder(config), teacher))
    return jobs


def missing(jobs: Sequence[Job]) -> list[Job]:
    """Select the jobs to run: those without a result, and those whose notebook is not at its end."""
    return [job for job in jobs if not finished(job.folder)]


def estimate_of(jobs: Sequence[Job]) -> Estimate:
    """Learn run times from the results that come with the project and from those of the jobs."""
    known = [*result.published(), *(job.folder / "result.json" for job in jobs if job.done)]
    estimate = Estimate()
    for loaded in result.load_all(known).values():
        estimate.learn(loaded)
    return estimate
