"""Figures of the results page: the paper's central comparison, and the learning curves of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.measures.statistics import Interval, mean_interval
from ktnet_lite.names import System
from ktnet_lite.reporting.letters import literal
from ktnet_lite.reporting.plots import COLOURS, GREY, colour_of, figure, interval_row

STYLES = {  # as in chapter 7
    "full": (COLOURS["audio"], "-"),
    "ours": (COLOURS["reconstructed"], "-"),
    "language_vision": (COLOURS["language"], "--"),
}


def panels(rows: Mapping[str, Mapping[System, Interval]], metric: str, floors: Mapping[str, float]) -> Figure:
    """Draw one metric of the same systems in several settings, side by side, each panel on its own scale.

    Parameters
    ----------
    rows : dict
        Setting -> system -> mean over seeds and interval.
    floors : dict of float
        Setting -> the metric of a constant prediction, drawn as a dotted line.
    """
    systems = list(dict.fromkeys(system for intervals in rows.values() for system in intervals))
    drawn, axes = figure(len(rows), height=1.2 + 0.35 * len(systems))
    for panel, (setting, intervals) in zip(axes, rows.items(), strict=True):
        panel.axvline(floors[setting], color=GREY, linestyle=":")
        for y, system in enumerate(systems):
            if system in intervals:
                interval_row(panel, y, intervals[system], colour_of(system))
        panel.set(title=literal(setting), xlabel=METRICS[metric].label, ylim=(len(systems) - 0.5, -0.5))
        panel.title.set_fontsize(10)
        panel.set_yticks(range(len(systems)), map(str, systems) if panel is axes[0] else [""] * len(systems))
    return drawn


def learning_curves(runs: Mapping[str, Mapping[str, Sequence[Sequence[float]]]], label: str) -> Figure:
    """Draw a number by epoch for several systems in several settings: its mean over seeds, with a 95% interval.

    Parameters
    ----------
    runs : dict
        Setting -> system, one of ``STYLES`` -> a curve for each seed, all of equal length.
    """
    drawn, axes = figure(len(runs), height=3.2)
    for panel, (setting, systems) in zip(axes, runs.items(), strict=True):
        for name, curves in systems.items():
            epochs = np.arange(1, len(curves[0]) + 1)
            means = [mean_interval(values) for values in zip(*curves, strict=True)]
            colour, line = STYLES[name]
            panel.plot(epochs, [interval.mean for interval in means], line, color=colour, label=name)
            if len(curves) > 1:
                panel.fill_between(
                    epochs, [x.low for x in means], [x.high for x in means], color=colour, alpha=0.2, linewidth=0
                )
        panel.set(title=literal(setting), xlabel="epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.title.set_fontsize(10)
    axes[0].set_ylabel(label)
    handles, labels = axes[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=9, labelcolor=GREY)
    return drawn
