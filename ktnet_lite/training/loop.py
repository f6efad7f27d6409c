"""The training loop: live progress, the best weights on the validation set, a checkpoint per epoch, exact resume."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, cast

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ktnet_lite.config import TrainConfig
from ktnet_lite.data.batching import Batches
from ktnet_lite.data.schema import Dataset
from ktnet_lite.errors import CheckpointError, ConfigError, KTNetError, shown
from ktnet_lite.files import check_folder
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.losses import AudioTarget, Objective, process_mean
from ktnet_lite.model.network import Network
from ktnet_lite.training import checkpoint
from ktnet_lite.training.build import build_objective, check_fits, load_model, save_model
from ktnet_lite.training.evaluation import evaluate, transfer_quality
from ktnet_lite.training.runtime import (
    autocast,
    choose_device,
    deterministic,
    distributed,
    memory_advice,
    processes,
)

SELECT_BY = {"sentiment": "mae", "emotion": "f1_mean"}  # the validation metric that chooses the epoch


class Run(NamedTuple):
    """A finished training run."""

    model: Network  # with the weights of the epoch that was best on the validation set
    history: list[dict[str, float]]  # per epoch: training terms, validation metrics (prefix "valid_"), seconds
    best_epoch: int
    audio_target: AudioTarget | None  # as of the last epoch; for pictures of f_A


def fit(
    config: TrainConfig,
    dataset: Dataset,
    folder: Path | str | None = None,
    *,
    progress: bool = True,
    resume: bool = True,
) -> Run:
    """Train, and keep the weights of the epoch that is best on the validation set.

    With a ``folder``, a checkpoint is written there after each epoch (``last.pt``), and at the end ``model.pt``. If
    ``last.pt`` exists and ``resume`` is true, training continues from it: on a CPU the result is bitwise that of an
    uninterrupted run, because everything random in an epoch depends on (seed, epoch) alone.
    Under ``torchrun`` every process trains on its part of each batch, and the first one writes.

    Parameters
    ----------
    dataset : Dataset
        From :func:`ktnet_lite.training.build.load_dataset` with this config, or one of your own.

    Raises
    ------
    ConfigError
        ``grid`` is set, but the data set is not on that grid.
    CheckpointError
        ``last.pt`` is damaged or belongs to other parameters, another teacher or other data.
    DataError
        The data set lacks a split or a modality that this variant needs.
    KTNetError
        Out of memory, or a loss that is no longer a number, and the message says what to lower; or the folder cannot be
        written.
    """
    folder = None if folder is None else Path(folder)
    if folder is not None:
        check_folder(folder)
    device = choose_device(config.device)
    _check_grid(config, dataset)
    devices = [device] if device.type == "cuda" else []
    with processes(device) as (rank, world), torch.random.fork_rng(devices), deterministic(device):
        teacher = None
        if config.variant == "ours" and config.treatment == "teacher":
            teacher = _teacher(config, dataset, folder, progress, resume)
        torch.manual_seed(config.seed)
        objective = build_objective(config, dataset, teacher).to(device)
        loop = _Loop(config, dataset, objective, device, rank, world)
        if folder is not None and resume and (folder / "last.pt").exists():
            loop.restore(folder / "last.pt")
        with memory_advice(config):
            loop.run(folder, progress)
        model = objective.model
        model.load_state_dict(loop.best["model"])
        if folder is not None and rank == 0:
            save_model(folder / "model.pt", model, config, dataset.header, dataset.dims)
        return Run(model.eval(), loop.history, loop.best["epoch"], objective.audio_target)


class _Best(msgspec.Struct):
    """The epoch that was best on the validation set so far."""

    epoch: Annotated[int, msgspec.Meta(ge=0)]
    score: float
    model: dict[str, Tensor]


class _Adam(msgspec.Struct):
    """State of the optimizer; its settings are the config's."""

    state: Annotated[dict[int, dict[str, Tensor]], msgspec.Meta(min_length=1)]  # by the number of the weight


