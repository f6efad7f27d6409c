"""The tracks of a clip: extracted, checked, kept in a file, and packed with those of other clips into a split."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ktnet_lite import files
from ktnet_lite.data.schema import Header, Split, Stream
from ktnet_lite.errors import DataError
from ktnet_lite.extract.clip import Absent, Clip, Extractor, Track
from ktnet_lite.names import Modality

Tracks = dict[Modality, Track | Absent]


def extract(clip: Clip, extractors: Iterable[Extractor]) -> Tracks:
    """Run extractors on one clip.

    Raises
    ------
    DataError
        The clip is damaged, lacks every modality, or an extractor gives no valid track.
    """
    tracks: Tracks = {}
    for extractor in extractors:
        tracks[extractor.modality] = track = extractor(clip)
        if isinstance(track, Track):
            _check(track, extractor, clip.path)
    if not any(isinstance(track, Track) for track in tracks.values()):
        reasons = ", ".join(f"{name}: {track.reason}" for name, track in tracks.items() if isinstance(track, Absent))
        raise DataError(f"{clip.path} has nothing to extract ({reasons})")
    return tracks


def pack(names: Sequence[str], clips: Sequence[Tracks], targets: np.ndarray) -> Split:
    """Pack the tracks of N clips into a split, without the modalities that no clip has.

    Parameters
    ----------
    names : sequence of str
    clips : sequence of dicts
        The tracks of each clip.
    targets : float32 array, shape (N,)
    """
    streams, words = {}, None
    for name in clips[0]:
        tracks = [clip[name] for clip in clips]
        known = [track for track in tracks if isinstance(track, Track)]
        if known:
            none = known[0]._replace(values=known[0].values[:0], words=())
            tracks = [track if isinstance(track, Track) else none for track in tracks]
            streams[name] = Stream.from_clips([track.values for track in tracks])
            if name == "language":
                words = tuple(track.words for track in tracks)
    return Split(streams, targets, tuple(names), words)


def header(name: str, recipes: Mapping[Modality, str]) -> Header:
    """Make the header of clips that were extracted by some recipes (:attr:`ktnet_lite.data.schema.Header.recipes`)."""
    return Header(name, "sentiment", False, {f"recipe {modality}": recipe for modality, recipe in recipes.items()})


def save(path: Path, tracks: Mapping[Modality, Track | Absent]) -> None:
    """Write the tracks of a clip as a ``.npz`` file: ``<modality> values`` (T, D), ``<modality> times`` (T, 2).

    Its member ``about`` is JSON: the words and notes of each modality, or the reason why it is absent.

    Raises
    ------
    DataError
        The file cannot be written.
    """
    arrays: dict[str, Any] = {}
    about: dict[str, Any] = {}
    for name, track in tracks.items():
        if isinstance(track, Track):
            arrays |= {f"{name} values": track.values, f"{name} times": track.times}
            about[name] = {"words": track.words, "notes": track.notes}
        else:
            about[name] = {"absent": track.reason}
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    files.write(path, content.getvalue(), DataError)


def load(path: Path) -> Tracks | None:
    """Load the tracks of a clip; None if there is no such file, or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as content:
            about = json.loads(content["about"].tobytes())
            tracks: Tracks = {}
            for name, known in about.items():
                if "absent" in known:
                    tracks[name] = Absent(known["absent"])
                else:
                    arrays = content[f"{name} values"], content[f"{name} times"]
                    tracks[name] = Track(*arrays, tuple(known["words"]), tuple(known["notes"]))
            return tracks
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
        return None


def _check(track: Track, extractor: Extractor, path: Path) -> None:
    steps, features = len(track.values), len(extractor.features)
    what = f"{path}, {extractor.modality}: the extractor gives"
    if steps == 0 or track.values.shape != (steps, features) or track.values.dtype != np.float32:
        raise DataError(f"{what} {track.values.dtype} {track.values.shape}; expected float32 (steps, {features})")
    if not np.isfinite(track.values).all():
        raise DataError(f"{what} NaN or inf")
    if track.times.shape != (steps, 2) or not (np.diff(track.times, axis=1) >= 0).all():
        raise DataError(f"{what} times of shape {track.times.shape}; expected start and end of {steps} steps")
    if len(track.words) != (steps if extractor.modality == "language" else 0):
        raise DataError(f"{what} {len(track.words)} words for {steps} steps")
