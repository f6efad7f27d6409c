"""A drawn face whose mouth, eyes and head move as told: a clip for chapter 11 and for tests that shows nobody.

It is made of soft ellipses, shaded just enough for a face landmarker to take it for a face.
"""

from __future__ import annotations

import numpy as np

SKIN, LIGHT, SHADE = (222, 170, 140), (244, 204, 178), (150, 98, 76)
HAIR, BROW, LIPS, INSIDE = (62, 42, 32), (70, 46, 36), (176, 84, 84), (52, 18, 20)
WHITE, IRIS, PUPIL, LASHES, TEETH = (238, 236, 232), (86, 110, 120), (16, 14, 14), (44, 30, 26), (232, 226, 214)
WALL, SHIRT = (176, 186, 194), (70, 92, 120)


def draw(mouth: float = 0.0, eyes: float = 1.0, turn: float = 0.0, size: tuple[int, int] = (320, 320)) -> np.ndarray:
    """Draw the face.

    Returns a uint8 array (H, W, 3).

    Parameters
    ----------
    mouth, eyes : float from 0 to 1
        How far they are open.
    turn : float
        Yaw of the head in degrees, at most 30 either way; positive to the image's right.
    size : tuple of int
        Height and width of the image, in pixels.
    """
    height, width = size
    unit = min(size) / 2.6
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2) / unit  # (W,); the head reaches from -1 to 1
    y = (np.arange(height, dtype=np.float32)[:, None] - (height - 1) / 2) / unit  # (H, 1)
    image = np.empty((3, height, width), np.float32)
    image[:] = np.reshape(WALL, (3, 1, 1))
    jaw = 0.28 * mouth  # how far it drops

    def oval(x: np.ndarray, centre: tuple[float, float], radii: tuple[float, float], soft: float = 0.03) -> np.ndarray:
        """1 inside and 0 outside, with an edge of the width ``soft``."""
        across, down = x - centre[0], y - centre[1]
        level = np.sqrt((across / radii[0]) ** 2 + (down / radii[1]) ** 2)  # 1 on the edge
        slope = np.sqrt((across / radii[0] ** 2) ** 2 + (down / radii[1] ** 2) ** 2)
        return np.clip(0.5 - level * (level - 1) / np.maximum(slope, 1e-6) / soft, 0, 1)

    def paint(colour: tuple[int, int, int], mask: np.ndarray, strength: float = 1.0) -> None:
        for channel, value in zip(image, colour, strict=True):
            channel += np.float32(strength) * mask * (np.float32(value) - channel)

    hair = oval(x, (0, -0.18), (0.82, 0.92))
    paint(SHIRT, oval(x, (0, 1.75), (1.1, 0.75)))
    paint(HAIR, hair)
    paint(SHADE, oval(x, (0, 1.0), (0.34, 0.5)))  # the neck
    for side in (-1, 1):
        paint(SKIN, oval(x, (0.7 * side, 0.02), (0.09, 0.2)))
    head = np.maximum(oval(x, (0, -0.08), (0.68, 0.78)), oval(x, (0, 0.32 + jaw / 2), (0.56, 0.62 + jaw / 2)))
    paint(SKIN, head)
    across = np.clip(x / 0.7, -1, 1)
    paint(SHADE, head * np.clip(np.abs(across + 0.1) - 0.45, 0, 1), 1.1)
    u = 0.7 * np.sin(np.arcsin(across) - np.radians(turn))  # the place on the head, a cylinder that turns
    paint(HAIR, hair * oval(u, (0, -0.95), (0.75, 0.38), 0.12))

    def feature(
        colour: tuple[int, int, int],
        centre: tuple[float, float],
        radii: tuple[float, float],
        soft: float,
        strength: float = 1.0,
        u: np.ndarray = u,
    ) -> None:
        paint(colour, head * oval(u, centre, radii, soft), strength)

    feature(LIGHT, (0, -0.42), (0.4, 0.16), 0.3, 0.6)
    for side in (-1, 1):
        feature(LIGHT, (0.36 * side, 0.2), (0.2, 0.15), 0.25, 0.7)  # the cheek
        feature(SHADE, (0.28 * side, -0.1), (0.22, 0.14), 0.2, 0.5)  # the socket
        feature(BROW, (0.29 * side, -0.27), (0.18, 0.035), 0.04)
        feature(LASHES, (0.28 * side, -0.085), (0.155, 0.022 + 0.062 * eyes), 0.03)
        eye = head * oval(u, (0.28 * side, -0.08), (0.135, 0.012 + 0.058 * eyes), 0.02)
        for colour, radius in ((WHITE, 0.2), (IRIS, 0.06), (PUPIL, 0.028)):
            paint(colour, eye * oval(u, (0.28 * side, -0.08), (radius, radius), 0.02), min(1, 2 * eyes))
    nose = u - 0.15 * np.sin(np.radians(turn))  # it stands out, so that a turn moves it further
    feature(SHADE, (0.07, 0.08), (0.05, 0.24), 0.1, 0.4, nose)
    feature(LIGHT, (0, 0.08), (0.035, 0.24), 0.06, 0.8, nose)
    feature(SHADE, (0, 0.3), (0.14, 0.05), 0.08, 0.6, nose)
    feature(LIGHT, (0, 0.24), (0.07, 0.06), 0.08, 0.8, nose)
    for side in (-1, 1):
        feature(PUPIL, (0.06 * side, 0.305), (0.03, 0.016), 0.03, 0.7, nose)
    middle = 0.52 + jaw / 2
    feature(SHADE, (0, middle + 0.15 + jaw / 2), (0.16, 0.04), 0.08, 0.5)  # below the lower lip
    feature(LIPS, (0, middle), (0.24 - 0.2 * jaw, 0.072 + jaw / 2), 0.03)
    feature(INSIDE, (0, middle), (0.2 - 0.2 * jaw, 0.006 + jaw / 2), 0.02)
    feature(TEETH, (0, middle - jaw / 2 + 0.02), (0.13, 0.025), 0.02, min(1, 2 * mouth))
    feature(LIGHT, (0, 0.76 + jaw), (0.14, 0.08), 0.15, 0.6)  # the chin
    return np.ascontiguousarray(image.clip(0, 255).round().astype(np.uint8).transpose(1, 2, 0))
