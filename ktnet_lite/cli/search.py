"""``ktnet-lite search``."""

from __future__ import annotations

import json
from typing import Any

import click

from ktnet_lite.cli.train import configs, options
from ktnet_lite.files import write


@click.command()
@options
@click.option("--count", type=click.IntRange(1), default=12, show_default=True, help="trials for each system, in all")
def search(count: int, **parameters: Any) -> None:
    """Search for the settings of each system, on the validation set.

    The first trial has the settings of the command line, Optuna proposes the others, in the same space for every
    system; the test set is not looked at. The best settings go to a YAML file, for train --settings and for
    papermill -f, and all trials to a JSON file. Stop at any moment: the same command goes on, and two at once share
    the work.
    """
    import yaml

    from ktnet_lite.experiments import runs
    from ktnet_lite.experiments.search import search as find
    from ktnet_lite.training.dataset import load_dataset

    for config in configs(**parameters):
        runs.obtain(config)
        folder = runs.run_folder(config).parent / "search"
        found = find(config, load_dataset(config), count, folder)
        path, trials = folder / f"{config.system}-seed{config.seed}", len(found.trials)
        write(path.with_suffix(".yaml"), yaml.safe_dump({**found.best.settings, "trials": trials}, sort_keys=False))
        rows = [{f"valid_{found.metric}": trial.score, **trial.settings} for trial in found.trials]
        content = {"system": str(config.system), "dataset": config.dataset, "metric": found.metric, "trials": rows}
        write(path.with_suffix(".json"), json.dumps(content | {"settings": config.settings}, indent=1) + "\n")
        click.echo(f"{config.system}: best of {trials} trials: valid {found.best.score:.4f}, {found.best.settings}")
        click.echo(f"{path}.yaml\n{path}.json")
