"""Run the training notebook with papermill: checked parameters in, an executed notebook and a result file out."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import papermill
from filelock import FileLock, Timeout
from nbclient.exceptions import DeadKernelError
from traitlets.config import Config

from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import KTNetError
from ktnet_lite.experiments import notebook_path
from ktnet_lite.experiments.runs import obtain, run_folder


def source() -> Any:
    """Read the training notebook.

    Raises
    ------
    KTNetError
        It is missing or damaged.
    """
    path = notebook_path("train")
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises half a dozen kinds
        raise KTNetError(
            f"{path} is no notebook ({str(error)[:100]}); restore it, or install ktnet-lite again"
        ) from error


class BusyError(KTNetError):
    """Another process is training the same run."""


def run(config: TrainConfig, *, live: bool = True, again: bool = True, wait: bool = True) -> Path:
    """Train by executing ``train.ipynb`` into the run's folder; return the path of its ``result.json``.

    The folder (:func:`ktnet_lite.experiments.runs.run_folder`) holds the executed notebook, the checkpoint, the model
    and the pictures. An interrupted or failed run leaves no result file; the same call resumes it. Two processes never
    work in one folder: the second waits.

    Parameters
    ----------
    live : bool
        Show the progress of training.
    again : bool
        Execute the notebook even if there is a result.
    wait : bool
        Wait for another process that is training this run, instead of raising.

    Raises
    ------
    ConfigError, DataError
        There is no such data set, or it cannot be obtained; nothing has run.
    BusyError
        Another process is training this run, and ``wait`` is false.
    KTNetError
        A cell failed. The notebook with the error stays in the folder; the message says where.
    """
    obtain(config)  # here: its progress and errors show
    folder = run_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=-1 if wait else 0):
            if again or not (folder / "result.json").is_file():
                _execute(config, folder, live)
    except Timeout:
        raise BusyError(f"another process is training {folder}") from None
    return folder / "result.json"


def _execute(config: TrainConfig, folder: Path, live: bool) -> None:
    result, notebook = folder / "result.json", folder / "train.ipynb"
    earlier = folder / "result.json.earlier"  # no result, but it still tells the notebook whose folder this is
    if result.is_file():
        result.replace(earlier)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # on Ctrl-C a task may still wait for the kernel that ended
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # a debugger's warning about frozen modules
    notebook_node = source()
    try:
        with tempfile.TemporaryDirectory(prefix="ktnet-") as sockets:
            papermill.execute_notebook(
                notebook_node,
                str(notebook),
                parameters=config.as_dict(),
                kernel_name="python3",
                progress_bar=False,
                stderr_file=sys.stderr if live else None,
                coalesce_streams=True,
                config=_kernel(sockets),
            )
    except papermill.PapermillExecutionError as error:
        if error.ename == "KeyboardInterrupt":  # Ctrl-C reached the notebook's process before this one
            raise KeyboardInterrupt from error
        raise KTNetError(f"{error.ename}: {error.evalue}\nThe notebook with the error: {notebook}") from error
    except DeadKernelError as error:
        raise KTNetError(
            "the notebook's process was killed, probably because memory ran out: lower batch_size, or set grid (say 50)"
            f"\nThe same command resumes after the last complete epoch. The notebook: {notebook}"
        ) from error
    if not result.is_file():
        raise KTNetError(f"{notebook} ran to its end but left no result file")
    earlier.unlink(missing_ok=True)


def _kernel(folder: str) -> Config:
    """Make the kernel listen on sockets in a folder of its own instead of open ports, on systems that have them.

    Its log stays silent: on Ctrl-C it would report closed sockets.
    """
    config = Config()
    config.NotebookClient.extra_arguments = ["--IPKernelApp.log_level=CRITICAL"]
    if os.name == "posix":
        config.KernelManager.transport = "ipc"
        config.KernelManager.ip = str(Path(folder, "kernel"))
    return config
