"""Figures of chapter 9, on your own data: the modalities of each clip, and systems compared without the voice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ktnet_lite.data.schema import Dataset
from ktnet_lite.measures.statistics import Interval
from ktnet_lite.names import MODALITIES
from ktnet_lite.reporting.plots import COLOURS, GREY, colour_of_label, figure, interval_row

ABSENT = to_rgba(COLOURS["missing"], 0.25)


def presence(dataset: Dataset) -> Figure:
    """Plot the modalities (rows) that each clip (column) has, one panel per split; pale grey marks a missing one."""
    drawn, axes = figure(len(dataset.splits), height=1.6)
    for panel, name in zip(axes, dataset, strict=True):
        split = dataset[name]
        cells = np.full((len(MODALITIES), len(split), 4), ABSENT)  # (modality, clip, RGBA)
        for row, modality in enumerate(MODALITIES):
            if modality in split.streams:
                cells[row, split.streams[modality].lengths > 0] = to_rgba(COLOURS[modality])
        panel.imshow(cells, aspect="auto", interpolation="nearest", extent=(0, len(split), len(MODALITIES) - 0.5, -0.5))
        panel.set(title=name, xlabel="clip")
        panel.set_yticks(range(len(MODALITIES)), MODALITIES if panel is axes[0] else [])
        panel.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        panel.grid(False)
        for edge in np.arange(0.5, len(MODALITIES) - 1):
            panel.axhline(edge, color=GREY, linewidth=0.5)
    return drawn


def answers(
    errors: Mapping[str, Sequence[float]], differences: Mapping[str, Interval], floor: tuple[str, float]
) -> Figure:
    """Plot the error of each system by seed (left), and the error of ours minus each other's with its interval (right).

    Parameters
    ----------
    errors : dict of sequences of float
        System -> mean absolute error, one number per seed.
    differences : dict of Interval
        System -> error of ``ours`` minus error of that system; below 0, ``ours`` is better.
    floor : (str, float)
        Name and error of a constant prediction, drawn as a dotted line.
    """
    drawn, (left, right) = figure(2, height=1.2 + 0.35 * len(errors))
    for row, (name, values) in enumerate(errors.items()):
        colour = colour_of_label(name)
        left.plot(values, [row] * len(values), "o", color=COLOURS[colour], alpha=0.5)
        left.plot(np.mean(values), row, "|", color=COLOURS[colour], markersize=16, markeredgewidth=2)
        if name in differences:
            interval_row(right, row, differences[name], colour)
    left.axvline(floor[1], color=GREY, linestyle=":")
    right.axvline(0, color=GREY, linestyle=":")
    left.annotate(
        floor[0], (floor[1], 1), xycoords=left.get_xaxis_transform(), xytext=(0, 4), textcoords="offset points",
        ha="center", fontsize=9, color=GREY,
    )  # fmt: skip
    left.set_yticks(range(len(errors)), list(errors))
    right.set_yticks(range(len(errors)), [])
    left.set_xlabel("MAE (lower is better)")
    right.set_xlabel("MAE of ours minus that of …\n(left of 0: ours is better)")
    for axes in (left, right):
        axes.set_ylim(len(errors) - 0.5, -0.5)
    return drawn
