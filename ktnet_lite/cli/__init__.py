"""The command line, thin: each command calls one function and prints what it returns."""

from __future__ import annotations

import importlib
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import click

from ktnet_lite import __version__
from ktnet_lite.errors import DataError, KTNetError
from ktnet_lite.text import size, table

ELSEWHERE = {  # imported when called: torch is slow
    **dict.fromkeys(("train", "predict", "models", "experiments"), "ktnet_lite.cli.train"),
    **dict.fromkeys(("reproduce", "report", "compare"), "ktnet_lite.cli.tables"),
}
FILE = click.Path(path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


class Main(click.Group):
    """Errors meant for people become a message and status 1, warnings a line, Ctrl-C status 130."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *ELSEWHERE])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in ELSEWHERE:
            return getattr(importlib.import_module(ELSEWHERE[name]), name)
        return super().get_command(ctx, name)

    def invoke(self, ctx: click.Context) -> object:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = lambda message, *_: click.echo(f"Note: {message}", err=True)
                return super().invoke(ctx)
        except KTNetError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo("\nStopped. The same command goes on where it can.", err=True)
            ctx.exit(130)


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ktnet-lite")
def main() -> None:
    """Multimodal sentiment analysis with missing audio: data, training, prediction."""


@main.group()
def data() -> None:
    """Get, convert and check data sets."""


@data.command("list")
@click.option("--to", "folder", type=FOLDER, help="data folder; by default KTNET_DATA_HOME, else data")
def list_(folder: Path | None) -> None:
    """The data sets by name, and how to get each."""
    from ktnet_lite.data import catalogue

    rows = [("NAME", "WHAT", "GET IT"), ("synthetic", "made on the fly, with a known cause", "is here")]
    for entry in catalogue.ENTRIES.values():
        if (catalogue.home(folder) / f"{entry.name}.h5").is_file():
            how = "is here"
        else:
            how = f"fetch, {size(sum(f.size for f in entry.files))}" if entry.public else "fetch --from"
        rows.append((entry.name, entry.about, how))
    click.echo(table(rows))
    click.echo(
        f"\nGet one: ktnet-lite data fetch NAME [--from FOLDER]; it goes to the data folder {catalogue.home(folder)}.\n"
        "Where there is no public link, fetch NAME says where to ask, and under which licence."
    )


@data.command()
@click.argument("name")
@click.option("--from", "local", type=FOLDER, help="take the raw files from below this folder")
@click.option("--to", "folder", type=FOLDER, help="data folder; by default KTNET_DATA_HOME, else data")
def fetch(name: str, local: Path | None, folder: Path | None) -> None:
    """Bring the raw files of data set NAME here, check them, and build its HDF5 file; or check the one that is here."""
    from ktnet_lite.data import catalogue

    if name == "synthetic":
        click.echo("synthetic is made on the fly; there is nothing to fetch")
        return
    path = catalogue.build(name, folder, local, verify=True)
    click.echo(_info(path))


@data.command()
@click.argument("source", type=FILE)
@click.argument("dest", type=FILE)
@click.option("--format", "kind", help="format of SOURCE, if it is not to be told from its content")
@click.option("--name", help="name of the data set; by default the reader's")
@click.option("--replace-nonfinite", is_flag=True, help="set NaN and inf in features to 0, and count them")
@click.option(
    "--drop-bad-clips", is_flag=True, help="leave out clips without a sound label or any step, and count them"
)
@click.option("--unaligned", is_flag=True, help="keep each stream of a folder of .csd files on its own time line")
def convert(source: Path, dest: Path, kind: str | None, name: str | None, **mending: bool) -> None:
    """Convert SOURCE (a file or a folder, of whatever known format) to the HDF5 file DEST."""
    from ktnet_lite.data import readers, store

    if dest.is_dir():
        raise DataError(f"{dest} is a folder; name the file to write in it, as {dest / source.stem}.h5")
    if dest.exists() and not store.is_store(dest):
        raise DataError(f"{dest} is there already and not of ktnet-lite; choose another name, or move it away first")
    with readers.naming(source):
        header, splits = readers.open_source(source, kind, **mending)
        store.write(dest, replace(header, name=name or header.name), splits)
    click.echo(_info(dest))


@data.command()
@click.argument("file", type=FILE)
def info(file: Path) -> None:
    """What an HDF5 file of this program holds, without reading its numbers."""
    click.echo(_info(file))


@data.command()
@click.argument("file", type=FILE)
def check(file: Path) -> None:
    """What FILE (or folder) is, whatever its name, and all that is wrong with it. Status 1 if anything is."""
    from ktnet_lite.data import doctor

    report = doctor.check(file)
    click.echo(str(report))
    sys.exit(1 if report.errors else 0)


def _info(path: Path) -> str:
    from ktnet_lite.data import store

    about = store.info(path)
    header = about.header
    time = "aligned" if header.aligned else "unaligned"
    facts = [("file", f"{path} ({size(about.size)})"), ("data set", f"{header.name}: {header.task}, {time}")]
    facts += [("checksum", about.checksum), *sorted(header.provenance.items())]
    facts = [(k, " ".join(sha256[:12] for sha256 in v.split()) if k == "raw" else v) for k, v in facts]
    rows = [("SPLIT", "CLIPS", "MODALITY", "FEATURES", "STEPS", "A CLIP")]
    for split, streams in about.streams.items():
        for k, (modality, (steps, dim)) in enumerate(streams.items()):
            clips = about.clips[split]
            mean = f"{steps / clips:.1f}" if clips else ""
            rows.append(("" if k else split, "" if k else str(clips), modality, str(dim), str(steps), mean))
    return f"{table(facts)}\n\n{table(rows)}"
