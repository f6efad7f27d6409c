"""``ktnet-lite train``, ``models`` and ``experiments``."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import click

from ktnet_lite.config import TrainConfig, choices
from ktnet_lite.errors import ConfigError
from ktnet_lite.files import check_folder, replacing
from ktnet_lite.parameters import PRESETS, preset
from ktnet_lite.text import file_name, listed, table
from ktnet_lite.training.shipped import located

LISTS = ("model", "variant", "voice", "seed")  # parameters that take several values on a command line


def _settings(context: click.Context, _: click.Parameter, name: str | None) -> None:
    """Take the parameters of a preset or of a YAML file as defaults of the other options."""
    if name is None:
        return
    if name in PRESETS:
        values: Any = preset(name)
    else:
        from ktnet_lite.experiments import yaml_file

        values = yaml_file.read(Path(name))
        if not isinstance(values, dict):
            raise ConfigError(f"{name} is no mapping of parameters to values")
        TrainConfig.build(values)  # says which name or value is wrong
    context.default_map = {key: str(value) for key, value in values.items()}


def options(command: Any) -> Any:
    """Add one option for each field of TrainConfig, in its order, and ``--settings``, which sets their defaults."""
    about = f"take other defaults: {', '.join(PRESETS)}, or a YAML file, such as one of ktnet-lite search"
    command = click.option("--settings", callback=_settings, is_eager=True, expose_value=False, help=about)(command)
    for field in reversed(dataclasses.fields(TrainConfig)):
        known, several = choices(field.name), field.name in LISTS
        about = field.metadata["about"] + (f": {', '.join(known)}" if known else "") + "; several: a,b,c" * several
        kind = str if several else type(field.default)
        flag = "--" + field.name.replace("_", "-")
        flag = f"{flag}/--no-{field.name}" if kind is bool else flag
        command = click.option(flag, field.name, type=kind, default=field.default, show_default=True, help=about)(
            command
        )
    return command


@click.command()
@options
def train(**parameters: Any) -> None:
    """Train by running the training notebook, and compare the runs.

    The notebook notebooks/experiments/train.ipynb runs once for each model, variant and seed. Several variants are for
    ktnet; other models beside it then observe everything.

    Each run leaves its executed notebook, pictures, model and result.json in a folder of its own under --out. Stop at
    any moment: the same command resumes. At the end the results are shown side by side.

    Under torchrun the processes share each batch, and the first one writes the result, without notebook and pictures.
    """
    chosen = configs(**parameters)
    check_folder(Path(chosen[0].out))
    from ktnet_lite.training.runtime import choose_device, launched, processes

    if launched().world > 1:
        from ktnet_lite.experiments.runs import train_here

        with processes(choose_device(chosen[0].device)):  # once: a second group of the same processes may not meet
            for config in chosen:
                train_here(config)
        return
    from ktnet_lite.experiments import notebook, plan, result, runs
    from ktnet_lite.reporting import compare, frame

    runs.obtain(chosen[0])
    jobs = plan.only(chosen)
    finished = []
    for job in jobs:
        click.echo(f"{job.config.system}, seed {job.config.seed} -> {job.folder}", err=True)
        finished.append(result.load(notebook.run(job.config)))
    results = frame.comparable(finished)
    click.echo(f"\nTest split of {chosen[0].dataset}, {finished[0].dataset.clips['test']} clips\n")
    click.echo(compare.table(results))
    for sentence in compare.differences(results):
        click.echo(f"\n{sentence}")
    if results["label"].nunique() > 1:
        click.echo(f"\nPicture: {_draw(results, Path(chosen[0].out))}")
    click.echo("Notebooks, pictures, models and results:")
    for job in jobs:
        click.echo(f"  {job.folder}")


@click.command()
def models() -> None:
    """List the systems that --model names, and the data that each takes."""
    from ktnet_lite.baselines import HEADINGS, capabilities

    click.echo(table([HEADINGS, *capabilities()]))


@click.command()
def experiments() -> None:
    """List the parameters of the training notebook, for papermill -p and -f.

    Each with its type, default and meaning.
    """
    import papermill

    from ktnet_lite.experiments.notebook import notebook_path, source

    source()  # says what is wrong with a damaged one
    path = notebook_path("train")
    rows = [("PARAMETER", "TYPE", "DEFAULT", "WHAT")]
    for name, found in papermill.inspect_notebook(str(path)).items():
        rows.append((name, found["inferred_type_name"], found["default"], found["help"]))
    click.echo(f"{table(rows)}\n\npapermill {path} OUTPUT.ipynb -p NAME VALUE, or -f PARAMETERS.yaml")


def configs(model: str, variant: str, voice: str, seed: str, **parameters: Any) -> list[TrainConfig]:
    """Build the configs of a command line: each model, variant, voice and seed that it lists.

    Raises
    ------
    ConfigError
        A value is invalid, a list is empty, or a system cannot take the data.
    """
    models, variants, seeds = listed(model), listed(variant), _seeds(seed)
    built = [
        TrainConfig.build({**parameters, "model": m, "variant": v, "voice": x, "seed": s})
        for m in models
        for v in (variants if m == "ktnet" or len(variants) == 1 else ["auto"])
        for x in (listed(voice) if v in ("ours", "any", "auto") and m == "ktnet" else ["own"])
        for s in seeds
    ]
    if not built:
        raise ConfigError("name at least one --model, one --variant and one --seed")
    from ktnet_lite.baselines import BASELINES

    aligned_only = [m for m in models if m in BASELINES and not BASELINES[m].unaligned]
    if aligned_only and parameters["dataset"] == "synthetic" and not parameters["aligned"]:
        raise ConfigError(
            f"{', '.join(aligned_only)}: needs aligned streams; add --aligned (ktnet-lite models: who takes what)"
        )
    teacher = parameters["teacher"]
    if teacher and not located(teacher).is_file():
        raise ConfigError(f"--teacher {teacher}: no such file; name the model.pt of a trained full variant")
    return list(dict.fromkeys(built))  # "auto" may name a variant a second time


def _seeds(text: str) -> list[int]:
    try:
        return list(dict.fromkeys(map(int, listed(text))))
    except ValueError:
        raise ConfigError(f"--seed {text!r}: give whole numbers, separated by commas") from None


@contextlib.contextmanager
def written(path: Path) -> Iterator[TextIO]:
    """Open a CSV file that appears under its name once it is whole."""
    with replacing(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        yield file


def _draw(results: Any, folder: Path) -> Path:
    """Draw the chief metric of a frame's systems into the folder; return the file."""
    from ktnet_lite.reporting import compare, plots

    first = results["result"].iloc[0]
    metric = compare.MAIN[first.dataset.task][-2]
    floor = next(((name, x) for name, values in first.baselines.items() if (x := values[metric]) is not None), None)
    rows = compare.intervals(results, metric)
    colours = {str(system): plots.colour_of(system) for system in rows}
    drawn = plots.comparison({str(system): interval for system, interval in rows.items()}, metric, floor, colours)
    path = folder / f"comparison-{file_name(first.dataset.name)}.png"
    plots.save(drawn, path)
    return path
