"""The content of a training checkpoint, ``last.pt``, and the checks that it fits the run that continues from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import torch
from torch import Tensor

from ktnet_lite.config import TrainConfig
from ktnet_lite.data.schema import Dataset
from ktnet_lite.errors import CheckpointError, shown
from ktnet_lite.model.losses import Objective
from ktnet_lite.training import checkpoint


class Best(msgspec.Struct):
    """The epoch that was best on the validation set so far."""

    epoch: Annotated[int, msgspec.Meta(ge=0)]
    score: float
    model: dict[str, Tensor]


class Adam(msgspec.Struct):
    """State of the optimizer; its settings are the config's."""

    state: Annotated[dict[int, dict[str, Tensor]], msgspec.Meta(min_length=1)]  # by the number of the weight


class State(msgspec.Struct):
    """Content of a ``last.pt``."""

    config: dict[str, str | int | float | bool]
    data: str  # checksum
    objective: dict[str, Tensor]
    optimizer: Adam
    scaler: dict[str, Annotated[int, msgspec.Meta(ge=0, le=2**31)] | checkpoint.Finite]
    pretraining: list[dict[str, checkpoint.Finite]]
    history: list[dict[str, checkpoint.Finite]]
    best: Best | None  # None before the first epoch with labels


def read_state(
    path: Path, config: TrainConfig, dataset: Dataset, objective: Objective, trained: Sequence[Tensor]
) -> State:
    """Read a ``last.pt``, and check it against a run: its config, data, objective and trained weights.

    Raises
    ------
    CheckpointError
        The file is damaged, was altered, or belongs to other parameters, another teacher or other data.
    """
    content = checkpoint.load(path)
    if missing := set(State.__struct_fields__) - content.keys():
        raise CheckpointError(f"{path} is not a training checkpoint: it has no {', '.join(sorted(missing))}; delete it")
    state = checkpoint.checked(path, content, State)
    now, saved = config.identity, state.config
    differ = [name for name in now if name != "epochs" and now[name] != saved.get(name)]  # more epochs may follow
    if differ:
        listed = ", ".join(f"{name}: {shown(saved.get(name))} there, {now[name]!r} now" for name in differ)
        raise CheckpointError(f"{path} belongs to other parameters ({listed}); choose another folder or delete it")
    if state.data != dataset.checksum:
        raise CheckpointError(f"{path} was trained on other data than {dataset.header.name!r} holds now")
    if (done := len(state.history)) > config.epochs:
        raise CheckpointError(f"{path} has {done} epochs already, and epochs = {config.epochs}; choose another folder")
    _check_epochs(path, state)
    checkpoint.check_weights(f"{path}, objective", state.objective, objective.state_dict())
    if state.best:
        checkpoint.check_weights(f"{path}, best", state.best.model, objective.model.state_dict())
    target = objective.audio_target
    if target is not None and target.frozen:
        for name, tensor in target.state_dict(prefix="audio_target.").items():
            if not torch.equal(tensor.cpu(), state.objective[name]):
                raise CheckpointError(f"{path} was trained with another teacher; choose another folder")
    _check_moments(path, state.optimizer.state, trained)
    return state


def _check_epochs(path: Path, state: State) -> None:
    """Raise :class:`CheckpointError` unless the best epoch is one of the history, and each epoch has its numbers."""
    done, best = len(state.history), state.best
    if (best is None) != (done == 0) or not (state.pretraining or done):
        raise CheckpointError(f"{path} was altered: it has {done} epochs, and not the best of them")
    if best and (best.epoch >= done or math.isnan(best.score)):
        raise CheckpointError(f"{path} was altered: its best epoch, {best.epoch}, is not one of its {done}")
    for entry in (*state.pretraining, *state.history):
        if not {"loss", "seconds"} <= entry.keys():
            raise CheckpointError(f"{path} was altered: its history has an epoch without loss or seconds")


def _check_moments(path: Path, moments: Mapping[int, Mapping[str, Tensor]], trained: Sequence[Tensor]) -> None:
    """Raise :class:`CheckpointError` unless Adam's moments fit the weights."""
    for index, entry in moments.items():
        where = f"{path}, optimizer, weight {index}"
        if not 0 <= index < len(trained):
            raise CheckpointError(f"{where}: the model has only {len(trained)}")
        weight = trained[index]
        checkpoint.check_weights(where, entry, {"step": torch.zeros(()), "exp_avg": weight, "exp_avg_sq": weight})
        if entry["step"] < 0 or (entry["exp_avg_sq"] < 0).any():
            raise CheckpointError(f"{where}: a count or a square is negative")
