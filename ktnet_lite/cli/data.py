"""``ktnet-lite data``: get, convert and check data sets."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ktnet_lite.errors import DataError
from ktnet_lite.text import size, table

FILE = click.Path(path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group()
def data() -> None:
    """Get, convert and check data sets."""


@data.command("list")
@click.option("--to", "folder", type=FOLDER, help="data folder; by default data")
def list_(folder: Path | None) -> None:
    """List the data sets, then the models that ktnet-lite extract needs, and how to get each."""
    from ktnet_lite.data import catalogue
    from ktnet_lite.data.catalogue import local
    from ktnet_lite.extract import models

    rows = [("NAME", "WHAT", "GET IT"), ("synthetic", "generated when needed, with a known cause", "is here")]
    for entry in catalogue.ENTRIES.values():
        if local.is_here(entry.name, folder):
            how = "is here"
        else:
            how = f"fetch, {size(sum(f.size for f in entry.files))}" if entry.public else "fetch --from"
        rows.append((entry.name, entry.about, how))
    for model in models.MODELS.values():
        here = models.stored(model.name, folder).is_file()
        rows.append((model.name, model.about, "is here" if here else "fetch"))
    click.echo(table(rows))
    click.echo(
        f"\nGet one: ktnet-lite data fetch NAME [--from FOLDER]. It goes to the data folder {catalogue.home(folder)}.\n"
        "Where there is no public link, fetch NAME says where to ask, and the licence."
    )


@data.command()
@click.argument("name")
@click.option("--from", "local", type=FOLDER, help="take the raw files from below this folder")
@click.option("--to", "folder", type=FILE, help="data folder; by default data")
def fetch(name: str, local: Path | None, folder: Path | None) -> None:
    """Fetch the raw files of data set NAME, check them and build its HDF5 file; or check the file that is here.

    NAME may also be a model that ktnet-lite extract needs.
    """
    from ktnet_lite.data import catalogue
    from ktnet_lite.extract import models

    if name == "synthetic":
        click.echo("synthetic is generated when needed; there is nothing to fetch")
        return
    if name in models.MODELS:
        click.echo(models.fetch(name, folder, local))
        return
    path = catalogue.build(name, folder, local, verify=True)
    click.echo(_info(path))


@data.command()
@click.argument("source", type=FILE)
@click.argument("dest", type=FILE)
@click.option("--format", "kind", help="format of SOURCE, if it cannot be detected from the content")
@click.option("--name", help="name of the data set; by default the reader's")
@click.option("--replace-nonfinite", is_flag=True, help="set NaN and inf in features to 0, and count them")
@click.option(
    "--drop-bad-clips", is_flag=True, help="leave out clips without a valid label or any step, and count them"
)
@click.option(
    "--score-range",
    type=(float, float),
    metavar="LOW HIGH",
    help="lowest and highest score that the labels can have; they are stretched to -3 and 3",
)
@click.option("--unaligned", is_flag=True, help="keep each stream of a folder of .csd files on its own time line")
def convert(source: Path, dest: Path, kind: str | None, name: str | None, **choices: Any) -> None:
    """Convert SOURCE, a file or folder of any known format, to the HDF5 file DEST."""
    from ktnet_lite.data import readers, store

    if dest.is_dir():
        raise DataError(f"{dest} is a folder; name the file to write, such as {dest / source.stem}.h5")
    if dest.exists() and not store.is_store(dest):
        raise DataError(f"{dest} exists and is not a file of ktnet-lite; choose another name, or move it away first")
    with readers.naming(source):
        header, splits = readers.open_source(source, kind, **choices)
        store.write(dest, replace(header, name=name or header.name), splits)
    click.echo(_info(dest))


@data.command()
@click.argument("file", type=FILE)
def info(file: Path) -> None:
    """Show what an HDF5 file of this program holds, without reading its numbers."""
    click.echo(_info(file))


@data.command()
@click.argument("file", type=FILE)
def check(file: Path) -> None:
    """Say what FILE (or a folder) is, whatever its name, and everything that is wrong with it; status 1 on errors."""
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
