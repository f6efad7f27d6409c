"""MediaPipe's face landmarker: a detector, 478 points in three dimensions and 52 blendshapes, run by LiteRT.

The three networks lie in one file, ``face_landmarker.task`` (:mod:`ktnet_lite.extract.models` fetches it). What happens
around them is written here from MediaPipe's public graphs [1]_:

- :meth:`Landmarker.detect`: BlazeFace [2]_ looks at the whole image, 128 pixels wide, and gives boxes with six key
  points; boxes that overlap are averaged.
- :meth:`Landmarker.landmarks`: a square around the face, 1.5 times its box and turned so that the eyes lie level, is
  the input of the second network [3]_, which gives the points and the probability that a face is there at all. Its
  points give the square of the next frame (:func:`region_of`), so that a video needs the detector only once.
- 146 of the points are the input of the third network, which gives the blendshapes [4]_.

References
----------
.. [1] https://github.com/google-ai-edge/mediapipe, mediapipe/tasks/cc/vision/face_landmarker (Apache-2.0)
.. [2] V. Bazarevsky et al., "BlazeFace: Sub-millisecond neural face detection on mobile GPUs", 2019, arXiv:1907.05047
.. [3] I. Grishchenko et al., "Attention Mesh: High-fidelity face mesh prediction in real-time", 2020, arXiv:2006.10962
.. [4] I. Grishchenko et al., "Blendshapes GHUM: Real-time monocular facial blendshape prediction", 2023,
   arXiv:2309.05782
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ktnet_lite.data.foreign import unreadable
from ktnet_lite.errors import DataError
from ktnet_lite.extract.extras import needed

NETWORKS = "face_detector.tflite", "face_landmarks_detector.tflite", "face_blendshapes.tflite"
DETECTOR_SIDE, MESH_SIDE = 128, 256  # input of the networks, in pixels
CONFIDENCE = 0.5  # of the detector and of presence
OVERLAP = 0.5  # intersection over union of two boxes of one face
MARGIN = 1.5  # side of a region, in sides of the face's box
RIGHT_EYE, LEFT_EYE = 33, 263  # outer corners; right and left are the person's, as in the names of the blendshapes
PLACES = np.array([1, 0, *[1] * 6])[:, None]  # of the detector's 8 pairs: the box's centre and size, 6 key points
BAND = 32  # rows that are sampled at once, so that what is computed stays in the cache

# fmt: off
EXPRESSION_POINTS = [  # the points that the blendshapes are computed from
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80,
    81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153, 154,
    155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263,
    267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321,
    323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387,
    388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
]
BLENDSHAPES = (  # without the network's first, "_neutral"
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)
# fmt: on


class Region(NamedTuple):
    """A square of an image.

    Parameters
    ----------
    x, y : float
        Centre, in pixels from the image's left and top edge.
    size : float
        Side, in pixels.
    angle : float
        Clockwise rotation, in radians.
    """

    x: float
    y: float
    size: float
    angle: float = 0.0


class Face(NamedTuple):
    """What the networks see of a face.

    Parameters
    ----------
    points : float32 array, shape (478, 3)
        x to the right and y downwards, in pixels of the image; z away from the camera, on the same scale.
    blendshapes : float32 array, shape (51,)
        In the order of ``BLENDSHAPES``, each from 0 to 1.
    presence : float
        Probability that this is a face.
    """

    points: np.ndarray
    blendshapes: np.ndarray
    presence: float


class Landmarker:
    """The three networks.

    Parameters
    ----------
    path : Path
        ``face_landmarker.task``.

    Raises
    ------
    DataError
        It is another file, damaged, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            with zipfile.ZipFile(path) as bundle:
                networks = [bundle.read(name) for name in NETWORKS]
            self.detector, self.mesh, self.expression = map(_Network, networks)
        except OSError as error:
            raise unreadable(path, error) from error
        except (zipfile.BadZipFile, KeyError, ValueError, RuntimeError) as error:
            raise DataError(
                f"{path} is not MediaPipe's face landmarker ({error}); "
                "delete it and run: ktnet-lite data fetch face-landmarker"
            ) from None
        self.anchors = anchors()

    def detect(self, image: np.ndarray) -> list[Region]:
        """Find the faces of an image, the surest first: for each the region to hand to :meth:`landmarks`.

        Parameters
        ----------
        image : uint8 array, shape (H, W, 3)
        """
        height, width = image.shape[:2]
        side = max(width, height)
        crop = sample(image, Region(width / 2, height / 2, side), DETECTOR_SIDE) / 127.5 - 1  # [-1, 1]
        beyond = (np.array([width, height]) - side) / 2  # the crop's corner, in pixels of the image
        left, top = np.ceil(-beyond / side * DETECTOR_SIDE).astype(int)
        for edge in (crop[:top], crop[DETECTOR_SIDE - top :], crop[:, :left], crop[:, DETECTOR_SIDE - left :]):
            edge[...] = -1  # black
        boxes, logits = self.detector(crop)  # (1, 896, 16), (1, 896, 1)
        scores = sigmoid(logits[0, :, 0])
        sure = scores >= CONFIDENCE
        pairs = boxes[0, sure].reshape(-1, 8, 2) / DETECTOR_SIDE + PLACES * self.anchors[sure, None]
        faces = merge(pairs, scores[sure]) * side + PLACES * beyond  # (faces, 8, 2), in pixels
        return [around(*face[:4]) for face in faces]

    def landmarks(self, image: np.ndarray, region: Region) -> Face | None:
        """Find the points of the face in a region; None if there is no face.

        Parameters
        ----------
        image : uint8 array, shape (H, W, 3)
        region : Region
        """
        points, logit, _ = self.mesh(sample(image, region, MESH_SIDE) / 255)
        presence = float(sigmoid(logit).item())
        if presence < CONFIDENCE:
            return None
        points = (points.reshape(-1, 3) - [MESH_SIDE / 2, MESH_SIDE / 2, 0]) * (region.size / MESH_SIDE)  # (478, 3)
        cos, sin = np.cos(region.angle), np.sin(region.angle)
        points[:, :2] = points[:, :2] @ [[cos, sin], [-sin, cos]] + [region.x, region.y]
        (blendshapes,) = self.expression(points[EXPRESSION_POINTS, :2])
        return Face(points.astype(np.float32), blendshapes[1:], presence)


