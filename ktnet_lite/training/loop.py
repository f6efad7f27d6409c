"""The training loop: live progress, best-on-valid weights, a checkpoint each epoch, exact resume."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ktnet_lite.baselines.floors import Floor
from ktnet_lite.config import NOT_SCIENCE, TrainConfig
from ktnet_lite.data.batching import Batches
from ktnet_lite.data.schema import Dataset
from ktnet_lite.errors import CheckpointError, ConfigError, KTNetError
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.losses import AudioTarget, Objective, process_mean
from ktnet_lite.model.network import Network
from ktnet_lite.training import checkpoint
from ktnet_lite.training.build import build_objective, check_fits, load_model, save_model
from ktnet_lite.training.evaluation import evaluate, transfer_quality
from ktnet_lite.training.runtime import autocast, choose_device, deterministic, memory_advice, processes

SELECT_BY = {"sentiment": "mae", "emotion": "f1_mean"}  # of the valid split; see metrics.BETTER for the direction


class Run(NamedTuple):
    """What :func:`fit` gives."""

    model: Network  # with the weights of the epoch that was best on the valid split
    history: list[dict[str, float]]  # one entry an epoch: training terms, valid metrics (prefix "valid_"), seconds
    best_epoch: int
    audio_target: AudioTarget | None  # of the last epoch; for pictures of f_A


def fit(
    config: TrainConfig,
    dataset: Dataset,
    folder: Path | str | None = None,
    *,
    progress: bool = True,
    resume: bool = True,
) -> Run:
    """Train, keeping the weights of the epoch that is best on the valid split.

    With a ``folder``, a checkpoint is written there after each epoch (``last.pt``), and at the end ``model.pt``. When
    ``last.pt`` is already there and ``resume`` is true, training goes on from it: on a CPU the end is bitwise the same
    as that of an uninterrupted run, because everything random in an epoch depends on (seed, epoch) alone.
    Under ``torchrun`` every process takes its part of each batch, and the first one writes.

    Parameters
    ----------
    dataset : Dataset
        As :func:`ktnet_lite.training.build.load_dataset` gives it for this config, or one of your own.

    Raises
    ------
    ConfigError
        ``grid`` is set, but the data set is not on it.
    CheckpointError
        ``last.pt`` is damaged or belongs to other parameters, to another teacher or to other data.
    DataError
        The data set lacks a split or a modality that this variant needs.
    KTNetError
        Out of memory, or a loss that is no longer a number; the message says what to lower.
    """
    folder = None if folder is None else Path(folder)
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


class _Loop:
    """State of one training: what a checkpoint holds, and the epoch."""

    def __init__(self, config, dataset: Dataset, objective: Objective, device, rank: int, world: int):
        self.config, self.dataset, self.objective, self.device, self.rank = config, dataset, objective, device, rank
        self.train = Batches(
            dataset["train"], config.batch_size, objective.modalities, device, config.seed, (rank, world)
        )
        trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        self.trained = trained
        self.optimizer = torch.optim.Adam(trained, lr=config.learning_rate, fused=device.type != "mps")
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16" and device.type == "cuda")
        self.step_module: nn.Module = objective
        if config.compile:
            self.step_module = torch.compile(self.step_module, dynamic=True)
        if world > 1:
            self.step_module = nn.parallel.DistributedDataParallel(
                self.step_module,
                device_ids=[device] if device.type == "cuda" else None,
                broadcast_buffers=False,  # they are equal, but for position tables: these grow as needed
            )
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Any] = {}

    def run(self, folder: Path | None, progress: bool) -> None:
        if isinstance(self.objective.model, Floor):
            return self.solve(self.objective.model)
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

    def solve(self, floor: Floor) -> None:
        """In place of epochs, for a model whose weights are solved for."""
        start = time.perf_counter()
        floor.solve(self.dataset["train"], self.dataset["valid"], self.objective.loss)
        self.history = []
        self.keep({}, start)

    def keep(self, entry: dict[str, float], start: float) -> None:
        """Add what an epoch gave to the history, and its weights to ``best`` if they are."""
        epoch = len(self.history)
        entry |= self.validate()
        entry["seconds"] = time.perf_counter() - start
        self.history.append(entry)
        score = entry.get("valid_" + SELECT_BY[self.dataset.header.task], -math.inf)
        score = -score if self.dataset.header.task == "sentiment" else score
        if not self.best or score > self.best["score"]:
            weights = {
                name: tensor.detach().cpu().clone() for name, tensor in self.objective.model.state_dict().items()
            }
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
        if missing := self.state().keys() - state.keys():
            raise CheckpointError(f"{path} is no training checkpoint: it lacks {', '.join(sorted(missing))}; delete it")
        ours, theirs = self.config.as_dict(), state["config"]
        free = NOT_SCIENCE | {"epochs"}  # none of these changes an epoch that is done
        differ = [name for name in ours if name not in free and ours[name] != theirs.get(name)]
        if differ:
            listed = ", ".join(f"{name}: {theirs.get(name)!r} there, {ours[name]!r} now" for name in differ)
            raise CheckpointError(f"{path} belongs to other parameters ({listed}); choose another folder or delete it")
        if state["data"] != self.dataset.checksum:
            raise CheckpointError(f"{path} was trained on other data than {self.dataset.header.name!r} holds now")
        if len(state["history"]) > self.config.epochs:
            done, asked = len(state["history"]), self.config.epochs
            raise CheckpointError(f"{path} has {done} epochs already, and epochs = {asked}; choose another folder")
        target = self.objective.audio_target
        try:
            if target is not None and target.frozen:
                for name, tensor in target.state_dict(prefix="audio_target.").items():
                    if not torch.equal(tensor.cpu(), state["objective"][name]):
                        raise CheckpointError(f"{path} was trained with another teacher; choose another folder")
            self.objective.load_state_dict(state["objective"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"{path} does not fit this model: {error}") from error
        self.history, self.best = state["history"], state["best"]


def _check_grid(config: TrainConfig, dataset: Dataset) -> None:
    for split in dataset.splits.values() if config.grid else ():
        for name, stream in split.streams.items():
            if name != "language" and stream.lengths.max(initial=0) > config.grid:
                raise ConfigError(
                    f"grid = {config.grid}, but {name} has up to {stream.lengths.max()} steps; give "
                    f"load_dataset(config) or dataset.on_grid({config.grid}), and evaluate on the same"
                )


def _teacher(config: TrainConfig, dataset: Dataset, folder: Path | None, progress: bool, resume: bool) -> KTNet:
    """The full-modality model whose audio encoder is the target: loaded, or trained first with the same parameters."""
    if config.teacher:
        model, theirs, _ = load_model(config.teacher)
        mismatch = [name for name in ("dim", "heads", "layers") if getattr(theirs, name) != getattr(config, name)]
        if theirs.model != "ktnet" or "audio" not in model.inputs or mismatch:
            what = f"is a {theirs.system!r} model, not ktnet with audio"
            if theirs.model == "ktnet" and mismatch:
                what = f"differs in {', '.join(mismatch)}"
            raise CheckpointError(f"teacher {config.teacher} {what}; train one with variant = 'full'")
        check_fits(model, dataset["train"], f"{dataset.header.name!r}, for the teacher")
        return model
    own = None if folder is None else folder / "teacher"
    return fit(config.taught_by, dataset, own, progress=progress, resume=resume).model


def _summary(entry: Mapping[str, float]) -> str:
    """One line of the live progress: every loss term, then the valid metrics that tell most."""
    short = {"task": "L_e", "vision_to_audio": "L_V→A", "language_to_audio": "L_L→A", "audio_task": "L_A"}
    terms = [
        f"L={entry['loss']:.3f}",
        *(f"{label}={entry[name]:.3f}" for name, label in short.items() if name in entry),
    ]
    keys = {"valid_mae": "MAE", "valid_corr": "Corr", "valid_acc2_nonzero": "Acc2", "valid_f1_mean": "F1"}
    valid = [f"{label} {entry[name]:.3f}" for name, label in keys.items() if name in entry]
    return " ".join(terms) + " | valid " + " ".join(valid)
