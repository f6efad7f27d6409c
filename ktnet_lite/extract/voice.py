"""The voice as 26 numbers, 100 times a second: pitch, periodicity, loudness, spectral shape and cepstrum, in NumPy.

Step ``t`` covers the sound from ``t / 100`` to ``(t + 1) / 100`` seconds. Two windows share its centre: a long one
(48 ms) that resolves the harmonics of a voice, and a short one (25 ms) that follows its changes. The sound counts as
zero before its first sample and after its last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
from scipy import fft

from ktnet_lite.extract.clip import Absent, Clip, Track
from ktnet_lite.extract.media import RATE
from ktnet_lite.names import Modality

STEPS = 100  # per second
HOP = RATE // STEPS  # samples per step
LONG, SHORT = 768, 400  # samples per window: 48 ms, three periods of the lowest pitch; 25 ms
LOWEST, HIGHEST = 65.0, 500.0  # Hz, the range of the pitch
SILENCE = -70.0  # dB re full scale; a clip without a louder sample is silent
LIMIT = 8.0  # full scale is 1; a sample beyond this, or one that is not finite, is damaged
FLOOR = -100.0  # dB re full scale; so much white noise is added to each spectrum, so that no logarithm is infinite

# The settings of Boersma (1993), which are Praat's.
VOICED = 0.45  # a step is voiced if its autocorrelation at the period is higher than this
QUIET = 0.03  # and if its amplitude, relative to the clip's loudest step, is not far below this
OCTAVE = 0.01  # the preference for the higher of two equal candidates, per octave
JUMP = 0.35  # cost of a change of pitch, per octave
SWITCH = 0.14  # cost of a change between voiced and unvoiced
CANDIDATES = 4  # pitches that are kept for each step

CHUNK = 256  # steps that are computed at once
BEFORE, AFTER = (LONG - HOP) // 2 + HOP, (LONG - HOP) // 2  # samples around a chunk; the flux needs a step before it
SIZE = 1024  # of the Fourier transform: a long window and the longest period fit without overlap
HERTZ = fft.rfftfreq(SIZE, 1 / RATE).astype(np.float32)  # (F,)
LAGS = np.arange(int(RATE / HIGHEST), int(RATE / LOWEST) + 2)  # samples, the periods of the pitch
NOISE = np.float32(10 ** (FLOOR / 10) / len(HERTZ))
TINY = 1e-20

FEATURES = (
    "F0 [semitones re 55 Hz]", "voicing [0 or 1]", "HNR [dB]", "H1-H2 [dB]", "energy [dB]", "centroid [Hz]",
    "rolloff 85 % [Hz]", "flatness [dB]", "flux [0..1]", "alpha ratio [dB]", "Hammarberg index [dB]",
    "slope 0-500 Hz [dB/kHz]", "slope 500-1500 Hz [dB/kHz]", *(f"MFCC {n} [dB]" for n in range(1, 14)),
)  # fmt: skip


def window(length: int) -> np.ndarray:
    """Hann window, float32, shape (length,); its mean square is 1, so that it keeps the energy of a frame."""
    hann = np.hanning(length + 2)[1:-1]
    return (hann / np.sqrt(np.mean(hann**2))).astype(np.float32)


def windowed(frames: np.ndarray) -> np.ndarray:
    """Subtract the mean of each frame, and multiply by the window, (N, W) -> (N, W)."""
    return (frames - frames.mean(1, keepdims=True)) * window(frames.shape[1])


def square(frames: np.ndarray) -> np.ndarray:
    """Squared magnitude of the Fourier transform, (N, W) -> (N, F)."""
    spectrum = np.asarray(fft.rfft(frames, SIZE))
    return np.square(spectrum.real) + np.square(spectrum.imag)


def power(frames: np.ndarray) -> np.ndarray:
    """Power spectrum of frames, and a little noise, (N, W) -> (N, F); its sum is the mean square of a frame."""
    return square(windowed(frames)) * np.float32(2 / SIZE / frames.shape[1]) + NOISE  # 2: the negative frequencies


def decibel(ratio: np.ndarray) -> np.ndarray:
    """Ratio of powers in dB."""
    return 10 * np.log10(ratio)


def autocorrelation(frames: np.ndarray) -> np.ndarray:
    """Correlate each frame with itself, shifted by each lag; at the period of a voice this comes near to 1.

    A window hides the edges of a frame, but it also lowers the autocorrelation at long lags. This is undone: the
    autocorrelation of the windowed frame is divided by that of the window (P. Boersma, "Accurate short-term analysis of
    the fundamental frequency and the harmonics-to-noise ratio of a sampled sound", Proc. Institute of Phonetic Sciences
    17, 1993, eq. 9).

    Returns a float32 array (N, L), at lags of 0, 1, 2, ... samples, to one more than the last of LAGS: 1 at lag 0, but
    0 in a frame of zeros.

    Parameters
    ----------
    frames : float32 array, shape (N, LONG)
    """
    rows = np.vstack([windowed(frames), window(frames.shape[1])])
    lags = np.asarray(fft.irfft(square(rows), SIZE))[
        :, : LAGS[-1] + 2
    ]  # the transform of the power spectrum (Wiener-Khinchin)
    lags = lags / np.maximum(lags[:, :1], TINY)
    return lags[:-1] / lags[-1]


class Candidates(NamedTuple):
    """Possible pitches of N steps, in no order. A step with fewer peaks has some of strength 0."""

    f0: np.ndarray  # (N, CANDIDATES), Hz
    strength: np.ndarray  # (N, CANDIDATES), the autocorrelation at the period, 0 to 1


def find_candidates(correlation: np.ndarray) -> Candidates:
    """Find the best peaks of autocorrelations (N, L), each refined by a parabola through three points."""
    inner = correlation[:, LAGS]
    peak = (inner > correlation[:, LAGS - 1]) & (inner >= correlation[:, LAGS + 1])
    rank = np.where(peak, inner - OCTAVE * np.log2(LAGS / LAGS[0]), 0)
    place = np.argpartition(-rank, CANDIDATES, axis=1)[:, :CANDIDATES]
    real = np.take_along_axis(rank, place, 1) > 0
    left, top, right = (np.take_along_axis(correlation, LAGS[place] + i, 1) for i in (-1, 0, 1))
    bend = np.where(real, left - 2 * top + right, -1)  # negative at a peak
    shift = (left - right) / (2 * bend)  # of the peak, -0.5 to 0.5 samples
    strength = top - (left - right) * shift / 4
    strength = np.minimum(strength, 1 / np.maximum(strength, TINY))  # mirrored, as in Praat
    return Candidates(np.where(real, RATE / (LAGS[place] + shift), LOWEST), np.where(real, strength, 0))


def pitch(candidates: Candidates, energy: np.ndarray) -> np.ndarray:
    """Choose one candidate or "unvoiced" for each step so that the path as a whole is best (Viterbi; Boersma 1993).

    A path gains the strength of its candidates. It pays for jumps of the pitch, and for switches between voiced and
    unvoiced.

    Returns an int array (T,): the place of the candidate, -1 where unvoiced.

    Parameters
    ----------
    candidates : Candidates
        Of T steps, at least one.
    energy : array, shape (T,)
        In dB; a step far below the loudest is unvoiced.
    """
    octaves = np.log2(candidates.f0 / LOWEST)
    amplitude = 10 ** ((energy - energy.max()) / 20)
    unvoiced = VOICED + np.maximum(0, 2 - amplitude * (1 + VOICED) / QUIET)  # (T,)
    gain = np.column_stack([unvoiced, candidates.strength + OCTAVE * octaves])  # (T, 1 + CANDIDATES)
    cost = np.full((gain.shape[1], gain.shape[1]), SWITCH)  # (from, to)
    cost[0, 0] = 0
    back = np.zeros(gain.shape, np.int8)
    places = np.arange(gain.shape[1])
    total = gain[0]
    for t in range(1, len(gain)):
        cost[1:, 1:] = JUMP * np.abs(octaves[t - 1, :, None] - octaves[t])
        paths = total[:, None] - cost
        back[t] = paths.argmax(0)
        total = paths[back[t], places] + gain[t]
    path = np.full(len(gain), total.argmax())
    for t in range(len(gain) - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path - 1


def harmonicity(candidates: Candidates) -> np.ndarray:
    """Harmonics-to-noise ratio in dB, (N,), -20 to 40: r / (1 - r) for the strongest candidate (Boersma 1993, eq. 4).

    A long window holds only a few periods of a low voice: at 80 Hz, even a perfect one has no more than about 20 dB.
    """
    r = candidates.strength.max(1).clip(0.01, 0.9999)
    return decibel(r / (1 - r))


def breathiness(spectrum: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """H1-H2 in dB: the level of the first harmonic minus that of the second, read from (N, F) at the pitches (N, K).

    It is high in a breathy voice and low in a pressed one (H. M. Hanson, "Glottal characteristics of female speakers",
    J. Acoust. Soc. Am. 101, 1997). As in eGeMAPS, the influence of the formants is not removed.
    """
    level = decibel(spectrum[:, : int(2 * HIGHEST * SIZE / RATE) + 4])  # no more bins than the second harmonic needs

    def at(hertz: np.ndarray) -> np.ndarray:
        place = np.rint(hertz * (SIZE / RATE)).astype(int)
        left, middle, right = (np.take_along_axis(level, place + i, 1) for i in (-1, 0, 1))
        shift = hertz * (SIZE / RATE) - place
        return middle + shift * (right - left) / 2 + shift**2 * (left - 2 * middle + right) / 2  # a parabola

    return at(f0) - at(2 * f0)


def shape(spectrum: np.ndarray) -> np.ndarray:
    """Centroid to slopes of power spectra, (N, F) -> (N, 8), as FEATURES lists them; the first spectrum has flux 0.

    The flux is the part of the energy, 0 to 1, that has changed its frequency since the spectrum before. The last four
    follow eGeMAPS (F. Eyben et al., "The Geneva minimalistic acoustic parameter set (GeMAPS) for voice research and
    affective computing", IEEE Trans. Affective Computing 7, 2016).
    """
    level = decibel(spectrum)
    share = spectrum / spectrum.sum(1, keepdims=True)
    rolloff = (np.cumsum(share, axis=1) < 0.85).sum(1)

    def band(low: float, high: float) -> slice:
        return slice(*np.searchsorted(HERTZ, (low, high)))

    def slope(low: float, high: float) -> np.ndarray:
        kilohertz = HERTZ[band(low, high)] / 1000
        kilohertz = kilohertz - kilohertz.mean()
        return level[:, band(low, high)] @ kilohertz / (kilohertz @ kilohertz)

    return np.column_stack(
        [
            share @ HERTZ,
            HERTZ[rolloff],
            level.mean(1) - decibel(spectrum.mean(1)),
            np.abs(np.diff(share, axis=0, prepend=share[:1])).sum(1) / 2,
            decibel(spectrum[:, band(50, 1000)].sum(1) / spectrum[:, band(1000, 5000)].sum(1)),
            level[:, band(0, 2000)].max(1) - level[:, band(2000, 5000)].max(1),
            slope(0, 500),
            slope(500, 1500),
        ]
    )


def mel_filters(filters: int = 26) -> np.ndarray:
    """Triangles (filters, F) at equal distances on the mel scale, 2595 log10(1 + f / 700 Hz), up to RATE / 2."""
    edges = 700 * (np.geomspace(1, 1 + RATE / 2 / 700, filters + 2) - 1)
    left, centre, right = (edges[i : filters + i, None] for i in range(3))
    return np.minimum((HERTZ - left) / (centre - left), (right - HERTZ) / (right - centre)).clip(0)


MEL = mel_filters().T.astype(np.float32)  # (F, 26)


def cepstrum(spectrum: np.ndarray) -> np.ndarray:
    """Mel-frequency cepstral coefficients 1 to 13 of power spectra, (N, F) -> (N, 13); number 0 would be the energy.

    S. Davis and P. Mermelstein, "Comparison of parametric representations for monosyllabic word recognition in
    continuously spoken sentences", IEEE Trans. Acoustics, Speech, and Signal Processing 28, 1980.
    """
    return np.asarray(fft.dct(decibel(spectrum @ MEL), norm="ortho"))[:, 1:14]


def chunks(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Cut sound into pieces of CHUNK steps (the last is shorter), with BEFORE and AFTER samples around each."""
    sound = np.zeros(BEFORE, np.float32)
    for block in chain(blocks, [np.zeros(AFTER, np.float32)]):
        sound = np.concatenate([sound, block])
        while len(sound) >= BEFORE + CHUNK * HOP + AFTER:
            yield sound[: BEFORE + CHUNK * HOP + AFTER]
            sound = sound[CHUNK * HOP :]
    if steps := (len(sound) - BEFORE - AFTER) // HOP:
        yield sound[: BEFORE + steps * HOP + AFTER]


def describe(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Compute the descriptors of a sound that comes in blocks; its division into blocks makes no difference.

    F0 and H1-H2 are measured in voiced steps, which ``voicing`` marks. Between them they are interpolated; before the
    first and after the last they are constant. If no step is voiced, F0 is 180 Hz, the middle of its range, and H1-H2
    is 0.

    Returns a float32 array (T, 26). The columns are FEATURES; T is the number of samples // HOP.

    Parameters
    ----------
    blocks : iterable of float32 arrays, each (samples,)
        Mono at RATE, finite, with full scale 1. Memory grows only with the steps, by about 400 bytes each.
    """
    parts = [_measure(chunk) for chunk in chunks(blocks)]
    if not parts:
        return np.zeros((0, len(FEATURES)), np.float32)
    f0, strength, breath, noise, others = map(np.concatenate, zip(*parts, strict=True))
    del parts
    choice = pitch(Candidates(f0, strength), others[:, 0])
    steps, voiced = np.arange(len(choice)), choice >= 0

    def fill(values: np.ndarray, otherwise: float) -> np.ndarray:
        if not voiced.any():
            return np.full(len(steps), otherwise, np.float32)
        return np.interp(steps, steps[voiced], values[steps, choice][voiced]).astype(np.float32)

    semitones = fill(12 * np.log2(f0 / 55), 12 * np.log2(np.sqrt(LOWEST * HIGHEST) / 55))  # type: ignore[operator]
    return np.column_stack([semitones, voiced, noise, fill(breath, 0), others]).astype(np.float32, copy=False)


def _measure(chunk: np.ndarray) -> tuple[np.ndarray, ...]:
    """Measure N steps: F0, strength and H1-H2 of the candidates, HNR, and from energy on what needs no pitch."""
    frames = np.lib.stride_tricks.sliding_window_view(chunk, LONG)[::HOP]  # (N + 1, LONG), the first for the flux
    candidates = find_candidates(autocorrelation(frames[1:]))
    breath = breathiness(power(frames[1:]), candidates.f0)
    short = power(frames[:, (LONG - SHORT) // 2 : (LONG + SHORT) // 2])  # (N + 1, F)
    others = np.column_stack([decibel(short.sum(1)), shape(short), cepstrum(short)])[1:]
    return tuple(part.astype(np.float32) for part in (*candidates, breath, harmonicity(candidates), others))


class Monitor:
    """Watches the sound of a clip on its way to an extractor, and sets damaged samples to 0."""

    def __init__(self):
        self.samples, self.damaged, self.peak = 0, 0, 0.0

    def watch(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Pass the blocks on."""
        for block in blocks:
            sound = np.abs(block) <= LIMIT  # not where NaN
            block = np.where(sound, block, np.float32(0))
            self.samples += len(block)
            self.damaged += len(block) - int(sound.sum())
            self.peak = max(self.peak, float(np.abs(block).max(initial=0)))
            yield block

    def absent(self, least: int = HOP) -> Absent | None:
        """Return why this sound has no voice, or None; ``least`` is the number of samples of the shortest voice."""
        if self.samples < least:
            return Absent(f"the sound is too short: {self.samples} samples; at least {least} are needed")
        if self.peak < 10 ** (SILENCE / 20):
            return Absent(f"the sound is silent: no sample is above {SILENCE:g} dB of full scale")
        return None

    def notes(self) -> tuple[str, ...]:
        """Return what a user should know about the sound."""
        return (f"{self.damaged} damaged samples count as 0",) if self.damaged else ()


class Voice:
    """Extractor of the voice: :func:`describe` for a clip.

    A clip has no voice if it has no sound track, is shorter than a step, or has no sample above SILENCE.
    """

    modality: Modality = "audio"
    features: tuple[str, ...] = FEATURES

    def __init__(self):
        self.recipe = {"name": "voice", "version": 1}

    def __call__(self, clip: Clip) -> Track | Absent:
        """Describe the sound of a clip. Raises :class:`~ktnet_lite.errors.DataError` if the clip is damaged."""
        if not clip.media.has_sound:
            return Absent("no sound track")
        monitor = Monitor()
        values = describe(monitor.watch(clip.sound()))
        times = np.arange(len(values))[:, None] / STEPS + np.array([0, 1 / STEPS])  # (T, 2)
        return monitor.absent() or Track(values, times, notes=monitor.notes())
