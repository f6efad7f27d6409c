"""``ktnet-lite train``, ``predict``, ``models`` and ``experiments``."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, get_args

import click

from ktnet_lite.config import PRESETS, TrainConfig, choices, preset
from ktnet_lite.errors import ConfigError
from ktnet_lite.files import check_folder, replacing
from ktnet_lite.names import EMOTIONS, LEVELS, Fill
from ktnet_lite.text import file_name, listed, table

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
@click.argument("checkpoint", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("data")
@click.option("--split", default="test", show_default=True, help="clips to predict")
@click.option("--data-from", default="", help="folder that holds the raw files already")
@click.option("--text", help="what is said, where DATA is a clip; by default from the file beside it")
@click.option("--table", "vectors", type=click.Path(path_type=Path), help="word vectors, where DATA is a clip")
@click.option("--audio", "fill", type=click.Choice(get_args(Fill)), help="ignore the audio, and how to fill it in")
@click.option(
    "--level", type=click.Choice([str(x) for x in LEVELS]), default="0.8", show_default=True, help="of intervals"
)
@click.option("--out", type=click.Path(path_type=Path), help="CSV file; standard output by default")
def predict(
    checkpoint: Path,
    data: str,
    split: str,
    data_from: str,
    text: str | None,
    vectors: Path | None,
    fill: Fill | None,
    level: str,
    out: Path | None,
) -> None:
    """Write the scores of a trained model, one per clip.

    CHECKPOINT is a run's model.pt, DATA a data set or file; its audio is read only if the model observes audio. The CSV
    file has the clip id and the sentiment score, or the probability of each emotion. DATA = synthetic means the clips
    that the model's own parameters generate. A video or a sound is extracted as the model's training set was.

    Each score has an interval, from low to high, that covers the truth with the probability --level, for clips like
    those of the model's validation set. With a subset of the modalities that was not validated it is the whole scale.

    A model of the variant any takes clips that lack whatever they lack. Its file says for each clip which modalities
    were there, which were rebuilt, and what the model's error with that subset is on its validation set.

    Ids stay as they are, even where a spreadsheet would take one for a formula: open the file there as text.
    """
    from ktnet_lite.cli.extract import clip_for, is_clip
    from ktnet_lite.measures.calibration import ALL, interval
    from ktnet_lite.training.build import check_fits, check_recipes, load_dataset, load_model, load_validated
    from ktnet_lite.training.evaluation import predict as predict_clips
    from ktnet_lite.training.loop import SELECT_BY

    model, config = load_model(checkpoint)
    if out and not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")
    if is_clip(data):
        dataset = clip_for(model, Path(data), text, vectors)
        dataset = dataset.on_grid(config.grid) if config.grid else dataset
    else:
        dataset = load_dataset(dataclasses.replace(config, dataset=data, data_from=data_from))
        check_recipes(model, dataset.header, data)
    clips = dataset[split]
    check_fits(model, clips, f"{data}, split {split}", ("audio",) if fill else ())
    if (dataset.header.task == "emotion") != (model.loss == "emotion"):
        raise ConfigError(f"{checkpoint} predicts {model.loss}, but {data} has {dataset.header.task} labels")
    scores = predict_clips(model, clips, fill)
    columns = EMOTIONS if model.loss == "emotion" else ("score",)
    with written(out) if out else contextlib.nullcontext(sys.stdout) as file:
        writer = csv.writer(file, lineterminator="\n")
        about = ("there", "rebuilt", f"valid_{SELECT_BY[dataset.header.task]}") if model.any_subset else ()
        metric, half_widths = load_validated(checkpoint)
        limits = ("low", "high") if half_widths else ()
        read = [name for name in model.observed if not (name == "audio" and fill)]
        writer.writerow(("id", *columns, *limits, *about))
        for i, score in enumerate(scores.reshape(len(clips), -1)):
            there = read
            if model.any_subset:
                there = [name for name in read if name in clips.streams and clips.streams[name].lengths[i]]
            subset = "_".join(there)
            row = [clips.ids[i], *(f"{value:.4f}" for value in score)]
            if limits:
                reach = half_widths.get(subset, ALL)[LEVELS.index(float(level))]
                row += [f"{limit:.4f}" for limit in interval(score[0], reach)]
            if about:
                rebuilt = [name for name in model.observed if name not in there] if there else []
                row += ["+".join(there), "+".join(rebuilt), f"{metric[subset]:.4f}" if subset in metric else ""]
            writer.writerow(row)


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
    if teacher and not Path(teacher).is_file():
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
