"""A folder of clips, a long job: each clip once, cached as soon as it is done, then a data set of all of them."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ktnet_lite import files
from ktnet_lite.data import store
from ktnet_lite.data.catalogue.download import sha256_of
from ktnet_lite.data.readers.folder import files_below
from ktnet_lite.data.schema import Header, Split
from ktnet_lite.errors import DataError, KTNetError
from ktnet_lite.extract import labels as label_file
from ktnet_lite.extract import tracks, transcript
from ktnet_lite.extract.clip import Absent, Clip, Extractor, recipes
from ktnet_lite.extract.labels import Label
from ktnet_lite.extract.tracks import Tracks
from ktnet_lite.names import MODALITIES, SPLITS, Modality
from ktnet_lite.text import count

TEXTS = (".txt", ".srt", ".vtt", ".csv", ".json", ".md")  # beside clips, and no clips
SHOWN = 20  # bad clips in a message


class Job(NamedTuple):
    """One clip of a folder."""

    label: Label
    clip: Clip
    cached: Path


def convert(
    folder: Path,
    target: Path,
    labels: Path,
    extractors: Sequence[Extractor],
    *,
    score_range: tuple[float, float] | None = None,
    jobs: int = 1,
    drop_bad_clips: bool = False,
) -> str:
    """Extract a folder of clips and write the data set; return a summary of what the clips lack.

    Each clip's tracks are kept in ``<target>.clips`` as soon as they are done, under a name that depends on the clip's
    bytes, its transcript and the recipes. So the same call resumes after any interruption with an identical result.

    Parameters
    ----------
    labels : Path
        A CSV file for :func:`ktnet_lite.extract.labels.read`.
    score_range : (float, float), optional
        Of the labels, if not [-3, 3].
    jobs : int
        Processes.
    drop_bad_clips : bool
        Leave out clips that cannot be extracted, and count them, instead of raising.

    Raises
    ------
    DataError
        The labels are invalid or name no clip; or clips cannot be extracted, and the message lists them.
    KTNetError
        A file cannot be written, or a process was killed.
    """
    rows = label_file.read(labels, score_range)
    paths = label_file.locate(rows, _named(folder), str(labels))
    cache = target.with_name(f"{target.name}.clips")
    with files.locked(cache / ".lock"):
        todo, bad = _jobs(rows, paths, cache, extractors)
        bad |= _run([job for job in todo if tracks.load(job.cached) is None], extractors, jobs)
        if bad and not drop_bad_clips:
            raise DataError(_complaint(bad, len(rows)))
        kept = [job for job in todo if job.label.clip not in bad]
        header = tracks.header(target.stem, recipes(extractors))
        header.provenance["source"] = "clips of your own"
        store.write(target, header, _splits(kept, len(bad), header))
    return header.provenance["extracted"]


def _named(folder: Path) -> dict[str, Path]:
    """Find the clips below a folder, each under the names by which a label may call it.

    A name without its ending that fits two files is none.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    paths = {path.relative_to(folder).as_posix(): path for path in files_below(folder)}
    clips = {name: path for name, path in paths.items() if path.suffix.lower() not in TEXTS}
    stems = Counter(Path(name).with_suffix("").as_posix() for name in clips)
    short = {Path(name).with_suffix("").as_posix(): path for name, path in clips.items()}
    return {**{stem: path for stem, path in short.items() if stems[stem] == 1}, **paths}


def _jobs(
    rows: Sequence[Label], paths: Sequence[Path], cache: Path, extractors: Sequence[Extractor]
) -> tuple[list[Job], dict[str, str]]:
    """Name the cached file of each clip by all that its content depends on; also return the bad transcripts."""
    written = recipes(extractors)
    todo, bad = [], {}
    for row, path in zip(rows, paths, strict=True):
        try:
            lines = transcript.find(path, row.text)
        except DataError as error:
            bad[row.clip] = str(error)
            continue
        known = [sha256_of(path), lines, written]
        digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]
        todo.append(Job(row, Clip(path, lines), cache / f"{digest}.npz"))
    return todo, bad


def _run(todo: Sequence[Job], extractors: Sequence[Extractor], jobs: int) -> dict[str, str]:
    """Extract clips and cache them; return the error of each that is bad."""
    bad = {}
    with tqdm(total=len(todo), desc="extract", unit="clip", disable=None) as bar:
        if jobs == 1:
            results: Iterable[tuple[str, str | None]] = ((job.label.clip, _work(job, extractors)) for job in todo)
        else:
            results = _in_processes(todo, extractors, jobs)
        for name, error in results:
            bar.update()
            if error is not None:
                bad[name] = error
    return bad


def _in_processes(todo: Sequence[Job], extractors: Sequence[Extractor], jobs: int) -> Iterator[tuple[str, str | None]]:
    spawn = multiprocessing.get_context("spawn")  # the same on every system, and safe beside threads
    with ProcessPoolExecutor(jobs, spawn, _ignore_interrupts) as pool:
        waiting = {pool.submit(_work, job, extractors): job.label.clip for job in todo}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BrokenProcessPool:
            raise KTNetError(
                "a process of the extraction was killed, perhaps for its memory; run the command again, which goes on "
                "where it stopped, with fewer --jobs"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the first process, which stops the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(job: Job, extractors: Sequence[Extractor]) -> str | None:
    """Extract one clip and cache it; return what is wrong with it."""
    try:
        tracks.save(job.cached, tracks.extract(job.clip, extractors))
    except DataError as error:
        return str(error)
    return None


def _splits(kept: Sequence[Job], bad: int, header: Header) -> Iterator[tuple[str, Split]]:
    """Load each clip once and yield the splits; then add to the header how many clips lack what."""
    lack: Counter[Modality] = Counter()
    for name in SPLITS:
        jobs = [job for job in kept if job.label.split == name]
        if not jobs:
            raise DataError(f"split {name}: no clip is left; add clips, or mend those that were left out")
        clips = [_cached(job) for job in jobs]
        lack.update(modality for clip in clips for modality, track in clip.items() if isinstance(track, Absent))
        scores = np.array([job.label.score for job in jobs], np.float32)
        yield name, tracks.pack([job.label.clip for job in jobs], clips, scores)
    parts = [count(len(kept), "clip"), *(f"{lack[name]} without {name}" for name in MODALITIES if lack[name])]
    parts += [f"{bad} left out, which cannot be extracted"] if bad else []
    header.provenance["extracted"] = "; ".join(parts)


def _cached(job: Job) -> Tracks:
    if (found := tracks.load(job.cached)) is None:
        raise DataError(f"{job.cached} disappeared or was damaged meanwhile; run the command again")
    return found


def _complaint(bad: Mapping[str, str], total: int) -> str:
    lines = [f"{len(bad)} of {total} clips cannot be extracted; the others are kept for the next try"]
    lines += [f"  {name}: {error}" for name, error in list(bad.items())[:SHOWN]]
    if len(bad) > SHOWN:
        lines.append(f"  and {len(bad) - SHOWN} more")
    return "\n".join([*lines, "mend them, or leave them out with --drop-bad-clips"])
