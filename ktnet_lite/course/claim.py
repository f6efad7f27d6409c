"""Figures of chapter 7: where a reconstruction beats the real audio, for ideal listeners and trained networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ktnet_lite.data import synthetic
from ktnet_lite.names import MODALITIES, Modality, System, Variant
from ktnet_lite.reporting.plots import COLOURS, GREY, colour_of, figure, legend

STYLES = {
    "full, same laughter in training": (COLOURS["audio"], "-"),
    "full, trained without laughter": (COLOURS["valid"], "-"),
    "full, audio silent": (COLOURS["missing"], ":"),
    "ours": (COLOURS["reconstructed"], "-"),
    "words and face": (COLOURS["language"], "--"),
}
SETS: dict[str, tuple[Modality, ...]] = {
    "words": ("language",),
    "face": ("vision",),
    "words, face": ("language", "vision"),
    "all three": MODALITIES,
}


def heat_maps(
    panels: Mapping[str, tuple[Variant, np.ndarray, np.ndarray | None]],
    redundancies: Sequence[float],
    noises: Sequence[float],
) -> Figure:
    """Plot the difference of two errors over redundancy and laughter, panels side by side on one colour scale.

    Parameters
    ----------
    panels : dict of (other, values, sure)
        Title -> whom ours is compared with, a variant; differences, (redundancies, noises); and whether each
        one differs from zero, None if all do. Cells without a detected difference are hatched, with the number in grey
        brackets. A value of NaN has not been run. A cell has the colour of the better one.
    """
    drawn, axes = figure(len(panels), height=1.2 + 0.5 * len(redundancies))
    widest = max(np.nanmax(np.abs(values)) for _, values, _ in panels.values())
    norm = TwoSlopeNorm(0.0, -widest, widest)
    for panel, (title, (other, values, sure)) in zip(axes, panels.items(), strict=True):
        better = {name: COLOURS[colour_of(System("ktnet", name))] for name in ("ours", other)}
        colours = LinearSegmentedColormap.from_list(other, [better["ours"], "#f2f2f2", better[other]])
        panel.pcolormesh(values, norm=norm, cmap=colours, edgecolors="white", linewidth=1)
        for (row, column), value in np.ndenumerate(values):
            certain = sure is None or sure[row, column]
            if not certain:
                panel.fill_between([column, column + 1], row, row + 1, facecolor="none", edgecolor="0.75", hatch="///")
            number = f"{value:+.2f}" if round(value, 2) else "0.00"
            text = "not run" if np.isnan(value) else number if certain else f"({number})"
            style = {"color": "black" if certain else "0.35", "fontsize": 9, "ha": "center", "va": "center"}
            panel.text(column + 0.5, row + 0.5, text, **style)
        panel.set_xticks(np.arange(len(noises)) + 0.5, [f"{noise:g}" for noise in noises])
        panel.set_yticks(np.arange(len(redundancies)) + 0.5, [f"{value:g}" for value in redundancies])
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("laughter")
        panel.grid(False)
        keys = [Patch(color=colour, label=f"{name} better") for name, colour in better.items()]
        legend(panel, handles=keys, loc="upper center", bbox_to_anchor=(0.5, -0.32), ncols=2)
    axes[0].set_ylabel("redundancy")
    return drawn


def laughter(
    levels: Sequence[float],
    ideal: Mapping[str, Sequence[float]],
    trained: Mapping[str, Sequence[float]],
    points: Mapping[float, float] | None = None,
) -> Figure:
    """Plot the error against the laughter at test, of ideal listeners (left) and trained networks (right).

    Parameters
    ----------
    levels : sequence of float, shape (K,)
    ideal, trained : dict of sequences (K,)
        Name, one of ``STYLES``, -> error at each level.
    points : dict of float
        Laughter in training and at test -> error of the ``full`` model trained with it.
    """
    drawn, axes = figure(2, height=3.4)
    for panel, title, curves in zip(axes, ("ideal listeners", "trained networks"), (ideal, trained), strict=True):
        for name, errors in curves.items():
            colour, line = STYLES[name]
            width = 4 if name == "ours" else 1.5  # other lines lie on top
            panel.plot(levels, errors, line, color=colour, label=name, linewidth=width)
        panel.set(xlabel="laughter at test", ylabel="MAE (lower is better)", title=title)
    if points:
        name = "full, same laughter in training"
        axes[1].plot(list(points), list(points.values()), "o", color=STYLES[name][0], label=name)
    for panel in axes:
        legend(panel)
    return drawn


def knobs(redundancy: float, laughter: float, clip: int = 0) -> Figure:
    """Plot the voice of one clip, the best possible error from each set of streams, and the position of the cell.

    The left panel shows the heard voice (solid), the voice without laughter (dashed), and the best reconstruction from
    words and face, which is their share of the voice. The right panel shows the line laughter = sqrt(1 - redundancy).
    Above it, an ideal listener who does not know about the laughter does worse than one without audio.
    """
    drawn, (voice, errors, place) = figure(3, height=3.2)
    made, clean, shared = (
        synthetic.make((1, 1, 200), *knob) for knob in ((redundancy, laughter), (redundancy, 0.0), (1.0, 0.0))
    )
    direction = _direction(shared, clip)
    tracks = {
        "heard": (made, 1.0, COLOURS["audio"], "-"),
        "without laughter": (clean, 1.0, GREY, "--"),
        "best reconstruction": (shared, np.sqrt(redundancy), COLOURS["reconstructed"], "-"),
    }
    for name, (source, scale, colour, line) in tracks.items():
        track = scale * source.dataset["test"].streams["audio"].clip(clip) @ direction
        voice.plot((np.arange(len(track)) + 0.5) / len(track), track, line, color=colour, label=name)
    voice.set(xlabel="time in the clip", ylabel="voice")
    low, high = voice.get_ylim()
    voice.set_ylim(low, high + 0.4 * (high - low))  # room for the legend
    legend(voice)

    factors, targets = made.factors["test"], made.dataset["test"].targets
    best = {name: synthetic.ceiling(factors, observed, redundancy, laughter) for name, observed in SETS.items()}
    best["not told"] = synthetic.ceiling(factors, MODALITIES, redundancy, 0.0)
    values = [float(np.abs(scores - targets).mean()) for scores in best.values()]
    colours = [COLOURS[name] for name in ("language", "vision", "reconstructed", "audio", "valid")]
    errors.barh(range(len(best)), values, color=colours)
    errors.set_yticks(range(len(best)), list(best))
    errors.set(xlabel="lowest possible MAE", ylim=(len(best) - 0.5, -0.5))

    grid = np.linspace(0, 1, 101)
    place.plot(grid, np.sqrt(1 - grid), color=GREY)
    place.plot(redundancy, laughter, "o", color=COLOURS["valid"])
    place.set(xlabel="redundancy", ylabel="laughter at test", xlim=(-0.05, 1.05), ylim=(-0.1, max(2.0, laughter) + 0.1))
    place.text(0.5, 1.45, "not told:\nsilence is better", ha="center", fontsize=8, color=GREY)
    place.text(0.3, 0.3, "audio pays", ha="center", fontsize=8, color=GREY)
    return drawn


def _direction(made: synthetic.Synthetic, clip: int) -> np.ndarray:
    """Return the direction, (D_A,), in which a clip's voice moves; its largest entry is positive."""
    direction = np.linalg.svd(made.dataset["test"].streams["audio"].clip(clip), full_matrices=False)[2][0]
    return direction * np.sign(direction[np.abs(direction).argmax()])
