"""Models that extractors need: fetched once, checked, and found again. Extraction itself downloads nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ktnet_lite.data.catalogue import download
from ktnet_lite.data.catalogue.download import RawFile
from ktnet_lite.errors import DataError


@dataclass(frozen=True)
class Model:
    """A model file.

    Parameters
    ----------
    name, about : str
    licence : str
        Its owners' terms.
    file : RawFile
    """

    name: str
    about: str
    licence: str
    file: RawFile

    @property
    def remedy(self) -> str:
        """How to get the file."""
        return (
            f"licence: {self.licence}\nrun: ktnet-lite data fetch {self.name}, "
            f"or with {self.file.name} in FOLDER: ktnet-lite data fetch {self.name} --from FOLDER"
        )


MODELS = {
    model.name: model
    for model in (
        Model(
            "face-landmarker",
            "MediaPipe's face landmarker: detector, 478 points, blendshapes; 3.7 MB",
            "Apache-2.0",
            RawFile(
                "face_landmarker.task",
                "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
                "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
                "face_landmarker.task",
                3758596,
            ),
        ),
        Model(
            "word-vectors",
            "spaCy's en_core_web_md: 514,000 English words, 300 numbers each; 43 MB",
            "MIT (the package), CC0 (the vectors)",
            RawFile(
                "en_core_web_md-3.7.1-py3-none-any.whl",
                "6a0f857a2b4d219c6fa17d455f82430b365bf53171a2d919b9376e5dc9be032e",
                "https://github.com/explosion/spacy-models/releases/download/en_core_web_md-3.7.1/"
                "en_core_web_md-3.7.1-py3-none-any.whl",
            ),
        ),
    )
}


def stored(name: str, folder: Path | str | None = None) -> Path:
    """Return the path of a model in the data folder, whether or not it exists."""
    return Path(folder or "data") / "models" / MODELS[name].file.name


def find(name: str) -> Path:
    """Find a model that was fetched, or that lies below the folder that ``KTNET_DATA`` names.

    Raises
    ------
    DataError
        It is nowhere, or is not the file that it should be; the message says how to get it.
    """
    model, path = MODELS[name], stored(name)
    if path.is_file():
        return path
    local = os.environ.get("KTNET_DATA")
    if local and download.are_below([model.file], Path(local)):
        return download.locate([model.file], Path(local), model.remedy)[model.file.name]
    raise DataError(f"{model.name} is not here ({path})\n{model.remedy}")


def fetch(name: str, folder: Path | str | None = None, local: Path | str | None = None) -> Path:
    """Download a model, or take it from below the folder ``local``; return its place in the data folder.

    Raises
    ------
    DataError
        The link is dead, the file is not in the folder, or its content is wrong.
    """
    model, path = MODELS[name], stored(name, folder)
    if local is not None:
        download.copy(download.locate([model.file], Path(local), model.remedy)[model.file.name], path)
    elif not (path.is_file() and download.sha256_of(path) == model.file.sha256):
        download.download(model.file, path, model.remedy)
    return path
