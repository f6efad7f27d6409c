"""Extractors by name, as the command line gives them, or as the recipes of a data set or model name them."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast, get_args

from ktnet_lite.errors import ConfigError, DataError, did_you_mean
from ktnet_lite.extract import models
from ktnet_lite.extract.clip import Extractor, recipes
from ktnet_lite.extract.egemaps import Egemaps
from ktnet_lite.extract.face import FaceTracker, Values
from ktnet_lite.extract.vectors import WordTable
from ktnet_lite.extract.voice import Voice
from ktnet_lite.extract.words import Timing, Words
from ktnet_lite.names import Modality

AUDIO: dict[str, Callable[[], Extractor]] = {"descriptors": Voice, "egemaps": Egemaps}


def extractors(
    words: str = "align",
    vision: str = "blendshapes",
    audio: str = "descriptors",
    *,
    fps: float = 10.0,
    face: str = "largest",
    gaps: str = "interpolate",
    vectors: Path | None = None,
    whisper: Path | None = None,
) -> list[Extractor]:
    """Build the extractors of the three modalities.

    Parameters
    ----------
    words, vision, audio : str
        A way of :class:`~ktnet_lite.extract.words.Words`, values of :class:`~ktnet_lite.extract.face.FaceTracker`,
        ``descriptors`` or ``egemaps``; or ``MODULE:NAME``, a class of your own, which is called without arguments.
    fps, face, gaps
        For :class:`~ktnet_lite.extract.face.FaceTracker`; ``face`` may be ``X,Y``.
    vectors, whisper : Path, optional
        A file of word vectors, by default the one that was fetched; the folder of a faster-whisper model.

    Raises
    ------
    ConfigError
        A name is unknown, or a package is not installed.
    DataError
        A model is not on this machine.
    """

    def chosen(name: str, known: Iterable[str], build: Callable[[], Any], modality: Modality) -> Extractor:
        if ":" in name:
            found = _imported(name, modality, {})
            if found.recipe.get("name") != name:  # by which a model finds it again
                raise ConfigError(f'{name}: write "name": {name!r} into its recipe, not {found.recipe.get("name")!r}')
            return found
        if name not in known:
            raise ConfigError(f"{modality}: {name!r} is not one of {', '.join(known)}{did_you_mean(name, known)}")
        return build()

    aim = face if face == "largest" else tuple(face.split(","))
    return [
        chosen(words, get_args(Timing), lambda: Words(_table(vectors), cast("Timing", words), whisper), "language"),
        chosen(vision, get_args(Values), lambda: FaceTracker(fps, aim, gaps, vision), "vision"),  # type: ignore
        chosen(audio, AUDIO, lambda: AUDIO[audio](), "audio"),
    ]


def like(wanted: Mapping[Modality, str], vectors: Path | None = None, whisper: Path | None = None) -> list[Extractor]:
    """Build the extractors that follow given recipes, as a model holds those of its training set.

    Raises
    ------
    ConfigError
        A recipe's extractor is not known, or a package is not installed.
    DataError
        A model is not on this machine; or the extractor that is here has another version, model or table.
    """
    built = []
    for modality, text in wanted.items():
        recipe = json.loads(text)
        name, settings = recipe["name"], recipe.get("settings", {})
        if name == "words":
            extractor: Extractor = Words(_table(vectors), **settings, whisper=whisper)
        elif name == "face":
            extractor = FaceTracker(**settings)
        elif name == "voice":
            extractor = Voice()
        elif name == "egemaps":
            extractor = Egemaps()
        else:
            extractor = _imported(name, modality, settings)
        if (own := recipes([extractor])[modality]) != text:
            raise DataError(
                f"{modality}: extraction here does not give the numbers needed\nhere: {own}\nneeded: {text}"
            )
        built.append(extractor)
    return built


def _table(path: Path | None) -> WordTable:
    return WordTable.read(path or models.find("word-vectors"))


def _imported(name: str, modality: Modality, settings: dict[str, Any]) -> Extractor:
    """Build an extractor of the user's from ``MODULE:NAME``."""
    module, _, kind = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:  # a console script does not look there
        sys.path.append(here)
    try:
        extractor = getattr(importlib.import_module(module), kind)(**settings)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(f"{modality}: no extractor {name!r} ({error}); name it as MODULE:NAME") from error
    if getattr(extractor, "modality", None) != modality:
        raise ConfigError(f"{name} is no extractor of {modality}: its modality says otherwise")
    return extractor
