"""The machine that computed a run."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Annotated

import msgspec
import torch

from ktnet_lite.deploy import bench

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Hardware(msgspec.Struct, frozen=True):
    """The machine that computed a run."""

    device: str
    gpu: str | None
    cpu: str
    cores: Count | None
    threads: Count
    system: str
    python: str

    def __str__(self) -> str:
        return self.gpu or f"{self.cpu} CPU, {self.threads} of {self.cores} cores"


def hardware(device: torch.device) -> Hardware:
    """Describe this machine."""
    return Hardware(
        device=device.type,
        gpu=torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        cpu=_processor(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        system=platform.platform(),
        python=platform.python_version(),
    )


def peak_memory(device: torch.device) -> int | None:
    """Return the peak memory in bytes of the GPU's allocator or of this process; None on Windows."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else bench.peak_memory()


def _processor() -> str:
    """Name the CPU's model where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()
