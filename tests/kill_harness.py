"""Kill commands and writes at random moments, and start two at once: nothing lost, nothing left over, the same result.

    python tests/kill_harness.py --commands 200 --writes 2000 --rounds 100

A command runs in a fork of this process, so that the moments fall into its work and not into its imports, and is ended
by SIGKILL. Then every file that was whole before must be whole, old or new. The same command must then end well, with
the files of an undisturbed one and no others. A write is ended by SIGKILL too, or at one of its calls into C.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import itertools
import multiprocessing
import os
import pickle
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import click
import h5py
import nbformat
import numpy as np
import torch
from tqdm import tqdm

from ktnet_lite import cli, files
from ktnet_lite.config import TrainConfig
from ktnet_lite.data import store, synthetic
from ktnet_lite.data.catalogue import download
from ktnet_lite.data.catalogue.download import RawFile
from ktnet_lite.data.catalogue.entries import ENTRIES
from ktnet_lite.experiments import result
from ktnet_lite.experiments.plan import plan
from ktnet_lite.experiments.runs import train_here
from ktnet_lite.text import table
from ktnet_lite.training import checkpoint
from ktnet_lite.training.loop import fit
from made import make_result

TINY = {"clips": 32, "dim": 8, "heads": 2, "layers": 1, "grid": 6, "device": "cpu"}
GRID = """\
title: A tiny table
about: Two rows.
metrics: [mae, corr]
rows:
  Full: {variant: full}
  Language: {variant: language}
columns:
  unaligned: all
data:
  synthetic:
    unaligned: {dataset: synthetic, epochs: 2, clips: 32, dim: 8, heads: 2, layers: 1, grid: 6}
compare:
  - [Full, Language]
