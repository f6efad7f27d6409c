"""Sweeps: each run once, failures kept, and nothing lost when a worker or the whole sweep is killed."""

import dataclasses
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import papermill
import psutil
import pytest
import torch
from click.testing import CliRunner
from distributed import Client, LocalCluster

from ktnet_lite import threads
from ktnet_lite.cli import main
from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import BusyError
from ktnet_lite.experiments import notebook, result, sweep
from ktnet_lite.experiments.estimate import START, Estimate
from ktnet_lite.experiments.plan import Job, missing, only, plan
from ktnet_lite.experiments.runs import run_folder, train_here
from ktnet_lite.training.runtime import choose_device
from made import HARDWARE, make_result

SIZE = {"clips": 24, "epochs": 4, "dim": 8, "heads": 2, "layers": 1, "grid": 6}
GRID = f"""\
title: A tiny table
about: Two rows.
metrics: [mae, corr]
rows:
  Full: {{variant: full}}
  Ours: {{variant: ours}}
columns:
  unaligned: all
data:
  synthetic:
    unaligned: {{dataset: synthetic, {", ".join(f"{name}: {value}" for name, value in SIZE.items())}}}
compare:
  - [Ours, Full]
"""
needs_signals = pytest.mark.skipif(os.name != "posix", reason="sends signals")


def config(**changes) -> TrainConfig:
    return TrainConfig(**SIZE | changes)


def systems(jobs: list[Job]) -> list[str]:
    return [f"{job.config.system} {job.config.seed}" for job in jobs]


def written(out: Path) -> dict[str, tuple[int, int]]:
    """Every result file below a folder; another writing of it is another value."""
    found = {path: path.stat() for path in out.glob("*/*/result.json")}
    return {path.parent.name: (stat.st_ino, stat.st_mtime_ns) for path, stat in found.items()}


def numbers(out: Path, system: str = "*") -> dict[str, list[float]]:
    """What runs computed: the scores with each fill, the metrics that are defined, and the best epoch."""
    loaded = {path.parent.name: result.load(path) for path in out.glob(f"*/{system}-*/result.json")}
    return {name: list(_numbers(one)) for name, one in loaded.items()}


def _numbers(run: result.Result) -> Iterator[float]:
    yield from (run.best_epoch, *run.scores)
    for metrics in run.metrics.values():
        yield from (value for value in metrics.values() if value is not None)
    for filled in run.without_audio.values():
        yield from filled.scores


def rounded(expected: dict[str, list[float]]) -> dict[str, Any]:
    """The same numbers but for rounding, which is not the same in every process."""
    return {name: pytest.approx(values, abs=1e-5) for name, values in expected.items()}


def tables(page: Path) -> list[str]:
    return [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]


def reproduce(out: Path, **options) -> subprocess.Popen:
    """Start ``ktnet-lite reproduce`` of the tiny grid as a process."""
    grid = out.parent / "tiny.yaml"
    grid.write_text(options.pop("grid", GRID), encoding="utf-8")
    command = [sys.executable, "-m", "ktnet_lite", "reproduce", grid, "--seeds", "1", "--out", out]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, **quiet, **options)


def wait_for(found, process: subprocess.Popen | None = None):
    """Return what ``found`` returns, once that is something."""
    end = time.monotonic() + 300
    while not (seen := found()):
        assert time.monotonic() < end, "it did not come"
        assert process is None or process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.05)
    return seen


def in_training(out: Path, system: str) -> list[Path]:
    """Folders with a finished epoch and without a result."""
    found = (path.parent for path in out.glob(f"*/{system}-*/last.pt"))
    return [folder for folder in found if not (folder / "result.json").exists()]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    """The folder of both rows of the tiny grid, trained in this process with the threads of a sweep's worker."""
    out, threads_here = tmp_path_factory.mktemp("sweep") / "runs", torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        for job in plan([config(out=str(out))]):
            train_here(job.config)
    finally:
        torch.set_num_threads(threads_here)
    return out


@pytest.fixture
def instant(monkeypatch) -> list[TrainConfig]:
    """Sweeps have their workers in this process, and runs take no time, or fail; the configs of those that began."""
    began = []

    def cluster(env, **options):
        return LocalCluster(**options, processes=False)

    def execute(*_, parameters, **__):
        began.append(started := TrainConfig.build(parameters))
        if started.learning_rate > 1:
            raise papermill.PapermillExecutionError(1, 1, "", "KTNetError", "the model diverged", [])
        make_result(started).save(run_folder(started) / "result.json")

    monkeypatch.setattr(sweep, "LocalCluster", cluster)
    monkeypatch.setattr(papermill, "execute_notebook", execute)
    return began


