"""The face as expressions and head pose, or as points: the extractor of vision.

:mod:`~ktnet_lite.extract.landmarker` finds the points of a face in an image. Here a face is chosen, followed from frame
to frame, and described:

- its expression: 51 blendshapes, such as ``jawOpen``, each from 0 to 1, or 478 points, free of place, pose and size;
- yaw, pitch and roll of the head, in degrees; all are 0 for an upright face that looks at the camera;
- its place in the image, and its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Literal, NamedTuple, get_args

import numpy as np

from ktnet_lite.data.catalogue.download import sha256_of
from ktnet_lite.errors import ConfigError, did_you_mean, shown
from ktnet_lite.extract import landmarker, models
from ktnet_lite.extract.clip import Absent, Clip, Track
from ktnet_lite.extract.landmarker import BLENDSHAPES, LEFT_EYE, RIGHT_EYE, Face, Landmarker, Region
from ktnet_lite.names import Modality

Choice = Literal["largest"] | tuple[float, float]
Gaps = Literal["interpolate", "absent"]
Values = Literal["blendshapes", "points"]

BROW, NOSE = 9, 2  # between the brows, and where the nose meets the lip: unlike the chin, neither moves with the mouth
SETTLING = 2  # looks at a new face, beyond the first; a blendshape changes by up to 0.27, 0.12 and 0.04 in turn
HEAD = (
    "yaw [degrees]",
    "pitch [degrees]",
    "roll [degrees]",
    "x [image width]",
    "y [image height]",
    "size [image height]",
)
SEEN = "face seen [0 or 1]"
EXPRESSION: dict[Values, tuple[str, ...]] = {
    "blendshapes": tuple(f"{name} [0..1]" for name in BLENDSHAPES),
    "points": tuple(f"point {i} {axis} [eye distance]" for i in range(478) for axis in "xyz"),
}


class Frame(NamedTuple):
    """A frame of a clip, and the face in it.

    Parameters
    ----------
    time : float
        In seconds.
    image : uint8 array, shape (H, W, 3)
    face : Face or None
    """

    time: float
    image: np.ndarray
    face: Face | None


class FaceTracker:
    """Follow one face through a clip and describe it.

    Parameters
    ----------
    fps : float
        Steps per second.
    choice : "largest" or (x, y)
        Which face, if there are several: the largest, or the one nearest to a point, given as fractions of the image's
        width and height from its left and top edge. The choice is made in the first frame with a face, and again where
        the face was lost: the largest, or the one nearest to the face's last place. A change of person that keeps the
        place is not noticed.
    gaps : {"interpolate", "absent"}
        What frames without a face become: values between those of the neighbouring frames with a face (linear; at the
        ends, the nearest frame's), or no step at all. "face seen" is 0 where values are interpolated.
    values : {"blendshapes", "points"}
        The description of the expression: 51 blendshapes, or the 478 points as in :func:`aligned`.

    Raises
    ------
    ConfigError
        A parameter is invalid.
    DataError
        The networks are not on this machine; the message says how to get them.
    """

    modality: Modality = "vision"

    def __init__(
        self, fps: float = 10, choice: Choice = "largest", gaps: Gaps = "interpolate", values: Values = "blendshapes"
    ) -> None:
        if not 0 < fps < np.inf:
            raise ConfigError(f"fps: {shown(fps)} is not a positive number of frames per second")
        for name, value, known in (("gaps", gaps, get_args(Gaps)), ("values", values, get_args(Values))):
            if value not in known:
                choices = ", ".join(known) + did_you_mean(str(value), known)
                raise ConfigError(f"{name}: {shown(value)} is not one of {choices}")
        self.fps, self.gaps, self.values = fps, gaps, values
        self.choice: Choice = "largest" if choice == "largest" else _point(choice)
        self.features = (*EXPRESSION[values], *HEAD, SEEN)
        self.path = models.find("face-landmarker")
        self.recipe = {
            "name": "face",
            "version": 1,
            "settings": {"fps": fps, "choice": self.choice, "gaps": gaps, "values": values},
            "model": sha256_of(self.path),
        }

    def __call__(self, clip: Clip) -> Track | Absent:
        """Describe the face of a clip. Raises :class:`~ktnet_lite.errors.DataError` if the clip is damaged."""
        times, rows = [], []
        for time, image, face in self.frames(clip):
            times.append(time)
            rows.append(None if face is None else self.describe(face, image))
        if not times:
            return Absent("no video")
        seen = np.array([row is not None for row in rows])
        if not seen.any():
            return Absent(f"no face in {len(seen)} frames")
        starts, values = np.array(times), np.array([row for row in rows if row is not None])
        if self.gaps == "interpolate":
            values = interpolate(starts[seen], values, starts)
            mark = seen
        else:
            starts = starts[seen]
            mark = np.ones(len(starts))
        return Track(
            np.column_stack([values, mark]).astype(np.float32),  # (T, D)
            starts[:, None] + (0, 1 / self.fps),
            notes=() if seen.all() else (f"no face in {(~seen).sum()} of {len(seen)} frames",),
        )

    def frames(self, clip: Clip) -> Iterator[Frame]:
        """Yield the frames of a clip, each with its face; none if the clip has no video."""
        if clip.media.has_video:
            yield from follow(clip.frames(self.fps), landmarker.load(self.path), self.choice)

    def describe(self, face: Face, image: np.ndarray) -> np.ndarray:
        """Return the expression, the head's pose, and the place and size of a face: (D - 1,)."""
        height, width = image.shape[:2]
        expression = face.blendshapes if self.values == "blendshapes" else aligned(face.points).ravel()
        (x, y, _), size = centre(face.points), eye_distance(face.points)
        return np.array([*expression, *pose(face.points), x / width, y / height, size / height])


def follow(
    frames: Iterable[tuple[float, np.ndarray]], networks: Landmarker, choice: Choice = "largest"
) -> Iterator[Frame]:
    """Find the same face in each of a clip's frames.

    The face is looked for around its place in the last frame; the whole image is searched only where it is not there.
    The detector's box is rougher than one around points, and the blendshapes depend on it a little. Therefore a face
    that the detector found is looked at again, around its points; otherwise each clip would begin with a jump.

    Parameters
    ----------
    frames : iterable of (float, uint8 array)
        The time and the image (H, W, 3).
    networks : Landmarker
    choice : "largest" or (x, y)
        As in :class:`FaceTracker`.
    """
    region: Region | None = None  # around the face in the last frame
    place: np.ndarray | None = None  # of the face when it was last seen, as fractions of width and height
    for time, image in frames:
        face = None if region is None else networks.landmarks(image, region)
        size = np.array(image.shape[1::-1])  # (W, H)
        if face is None:
            faces = networks.detect(image)
            if choice == "largest":
                faces.sort(key=lambda found: -found.size)
            else:
                aim = size * (choice if place is None else place)
                faces.sort(key=partial(_distance, aim))
            candidates = (networks.landmarks(image, found) for found in faces)
            face = next((candidate for candidate in candidates if candidate is not None), None)
            for _ in range(SETTLING):
                if face is not None:
                    face = networks.landmarks(image, landmarker.region_of(face.points))
        region = None
        if face is not None:
            region = landmarker.region_of(face.points)
            place = np.array([region.x, region.y]) / size
        yield Frame(time, image, face)


def interpolate(known: np.ndarray, values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Interpolate values (N, D) at the times ``known`` (N,) to ``times`` (T,): linear, and constant at the ends.

    Returns an array (T, D).
    """
    index = np.interp(times, known, np.arange(len(known)))  # (T,), fractional
    before = np.floor(index).astype(int)
    after = np.ceil(index).astype(int)
    return values[before] + (index - before)[:, None] * (values[after] - values[before])


def centre(points: np.ndarray) -> np.ndarray:
    """Return the middle between the outer corners of the eyes, (3,)."""
    return (points[RIGHT_EYE] + points[LEFT_EYE]) / 2


def eye_distance(points: np.ndarray) -> float:
    """Return the distance of the outer corners of the eyes, in three dimensions: it does not shrink as a head turns."""
    return float(np.linalg.norm(points[LEFT_EYE] - points[RIGHT_EYE]))


def axes(points: np.ndarray) -> np.ndarray:
    """Return the axes of a face: three orthonormal rows, (3, 3).

    The first goes along the eyes, to the image's right where the face looks at the camera; the second down the middle
    of the face; the third into the head. They are the rows of the identity for an upright face that looks at the
    camera.

    Parameters
    ----------
    points : array, shape (478, 3)
        As in :class:`~ktnet_lite.extract.landmarker.Face`.
    """
    right = points[LEFT_EYE] - points[RIGHT_EYE]
    right = right / np.linalg.norm(right)
    down = points[NOSE] - points[BROW]
    down = down - (down @ right) * right
    down = down / np.linalg.norm(down)
    return np.array([right, down, np.cross(right, down)])


def pose(points: np.ndarray) -> np.ndarray:
    """Return the yaw, pitch and roll of a head, (3,), in degrees.

    Yaw and pitch are the direction in which the face looks: to the image's right and upwards if positive. Roll is the
    slope of the line of the eyes in the image, positive if the head is tilted clockwise. A mirror flips the signs of
    yaw and roll.

    Parameters
    ----------
    points : array, shape (478, 3)
    """
    right, _, inwards = axes(points)
    x, y, z = -inwards  # where the face looks
    return np.degrees([np.arctan2(x, -z), np.arcsin(np.clip(-y, -1, 1)), np.arctan2(right[1], right[0])])


def aligned(points: np.ndarray) -> np.ndarray:
    """Return points (478, 3) in the face's own axes, from the middle between the eyes, in distances of the eyes."""
    return (points - centre(points)) @ axes(points).T / eye_distance(points)


def _point(choice: object) -> tuple[float, float]:
    """Read a point of the image. Raises :class:`ConfigError` unless it is (x, y), both from 0 to 1."""
    try:
        x, y = np.array(choice, float)
        if 0 <= x <= 1 and 0 <= y <= 1:
            return float(x), float(y)
    except (TypeError, ValueError):
        pass
    raise ConfigError(
        f'choice: {shown(choice)} is neither "largest" nor a point (x, y) in fractions of width and height, such as '
        "(0.25, 0.5)"
    )


def _distance(aim: np.ndarray, region: Region) -> float:
    """Return the distance of a region's centre from a point, in pixels."""
    return float(np.hypot(region.x - aim[0], region.y - aim[1]))
