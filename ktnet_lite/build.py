"""From a config to a model or an objective, and a model's file: what training and prediction share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ktnet_lite import checkpoint, losses
from ktnet_lite.config import TrainConfig
from ktnet_lite.data import catalogue, synthetic
from ktnet_lite.data.schema import Dataset, Header, Split
from ktnet_lite.errors import CheckpointError, ConfigError, DataError
from ktnet_lite.losses import AudioTarget, Objective
from ktnet_lite.model import KTNet, ModalityEncoder


def load_dataset(config: TrainConfig) -> Dataset:
    """The data set that the config names: made on the fly, from the catalogue, or from a file; on its grid, if any."""
    if config.dataset == "synthetic":
        sizes = config.clips, max(config.clips // 4, 1), max(config.clips // 2, 1)
        dataset = synthetic.make(sizes, config.redundancy, config.audio_noise, config.aligned).dataset
    else:
        dataset = catalogue.load(config.dataset, local=config.data_from or None)
    return dataset.on_grid(config.grid) if config.grid else dataset


def task_loss_of(config: TrainConfig, header: Header) -> losses.TaskLoss:
    """Emotions have one loss; sentiment has the one that the config names."""
    return "emotion" if header.task == "emotion" else config.task_loss


def build_model(config: TrainConfig, header: Header, dims: Mapping[str, int]) -> KTNet:
    """The network that the config describes, for a data set of these feature counts."""
    return KTNet(
        dims,
        losses.OUTPUTS[task_loss_of(config, header)],
        config.variant,
        dim=config.dim,
        heads=config.heads,
        layers=config.layers,
        dropout=config.dropout,
        targets=config.target_modalities,
        concat=config.concat,
        pooling=config.pooling,
    )


def build_objective(config: TrainConfig, dataset: Dataset, teacher: KTNet | None = None) -> Objective:
    """Model, audio target and losses, with the training split's statistics."""
    kind = task_loss_of(config, dataset.header)
    model = build_model(config, dataset.header, dataset.dims)
    train = dataset["train"]
    for name in model.observed:
        if name not in train.streams:
            raise DataError(f"split train of {dataset.header.name!r} has no {name}, which {config.variant!r} observes")
    model.fit_statistics(train)
    target = None
    if config.variant == "ours":
        if "audio" not in train.streams:
            raise DataError(f"{dataset.header.name!r} has no audio to learn from; use variant 'language_vision'")
        if config.treatment == "teacher":
            encoder = teacher.encoders["audio"]
        else:
            encoder = ModalityEncoder(dataset.dims["audio"], config.dim, config.heads, config.layers, config.dropout)
            encoder.standardise.fit(train.streams["audio"])
        target = AudioTarget(encoder, config.treatment, model.outputs)
    weights = {"vision": config.lambda_vision, "language": config.lambda_language}
    return Objective(model, kind, target, weights, config.consistency)


def save_model(path: Path, model: KTNet, config: TrainConfig, header: Header, dims: Mapping[str, int]) -> None:
    """Weights and all that is needed to build the model again and predict."""
    content = {"config": config.as_dict(), "task": header.task, "dims": dict(dims), "model": model.state_dict()}
    checkpoint.save(path, content)


def load_model(path: Path | str) -> tuple[KTNet, TrainConfig, losses.TaskLoss]:
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


def check_fits(model: KTNet, split: Split, where: str) -> None:
    """Raise :class:`DataError` when a split lacks what a model observes, or has other feature counts."""
    for name in model.observed:
        features = model.encoders[name].project.in_features
        if name not in split.streams:
            raise DataError(f"{where} has no {name}, which this {model.variant!r} model observes")
        if split.streams[name].dim != features:
            raise DataError(f"{where}, {name}: {split.streams[name].dim} features a step; the model takes {features}")
