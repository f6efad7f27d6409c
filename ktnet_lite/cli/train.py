"""The commands that train and predict: ``ktnet-lite train``, ``ktnet-lite predict``."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import os
import sys
from pathlib import Path

import click

from ktnet_lite.baselines import HEADINGS, SYSTEMS, capabilities
from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import ConfigError
from ktnet_lite.experiments import result as results
from ktnet_lite.names import EMOTIONS, FILLS, Fill
from ktnet_lite.reporting import report
from ktnet_lite.text import table

LISTS = ("model", "variant", "seed")  # parameters of which a command line may name several


def _options(command: click.Command) -> click.Command:
    """One option for each field of TrainConfig, in its order."""
    for field in reversed(dataclasses.fields(TrainConfig)):
        about = field.metadata["about"]
        choices = field.metadata["choices"]
        text = (
            about + (f": {', '.join(choices)}" if choices else "") + ("; several: a,b,c" if field.name in LISTS else "")
        )
        kind = str if field.name in LISTS else type(field.default)
        flag = "--" + field.name.replace("_", "-")
        flag = f"{flag}/--no-{field.name}" if kind is bool else flag
        option = click.option(flag, field.name, type=kind, default=field.default, show_default=True, help=text)
        command = option(command)
    return command


@click.command()
@_options
def train(model: str, variant: str, seed: str, **parameters) -> None:
    """Train by running the notebook notebooks/experiments/train.ipynb, once for each model, variant and seed.

    Several variants are for ktnet; other models beside it then observe everything.

    Each run leaves its executed notebook, pictures, model and result.json in a folder of its own under --out. Stop at
    any moment: the same command goes on where it was. At the end come the results, side by side.

    Under torchrun, the processes share each batch and only train; the same command without torchrun then finishes.
    """
    models, variants, seeds = listed(model), listed(variant), _seeds(seed)
    configs = [
        TrainConfig.build({**parameters, "model": m, "variant": v, "seed": s})
        for m in models
        for v in (variants if m == "ktnet" or len(variants) == 1 else ["auto"])
        for s in seeds
    ]
    if not configs:
        raise ConfigError("name at least one --model, one --variant and one --seed")
    aligned_only = [m for m in models if m in SYSTEMS and not SYSTEMS[m].unaligned]
    if aligned_only and parameters["dataset"] == "synthetic" and not parameters["aligned"]:
        raise ConfigError(
            f"{', '.join(aligned_only)}: needs aligned streams; add --aligned (ktnet-lite models: who takes what)"
        )
    teacher = parameters["teacher"]
    if teacher and not Path(teacher).is_file():
        raise ConfigError(f"--teacher {teacher}: no such file; it is the model.pt of a trained full variant")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        from ktnet_lite.training.build import load_dataset
        from ktnet_lite.training.loop import fit

        for config in configs:
            fit(config, load_dataset(config), results.run_folder(config))
        return
    from ktnet_lite.experiments.notebook import run

    configs = _teachers_first(configs)
    finished = []
    for config in configs:
        click.echo(f"{config.system}, seed {config.seed} -> {results.run_folder(config)}", err=True)
        finished.append(results.load(run(config)))
    click.echo(f"\nTest split of {configs[0].dataset}, {finished[0]['dataset']['clips']['test']} clips\n")
    click.echo(report.table(finished))
    for sentence in report.differences(finished):
        click.echo(f"\n{sentence}")
    if len(report.rows(finished)) > 1:
        picture = _draw(finished, Path(configs[0].out))
        click.echo(f"\nPicture: {picture}")
    click.echo("Notebooks, pictures, models and results:")
    for config in configs:
        click.echo(f"  {results.run_folder(config)}")


@click.command()
@click.argument("checkpoint", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("data")
@click.option("--split", default="test", show_default=True, help="clips to predict")
@click.option("--data-from", default="", help="folder that holds the raw files already")
@click.option("--audio", "fill", type=click.Choice(FILLS), help="do without audio: what stands in for it")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="CSV file; standard output by default")
def predict(checkpoint: Path, data: str, split: str, data_from: str, fill: Fill | None, out: Path | None) -> None:
    """Per-clip scores of a trained model (model.pt) on a data set or file; audio is not read unless it was observed.

    Writes CSV: clip id, then the sentiment score, or the probability of each emotion. DATA = synthetic means the clips
    that the model's own parameters make.
    """
    from ktnet_lite.training.build import check_fits, load_dataset, load_model, task_loss_of
    from ktnet_lite.training.evaluation import evaluate

    model, config, loss = load_model(checkpoint)
    if out and not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")
    dataset = load_dataset(dataclasses.replace(config, dataset=data, data_from=data_from))
    clips = dataset[split]
    check_fits(model, clips, f"{data}, split {split}", fill)
    if (dataset.header.task == "emotion") != (loss == "emotion"):
        raise ConfigError(f"{checkpoint} predicts {loss}, but {data} has {dataset.header.task} labels")
    scores = evaluate(model, clips, task_loss_of(config, dataset.header), fill=fill).predictions
    columns = EMOTIONS if loss == "emotion" else ("score",)
    with open(out, "w", newline="", encoding="utf-8") if out else contextlib.nullcontext(sys.stdout) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("id", *columns))
        for clip_id, score in zip(clips.ids, scores.reshape(len(clips), -1), strict=True):
            writer.writerow((clip_id, *(f"{value:.4f}" for value in score)))


@click.command()
def models() -> None:
    """The systems that --model names, and what data each takes."""
    click.echo(table([HEADINGS, *capabilities()]))


@click.command()
def experiments() -> None:
    """The parameters of the training notebook, for papermill -p and -f: name, type, default, meaning."""
    import papermill

    from ktnet_lite.experiments.notebook import notebook_path

    path = notebook_path("train")
    rows = [("PARAMETER", "TYPE", "DEFAULT", "WHAT")]
    for name, found in papermill.inspect_notebook(str(path)).items():
        rows.append((name, found["inferred_type_name"], found["default"], found["help"]))
    click.echo(f"{table(rows)}\n\npapermill {path} OUTPUT.ipynb -p NAME VALUE, or -f PARAMETERS.yaml")


def listed(text: str) -> list[str]:
    """The names in "a,b,c", each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _seeds(text: str) -> list[int]:
    try:
        return list(dict.fromkeys(map(int, listed(text))))
    except ValueError:
        raise ConfigError(f"--seed {text!r}: give whole numbers, separated by commas") from None


def _teachers_first(configs: list[TrainConfig]) -> list[TrainConfig]:
    """Full models before "ours", which takes the one that would teach it instead of training it again."""
    full = {results.run_folder(config) for config in configs if config.system == "full"}
    taught = []
    for config in sorted(configs, key=lambda config: config.variant == "ours"):
        own = config.variant == "ours" and config.treatment == "teacher" and not config.teacher
        if own and (teacher := results.run_folder(config.taught_by)) in full:
            config = dataclasses.replace(config, teacher=str(teacher / "model.pt"))
        taught.append(config)
    return taught


def _draw(finished: report.Results, folder: Path) -> Path:
    from ktnet_lite.reporting.plots import comparison

    metric = report.MAIN[finished[0]["dataset"]["task"]][-2]
    floor = next((name, values[metric]) for name, values in finished[0]["baselines"].items())
    name = f"comparison-{finished[0]['dataset']['name']}.png"
    drawn = comparison(report.intervals(finished, metric), metric, floor)
    drawn.savefig(folder / name, dpi=150, bbox_inches="tight")
    return folder / name
