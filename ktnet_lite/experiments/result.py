"""The result of one run: everything that a table or a picture needs, in one JSON file.

The file is written last and in one piece, so a file that exists is complete.
"""

from __future__ import annotations

import base64
import importlib.metadata
import json
import warnings
import zlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from ktnet_lite import __version__
from ktnet_lite.baselines.length import length_only
from ktnet_lite.config import TrainConfig
from ktnet_lite.data.foreign import instead
from ktnet_lite.data.schema import Dataset
from ktnet_lite.errors import ConfigError, DataError
from ktnet_lite.experiments.agreement import contradictions
from ktnet_lite.experiments.machine import Count, Hardware, hardware, peak_memory
from ktnet_lite.files import write
from ktnet_lite.measures.metrics import acc2_median, constant_baselines, sentiment_metrics
from ktnet_lite.model.losses import Objective
from ktnet_lite.names import EMOTIONS, LEVELS, Fill, System, Task
from ktnet_lite.training.build import training_clips
from ktnet_lite.training.checkpoint import Finite
from ktnet_lite.training.dataset import make_synthetic
from ktnet_lite.training.decoding import Fidelity, fidelity
from ktnet_lite.training.doubt import calibrated, irreducible
from ktnet_lite.training.evaluation import Evaluation, evaluate, evaluate_subsets
from ktnet_lite.training.loop import Run

FORMAT = 3
PACKED = ("predictions", "without_audio", "subsets", "curves", "pretraining")  # compressed in published files
LARGEST = 2**24  # bytes of a compressed part, unpacked; the test set of MOSEI has some 200 KB
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "h5py")

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
Metrics = dict[str, Finite | None]
Emotions = Annotated[list[Finite], msgspec.Meta(min_length=len(EMOTIONS), max_length=len(EMOTIONS))]
Widths = Annotated[list[Finite], msgspec.Meta(min_length=len(LEVELS), max_length=len(LEVELS))]
Scores = list[Finite | Emotions]  # per clip: a score, or the probability of each emotion


class Data(msgspec.Struct, frozen=True):
    """The data set of a run."""

    name: str
    task: Task
    checksum: str
    clips: dict[str, Count]  # by split
    provenance: dict[str, str]


class Predictions(msgspec.Struct, frozen=True):
    """Predictions on the test set, clip by clip."""

    ids: Annotated[list[str], msgspec.Meta(min_length=1)]
    targets: Scores
    scores: Scores


class Filled(msgspec.Struct, frozen=True):
    """The test set once more, without some modalities."""

    metrics: Metrics
    undefined: dict[str, str]
    scores: Scores


