"""Trackers record what the history holds, once for each run, and are imported only if asked for."""

import dataclasses
import os
import sys

import pytest

from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import ConfigError
from ktnet_lite.training import trackers
from ktnet_lite.training.loop import Run, fit
from test_training import SMALL, make_dataset

CONFIG = TrainConfig(**SMALL | {"epochs": 2}, treatment="descriptors", pretrain=1, dataset="own.h5")
Record = dict[str, list[tuple[int, float]]]  # the epochs and values of each name


@pytest.fixture(scope="module")
def data():
    return make_dataset()


def expected(run: Run) -> Record:
    """The names that a tracker shows, and what it must show under them."""
    record: Record = {}
    for stage, history in (("pretraining", run.pretraining), ("training", run.history)):
        for epoch, entry in enumerate(history):
            for name, value in entry.items():
                valid = stage == "training" and name.startswith("valid_")
                full = name.replace("valid_", "valid/", 1) if valid else f"{stage}/{name}"
                record.setdefault(full, []).append((epoch, pytest.approx(value, rel=1e-6)))
    assert {"pretraining/valid_vision_r2", "training/loss", "valid/mae"} <= record.keys()
    return record


def in_tensorboard(folder) -> Record:
    pytest.importorskip("tensorboard", reason="pip install 'ktnet-lite[track]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def in_mlflow(out, experiment: str, folder) -> tuple[Record, object]:
    """What stands there, in the single run that is of this folder."""
    client = sys.modules["mlflow"].MlflowClient(f"sqlite:///{out / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    (run,) = [run for run in runs if run.data.tags["folder"] == str(folder)]
    history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return {name: [(metric.step, metric.value) for metric in metrics] for name, metrics in history.items()}, run


def broken_off(config: TrainConfig, data, folder, monkeypatch, epochs: int = 1) -> None:
    """Train some epochs, and be stopped at the checkpoint of the next."""
    from ktnet_lite.training import checkpoint

    saved, save = [], checkpoint.save

    def stop(*args):
        saved.append(args)
        if len(saved) > config.pretrain + epochs:
            raise KeyboardInterrupt
        save(*args)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(config, data, folder, progress=False)


def test_a_function_is_called_after_each_epoch_and_for_those_of_a_checkpoint(data, tmp_path, monkeypatch):
    broken_off(CONFIG, data, tmp_path, monkeypatch)
    called = []
    run = fit(CONFIG, data, tmp_path, progress=False, log=lambda *given: called.append(given))
    assert called == [("pretraining", 0, run.pretraining[0]), *(("training", i, x) for i, x in enumerate(run.history))]
    assert len(run.history) == 2


def test_a_closed_form_has_one_entry(data):
    called = []
    run = fit(TrainConfig(model="linear"), data, progress=False, log=lambda *given: called.append(given))
    assert called == [("training", 0, run.history[0])]


@pytest.mark.slow
def test_tensorboard_shows_the_history_of_a_run_and_of_its_teacher(data, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="pip install 'ktnet-lite[track]'")
    config = dataclasses.replace(CONFIG, log="tensorboard", treatment="teacher")
    broken_off(config, data, tmp_path, monkeypatch, epochs=config.epochs + 2)  # those of the teacher too
    run = fit(config, data, tmp_path, progress=False)
    assert in_tensorboard(tmp_path / "tensorboard") == expected(run)
    assert len(in_tensorboard(tmp_path / "teacher" / "tensorboard")["valid/mae"]) == 2


@pytest.mark.slow
def test_mlflow_shows_the_history_and_the_parameters_of_each_run(data, tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="pip install 'ktnet-lite[track]'")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config, folder = dataclasses.replace(CONFIG, log="mlflow", out=str(tmp_path)), tmp_path / "a run"
    broken_off(config, data, folder, monkeypatch)
    assert in_mlflow(tmp_path, "own", folder)[1].info.status == "KILLED"
    run = fit(config, data, folder, progress=False)
    fit(dataclasses.replace(config, epochs=1), data, tmp_path / "other", progress=False)
    found, record = in_mlflow(tmp_path, "own", folder)
    assert found == expected(run)
    assert (record.info.status, record.info.run_name) == ("FINISHED", "a run")
    assert record.data.params == {name: str(value) for name, value in config.identity.items()}
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mlflow.lock", "a run", "mlflow.db", "other"]


def test_only_the_first_process_records(tmp_path):
    config = dataclasses.replace(CONFIG, log="tensorboard")
    called = []
    for log in (None, lambda *given: called.append(given)):
        with trackers.tracker(config, tmp_path, log, rank=1) as each:
            each("training", 0, {"loss": 1.0})
    assert called == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("log", "module"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow")])
def test_a_tracker_is_imported_if_asked_for_and_a_missing_one_is_named(log, module, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    plain = TrainConfig(model="linear")
    fit(plain, data, tmp_path, progress=False)
    with pytest.raises(ConfigError, match=rf'log = .{log}.: .*{module}.*; run: pip install "ktnet-lite\[track\]"'):
        fit(dataclasses.replace(plain, log=log, out=str(tmp_path)), data, tmp_path, progress=False)
    with pytest.raises(ConfigError, match=rf"log = '{log}' keeps a record of a run's folder; name a folder"):
        fit(dataclasses.replace(plain, log=log), data, progress=False)
