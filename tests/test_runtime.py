"""Device, processes, determinism and memory, as far as a machine without an accelerator can tell."""

import pytest
import torch

from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import ConfigError, KTNetError
from ktnet_lite.training import runtime


@pytest.fixture
def machine(monkeypatch):
    def having(cuda=False, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return having


def test_auto_takes_the_fastest_that_is_there(machine, monkeypatch):
    machine()
    assert runtime.choose_device("auto") == torch.device("cpu")
    machine(mps=True)
    assert runtime.choose_device("auto").type == "mps"
    machine(cuda=True, mps=True)
    assert runtime.choose_device("auto") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "3")  # as torchrun sets it
    assert runtime.choose_device("cuda") == torch.device("cuda", 3)
    assert runtime.choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(machine, name):
    machine()
    with pytest.raises(
        ConfigError, match=f"device = '{name}', but this machine or this torch has none; use device = 'a"
    ):
        runtime.choose_device(name)


def test_determinism_is_for_cuda_and_is_restored():
    def setting():
        return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()

    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        with runtime.deterministic(torch.device("cpu")):
            assert setting() == (True, True)
        with pytest.raises(ZeroDivisionError), runtime.deterministic(torch.device("cuda")):
            assert setting() == (True, False)
            raise ZeroDivisionError
        assert setting() == (True, True)
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes"),  # Windows
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        MemoryError("Unable to allocate 3 GiB for an array"),
    ],
)
def test_running_out_of_memory_says_what_to_lower(error):
    advice = pytest.raises(KTNetError, match="out of memory at batch_size = 24: lower batch_size, set grid")
    with advice, runtime.memory_advice(TrainConfig()):
        raise error


def test_another_error_stays_what_it_is():
    with pytest.raises(RuntimeError, match="shape mismatch"), runtime.memory_advice(TrainConfig()):
        raise RuntimeError("shape mismatch")


def test_a_lone_process_is_rank_0_of_1(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with runtime.processes(torch.device("cpu")) as found:
        assert found == (0, 1)
