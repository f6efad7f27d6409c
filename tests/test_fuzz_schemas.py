"""Damaged and hostile result files, grids, parameters and checkpoints: an error in words, or content that can be used.

KTNET_FUZZ is the number of mutants of each format; the first ones are always the same. A mutant is known by its format
and number: ``python tests/test_fuzz_schemas.py result 17`` runs one, ``... result 0 5000`` many, and shows the figures.
"""

import contextlib
import dataclasses
import functools
import io
import json
import math
import os
import pickletools
import random
import re
import subprocess
import sys
import tempfile
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
import yaml

from ktnet_lite.config import TrainConfig
from ktnet_lite.data.schema import Dataset, Header
from ktnet_lite.errors import KTNetError
from ktnet_lite.experiments import grids, result
from ktnet_lite.experiments.estimate import Estimate
from ktnet_lite.experiments.plan import plan
from ktnet_lite.experiments.runs import parameters_from
from ktnet_lite.reporting import compare, frame, markdown, reproduce
from ktnet_lite.training import checkpoint
from ktnet_lite.training.build import load_model
from ktnet_lite.training.evaluation import predict
from ktnet_lite.training.loop import fit
from made import make_result
from small import UNALIGNED, make_split
from test_checkpoint import same

COUNT = int(os.environ.get("KTNET_FUZZ") or 60)
BATCH = 500  # mutants of checkpoints in one process
MEMORY = 2 * 2**30  # of such a process, beside what its libraries map
HUGE, DEEP = "HUGEHUGE", "DEEPDEEP"  # written as a number of 5,000 digits, and as 100,000 lists in one another
WEIRD: list[Any] = [
    *(None, True, False, 0, -1, 3, 1.5, -0.0, 1e-320, 1e300, -1e39, math.nan, math.inf, -math.inf),
    *(2**31, 2**63, -(10**30), 10**400, HUGE, DEEP, "a" * 10_000),
    *("", "x", "1e-3", "\0", "\ud800", "\u202e|\n", "=1+1", "../../x"),
    *([], {}, [[]], [None], {"": 0}, {"x": {"x": []}}, [0.5] * 50, ["x"] * 3),
]
Tree = Any
Path_ = tuple[Any, ...]


def places(tree: Tree, place: Path_ = ()) -> Iterator[Path_]:
    """The place of each part of a tree of dicts and lists."""
    yield place
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(value, (*place, key))


def at(tree: Tree, place: Path_) -> Tree:
    return functools.reduce(lambda part, key: part[key], place, tree)


def copied(tree: Tree) -> Tree:
    if isinstance(tree, dict):
        return {key: copied(value) for key, value in tree.items()}
    return [copied(value) for value in tree] if isinstance(tree, list) else tree


