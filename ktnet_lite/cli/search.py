"""``ktnet-lite search``."""

from __future__ import annotations

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
    papermill -f. Stop at any moment: the same command goes on, and two at once share the work.
    """
    import yaml

    from ktnet_lite.experiments import runs
    from ktnet_lite.experiments.search import search as find
    from ktnet_lite.training.build import load_dataset

    for config in configs(**parameters):
        runs.obtain(config)
        folder = runs.run_folder(config).parent / "search"
        found = find(config, load_dataset(config), count, folder)
        path = folder / f"{config.system}-seed{config.seed}.yaml"
        write(path, yaml.safe_dump({**found.settings, "trials": found.trials}, sort_keys=False))
        click.echo(f"{config.system}: best of {found.trials} trials: valid {found.score:.4f}, {found.settings}\n{path}")
