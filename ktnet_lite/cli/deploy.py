"""``ktnet-lite export`` and ``bench``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from ktnet_lite.errors import ConfigError
from ktnet_lite.names import MODALITIES, Modality
from ktnet_lite.text import listed, size

FILE = click.Path(dir_okay=False, path_type=Path)
STEPS = click.option(
    "--steps", default="50,500,375", show_default=True, help="of language, vision and audio in the random clips"
)


@click.command()
@click.argument("checkpoint", type=FILE)
@click.argument("target", type=FILE)
@click.option("--int8", is_flag=True, help="weights of 8 bits; refused where that is not faster, or not the same")
@STEPS
def export(checkpoint: Path, target: Path, int8: bool, steps: str) -> None:
    """Write a trained model as an ONNX file, which predicts without torch.

    CHECKPOINT is a run's model.pt. The file takes batches of any size and streams of any length, and says what it is:
    ktnet-lite predict reads it as it reads a model.pt, and so does any other runtime for ONNX.

    With --int8 both forms are compared on random clips of --steps, on one core.
    """
    from ktnet_lite.deploy import export as exporter
    from ktnet_lite.deploy import int8 as small
    from ktnet_lite.training.build import load_model, load_validated

    if target.suffix != ".onnx":
        raise ConfigError(f"{target}: the name of an exported model ends in .onnx")
    model, config = load_model(checkpoint)
    validated = load_validated(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "model.onnx" if int8 else target
        exporter.export(model, config, whole, validated)
        if int8:
            click.echo(f"int8: {small.quantise(whole, target, _steps(steps))}")
    click.echo(f"{target}: {size(target.stat().st_size)}")


@click.command()
@click.argument("model", type=FILE)
@STEPS
@click.option(
    "--subset", default="", help="modalities that the clips have, a,b,c; by default all, for any every subset"
)
@click.option("--clips", type=click.IntRange(1), default=200, show_default=True, help="random clips to time")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="of the random clips")
@click.option("--json", "out", type=FILE, help="write the figures to this file as well")
def bench(model: Path, steps: str, subset: str, clips: int, seed: int, out: Path | None) -> None:
    """Measure what a trained model costs: time per clip, memory, size.

    MODEL is a run's model.pt or an exported model.onnx. Clips are predicted one at a time on one core. The memory is
    the most that the whole process ever held.
    """
    import msgspec

    from ktnet_lite.deploy.bench import bench as measure
    from ktnet_lite.deploy.bench import describe
    from ktnet_lite.files import write

    found = measure(model, _steps(steps), listed(subset), clips, seed)
    if out is not None:
        write(out, msgspec.json.format(msgspec.json.encode(found), indent=1))
    click.echo(describe(found))


def _steps(text: str) -> dict[Modality, int]:
    """Read the steps of language, vision and audio."""
    counts = text.split(",")
    if len(counts) != len(MODALITIES) or not all(count.strip().isdecimal() and int(count) for count in counts):
        raise ConfigError(f"--steps {text!r}: give three positive whole numbers, such as 50,500,375")
    return dict(zip(MODALITIES, map(int, counts), strict=True))
