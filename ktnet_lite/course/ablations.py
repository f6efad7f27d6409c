"""Figures of chapter 8, on ablations: a forest plot, ranks by single seeds, the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from scipy.stats import rankdata

from ktnet_lite.measures.statistics import Interval
from ktnet_lite.reporting.plots import COLOURS, GREY, figure, interval_row, legend

SHADES = ("missing", "reconstructed", "vision", "language", "audio", "valid")  # colours of the groups, in order


def forest(
    groups: Mapping[str, Mapping[str, Interval]],
    seeds: Mapping[str, Sequence[float]] | None = None,
    parameters: Mapping[str, int] | None = None,
    floor: float | None = None,
) -> Figure:
    """Plot differences in MAE from the base, a point and an interval per setting, sorted within each group.

    Parameters
    ----------
    groups : dict of dict of Interval
        Group -> setting -> difference; below 0 is better than the base. Each group has its own colour.
    seeds : dict of sequence of float, optional
        Setting -> difference for each seed, drawn as rings.
    parameters : dict of int, optional
        Setting -> number of parameters, shown in thousands to the right of the row.
    floor : float, optional
        Half the width of a grey band around 0.
    """
    rows = len(groups) + sum(map(len, groups.values()))
    drawn, (axes,) = figure(1, height=1.1 + 0.27 * rows)
    if floor is not None:
        axes.axvspan(-floor, floor, color=GREY, alpha=0.15, linewidth=0)
    axes.axvline(0, color=GREY, linestyle=":")
    text = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 9}
    places: dict[str, int] = {}
    y = 0
    for (group, members), shade in zip(groups.items(), SHADES, strict=False):
        colour = COLOURS[shade]
        axes.text(0.01, y, group, color=colour, **text)
        for name, interval in sorted(members.items(), key=lambda item: item[1].mean):
            y += 1
            places[name] = y
            if interval.low is not None:
                axes.plot([interval.low, interval.high], [y, y], color=colour, linewidth=3, alpha=0.5)
            if seeds is not None:
                rings = {"color": colour, "markerfacecolor": "none", "markersize": 4}
                axes.plot(seeds[name], np.full(len(seeds[name]), y), "o", **rings)
            axes.plot(interval.mean, y, "o", color=colour)
        y += 1
    if parameters is not None:
        axes.text(1.02, 0, "parameters", color=GREY, **text)
        for name, place in places.items():
            axes.text(1.02, place, f"{parameters[name] / 1000:.0f} k", color=GREY, **text)
    axes.set_yticks(list(places.values()), list(places))
    axes.set(xlabel="MAE minus that of the base (left of 0 is better)", ylim=(y - 0.3, -0.7))
    return drawn


def ranks(values: Mapping[str, Sequence[float]], marked: Mapping[str, str]) -> Figure:
    """Plot the rank of each setting by every single seed and by their mean; the lowest value has rank 1.

    Parameters
    ----------
    values : dict of sequence of float
        Setting -> one number per seed.
    marked : dict of str
        Setting -> colour name of its line; all other lines are grey.
    """
    table = np.array(list(values.values()))  # (settings, seeds)
    table = np.column_stack([table, table.mean(axis=1)])
    placed = rankdata(table, axis=0, method="ordinal")
    drawn, (axes,) = figure(1, height=0.9 + 0.27 * len(values))
    for name, line in zip(values, placed, strict=True):
        colour = COLOURS[marked[name]] if name in marked else GREY
        look = {"alpha": 1.0, "linewidth": 2.5} if name in marked else {"alpha": 0.35, "linewidth": 1.2}
        axes.plot(range(len(line)), line, "o-", color=colour, label=name, **look)
        axes.text(len(line) - 0.93, line[-1], name, va="center", color=colour, fontsize=9)
    seeds = [f"by seed {i} alone" for i in range(table.shape[1] - 1)]
    axes.set_xticks(range(table.shape[1]), [*seeds, "by their mean"])
    axes.set_yticks(range(1, len(values) + 1))
    axes.set(ylabel="place", xlim=(-0.15, table.shape[1] - 0.2), ylim=(len(values) + 0.5, 0.5))
    return drawn


def beside(published: Mapping[str, float], ours: Mapping[str, Interval]) -> Figure:
    """Plot published differences in MAE, which have no intervals, beside ours with intervals."""
    drawn, (left, right) = figure(2, height=1.3 + 0.36 * len(published))
    for y, (name, value) in enumerate(published.items()):
        left.plot(value, y, "D", color=GREY)
        interval_row(right, y, ours[name], "reconstructed")
    for axes, title in ((left, "the paper, MOSEI: one number each"), (right, "ours, made clips: 95% intervals")):
        axes.axvline(0, color=GREY, linestyle=":")
        axes.set(title=title, xlabel="MAE minus that of the base", ylim=(len(published) - 0.5, -0.5))
    widest = 1.15 * max(abs(value) for value in published.values())
    left.set(xlim=(-widest, widest))
    left.xaxis.set_major_locator(MaxNLocator(4))
    left.set_yticks(range(len(published)), list(published))
    right.set_yticks(range(len(published)), [])
    return drawn


def seeds_needed(differences: Sequence[float], curves: Mapping[str, Sequence[float]], had: int) -> Figure:
    """Plot the seeds needed to detect a difference against its size, one line per spread; dotted: our seeds."""
    drawn, (axes,) = figure(1, height=3.0)
    for (name, counts), shade in zip(curves.items(), ("language", "vision", "reconstructed"), strict=False):
        axes.plot(differences, counts, color=COLOURS[shade], label=name)
    axes.axhline(had, color=GREY, linestyle=":")
    axes.set(xlabel="true difference in MAE", ylabel="seeds needed", xscale="log", yscale="log")
    axes.set_ylim(bottom=1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ScalarFormatter())
    legend(axes)
    return drawn
