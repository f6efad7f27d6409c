"""Run the training notebook by papermill: checked parameters in, an executed notebook and a result file out."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
from filelock import FileLock, Timeout
from nbclient.exceptions import DeadKernelError
from traitlets.config import Config

from ktnet_lite.config import TrainConfig
from ktnet_lite.data import catalogue
from ktnet_lite.errors import KTNetError
from ktnet_lite.experiments import result as results


def notebook_path(name: str) -> Path:
    """An experiment notebook: of the checkout when there is one, else as installed with the package."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package.parent / "notebooks" / "experiments", package / "notebooks"):
        if (folder / f"{name}.ipynb").is_file():
            return folder / f"{name}.ipynb"
    raise KTNetError(f"no experiment notebook {name!r} in this installation; install ktnet-lite again")


def parameters_from(namespace: Mapping[str, Any]) -> TrainConfig:
    """The config that a notebook's parameter cells define.

    ``papermill -p sede 3`` injects a variable that no cell reads and says nothing. Here every plain value that the
    notebook has defined must be a parameter, so a mistyped name is an error before anything runs. When the cells are
    run again in the same session, the notebook's own variables are there too; then only parameters are looked at.
    """
    again = isinstance(namespace.get("config"), TrainConfig)
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    shell = {"In", "Out", "exit", "quit", "get_ipython", "open"}
    values = {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_")
        and name not in shell
        and (name in names or not again)
        and isinstance(value, (str, int, float, list, dict, type(None)))
    }
    return TrainConfig.build(values)


class BusyError(KTNetError):
    """Another process is at this very run."""


def run(config: TrainConfig, *, live: bool = True, again: bool = True, wait: bool = True) -> Path:
    """Train by executing ``train.ipynb`` into the run's folder; return the path of its ``result.json``.

    The folder (:func:`ktnet_lite.experiments.result.run_folder`) holds the executed notebook, the checkpoint, the model and the
    pictures. An interrupted or failed run leaves no result file; the same call takes it up where it stopped. Two
    processes never are at one folder: the second waits.

    Parameters
    ----------
    live : bool
        Show the training's progress while it runs.
    again : bool
        Execute the notebook even if there is a result already.
    wait : bool
        Wait for a process that is at this run, instead of raising.

    Raises
    ------
    ConfigError, DataError
        No such data set, or it cannot be had; nothing has run.
    BusyError
        Another process is at it, and ``wait`` is false.
    KTNetError
        A cell failed. The notebook with the error stays in the folder, and the message says where.
    """
    if config.dataset != "synthetic" and not Path(config.dataset).exists():
        catalogue.build(config.dataset, local=config.data_from or None)  # here: its progress and errors show
    folder = results.run_folder(config)
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
    result.unlink(missing_ok=True)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # a debugger's warning about frozen modules
    source = nbformat.read(notebook_path("train"), as_version=4)
    try:
        with tempfile.TemporaryDirectory(prefix="ktnet-") as sockets:
            papermill.execute_notebook(
                source,
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
            "the notebook's process was killed, most likely for want of memory: lower batch_size, or set grid (say 50)"
            f"\nThe same command goes on after the last complete epoch. The notebook: {notebook}"
        ) from error
    if not result.is_file():
        raise KTNetError(f"{notebook} ran to its end but left no result file")


def _kernel(folder: str) -> Config:
    """The kernel listens on sockets in a folder of its own instead of open ports, where the system has such sockets.

    Its own log stays silent: on Ctrl-C it would tell of sockets that are gone.
    """
    config = Config()
    config.NotebookClient.extra_arguments = ["--IPKernelApp.log_level=CRITICAL"]
    if os.name == "posix":
        config.KernelManager.transport = "ipc"
        config.KernelManager.ip = os.path.join(folder, "kernel")
    return config
