"""The training loop, evaluation, exact resume, and prediction with the audio absent."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm import tqdm

from ktnet_lite import checkpoint, losses
from ktnet_lite.config import TrainConfig
from ktnet_lite.data.batching import Batches, statistics
from ktnet_lite.data.schema import Dataset, Header, Split
from ktnet_lite.errors import CheckpointError, ConfigError, DataError, KTNetError
from ktnet_lite.losses import AudioTarget, Objective
from ktnet_lite.metrics import emotion_metrics, sentiment_metrics
from ktnet_lite.model import KTNet, ModalityEncoder

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SELECT_BY = {"sentiment": "mae", "emotion": "f1_mean"}  # of the valid split; see metrics.BETTER for the direction


class Run(NamedTuple):
    """What :func:`fit` gives."""

    model: KTNet  # with the weights of the epoch that was best on the valid split
    history: list[dict[str, float]]  # one entry an epoch: training terms, valid metrics (prefix "valid_"), seconds
    best_epoch: int
    audio_target: AudioTarget | None  # of the last epoch; for pictures of f_A


class Evaluation(NamedTuple):
    """Predictions on one split, in the split's own order."""

    predictions: np.ndarray  # (N,) scores, or (N, 4) probabilities of the emotions
    logits: np.ndarray  # (N, *outputs)
    metrics: dict[str, float | None]
    undefined: dict[str, str]  # why a metric is None


