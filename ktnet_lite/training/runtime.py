"""The machine of a run: device, precision, determinism, processes, and advice when memory runs out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
import torch.distributed as dist

from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import ConfigError, KTNetError
from ktnet_lite.names import Device, Precision

PRECISIONS: dict[Precision, torch.dtype] = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: Device) -> torch.device:
    """Choose a device: ``auto`` takes CUDA, then MPS, then the CPU; any other must be available.

    Raises
    ------
    ConfigError
        The machine or this build of torch has no such device.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    kind = next(kind for kind, there in available.items() if there) if name == "auto" else name
    if not available[kind]:
        raise ConfigError(f"device = {kind!r}, but this machine or this torch has none; use device = 'auto'")
    return torch.device(kind, int(os.environ.get("LOCAL_RANK", 0))) if kind == "cuda" else torch.device(kind)


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager:
    """Run a forward pass in mixed precision, ``bf16`` or ``fp16``; ``float32`` does nothing."""
    return torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "float32")


@contextlib.contextmanager
def processes(device: torch.device) -> Iterator[tuple[int, int]]:
    """Join the process group that torchrun describes; yield (rank, world size), or (0, 1) without torchrun."""
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
def deterministic(device: torch.device) -> Iterator[None]:
    """Make the same seed give the same numbers on the same machine, on CUDA too; restore the setting afterwards.

    Not ``warn_only``: with it, torch keeps the attention kernel whose backward pass is not deterministic.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@contextlib.contextmanager
def memory_advice(config: TrainConfig) -> Iterator[None]:
    """Turn an out-of-memory error into a :class:`KTNetError` that says what to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        signs = "out of memory", "can't allocate memory", "not enough memory"
        if isinstance(error, RuntimeError) and not any(sign in str(error).lower() for sign in signs):
            raise
        raise KTNetError(
            f"out of memory at batch_size = {config.batch_size}: lower batch_size, set grid (say 50) to shorten "
            "audio and vision, or use precision = 'bf16' on a GPU"
        ) from error
