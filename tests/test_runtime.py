"""Device, processes, determinism and memory, as far as a machine without an accelerator can tell."""

import warnings

import pytest
import torch

from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import ConfigError, KTNetError
from ktnet_lite.model.layers import Positions
from ktnet_lite.training import runtime


@pytest.fixture
def machine(monkeypatch):
    def having(cuda=False, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 4 * cuda)
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
    monkeypatch.setenv("LOCAL_RANK", "")
    assert runtime.choose_device("cuda") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "4")
    with pytest.raises(ConfigError, match="LOCAL_RANK = 4, but this machine has 4 GPUs"):
        runtime.choose_device("cuda")


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
    with advice, runtime.training_advice(TrainConfig(batch_size=24)):
        raise error


def test_a_processor_that_lacks_a_precision_says_so():
    advice = pytest.raises(KTNetError, match="cannot compute 'full' with precision = 'bf16'; use precision = 'float32'")
    with advice, runtime.training_advice(TrainConfig(precision="bf16", variant="full")):
        raise RuntimeError("could not create a primitive descriptor for the LSTM forward propagation primitive")


def test_another_error_stays_what_it_is():
    with pytest.raises(RuntimeError, match="shape mismatch"), runtime.training_advice(TrainConfig()):
        raise RuntimeError("shape mismatch")


TORCHRUN = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.fixture
def variables(monkeypatch):
    def having(given):
        for name in TORCHRUN:
            monkeypatch.delenv(name, raising=False)
        for name, value in given.items():
            monkeypatch.setenv(name, value)

    return having


@pytest.mark.parametrize(
    "given",
    [{}, dict.fromkeys(TORCHRUN, ""), {"WORLD_SIZE": "1"}, {"WORLD_SIZE": "0"}, {"RANK": "1"}, {"MASTER_PORT": "x"}],
)
def test_a_process_whose_variables_are_empty_or_left_over_is_alone(given, variables):
    variables(given)
    assert runtime.launched() == (0, 1, 0)
    with runtime.processes(torch.device("cpu")) as found:
        assert found == (0, 1)


def test_the_variables_of_torchrun_are_read(variables):
    variables(TORCHRUN)
    assert runtime.launched() == runtime.Launch(rank=3, world=4, local_rank=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"RANK": "", "MASTER_PORT": ""}, "WORLD_SIZE = 4 without RANK and MASTER_PORT: start with torchrun"),
        ({"MASTER_ADDR": ""}, "WORLD_SIZE = 4 without MASTER_ADDR: start with torchrun"),
        ({"WORLD_SIZE": "four"}, "WORLD_SIZE is 'four', not a whole number"),
        ({"WORLD_SIZE": "-1"}, "WORLD_SIZE is '-1', not a whole number"),
        ({"RANK": "1.5"}, r"RANK is '1\.5', not a whole number"),
        ({"LOCAL_RANK": "abc"}, "LOCAL_RANK is 'abc', not a whole number"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT is 'http', not a whole number"),
        ({"RANK": "4"}, "RANK = 4 is not below WORLD_SIZE = 4"),
    ],
)
def test_variables_of_torchrun_that_are_half_set_or_wrong_are_told(changes, message, variables):
    variables(TORCHRUN | changes)
    with pytest.raises(ConfigError, match=message):
        runtime.launched()


def test_processes_that_do_not_meet_are_told(variables):
    variables(TORCHRUN | {"RANK": "0", "MASTER_PORT": "99999"})
    with (
        pytest.raises(KTNetError, match=r"the 4 processes do not meet at localhost:99999: "),
        runtime.processes(torch.device("cpu")),
    ):
        pass


def test_gradients_are_averaged_with_no_buffers_sent_and_no_warning():
    """A table of positions has grown in a teacher by what its process has seen: torch may not compare it."""
    module = torch.nn.Sequential(Positions(4), torch.nn.Linear(4, 1), torch.nn.BatchNorm1d(1))
    module[0](torch.zeros(1, 100, 4))
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            shared = runtime.distributed(module, torch.device("cpu"))
        assert len(module[0].table) == 1 and not shared.broadcast_buffers
        assert torch.equal(module[0](torch.zeros(1, 100, 4)), Positions(4)(torch.zeros(1, 100, 4)))
    finally:
        torch.distributed.destroy_process_group()
