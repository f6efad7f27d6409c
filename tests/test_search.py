"""The search for settings: what it may look at, how it goes on, and what comes out."""

import dataclasses
import json

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from ktnet_lite.cli import main
from ktnet_lite.config import TrainConfig
from ktnet_lite.data import synthetic
from ktnet_lite.errors import KTNetError
from ktnet_lite.experiments import search as searching
from ktnet_lite.experiments.search import SPACE, search
from ktnet_lite.training.loop import fit

BASE = TrainConfig(variant="language", epochs=1, dim=8, heads=4, batch_size=32)


@pytest.fixture
def small(monkeypatch):
    """A space of two parameters, whose trainings are quick."""
    space = {
        "dim": lambda trial: trial.suggest_categorical("dim", [4, 8]),
        "learning_rate": SPACE["learning_rate"],
    }
    monkeypatch.setattr(searching, "SPACE", space)


@pytest.fixture(scope="module")
def dataset():
    return synthetic.make((24, 8, 8)).dataset


def test_the_best_trial_is_that_with_the_lowest_validation_error(small, dataset, tmp_path):
    found = search(BASE, dataset, 3, tmp_path, progress=False)
    assert len(found.trials) == 3 and set(found.best.settings) == {"dim", "learning_rate"}
    run = fit(dataclasses.replace(BASE, **found.best.settings), dataset, progress=False)
    assert run.history[run.best_epoch]["valid_mae"] == found.best.score
    assert found.best.score <= fit(BASE, dataset, progress=False).history[0]["valid_mae"]  # the first trial


def test_the_test_set_is_not_looked_at(small, dataset, tmp_path):
    without = dataclasses.replace(dataset, splits={name: dataset[name] for name in ("train", "valid")})
    assert search(BASE, without, 2, tmp_path / "without", progress=False) == search(
        BASE, dataset, 2, tmp_path / "with", progress=False
    )


def test_a_search_goes_on_where_it_was_stopped(small, dataset, tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(searching, "fit", lambda *args, **more: trained.append(args[0]) or fit(*args, **more))
    search(BASE, dataset, 2, tmp_path, progress=False)
    assert len(search(BASE, dataset, 3, tmp_path, progress=False).trials) == 3
    assert len(search(BASE, dataset, 3, tmp_path, progress=False).trials) == 3
    assert len(trained) == 3
    assert len({(config.dim, config.learning_rate) for config in trained}) == 3


def test_a_trial_that_was_killed_does_not_count(small, dataset, tmp_path, monkeypatch):
    def killed(*args, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(searching, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        search(BASE, dataset, 2, tmp_path, progress=False)
    monkeypatch.setattr(searching, "fit", fit)
    found = search(BASE, dataset, 2, tmp_path, progress=False)
    assert len(found.trials) == 2 and all(trial.score is not None for trial in found.trials)


def test_a_setting_that_cannot_be_trained_is_a_failed_trial(small, dataset, tmp_path, monkeypatch):
    def breaks(config, *args, **more):
        if config.dim == 8:
            raise KTNetError("out of memory")
        return fit(config, *args, **more)

    monkeypatch.setattr(searching, "fit", breaks)
    with pytest.raises(KTNetError, match="none of 1 trials of 'language' could be trained"):
        search(BASE, dataset, 1, tmp_path / "one", progress=False)
    found = search(BASE, dataset, 6, tmp_path / "six", progress=False)
    assert found.best.settings["dim"] == 4 and len(found.trials) == 6


@pytest.mark.parametrize("model", ["mult", "mctn"])
def test_every_system_searches_what_it_uses(model):
    used = set(SPACE) & set(TrainConfig(model=model).identity)
    assert {"learning_rate", "dropout", "dim", "batch_size"} <= used
    assert ("layers" in used) == (model == "mult")


def test_the_command_writes_settings_that_train_takes(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--variant", "language", "--clips", "24", "--epochs", "1", "--dim", "8", "--count", "2"]
    done = CliRunner().invoke(main, ["search", *options])
    assert done.exit_code == 0, done.output
    [path] = tmp_path.glob("runs/synthetic/search/*.yaml")
    settings = yaml.safe_load(path.read_text())
    assert settings["trials"] == 2 and str(path.relative_to(tmp_path)) in done.output.replace("\\", "/")

    found = json.loads(path.with_suffix(".json").read_text())
    assert (found["system"], found["dataset"], found["metric"]) == ("language", "synthetic", "mae")
    assert [set(trial) for trial in found["trials"]] == 2 * [{"valid_mae", "dim", "learning_rate"}]
    best = min(found["trials"], key=lambda trial: trial["valid_mae"])
    assert {name: best[name] for name in ("dim", "learning_rate")} == {n: settings[n] for n in ("dim", "learning_rate")}

    chosen = []
    monkeypatch.setattr(
        "ktnet_lite.cli.train.configs", lambda **parameters: chosen.append(parameters) or [TrainConfig()]
    )
    monkeypatch.setattr("ktnet_lite.experiments.runs.obtain", lambda _: (_ for _ in ()).throw(KTNetError("enough")))
    CliRunner().invoke(main, ["train", "--settings", str(path), "--dropout", "0.2"])
    assert chosen[0]["dim"] == settings["dim"] and chosen[0]["trials"] == 2
    assert np.isclose(chosen[0]["learning_rate"], settings["learning_rate"]) and chosen[0]["dropout"] == 0.2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- dim\n", "is no mapping of parameters to values"),
        ("dimm: 8\n", "unknown parameter 'dimm'; did you mean 'dim'"),
        ("dim: wide\n", "dim = 'wide' is str, expected int"),
    ],
)
def test_a_settings_file_that_is_none_is_refused(content, message, tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(content)
    done = CliRunner().invoke(main, ["train", "--settings", str(path)])
    assert done.exit_code == 1 and message in done.output
