"""Pictures of the chapter on missing audio: runs, resamples, pairs, power; each from plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.measures.statistics import Interval, mean_interval
from ktnet_lite.reporting.plots import COLOURS, GREY, figure, legend

SHADES = ("missing", "reconstructed", "vision", "language", "audio")  # of the lines of one panel, in order


def published(percent: Mapping[str, Mapping[str, float]], error: Mapping[str, Mapping[str, float]]) -> Figure:
    """Accuracies of a published table, in percent, one panel a table part, each with one standard error either way.

    Parameters
    ----------
    percent, error : dict of dict of float
        Panel -> system -> accuracy, and its standard error, in points.
    """
    drawn, axes = figure(len(percent), height=2.6)
    for panel, (name, rows) in zip(axes, percent.items(), strict=True):
        for y, (system, value) in enumerate(rows.items()):
            _bar(panel, y, value - error[name][system], value + error[name][system], value, _colour(system))
        panel.set(xlabel="Acc2 in %", title=name, ylim=(len(rows) - 0.5, -0.5))
        panel.set_yticks(range(len(rows)), list(rows) if panel is axes[0] else [])
    return drawn


def runs(values: Mapping[str, Sequence[float]], metric: str, marks: Mapping[str, float] | None = None) -> Figure:
    """One metric of several systems: a ring for each seed, a point for their mean, a line for its 95% interval.

    ``marks`` are dotted lines, such as the best possible score or that of one constant prediction.
    """
    drawn, (axes,) = figure(1, height=1.1 + 0.36 * len(values))
    for label, place in (marks or {}).items():
        axes.axvline(place, color=GREY, linestyle=":")
        above = {"xycoords": axes.get_xaxis_transform(), "xytext": (0, 4), "textcoords": "offset points"}
        axes.annotate(label, (place, 1), **above, ha="center", fontsize=9, color=GREY)
    for y, (system, seeds) in enumerate(values.items()):
        interval = mean_interval(seeds)
        _bar(axes, y, interval.low, interval.high, interval.mean, _colour(system))
        axes.plot(seeds, np.full(len(seeds), y), "o", color=_colour(system), markerfacecolor="none", alpha=0.8)
    axes.set_yticks(range(len(values)), list(values))
    axes.set(xlabel=f"{METRICS[metric].label} ({METRICS[metric].direction})", ylim=(len(values) - 0.5, -0.5))
    return drawn


def resamples(means: np.ndarray, interval: tuple[float, float], xlabel: str = "mean of a resample") -> Figure:
    """How often each mean came up among bootstrap resamples; what lies in the interval is filled."""
    drawn, (axes,) = figure(1, height=2.6)
    low, high = interval
    centres, counts = np.unique(np.round(means, 9), return_counts=True)
    if len(centres) > 50:  # not a few values that come up again and again
        counts, edges = np.histogram(means, bins=30)
        centres = (edges[1:] + edges[:-1]) / 2
    inside = (centres >= low - 1e-9) & (centres <= high + 1e-9)
    colours = np.where(inside, COLOURS["language"], COLOURS["missing"])
    axes.bar(centres, counts / counts.sum(), width=0.9 * np.diff(centres).min(), color=colours)
    for edge in interval:
        axes.axvline(edge, color=GREY, linestyle=":")
    axes.set(xlabel=xlabel, ylabel="share of resamples")
    return drawn


def pairing(ours: np.ndarray, theirs: np.ndarray, labels: tuple[str, str], found: Mapping[str, Interval]) -> Figure:
    """Errors of two systems on the same clips against each other; and intervals of their mean difference.

    Parameters
    ----------
    ours, theirs : arrays of shape (N,)
        Error of each clip.
    labels : names of the two
    found : dict of Interval
        Ways to compute the interval of the difference.
    """
    drawn, (left, right) = figure(2, height=3.2)
    top = float(max(ours.max(), theirs.max()))
    left.plot([0, top], [0, top], color=GREY, linestyle=":")
    left.scatter(theirs, ours, s=8, alpha=0.4, color=COLOURS["reconstructed"], linewidths=0)
    left.set(xlabel=f"error of {labels[1]}", ylabel=f"error of {labels[0]}", aspect="equal")
    right.axvline(0, color=GREY, linestyle=":")
    for y, interval in enumerate(found.values()):
        _bar(right, y, interval.low, interval.high, interval.mean, COLOURS["reconstructed"])
    right.set_yticks(range(len(found)), list(found))
    right.set(xlabel=f"MAE of {labels[0]} minus {labels[1]}", ylim=(len(found) - 0.5, -0.5))
    return drawn


def power(differences: Sequence[float], curves: Mapping[str, Sequence[float]], marked: float | None = None) -> Figure:
    """How often an experiment of some size would see each true difference; ``marked`` is one to look at."""
    drawn, (axes,) = figure(1, height=3.2)
    for (name, shares), shade in zip(curves.items(), SHADES, strict=False):
        axes.plot(differences, shares, label=name, color=COLOURS[shade])
    axes.axhline(0.8, color=GREY, linestyle=":")
    if marked is not None:
        axes.axvline(marked, color=GREY, linestyle=":")
    axes.set(xlabel="true difference, in points of Acc2", ylabel="share of experiments that see it", ylim=(0, 1.02))
    legend(axes)
    return drawn


def _bar(axes: Axes, y: float, low: float | None, high: float | None, mean: float, colour: str) -> None:
    """An interval as a thick line, its mean as a point; no line where there is no interval."""
    if low is not None:
        axes.plot([low, high], [y, y], color=colour, linewidth=3, alpha=0.5)
    axes.plot(mean, y, "o", color=colour)


def _colour(system: str) -> str:
    """Pink for what reconstructs, grey for what goes without its audio, the modality's own for one alone."""
    if ", audio" in system:
        return COLOURS["missing"]
    if system.startswith("ours"):
        return COLOURS["reconstructed"]
    return COLOURS.get(system, COLOURS["language"] if system != "full" else COLOURS["audio"])