def test_a_plan_has_each_run_once_and_teachers_first():
    ours = [config(seed=seed, lambda_vision=weight) for seed in (0, 1) for weight in (1.0, 0.1)]
    jobs = plan([*ours, config(variant="full"), *ours, config(variant="language")])
    assert systems(jobs) == ["full 0", "ours 0", "ours 0", "full 1", "ours 1", "ours 1", "language 0"]
    first, *students = jobs[:3]
    assert first.teacher is None and first.config == ours[0].taught_by
    for student in students:
        assert student.teacher == first.folder
        assert student.config.teacher == str(first.folder / "model.pt")


def test_a_plan_has_no_teacher_where_none_is_needed_or_one_is_named():
    named = config(teacher="mine.pt")
    jobs = plan([config(treatment="random"), config(treatment="joint"), named, config(model="mult")])
    assert systems(jobs) == ["ours 0", "ours 0", "ours 0", "mult 0"]
    assert [job.teacher for job in jobs] == [None] * 4
    assert jobs[2].config == named


def test_another_width_needs_another_teacher():
    jobs = plan([config(), config(dim=16), config(targets="language")])
    assert systems(jobs) == ["full 0", "ours 0", "full 0", "ours 0", "ours 0"]
    assert jobs[4].teacher == jobs[0].folder


def test_planned_alone_ours_has_a_teacher_only_among_these_runs():
    ours, full = config(), config(variant="full")
    first, second = only([ours, full])
    assert (first.config, second.teacher) == (full, first.folder)
    assert second.config.teacher == str(first.folder / "model.pt")
    (alone,) = only([ours])
    assert (alone.config, alone.teacher) == (ours, None), "it trains its own"
    assert [job.teacher for job in only([config(variant="full", dim=16), ours])] == [None, None]


def test_what_is_missing_runs_and_a_failure_stops_only_its_students(tmp_path, instant):
    where = {"out": str(tmp_path)}
    jobs = plan([config(learning_rate=1e30, **where), config(**where), config(variant="full", **where)])
    failed, student, full, ours = jobs
    assert systems(jobs) == ["full 0", "ours 0", "full 0", "ours 0"]
    failures = sweep.run(jobs, progress=False)
    assert instant == [failed.config, full.config, ours.config]
    assert failures.keys() == {failed.folder, student.folder}
    assert "the model diverged" in failures[failed.folder]
    assert failures[student.folder] == f"the teacher that this run needs failed: {failed.folder}"
    assert not failed.done and not student.folder.exists()
    assert full.done and ours.done
    assert result.load(ours.folder / "result.json").config.teacher == str(full.folder / "model.pt")

    before = written(tmp_path)
    assert sweep.run(jobs, progress=False) == failures
    assert instant[3:] == [failed.config], "a second sweep runs the failed alone"
    assert written(tmp_path) == before


@pytest.fixture
def all_done(tmp_path, monkeypatch) -> tuple[list[str], Path]:
    """``ktnet-lite reproduce`` of the tiny grid, two finished seeds of it, and no workers."""
    monkeypatch.setattr(sweep, "LocalCluster", None)
    (tmp_path / "tiny.yaml").write_text(GRID, encoding="utf-8")
    out = tmp_path / "runs"
    for job in plan(config(seed=seed, out=str(out)) for seed in (0, 1)):
        make_result(job.config, curves=[{"seconds": 7.0}] * 4).save(job.folder / "result.json")
    return ["reproduce", str(tmp_path / "tiny.yaml"), "--out", str(out)], out


def test_where_all_is_done_no_worker_is_started(all_done, tmp_path):
    command, out = all_done
    before = written(out)
    shown = CliRunner().invoke(main, [*command, "--seeds", "2", "--publish", str(tmp_path / "shared")])
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith("# A tiny table") and shown.output.endswith(f"This page: {out / 'tiny.md'}\n")
    assert (out / "tiny.md").read_text(encoding="utf-8") in shown.output and len(tables(out / "tiny.md")) == 9
    assert written(out) == before and len(before) == 4
    shared = {path.name.removesuffix(".result.json") for path in result.find([tmp_path / "shared"])}
    assert shared == before.keys()


def test_a_finished_run_under_another_key_is_not_trained_again(all_done):
    _, out = all_done
    for path in result.find([out]):
        path.parent.rename(re.sub(r"-[0-9a-f]{8}-", "-0ld0ld00-", str(path.parent)))
    jobs = plan([config(out=str(out))])
    assert all("0ld0ld00" in job.folder.name and job.done for job in jobs) and sweep.run(jobs) == {}


