"""Figures of chapter 2: the scale of scores, positions, the effect of a mask, what each modality predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator, ScalarFormatter

from ktnet_lite.reporting.plots import COLOURS, GREY, figure, legend


def scale_of_scores(widths: Sequence[int], spread: Mapping[str, np.ndarray], top: Mapping[str, np.ndarray]) -> Figure:
    """Plot the standard deviation of the scores (left) and the largest attention weight (right) against the width d_k.

    ``spread`` and ``top`` map a name, such as ``"q·k"`` or ``"q·k / √d_k"``, to one number per width.
    """
    drawn, (left, right) = figure(2, height=2.8)
    colours = (COLOURS["valid"], COLOURS["language"])
    for axes, curves in ((left, spread), (right, top)):
        for colour, (name, values) in zip(colours, curves.items(), strict=False):
            axes.plot(widths, values, "o-", color=colour, label=name)
        axes.set_xscale("log", base=2)
        axes.set_xticks(widths)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
    left.set(xlabel="$d_k$", ylabel="std of a score", ylim=(0, None))
    right.set(xlabel="$d_k$", ylabel="largest weight", ylim=(0, 1.02))
    legend(left)
    return drawn


def positions(table: np.ndarray, steps: Sequence[int]) -> Figure:
    """Plot a table of positions (T, d) (left), and dot products of some positions with all others (right)."""
    drawn, (left, right) = figure(2, height=3.0)
    left.imshow(table.T, aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    left.set(xlabel="step", ylabel="feature")
    left.grid(False)
    colours = (COLOURS["language"], COLOURS["vision"], COLOURS["audio"])
    for step, colour, width in zip(steps, colours, (5, 3, 1.2), strict=False):
        distance = np.arange(len(table)) - step
        right.plot(distance, table @ table[step], color=colour, linewidth=width, label=f"from step {step}")
    right.set(xlabel="distance in steps", ylabel="dot product of positions")
    legend(right)
    return drawn


def weights(panels: Mapping[str, np.ndarray], valid: int) -> Figure:
    """Plot attention weights (T, S) with their values; dotted lines mark the end of the ``valid`` steps."""
    drawn, axes = figure(len(panels), height=2.9)
    for panel, (title, values) in zip(axes, panels.items(), strict=True):
        panel.imshow(values, cmap="viridis", vmin=0, vmax=1)
        for (row, column), value in np.ndenumerate(values):
            colour = "black" if value > 0.6 else "white"
            panel.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
        for line in (panel.axvline, panel.axhline):
            line(valid - 0.5, color=COLOURS["valid"], linestyle=":", linewidth=2)
        panel.set(xlabel="key step", title=title, xticks=range(values.shape[1]), yticks=range(values.shape[0]))
        panel.grid(False)
    axes[0].set_ylabel("query step")
    return drawn


def by_modality(
    groups: Mapping[str, Mapping[str, Sequence[float]]],
    best: Mapping[str, float],
    label: str,
    floor: tuple[str, float] | None = None,
) -> Figure:
    """Plot one point per seed for each modality, with marks for the best possible and a dotted line for a floor.

    Parameters
    ----------
    groups : dict
        ``{"trained": {"language": [0.9, 1.0, ...], ...}, ...}``; each group has its own marker and height.
    best : dict
        Modality -> value of the best possible predictor.
    label : str
        Label of the horizontal axis.
    floor : (str, float), optional
        Name and value of a constant prediction.
    """
    drawn, (axes,) = figure(1, height=1.2 + 0.65 * len(best))
    offsets = np.linspace(-0.25, 0.25, len(groups)) if len(groups) > 1 else [0.0]
    markers = dict(zip(groups, "sDo" if len(groups) > 1 else "o", strict=False))
    for y, modality in enumerate(best):
        for (name, values), offset in zip(groups.items(), offsets, strict=True):
            points = values[modality]
            style = {"color": COLOURS[modality], "alpha": 0.75, "markersize": 6, "linestyle": "none"}
            axes.plot(points, np.full(len(points), y + offset), markers[name], **style)
        axes.plot(best[modality], y, "|", color=GREY, markersize=28, markeredgewidth=2.5)
    handles = [Line2D([], [], color=GREY, marker=markers[name], linestyle="none", label=name) for name in groups]
    handles.append(
        Line2D(
            [], [], color=GREY, marker="|", markersize=12, markeredgewidth=2.5, linestyle="none", label="best possible"
        )
    )
    if floor is not None:
        handles.append(axes.axvline(floor[1], color=GREY, linestyle=":", label=floor[0]))
    axes.set_yticks(range(len(best)), list(best))
    axes.set(xlabel=label, ylim=(len(best) - 0.5, -0.5))
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": len(handles)}
    legend(axes, handles=handles, **place)
    return drawn
