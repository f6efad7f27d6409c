"""From a configuration to a model and an objective, and back from a model's file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, cast

import msgspec
import numpy as np
import torch
from torch import Tensor

from ktnet_lite.baselines import BASELINES
from ktnet_lite.baselines.ctc import CTCAligned
from ktnet_lite.config import TrainConfig
from ktnet_lite.data.fits import check_aligned, check_fits, check_recipes
from ktnet_lite.data.schema import Dataset, Header, Split
from ktnet_lite.errors import CheckpointError, ConfigError, DataError
from ktnet_lite.model.any_modality import AnyKTNet
from ktnet_lite.model.encoder import ModalityEncoder
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.losses import OUTPUTS, Objective
from ktnet_lite.model.network import Network
from ktnet_lite.model.targets import AudioTarget, Descriptors, OtherSource, View
from ktnet_lite.names import VARIANTS, Distance, Modality, Task, Treatment
from ktnet_lite.training import checkpoint
from ktnet_lite.training.shipped import located

SESSION = re.compile(r"[^0-9A-Za-z]*\d+[^0-9A-Za-z]*$")  # what follows the name of the session in a clip's id


class _Saved(msgspec.Struct):
    """Content of a ``model.pt``."""

    config: dict[str, str | int | float | bool]
    task: Task
    dims: dict[Modality, Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]]
    model: dict[str, Tensor]
    valid: dict[str, checkpoint.Finite] = {}  # the validation metric that chose the epoch, by subset of the modalities
    half_widths: dict[str, list[checkpoint.Finite]] = {}  # of intervals, by subset: names.LEVELS
    recipes: dict[Modality, str] = {}  # how its training data was extracted from clips


def build_model(config: TrainConfig, task: Task, dims: Mapping[Modality, int]) -> Network:
    """Build the network that a config describes, with fresh weights.

    Parameters
    ----------
    task : {"sentiment", "emotion"}
        The labels of the data set; emotions have one loss, sentiment has the one that the config names.
    dims : dict of int
        Features per step, D_m, of every modality that the data set has.

    Raises
    ------
    ConfigError
        The system cannot work with these modalities.
    """
    outputs = OUTPUTS["emotion" if task == "emotion" else config.task_loss]
    size: dict[str, Any] = {"dim": config.dim, "dropout": config.dropout}
    transformer: dict[str, Any] = {"heads": config.heads, "layers": config.layers, "pooling": config.pooling}
    transformer |= {"targets": config.target_modalities, "kernel": config.kernel}
    ktnet: dict[str, Any] = {name: getattr(config, name) for name in ("transfer", "doubt", "fusion", "causal")}
    if config.variant == "any":
        own = {name: getattr(config, name) for name in ("missing", "sharing", "silence", "complete")}
        options: dict[str, Any] = {"consistency": _distance(config), **own, **ktnet}
        lambdas = _lambdas(config)
        return AnyKTNet(
            dims, outputs, weights=lambdas, others=config.voice == "other", **options, **size, **transformer
        )
    if config.model == "ktnet":
        return KTNet(dims, outputs, config.variant, concat=config.concat, **ktnet, **size, **transformer)
    observed = {name: dims[name] for name in VARIANTS[config.variant] if name in dims}
    if not observed:
        raise ConfigError(f"variant {config.variant!r} observes none of the data set's modalities: {', '.join(dims)}")
    baseline = BASELINES[config.model]
    options = {"mult": transformer, "linear": {"pooling": config.pooling}}.get(config.model, {})
    network = baseline.network(observed, outputs, **size, **options)
    return CTCAligned(network, config.dim) if baseline.ctc else network


def build_objective(config: TrainConfig, dataset: Dataset, teacher: Network | None = None) -> Objective:
    """Build the model, the audio target and the losses, Eq. (6), with the statistics of the training set.

    The ``teacher`` provides what Eq. (1) predicts, or the scores to distil from if it is "any".

    Raises
    ------
    ConfigError
        The system cannot work with the data set's modalities.
    DataError
        The training set lacks a modality that the system learns from, or its streams are not aligned as the system
        needs.
    """
    name = dataset.header.name
    train = dataset["train"]
    model = build_model(config, dataset.header.task, dims_of(config, dataset))
    for modality in model.trained_on:
        if modality not in train.streams:
            raise DataError(f"split train of {name!r} has no {modality}, which '{config.system}' learns from")
    for split in dataset if model.aligned_only else ():
        check_aligned(model, dataset[split], f"split {split} of {name!r}")
    model.fit_statistics(train)
    model.recipes = dataset.header.recipes
    tutor = teacher if isinstance(teacher, AnyKTNet) else None
    return Objective(
        model,
        None if tutor else _target(config, dataset, model, cast("KTNet | None", teacher)),
        _lambdas(config),
        _distance(config),
        config.level,
        prefixes=config.prefixes,
        tutor=tutor,
        distil=config.distil,
    )


def dims_of(config: TrainConfig, dataset: Dataset) -> dict[Modality, int]:
    """Return the features per step of the modalities that a run may use: "any" uses those that it can be trained on."""
    known = dataset["train"].streams if config.variant == "any" else dataset.dims
    return {name: features for name, features in dataset.dims.items() if name in known}


def _lambdas(config: TrainConfig) -> dict[Modality, float]:
    """Return lambda of Eq. (6) for each source."""
    return {"language": config.lambda_language, "vision": config.lambda_vision, "audio": config.lambda_audio}


def _distance(config: TrainConfig) -> Distance:
    """Return the distance of Eq. (1)."""
    return "gaussian" if config.transfer == "gaussian" else config.consistency


def _target(config: TrainConfig, dataset: Dataset, model: Network, teacher: KTNet | None) -> AudioTarget | None:
    """Build what theta and phi should predict, Eq. (1); only "ours" has them."""
    if config.variant != "ours":
        return None
    train, sources = dataset["train"], model.observed
    if "audio" not in train.streams:
        raise DataError(f"{dataset.header.name!r} has no audio to learn from; use variant 'language_vision'")
    if teacher is not None and config.voice == "none":
        return OtherSource(teacher, sources)
    if teacher is not None and config.treatment == "view":
        return View(teacher, sources)
    if teacher is not None and config.treatment == "teacher":
        return AudioTarget(cast("ModalityEncoder", teacher.encoders["audio"]), "teacher", model.outputs)
    size = config.dim, config.heads, config.layers, config.dropout, config.kernel, config.causal
    encoder = ModalityEncoder(dataset.dims["audio"], *size)
    encoder.embedding.standardise.fit(train.streams["audio"])
    if config.treatment == "descriptors":
        return Descriptors(encoder.embedding.standardise, sources, config.dim, config.transfer)
    return AudioTarget(encoder, cast("Treatment", config.treatment), model.outputs)


def training_clips(config: TrainConfig, train: Split) -> tuple[Split, Split]:
    """Choose the clips whose labels are used, and those that Eq. (1) alone may see: these and the ``unlabelled`` ones.

    Clips are taken session by session, since one labels whole recordings. Their order is the same for every seed.

    Raises
    ------
    ConfigError
        The training set has fewer clips.
    """
    unlabelled = config.identity.get("unlabelled", 0)  # no other run looks at them
    needed = config.labelled + unlabelled
    if needed > len(train):
        raise ConfigError(
            f"labelled = {config.labelled} and unlabelled = {unlabelled}, but the training set has only "
            f"{len(train)} clips"
        )
    if not config.labelled:
        return train, train
    session = recordings(train)
    place = np.random.default_rng(0).permutation(session.max() + 1).argsort()  # of each session
    order = place[session].argsort(kind="stable")
    labelled = train.select(order[: config.labelled])
    return labelled, train.select(order[:needed]) if unlabelled else labelled


def recordings(split: Split) -> np.ndarray:
    """Number the recording or session of each clip, (N,): clips whose ids differ in the last number alone share it."""
    return np.unique([SESSION.sub("", name) for name in split.ids], return_inverse=True)[1]


def other_voices(split: Split, seed: int) -> Split:
    """Give every clip the voice of another: the control of Eq. (1) in which the voice tells nothing of the clip."""
    order = np.random.default_rng(seed).permutation(len(split))
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)
    return dataclasses.replace(split, streams={**split.streams, "audio": split.streams["audio"].select(other)})


def save_model(
    path: Path,
    model: Network,
    config: TrainConfig,
    header: Header,
    dims: Mapping[Modality, int],
    valid: Mapping[str, float] | None = None,
    half_widths: Mapping[str, list[float]] | None = None,
) -> None:
    """Save the weights with everything that is needed to build the model again and to predict.

    For :func:`load_validated`: ``valid``, the validation metric on each subset of the modalities, and ``half_widths``
    of the intervals on each of them.

    Raises
    ------
    CheckpointError
        The disk is full or read-only.
    """
    content = {"config": config.as_dict(), "task": header.task, "dims": dict(dims), "model": model.state_dict()}
    content |= {"valid": dict(valid or {}), "half_widths": dict(half_widths or {}), "recipes": header.recipes}
    checkpoint.save(path, content)


def load_model(path: Path | str) -> tuple[Network, TrainConfig]:
    """Load a trained model, ready to predict, and its config.

    Parameters
    ----------
    path : Path or str
        A run's ``model.pt``, or the name of a model that comes with the package, such as ``ktnet-any-synthetic``.

    Raises
    ------
    CheckpointError
        The file is damaged, is not a model file, or comes from another version of the package.
    """
    path = located(path)
    saved = _read(path)
    try:
        config = TrainConfig.build(saved.config)
        with torch.device("meta"):  # without memory, however large the parameters say that it is
            described = build_model(config, saved.task, saved.dims)
        checkpoint.check_weights(str(path), saved.model, described.state_dict())
        model = build_model(config, saved.task, saved.dims)
        model.load_state_dict(saved.model)
        model.recipes = saved.recipes
    except (ConfigError, RuntimeError) as error:
        raise CheckpointError(f"{path} comes from another version of ktnet-lite, or was altered: {error}") from error
    return model.eval(), config


def load_teacher(config: TrainConfig, dataset: Dataset) -> Network:
    """Load the model that a config names as its teacher: a full one with audio, or "any" to distil from.

    Raises
    ------
    CheckpointError
        It is another model, or a full one whose audio encoder differs from that of the run.
    DataError
        It was not trained on such data.
    """
    model, trained = load_model(config.teacher)
    distils = config.variant == "any"  # from scores, so that the parts of the teacher may differ
    shared = () if distils else ("dim", "heads", "layers", "kernel", "causal")
    mismatch = [name for name in shared if getattr(trained, name) != getattr(config, name)]
    fits = trained.model == "ktnet" and (trained.variant == "any") == distils and "audio" in model.inputs
    if not fits or mismatch:
        what = f"is a '{trained.system}' model, not ktnet {'any' if distils else 'with audio'}"
        if fits:
            what = f"differs in {', '.join(mismatch)}"
        raise CheckpointError(f"teacher {config.teacher} {what}; train one with variant = '{config.taught_by.variant}'")
    check_recipes(model, dataset.header, f"{dataset.header.name!r}, for the teacher")
    check_fits(model, dataset["train"], f"{dataset.header.name!r}, for the teacher")
    return model


class Validated(NamedTuple):
    """What a trained model did on its validation set, by subset of the modalities, such as ``language_vision``."""

    metric: dict[str, float]  # that chose the epoch; only of "any"
    half_widths: dict[str, list[float]]  # of intervals of the score, at the levels of names.LEVELS


def load_validated(path: Path | str) -> Validated:
    """Load what a trained model did on its validation set; errors as in :func:`load_model`."""
    saved = _read(located(path))
    return Validated(saved.valid, saved.half_widths)


def _read(path: Path) -> _Saved:
    content = checkpoint.load(path)
    if "best" in content:
        raise CheckpointError(f"{path} is a training checkpoint; the model for prediction is model.pt beside it")
    return checkpoint.checked(path, content, _Saved)
