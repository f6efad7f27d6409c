"""Extractors of one's own for the tests: a clip is a text file, a step one of its letters."""

import os

import numpy as np

from ktnet_lite.errors import DataError
from ktnet_lite.extract import folder
from ktnet_lite.extract.clip import Absent, Clip, Track


class Letters:
    """An extractor of one's own: the clip is a text file, and a step is one letter of it."""

    modality = "audio"
    features = ("letter", "place")
    name = "own_extractors:Letters"

    def __init__(self, version=1):
        self.recipe = {"name": self.name, "version": version}
        self.recipe["settings"] = {"version": version}

    def __call__(self, clip: Clip) -> Track | Absent:
        content = clip.path.read_text(encoding="utf-8")
        if content == "bad":
            raise DataError(f"{clip.path} is bad")
        if content == "silent":
            return Absent("silent")
        values = np.array([[ord(letter), place] for place, letter in enumerate(content)], np.float32)
        times = np.arange(len(values))[:, None] + np.array([0.0, 1.0])
        with open(os.environ.get("SEEN", os.devnull), "a", encoding="utf-8") as seen:
            seen.write(f"{clip.path.stem}\n")
        return Track(values, times)


class Faces(Letters):
    """Vision, for the command line."""

    modality = "vision"
    name = "own_extractors:Faces"


class Nameless(Faces):
    """Vision whose recipe does not say where it is found."""

    recipe = {}  # noqa: RUF012

    def __init__(self):
        pass


class Sizes:
    """The bytes of a clip, and a word for each line of its transcript."""

    modality = "language"
    features = ("size",)
    recipe = {"name": "own_extractors:Sizes", "version": 1}  # noqa: RUF012

    def __call__(self, clip: Clip) -> Track | Absent:
        if not clip.lines:
            return Absent("no transcript")
        values = np.full((len(clip.lines), 1), clip.path.stat().st_size, np.float32)
        times = np.zeros((len(values), 2))
        return Track(values, times, tuple(line.text for line in clip.lines))


BOTH = [Sizes(), Letters()]


def make_clips(where):
    """Make a folder of six clips of three speakers, the first with a transcript, and labels.csv beside it."""
    made = where / "clips"
    (made / "more").mkdir(parents=True)
    for name in ("a", "b", "c", "d", "more/e", "f"):
        (made / f"{name}.clip").write_text(f"clip {name}", encoding="utf-8")
    (made / "a.txt").write_text("hello", encoding="utf-8")
    rows = [f"{name},{i - 2},s{i % 3}" for i, name in enumerate(["a", "b", "c", "d", "more/e", "f.clip"])]
    (where / "labels.csv").write_text("\n".join(["id,score,speaker", *rows]), encoding="utf-8")
    return made


def convert(clips, target="my.h5", extractors=BOTH, **options):
    return folder.convert(clips, clips.parent / target, clips.parent / "labels.csv", extractors, **options)