class _State(msgspec.Struct):
    """Content of a ``last.pt``."""

    config: dict[str, str | int | float | bool]
    data: str  # checksum
    objective: dict[str, Tensor]
    optimizer: _Adam
    scaler: dict[str, Annotated[int, msgspec.Meta(ge=0, le=2**31)] | checkpoint.Finite]
    history: Annotated[list[dict[str, checkpoint.Finite]], msgspec.Meta(min_length=1)]
    best: _Best


class _Loop:
    """State of one training run: the content of a checkpoint, and one epoch of work."""

    def __init__(self, config, dataset: Dataset, objective: Objective, device, rank: int, world: int):
        self.config, self.dataset, self.objective, self.device, self.rank = config, dataset, objective, device, rank
        self.train = Batches(
            dataset["train"], config.batch_size, objective.modalities, device, config.seed, (rank, world)
        )
        trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        self.trained = trained
        self.optimizer = torch.optim.Adam(trained, lr=config.learning_rate, fused=device.type != "mps")
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16" and device.type == "cuda")
        self.step_module: Any = objective
        if config.compile:
            self.step_module = torch.compile(self.step_module, dynamic=True)
        if world > 1:
            self.step_module = distributed(self.step_module, device)
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Any] = {}

    def run(self, folder: Path | None, progress: bool) -> None:
        if self.objective.model.closed_form:
            return self.solve()
        name = f"{self.config.system} (seed {self.config.seed})"
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
                sums[name] = sums.get(name, 0.0) + term.detach() * batch.size
            bar.update()
        entry = {name: process_mean(total).item() / len(self.dataset["train"]) for name, total in sums.items()}
        if not math.isfinite(entry["loss"]):
            raise KTNetError(
                f"the loss became {entry['loss']} in epoch {epoch + 1}; lower learning_rate, or use precision = 'bf16' "
                "instead of 'fp16'"
            )
        self.keep(entry, start)

    def solve(self) -> None:
        """Set the weights of a model with a closed form, in place of epochs."""
        start = time.perf_counter()
        self.objective.model.solve(self.dataset["train"], self.dataset["valid"])
        self.history = []
        self.keep({}, start)

    def keep(self, entry: dict[str, float], start: float) -> None:
        """Add an epoch to the history, and keep its weights if they are the best so far."""
        epoch = len(self.history)
        entry |= self.validate()
        entry["seconds"] = time.perf_counter() - start
        self.history.append(entry)
        metric = SELECT_BY[self.dataset.header.task]
        value = entry.get(f"valid_{metric}")
        score = -math.inf if value is None else METRICS[metric].gain(value)
        if not self.best or score > self.best["score"]:
            weights = {
                name: tensor.detach().cpu().clone() for name, tensor in self.objective.model.state_dict().items()
            }
            self.best = {"epoch": epoch, "score": score, "model": weights}

    def validate(self) -> dict[str, float]:
        """Compute the validation metrics, and the quality of the reconstruction where there is audio."""
        valid, objective = self.dataset["valid"], self.objective
        result = evaluate(objective.model, valid, None, self.config.batch_size, self.config.precision)
        entry = {f"valid_{name}": value for name, value in result.metrics.items() if value is not None}
        if objective.audio_target is not None and "audio" in valid.streams:
            entry |= {f"valid_{name}": value for name, value in transfer_quality(objective, valid).items()}
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
        content = checkpoint.load(path)
        if missing := self.state().keys() - content.keys():
            raise CheckpointError(
                f"{path} is not a training checkpoint: it has no {', '.join(sorted(missing))}; delete it"
            )
        state = checkpoint.checked(path, content, _State)
        now, saved = self.config.identity, state.config
        differ = [name for name in now if name != "epochs" and now[name] != saved.get(name)]  # more epochs may follow
        if differ:
            listed = ", ".join(f"{name}: {shown(saved.get(name))} there, {now[name]!r} now" for name in differ)
            raise CheckpointError(f"{path} belongs to other parameters ({listed}); choose another folder or delete it")
        if state.data != self.dataset.checksum:
            raise CheckpointError(f"{path} was trained on other data than {self.dataset.header.name!r} holds now")
        if (done := len(state.history)) > self.config.epochs:
            asked = self.config.epochs
            raise CheckpointError(f"{path} has {done} epochs already, and epochs = {asked}; choose another folder")
        if state.best.epoch >= done or math.isnan(state.best.score):
            raise CheckpointError(f"{path} was altered: its best epoch, {state.best.epoch}, is not one of its {done}")
        for entry in state.history:
            if not {"loss", "seconds"} <= entry.keys():
                raise CheckpointError(f"{path} was altered: its history has an epoch without loss or seconds")
        checkpoint.check_weights(f"{path}, objective", state.objective, self.objective.state_dict())
        checkpoint.check_weights(f"{path}, best", state.best.model, self.objective.model.state_dict())
        target = self.objective.audio_target
        if target is not None and target.frozen:
            for name, tensor in target.state_dict(prefix="audio_target.").items():
                if not torch.equal(tensor.cpu(), state.objective[name]):
                    raise CheckpointError(f"{path} was trained with another teacher; choose another folder")
        self.check_moments(path, state.optimizer.state)
        try:
            self.objective.load_state_dict(state.objective)
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state.optimizer.state})
            self.scaler.load_state_dict(state.scaler)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} does not fit this model: {error}") from error
        self.history, self.best = state.history, msgspec.structs.asdict(state.best)

    def check_moments(self, path: Path, moments: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Raise :class:`CheckpointError` unless Adam's moments fit the weights."""
        for index, entry in moments.items():
            where = f"{path}, optimizer, weight {index}"
            if not 0 <= index < len(self.trained):
                raise CheckpointError(f"{where}: the model has only {len(self.trained)}")
            weight = self.trained[index]
            checkpoint.check_weights(where, entry, {"step": torch.zeros(()), "exp_avg": weight, "exp_avg_sq": weight})
            if entry["step"] < 0 or (entry["exp_avg_sq"] < 0).any():
                raise CheckpointError(f"{where}: a count or a square is negative")


def _check_grid(config: TrainConfig, dataset: Dataset) -> None:
    for split in dataset.splits.values() if config.grid else ():
        for name, stream in split.streams.items():
            if name != "language" and stream.lengths.max(initial=0) > config.grid:
                raise ConfigError(
                    f"grid = {config.grid}, but {name} has up to {stream.lengths.max()} steps; give "
                    f"load_dataset(config) or dataset.on_grid({config.grid}), and evaluate on the same"
                )


def _teacher(config: TrainConfig, dataset: Dataset, folder: Path | None, progress: bool, resume: bool) -> KTNet:
    """Load the full model whose audio encoder is the target, or train it first with the same parameters."""
    if config.teacher:
        model, trained = load_model(config.teacher)
        mismatch = [name for name in ("dim", "heads", "layers") if getattr(trained, name) != getattr(config, name)]
        if not isinstance(model, KTNet) or "audio" not in model.inputs or mismatch:
            what = f"is a '{trained.system}' model, not ktnet with audio"
            if trained.model == "ktnet" and mismatch:
                what = f"differs in {', '.join(mismatch)}"
            raise CheckpointError(f"teacher {config.teacher} {what}; train one with variant = 'full'")
        check_fits(model, dataset["train"], f"{dataset.header.name!r}, for the teacher")
        return model
    own = None if folder is None else folder / "teacher"
    full = fit(config.taught_by, dataset, own, progress=progress, resume=resume).model
    return cast("KTNet", full)


def _summary(entry: Mapping[str, float]) -> str:
    """Summarise an epoch for the progress bar: every loss term, then the main validation metrics."""
    short = {"task": "L_e", "vision_to_audio": "L_V→A", "language_to_audio": "L_L→A", "audio_task": "L_A"}
    terms = [
        f"L={entry['loss']:.3f}",
        *(f"{label}={entry[name]:.3f}" for name, label in short.items() if name in entry),
    ]
    keys = {"valid_mae": "MAE", "valid_corr": "Corr", "valid_acc2_nonzero": "Acc2", "valid_f1_mean": "F1"}
    valid = [f"{label} {entry[name]:.3f}" for name, label in keys.items() if name in entry]
    return " ".join(terms) + " | valid " + " ".join(valid)
