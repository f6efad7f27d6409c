"""Run the training notebook with papermill: checked parameters in, an executed notebook and a result file out."""

from __future__ import annotations

import logging
import sys
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.iorw import LocalHandler, papermill_io

from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import KTNetError
from ktnet_lite.experiments import kernel, notebook_path
from ktnet_lite.experiments.runs import finished, obtain, run_folder
from ktnet_lite.files import locked, stamp, write


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


def run(config: TrainConfig, *, live: bool = True, again: bool = True, wait: bool = True) -> Path:
    """Train by executing ``train.ipynb`` into the run's folder; return the path of its ``result.json``.

    The folder (:func:`ktnet_lite.experiments.runs.run_folder`) holds the executed notebook, the checkpoint, the model
    and the pictures. An interrupted or failed run leaves no result file of its own; the same call resumes it. A result
    of the same run stays until a new one replaces it. Two processes never work in one folder: the second waits.

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
        A cell failed, or the notebook's process ended; the message says where, and the notebook with the error stays in
        the folder. Or the folder cannot be written.
    """
    obtain(config)  # here: its progress and errors show
    folder = run_folder(config)
    with locked(folder / ".lock", wait):
        if again or not finished(folder):
            _execute(config, folder, live)
    return folder / "result.json"


def _execute(config: TrainConfig, folder: Path, live: bool) -> None:
    result, notebook = folder / "result.json", folder / "train.ipynb"
    earlier = stamp(result)
    _register(str(notebook))
    for logger in ("papermill", "asyncio"):  # what ended is told here; on Ctrl-C a task may still wait for the kernel
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    notebook_node = source()
    try:
        with kernel.prepared(folder) as options:
            papermill.execute_notebook(
                notebook_node,
                str(notebook),
                parameters=config.as_dict(),
                kernel_name="python3",
                start_timeout=600,
                progress_bar=False,
                stderr_file=sys.stderr if live else None,
                coalesce_streams=True,
                **options,
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
    if stamp(result) in (None, earlier):
        raise KTNetError(f"{notebook} ran to its end but left no result file")


class _Whole(LocalHandler):
    """How papermill writes the executed notebook, again and again while it runs: whole at any moment."""

    def write(self, buf: str, path: str) -> None:
        write(Path(path), buf)


@cache
def _register(path: str) -> None:
    papermill_io.register(path, _Whole())