def choose_device(name: str) -> torch.device:
    """``auto`` takes CUDA, then MPS, then the CPU; anything else must be there."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if not available[name]:
        raise ConfigError(f"device = {name!r}, but this machine or this torch has none; use device = 'auto'")
    return torch.device(name, int(os.environ.get("LOCAL_RANK", 0)) if name == "cuda" else None)


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
            encoder.load_state_dict(statistics(train.streams["audio"]), strict=False)
        target = AudioTarget(encoder, config.treatment, model.outputs)
    weights = {"vision": config.lambda_vision, "language": config.lambda_language}
    return Objective(model, kind, target, weights, config.consistency)


def fit(
    config: TrainConfig, dataset: Dataset, folder: Path | str | None = None, *, progress: bool = True, resume: bool = True
) -> Run:
    """Train, keeping the weights of the epoch that is best on the valid split.

    With a ``folder``, a checkpoint is written there after each epoch (``last.pt``), and at the end ``model.pt``. When
    ``last.pt`` is already there and ``resume`` is true, training goes on from it: on a CPU the end is bitwise the same
    as that of an uninterrupted run, because everything random in an epoch depends on (seed, epoch) alone.
    Under ``torchrun`` every process takes its part of each batch, and the first one writes.

    Raises
    ------
    CheckpointError
        ``last.pt`` is damaged or belongs to other parameters or data.
    DataError
        The data set lacks a split or a modality that this variant needs.
    KTNetError
        Out of memory, or a loss that is no longer a number; the message says what to lower.
    """
    folder = None if folder is None else Path(folder)
    device = choose_device(config.device)
    if config.grid:
        dataset = dataset.on_grid(config.grid)
    devices = [device] if device.type == "cuda" else []
    with _processes(device) as (rank, world), torch.random.fork_rng(devices), _determinism(device):
        teacher = None
        if config.variant == "ours" and config.treatment == "teacher":
            teacher = _teacher(config, dataset, folder, progress, resume)
        torch.manual_seed(config.seed)
        objective = build_objective(config, dataset, teacher).to(device)
        loop = _Loop(config, dataset, objective, device, rank, world)
        if folder is not None and resume and (folder / "last.pt").exists():
            loop.restore(folder / "last.pt")
        try:
            loop.run(folder, progress)
        except RuntimeError as error:
            raise _explain(error, config) from error
        model = objective.model
        model.load_state_dict(loop.best["model"])
        if folder is not None and rank == 0:
            save_model(folder / "model.pt", model, config, dataset.header, dataset.dims)
        return Run(model.eval(), loop.history, loop.best["epoch"], objective.audio_target)


class _Loop:
    """State of one training: what a checkpoint holds, and the epoch."""

    def __init__(self, config, dataset: Dataset, objective: Objective, device, rank: int, world: int):
        self.config, self.dataset, self.objective, self.device, self.rank = config, dataset, objective, device, rank
        self.train = Batches(
            dataset["train"], config.batch_size, objective.modalities, device, config.seed, (rank, world)
        )
        trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        self.trained = trained
        self.optimizer = torch.optim.Adam(trained, lr=config.learning_rate)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16" and device.type == "cuda")
        self.step_module: nn.Module = objective
        if config.compile:
            self.step_module = torch.compile(self.step_module, dynamic=True)
        if world > 1:
            self.step_module = nn.parallel.DistributedDataParallel(
                self.step_module, device_ids=[device] if device.type == "cuda" else None
            )
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Any] = {}

    def run(self, folder: Path | None, progress: bool) -> None:
        name = f"{self.config.variant} (seed {self.config.seed})"
        for epoch in range(len(self.history), self.config.epochs):
            with tqdm(
                total=len(self.train),
                desc=f"{name} epoch {epoch + 1}/{self.config.epochs}",
                disable=not progress or self.rank > 0,
                leave=epoch + 1 == self.config.epochs,
                file=sys.stderr,
                mininterval=0.5,
            ) as bar:
                if self.history:
                    bar.set_postfix_str(_summary(self.history[-1]))
                self.epoch(epoch, bar)
                bar.set_postfix_str(_summary(self.history[-1]))
            if folder is not None and self.rank == 0:
                checkpoint.save(folder / "last.pt", self.state())

    def epoch(self, epoch: int, bar: tqdm) -> None:
        config, start = self.config, time.perf_counter()
        # One seed for each (seed, epoch, process): a resumed epoch needs no saved random state.
        torch.manual_seed(int(np.random.SeedSequence((config.seed, epoch, self.rank)).generate_state(1)[0]))
        self.objective.train()
        sums: dict[str, Tensor] = {}
        clips = 0
        for batch in self.train.epoch(epoch):
            with autocast(self.device, config.precision):
                terms = self.step_module(batch)
            self.optimizer.zero_grad()
            self.scaler.scale(terms["loss"]).backward()
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.trained, config.clip_norm)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.detach() * len(batch.targets)
            clips += len(batch.targets)
            bar.update()
        entry = {name: (total / clips).item() for name, total in sums.items()}
        if not math.isfinite(entry["loss"]):
            raise KTNetError(
                f"the loss became {entry['loss']} in epoch {epoch + 1}; lower learning_rate, or use precision = 'bf16' "
                "instead of 'fp16'"
            )
        entry |= self.validate()
        entry["seconds"] = time.perf_counter() - start
        self.history.append(entry)
        score = entry.get("valid_" + SELECT_BY[self.dataset.header.task], -math.inf)
        score = -score if self.dataset.header.task == "sentiment" else score
        if not self.best or score > self.best["score"]:
            weights = {name: tensor.detach().cpu().clone() for name, tensor in self.objective.model.state_dict().items()}
            self.best = {"epoch": epoch, "score": score, "model": weights}

    def validate(self) -> dict[str, float]:
        """Valid metrics from what the variant observes; how good the reconstruction is where audio is there."""
        valid, objective = self.dataset["valid"], self.objective
        result = evaluate(
            objective.model, valid, objective.loss, self.device, self.config.batch_size, self.config.precision
        )
        entry = {f"valid_{name}": value for name, value in result.metrics.items() if value is not None}
        if objective.audio_target is not None and "audio" in valid.streams:
            entry |= {f"valid_{name}": value for name, value in transfer_quality(objective, valid, self.device).items()}
        return entry

    def state(self) -> dict[str, Any]:
        return {
            "config": self.config.as_dict(),
            "data": self.dataset.checksum,
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "history": self.history,
            "best": self.best,
        }

    def restore(self, path: Path) -> None:
        state = checkpoint.load(path)
        ours, theirs = self.config.as_dict(), state["config"]
        free = {"epochs", "device", "data_from", "teacher"}  # none of these changes an epoch that is already done
        differ = [name for name in ours if name not in free and ours[name] != theirs.get(name)]
        if differ:
            listed = ", ".join(f"{name}: {theirs.get(name)!r} there, {ours[name]!r} now" for name in differ)
            raise CheckpointError(f"{path} belongs to other parameters ({listed}); choose another folder or delete it")
        if state["data"] != self.dataset.checksum:
            raise CheckpointError(f"{path} was trained on other data than {self.dataset.header.name!r} holds now")
        try:
            self.objective.load_state_dict(state["objective"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"{path} does not fit this model: {error}") from error
        self.history, self.best = state["history"], state["best"]


@torch.no_grad()
def evaluate(
    model: KTNet,
    split: Split,
    loss: losses.TaskLoss,
    device: torch.device | str = "cpu",
    batch_size: int = 24,
    precision: str = "float32",
) -> Evaluation:
    """Predict a split from ``model.observed`` alone, and measure. Audio is not even collated for "ours"."""
    device = torch.device(device)
    model.eval()
    logits = torch.empty(len(split), *model.outputs)
    for batch in Batches(split, batch_size, model.observed, device):
        with autocast(device, precision):
            logits[batch.indices] = model(batch.streams).logits.float().cpu()
    predicted = losses.predictions(logits, loss)
    if loss == "emotion":
        metrics = emotion_metrics(predicted.numpy() > 0.5, split.targets)
    else:
        classes = logits.argmax(-1).numpy() - 3 if loss == "cross_entropy" else None
        metrics = sentiment_metrics(predicted.numpy(), split.targets, classes)
    return Evaluation(predicted.numpy(), logits.numpy(), dict(metrics.values), dict(metrics.undefined))


@torch.no_grad()
def transfer_quality(objective: Objective, split: Split, device: torch.device | str = "cpu") -> dict[str, float]:
    """Reconstruction error, R2 and std(f_A) over a split that has audio (:func:`ktnet_lite.losses.transfer_quality`)."""
    objective.eval()
    moments: dict[str, Tensor] = {}
    for batch in Batches(split, 64, objective.modalities, device):
        for name, value in objective.transfer_moments(objective.model(batch.streams), batch).items():
            moments[name] = moments.get(name, 0.0) + value
    return losses.transfer_quality(moments)


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


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """Mixed precision of a forward pass; float32 does nothing."""
    return torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "float32")


def _teacher(config: TrainConfig, dataset: Dataset, folder: Path | None, progress: bool, resume: bool) -> KTNet:
    """The full-modality model whose audio encoder is the target: loaded, or trained first with the same parameters."""
    if config.teacher:
        model, theirs, _ = load_model(config.teacher)
        mismatch = [name for name in ("dim", "heads", "layers") if getattr(theirs, name) != getattr(config, name)]
        if "audio" not in model.encoders or mismatch:
            what = f"differs in {', '.join(mismatch)}" if mismatch else f"is a {model.variant!r} model without audio"
            raise CheckpointError(f"teacher {config.teacher} {what}; train one with variant = 'full'")
        check_fits(model, dataset["train"], f"{dataset.header.name!r}, for the teacher")
        return model
    full = dataclasses.replace(config, variant="full", targets="all")
    return fit(full, dataset, None if folder is None else folder / "teacher", progress=progress, resume=resume).model


@contextlib.contextmanager
def _processes(device: torch.device) -> Iterator[tuple[int, int]]:
    """(rank, world size): the process group that torchrun describes, or (0, 1)."""
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world == 1:
        yield 0, 1
        return
    started = not dist.is_initialized()
    if started:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield dist.get_rank(), world
    finally:
        if started:
            dist.destroy_process_group()


@contextlib.contextmanager
def _determinism(device: torch.device) -> Iterator[None]:
    """Same seed, same machine, same numbers, on CUDA too; the setting before is restored."""
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _explain(error: RuntimeError, config: TrainConfig) -> Exception:
    """Out of memory, said so that one knows what to lower; any other error as it is."""
    text = str(error).lower()
    if "out of memory" in text or "can't allocate memory" in text:
        return KTNetError(
            f"out of memory at batch_size = {config.batch_size}: lower batch_size, set grid (say 50) to shorten audio and "
            "vision, or use precision = 'bf16' on a GPU"
        )
    return error


def _summary(entry: Mapping[str, float]) -> str:
    """One line of the live progress: every loss term, then the valid metrics that tell most."""
    short = {"task": "L_e", "vision_to_audio": "L_V→A", "language_to_audio": "L_L→A", "audio_task": "L_A"}
    terms = [f"L={entry['loss']:.3f}", *(f"{label}={entry[name]:.3f}" for name, label in short.items() if name in entry)]
    keys = {"valid_mae": "MAE", "valid_corr": "Corr", "valid_acc2_nonzero": "Acc2", "valid_f1_mean": "F1"}
    valid = [f"{label} {entry[name]:.3f}" for name, label in keys.items() if name in entry]
    return " ".join(terms) + " | valid " + " ".join(valid)
