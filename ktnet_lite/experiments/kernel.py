"""The notebook's process: always this Python, whatever kernels, profiles, start-up files and modules a user has."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from traitlets.config import Config

from ktnet_lite.errors import KTNetError
from ktnet_lite.experiments.runs import KERNEL

PROGRAM = """\
import sys
sys.path[:] = {path!r}
from IPython.core import application
application.SYSTEM_CONFIG_DIRS.clear()
application.ENV_CONFIG_DIRS.clear()
from ipykernel import kernelapp
kernelapp.launch_new_instance()
"""
WORDS = "words"  # the file of what the process says outside the notebook
OPTIONS = (
    "--IPKernelApp.log_level=ERROR",
    "--InteractiveShellApp.exec_PYTHONSTARTUP=False",
    "--InteractiveShellApp.ignore_cwd=True",
)


class Kernel(AsyncKernelManager):
    """A kernel that is this Python, in place of the one that Jupyter finds by its name."""

    folder: Path  # for what the process needs while it runs
    started: list[Kernel]

    @property
    def kernel_spec(self) -> KernelSpec:
        """How to start the process; Jupyter's own folders and variables have no part in it."""
        command = [sys.executable, "-c", PROGRAM.format(path=_search_path()), "-f", "{connection_file}", *OPTIONS]
        local = {"kernel_provisioner": {"provisioner_name": "local-provisioner"}}
        return KernelSpec(argv=command, display_name="Python 3", language="python", metadata=local)

    async def _start(self, **options: Any) -> None:
        self.started.append(self)
        env = {"PYDEVD_DISABLE_FILE_VALIDATION": "1", **os.environ}  # the first: a debugger's warning
        env.pop("WORLD_SIZE", None)  # a notebook trains in one process
        env["IPYTHONDIR"] = str(self.folder / "ipython")
        if not os.access(env.get("HOME") or env.get("USERPROFILE", ""), os.W_OK):
            env["MPLCONFIGDIR"] = env.get("MPLCONFIGDIR") or str(self.folder / "matplotlib")
        with open(self.folder / WORDS, "wb") as words:
            try:
                await super().start_kernel(env=env, stdout=words, stderr=words, **options)
            except OSError as error:  # no more processes, or no longer this Python
                raise KTNetError(f"the notebook's process does not start: {error}") from error

    start_kernel: Callable[..., Awaitable] = _start

    def end(self) -> None:
        """End a process that still runs, since Ctrl-C came while it started."""
        if process := getattr(self.provisioner, "process", None):
            process.kill()
            process.wait()


@contextmanager
def prepared(run: Path) -> Iterator[dict[str, Any]]:
    """Yield the options that make papermill start :class:`Kernel`, in a folder that exists meanwhile.

    The folder is in that of the run, whose lock is held: what a killed process left there goes first.

    Raises
    ------
    KTNetError
        The process ended at its start; the message has its last words.
    KeyboardInterrupt
        Ctrl-C was pressed, whatever error the end of the process caused after it.
    """
    folder = run.absolute() / KERNEL
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "ipython").mkdir(parents=True)
    started: list[Kernel] = []
    here = type("Kernel", (Kernel,), {"folder": folder, "started": started})
    config = Config()
    config.Kernel.connection_file = str(folder / "connection.json")
    if address := _socket(folder):  # not open ports
        config.Kernel.transport, config.Kernel.ip = "ipc", address
    try:
        with _heeding_ctrl_c():
            yield {"kernel_manager_class": here, "config": config}
    except DeadKernelError:
        raise
    except RuntimeError as error:
        alone = f"{sys.executable} -m ipykernel --version"
        raise KTNetError(
            f"the notebook's process does not start: {_last_words(folder) or error}\nTry it alone: {alone}"
        ) from error
    finally:
        for kernel in started:
            kernel.end()
        shutil.rmtree(folder, ignore_errors=True)


def _search_path() -> list[str]:
    """Return where this process finds modules, with the current folder, if it is there, behind the libraries.

    Behind the standard library alone in a checkout: another version may be installed.
    """
    here, checkout = Path.cwd(), Path(__file__).resolve().parents[2]
    places = [place for place in sys.path if Path(place).absolute() != here]
    if len(places) < len(sys.path):
        libraries = (i for i, place in enumerate(places) if place.endswith("-packages") and here == checkout)
        places.insert(next(libraries, len(places)), str(here))
    return places


def _socket(folder: Path) -> str | None:
    """Return the path of the process's sockets, without their numbers; None where no socket can be at such a path."""
    if os.name != "posix":
        return None
    address = min(str(folder / "s"), os.path.relpath(folder / "s"), key=len)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(f"{address}-0".encode())
    except (OSError, UnicodeError):  # too long, or the disk has no sockets
        return None
    return address


def _last_words(folder: Path) -> str:
    """Return the last lines that the process wrote, other than where in its code it failed."""
    try:
        lines = Path(folder, WORDS).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join([line for line in lines if line.strip() and not line.startswith((" ", "Traceback"))][-3:])


@contextmanager
def _heeding_ctrl_c() -> Iterator[None]:
    """Raise KeyboardInterrupt after Ctrl-C, and no error that followed from it."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    heard = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, hear)
    try:
        yield
    except Exception as error:
        if heard:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
