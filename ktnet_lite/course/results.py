"""Pictures of the results page: the comparison that the paper is about, and how its trainings went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.measures.statistics import Interval, mean_interval
from ktnet_lite.reporting.plots import COLOURS, GREY, figure

STYLES = {  # as in chapter 7
    "full": (COLOURS["audio"], "-"),
    "ours": (COLOURS["reconstructed"], "-"),
    "language_vision": (COLOURS["language"], "--"),
}


def panels(rows: Mapping[str, Mapping[str, Interval]], metric: str, floors: Mapping[str, float]) -> Figure:
    """One metric of the same systems in several settings, side by side, each on a scale of its own.

    Parameters
    ----------
    rows : dict
        Setting -> system -> mean over seeds and interval.
    floors : dict of float
        Setting -> the metric of a prediction that knows nothing, a dotted line.
    """
    names = list(dict.fromkeys(name for its in rows.values() for name in its))
    drawn, axes = figure(len(rows), height=1.2 + 0.35 * len(names))
    for panel, (setting, its) in zip(axes, rows.items(), strict=True):
        panel.axvline(floors[setting], color=GREY, linestyle=":")
        for y, name in enumerate(names):
            if name in its:
                colour = COLOURS["missing"] if ", audio" in name else COLOURS["language"]
                colour = COLOURS["reconstructed"] if name == "ours" else colour
                mean, low, high, _ = its[name]
                if low is not None:
                    panel.plot([low, high], [y, y], color=colour, linewidth=3, alpha=0.5)
                panel.plot(mean, y, "o", color=colour)
        panel.set(title=setting, xlabel=METRICS[metric].label, ylim=(len(names) - 0.5, -0.5))
        panel.title.set_fontsize(10)
        panel.set_yticks(range(len(names)), names if panel is axes[0] else [""] * len(names))
    return drawn


def learning_curves(runs: Mapping[str, Mapping[str, Sequence[Sequence[float]]]], label: str) -> Figure:
    """A number of each epoch, mean over seeds with its 95% interval, for several systems in several settings.

    Parameters
    ----------
    runs : dict
        Setting -> system, one of ``STYLES`` -> a curve for each seed, all as long as each other.
    """
    drawn, axes = figure(len(runs), height=3.2)
    for panel, (setting, its) in zip(axes, runs.items(), strict=True):
        for name, curves in its.items():
            epochs = np.arange(1, len(curves[0]) + 1)
            found = [mean_interval(values) for values in zip(*curves, strict=True)]
            colour, line = STYLES[name]
            panel.plot(epochs, [interval.mean for interval in found], line, color=colour, label=name)
            if len(curves) > 1:
                panel.fill_between(
                    epochs, [x.low for x in found], [x.high for x in found], color=colour, alpha=0.2, linewidth=0
                )
        panel.set(title=setting, xlabel="epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.title.set_fontsize(10)
    axes[0].set_ylabel(label)
    handles, labels = axes[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=9, labelcolor=GREY)
    return drawn
