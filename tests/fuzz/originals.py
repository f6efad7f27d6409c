"""Small valid files of every format that the package reads, from which mutants are made."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ktnet_lite.data import store
from ktnet_lite.data.schema import Dataset, Header, Split, Stream

COUNTS = {"train": 6, "valid": 4, "test": 4}
DIMS = {"text": 5, "vision": 4, "audio": 3}
VIDEOS = ("va", "vb", "vc", "vd")


def mult(rng: np.random.Generator) -> dict[str, Any]:
    """MulT's layout, sentiment."""
    content = {}
    for name, n in COUNTS.items():
        fields: dict[str, Any] = {field: rng.normal(size=(n, 6, dim)).astype("f4") for field, dim in DIMS.items()}
        scores = np.round(rng.uniform(-3, 3, (n, 1, 1)), 1)
        scores[:2, 0, 0] = 2.5, -2.5
        content[name] = fields | {"labels": scores, "id": [f"{name}{i}" for i in range(n)]}
    return content


def iemocap(rng: np.random.Generator) -> dict[str, Any]:
    """MulT's layout, emotions; ids are rows of bytes."""
    content = mult(rng)
    for name, fields in content.items():
        hot = rng.integers(0, 2, (len(fields["id"]), 4))
        fields["labels"] = np.stack([1 - hot, hot], axis=2)
        fields["id"] = np.array([[f"{name}{i}".encode(), b"0.5"] for i in range(len(hot))])
    return content


def mmsa(rng: np.random.Generator) -> dict[str, Any]:
    """MMSA's layout, unaligned."""
    content = mult(rng)
    for fields in content.values():
        n = len(fields["id"])
        fields |= {"regression_labels": fields.pop("labels")[:, 0, 0], "audio_lengths": [6] * n}
        fields |= {"vision_lengths": [5] * n, "text_bert": np.ones((n, 3, 6)), "raw_text": ["so good"] * n}
        fields["audio"] = rng.normal(size=(n, 9, 3))
    return content


def misa(rng: np.random.Generator) -> dict[str, Any]:
    """MISA's layout, in one file as MAG-BERT has it."""
    content = {}
    for name, n in (("train", 6), ("dev", 4), ("test", 4)):
        clips = []
        for i in range(n):
            parts = np.arange(3), rng.normal(size=(3, 4)), rng.normal(size=(3, 2)), ["so", "good", "film"]
            clips.append((parts, np.array([[rng.uniform(-3, 3)]]), f"{name}[{i}]"))
        content[name] = clips
    return content


def write_store(folder: Path, rng: np.random.Generator) -> Path:
    """A file of this package, with words and without vision in one split."""
    splits = {}
    for name, n in COUNTS.items():
        lengths = rng.integers(1, 4, n)
        streams = {
            modality: Stream(rng.normal(size=(lengths.sum(), dim)).astype("f4"), lengths)
            for modality, dim in (("language", 5), ("vision", 4), ("audio", 3))
            if (name, modality) != ("valid", "vision")
        }
        words = tuple(("so", "good", "film")[:length] for length in lengths)
        splits[name] = Split(streams, rng.uniform(-3, 3, n).astype("f4"), tuple(f"{name}{i}" for i in range(n)), words)
    data = Dataset(Header("toy", "sentiment", True, {"source": "made up", "licence": "none"}), splits)
    store.write(folder / "m.h5", data.header, data.splits.items(), progress=False)
    return folder / "m.h5"


def write_csd(folder: Path, rng: np.random.Generator) -> Path:
    """A folder of the SDK's files, with words and folds."""
    times = np.stack([np.arange(8), np.arange(8) + 1], 1) * 0.5
    files = {
        "words": ("words", np.array([[b"good"], [b"bad"]] * 4), times),
        "COVAREP": ("COVAREP", rng.normal(size=(8, 74)), times),
        "labels": ("Opinion Segment Labels", np.array([[2.0], [-2.0]]), np.array([[0.0, 2], [2, 4]])),
    }
    for name, (root, features, intervals) in files.items():
        with h5py.File(folder / f"{name}.csd", "w") as file:
            file.create_group(f"{root}/metadata")
            for video in VIDEOS:
                file[f"{root}/data/{video}/features"] = features
                file[f"{root}/data/{video}/intervals"] = intervals
    folds = {"train": VIDEOS[:-2], "valid": [VIDEOS[-2]], "test": [VIDEOS[-1]]}
    (folder / "folds.json").write_text(json.dumps(folds), encoding="utf-8")
    return folder


def write_mfn(folder: Path, rng: np.random.Generator) -> Path:
    """A folder of MFN's files."""
    for name, n in COUNTS.items():
        arrays = {f"text_{name}_emb.h5": 5, f"video_{name}.h5": 4, f"audio_{name}.h5": 3}
        for file_name, dim in arrays.items():
            with h5py.File(folder / file_name, "w") as file:
                file["d1"] = rng.normal(size=(n, 6, dim)).astype("f4")
        with h5py.File(folder / f"y_{name}.h5", "w") as file:
            file["d1"] = rng.uniform(1, 5, n)
    return folder


PICKLES: dict[str, Callable[[np.random.Generator], Any]] = {
    "mult": mult,
    "iemocap": iemocap,
    "mmsa": mmsa,
    "misa": misa,
}
FOLDERS: dict[str, Callable[[Path, np.random.Generator], Path]] = {
    "store": write_store,
    "csd": write_csd,
    "mfn": write_mfn,
}
FORMATS = (*PICKLES, *FOLDERS)


def dump(content: Any, path: Path, protocol: int) -> Path:
    """Write a pickle."""
    path.write_bytes(pickle.dumps(content, protocol))
    return path
