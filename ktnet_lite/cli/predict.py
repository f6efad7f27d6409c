"""``ktnet-lite predict``."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import click

from ktnet_lite.cli.extract import clip_for, is_clip
from ktnet_lite.cli.train import written
from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import ConfigError
from ktnet_lite.names import EMOTIONS, LEVELS, Fill

if TYPE_CHECKING:
    from ktnet_lite.data.fits import Reader


class Loaded(NamedTuple):
    """A trained model in either form."""

    model: Reader
    config: TrainConfig
    scores_of: Callable[..., Any]  # split, fill -> array (N,) or (N, 4)
    metric: str
    errors: Mapping[str, float]  # its value on the validation set, by subset of the modalities
    half_widths: Mapping[str, list[float]]  # of intervals, by subset, at the levels of names.LEVELS


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

    CHECKPOINT is a run's model.pt, the name of a model that comes with the package, such as ktnet-any-synthetic, or a
    model.onnx of ktnet-lite export, which needs no torch. DATA is a data set or file; its audio is read only if the
    model observes audio. The CSV file has the clip id and the sentiment score, or the probability of each emotion. DATA
    = synthetic means the clips that the model's own parameters generate. A video or a sound is extracted as the model's
    training set was.

    Each score has an interval, from low to high, that covers the truth with the probability --level, for clips like
    those of the model's validation set. With a subset of the modalities that was not validated it is the whole scale.

    A model of the variant any takes clips that lack whatever they lack. Its file says for each clip which modalities
    were there, which were rebuilt, and what the model's error with that subset is on its validation set.

    Ids stay as they are, even where a spreadsheet would take one for a formula: open the file there as text.
    """
    from ktnet_lite.data.fits import check_fits, check_recipes
    from ktnet_lite.measures.calibration import ALL, interval
    from ktnet_lite.training.dataset import load_dataset

    load = _exported if checkpoint.suffix == ".onnx" else _trained
    model, config, scores_of, metric, errors, half_widths = load(checkpoint)
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
    scores = scores_of(clips, fill)
    columns = EMOTIONS if scores.ndim == 2 else ("score",)
    if (dataset.header.task == "emotion") != (scores.ndim == 2):
        raise ConfigError(f"{checkpoint} predicts {', '.join(columns)}, but {data} has {dataset.header.task} labels")
    with written(out) if out else contextlib.nullcontext(sys.stdout) as file:
        writer = csv.writer(file, lineterminator="\n")
        about = ("there", "rebuilt", f"valid_{metric}") if model.any_subset else ()
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
                row += ["+".join(there), "+".join(rebuilt), f"{errors[subset]:.4f}" if subset in errors else ""]
            writer.writerow(row)


def _exported(path: Path) -> Loaded:
    from ktnet_lite.deploy import runtime

    model = runtime.load(path)
    about = model.about
    return Loaded(model, model.config, model.predict, about.metric, about.valid, about.half_widths)


def _trained(path: Path) -> Loaded:
    from ktnet_lite.training.build import load_model, load_validated
    from ktnet_lite.training.evaluation import predict
    from ktnet_lite.training.loop import SELECT_BY

    model, config = load_model(path)
    metric = SELECT_BY["emotion" if model.loss == "emotion" else "sentiment"]
    return Loaded(model, config, functools.partial(predict, model), metric, *load_validated(path))
