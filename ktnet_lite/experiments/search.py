"""Search for settings: the same space and number of trials for every system, on the validation set alone.

Optuna proposes, :func:`ktnet_lite.training.loop.fit` trains, and the test set is not looked at. Every trial is written
to a journal as it ends, so a search may be stopped and started again, or started several times at once to share the
work.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from ktnet_lite.config import TrainConfig
from ktnet_lite.data.schema import Dataset
from ktnet_lite.errors import KTNetError
from ktnet_lite.files import check_folder
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.training.loop import SELECT_BY, fit

Suggest = Callable[[optuna.Trial], Any]
FINISHED = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)  # a trial that was killed is neither

# Every parameter that a system uses is drawn from the same values as in the other systems.
SPACE: dict[str, Suggest] = {
    "learning_rate": lambda trial: trial.suggest_float("learning_rate", 3e-4, 3e-3, log=True),
    "dropout": lambda trial: trial.suggest_float("dropout", 0.0, 0.4, step=0.1),
    "dim": lambda trial: trial.suggest_categorical("dim", [24, 40, 64]),
    "batch_size": lambda trial: trial.suggest_categorical("batch_size", [32, 64]),
    "layers": lambda trial: trial.suggest_int("layers", 1, 3),
    "kernel": lambda trial: trial.suggest_int("kernel", 1, 5, step=2),
    "pooling": lambda trial: trial.suggest_categorical("pooling", ["mean", "last"]),
}


class Trial(NamedTuple):
    """One try of a search."""

    settings: dict[str, Any]
    score: float | None  # the validation metric that selects epochs, SELECT_BY; None if it could not be trained


class Found(NamedTuple):
    """The trials of a search, in order; the first has the settings that were given."""

    metric: str
    trials: list[Trial]
    best: Trial


def search(base: TrainConfig, dataset: Dataset, trials: int, folder: Path, *, progress: bool = True) -> Found:
    """Try settings of a system until the journal in ``folder`` has so many trials; return the best.

    A setting that cannot be trained, such as one that needs too much memory, counts as a trial that failed.

    Parameters
    ----------
    base : TrainConfig
        The system, the data and all that the search leaves alone; its seed is that of every training and of the
        sampler. A trial of its own settings comes first.
    trials : int
        All of them, with those of earlier calls.

    Raises
    ------
    KTNetError
        The folder cannot be written, or no trial could be trained.
    """
    space = {name: suggest for name, suggest in SPACE.items() if name in base.identity}
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    journal = str(folder / f"{base.system}.journal")
    metric = SELECT_BY[dataset.header.task]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(journal, JournalFileOpenLock(journal))),
        study_name=base.key,
        direction="maximize" if METRICS[metric].higher_is_better else "minimize",
        load_if_exists=True,
    )
    study.sampler = optuna.samplers.TPESampler(  # another seed when the search goes on, or it would repeat itself
        seed=base.seed + len(study.trials), n_startup_trials=max(trials // 3, 1), constant_liar=True
    )
    if not study.trials:
        study.enqueue_trial({name: base.identity[name] for name in space})

    def train(trial: optuna.Trial) -> float:
        config = dataclasses.replace(base, log="none", **{name: suggest(trial) for name, suggest in space.items()})
        try:
            run = fit(config, dataset, progress=False)
        except KTNetError as error:
            raise optuna.TrialPruned(str(error)) from error
        return run.history[run.best_epoch][f"valid_{metric}"]

    while len(study.get_trials(states=FINISHED)) < trials:
        study.optimize(train, n_trials=1, show_progress_bar=False)
        if progress:
            last = study.trials[-1]
            outcome = "failed" if last.value is None else f"valid {metric} {last.value:.4f}"
            print(f"trial {last.number + 1} of {trials}: {outcome}, {last.params}", file=sys.stderr)
    done = [Trial(trial.params, trial.value) for trial in study.get_trials(states=FINISHED)]
    if all(trial.score is None for trial in done):
        raise KTNetError(f"none of {trials} trials of '{base.system}' could be trained")
    return Found(metric, done, Trial(study.best_params, study.best_value))
