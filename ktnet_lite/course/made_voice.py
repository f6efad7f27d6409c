"""A synthetic voice of known pitch: a vowel as a sum of harmonics under a formant envelope."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ktnet_lite.errors import ConfigError, did_you_mean

FORMANTS = {  # Hz, men's means (G. E. Peterson and H. L. Barney, J. Acoust. Soc. Am. 24, 1952)
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
HIGHER = (3500, 4500, 5500, 6500, 7500)  # Hz, those of a uniform tube, for every vowel


def envelope(hertz: ArrayLike, formants: str = "a") -> np.ndarray:
    """Amplitude of a harmonic at these frequencies: a source that falls as 1 / f, times the resonances."""
    hertz = np.asarray(hertz, float)
    amplitude = 100 / hertz
    for formant in FORMANTS[formants] + HIGHER:
        bandwidth = 60 + formant / 40
        amplitude = amplitude * formant**2 / np.hypot(formant**2 - hertz**2, bandwidth * hertz)
    return amplitude


def vowel(f0: ArrayLike, seconds: float, formants: str = "a", rate: int = 16000) -> np.ndarray:
    """Synthesise a vowel.

    Returns a float32 array (seconds * rate,) with a peak of 0.5.

    Parameters
    ----------
    f0 : float or sequence of float
        The pitch in Hz, or a contour of it: the values are spread evenly over the duration, with straight lines
        between them. One value per sample fits exactly.
    seconds : float
    formants : str
        A key of FORMANTS.
    rate : int
        Samples a second.


    Raises
    ------
    ConfigError
        The vowel is unknown, or a pitch is not between 0 and half the rate.
    """
    contour, samples = np.atleast_1d(np.asarray(f0, float)), round(seconds * rate)
    if formants not in FORMANTS:
        raise ConfigError(f"no vowel {formants!r}{did_you_mean(formants, FORMANTS)}; choose from {', '.join(FORMANTS)}")
    if not ((contour > 0) & (contour < rate / 2)).all():
        raise ConfigError(f"f0 has to be between 0 and {rate / 2:g} Hz")
    hertz = np.interp(np.linspace(0, 1, samples), np.linspace(0, 1, len(contour)), contour)  # (samples,)
    phase = 2 * np.pi * np.cumsum(hertz) / rate
    sound = np.zeros(samples)
    for n in range(1, int(rate / 2 / hertz.min()) + 1):
        audible = n * hertz < rate / 2
        sound += np.where(audible, envelope(n * hertz, formants) * np.cos(n * phase), 0)
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)