def test_a_dry_run_shows_what_would_run_and_how_long(all_done):
    command, out = all_done
    before = written(out)
    shown = CliRunner().invoke(main, [*command, "--dry-run", "--seeds", "3", "--jobs", "2", "--device", "cpu"])
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    assert [line.split("-")[0] for line in lines[1:3]] == ["synthetic/full", "synthetic/ours"]
    assert all("seed2" in line and "clips 24" in line and "dim 8" in line for line in lines[1:3])
    assert [float(line.split()[1]) for line in lines[1:3]] == [START + 4 * 7.0] * 2
    assert lines[-1] == "6 runs, 4 done, 2 to do, about 1 min with --jobs 2"
    assert written(out) == before and not list(out.glob("*/*-seed2"))


def test_a_failed_run_is_named_and_the_rest_is_shown(all_done, monkeypatch):
    command, _ = all_done

    def fail(jobs, **_):
        return {job.folder: "it broke\nin a cell" for job in missing(jobs)}

    monkeypatch.setattr(sweep, "run", fail)
    shown = CliRunner().invoke(main, [*command, "--seeds", "3"])
    assert shown.exit_code == 1
    assert "2 of 6 runs failed:" in shown.output and shown.output.count(": it broke\n") == 2
    assert "in a cell" not in shown.output and "4 runs on x86_64 CPU" in shown.output


@needs_signals
@pytest.mark.kernel
def test_a_worker_killed_in_the_middle_loses_nothing(unbroken, tmp_path):
    jobs = plan([config(variant="full", out=str(tmp_path))])
    done = {}
    environment = {"OMP_NUM_THREADS": str(os.cpu_count())}  # as in a sweep of one run at a time
    local = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "memory_limit": 0}
    with LocalCluster(**local, env=environment) as cluster, Client(cluster) as client:
        swept = threading.Thread(
            target=lambda: done.update(sweep.run(jobs, scheduler=cluster.scheduler_address, progress=False))
        )
        swept.start()
        wait_for(lambda: in_training(tmp_path, "full"))
        (busy,) = (address for address, keys in client.processing().items() if keys)
        (worker,) = (psutil.Process(w.pid) for w in cluster.workers.values() if w.worker_address == busy)
        kernels = worker.children(recursive=True)
        assert kernels
        worker.kill()
        assert not psutil.wait_procs(kernels, timeout=30)[1], "the notebook's process outlived its worker"
        swept.join()
    assert done == {} and not missing(jobs)
    assert numbers(tmp_path) == rounded(numbers(unbroken, "full"))


