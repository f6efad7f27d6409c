"""From a config to a model or an objective, and a model's file: what training and prediction share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from ktnet_lite.baselines import SYSTEMS
from ktnet_lite.baselines.ctc import CTCAligned
from ktnet_lite.config import TrainConfig
from ktnet_lite.data import catalogue, store, synthetic
from ktnet_lite.data.schema import Dataset, Header, Split
from ktnet_lite.errors import CheckpointError, ConfigError, DataError
from ktnet_lite.model import losses
from ktnet_lite.model.encoder import ModalityEncoder
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.losses import AudioTarget, Objective
from ktnet_lite.model.network import Network
from ktnet_lite.names import VARIANTS, Fill
from ktnet_lite.training import checkpoint


def load_dataset(config: TrainConfig) -> Dataset:
    """The data set that the config names: made on the fly, from the catalogue, or from a file; on its grid, if any.

    Raises
    ------
    ConfigError
        No such data set or file.
    DataError
        It cannot be had, or is not sound.
    """
    if config.dataset == "synthetic":
        sizes = config.clips, max(config.clips // 4, 1), max(config.clips // 2, 1)
        dataset = synthetic.make(sizes, config.redundancy, config.audio_noise, config.aligned, task=config.task).dataset
    else:
        dataset = catalogue.load(config.dataset, local=config.data_from or None)
    return dataset.on_grid(config.grid) if config.grid else dataset


def checksum(config: TrainConfig) -> str:
    """Of the data that the config names, before any grid; what is not stored with its checksum is read whole, once."""
    if config.dataset == "synthetic":
        return _made(config.clips, config.redundancy, config.audio_noise, config.aligned, config.task)
    if config.dataset in catalogue.ENTRIES:
        return store.info(catalogue.build(config.dataset, local=config.data_from or None)).checksum
    path = Path(config.dataset)
    if store.is_store(path):
        return store.info(path).checksum
    return _read(config.dataset, path.stat().st_mtime_ns if path.exists() else 0)


@cache
def _made(clips: int, redundancy: float, audio_noise: float, aligned: bool, task: str) -> str:
    knobs = {"clips": clips, "redundancy": redundancy, "audio_noise": audio_noise, "aligned": aligned, "task": task}
    return load_dataset(TrainConfig(**knobs)).checksum


@cache
def _read(dataset: str, changed: int) -> str:
    return catalogue.load(dataset).checksum


def task_loss_of(config: TrainConfig, header: Header) -> losses.TaskLoss:
    """Emotions have one loss; sentiment has the one that the config names."""
    return "emotion" if header.task == "emotion" else config.task_loss


def build_model(config: TrainConfig, header: Header, dims: Mapping[str, int]) -> Network:
    """The network that the config describes, for a data set of these feature counts ``dims``, D_m by modality.

    Raises
    ------
    ConfigError
        The system cannot work with what the data has.
    """
    outputs = losses.OUTPUTS[task_loss_of(config, header)]
    size = {"dim": config.dim, "dropout": config.dropout}
    transformer = {"heads": config.heads, "layers": config.layers, "pooling": config.pooling}
    transformer["targets"] = config.target_modalities
    if config.model == "ktnet":
        return KTNet(dims, outputs, config.variant, concat=config.concat, **size, **transformer)
    observed = {name: dims[name] for name in VARIANTS[config.variant] if name in dims}
    if not observed:
        raise ConfigError(f"variant {config.variant!r} observes nothing that the data has: {', '.join(dims)}")
    system = SYSTEMS[config.model]
    network = system.network(observed, outputs, **size, **(transformer if config.model == "mult" else {}))
    return CTCAligned(network, config.dim) if system.ctc else network


def build_objective(config: TrainConfig, dataset: Dataset, teacher: KTNet | None = None) -> Objective:
    """Model, audio target and losses, Eq. (6), with the training split's statistics.

    Raises
    ------
    ConfigError
        The system cannot work with what the data has.
    DataError
        The training split lacks what the system learns from, or a system for aligned streams meets others.
    """
    kind = task_loss_of(config, dataset.header)
    model = build_model(config, dataset.header, dataset.dims)
    train = dataset["train"]
    for name in model.trained_on:
        if name not in train.streams:
            raise DataError(
                f"split train of {dataset.header.name!r} has no {name}, which {config.system!r} learns from"
            )
    for name in dataset if model.aligned_only else ():
        check_aligned(model, dataset[name], f"split {name} of {dataset.header.name!r}")
    model.fit_statistics(train)
    target = None
    if config.variant == "ours":
        if "audio" not in train.streams:
            raise DataError(f"{dataset.header.name!r} has no audio to learn from; use variant 'language_vision'")
        if config.treatment == "teacher":
            encoder = teacher.encoders["audio"]
        else:
            encoder = ModalityEncoder(dataset.dims["audio"], config.dim, config.heads, config.layers, config.dropout)
            encoder.embedding.standardise.fit(train.streams["audio"])
        target = AudioTarget(encoder, config.treatment, model.outputs)
    weights = {"vision": config.lambda_vision, "language": config.lambda_language}
    return Objective(model, kind, target, weights, config.consistency)


def save_model(path: Path, model: Network, config: TrainConfig, header: Header, dims: Mapping[str, int]) -> None:
    """Weights and all that is needed to build the model again and predict.

    Raises
    ------
    CheckpointError
        The disk is full or read-only.
    """
    content = {"config": config.as_dict(), "task": header.task, "dims": dict(dims), "model": model.state_dict()}
    checkpoint.save(path, content)


def load_model(path: Path | str) -> tuple[Network, TrainConfig, losses.TaskLoss]:
    """A trained model from its ``model.pt``, ready to predict; its config; and the loss that it was trained with.

    Raises
    ------
    CheckpointError
        Damaged, not a model file, or from another version of the package.
    """
    content = checkpoint.load(Path(path))
    if "model" not in content:
        raise CheckpointError(f"{path} is a training checkpoint; the model for prediction is model.pt beside it")
    try:
        config = TrainConfig.build(content["config"])
        header = Header("", content["task"], aligned=False)
        model = build_model(config, header, content["dims"])
        model.load_state_dict(content["model"])
    except (ConfigError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"{path} comes from another version of ktnet-lite: {error}") from error
    return model.eval(), config, task_loss_of(config, header)


def check_fits(model: Network, split: Split, where: str, fill: Fill | None = None) -> None:
    """Raise :class:`DataError` when a split lacks what a model observes, or has other feature counts.

    With a ``fill`` the audio may be missing.
    """
    for name in model.observed:
        if name == "audio" and fill:
            continue
        features = len(model.inputs[name].mean)
        if name not in split.streams:
            advice = f"; predict without it: {', '.join(model.fills)}" if name == "audio" else ""
            raise DataError(f"{where} has no {name}, which this model observes{advice}")
        if split.streams[name].dim != features:
            raise DataError(f"{where}, {name}: {split.streams[name].dim} features a step; the model takes {features}")
    if model.aligned_only:
        check_aligned(model, split, where)


def check_aligned(model: Network, split: Split, where: str) -> None:
    """Raise :class:`DataError` where the streams of a clip that has them differ in length."""
    lengths = {name: split.streams[name].lengths for name in model.inputs if name in split.streams}
    longest = np.max(list(lengths.values()), axis=0)
    for name, counts in lengths.items():
        if (wrong := (counts > 0) & (counts != longest)).any():
            clip = int(wrong.argmax())
            raise DataError(
                f"{where}: {name} of clip {split.ids[clip]!r} has {counts[clip]} steps and another stream "
                f"{longest[clip]}; this model needs aligned streams. Systems that do not: "
                f"ktnet, {', '.join(name for name, system in SYSTEMS.items() if system.unaligned)}"
            )