@cache
def load(path: Path) -> Landmarker:
    """Load the networks, once per process; they serve one thread at a time. Raises as :class:`Landmarker` does."""
    return Landmarker(path)


class _Network:
    """A TFLite network: one example without a batch axis in; its outputs, with that axis, out."""

    def __init__(self, content: bytes) -> None:
        litert: Any = needed("ai_edge_litert.interpreter")
        with _silence():
            self.interpreter = litert.Interpreter(model_content=content, num_threads=1)
            self.interpreter.allocate_tensors()
        (self.input,) = (entry["index"] for entry in self.interpreter.get_input_details())
        self.outputs = [entry["index"] for entry in self.interpreter.get_output_details()]

    def __call__(self, values: np.ndarray) -> list[np.ndarray]:
        self.interpreter.set_tensor(self.input, np.ascontiguousarray(values[None], np.float32))
        self.interpreter.invoke()
        return [self.interpreter.get_tensor(index) for index in self.outputs]


@contextmanager
def _silence() -> Iterator[None]:
    """Keep from the terminal what LiteRT writes to the process's stderr when it loads a network."""
    try:
        saved = os.dup(2)
    except OSError:  # the process has no stderr
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def region_of(points: np.ndarray) -> Region:
    """Return the region around the points of a face (478, 3): where to look for it in the next frame."""
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    return around((low + high) / 2, high - low, points[RIGHT_EYE], points[LEFT_EYE])


def around(centre: np.ndarray, size: np.ndarray, right_eye: np.ndarray, left_eye: np.ndarray) -> Region:
    """Return the square around the box of a face, level with its eyes."""
    angle = np.arctan2(left_eye[1] - right_eye[1], left_eye[0] - right_eye[0])
    return Region(float(centre[0]), float(centre[1]), MARGIN * float(size.max()), float(angle))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Turn logits into probabilities, without overflow."""
    return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))


def sample(image: np.ndarray, region: Region, side: int) -> np.ndarray:
    """Cut a region out of an image and scale it, by bilinear interpolation; the edges are repeated outwards.

    Parameters
    ----------
    image : uint8 array, shape (H, W, 3)
    region : Region
    side : int
        Of the result, a float32 array (side, side, 3) from 0 to 255.
    """
    height, width = image.shape[:2]
    pixels = image.reshape(-1, 3)
    cos, sin = np.cos([region.angle, region.angle - np.pi / 2]).astype(np.float32)
    steps = (np.arange(side, dtype=np.float32) / side - 0.5) * np.float32(region.size)
    crop = np.empty((side, side, 3), np.float32)
    for start in range(0, side, BAND):
        down = steps[start : start + BAND, None]
        x = np.float32(region.x) + cos * steps - sin * down  # (band, side)
        y = np.float32(region.y) + sin * steps + cos * down
        left, top = np.floor(x), np.floor(y)
        columns = [np.clip(left + k, 0, width - 1).astype(np.intp) for k in (0, 1)]
        rows = [np.clip(top + k, 0, height - 1).astype(np.intp) * width for k in (0, 1)]
        x, y = (np.repeat(part[..., None], 3, axis=-1) for part in (x - left, y - top))  # (band, side, 3), in [0, 1)
        lines = [[pixels.take(row + column, axis=0) for column in columns] for row in rows]
        upper, lower = (_between(first, second, x) for first, second in lines)
        crop[start : start + BAND] = _between(upper, lower, y)
    return crop


def _between(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Interpolate linearly."""
    return first + (second - first.astype(np.float32)) * share


def anchors() -> np.ndarray:
    """Return the places of the detector's 896 boxes, in fractions of its input: 2 in each of 16 x 16 cells, 6 in 8 x 8.

    The array has shape (896, 2).
    """
    grids = []
    for cells, boxes in ((16, 2), (8, 6)):
        y, x = np.mgrid[:cells, :cells] + 0.5
        grids.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2) / cells, boxes, axis=0))
    return np.concatenate(grids)


def merge(faces: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Average boxes that overlap, weighted by their scores (weighted non-maximum suppression).

    Parameters
    ----------
    faces : array, shape (N, 8, 2)
        The centre, the size and the key points of each box.
    scores : array, shape (N,)
    """
    order = np.argsort(-scores, kind="stable")
    faces, scores, merged = faces[order], scores[order], []
    while len(faces):
        low, high = faces[:, 0] - faces[:, 1] / 2, faces[:, 0] + faces[:, 1] / 2
        shared = np.maximum(np.minimum(high, high[0]) - np.maximum(low, low[0]), 0).prod(axis=1)
        area = faces[:, 1].prod(axis=1)
        same = shared > OVERLAP * (area + area[0] - shared)
        same[0] = True
        merged.append(np.average(faces[same], axis=0, weights=scores[same]))
        faces, scores = faces[~same], scores[~same]
    return np.array(merged).reshape(-1, 8, 2)
