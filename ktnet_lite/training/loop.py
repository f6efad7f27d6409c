"""The training loop: live progress, the best weights on the validation set, a checkpoint per epoch, exact resume."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ktnet_lite.config import TrainConfig
from ktnet_lite.data.batching import Batches
from ktnet_lite.data.schema import Dataset, Split
from ktnet_lite.errors import CheckpointError, ConfigError, KTNetError
from ktnet_lite.files import check_folder
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.model.losses import Objective, process_mean
from ktnet_lite.model.network import Network
from ktnet_lite.model.targets import AudioTarget
from ktnet_lite.training import checkpoint
from ktnet_lite.training.build import (
    build_objective,
    dims_of,
    load_teacher,
    other_voices,
    save_model,
    training_clips,
)
from ktnet_lite.training.doubt import validated_half_widths
from ktnet_lite.training.evaluation import evaluate, evaluate_subsets, transfer_quality
from ktnet_lite.training.runtime import (
    autocast,
    choose_device,
    deterministic,
    distributed,
    processes,
    training_advice,
)
from ktnet_lite.training.state import read_state
from ktnet_lite.training.trackers import Callback, tracker

SELECT_BY = {"sentiment": "mae", "emotion": "f1_mean"}  # the validation metric that chooses the epoch


class Run(NamedTuple):
    """A finished training run."""

    model: Network  # with the weights of the epoch that was best on the validation set
    history: list[dict[str, float]]  # per epoch: training terms, validation metrics (prefix "valid_"), seconds
    best_epoch: int
    audio_target: AudioTarget | None  # as of the last epoch; for pictures of f_A
    pretraining: list[dict[str, float]]  # per epoch of Eq. (1) alone: its terms, validation R2, seconds
    half_widths: dict[str, list[float]]  # of intervals of the score, from training.doubt.validated_half_widths


def fit(
    config: TrainConfig,
    dataset: Dataset,
    folder: Path | str | None = None,
    *,
    progress: bool = True,
    resume: bool = True,
    log: Callback | None = None,
) -> Run:
    """Train, and keep the weights of the epoch that is best on the validation set.

    With a ``folder``, a checkpoint is written there after each epoch (``last.pt``), and at the end ``model.pt``. If
    ``last.pt`` exists and ``resume`` is true, training continues from it: on a CPU the result is bitwise that of an
    uninterrupted run, because everything random in an epoch depends on (seed, epoch) alone.
    Under ``torchrun`` every process trains on its part of each batch, and the first one writes.

    Parameters
    ----------
    dataset : Dataset
        From :func:`ktnet_lite.training.dataset.load_dataset` with this config, or one of your own.
    log : function of a stage, an epoch and its entry, optional
        Called after each epoch, ``log("training", 0, {"loss": 1.2, "valid_mae": 0.9, ...})``, first for those that
        ``last.pt`` holds; in place of the tracker that the config names, :func:`ktnet_lite.training.trackers.tracker`.

    Raises
    ------
    ConfigError
        ``grid`` is set, but the data set is not on that grid; or the tracker's package or folder is missing.
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
        if config.taught:
            own = None if folder is None else folder / "teacher"
            found = load_teacher(config, dataset) if config.teacher else None
            teacher = found or fit(config.taught_by, dataset, own, progress=progress, resume=resume).model
        torch.manual_seed(config.seed)
        labelled, heard = training_clips(config, dataset["train"])
        seen = dataclasses.replace(dataset, splits={**dataset.splits, "train": heard})
        objective = build_objective(config, seen, teacher).to(device)
        with training_advice(config), tracker(config, folder, log, rank) as each:
            loop = _Loop(config, dataset, (labelled, heard), objective, device, (rank, world), each)
            if folder is not None and resume and (folder / "last.pt").exists():
                loop.restore(folder / "last.pt")
            loop.run(folder, progress)
        model = objective.model
        model.load_state_dict(loop.best["model"])
        half_widths = validated_half_widths(model, dataset["valid"], config.batch_size, config.precision)
        if folder is not None and rank == 0:
            prefix = f"valid_{SELECT_BY[dataset.header.task]}_"
            entry = loop.history[loop.best["epoch"]]
            valid = {name.removeprefix(prefix): x for name, x in entry.items() if name.startswith(prefix)}
            about = dataset.header, dims_of(config, dataset)
            save_model(folder / "model.pt", model, config, *about, valid, half_widths)
        target = objective.audio_target
        return Run(model.eval(), loop.history, loop.best["epoch"], target, loop.pretraining, half_widths)


