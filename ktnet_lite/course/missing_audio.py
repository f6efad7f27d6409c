"""Figures of chapter 6, on missing audio: runs, bootstrap resamples, paired errors, power; all from plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.measures.statistics import Interval, mean_interval
from ktnet_lite.reporting.plots import COLOURS, GREY, colour_of_label, figure, interval_row, legend

SHADES = ("missing", "reconstructed", "vision", "language", "audio")  # colours of the lines in a panel, in order


def published(percent: Mapping[str, Mapping[str, float]], error: Mapping[str, Mapping[str, float]]) -> Figure:
    """Plot the accuracies of a published table in percent, one panel per part, each plus and minus a standard error.

    Parameters
    ----------
    percent, error : dict of dict of float
        Panel -> system -> accuracy in percent, and its standard error in points.
    """
    drawn, axes = figure(len(percent), height=2.6)
    for panel, (name, rows) in zip(axes, percent.items(), strict=True):
        for y, (system, value) in enumerate(rows.items()):
            width = error[name][system]
            interval_row(panel, y, Interval(value, value - width, value + width, 1), colour_of_label(system))
        panel.set(xlabel="Acc2 in %", title=name, ylim=(len(rows) - 0.5, -0.5))
        panel.set_yticks(range(len(rows)), list(rows) if panel is axes[0] else [])
    return drawn


def runs(values: Mapping[str, Sequence[float]], metric: str, marks: Mapping[str, float] | None = None) -> Figure:
    """Plot one metric of several systems: a ring per seed, a point for the mean, a line for its 95% interval.

    ``marks`` are dotted lines, such as the best possible score or the score of a constant prediction.
    """
    drawn, (axes,) = figure(1, height=1.1 + 0.36 * len(values))
    for label, place in (marks or {}).items():
        axes.axvline(place, color=GREY, linestyle=":")
        above = {"xycoords": axes.get_xaxis_transform(), "xytext": (0, 4), "textcoords": "offset points"}
        axes.annotate(label, (place, 1), **above, ha="center", fontsize=9, color=GREY)
    for y, (system, seeds) in enumerate(values.items()):
        interval = mean_interval(seeds)
        interval_row(axes, y, interval, colour_of_label(system))
        colour = COLOURS[colour_of_label(system)]
        axes.plot(seeds, np.full(len(seeds), y), "o", color=colour, markerfacecolor="none", alpha=0.8)
    axes.set_yticks(range(len(values)), list(values))
    axes.set(xlabel=f"{METRICS[metric].label} ({METRICS[metric].direction})", ylim=(len(values) - 0.5, -0.5))
    return drawn


def resamples(means: np.ndarray, interval: tuple[float, float], xlabel: str = "mean of a resample") -> Figure:
    """Plot how often each mean occurs among bootstrap resamples; bars inside the interval are coloured."""
    drawn, (axes,) = figure(1, height=2.6)
    low, high = interval
    centres, counts = np.unique(np.round(means, 9), return_counts=True)
    if len(centres) > 50:  # many different values: use bins
        counts, edges = np.histogram(means, bins=30)
        centres = (edges[1:] + edges[:-1]) / 2
    inside = (centres >= low - 1e-9) & (centres <= high + 1e-9)
    colours = np.where(inside, COLOURS["language"], COLOURS["missing"])
    axes.bar(centres, counts / counts.sum(), width=0.9 * np.diff(centres).min(), color=colours)
    for edge in interval:
        axes.axvline(edge, color=GREY, linestyle=":")
    axes.set(xlabel=xlabel, ylabel="share of resamples")
    return drawn


def pairing(ours: np.ndarray, other: np.ndarray, labels: tuple[str, str], intervals: Mapping[str, Interval]) -> Figure:
    """Plot the errors of two systems on the same clips against each other, and intervals of their mean difference.

    Parameters
    ----------
    ours, other : arrays of shape (N,)
        Error of each clip.
    labels : (str, str)
        Names of the two systems.
    intervals : dict of Interval
        Method -> interval of the difference by that method.
    """
    drawn, (left, right) = figure(2, height=3.2)
    top = float(max(ours.max(), other.max()))
    left.plot([0, top], [0, top], color=GREY, linestyle=":")
    left.scatter(other, ours, s=8, alpha=0.4, color=COLOURS["reconstructed"], linewidths=0)
    left.set(xlabel=f"error of {labels[1]}", ylabel=f"error of {labels[0]}", aspect="equal")
    right.axvline(0, color=GREY, linestyle=":")
    for y, interval in enumerate(intervals.values()):
        interval_row(right, y, interval, "reconstructed")
    right.set_yticks(range(len(intervals)), list(intervals))
    right.set(xlabel=f"MAE of {labels[0]} minus {labels[1]}", ylim=(len(intervals) - 0.5, -0.5))
    return drawn


def power(differences: Sequence[float], curves: Mapping[str, Sequence[float]], marked: float | None = None) -> Figure:
    """Plot how often experiments of several sizes detect each true difference; ``marked`` is a difference to mark."""
    drawn, (axes,) = figure(1, height=3.2)
    for (name, shares), shade in zip(curves.items(), SHADES, strict=False):
        axes.plot(differences, shares, label=name, color=COLOURS[shade])
    axes.axhline(0.8, color=GREY, linestyle=":")
    if marked is not None:
        axes.axvline(marked, color=GREY, linestyle=":")
    axes.set(xlabel="true difference, in points of Acc2", ylabel="share of experiments that see it", ylim=(0, 1.02))
    legend(axes)
    return drawn