"""
IMPORTED = "cli.data", "cli.tables", "cli.train", "data.readers", "experiments.notebook", "experiments.sweep"
LONGEST = 900  # seconds of a command; then it hangs
IN_PROGRESS = {"last.pt", "train.ipynb"}  # whole at any moment, but not old or new

Content = dict[str, Any]


# What is on the disk


def content(path: Path) -> Any:
    """What a file says apart from times and places; any exception if it is not whole."""
    if path.is_dir():
        return "folder"
    if path.suffix == ".pt":
        return digest(checkpoint.load(path))
    if path.name == "result.json":
        run = result.load(path)
        curves = [{name: x for name, x in epoch.items() if name != "seconds"} for epoch in run.curves]
        return run.key, run.metrics, run.predictions, run.without_audio, run.best_epoch, curves
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, 4).cells
        return [(re.sub('"/.*?"', "", cell.source), bool(cell.get("execution_count"))) for cell in cells]
    if path.suffix == ".h5" and store.is_store(path):
        return store.read(path).checksum, store.info(path).header
    if path.suffix == ".md":
        return re.sub("median training .*", "", path.read_text(encoding="utf-8"))
    return path.read_bytes()


def digest(value: Any) -> Any:
    """A checkpoint as plain values without times and places."""
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.numpy().tobytes()).hexdigest()
    if isinstance(value, dict):
        return {key: digest(part) for key, part in value.items() if key not in ("seconds", "out", "teacher")}
    return [digest(part) for part in value] if isinstance(value, (list, tuple)) else value


def snapshot(folder: Path) -> tuple[Content, list[str]]:
    """The files and folders below a folder, and what is there only while somebody writes; locks do not count."""
    found, unfinished = {}, []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.endswith(".lock"):
            continue
        if name.endswith(".partial") or "/." in f"/{name}":
            unfinished.append(name)
        else:
            found[name] = content(path)
    return found, unfinished


# Commands


def command(*arguments: str) -> Callable[[], None]:
    return lambda: cli.main(arguments, prog_name="ktnet-lite")


def write_pickle(path: Path, seed: int) -> None:
    rng, splits = np.random.default_rng(seed), {}
    for split, clips in {"train": 60, "valid": 20, "test": 20}.items():
        sizes = {"text": 30, "vision": 20, "audio": 20}
        fields = {name: rng.normal(size=(clips, 50, dim)).astype("f4") for name, dim in sizes.items()}
        ids = [f"{split}{i}" for i in range(clips)]
        splits[split] = fields | {"labels": np.linspace(-3, 3, clips).reshape(clips, 1, 1), "id": ids}
    path.write_bytes(pickle.dumps(splits))


def with_pickles() -> None:
    for seed, name in enumerate(("earlier.pkl", "now.pkl")):
        write_pickle(Path(name), seed)


def with_raw_files() -> None:
    """The files of mmmo, small."""
    rng = np.random.default_rng(0)
    Path("raw").mkdir()
    shapes = {"text_{}_emb.h5": (20, 30), "video_{}.h5": (20, 6), "audio_{}.h5": (20, 7)}
    for split, clips in {"train": 40, "valid": 10, "test": 20}.items():
        arrays = {name.format(split): rng.normal(size=(clips, *shape)) for name, shape in shapes.items()}
        for name, array in {**arrays, f"y_{split}.h5": np.linspace(1, 5, clips)}.items():
            with h5py.File(Path("raw", name), "w", track_order=False) as file:
                file["d1"] = array


def fetch(recipe: int) -> Callable[[], None]:
    def run() -> None:
        raw = [RawFile(p.name, download.sha256_of(p), size=p.stat().st_size) for p in sorted(Path("raw").iterdir())]
        ENTRIES["mmmo"] = dataclasses.replace(ENTRIES["mmmo"], files=tuple(raw), recipe=recipe)
        cli.main(["data", "fetch", "mmmo", "--from", "raw", "--to", "data"], prog_name="ktnet-lite")

    return run


def with_model() -> None:
    config = TrainConfig(**TINY, variant="full", epochs=1)
    fit(config, synthetic.make((32, 8, 16)).dataset.on_grid(6), Path(), progress=False)
    Path("last.pt").unlink()


def with_grid() -> None:
    Path("tiny.yaml").write_text(GRID, encoding="utf-8")


def with_results() -> None:
    with_grid()
    size = TINY | {"epochs": 2, "device": "auto", "out": "runs"}
    for job in plan(TrainConfig(**size, variant=v, seed=s) for s in (0, 1) for v in ("full", "language")):
        make_result(job.config).save(job.folder / "result.json")


def train() -> None:
    train_here(TrainConfig(**TINY, epochs=4))  # and its teacher


def again() -> None:
    """Train, and lose the checkpoints, so that the next training starts from its beginning beside a finished result."""
    train()
    for path in Path("runs").rglob("last.pt"):
        path.unlink()


class Kind(NamedTuple):
    """A command, what it needs, and an earlier use of it that leaves other files in the same places."""

    share: int  # of 100
    inputs: Callable[[], None]
    earlier: Callable[[], None]
    now: Callable[[], None]


BY_NOTEBOOK = command("train", *(f"--{k}={v}" for k, v in TINY.items()), "--epochs=2", "--variant=full")
REPORT = "report", "tiny.yaml", "--results", "runs", "--to", "pages", "--seeds"
REPRODUCE = "reproduce", "tiny.yaml", "--out", "runs", "--publish", "shared", "--seeds"
KINDS = {
    "data convert": Kind(
        20,
        with_pickles,
        command("data", "convert", "earlier.pkl", "data.h5"),
        command("data", "convert", "now.pkl", "data.h5"),
    ),
    "data fetch": Kind(20, with_raw_files, fetch(0), fetch(1)),
    "predict": Kind(
        15,
        with_model,
        command("predict", "model.pt", "synthetic", "--out", "scores.csv", "--split", "valid"),
        command("predict", "model.pt", "synthetic", "--out", "scores.csv"),
    ),
    "report": Kind(15, with_results, command(*REPORT, "1"), command(*REPORT, "2")),
    "reproduce": Kind(14, with_results, command(*REPRODUCE, "1"), command(*REPRODUCE, "2")),
    "a training": Kind(10, lambda: None, again, train),
    "train": Kind(4, lambda: None, BY_NOTEBOOK, BY_NOTEBOOK),
    "reproduce, trained": Kind(2, with_grid, with_grid, command("reproduce", "tiny.yaml", "--out=runs", "--seeds=1")),
}
SLOW = {"train", "reproduce, trained"}  # those with a notebook


def start(run: Callable[[], None], folder: Path) -> int:
    """Start a command in a folder, in a process of its own with a TMPDIR of its own; return its number."""
    if number := os.fork():
        return number
    status = 1
    signal.alarm(LONGEST)
    try:
        temporary = folder.with_name(f"{folder.name}-tmp")
        temporary.mkdir(exist_ok=True)
        os.environ.update(TMPDIR=str(temporary), JUPYTER_RUNTIME_DIR=str(temporary / "jupyter"))
        tempfile.tempdir = None
        said = os.open(folder.with_name(f"{folder.name}-said"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.chdir(folder)
        run()
        status = 0
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def end(number: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def finish(run: Callable[[], None], folder: Path) -> float:
    """Run a command to its end; return the seconds that it took."""
    began = time.monotonic()
    if status := end(start(run, folder)):
        said = folder.with_name(f"{folder.name}-said").read_text(encoding="utf-8", errors="replace")
        raise AssertionError(f"status {status}: {said[-2000:]}")
    return time.monotonic() - began


class Expected(NamedTuple):
    """A folder before a command, and what the command does there undisturbed."""

    template: Path
    before: Content
    after: Content
    temporary: list[str]  # in TMPDIR
    seconds: float


def temporary(folder: Path) -> list[str]:
    """What is left in a command's TMPDIR, apart from Dask's folder, which it clears itself whenever it starts."""
    place = folder.with_name(f"{folder.name}-tmp")
    found = (path.relative_to(place).as_posix() for path in place.rglob("*"))
    return sorted(name for name in found if not name.startswith("dask-scratch-space"))


def expect(name: str, later: bool, base: Path) -> Expected:
    """Try a command undisturbed, for the first time or after an earlier use."""
    kind, template, folder = KINDS[name], base / "template", base / "folder"
    template.mkdir(parents=True)
    for step in (kind.inputs, kind.earlier)[: 1 + later]:
        finish(step, template)
    shutil.copytree(template, folder)
    seconds = finish(kind.now, folder)
    after, unfinished = snapshot(folder)
    assert not unfinished, unfinished
    return Expected(template, snapshot(template)[0], after, temporary(folder), seconds)


def differences(found: Content, *allowed: Content) -> list[str]:
    """Names of what is in none of the allowed states."""
    names = {*found, *(allowed[0] if len(allowed) == 1 else ())}
    return [name for name in sorted(names) if not any(name in a and a[name] == found.get(name, "") for a in allowed)]


def killed(run: Callable[[], None], template: Path, folder: Path, seconds: float, rng: random.Random) -> float:
    """Kill a command in a copy of a folder at a moment of the seconds that it takes; return the moment.

    One that has ended before is tried again with the seconds that it took.
    """
    while True:
        shutil.copytree(template, folder)
        moment, began = rng.uniform(0, seconds), time.monotonic()
        number, ended = start(run, folder), 0
        while not ended and (seconds := time.monotonic() - began) < moment:
            time.sleep(0.001)
            ended, _ = os.waitpid(number, os.WNOHANG)
        if not ended:
            os.kill(number, signal.SIGKILL)
            if end(number) == -signal.SIGKILL:
                return moment
        remove(folder)


def remove(folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.rmtree(folder.with_name(f"{folder.name}-tmp"))
    folder.with_name(f"{folder.name}-said").unlink()


def disturbed(folder: Path, expected: Expected) -> str:
    """Say what differs from an undisturbed run, or is left over; nothing if all is as it should be."""
    found, unfinished = snapshot(folder)
    if other := differences(found, expected.after):
        return f"{other} differ"
    left = unfinished + sorted({*temporary(folder)} - {*expected.temporary})
    return f"{left} are left over" if left else ""


def kill(name: str, expected: Expected, folder: Path, seed: int) -> str:
    """Kill a command once, check, run it again, check; return what was wrong."""
    moment = killed(KINDS[name].now, expected.template, folder, expected.seconds, random.Random(seed))
    try:
        found, _ = snapshot(folder)
        if lost := [name for name in expected.before if name not in found]:
            return f"after {moment:.2f} s {lost} are lost"
        seen = {name: x for name, x in found.items() if Path(name).name not in IN_PROGRESS}
        if damaged := differences(seen, expected.before, expected.after):
            return f"after {moment:.2f} s {damaged} are neither old nor new"
        finish(KINDS[name].now, folder)
        if fault := disturbed(folder, expected):
            return f"killed after {moment:.2f} s and run again, {fault}"
    except Exception as error:
        return f"after {moment:.2f} s: {type(error).__name__}: {error}"
    remove(folder)
    return ""


# Writes


def write_store(path: Path, which: int) -> None:
    data = DATA[which]
    store.write(path, data.header, data.splits.items(), progress=False)


def write_copy(path: Path, which: int) -> None:
    source = path.parent.with_name(f"source{which}")
    source.write_bytes(bytes([which]) * 300_000)
    download.copy(source, path)


DATA = [synthetic.make((12, 4, 6), seed=seed).dataset for seed in range(2)]
WRITES: dict[str, Callable[[Path, int], object]] = {
    "text": lambda path, which: files.write(path, f"{which}\n" * 200_000),
    "a checkpoint": lambda path, which: checkpoint.save(path, {"weight": torch.full((100_000,), float(which))}),
    "a result": lambda path, which: make_result(TrainConfig(seed=which)).save(path),
    "a store": write_store,
    "a copy": write_copy,
}
NAMES = {"text": "a.txt", "a checkpoint": "model.pt", "a result": "result.json", "a store": "a.h5", "a copy": "a.bin"}


def at_call(number: int, run: Callable[[], object]) -> int:
    """Run something, and end the process at a call into C or a return from one; return how many there are."""
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        if event.startswith("c_"):
            count += 1
            if count == number:
                os._exit(99)

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


def kill_writes(name: str, count: int, folder: Path, seed: int) -> tuple[int, list[str]]:
    """Kill so many writes of a file, half of them at a call and half at any moment; the next goes on in its place."""
    folder.mkdir(parents=True)
    write, path, rng, wrong = WRITES[name], folder / NAMES[name], random.Random(seed), []
    states = []
    for which in (1, 0):
        write(path, which)
        states.append(content(path))
    calls = at_call(0, lambda: write(path, 1))
    write(path, 0)
    began = time.monotonic()
    for _ in range(3):
        write(path, 0)
    seconds, done = (time.monotonic() - began) / 3, 0
    while done < count:
        moment = rng.randrange(1, calls + 1) if done % 2 else 0
        if not (number := os.fork()):
            signal.alarm(LONGEST)
            if moment:
                at_call(moment, lambda: write(path, 1))
                os._exit(0)
            for which in itertools.cycle((1, 0)):
                write(path, which)
            os._exit(0)
        if not moment:
            time.sleep(rng.uniform(0, 4 * seconds))
            os.kill(number, signal.SIGKILL)
        if not (status := end(number)):
            continue  # it has fewer calls than the first one
        done += 1
        if status not in (-signal.SIGKILL, 99):
            wrong.append(f"{name}: try {done}: status {status}")
        left = [other for other in folder.iterdir() if other != path]
        try:
            if content(path) not in states or len(left) > 1:
                wrong.append(f"{name}: try {done}: neither old nor new, or {left} left over")
        except Exception as error:
            wrong.append(f"{name}: try {done}: {type(error).__name__}: {error}")
    write(path, 0)
    if [*folder.iterdir()] != [path]:
        wrong.append(f"{name}: left over: {[*folder.iterdir()]}")
    return done, wrong


# Two at once


PAIRS: dict[str, tuple[str, Callable[[], None]]] = {  # the folder, a kind whose inputs it takes, what both run
    "data folder": ("data fetch", fetch(1)),
    "a file to convert to": ("data convert", KINDS["data convert"].now),
    "folder of a run and its teacher": ("a training", train),
    "folder of results to publish": ("reproduce", KINDS["reproduce"].now),
    "folder of pages": ("report", KINDS["report"].now),
    "file of scores": ("predict", KINDS["predict"].now),
    "folder of a run, by the notebook": ("train", BY_NOTEBOOK),
}


def pair(name: str, expected: Expected, folder: Path, seed: int) -> str:
    """Start a command twice at once, and check; return what was wrong."""
    shutil.copytree(expected.template, folder)
    _, run = PAIRS[name]
    both = [start(run, folder)]
    time.sleep(random.Random(seed).choice((0, 0, 0.3)) * random.Random(seed).random() * expected.seconds)
    both.append(start(run, folder))
    try:
        if any([end(number) for number in both]):
            said = folder.with_name(f"{folder.name}-said").read_text(encoding="utf-8", errors="replace")
            return f"a process failed: {said[-2000:]}"
        if fault := disturbed(folder, expected):
            return fault
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    remove(folder)
    return ""


def shares(kinds: dict[str, Kind], commands: int) -> Iterator[tuple[str, bool]]:
    """Kinds of commands by their shares, first one of each, and whether there was an earlier use."""
    every = sum(kind.share for kind in kinds.values())
    left = Counter({name: max(1, round(commands * kind.share / every)) for name, kind in kinds.items()})
    rounds = itertools.cycle(itertools.product((True, False), left))
    while left.total() > 0:
        later, name = next(rounds)
        if left[name]:
            left[name] -= 1
            yield name, later


@click.command()
@click.option("--commands", default=200, show_default=True, help="commands to kill")
@click.option("--writes", default=2000, show_default=True, help="writes to kill")
@click.option("--rounds", default=100, show_default=True, help="rounds of two at once in each shared folder")
@click.option("--notebook/--no-notebook", "with_notebook", default=True, help="with the commands that take 10 s")
@click.option("--only", default="", help="only what has this in its name")
@click.option("--lanes", default=2, show_default=True, help="tries at once")
@click.option("--seed", default=0, show_default=True, help="of the moments")
def main(commands, writes, rounds, with_notebook, only, lanes, seed):
    """Kill and start twice, show a table, and keep the folders of what went wrong; status 1 if anything did."""
    if not hasattr(os, "fork"):
        raise click.ClickException("this needs a system with fork and SIGKILL")
    torch.set_num_threads(1)
    for module in (*(f"ktnet_lite.{name}" for name in (*IMPORTED, "reporting.plots")), "torch._dynamo"):
        importlib.import_module(module)  # before the forks
    tqdm.monitor_interval = 0  # no thread beside the forks
    tqdm.set_lock(threading.RLock())  # the usual one is shared by forks, and who is killed would keep it
    base, began, wrong = Path(tempfile.mkdtemp(prefix="kill-")), time.monotonic(), []
    rows = [("WHAT", "TIMES", "WRONG")]
    kinds = {name: kind for name, kind in KINDS.items() if with_notebook or name not in SLOW}
    chosen = [(name, later) for name, later in itertools.islice(shares(kinds, commands), commands) if only in name]
    rounds_of = {name: rounds for name, (kind, _) in PAIRS.items() if only in name and kind in kinds}
    rounds_of |= {name: -(-rounds // 25) for name in rounds_of if PAIRS[name][0] in SLOW}
    needed = sorted({*chosen, *((PAIRS[name][0], False) for name, count in rounds_of.items() if count)})
    with ProcessPoolExecutor(lanes, multiprocessing.get_context("fork")) as pool:
        tried = [pool.submit(expect, *state, base / f"expected-{i}") for i, state in enumerate(needed)]
        states = {state: future.result() for state, future in zip(needed, tried, strict=True)}
        tries = defaultdict(list)
        for i, (name, later) in enumerate(chosen):
            tries[name].append(pool.submit(kill, name, states[name, later], base / f"command-{i}", seed + i))
        inside = {
            name: pool.submit(kill_writes, name, writes // len(WRITES), base / f"write-{i}" / "x", seed + i)
            for i, name in enumerate(WRITES)
            if writes and only in name
        }
        twice = {
            name: [
                pool.submit(pair, name, states[PAIRS[name][0], False], base / f"pair-{i}-{k}", seed + k)
                for k in range(count)
            ]
            for i, (name, count) in enumerate(rounds_of.items())
        }
        for name, futures in tries.items():
            faults = [f"{name}: {fault}" for future in futures if (fault := future.result())]
            wrong += faults
            rows.append((f"killed: {name}", str(len(futures)), str(len(faults))))
        for name, future in inside.items():
            count, faults = future.result()
            wrong += faults
            rows.append((f"killed in a write of {name}", str(count), str(len(faults))))
        for name, futures in twice.items():
            faults = [f"two at once, {name}: {fault}" for future in futures if (fault := future.result())]
            wrong += faults
            rows.append((f"two at once: {name}", str(len(futures)), str(len(faults))))
    click.echo(table(rows))
    click.echo(f"{time.monotonic() - began:.0f} s")
    for fault in wrong:
        click.echo(fault, err=True)
    if wrong:
        raise click.ClickException(f"{len(wrong)} went wrong; see the folders in {base}")
    shutil.rmtree(base)


if __name__ == "__main__":
    main()
