"""Figures of the results page: the central comparison, the curves of its runs over epochs, and the claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.measures.statistics import Interval, mean_interval
from ktnet_lite.reporting import verdicts
from ktnet_lite.reporting.letters import literal
from ktnet_lite.reporting.plots import COLOURS, GREY, figure, interval_row

STYLES = {  # as in chapter 7
    "full": (COLOURS["audio"], "-"),
    "ours": (COLOURS["reconstructed"], "-"),
    "language_vision": (COLOURS["language"], "--"),
}
VERDICTS = {verdicts.FOR: "audio", verdicts.AGAINST: "valid", verdicts.NEITHER: "missing"}  # -> key of COLOURS
WIDEST = 4  # panels side by side


class Mark(NamedTuple):
    """One line of the claims' figure."""

    gain: Interval  # how much better the first row is
    verdict: str
    margin: float | None = None  # how far behind still counts as close, for a claim to be close


def _side_by_side(settings: Sequence[str], height: float) -> tuple[Figure, list[Axes]]:
    """Make a panel for each setting, with its name, in as many rows as needed; ``height`` is that of a row."""
    rows = -(-len(settings) // WIDEST)
    drawn, axes = figure(-(-len(settings) // rows), height * rows, rows)
    for spare in axes[len(settings) :]:
        spare.remove()
    for panel, setting in zip(axes, settings, strict=False):
        panel.set_title(literal(setting), fontsize=10)
    return drawn, list(axes[: len(settings)])


def panels(
    rows: Mapping[str, Mapping[str, Interval]], metric: str, floors: Mapping[str, float], colours: Mapping[str, str]
) -> Figure:
    """Draw one metric of the same systems in several settings, side by side, each panel on its own scale.

    Parameters
    ----------
    rows : dict
        Setting -> system -> mean over seeds and interval.
    floors : dict of float
        Setting -> the metric of a constant prediction, drawn as a dotted line.
    colours : dict of str
        System -> key of :data:`ktnet_lite.reporting.plots.COLOURS`. The systems are drawn in this order.
    """
    systems = [name for name in colours if any(name in intervals for intervals in rows.values())]
    drawn, axes = _side_by_side(list(rows), 1.2 + 0.32 * len(systems))
    first = [panel.get_subplotspec().is_first_col() for panel in axes]
    for panel, labelled, (setting, intervals) in zip(axes, first, rows.items(), strict=True):
        panel.axvline(floors[setting], color=GREY, linestyle=":")
        for y, system in enumerate(systems):
            if system in intervals:
                interval_row(panel, y, intervals[system], colours[system])
        panel.set(xlabel=METRICS[metric].label, ylim=(len(systems) - 0.5, -0.5))
        panel.set_yticks(range(len(systems)), systems if labelled else [""] * len(systems))
    return drawn


def forest(claims: Mapping[str, Mapping[str, Mapping[str, Mark]]]) -> Figure:
    """Draw the claims: a heading for each, below it a line for each setting, with a point and its 95% interval.

    Every metric has its own panel and scale. To the right of zero the claim's first system is better. A claim to be
    close has a bar at the margin that still counts as close.

    Parameters
    ----------
    claims : dict
        Claim -> setting -> name of the metric -> what was measured.
    """
    metrics = list(dict.fromkeys(name for lines in claims.values() for marks in lines.values() for name in marks))
    ticks, y = {}, 0
    drawn, axes = figure(len(metrics), height=0.9 + 0.19 * sum(len(lines) + 1.5 for lines in claims.values()))
    for panel, metric in zip(axes, metrics, strict=True):
        panel.axvline(0, color=GREY, linewidth=1)
        panel.set_xlabel(f"gain in {metric}")
        panel.grid(visible=False, axis="y")
    for claim, lines in claims.items():
        place = {"xycoords": ("axes fraction", "data"), "va": "center", "annotation_clip": False}
        heading = axes[0].annotate(literal(claim), (0, y), **place, fontsize=9, fontweight="bold", color=GREY)
        heading.set_in_layout(False)  # it may reach into the next panel
        for setting, marks in lines.items():
            y += 1
            ticks[y] = literal(setting)
            for metric, mark in marks.items():
                panel = axes[metrics.index(metric)]
                colour = next(colour for group, colour in VERDICTS.items() if mark.verdict in group)
                interval_row(panel, y, mark.gain, colour)
                if mark.margin is not None:
                    panel.plot(-mark.margin, y, "|", color=GREY, markersize=9)
        y += 1.5
    for panel in axes:
        panel.set_yticks(list(ticks), ticks.values() if panel is axes[0] else [""] * len(ticks), fontsize=8)
        panel.set_ylim(y - 0.5, -1)
    handles = {", ".join(group): Line2D([], [], color=COLOURS[key], marker="o") for group, key in VERDICTS.items()}
    options = {"fontsize": 9, "labelcolor": GREY, "frameon": False}
    drawn.legend(handles.values(), handles, loc="outside upper center", ncols=3, **options)
    return drawn


def epochs(runs: Mapping[str, Mapping[str, Sequence[Sequence[float]]]], label: str) -> Figure:
    """Draw a number by epoch for several systems in several settings: its mean over seeds, with a 95% interval.

    Parameters
    ----------
    runs : dict
        Setting -> system, one of ``STYLES`` -> a curve for each seed. The mean ends with the shortest curve.
    """
    drawn, axes = _side_by_side(list(runs), 3.2)
    for panel, systems in zip(axes, runs.values(), strict=True):
        for name, curves in systems.items():
            means = [mean_interval(values) for values in zip(*curves, strict=False)]
            steps = np.arange(1, len(means) + 1)
            colour, line = STYLES[name]
            panel.plot(steps, [interval.mean for interval in means], line, color=colour, label=name)
            if len(curves) > 1:
                panel.fill_between(
                    steps, [x.low for x in means], [x.high for x in means], color=colour, alpha=0.2, linewidth=0
                )
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel(label)
    handles, labels = axes[0].get_legend_handles_labels()
    options = {"fontsize": 9, "labelcolor": GREY, "frameon": False}
    drawn.legend(handles, labels, loc="outside upper center", ncols=len(labels), **options)
    return drawn