@needs_signals
@pytest.mark.kernel
def test_a_killed_sweep_ends_with_the_same_table_even_when_resumed_twice_at_once(unbroken, tmp_path):
    out = tmp_path / "runs"
    (teacher,) = unbroken.glob("*/full-*")
    shutil.copytree(teacher, out / teacher.relative_to(unbroken))
    kept = written(out)
    process = reproduce(out)
    wait_for(lambda: in_training(out, "ours"), process)
    orphans = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert not psutil.wait_procs(orphans, timeout=30)[1], "a process outlived the sweep"
    assert written(out) == kept and len(kept) == 1

    both = [reproduce(out), reproduce(out)]
    seen = set()
    while any(process.poll() is None for process in both):
        seen |= set(written(out).items())
        time.sleep(0.02)
    said = [process.communicate()[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert seen | set(written(out).items()) == set(written(out).items()) >= set(kept.items())  # each was written once
    assert numbers(out) == rounded(numbers(unbroken)) and not list(out.glob("*/ours-*/teacher"))

    command = ["reproduce", str(tmp_path / "tiny.yaml"), "--seeds", "1", "--out", str(unbroken)]
    shown = CliRunner().invoke(main, command)  # of the unbroken one; nothing is left to train
    assert shown.exit_code == 0, shown.output
    assert tables(out / "tiny.md") == tables(unbroken / "tiny.md") and len(tables(out / "tiny.md")) == 9


@needs_signals
@pytest.mark.kernel
def test_ctrl_c_stops_a_sweep_without_a_traceback(tmp_path):
    # In the background of a script, where tests may run, Ctrl-C is ignored, and children take that over.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    out = tmp_path / "runs"
    process = reproduce(out, grid=GRID.replace("epochs: 4", "epochs: 100000"), start_new_session=True, preexec_fn=heed)
    wait_for(lambda: in_training(out, "full"), process)
    left = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 130, said
    assert "Traceback" not in said and "Stopped. The same command resumes where it can." in said
    assert not psutil.wait_procs(left, timeout=30)[1], "a process outlived the sweep"
    assert not (out / "tiny.md").exists()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere"])
def test_a_scheduler_that_does_not_answer_is_named(address, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "Client", lambda address, timeout: Client(address, timeout="0.2s"))
    (tmp_path / "tiny.yaml").write_text(GRID, encoding="utf-8")
    command = ["reproduce", str(tmp_path / "tiny.yaml"), "--scheduler", address, "--out", str(tmp_path / "runs")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 1 and f"no Dask scheduler answers at {address}" in done.output


def test_two_at_one_run_execute_it_once(tmp_path, monkeypatch):
    executed, began, go_on = [], threading.Event(), threading.Event()

    def execute(*_, parameters, **__):
        folder = run_folder(TrainConfig.build(parameters))
        executed.append(folder)
        began.set()
        assert go_on.wait(60)
        (folder / "result.json").write_text("{}", encoding="utf-8")

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    ours = config(out=str(tmp_path))
    first, second = (threading.Thread(target=notebook.run, args=(ours,), kwargs={"again": False}) for _ in "ab")
    first.start()
    assert began.wait(60)
    with pytest.raises(BusyError, match="another process is at work in"):
        notebook.run(ours, again=False, wait=False)
    second.start()
    go_on.set()
    first.join()
    second.join()
    assert executed == [run_folder(ours)]
    notebook.run(ours)
    assert len(executed) == 2  # asked for again


def test_a_busy_teacher_makes_its_student_wait_and_a_failed_one_ends_it(tmp_path):
    def outcome(**teacher):
        return sweep.train({}, str(tmp_path / "student"), False, sweep.Outcome(tmp_path / "teacher", **teacher))

    assert outcome(busy=True) == sweep.Outcome(tmp_path / "student", busy=True)
    assert outcome(error="x").error == f"the teacher that this run needs failed: {tmp_path / 'teacher'}"


# Estimates


def timed(seconds: float, on: str | None = None, **changes) -> result.Result:
    """The result of a run whose epochs took that long."""
    hardware = msgspec.structs.replace(HARDWARE, device=on or choose_device("auto").type)
    return make_result(config(**changes), hardware=hardware, curves=[{"seconds": seconds}] * 3)


def test_an_estimate_comes_from_the_runs_most_alike():
    estimate = Estimate()
    assert estimate(config()) is None and estimate.total([config()]) is None
    estimate.learn(timed(5.0, on="another"))
    assert estimate(config()) is None
    for seconds in (1.0, 2.0, 9.0):
        estimate.learn(timed(seconds))
    estimate.learn(timed(100.0, dim=80))
    assert estimate(config(epochs=10)) == START + 10 * 2.0
    assert estimate(config(dim=80, epochs=1)) == START + 100.0
    assert estimate(config(dim=40, epochs=1)) == START + 5.5  # of the same system and data
    assert estimate(dataclasses.replace(config(epochs=1), dataset="mosi-words")) == START + 5.5  # of the same system
    assert estimate(config(model="mult")) is None


def test_in_a_total_what_is_unknown_counts_as_the_others():
    estimate = Estimate()
    estimate.learn(timed(1.0))
    known = START + SIZE["epochs"]
    assert estimate.total([config(), config(), config(model="mult")]) == pytest.approx(3 * known)
    assert estimate.total([config(model="mult")]) is None and estimate.total([]) is None


def test_a_run_on_a_device_that_is_not_here_gives_no_estimate():
    estimate, absent = Estimate(), "mps" if sys.platform != "darwin" else "cuda"
    estimate.learn(timed(1.0, on=absent, device=absent))
    assert estimate(config()) is None


# How the threads of a run wait


@pytest.mark.parametrize(
    ("environment", "set_here"),
    [
        ({}, {"GOMP_SPINCOUNT", "KMP_BLOCKTIME"}),
        ({"GOMP_SPINCOUNT": "5"}, {"KMP_BLOCKTIME"}),
        ({"GOMP_SPINCOUNT": "", "OMP_WAIT_POLICY": ""}, {"GOMP_SPINCOUNT", "KMP_BLOCKTIME"}),
        ({"KMP_BLOCKTIME": "200"}, {"GOMP_SPINCOUNT"}),
        ({"OMP_WAIT_POLICY": "active"}, set()),
        ({"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "5"}, set()),
    ],
)
def test_a_users_own_way_of_waiting_is_left_alone(environment, set_here, monkeypatch):
    expected = {name: threads.WAITING[name] for name in set_here}
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", dict(environment))
        assert threads.variables() == expected
        threads.set_waiting()
        assert os.environ == environment | expected
