"""Time the extraction of clips, part by part: CPU milliseconds per second of clip on one core, and peak memory.

    python benchmarks/extract.py CLIP.mp4 OTHER.mpg --text "what is said" --table WHEEL
    python benchmarks/extract.py CLIP.mp4 --fps 25 --repeats 5

Each part is timed alone, decoding included, and the best of the repeats counts: a busy machine only adds to it. The
models are loaded before. The face landmarker must be here: ktnet-lite data fetch face-landmarker.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import click

from ktnet_lite.deploy import bench
from ktnet_lite.extract import choose, transcript
from ktnet_lite.extract.clip import Clip
from ktnet_lite.text import table


def best(run: Callable[[], object], repeats: int) -> float:
    """The least CPU time of some runs, in milliseconds."""
    run()  # loads what is loaded late
    times = []
    for _ in range(repeats):
        gc.collect()
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def drained(items: object) -> None:
    deque(items, maxlen=0)


@click.command()
@click.argument("clips", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--text", help="what is said in each clip; by default from the file beside it")
@click.option("--table", "vectors", type=click.Path(exists=True, path_type=Path), help="word vectors")
@click.option("--fps", type=float, default=10.0, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
def main(clips: tuple[Path, ...], text: str | None, vectors: Path | None, fps: float, repeats: int) -> None:
    """Print a table of times and the peak memory of this process."""
    words, face, voice = choose.extractors(fps=fps, vectors=vectors)
    loaded = peak()
    rows = [("CLIP", "SECONDS", "DECODE SOUND", "DECODE FRAMES", "WORDS", "FACE", "VOICE", "ALL", "TIMES REAL TIME")]
    for path in clips:
        clip = Clip(path, transcript.find(path, text))
        seconds = clip.media.duration
        parts = [
            best(lambda clip=clip: drained(clip.sound()) if clip.media.has_sound else None, repeats),
            best(lambda clip=clip: drained(clip.frames(fps)) if clip.media.has_video else None, repeats),
            *(best(lambda clip=clip, part=part: part(clip), repeats) for part in (words, face, voice)),
        ]
        parts.append(sum(parts[2:]))
        shown = [f"{part / seconds:.1f}" for part in parts]
        rows.append((path.name, f"{seconds:.1f}", *shown, f"{1000 * seconds / parts[-1]:.1f}"))
    click.echo(f"CPU milliseconds per second of clip, {fps:g} frames a second, best of {repeats}\n\n{table(rows)}\n")
    click.echo(f"peak memory: {loaded:.0f} MB with the models loaded, {peak():.0f} MB at the end")


def peak() -> float:
    """Peak memory of this process in MB; 0 on Windows."""
    return (bench.peak_memory() or 0) / 1e6


if __name__ == "__main__":
    main()