class Result(msgspec.Struct, frozen=True, kw_only=True, dict=True, forbid_unknown_fields=True):
    """One run, as its result file holds it."""

    format: int
    system: str
    parameters: dict[str, Any]  # of TrainConfig
    dataset: Data
    package: str
    libraries: dict[str, str]
    hardware: Hardware
    seconds: Seconds  # of training
    peak_memory: Count | None = None  # bytes
    model_parameters: Count
    pretraining: list[dict[str, Finite]] = []  # per epoch of Eq. (1) alone, as in Run.pretraining
    curves: Annotated[list[dict[str, Finite]], msgspec.Meta(min_length=1)]  # per epoch, as in Run.history
    best_epoch: Count
    metrics: dict[str, Metrics]  # by split
    undefined: dict[str, dict[str, str]]  # by split: why a metric is None
    baselines: dict[str, Metrics]  # constant predictions on the test set
    predictions: Predictions
    without_audio: dict[Fill, Filled] = {}
    calibration: dict[str, dict[str, Finite]] = {}  # of reconstructions that say their doubt, by name, on the test set
    fidelity: dict[str, Fidelity] = {}  # of reconstructions of a voice whose features have names, on the test set
    half_widths: dict[str, Widths] = {}  # of intervals, by subset, at the levels of names.LEVELS
    subsets: dict[Fill, dict[str, Filled]] = {}  # of a system for all modalities: what it does without some of them

    @cached_property
    def config(self) -> TrainConfig:
        """The parameters, checked."""
        return TrainConfig.build(self.parameters)

    @property
    def seed(self) -> int:
        """The seed of weights, batch order and dropout."""
        return self.config.seed

    @cached_property
    def key(self) -> str:
        """The config's key: results with the same key come from the same training run."""
        return self.config.key

    @cached_property
    def targets(self) -> np.ndarray:
        """Labels of the test clips, (N,) or (N, 4)."""
        return np.array(self.predictions.targets)

    @cached_property
    def scores(self) -> np.ndarray:
        """Predictions on the test clips, (N,) scores or (N, 4) probabilities."""
        return np.array(self.predictions.scores)

    @cached_property
    def tests(self) -> dict[System, tuple[dict[str, float | None], np.ndarray]]:
        """Metrics and scores on the test set, with audio and with each fill."""
        system = self.config.system
        if self.config.variant in ("ours", "any"):
            system = system._replace(voice=self.config.voice)
        tests = {system: (self.metrics["test"], self.scores)}
        for fill, filled in self.without_audio.items():
            tests[system._replace(fill=fill)] = filled.metrics, np.array(filled.scores)
        return tests

    def save(self, path: Path) -> None:
        """Write the result whole or not at all. NaN is refused: an undefined number is None with its reason.

        Raises
        ------
        DataError
            The disk is full or read-only.
        ValueError
            A number is NaN or infinite.
        """
        _write(path, msgspec.to_builtins(self))

    def publish(self, run: Path, folder: Path) -> Path:
        """Write a small file to pass on: ``<folder>/<data set>/<run>.result.json``.

        It has the same content without the places on this machine; curves and predictions are compressed. Errors as in
        :meth:`save`.

        Parameters
        ----------
        run : Path
            The run's own folder; its name and its parent's name the file.
        """
        plain = msgspec.to_builtins(self)
        fields = TrainConfig.__dataclass_fields__
        for name, field in fields.items():
            if not field.metadata["identity"] and name not in ("device", "trials"):
                plain["parameters"][name] = field.default
        for name in ("pretraining", "curves"):
            plain[name] = [{term: float(f"{x:.6g}") for term, x in epoch.items()} for epoch in plain[name]]
        parts = chain(plain["without_audio"].values(), *(each.values() for each in plain["subsets"].values()))
        for part in (plain["predictions"], *parts):
            part["scores"] = np.round(part["scores"], 4).tolist()
        target = folder / run.parent.name / f"{run.name}.result.json"
        _write(target, {name: _pack(value) if name in PACKED else value for name, value in plain.items()})
        return target


def load(path: Path | str) -> Result:
    """Read a result file, and check everything that its readers rely on.

    Raises
    ------
    DataError
        The file is not a result file, is damaged, or has another format or parameters; the message names the field.
    """
    try:
        parts = msgspec.json.decode(Path(path).read_bytes(), type=dict[str, msgspec.Raw])
        if bytes(parts.get("format", b"")) != b"%d" % FORMAT:
            raise DataError(f"{path} is not a result file of ktnet-lite, format {FORMAT}")
        packed = {name: parts[name] for name in PACKED if bytes(parts.get(name, b"")).startswith(b'"')}
        parts |= {name: _unpack(msgspec.json.decode(part, type=str)) for name, part in packed.items()}
        loaded = msgspec.json.decode(msgspec.json.encode(parts), type=Result)
        if wrong := next(contradictions(loaded), None):
            raise ValueError(wrong)
        return loaded
    except (OSError, ValueError, msgspec.MsgspecError, zlib.error, RecursionError, MemoryError, ConfigError) as error:
        what = "nested too deep" if isinstance(error, RecursionError) else instead(path)
        reason = f"it is {what}" if what else str(error) or type(error).__name__
        raise DataError(f"{path}: cannot be read as a result file: {reason}") from error


def load_all(paths: Iterable[Path]) -> dict[Path, Result]:
    """Read result files; one that cannot be read is passed over, with a warning that names it."""
    loaded = {}
    for path in paths:
        try:
            loaded[path] = load(path)
        except DataError as error:
            warnings.warn(f"{error}; it is passed over", stacklevel=2)
    return loaded


def find(folders: Iterable[Path | str]) -> list[Path]:
    """List the result files below some folders: ``result.json`` of runs, and published ones."""
    return [path for folder in folders for path in sorted(Path(folder).rglob("*result.json"))]


def published() -> list[Path]:
    """List the result files that come with a checkout of the project; an installed package has none."""
    return find([Path(__file__).resolve().parents[2] / "results"])


