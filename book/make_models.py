"""Train the models that come with the package, ktnet_lite/trained: python book/make_models.py [NAME...].

Each has its weights, its result file, from which the book makes its card, and a line in SHA256SUMS. All four take some
ten minutes on one core. A run that is finished below --out is not trained again.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import click

from ktnet_lite.config import TrainConfig
from ktnet_lite.experiments import result
from ktnet_lite.experiments.runs import finished, run_folder, train_here
from ktnet_lite.training import checkpoint
from ktnet_lite.training.shipped import FOLDER

SHARED = {"clips": 2000, "dim": 16}
ANY = {"variant": "any", "missing": "both", "transfer": "gaussian"}
MODELS = {
    "ktnet-any-synthetic": TrainConfig(**ANY, **SHARED),
    "ktnet-any-bottleneck-synthetic": TrainConfig(**ANY, fusion="bottleneck", **SHARED),
    "ktnet-ours-synthetic": TrainConfig(variant="ours", **SHARED),
    "ktnet-full-synthetic": TrainConfig(variant="full", **SHARED),
}


def ship(name: str, run: Path) -> None:
    """Copy a finished run's weights and result to the package, without the places on this machine."""
    saved = checkpoint.load(run / "model.pt")
    fields = TrainConfig.__dataclass_fields__
    places = {field: fields[field].default for field in ("out", "data_from", "teacher")}
    checkpoint.save(FOLDER / f"{name}.pt", {**saved, "config": saved["config"] | places})
    with tempfile.TemporaryDirectory() as folder:
        published = result.load(run / "result.json").publish(run, Path(folder))
        shutil.copyfile(published, FOLDER / f"{name}.result.json")


def list_checksums() -> None:
    """Write SHA256SUMS, which ``sha256sum --check`` reads."""
    paths = [FOLDER / f"{name}{ending}" for name in MODELS for ending in (".pt", ".result.json")]
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths if path.is_file()]
    (FOLDER / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(MODELS)))
@click.option("--out", default="runs", show_default=True, help="folder of the runs")
def main(names: tuple[str, ...], out: str) -> None:
    """Train the named models, by default all, and put them into the package."""
    for name in names or MODELS:
        config = TrainConfig.build(MODELS[name].as_dict() | {"out": out})
        run = run_folder(config)
        ship(name, run if finished(run) else train_here(config).parent)
    list_checksums()


if __name__ == "__main__":
    main()
