"""``ktnet-lite robust``."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import click

from ktnet_lite.cli.train import written
from ktnet_lite.errors import ConfigError
from ktnet_lite.files import check_folder
from ktnet_lite.text import listed

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("systems", nargs=-1, required=True, type=FILE)
@click.argument("data")
@click.option("--split", default="test", show_default=True, help="clips to predict")
@click.option("--data-from", default="", help="folder that holds the raw files already")
@click.option("--rates", default="0.1,0.3,0.5,0.7,0.9", show_default=True, help="shares that are missing")
@click.option("--draws", type=click.IntRange(1), default=3, show_default=True, help="masks of each rate")
@click.option("--families", default="", help="kinds of masks, a,b,c; by default all")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="of the masks")
@click.option("--masks", type=FILE, help="read the masks from this HDF5 file, or write them there if there is none")
@click.option("--predictions", type=click.Path(path_type=Path), help="folder for the scores, a CSV file per system")
@click.option(
    "--out", type=click.Path(path_type=Path), default="robust", show_default=True, help="folder of the results"
)
def robust(
    systems: tuple[Path, ...],
    data: str,
    split: str,
    data_from: str,
    rates: str,
    draws: int,
    families: str,
    seed: int,
    masks: Path | None,
    predictions: Path | None,
    out: Path,
) -> None:
    """Test systems when whole modalities or steps of them are missing.

    SYSTEMS are model.pt files of runs, or CSV files with predictions of other code (columns id, condition, score). DATA
    is a data set or file; "synthetic" means the clips that the first model's own parameters generate.

    Every system is tested on the same clips with the same masks, in every way that it has to do without a modality.
    Conclusions are about the first system; the median of the training labels stands beside it. Nothing is chosen here:
    a choice on test clips makes their errors too small.
    """
    import numpy as np

    from ktnet_lite.config import TrainConfig
    from ktnet_lite.data.fits import check_fits, check_recipes
    from ktnet_lite.reporting import plots
    from ktnet_lite.robustness import conditions, harness, report
    from ktnet_lite.training.build import load_model
    from ktnet_lite.training.dataset import load_dataset

    for folder in filter(None, (out, predictions)):
        check_folder(folder)
    models = {path: load_model(path) for path in systems if path.suffix != ".csv"}
    config = next((trained for _, trained in models.values()), TrainConfig())
    dataset = load_dataset(dataclasses.replace(config, dataset=data, data_from=data_from))
    clips = dataset[split]
    if masks and masks.exists():
        kept = conditions.load(masks, clips)
    else:
        kinds = listed(families) or conditions.FAMILIES
        made = conditions.conditions([*dataset.dims], _rates(rates), draws, kinds)
        drawn = conditions.Masks(clips, seed)
        kept = {str(condition): drawn.kept(condition) for condition in made}
        if masks:
            conditions.save(masks, clips, kept)
    tested: dict[str, harness.Scores] = {}
    for path in systems:
        if path not in models:
            tested[_label(path.stem, tested)] = harness.read_predictions(path, clips, kept)
            continue
        model, trained = models[path]
        check_recipes(model, dataset.header, f"{data}, for {path}")
        check_fits(model, clips, f"{data}, split {split}, for {path}")
        for fill in harness.fills_of(model):
            system = str(trained.system) if model.any_subset else f"{trained.system}, missing = {fill}"
            click.echo(f"{path}: {system}", err=True)
            tested[_label(system, tested)] = harness.evaluate(model, clips, kept, fill)
    if "train" in dataset and dataset.header.task == "sentiment":
        floor = np.full(len(clips), np.median(dataset["train"].targets))
        tested[_label("training median", tested)] = dict.fromkeys(kept, floor)
    trial = report.Trial(dataset, split, seed, kept, tested)
    made = report.content(trial)
    report.save(made, out / "robust.json")
    plots.save(report.draw(trial, made), out / "robust.png")
    if predictions:
        for label, scores in tested.items():
            _write(predictions / f"{label.replace(', missing = ', '-')}.csv", clips.ids, scores)
    click.echo(f"{report.table(made)}\n\n{out / 'robust.json'}\n{out / 'robust.png'}")


def _rates(text: str) -> list[float]:
    try:
        return [float(rate) for rate in listed(text)]
    except ValueError:
        raise ConfigError(f"--rates {text!r}: give numbers between 0 and 1, separated by commas") from None


def _label(name: str, taken: dict) -> str:
    """Number a label that is taken already."""
    number = 2
    label = name
    while label in taken:
        label, number = f"{name} ({number})", number + 1
    return label


def _write(path: Path, ids: tuple[str, ...], scores: dict) -> None:
    """Write predictions in the form in which they can be read again."""
    with written(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("id", "condition", "score"))
        for condition, values in scores.items():
            for clip, value in zip(ids, values, strict=True):
                writer.writerow((clip, condition, f"{value:.6f}"))
