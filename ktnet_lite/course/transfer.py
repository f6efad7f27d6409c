"""Figures of chapter 3, on knowledge transfer: two time lines, L2 and L1, the collapse, the reconstruction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ktnet_lite.reporting.plots import COLOURS, GREY, figure, legend

TREATMENT = {"naive": COLOURS["valid"], "joint": "#56B4E9", "random": COLOURS["missing"], "teacher": COLOURS["audio"]}
WATCHED = {"error": "squared error, Eq. (1)", "std": "std of $f_A$", "r2": "$R^2$"}


def two_clocks(values: Sequence[float], resampled: Sequence[float]) -> Figure:
    """Plot one audio feature at its own steps and at the steps of a slower stream; the clip spans time 0 to 1."""
    drawn, (axes,) = figure(1, height=2.6)
    for series, name, label in ((values, "audio", "$f_A$, own steps"), (resampled, "vision", "on the face's steps")):
        time = (np.arange(len(series)) + 0.5) / len(series)
        for edge in np.arange(len(series) + 1) / len(series) if name == "vision" else ():
            axes.axvline(edge, color=COLOURS[name], linestyle=":", linewidth=1)
        line = "-" if name == "audio" else "none"
        axes.plot(time, series, marker="o", linestyle=line, linewidth=1, color=COLOURS[name], label=label)
    axes.set(xlabel="time in the clip", ylabel="feature", xlim=(0, 1))
    axes.grid(False)
    legend(axes)
    return drawn


def best_constant(low: float, high: float, share: float) -> Figure:
    """Plot the mean L2 and L1 loss of each constant guess; a ``share`` of the targets is ``high``, the rest ``low``.

    A dot marks the minimum of each curve; bars show the target.
    """
    drawn, (axes,) = figure(1, height=3.0)
    guesses = np.linspace(low - 0.5, high + 0.5, 401)
    for name, power, colour in (("L2", 2, COLOURS["reconstructed"]), ("L1", 1, COLOURS["language"])):
        loss = (1 - share) * np.abs(guesses - low) ** power + share * np.abs(guesses - high) ** power
        best = loss.argmin()
        axes.plot(guesses, loss, color=colour, label=f"{name}, least at {guesses[best]:.2f}")
        axes.plot(guesses[best], loss[best], "o", color=colour)
    axes.bar([low, high], [1 - share, share], width=0.08, color=COLOURS["audio"], label="target, share of cases")
    axes.set(xlabel="constant guess", ylabel="mean loss", ylim=(0, None))
    legend(axes)
    return drawn


def collapse(curves: Mapping[str, Sequence[Mapping[str, Sequence[float]]]]) -> Figure:
    """Plot error, std(f_A) and R2 over the steps, one line per treatment and seed.

    Parameters
    ----------
    curves : dict of lists
        Treatment -> one dict per seed with the keys ``step``, ``error``, ``std`` and ``r2``, all of one length.
    """
    drawn, axes = figure(3, height=3.0)
    for treatment, seeds in curves.items():
        for panel, key in zip(axes, WATCHED, strict=True):
            for i, curve in enumerate(seeds):
                label = treatment if i == 0 else None
                panel.plot(curve["step"], curve[key], color=TREATMENT[treatment], linewidth=1.2, label=label)
    for panel, (key, label) in zip(axes, WATCHED.items(), strict=True):
        panel.set(xlabel="step", ylabel=label, ylim=None if key == "r2" else (0, None))
    axes[2].axhline(0, color=GREY, linestyle=":")
    legend(axes[1], loc="center right")
    return drawn


def variances(real: Sequence[float], explained: Mapping[str, Sequence[float]]) -> Figure:
    """Plot the variance of each dimension of f_A, largest first, and of the reconstruction from each source."""
    drawn, (axes,) = figure(1, height=2.8)
    order = np.argsort(real)[::-1]
    place = np.arange(len(order))
    axes.bar(place, np.asarray(real)[order], color=COLOURS["audio"], alpha=0.4, label="$f_A$")
    for source, values in explained.items():
        axes.plot(place, np.asarray(values)[order], "o", markersize=4, color=COLOURS[source], label=f"from {source}")
    axes.set(xlabel="dimension of $f_A$, largest first", ylabel="variance over steps", ylim=(0, None))
    legend(axes)
    return drawn


def retrieval(ranks: Mapping[str, Sequence[int]], clips: int) -> Figure:
    """Plot the share of clips whose own audio is among the first k; the dotted line is chance.

    ``ranks`` maps a name to one rank per clip, 1 being the best; the name of a stream gets the stream's colour.
    """
    drawn, (axes,) = figure(1, height=3.2)
    first = np.arange(1, clips + 1)
    axes.plot(first, first / clips, color=GREY, linestyle=":", label="chance")
    for name, places in ranks.items():
        within = (np.asarray(places)[:, None] <= first).mean(0)
        label = f"{name}, median rank {np.median(places):.0f}"
        axes.plot(first, within, color=COLOURS.get(name, COLOURS["missing"]), label=label)
    axes.set(xlabel=f"first k of {clips} clips", ylabel="right clip among them", ylim=(0, 1), xlim=(1, clips))
    legend(axes, loc="lower right")
    return drawn


def one_clip(real: Sequence[float], rebuilt: Mapping[str, Sequence[float]]) -> Figure:
    """Plot one dimension of f_A over a clip, and its reconstruction from each source, each at its own steps."""
    drawn, (axes,) = figure(1, height=2.8)
    for name, series in {"audio": real, **rebuilt}.items():
        time = (np.arange(len(series)) + 0.5) / len(series)
        label = "$f_A$" if name == "audio" else f"from {name}"
        axes.plot(time, series, marker="o", markersize=3, linewidth=1.2, color=COLOURS[name], label=label)
    axes.set(xlabel="time in the clip", ylabel="feature", xlim=(0, 1))
    legend(axes)
    return drawn
