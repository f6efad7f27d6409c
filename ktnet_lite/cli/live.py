"""``ktnet-lite live``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ktnet_lite.cli.extract import extracted, is_clip
from ktnet_lite.errors import ConfigError, DataError
from ktnet_lite.names import EMOTIONS, MODALITIES
from ktnet_lite.text import count, table

if TYPE_CHECKING:
    from ktnet_lite.data.schema import Split
    from ktnet_lite.deploy.live import Drop
    from ktnet_lite.deploy.stream import Steps
    from ktnet_lite.model.network import Network

SHARES = [0.1 * tenth for tenth in range(1, 11)]


@click.command()
@click.argument("checkpoint", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("data")
@click.option("--split", default="test", show_default=True, help="clips of a data set")
@click.option("--data-from", default="", help="folder that holds the raw files already")
@click.option("--clip", "name", help="play one clip of the data set, by its id")
@click.option("--hop", type=float, help="score the clip so often; by default every 0.5 s, or every tenth of it")
@click.option("--drop", "dropped", multiple=True, metavar="MODALITY:FROM-TO", help="what does not arrive; repeatable")
@click.option("--text", help="what is said, where DATA is a clip; by default from the file beside it")
@click.option("--table", "vectors", type=click.Path(path_type=Path), help="word vectors, where DATA is a clip")
def live(
    checkpoint: Path,
    data: str,
    split: str,
    data_from: str,
    name: str | None,
    hop: float | None,
    dropped: tuple[str, ...],
    text: str | None,
    vectors: Path | None,
) -> None:
    """Score a clip while it runs, as its steps would arrive.

    CHECKPOINT is a run's model.pt. DATA is a video or a sound: it is extracted first, as the model's training set was,
    and then played in seconds. Or it is a data set: with --clip one of its clips is played, in shares of its length;
    without, the table shows the error on all clips of the split against the share that was heard.

    A model that was trained with --causal keeps what it has computed; any other begins again at every hop. --drop
    audio:2-4 loses the steps that end after second (or share) 2 and up to 4. The milliseconds do not include the
    extraction.
    """
    import dataclasses

    import torch

    from ktnet_lite.data.fits import check_fits, check_recipes
    from ktnet_lite.deploy import live as playing
    from ktnet_lite.deploy.stream import Steps
    from ktnet_lite.training.build import load_model
    from ktnet_lite.training.dataset import load_dataset

    torch.set_num_threads(1)
    model, config = load_model(checkpoint)
    drops = [_drop(text) for text in dropped]
    if hop is not None and not hop > 0:
        raise ConfigError(f"--hop {hop}: give a number above 0")
    if is_clip(data):
        if config.grid:
            raise ConfigError(
                f"the model was trained on a grid of {config.grid} steps, which the end of a clip decides"
            )
        _, tracks = extracted(model, Path(data), text, vectors)
        streams = {name: Steps(track.values, track.times[:, 1]) for name, track in tracks.items()}
        end = max(float(steps.times[-1]) for steps in streams.values())
        _play(model, playing.without(streams, drops), hop or 0.5, end, "s")
        return
    dataset = load_dataset(dataclasses.replace(config, dataset=data, data_from=data_from))
    check_recipes(model, dataset.header, data)
    clips = dataset[split]
    check_fits(model, clips, f"{data}, split {split}")
    if name is None:
        if hop is not None or drops:
            raise ConfigError("--hop and --drop are for one clip; name it with --clip")
        _evaluate(model, clips)
        return
    if name not in clips.ids:
        raise DataError(f"{data}, split {split} has no clip {name!r}; the first are {', '.join(clips.ids[:3])}")
    streams = playing.steps_of(clips, clips.ids.index(name), model.observed)
    _play(model, playing.without(streams, drops), hop or 0.1, 1.0, "of the clip")


def _drop(text: str) -> Drop:
    """Read a drop-out such as ``audio:2-4``."""
    from ktnet_lite.deploy.live import Drop

    modality, _, span = text.partition(":")
    start, _, end = span.partition("-")
    try:
        drop = Drop(modality, float(start), float(end))  # type: ignore[arg-type]
    except ValueError:
        drop = None
    if drop is None or modality not in MODALITIES or not 0 <= drop.start < drop.end:
        raise ConfigError(f"--drop {text!r}: give {', '.join(MODALITIES)} and from when to when, such as audio:2-4")
    return drop


def _play(model: Network, streams: dict[Any, Steps], hop: float, end: float, unit: str) -> None:
    """Print the score at every hop, and what it took."""
    import numpy as np

    from ktnet_lite.deploy.live import flips, played

    names, threshold = (EMOTIONS, 0.5) if model.loss == "emotion" else (("score",), 0.0)
    moments = []
    click.echo("  ".join(["    TIME", *(f"{name.upper():>8}" for name in names), "      MS", "HEARD"]))
    for moment in played(model, streams, hop, end):
        moments.append(moment)
        cells = [f"{moment.now:8.2f}", *(f"{x:8.3f}" for x in moment.scores), f"{moment.milliseconds:8.2f}"]
        click.echo("  ".join([*cells, "+".join(moment.heard) or "nothing"]))
    ms = np.array([moment.milliseconds for moment in moments])
    changes = int(flips(np.stack([moment.scores for moment in moments]), threshold).sum())
    how = "goes on" if model.causal else "begins again"
    click.echo(f"\n{count(len(ms), 'hop')} of {hop:g} {unit}; the model {how} at each")
    click.echo(f"p50 {np.percentile(ms, 50):.2f} ms, p95 {np.percentile(ms, 95):.2f} ms; sides changed: {changes}")
    if unit == "s":
        click.echo(f"{1000 * end / ms.sum():.0f} times real time, without the extraction")


def _evaluate(model: Network, clips: Split) -> None:
    """Print the error against the share of the clips that was heard."""
    import numpy as np

    from ktnet_lite.deploy.live import beginnings, flips
    from ktnet_lite.measures.metrics import measured

    emotions = model.loss == "emotion"
    scores = beginnings(model, clips, SHARES)
    chosen = ("f1_mean", "accuracy_mean") if emotions else ("mae", "corr")
    rows: list[tuple[str, ...]] = [("HEARD", *(name.upper() for name in chosen))]
    for share, predicted in zip(SHARES, scores, strict=True):
        known = map(measured(predicted, clips.targets).values.get, chosen)
        rows.append((f"{share:.0%}", *("-" if x is None else f"{x:.3f}" for x in known)))
    click.echo(table(rows))
    changes = flips(scores, 0.5 if emotions else 0.0)
    click.echo(f"\n{count(len(clips), 'clip')}; a score changes sides {np.mean(changes):.2f} times on average")