def measure(config: TrainConfig, dataset: Dataset, run: Run) -> Result:
    """Evaluate a trained model and put everything about its run into a result.

    The model predicts the validation and the test set. It predicts the test set again with each of its ways to do
    without audio and, if it is one for all modalities, without any of them. Constant predictions, and those from the
    clips' lengths alone, stand beside it.
    """
    options = config.batch_size, config.precision
    evaluations = {split: evaluate(run.model, dataset[split], None, *options) for split in ("valid", "test")}
    labelled, test = training_clips(config, dataset["train"])[0], dataset["test"]
    labels, floors = labelled.targets, constant_baselines(labelled.targets, test.targets)
    if dataset.header.task == "sentiment":
        floors["length only"] = sentiment_metrics(length_only(labelled, test), test.targets).values
        for split, evaluation in evaluations.items():
            found = acc2_median(evaluation.predictions, dataset[split].targets, float(np.median(labels)))
            evaluation.metrics["acc2_median"] = found
            if found is None:
                evaluation.undefined["acc2_median"] = "every target is on one side of the training median"
    filled = {fill: evaluate(run.model, dataset["test"], fill, *options) for fill in run.model.fills}
    subsets: dict[Fill, dict[str, Filled]] = {}
    if config.variant in ("full", "any") and run.model.fills:
        for fill in ("inferred",) if run.model.any_subset else ("zero", "mean"):
            found = evaluate_subsets(run.model, test, fill, *options)
            subsets[fill] = {"_".join(names): _filled(x) for names, x in found.items()}
    device = next(run.model.parameters()).device
    return Result(
        format=FORMAT,
        system=str(config.system),
        parameters=config.as_dict(),
        dataset=Data(
            dataset.header.name,
            dataset.header.task,
            dataset.checksum,
            {name: len(dataset[name]) for name in dataset},
            dict(dataset.header.provenance),
        ),
        package=__version__,
        libraries={name: importlib.metadata.version(name) for name in LIBRARIES},
        hardware=hardware(device),
        seconds=sum(entry["seconds"] for entry in (*run.pretraining, *run.history)),
        peak_memory=peak_memory(device),
        model_parameters=sum(parameter.numel() for parameter in run.model.parameters()),
        pretraining=run.pretraining,
        curves=run.history,
        best_epoch=run.best_epoch,
        metrics={split: evaluation.metrics for split, evaluation in evaluations.items()},
        undefined={split: evaluation.undefined for split, evaluation in evaluations.items()},
        baselines=floors,
        predictions=Predictions(list(test.ids), _rounded(test.targets), _rounded(evaluations["test"].predictions)),
        without_audio={fill: _filled(x) for fill, x in filled.items()},
        calibration=_calibrated(config, dataset, run),
        fidelity=_faithful(config, dataset, run),
        half_widths=run.half_widths,
        subsets=subsets,
    )


def _calibrated(config: TrainConfig, dataset: Dataset, run: Run) -> dict[str, dict[str, float]]:
    """Measure the doubt of the reconstructions on the test set, if they say one and all of it is there."""
    if "doubt" not in config.identity or not set(dataset.dims) <= set(dataset["test"].streams):
        return {}
    truth, objective = {}, _objective(config, dataset, run)
    if config.dataset == "synthetic" and not config.grid:
        truth = irreducible(objective, make_synthetic(config), "test")
    return calibrated(objective, dataset["test"], truth)


def _faithful(config: TrainConfig, dataset: Dataset, run: Run) -> dict[str, Fidelity]:
    """Measure how faithful the reconstructions of the voice are; nothing without any, or without names of features."""
    try:
        return fidelity(_objective(config, dataset, run), dataset) if config.variant in ("ours", "any") else {}
    except (ConfigError, DataError):
        return {}


def _objective(config: TrainConfig, dataset: Dataset, run: Run) -> Objective:
    distance = "gaussian" if config.transfer == "gaussian" else config.consistency
    return Objective(run.model, run.audio_target, dict.fromkeys(dataset.dims, 1.0), distance, config.level)


def _filled(evaluation: Evaluation) -> Filled:
    return Filled(evaluation.metrics, evaluation.undefined, _rounded(evaluation.predictions))


def _rounded(values: np.ndarray) -> Scores:
    return list(values.astype(float).round(6).tolist())


def _write(path: Path, content: Mapping[str, Any]) -> None:
    write(path, json.dumps(content, indent=1, allow_nan=False), DataError)


def _pack(value: Any) -> str:
    return base64.b64encode(zlib.compress(json.dumps(value).encode(), 9)).decode()


def _unpack(text: str) -> msgspec.Raw:
    unpacking = zlib.decompressobj()
    content = unpacking.decompress(base64.b64decode(text, validate=True), LARGEST)
    if not unpacking.eof:
        raise ValueError(f"a compressed part is torn, or larger than {LARGEST:,} bytes")
    return msgspec.json.decode(content, type=msgspec.Raw)
