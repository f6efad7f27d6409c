"""Make mutants of files of every format, give them to the package, and count what comes out.

    python -m fuzz --count 20000          # in tests/; make fuzz COUNT=20000 from the top

Every mutant goes through one entry point in a process with 1.5 GB of memory and 10 seconds. The outcomes: ``clean``, an
error for people; ``same``, the original content; ``changed``, other content than the original's; and the failures
``raw`` (any other error), ``signal`` (the process ended), ``slow``, ``memory``, ``ran`` (code of the file was run). In
the store, whose checksums cover everything, ``changed`` is a failure too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fuzz import mutations, originals

FAILURES = ("raw", "signal", "slow", "memory", "ran")
MEMORY, SECONDS = 1_500_000_000, 10


def load(path: Path) -> str:
    """Read it as training does."""
    from ktnet_lite.data import readers
    from ktnet_lite.data.schema import Dataset

    with readers.naming(path):
        return Dataset.collect(*readers.open_source(path)).checksum


def repaired(path: Path) -> str:
    """Read it with every repair."""
    from ktnet_lite.data import readers
    from ktnet_lite.data.schema import Dataset

    choices = {"replace_nonfinite": True, "drop_bad_clips": True, "score_range": (-3.0, 3.0)}
    return Dataset.collect(*readers.open_source(path, **choices)).checksum


def doctor(path: Path) -> str:
    """Examine it, and read it if the doctor finds no error: then that must work."""
    from ktnet_lite.data import doctor
    from ktnet_lite.errors import DataError

    report = doctor.check(path)
    str(report)
    if report.errors:
        raise DataError(report.errors[0].what)
    try:
        return load(path)
    except DataError as error:
        raise AssertionError(f"the doctor passed it: {error}") from error


def parts(path: Path) -> str:
    """Read what a file of this package says of itself, and each part alone."""
    from ktnet_lite.cli.data import _info
    from ktnet_lite.data import store
    from ktnet_lite.data.catalogue import fingerprint

    about = store.info(path)
    _info(path)
    fingerprint(str(path))
    for name in about.clips:
        store.read(path, [name])
    store.read(path, modalities=["language"])
    return store.read(path, splits=(), verify=True) and store.read(path).checksum


ENTRIES: dict[str, Callable[[Path], str]] = {"load": load, "repaired": repaired, "doctor": doctor}


def mutant(form: str, number: int, seed: int, folder: Path) -> tuple[Path, str, str]:
    """Make a mutant; return its path, the kind of mutation and the entry point."""
    rng, numbers = random.Random(f"{seed} {form} {number}"), np.random.default_rng(seed)
    entry = rng.choice([*ENTRIES, *(["parts"] if form == "store" else [])])
    if form in originals.PICKLES:
        tree, protocol = originals.PICKLES[form](numbers), rng.choice((0, 2, 4, 5))
        kind = rng.choice(("content", "bytes", "opcodes"))
        if kind == "content":
            tree = mutations.content(tree, rng)
        path = originals.dump(tree, folder / "m.pkl", protocol)
        if kind != "content":
            change = mutations.of_bytes if kind == "bytes" else mutations.opcodes
            path.write_bytes(change(path.read_bytes(), rng))
        return path, kind, entry
    path = originals.FOLDERS[form](folder, numbers)
    file = path if path.is_file() else rng.choice(sorted(path.iterdir()))
    kind = rng.choice(("bytes", "structure", "json") if form == "store" else ("bytes", "structure"))
    if kind == "bytes" or file.suffix == ".json":
        file.write_bytes(mutations.of_bytes(file.read_bytes(), rng))
    else:
        (mutations.hdf5 if kind == "structure" else mutations.stored_json)(file, rng)
    return path, kind, entry


def examine(form: str, number: int, seed: int, folder: Path, original: str) -> dict[str, Any]:
    """Make a mutant and give it to the package, in this process."""
    from ktnet_lite.errors import KTNetError

    folder.mkdir()
    path, kind, entry = mutant(form, number, seed, folder)
    outcome: dict[str, Any] = {"form": form, "number": number, "kind": kind, "entry": entry}
    try:
        found = (ENTRIES | {"parts": parts})[entry](path)
        outcome["what"] = "same" if found == original else "changed"
    except KTNetError as error:
        outcome |= {"what": "clean", "message": str(error).replace(str(path), "FILE")[:200]}
    except MemoryError:
        outcome |= {"what": "memory", "message": traceback.format_exc()[-600:]}
    except BaseException:
        outcome |= {"what": "raw", "message": traceback.format_exc()[-600:]}
    if Path("RAN").exists():
        outcome["what"] = "ran"
    shutil.rmtree(folder)
    return outcome


def work(forms: list[str], numbers: range, seed: int) -> None:
    """Examine mutants one after another, in a process of their own; print one line before and one after each."""
    import resource
    import signal

    import h5py

    import ktnet_lite.data.doctor  # noqa: F401  # before the limits

    h5py._errors.silence_errors()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        sound = {}
        for form in forms:
            folder = Path("sound", form)
            folder.mkdir(parents=True)
            if form in originals.PICKLES:
                path = originals.dump(originals.PICKLES[form](np.random.default_rng(seed)), folder / "m.pkl", 4)
            else:
                path = originals.FOLDERS[form](folder, np.random.default_rng(seed))
            sound[form] = load(path)
        for number in numbers:
            form = forms[number % len(forms)]
            print(json.dumps({"form": form, "number": number}), flush=True)
            signal.alarm(SECONDS)
            print(json.dumps(examine(form, number, seed, Path(f"m{number}"), sound[form])), flush=True)
            signal.alarm(0)


def outcomes(forms: list[str], numbers: range, seed: int) -> Iterator[dict[str, Any]]:
    """Examine mutants in worker processes; start another where one ends."""
    while numbers:
        command = [sys.executable, "-m", "fuzz", "--work", f"{numbers.start}:{numbers.stop}:{numbers.step}"]
        command += ["--seed", str(seed), "--formats", ",".join(forms)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
        ) as worker:
            begun = None
            for line in worker.stdout or ():
                outcome = json.loads(line)
                if "what" in outcome:
                    begun = None
                    numbers = range(outcome["number"] + numbers.step, numbers.stop, numbers.step)
                    yield outcome
                else:
                    begun = outcome
            error = (worker.stderr.read() if worker.stderr else "")[-600:]
        if begun is None:
            if numbers:
                raise RuntimeError(f"the worker ended early: {error}")
            return
        what = "slow" if worker.returncode == -14 else "signal"
        yield begun | {"what": what, "kind": "", "entry": "", "message": f"status {worker.returncode} {error}"}
        numbers = range(begun["number"] + numbers.step, numbers.stop, numbers.step)


def main() -> int:
    """Run, print a table and the failures; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="mutants, over all formats")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", default=",".join(originals.FORMATS))
    parser.add_argument("--only", type=int, help="show the outcome of this one mutant")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    forms = chosen.formats.split(",")
    if chosen.work:
        work(forms, range(*map(int, chosen.work.split(":"))), chosen.seed)
        return 0
    numbers = range(chosen.count) if chosen.only is None else range(chosen.only, chosen.only + 1)
    counts: Counter[tuple[str, str]] = Counter()
    failures = []
    for outcome in outcomes(forms, numbers, chosen.seed):
        counts[outcome["form"], outcome["what"]] += 1
        if outcome["what"] in FAILURES or (outcome["form"], outcome["what"]) == ("store", "changed"):
            failures.append(outcome)
        if chosen.only is not None:
            print(json.dumps(outcome, indent=1))
    columns = ("clean", "same", "changed", *FAILURES)
    print("".join(f"{text:>10}" for text in ("format", *columns)))
    for form in forms:
        print("".join(f"{text:>10}" for text in (form, *(counts[form, what] for what in columns))))
    for failure in failures[:20]:
        print(f"\n{failure['form']} {failure['number']}: {failure['what']} ({failure['kind']}, {failure['entry']})")
        print(failure.get("message", ""))
    print(f"\n{len(failures)} failures of {sum(counts.values())} mutants")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
