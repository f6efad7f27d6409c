"""The notebook's process: its Python and modules, its sockets and folder, its end by itself or by Ctrl-C."""

import json
import os
import signal
import sys
from pathlib import Path

import papermill
import pytest
from nbclient.exceptions import DeadKernelError

from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import KTNetError
from ktnet_lite.experiments import kernel
from ktnet_lite.experiments.notebook import run
from ktnet_lite.experiments.runs import run_folder

SMALL = {"variant": "language", "clips": 16, "epochs": 1, "dim": 8, "heads": 2, "layers": 1}
SHADOWS = ("code", "ipykernel", "notebook", "numpy", "pdb", "profile", "random", "secrets", "token", "torch")


@pytest.fixture
def others(tmp_path, monkeypatch) -> Path:
    """Other people's kernels, profiles, start-up files, temporary folder, and modules in the current folder."""
    spec = tmp_path / "site" / "kernels" / "python3" / "kernel.json"
    profile = tmp_path / "ipython" / "profile_default"
    for folder in (spec.parent, profile / "startup", tmp_path / "here", tmp_path / ("long" * 40)):
        folder.mkdir(parents=True)
    argv = [sys.executable, "-c", "raise SystemExit('the kernel of the site')"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "Site", "language": "python"}), encoding="utf-8")
    (profile / "ipython_kernel_config.py").write_text("raise SystemExit('the profile')", encoding="utf-8")
    (profile / "startup" / "mine.py").write_text("limit = 10", encoding="utf-8")
    (tmp_path / "python.py").write_text("mine = 3", encoding="utf-8")
    for name in SHADOWS:
        (tmp_path / "here" / f"{name}.py").write_text("raise SystemExit('a module beside the data')", encoding="utf-8")
    variables = {
        "JUPYTER_PATH": tmp_path / "site",
        "JUPYTER_DEFAULT_PROVISIONER_NAME": "cluster",
        "IPYTHONDIR": tmp_path / "ipython",
        "PYTHONSTARTUP": tmp_path / "python.py",
        "TMPDIR": tmp_path / ("long" * 40),
        "HOME": tmp_path / "none",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / ("long" * 40)


@pytest.mark.kernel
def test_the_notebook_runs_whatever_kernels_profiles_modules_and_folders_a_user_has(others):
    config = TrainConfig(**SMALL, out="runs")
    assert run(config, live=False).is_file()
    assert not (run_folder(config) / ".kernel").exists()
    assert all(path.name.startswith("torchinductor_") for path in others.iterdir())  # torch's own cache


@pytest.mark.kernel
def test_a_process_that_ends_at_its_start_is_told_with_its_last_words(tmp_path, monkeypatch):
    (tmp_path / "ipykernel.py").write_text("raise ImportError('no libzmq.so.5')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    config = TrainConfig(**SMALL, out=str(tmp_path / "runs"))
    with pytest.raises(KTNetError, match=r"does not start: ImportError: no libzmq\.so\.5\nTry it alone: .*ipykernel"):
        run(config, live=False)
    assert not (run_folder(config) / ".kernel").exists()


@pytest.mark.kernel
def test_a_process_that_cannot_be_started_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    with pytest.raises(KTNetError, match=r"the notebook's process does not start: .*gone"):
        run(TrainConfig(**SMALL, out=str(tmp_path)), live=False)


def test_last_words_are_no_traceback(tmp_path):
    folder = tmp_path / ".kernel"
    said = "a\nb\nc\n\nTraceback (most recent call last):\n  File x\n    call()\nValueError: one\ntwo\n"
    with pytest.raises(KTNetError, match="does not start: c\nValueError: one\ntwo\nTry"), kernel.prepared(tmp_path):
        (folder / kernel.WORDS).write_text(said, encoding="utf-8")
        raise RuntimeError("Kernel died before replying to kernel_info")
    assert not folder.exists()
    with pytest.raises(KTNetError, match="does not start: Kernel died"), kernel.prepared(tmp_path):
        raise RuntimeError("Kernel died before replying to kernel_info")


def test_what_a_killed_process_left_goes_at_the_next_start(tmp_path):
    left = tmp_path / ".kernel" / "s-1"
    left.parent.mkdir()
    left.touch()
    with kernel.prepared(tmp_path):
        assert left.parent.is_dir() and not left.exists()
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="sockets are files on POSIX alone")
def test_sockets_are_in_the_folder_of_the_run_unless_their_path_is_too_long(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with kernel.prepared(Path("runs")) as options:
        settings = options["config"].Kernel
        assert (settings.transport, settings.ip) == ("ipc", "runs/.kernel/s")
    for name in ("long" * 40, os.fsdecode(b"\xff")):
        with kernel.prepared(tmp_path / name) as options:
            assert "transport" not in options["config"].Kernel  # ports


@pytest.mark.parametrize("error", [DeadKernelError("Kernel died"), RuntimeError("closed"), OSError("no socket")])
def test_whatever_follows_ctrl_c_it_is_ctrl_c(error, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise error from None

    monkeypatch.setattr(papermill, "execute_notebook", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            run(TrainConfig(**SMALL, out=str(tmp_path)), live=False)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("checkout", [True, False])
def test_the_current_folder_is_searched_behind_the_libraries_or_the_standard_one_in_a_checkout(
    checkout, monkeypatch, tmp_path
):
    here = str(Path(kernel.__file__).resolve().parents[2] if checkout else tmp_path)
    monkeypatch.chdir(here)
    for first in (here, ""):
        monkeypatch.setattr(sys, "path", [first, "/lib/python3", "/lib/site-packages", "/more"])
        found = kernel.Kernel().kernel_spec.argv[2]
        order = ["/lib/python3", here, "/lib/site-packages", "/more"]
        assert repr(order if checkout else [*order[:1], *order[2:], here]) in found
    monkeypatch.setattr(sys, "path", ["/lib/python3"])
    assert "sys.path[:] = ['/lib/python3']" in kernel.Kernel().kernel_spec.argv[2]
