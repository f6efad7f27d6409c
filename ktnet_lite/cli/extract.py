"""``ktnet-lite extract``."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ktnet_lite.errors import ConfigError
from ktnet_lite.text import printable, table

if TYPE_CHECKING:
    from ktnet_lite.data.fits import Reader
    from ktnet_lite.data.schema import Dataset
    from ktnet_lite.extract.clip import Track
    from ktnet_lite.extract.tracks import Tracks
    from ktnet_lite.names import Modality

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.argument("target", type=FILE, required=False)
@click.option("--labels", type=FILE, help="CSV file for a folder: id, score, and split or speaker; text may be there")
@click.option("--score-range", type=(float, float), metavar="LOW HIGH", help="of the scores, if not -3 and 3")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="processes, for a folder")
@click.option("--drop-bad-clips", is_flag=True, help="leave out clips of a folder that cannot be extracted")
@click.option("--text", help="what is said in the clip; by default from the .srt, .vtt or .txt file beside it")
@click.option("--show", type=FILE, help="draw the clip's streams on one time line into this PNG file")
@click.option("--words", default="align", show_default=True, help="align, spread or whisper; or MODULE:NAME")
@click.option("--table", "vectors", type=FILE, help="word vectors: spaCy's wheel, or a text file as GloVe's")
@click.option("--whisper", type=FILE, help="folder with a model of faster-whisper")
@click.option("--vision", default="blendshapes", show_default=True, help="blendshapes or points; or MODULE:NAME")
@click.option("--fps", type=float, default=10.0, show_default=True, help="frames a second")
@click.option("--face", default="largest", show_default=True, help="largest, or X,Y: the one nearest to this place")
@click.option("--gaps", default="interpolate", show_default=True, help="frames without a face: interpolate or absent")
@click.option("--audio", default="descriptors", show_default=True, help="descriptors or egemaps; or MODULE:NAME")
def extract(source: Path, target: Path | None, labels: Path | None, **options: Any) -> None:
    """Extract words, face and voice from clips: SOURCE is one clip, or a folder of clips.

    One clip: show what is in it, and write the three streams with their times to TARGET, a .npz file, if it is given.

    A folder: write the data set TARGET, an HDF5 file to train on, with the scores of --labels. Stop at any moment: the
    same command resumes.

    Nothing is downloaded: ktnet-lite data fetch face-landmarker and word-vectors, once before.
    """
    from ktnet_lite.extract import choose, clip, folder, tracks, transcript

    job = {name: options.pop(name) for name in ("score_range", "jobs", "drop_bad_clips")}
    text, show = options.pop("text"), options.pop("show")
    if source.is_dir():
        if labels is None or target is None:
            raise ConfigError(f"{source} is a folder: name the file to write and --labels, such as labels.csv")
        if text or show:
            raise ConfigError("--text and --show are for one clip")
        click.echo(f"{target}: {folder.convert(source, target, labels, choose.extractors(**options), **job)}")
        return
    if labels is not None:
        raise ConfigError("--labels is for a folder of clips")
    one, extractors = clip.Clip(source, transcript.find(source, text)), choose.extractors(**options)
    found = tracks.extract(one, extractors)
    click.echo(about(found))
    if target is not None:
        tracks.save(target, found)
        click.echo(f"\n{target}")
    if show is not None:
        from ktnet_lite.reporting import clips, plots

        features = {extractor.modality: extractor.features for extractor in extractors}
        plots.save(clips.draw(found, features, clips.frame_of(one, extractors)), show)
        click.echo(f"\n{show}")


def about(found: Tracks) -> str:
    """Describe the tracks of a clip as a table, with the words below."""
    from ktnet_lite.extract.clip import Track

    rows = [("MODALITY", "STEPS", "FEATURES", "FROM", "TO", "NOTES")]
    words: tuple[str, ...] = ()
    for name, track in found.items():
        if isinstance(track, Track):
            steps, features = track.values.shape
            times = f"{track.times[0, 0]:.2f} s", f"{track.times[-1, 1]:.2f} s"
            rows.append((name, str(steps), str(features), *times, "; ".join(track.notes)))
            words += track.words
        else:
            rows.append((name, "-", "-", "-", "-", f"absent: {track.reason}"))
    return table(rows) + (f"\n\n{printable(' '.join(words))}" if words else "")


def is_clip(data: str) -> bool:
    """Whether a file's name is that of a video or a sound."""
    return (mimetypes.guess_type(data)[0] or "").startswith(("video/", "audio/"))


def clip_for(model: Reader, path: Path, text: str | None, vectors: Path | None) -> Dataset:
    """Extract a clip for a model, as :func:`extracted`: its split is "test", its score 0."""
    return extracted(model, path, text, vectors)[0]


def extracted(
    model: Reader, path: Path, text: str | None, vectors: Path | None
) -> tuple[Dataset, dict[Modality, Track]]:
    """Extract a clip as the training set of a model was extracted: as a data set, and as the tracks that it has.

    Raises
    ------
    ConfigError, DataError
        The model was not trained on extracted clips, or its recipes cannot be followed here; or the clip is damaged.
    """
    import numpy as np

    from ktnet_lite.data.schema import Dataset
    from ktnet_lite.extract import choose, clip, tracks, transcript

    recipes = {name: recipe for name, recipe in model.recipes.items() if name in model.observed}
    if not recipes:
        raise ConfigError(
            f"this model was not trained on clips that ktnet-lite extracted, so {path} cannot become what it reads; "
            "train one on a folder of clips: ktnet-lite extract --help"
        )
    one = clip.Clip(path, transcript.find(path, text))
    found = tracks.extract(one, choose.like(recipes, vectors))
    click.echo(about(found), err=True)
    split = tracks.pack([path.stem], [found], np.zeros(1, np.float32))
    dataset = Dataset.collect(tracks.header(path.name, recipes), [("test", split)])
    return dataset, {name: track for name, track in found.items() if isinstance(track, clip.Track)}
