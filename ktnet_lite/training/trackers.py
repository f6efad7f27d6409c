"""One callback an epoch: the history of a run for TensorBoard or MLflow, in local files; each imported if asked for."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import ConfigError
from ktnet_lite.files import locked

# Called with the stage, "pretraining" or "training", the epoch, from 0, and its entry in the history.
Callback = Callable[[str, int, Mapping[str, float]], None]
Write = Callable[[int, Mapping[str, float]], None]
MLFLOW = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}  # unless a user sets them


@contextmanager
def tracker(config: TrainConfig, folder: Path | None, log: Callback | None = None, rank: int = 0) -> Iterator[Callback]:
    """Yield the callback of a run: ``log``, or that of the tracker that the config names; of the first process alone.

    A tracker replaces what it recorded of the same folder before. TensorBoard's files are in the run's folder. The runs
    under ``config.out`` share ``mlflow.db``, with an experiment for each data set; the environment variable
    ``MLFLOW_TRACKING_URI`` names another place.

    Raises
    ------
    ConfigError
        The run has no folder, or the tracker's package is missing.
    """
    if rank or log or config.log == "none":
        yield log if log and not rank else lambda stage, epoch, entry: None
        return
    if folder is None:
        raise ConfigError(f"log = {config.log!r} keeps a record of a run's folder; name a folder, or set log = 'none'")
    with ExitStack() as stack:
        try:
            write = stack.enter_context((_tensorboard if config.log == "tensorboard" else _mlflow)(config, folder))
        except ImportError as error:
            raise ConfigError(f'log = {config.log!r}: {error}; run: pip install "ktnet-lite[track]"') from None
        yield lambda stage, epoch, entry: write(epoch, {_tag(stage, name): x for name, x in entry.items()})


def _tag(stage: str, name: str) -> str:
    """Name a value so that both trackers draw it in a group: ``valid/mae``, ``training/loss``, ``pretraining/loss``."""
    group, _, rest = name.partition("_") if stage == "training" else ("", "", "")
    return f"valid/{rest}" if group == "valid" else f"{stage}/{name}"


@contextmanager
def _tensorboard(config: TrainConfig, folder: Path) -> Iterator[Write]:
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    with SummaryWriter(str(folder / "tensorboard")) as writer:
        writer.add_text("parameters", "  \n".join(f"{name} = {value}" for name, value in config.identity.items()))

        def write(epoch: int, entry: Mapping[str, float]) -> None:
            for name, value in entry.items():
                writer.add_scalar(name, value, epoch)
            writer.flush()

        yield write


@contextmanager
def _mlflow(config: TrainConfig, folder: Path) -> Iterator[Write]:
    for name, value in MLFLOW.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    out, place, data = Path(config.out).absolute(), str(folder.absolute()), Path(config.dataset).stem
    with locked(out / ".mlflow.lock"):  # runs may start at once
        client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{out / 'mlflow.db'}")
        known = client.get_experiment_by_name(data)
        experiment = known.experiment_id if known else client.create_experiment(data)
    for earlier in client.search_runs([experiment]):
        if earlier.data.tags.get("folder") == place:
            client.delete_run(earlier.info.run_id)
    run = client.create_run(experiment, run_name=folder.name, tags={"folder": place}).info.run_id
    client.log_batch(run, params=[Param(name, str(value)) for name, value in config.identity.items()])

    def write(epoch: int, entry: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        client.log_batch(run, [Metric(name, value, now, epoch) for name, value in entry.items()])

    status = "KILLED"
    try:
        yield write
        status = "FINISHED"
    finally:
        client.set_terminated(run, status)
