"""Figures of chapter 11, from a video: frames over their sound, the pitch of a frame, an open mouth, muted clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ktnet_lite.extract.media import RATE
from ktnet_lite.reporting.plots import COLOURS, GREY, figure, legend


def strip(
    frames: Sequence[tuple[float, np.ndarray]], sound: np.ndarray, words: Sequence[str], times: np.ndarray
) -> Figure:
    """Draw frames (time, image) over their sound (samples,), in which words with their times (N, 2) are marked."""
    drawn, (above, below) = figure(1, height=2.8, rows=2)
    seconds = len(sound) / RATE
    for k, (time, image) in enumerate(frames):
        left, right = k * seconds / len(frames), (k + 0.97) * seconds / len(frames)
        above.imshow(image, extent=(left, right, 0, 1), aspect="auto")
        above.text((left + right) / 2, -0.05, f"{time:.2f} s", ha="center", va="top", fontsize=8, color=GREY)
    above.set(xlim=(0, seconds), ylim=(0, 1))
    above.set_axis_off()
    below.plot(np.arange(len(sound)) / RATE, sound, color=COLOURS["audio"], linewidth=0.4)
    for word, (start, end) in zip(words, times, strict=True):
        below.axvspan(start, end, color=COLOURS["language"], alpha=0.12, linewidth=0)
        below.text((start + end) / 2, 0.72, word, ha="center", color=COLOURS["language"], fontsize=9)
    below.set(xlim=(0, seconds), ylim=(-0.9, 0.9), xlabel="seconds", ylabel="sound pressure")
    return drawn


def pitch(
    correlation: np.ndarray,
    lags: tuple[int, int],
    period: float,
    times: np.ndarray,
    hertz: np.ndarray,
    known: np.ndarray,
) -> Figure:
    """Draw the autocorrelation of a frame with its period (left), and the pitch over time (right).

    Parameters
    ----------
    correlation : array, shape (L,)
        At lags of 0, 1, ... samples.
    lags : (int, int)
        Between which the period was looked for.
    period : float
        In samples.
    times, hertz, known : arrays, shape (T,)
        Measured and known pitch; NaN where there is none.
    """
    drawn, (left, right) = figure(2, height=2.8)
    left.plot(correlation, color=COLOURS["audio"])
    left.axvspan(*lags, color=GREY, alpha=0.1, linewidth=0)
    left.plot(period, correlation[round(period)], "o", color=COLOURS["valid"])
    left.annotate(
        f"{period:.1f} samples", (period, correlation[round(period)]), xytext=(6, 0), textcoords="offset points",
        va="center", fontsize=8, color=COLOURS["valid"],
    )  # fmt: skip
    left.set(xlabel="shift [samples]", ylabel="autocorrelation", ylim=(None, 1.08))
    right.plot(times, known, color=GREY, linewidth=4, alpha=0.4, label="as synthesised")
    right.plot(times, hertz, color=COLOURS["audio"], label="measured")
    right.set(xlabel="seconds", ylabel="pitch [Hz]", ylim=(0, 1.25 * np.nanmax(known)))
    legend(right, loc="lower right")
    return drawn


def openings(drawn_at: tuple[np.ndarray, np.ndarray], measured: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draw how far the mouth was opened, and what extractors say of it; each (times, values), both (T,)."""
    drawn, (axes,) = figure(1, height=2.6)
    axes.plot(*drawn_at, color=GREY, linewidth=4, alpha=0.4, label="as drawn")
    for (name, (times, values)), style in zip(measured.items(), ("o-", "s:"), strict=False):
        axes.plot(times, values, style, color=COLOURS["vision"], markersize=4, label=name)
    axes.set(xlabel="seconds", ylabel="0 closed, 1 open", ylim=(-0.03, 1.15))
    legend(axes, loc="upper right", ncols=3)
    return drawn


def answers(targets: np.ndarray, scores: Mapping[str, np.ndarray], median: float) -> Figure:
    """Draw scores (N,) against the mood (N,): first with the voice, then without it, joined by a line for each clip."""
    drawn, (axes,) = figure(1, height=3.4)
    axes.plot([-3, 3], [-3, 3], color=GREY, linestyle=":")
    _constant(axes, median)
    first, second = scores.values()
    axes.vlines(targets, first, second, color=GREY, linewidth=0.8)
    for (name, values), colour, fill in zip(scores.items(), ("audio", "missing"), ("full", "none"), strict=True):
        axes.plot(targets, values, "o", color=COLOURS[colour], fillstyle=fill, label=name)
    axes.set(xlabel="mood of the clip", ylabel="score", xlim=(-3.2, 3.2), ylim=(-3.2, 3.2))
    legend(axes, loc="upper left")
    return drawn


def _constant(axes: Axes, value: float) -> None:
    axes.axhline(value, color=GREY, linewidth=0.8, linestyle="--")
    axes.annotate(
        "training median", (1, value), xycoords=axes.get_yaxis_transform(), xytext=(-2, 3), textcoords="offset points",
        ha="right", fontsize=8, color=GREY,
    )  # fmt: skip
