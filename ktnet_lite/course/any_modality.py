"""Figures of chapter 10, on any missing modality: masks, errors by subset, curves with their area, what is rebuilt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import seaborn as sns
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from ktnet_lite.names import MODALITIES, Modality
from ktnet_lite.reporting.plots import COLOURS, GREY, figure, legend

SYSTEMS = {  # colour, line and marker; "token" is any without its reconstructions
    "any": {"color": COLOURS["any"], "linestyle": "-", "marker": "o"},
    "full, means": {"color": COLOURS["missing"], "linestyle": "-", "marker": "o"},
    "token": {"color": COLOURS["any"], "linestyle": "--", "marker": "s"},
    "specialists": {"color": COLOURS["valid"], "linestyle": "-", "marker": "D"},
}


def kept(masks: Mapping[str, np.ndarray], names: Sequence[Modality] = MODALITIES) -> Figure:
    """Draw which modalities each clip keeps, a panel for each mask (clips, modalities)."""
    drawn, axes = figure(len(masks), height=0.5 + 0.3 * len(names))
    for panel, (title, mask) in zip(axes, masks.items(), strict=True):
        for row, name in enumerate(names):
            colours = ListedColormap(["none", COLOURS[name]])
            panel.imshow(
                mask[None, :, row], aspect="auto", cmap=colours, vmin=0, vmax=1, extent=(0, len(mask), row, row + 1)
            )
        panel.set(ylim=(len(names), 0), xlim=(0, len(mask)), title=title, xlabel="clip")
        panel.set_yticks(np.arange(len(names)) + 0.5, names if panel is axes[0] else [])
        panel.grid(False)
    return drawn


def by_subset(errors: Mapping[str, Mapping[str, float]], marks: Mapping[str, float] | None = None) -> Figure:
    """Draw the error of each system on each subset, ``{system: {subset: MAE}}``; ``marks`` are dotted lines."""
    names = list(next(iter(errors.values())))
    drawn, (axes,) = figure(1, height=1.2 + 0.36 * len(names))
    for label, place in (marks or {}).items():
        axes.axvline(place, color=GREY, linestyle=":", linewidth=1)
        above = {"xycoords": axes.get_xaxis_transform(), "xytext": (0, 4), "textcoords": "offset points"}
        axes.annotate(label, (place, 1), **above, ha="center", fontsize=9, color=GREY)
    for system, values in errors.items():
        style = {**SYSTEMS[system], "linestyle": "none"}
        axes.plot([values[name] for name in names], range(len(names)), label=system, **style)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="MAE (lower is better)", ylim=(len(names) - 0.5, -0.5))
    legend(axes, loc="upper left", bbox_to_anchor=(1, 1))
    return drawn


def curves(rates: Sequence[float], lines: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the errors of systems against the share of missing modalities; the area under the first line is shaded."""
    drawn, (axes,) = figure(1, height=3.0)
    for system, values in lines.items():
        axes.plot(rates, values, label=system, **SYSTEMS[system])
    first = next(iter(lines))
    axes.fill_between(rates, lines[first], color=SYSTEMS[first]["color"], alpha=0.12, linewidth=0)
    axes.set(xlabel="share of modalities that are missing", ylabel="MAE (lower is better)")
    axes.set_ylim(bottom=0)
    legend(axes, loc="lower right")
    return drawn


def rebuilt(r2: np.ndarray, names: Sequence[Modality] = MODALITIES) -> Figure:
    """Draw R2 of every reconstruction, (sources, targets); the diagonal is left empty."""
    drawn, (axes,) = figure(1, height=2.4)
    sns.heatmap(
        r2,
        mask=np.eye(len(names), dtype=bool),
        annot=True,
        fmt=".2f",
        annot_kws={"size": 9},
        cmap="viridis",
        vmin=min(0.0, float(np.nanmin(r2))),
        cbar=False,  # each cell has its number
        ax=axes,
        xticklabels=names,
        yticklabels=names,
    )
    axes.set(xlabel="rebuilt", ylabel="from", title="R² of the reconstruction")
    axes.tick_params(axis="y", rotation=0)
    axes.grid(False)
    return drawn
