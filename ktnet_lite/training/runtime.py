"""The machine of a run: device, precision, determinism, processes, and advice when memory runs out."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import ConfigError, KTNetError
from ktnet_lite.model.layers import Positions
from ktnet_lite.names import Device, Precision
from ktnet_lite.text import enumerated

PRECISIONS: dict[Precision, torch.dtype] = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Launch(NamedTuple):
    """The place of this process among those that torchrun has started."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0  # on this machine


def launched() -> Launch:
    """Read torchrun's variables; without them, or where they are empty, this is the only process.

    Raises
    ------
    ConfigError
        A variable is not a number, or some of them are missing.
    """
    needed = "RANK", "MASTER_ADDR", "MASTER_PORT"
    advice = "start with torchrun, which sets all of them, or unset WORLD_SIZE"
    world, local_rank = _number("WORLD_SIZE", 1), _number("LOCAL_RANK", 0)
    if world <= 1:
        return Launch(local_rank=local_rank)
    if missing := [name for name in needed if not os.environ.get(name)]:
        raise ConfigError(f"WORLD_SIZE = {world} without {enumerated(missing)}: {advice}")
    _number("MASTER_PORT", 0)
    if (rank := _number("RANK", 0)) >= world:
        raise ConfigError(f"RANK = {rank} is not below WORLD_SIZE = {world}: {advice}")
    return Launch(rank, world, local_rank)


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "").strip() or str(default)
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(f"the environment variable {variable} is {text!r}, not a whole number; set it or unset it")
    return int(text)


def choose_device(name: Device) -> torch.device:
    """Choose a device: ``auto`` takes CUDA, then MPS, then the CPU; any other must be available.

    Raises
    ------
    ConfigError
        The machine or this build of torch has no such device, or fewer of them than torchrun has started processes.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    kind = next(kind for kind, there in available.items() if there) if name == "auto" else name
    if not available[kind]:
        raise ConfigError(f"device = {kind!r}, but this machine or this torch has none; use device = 'auto'")
    if kind != "cuda":
        return torch.device(kind)
    index, count = launched().local_rank, torch.cuda.device_count()
    if index >= count:
        raise ConfigError(f"LOCAL_RANK = {index}, but this machine has {count} GPUs; start no more processes than that")
    return torch.device(kind, index)


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager:
    """Run a forward pass in mixed precision, ``bf16`` or ``fp16``; ``float32`` does nothing."""
    return torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "float32")


@contextlib.contextmanager
def processes(device: torch.device) -> Iterator[tuple[int, int]]:
    """Join the process group that torchrun describes; yield (rank, world size), or (0, 1) without torchrun.

    To train several times in the same processes, join once around all of it: a second group of the same processes may
    read the addresses of the first, and wait for ever.

    Raises
    ------
    KTNetError
        The processes do not find each other.
    """
    world = launched().world
    if world == 1:
        yield 0, 1
        return
    started = not dist.is_initialized()
    if started:
        try:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        except (RuntimeError, ValueError) as error:
            place = ":".join(os.environ[name] for name in ("MASTER_ADDR", "MASTER_PORT"))
            raise KTNetError(f"the {world} processes do not meet at {place}: {error}") from error
    try:
        yield dist.get_rank(), world
    finally:
        if started:
            dist.destroy_process_group()


def distributed(module: Any, device: torch.device, partly: bool = False) -> nn.Module:
    """Average a module's gradients over the processes; ``partly``: some steps use only a part of its weights.

    Its buffers are equal everywhere, so no step sends them, but for position tables: these have grown by the clips that
    a process has seen, if a teacher is trained before. They begin anew, since torch sends all buffers at the start.
    """
    for part in module.modules():
        if isinstance(part, Positions):
            part.table = part.table[:1]
    known = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # before torch 2.13
    options: dict[str, Any] = {
        "device_ids": [device] if device.type == "cuda" else None,
        name: False,
        "find_unused_parameters": partly,
    }
    return DistributedDataParallel(module, **options)


@contextlib.contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Make the same seed give the same numbers on the same machine, on CUDA too; restore the setting afterwards.

    Not ``warn_only``: with it, torch keeps the attention kernel whose backward pass is not deterministic.
    """
    if device.type != "cuda":
        yield
        return
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = os.environ.get("CUBLAS_WORKSPACE_CONFIG") or ":4096:8"
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@contextlib.contextmanager
def training_advice(config: TrainConfig) -> Iterator[None]:
    """Turn torch's error about memory or precision into a :class:`KTNetError` that says which parameter to change."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if "could not create a primitive" in str(error):
            raise KTNetError(
                f"this processor cannot compute '{config.system}' with precision = {config.precision!r}; "
                "use precision = 'float32'"
            ) from error
        signs = "out of memory", "can't allocate memory", "not enough memory"
        if isinstance(error, RuntimeError) and not any(sign in str(error).lower() for sign in signs):
            raise
        raise KTNetError(
            f"out of memory at batch_size = {config.batch_size}: lower batch_size, set grid (say 50) to shorten "
            "audio and vision, or use precision = 'bf16' on a GPU"
        ) from error