class _Loop:
    """State of one training run: the content of a checkpoint, and one epoch of work."""

    def __init__(
        self,
        config,
        dataset: Dataset,
        clips: tuple[Split, Split],  # with labels, and for Eq. (1) alone
        objective: Objective,
        device,
        place: tuple[int, int],
        log: Callback,
    ):
        self.log = log
        self.config, self.dataset, self.objective, self.device = config, dataset, objective, device
        self.rank, world = place
        labelled, heard = clips
        if config.variant == "ours" and config.voice == "other":
            labelled, heard = (other_voices(split, config.seed) for split in clips)
        options = config.batch_size, objective.modalities, device, config.seed, place
        self.labelled, self.heard = Batches(labelled, *options), Batches(heard, *options)
        self.trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(self.trained, lr=config.learning_rate, fused=device.type != "mps")
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16" and device.type == "cuda")
        self.step_module: Any = objective
        if config.compile:
            self.step_module = torch.compile(self.step_module, dynamic=True)
        if world > 1:
            self.step_module = distributed(
                self.step_module, device, partly=config.pretrain > 0 or objective.model.any_subset
            )
        self.pretraining: list[dict[str, float]] = []
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Any] = {}

    def run(self, folder: Path | None, progress: bool) -> None:
        for stage, done in (("pretraining", self.pretraining), ("training", self.history)):
            for epoch, entry in enumerate(done):
                self.log(stage, epoch, entry)
        if self.objective.model.closed_form:
            return self.solve()
        pretrain = self.config.pretrain if self.objective.model.reconstructs else 0
        for epoch in range(len(self.pretraining), pretrain):
            self.follow(self.pretraining, epoch, pretrain, folder, progress)
        for epoch in range(len(self.history), self.config.epochs):
            if self.waited(epoch):
                break
            self.follow(self.history, epoch, self.config.epochs, folder, progress)

    def waited(self, epoch: int) -> bool:
        """Whether the last ``patience`` epochs before this one brought nothing better."""
        return bool(self.history and self.config.patience) and epoch - 1 - self.best["epoch"] >= self.config.patience

    def follow(
        self, history: list[dict[str, float]], epoch: int, epochs: int, folder: Path | None, progress: bool
    ) -> None:
        """Train one epoch behind a progress bar, and save the checkpoint."""
        stage = "Eq. (1) alone, epoch" if history is self.pretraining else "epoch"
        with tqdm(
            total=len(self.heard if history is self.pretraining else self.labelled),
            desc=f"{self.config.system} (seed {self.config.seed}) {stage} {epoch + 1}/{epochs}",
            disable=not progress or self.rank > 0,
            leave=epoch + 1 == epochs,
            file=sys.stderr,
            mininterval=0.5,
        ) as bar:
            if history:
                bar.set_postfix_str(_summary(history[-1]))
            self.epoch(history, epoch, bar)
            bar.set_postfix_str(_summary(history[-1]))
        if folder is not None and self.rank == 0:
            checkpoint.save(folder / "last.pt", self.state())
        self.log("training" if history is self.history else "pretraining", epoch, history[-1])

    def epoch(self, history: list[dict[str, float]], epoch: int, bar: tqdm) -> None:
        config, start = self.config, time.perf_counter()
        labels = history is self.history
        clips = self.labelled if labels else self.heard
        # One seed for each (seed, epoch, process): a resumed epoch needs no saved random state.
        place = (config.seed, epoch, self.rank) if labels else (config.seed, epoch, self.rank, 1)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
        self.objective.train()
        sums: dict[str, Tensor] = {}
        for batch in clips.epoch(epoch):
            with autocast(self.device, config.precision):
                terms = self.step_module(batch, labels)
            self.optimizer.zero_grad()
            self.scaler.scale(terms["loss"]).backward()
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.trained, config.clip_norm)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.detach() * batch.size
            bar.update()
        entry = {name: process_mean(total).item() / len(clips.split) for name, total in sums.items()}
        if not math.isfinite(entry["loss"]):
            raise KTNetError(
                f"the loss became {entry['loss']} in epoch {epoch + 1}; lower learning_rate, or use precision = 'bf16' "
                "instead of 'fp16'"
            )
        if labels:
            self.keep(entry, start)
        else:
            history.append({**entry, **self.quality(), "seconds": time.perf_counter() - start})

    def solve(self) -> None:
        """Set the weights of a model with a closed form, in place of epochs."""
        start = time.perf_counter()
        self.objective.model.solve(self.labelled.split, self.dataset["valid"])
        self.history = []
        self.keep({}, start)
        self.log("training", 0, self.history[-1])

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
        """Compute the validation metrics and the quality of the reconstructions.

        For "any", a metric is the mean over the subsets of the modalities, and the metric that chooses the epoch stands
        there for each of them too.
        """
        config, model, valid = self.config, self.objective.model, self.dataset["valid"]
        options = None, config.batch_size, config.precision
        if not model.any_subset:
            metrics = evaluate(model, valid, *options).metrics
        else:
            parts = {
                subset: x.metrics for subset, x in evaluate_subsets(model, valid, "inferred", *options[1:]).items()
            }
            chief = SELECT_BY[self.dataset.header.task]
            metrics = {f"{chief}_{'_'.join(subset)}": found[chief] for subset, found in parts.items()}
            for name in next(iter(parts.values())):
                known = [x for found in parts.values() if (x := found[name]) is not None]
                metrics[name] = sum(known) / len(known) if len(known) == len(parts) else None
        return {f"valid_{name}": x for name, x in metrics.items() if x is not None} | self.quality()

    def quality(self) -> dict[str, float]:
        """Measure the reconstructions on the validation set, where there are any."""
        measured = transfer_quality(self.objective, self.dataset["valid"])
        return {f"valid_{name}": value for name, value in measured.items()}

    def state(self) -> dict[str, Any]:
        return {
            "config": self.config.as_dict(),
            "data": self.dataset.checksum,
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "pretraining": self.pretraining,
            "history": self.history,
            "best": self.best or None,
        }

    def restore(self, path: Path) -> None:
        state = read_state(path, self.config, self.dataset, self.objective, self.trained)
        try:
            self.objective.load_state_dict(state.objective)
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state.optimizer.state})
            self.scaler.load_state_dict(state.scaler)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} does not fit this model: {error}") from error
        self.pretraining, self.history = state.pretraining, state.history
        self.best = msgspec.structs.asdict(state.best) if state.best else {}