def mutate(tree: Tree, rng: random.Random, weird: list[Any] = WEIRD) -> Tree:
    """Change a tree in one to three places."""
    tree = copied(tree)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        # Large lists must not hide the rest: first a length, then a place.
        known = list(places(tree))
        depth = rng.choice(sorted({len(place) for place in known}))
        place = rng.choice([place for place in known if len(place) == depth])
        if not place:
            if rng.random() < 0.1:
                tree = rng.choice(weird)
            continue
        parent, key = at(tree, place[:-1]), place[-1]
        if not isinstance(parent, (dict, list)):
            continue
        kind = rng.randrange(9)
        if kind == 0:
            del parent[key]
        elif kind <= 3:
            parent[key] = copied(rng.choice(weird))
        elif kind == 4:
            parent[key] = [parent[key]] if rng.random() < 0.5 else {"x": parent[key]}
        elif kind == 5:
            parent[key] = copied(at(tree, rng.choice(known)))
        elif kind == 6 and isinstance(parent, dict):
            parent[rng.choice((str(key).upper(), "x", f"{key} ", ""))] = parent.pop(key)
        elif kind == 7 and isinstance(parent[key], list):
            parent[key] = parent[key] * 2 if rng.random() < 0.5 else parent[key][: len(parent[key]) // 2]
        elif isinstance(parent[key], (int, float)) and not isinstance(parent[key], bool):
            parent[key] = rng.choice((-parent[key], parent[key] * 10**6, parent[key] + 1, str(parent[key])))
    return tree


def scratch(content: bytes, rng: random.Random) -> bytes:
    """Change bytes: flip, cut, insert, repeat."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        i, kind = rng.randrange(len(changed) + 1), rng.randrange(6)
        if kind <= 1 and i < len(changed):
            changed[i] ^= 1 << rng.randrange(8)
        elif kind == 2:
            changed[i:i] = rng.choice((b"\xff", b"\0", b"[", b"{", b'"', b"\n", b"&a ", b"*a", b": ", b"\t"))
        elif kind == 3:
            del changed[i : i + rng.choice((1, 4, 100))]
        elif kind == 4:
            changed[i:i] = changed[i : i + rng.choice((8, 100))]
        elif rng.random() < 0.2:
            del changed[i:]
    return bytes(changed)


def written(tree: Tree, kind: str) -> str:
    """A tree as JSON or YAML, with the numbers and the depth that Python does not write."""
    if kind == "json":
        text = json.dumps(tree, indent=1).replace(f'"{HUGE}"', HUGE).replace(f'"{DEEP}"', DEEP)
    else:
        text = yaml.dump(tree, allow_unicode=True)
    return text.replace(HUGE, "7" * 5000).replace(DEEP, "[" * 100_000 + "]" * 100_000)


# Result files: mutants beside a sound one, through every reader


@functools.cache
def sound_results() -> list[Tree]:
    configs = TrainConfig(variant="full"), TrainConfig(variant="ours", task="emotion"), TrainConfig(model="linear")
    made = [make_result(config, clips=8, without_audio={"zero": 0.8}) for config in configs]
    plain = [msgspec.to_builtins(run) for run in made]
    with tempfile.TemporaryDirectory() as folder:
        published = [run.publish(Path("runs", "d", str(i)), Path(folder)) for i, run in enumerate(made)]
        plain += [json.loads(path.read_text(encoding="utf-8")) for path in published]
    return plain


def result_file(path: Path, rng: random.Random) -> None:
    tree = rng.choice(sound_results())
    if rng.random() < 0.2:
        path.write_bytes(scratch(written(tree, "json").encode(), rng))
        return
    if isinstance(tree["predictions"], str) and rng.random() < 0.7:
        name = rng.choice(result.PACKED)
        inside = written(mutate(json.loads(bytes(result._unpack(tree[name]))), rng), "json")
        packed = result.zlib.compress(inside.encode("utf-8", "surrogatepass"))
        if rng.random() < 0.2:
            packed = scratch(packed, rng)
        tree = tree | {name: result.base64.b64encode(packed).decode()}
    else:
        tree = mutate(tree, rng)
    path.write_text(written(tree, "json"), encoding="utf-8", errors="surrogatepass")


def read_result(path: Path) -> None:
    """Everything that a result can be read for."""
    sound = path.with_name("sound.json")
    other = result.load(sound) if sound.exists() else make_result(TrainConfig(variant="language", seed=3), clips=8)
    other.save(sound)
    run = result.load(path)
    Estimate().learn(run)
    run.publish(path.parent / "runs" / "run", path.parent / "published")
    result.load(path.parent / "published" / "runs" / "run.result.json")
    both = frame.load([path, sound])
    for use in (
        lambda: compare.compare(run, other),
        lambda: compare.compare(run, run),
        lambda: compare.table(frame.comparable([run, other])),
        lambda: compare.differences(frame.comparable([run])),
        lambda: markdown.page(reproduce.build(small_grid(), both, 1)),
        lambda: markdown.provenance([run, other]),
    ):
        with contextlib.suppress(KTNetError):
            "\n".join(use()).encode()


# Grids of one's own


@functools.cache
def small_grid() -> grids.Grid:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.yaml"
        path.write_text(written(OWN, "yaml"), encoding="utf-8")
        return grids.load(path)


OWN = {
    "title": "Mine",
    "about": "Two variants.",
    "paper": "I",
    "metrics": ["mae", "corr", "accuracy_mean"],
    "rows": {"full": {"variant": "full", "learning_rate": 1e-3}, "linear": {"model": "linear"}, "plain": None},
    "columns": {"one": "all", "two": ["full", "linear"]},
    "data": {"synthetic": {"one": {"dataset": "synthetic"}, "two": {"task": "emotion", "clips": 24}}},
    "without": {"synthetic": ["plain"]},
    "compare": [["full", "linear"]],
}
LAUGHS = "a: &a0 [x, x]\n" + "".join(f"b{i}: &a{i + 1} [*a{i}, *a{i}, *a{i}]\n" for i in range(60))
MERGES = "a: &a0 {x: 1}\n" + "".join(f"b{i}: &a{i + 1} {{<<: [*a{i}, *a{i}], y: 1}}\n" for i in range(60))
ODD = [
    *("", "#\n", "-\n", "a: [", "a: &a [*a]", "rows: &r {x: *r}\n", "<html>\n", "\tx: 1\n", "--- 1\n--- 2\n"),
    *("on: 1\n", "1: 2\n", "a: 1\na: 2\n", "? [x]\n: 1\n", "=: =\n", 'a: "\\ud800"\n', LAUGHS, MERGES),
    *(f"a: {value}\n" for value in ("!!int x", "!!float ''", "!!bool x", "!!binary x", "!!set {x}", "!!timestamp x")),
    *(f"a: {value}\n" for value in ("!!python/name:os.system", "2001-99-99", "7" * 5000, "0x" + "f" * 5000, "1:60")),
]


def grid_file(path: Path, rng: random.Random) -> None:
    text = written(mutate(OWN, rng), "yaml")
    if rng.random() < 0.3:
        text = rng.choice(ODD) if rng.random() < 0.5 else f"{written(OWN, 'yaml')}{rng.choice(ODD)}"
    content = text.encode("utf-8", "surrogatepass")
    path.write_bytes(scratch(content, rng) if rng.random() < 0.3 and content else content)


def read_grid(path: Path) -> None:
    grid = grids.load(path)
    first, *_ = grid.data
    cells = [cell for data in grid.data for cell in grid.cells(data) if reproduce.available(grid, data) is not None]
    made = [make_result(config, clips=8) for cell in grid.cells(first)[:2] for config in cell.configs([0])]
    built = reproduce.build(grid, frame.frame(made), 1)
    markdown.page(built).encode()
    for table in built:
        for column in table.columns:
            name = markdown.picture_name(table, column)
            assert Path(name).name == name and len(name) < 250
    for cell in cells[:3]:
        with contextlib.suppress(KTNetError):
            plan(cell.configs([0]))


# Parameters, as papermill hands them on


def parameters_file(path: Path, rng: random.Random) -> None:
    path.write_text(written(mutate(TrainConfig().as_dict(), rng), "yaml"), encoding="utf-8", errors="surrogatepass")


def read_parameters(path: Path) -> None:
    try:
        parameters = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError):  # papermill's, not ours
        return
    if isinstance(parameters, dict) and all(isinstance(name, str) for name in parameters):
        json.dumps(parameters_from(parameters).as_dict()).encode()


# Checkpoints

TINY = {"dim": 4, "heads": 2, "layers": 1, "epochs": 1, "batch_size": 8, "device": "cpu"}
PRETRAINED = {"variant": "ours", "treatment": "descriptors", "pretrain": 1}
SYSTEMS = [{"variant": "language"}, PRETRAINED, {"model": "mult"}, {"model": "linear"}]


@functools.cache
def data() -> Dataset:
    lengths = {name: counts * 2 for name, counts in UNALIGNED.items()}
    splits = [(name, make_split(lengths, seed=i)) for i, name in enumerate(("train", "valid", "test"))]
    splits = [(name, dataclasses.replace(split, ids=tuple(f"{name}{i}" for i in range(8)))) for name, split in splits]
    return Dataset.collect(Header("tiny", "sentiment", aligned=False), splits)


@functools.cache
def sound_checkpoint(name: str, system: int) -> tuple[bytes, Tree]:
    with tempfile.TemporaryDirectory() as folder:
        fit(TrainConfig(**TINY, **SYSTEMS[system]), data(), folder, progress=False)
        return (Path(folder) / name).read_bytes(), checkpoint.load(Path(folder) / name)


@functools.cache
def weird_tensors() -> list[Any]:
    whole = torch.ones(4, 4)
    return [
        *(whole.T[:3], whole[1:3, 1:], whole.double(), whole.half(), whole.bfloat16(), whole.long(), whole.bool()),
        *(whole, whole * math.nan, -whole, whole.to(torch.complex64), whole.to_sparse(), whole.to_sparse_csr()),
        *(torch.quantize_per_tensor(whole, 0.1, 0, torch.qint8), torch.ones(1).expand(10**12)),
        *(torch.empty(0), torch.empty(0, 4), torch.tensor(1.0), torch.empty(4, device="meta")),
        *(torch.nn.Parameter(whole), whole.numpy(), np.float64(1), torch.Size([4]), whole.untyped_storage()),
        *(torch.float32, (1, 2), {1, 2}, b"bytes", complex(1, 2), Counter("aab"), 2**40, -(2**40), 1e39),
    ]


def checkpoint_file(name: str, path: Path, rng: random.Random) -> None:
    system = rng.randrange(len(SYSTEMS) - (name == "last.pt"))  # a solved model has no last.pt
    whole, tree = sound_checkpoint(name, system)
    kind = rng.randrange(4)
    path.with_name("origin").write_text(json.dumps([system, kind]), encoding="utf-8")
    if kind == 0:
        path.write_bytes(scratch(whole, rng))
    elif kind == 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.save(mutate(tree, rng, WEIRD + 2 * weird_tensors()), path)
    else:
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            parts = [(part.filename, archive.read(part)) for part in archive.infolist()]
        parts = other_pickle(parts, rng) if kind == 2 else other_parts(parts, rng)
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
            warnings.simplefilter("ignore")
            for part, content in parts:
                packing = zipfile.ZIP_DEFLATED if kind == 3 and rng.random() < 0.02 else zipfile.ZIP_STORED
                archive.writestr(part, content, packing)
        if kind == 3 and rng.random() < 0.5:
            path.write_bytes(directory_scratched(path.read_bytes(), rng))


Parts = list[tuple[str, bytes]]


def other_pickle(parts: Parts, rng: random.Random) -> Parts:
    """Change the opcodes of the content, with checksums that are right."""
    ((name, content),) = [part for part in parts if part[0].endswith("data.pkl")]
    starts = [position for _, _, position in pickletools.genops(content)]
    for _ in range(rng.choice((1, 1, 2, 5))):
        i = rng.choice(starts)
        opcode = rng.choice([opcode.code.encode("latin1") for opcode in pickletools.opcodes])
        tail = rng.choice((b"", b"\0", b"\xff\xff\xff\x7f", b"\x05\0\0\0\0\0\0\0", b"torch\nTensor\n", b"os\nsystem\n"))
        kind = rng.randrange(5)
        if kind == 0:
            content = content[:i] + opcode + tail + content[i:]
        elif kind == 1:
            content = content[:i] + opcode + content[i + 1 :]
        elif kind == 2:
            content = content[:i] + content[rng.choice(starts) :]
        elif kind == 3:
            content = content[:i] + b"\x85" * rng.choice((1, 100_000)) + content[i:]
        else:
            content = re.sub(rb"K[\x01-\x10]", lambda found: rng.choice((found[0], b"K\0", b"J\0\0\0\x7f")), content)
    return [(part, content if part == name else whole) for part, whole in parts]


def other_parts(parts: Parts, rng: random.Random) -> Parts:
    """Parts that are missing, twice, larger, smaller, elsewhere or others."""
    i = rng.randrange(len(parts))
    name, content = parts[i]
    changes: list[Callable[[], Parts]] = [
        lambda: parts[:i] + parts[i + 1 :],
        lambda: [*parts, (name, scratch(content, rng) if content else b"x")],
        lambda: [*parts, (rng.choice(("../x", "/x", "C:\\x", "last/../../x", "x/data.pkl", "x")), b"x")],
        lambda: [*parts[:i], (name, content * 2), *parts[i + 1 :]],
        lambda: [*parts[:i], (name, content[: len(content) // 2]), *parts[i + 1 :]],
        lambda: [*parts[:i], (name, b""), *parts[i + 1 :]],
        lambda: [*parts[:i], (name.upper(), content), *parts[i + 1 :]],
        lambda: [(part, b"big" if part.endswith("byteorder") else whole) for part, whole in parts],
    ]
    return rng.choice(changes)()


def directory_scratched(content: bytes, rng: random.Random) -> bytes:
    start = content.index(b"PK\x01\x02")
    changed = bytearray(content)
    for _ in range(rng.choice((1, 2, 4))):
        changed[rng.randrange(start, len(changed))] = rng.choice((0, 1, 0x10, 0x7F, 0xFF, rng.randrange(256)))
    return bytes(changed)


def read_model(path: Path) -> None:
    unchanged(path)
    model, config = load_model(path)
    json.dumps(config.as_dict())
    assert np.isfinite(predict(model, data()["test"])).all()


def read_last(path: Path) -> None:
    system = SYSTEMS[unchanged(path)]
    run = fit(TrainConfig(**TINY | {"epochs": 2}, **system), data(), path.parent, progress=False)
    assert len(run.history) == 2


def unchanged(path: Path) -> int:
    """Check that changed bytes have not changed the content in silence; return the number of the system."""
    system, kind = json.loads(path.with_name("origin").read_text(encoding="utf-8"))
    assert kind != 0 or same(checkpoint.load(path), sound_checkpoint(path.name, system)[1]), "changed in silence"
    return system


FORMATS: dict[str, tuple[Callable[[Path, random.Random], None], Callable[[Path], None]]] = {
    "result": (result_file, read_result),
    "grid.yaml": (grid_file, read_grid),
    "parameters.yaml": (parameters_file, read_parameters),
    "model.pt": (functools.partial(checkpoint_file, "model.pt"), read_model),
    "last.pt": (functools.partial(checkpoint_file, "last.pt"), read_last),
}


def outcomes(kind: str, numbers: range, folder: Path) -> Counter[str]:
    """Read mutants; count those that are refused in words, those that can be used, and every other end by its place."""
    make, read = FORMATS[kind]
    counts: Counter[str] = Counter()
    for number in numbers:
        path = folder / (kind if "." in kind else f"{kind}.json")
        make(path, random.Random(f"{kind} {number}"))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(path)
            counts["usable"] += 1
        except KTNetError as error:
            wrong = not str(error).encode() or len(str(error)) > 40_000
            counts[f"a message of {len(str(error))} characters: {number}" if wrong else "refused"] += 1
        except Exception as error:
            calls = traceback.extract_tb(error.__traceback__)[::-1]
            place = next((call for call in calls if "ktnet_lite" in call.filename), calls[0])
            where = f"{Path(place.filename).name}:{place.lineno} {str(error)[:100]}"
            counts[f"{type(error).__name__} at {where}: {kind} {number}"] += 1
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["result", "grid.yaml", "parameters.yaml"])
def test_a_mutant_is_refused_in_words_or_can_be_used(kind, tmp_path):
    counts = outcomes(kind, range(COUNT), tmp_path)
    assert counts.keys() == {"refused", "usable"}, counts


@pytest.mark.process
@pytest.mark.parametrize("kind", ["model.pt", "last.pt"])
def test_a_mutant_of_a_checkpoint_is_refused_or_can_be_used_within_2_gb(kind):
    for start in range(0, COUNT, BATCH):
        command = [sys.executable, __file__, kind, str(start), str(min(start + BATCH, COUNT))]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"


def main(kind: str, start: int, end: int) -> None:
    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])  # many with PyTorch's CUDA build
        resource.setrlimit(resource.RLIMIT_AS, [pages * resource.getpagesize() + MEMORY] * 2)
    with tempfile.TemporaryDirectory() as folder:
        counts = outcomes(kind, range(start, end), Path(folder))
    print(json.dumps(counts, indent=1))
    sys.exit(len(counts.keys() - {"refused", "usable"}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int((sys.argv[3:] or [int(sys.argv[2]) + 1])[0]))
