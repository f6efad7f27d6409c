"""The result file of a run: everything that a table or a figure needs, in one JSON file.

Written last and in one piece, so a file that exists is complete.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ktnet_lite import __version__
from ktnet_lite.config import NOT_SCIENCE, TrainConfig
from ktnet_lite.data.catalogue.entries import ENTRIES
from ktnet_lite.data.schema import Dataset
from ktnet_lite.errors import DataError
from ktnet_lite.training.build import checksum
from ktnet_lite.training.evaluation import Evaluation
from ktnet_lite.training.loop import Run

FORMAT = 2
PACKED = ("predictions", "without_audio", "curves")  # compressed in published files
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "h5py")


def science(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that say what is computed; not those that say where things lie."""
    return {name: value for name, value in parameters.items() if name not in NOT_SCIENCE}


def run_folder(config: TrainConfig) -> Path:
    """``<out>/<dataset>/<system>-<key>-seed<seed>``; the key tells other parameters, data and versions apart.

    Raises
    ------
    ConfigError, DataError
        The data set is not known, or cannot be had.
    """
    unnamed = {name: x for name, x in science(config.as_dict()).items() if name not in ("model", "variant", "seed")}
    unnamed |= {"dataset": checksum(config), "package": __version__}
    key = hashlib.sha256(json.dumps(unnamed, sort_keys=True).encode()).hexdigest()[:8]
    named = config.dataset == "synthetic" or config.dataset in ENTRIES
    name = config.dataset if named else Path(config.dataset).resolve().stem
    return Path(config.out) / name / f"{config.system}-{key}-seed{config.seed}"


def published() -> list[Path]:
    """The result files that come with the project: those of its checkout, none where only the package is installed."""
    return found([Path(__file__).resolve().parents[2] / "results"])


def found(folders: Iterable[Path | str]) -> list[Path]:
    """Every result file below some folders: ``result.json`` of runs, and published ones."""
    return [path for folder in folders for path in sorted(Path(folder).rglob("*result.json"))]


def _processor() -> str:
    """The CPU's model where the system tells it, else its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()


def hardware(device: torch.device) -> dict[str, Any]:
    """What the run was computed on."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "device": device.type,
        "gpu": gpu,
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def peak_memory(device: torch.device) -> int | None:
    """Bytes: of the GPU's allocator, or of this process; None where the system does not tell (Windows)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def build(
    config: TrainConfig,
    dataset: Dataset,
    run: Run,
    evaluations: dict[str, Evaluation],
    baselines: dict[str, Any],
    device: torch.device,
    without_audio: dict[str, Evaluation] | None = None,
) -> dict[str, Any]:
    """The result of one run as plain JSON values.

    Parameters
    ----------
    evaluations : dict of Evaluation
        By split; the predictions of ``test`` are kept clip by clip.
    baselines : dict
        Metrics of constant predictions on the same test clips (:func:`ktnet_lite.measures.metrics.constant_baselines`).
    without_audio : dict of Evaluation, optional
        Of the test split, by what stood in for the audio (``model.fills``).
    """
    test = dataset["test"]
    return {
        "format": FORMAT,
        "system": config.system,
        "parameters": config.as_dict(),
        "dataset": {
            "name": dataset.header.name,
            "task": dataset.header.task,
            "checksum": dataset.checksum,
            "clips": {name: len(dataset[name]) for name in dataset},
            "provenance": dict(dataset.header.provenance),
        },
        "package": __version__,
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "hardware": hardware(device),
        "seconds": sum(entry["seconds"] for entry in run.history),
        "peak_memory": peak_memory(device),
        "model_parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "curves": run.history,
        "best_epoch": run.best_epoch,
        "metrics": {split: evaluation.metrics for split, evaluation in evaluations.items()},
        "undefined": {split: evaluation.undefined for split, evaluation in evaluations.items()},
        "baselines": baselines,
        "predictions": {
            "ids": list(test.ids),
            "targets": np.round(test.targets.astype(float), 6).tolist(),
            "scores": _scores(evaluations["test"]),
        },
        "without_audio": {
            fill: {"metrics": found.metrics, "undefined": found.undefined, "scores": _scores(found)}
            for fill, found in (without_audio or {}).items()
        },
    }


def _scores(evaluation: Evaluation) -> list:
    return evaluation.predictions.astype(float).round(6).tolist()


def save(path: Path, result: dict[str, Any]) -> None:
    """Write a result whole or not at all. NaN is refused: an undefined number is None with its reason.

    Raises
    ------
    DataError
        The disk is full or read-only.
    ValueError
        A number is NaN or infinite.
    """
    text = json.dumps(result, indent=1, allow_nan=False)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DataError(f"cannot write the result {path}: {error}; free some space or choose another --out") from error


def publish(path: Path, folder: Path) -> Path:
    """A run's result as a small file to pass on: ``<folder>/<data set>/<run>.result.json``.

    The same content but for where things lay on this machine; curves and predictions are compressed.
    """
    result = load(path)
    places = {name: TrainConfig.__dataclass_fields__[name].default for name in NOT_SCIENCE}
    result["parameters"] |= {name: default for name, default in places.items() if name != "device"}
    result["curves"] = [{name: float(f"{x:.6g}") for name, x in epoch.items()} for epoch in result["curves"]]
    for part in (result["predictions"], *result["without_audio"].values()):
        part["scores"] = np.round(part["scores"], 4).tolist()
    packed = {name: _pack(value) if name in PACKED else value for name, value in result.items()}
    target = folder / path.parent.parent.name / f"{path.parent.name}.result.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    save(target, packed)
    return target


def _pack(value: Any) -> str:
    return base64.b64encode(zlib.compress(json.dumps(value).encode(), 9)).decode()


def _unpack(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(text, validate=True)))


def load(path: Path | str) -> dict[str, Any]:
    """Read a result file; :class:`DataError` when it is none or from another format."""
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(result, dict) or result.get("format") != FORMAT:
            raise DataError(f"{path} is not a result file of ktnet-lite, format {FORMAT}")
        packed = [name for name in PACKED if isinstance(result.get(name), str)]
        return result | {name: _unpack(result[name]) for name in packed}
    except (OSError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as a result file: {error}") from error