def _check_grid(config: TrainConfig, dataset: Dataset) -> None:
    for split in dataset.splits.values() if config.grid else ():
        for name, stream in split.streams.items():
            if name != "language" and stream.lengths.max(initial=0) > config.grid:
                raise ConfigError(
                    f"grid = {config.grid}, but {name} has up to {stream.lengths.max()} steps; give "
                    f"load_dataset(config) or dataset.on_grid({config.grid}), and evaluate on the same"
                )


def _summary(entry: Mapping[str, float]) -> str:
    """Summarise an epoch for the progress bar: every loss term, then the main validation metrics."""
    short = {"task": "L_e", "vision_to_audio": "L_V→A", "language_to_audio": "L_L→A", "audio_task": "L_A"}
    terms = [
        f"L={entry['loss']:.3f}",
        *(f"{label}={entry[name]:.3f}" for name, label in short.items() if name in entry),
    ]
    keys = {"valid_language_r2": "R2 L→A", "valid_vision_r2": "R2 V→A"} if "task" not in entry else {}
    keys |= {"valid_mae": "MAE", "valid_corr": "Corr", "valid_acc2_nonzero": "Acc2", "valid_f1_mean": "F1"}
    valid = [f"{label} {entry[name]:.3f}" for name, label in keys.items() if name in entry]
    return " ".join(terms) + " | valid " + " ".join(valid)
