"""Figures of chapter 12, on doubt: calibration, true variances, faithful and useful voices, intervals of scores."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from ktnet_lite.measures.calibration import probability_integral
from ktnet_lite.reporting.plots import COLOURS, GREY, figure, legend
from ktnet_lite.training.decoding import Fidelity

BINS = 10


def ranks(doubted: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Draw where the real features fell in their own distributions, ``{source: (mean, deviation, target)}``."""
    drawn, axes = figure(len(doubted), height=2.4)
    for panel, (source, triple) in zip(axes, doubted.items(), strict=True):
        panel.hist(
            probability_integral(*triple).ravel(),
            bins=BINS,
            range=(0, 1),
            weights=np.full(triple[0].size, BINS / triple[0].size),
            color=COLOURS[source],
            alpha=0.7,
        )
        panel.axhline(1, color=GREY, linestyle="--", linewidth=1)
        panel.set(xlim=(0, 1), title=f"{source} → audio", xlabel="share of the distribution below the truth")
    axes[0].set_ylabel("density")
    return drawn


def variances(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draw true against stated variance, ``{source: (stated, true)}``, with means over twentieths of the features."""
    drawn, axes = figure(len(pairs), height=3)
    for panel, (source, (stated, true)) in zip(axes, pairs.items(), strict=True):
        order = np.argsort(stated, axis=None)
        x, y = (np.array([part.mean() for part in np.array_split(v.ravel()[order], 20)]) for v in (stated, true))
        shown = order[:: max(1, len(order) // 1500)]
        panel.scatter(stated.ravel()[shown], true.ravel()[shown], s=3, color=COLOURS[source], alpha=0.25, linewidths=0)
        panel.plot(x, y, "o-", color=COLOURS[source], markersize=4, label="mean of a twentieth")
        end = float(np.quantile(stated, 0.99))
        panel.plot([0, end], [0, end], color=GREY, linestyle="--", linewidth=1, label="equal")
        panel.set(xlim=(0, end), ylim=(0, end), title=f"{source} → audio", xlabel="stated variance")
    axes[0].set_ylabel("true variance")
    legend(axes[-1])
    return drawn


def faithful(models: Mapping[str, Mapping[str, Fidelity]], word: str) -> Figure:
    """Draw retrieval, R2, decoding of a descriptor, and use of each reconstruction, ``{model: {source: ...}}``.

    Dashed lines are chance, or nothing gained; the decoding has its ceiling and its placebo beside it.
    """
    drawn, axes = figure(4, height=3)
    labels = {"combined": "A'"}
    rows = [labels.get(name, name) for name in next(iter(models.values()))]
    for i, (model, by_source) in enumerate(models.items()):
        y, found = np.arange(len(rows)) + 0.3 * (i - (len(models) - 1) / 2), list(by_source.values())
        read = [each.decoding[word] for each in found]
        values = [[getattr(each, key) for each in found] for key in ("retrieval", "r2", "use")]
        values.insert(2, [each.r2 for each in read])
        for panel, x in zip(axes, values, strict=True):
            panel.plot(x, y, "oD"[i % 2], color=(COLOURS["reconstructed"], COLOURS["missing"])[i % 2], label=model)
        for key, colour in (("ceiling", COLOURS["audio"]), ("placebo", COLOURS["valid"])):
            x, label = [getattr(each, key) for each in read], key if i == len(models) - 1 else None
            axes[2].plot(x, y, "|", markersize=12, color=colour, label=label)
    titles = "retrieval", "$R^2$ of $f_A$", "decoded, $R^2$", "use for the score"
    for panel, title, chance in zip(axes, titles, (0.5, 0, 0, 0), strict=True):
        panel.axvline(chance, color=GREY, linestyle="--", linewidth=1)
        panel.set(title=title, ylim=(len(rows) - 0.5, -0.5))
        panel.set_yticks(range(len(rows)), rows if panel is axes[0] else [])
    handles, names = axes[2].get_legend_handles_labels()
    drawn.legend(handles, names, loc="outside lower center", ncols=4, fontsize=8, labelcolor=GREY, frameon=False)
    return drawn


def intervals(low: np.ndarray, high: np.ndarray, scores: np.ndarray, truth: np.ndarray) -> Figure:
    """Draw the interval of each clip's score, and the truth, in the order of the scores; all (N,)."""
    drawn, (panel,) = figure(1, height=3)
    order = np.argsort(scores, kind="stable")
    x, inside = np.arange(len(order)), ((low <= truth) & (truth <= high))[order]
    panel.vlines(x, low[order], high[order], color=COLOURS["any"], alpha=0.35, linewidth=3)
    panel.plot(x, scores[order], color=COLOURS["any"], linewidth=1.5, label="score and interval")
    for which, marker, label in ((inside, "o", "truth inside"), (~inside, "X", "truth outside")):
        colour = GREY if marker == "o" else COLOURS["valid"]
        panel.plot(x[which], truth[order][which], marker, color=colour, markersize=5, linestyle="none", label=label)
    panel.set(xlabel="clip, by score", ylabel="sentiment", ylim=(-4, 4.6), xticks=[])
    legend(panel, ncols=3, loc="upper left")
    return drawn


def widths(by_subset: Mapping[str, float], covered: Mapping[str, float], level: float) -> Figure:
    """Draw half the width of the interval of each subset, and the share of the test clips that it covers."""
    drawn, (left, right) = figure(2, height=3)
    names = list(by_subset)
    left.barh(range(len(names)), [by_subset[name] for name in names], color=COLOURS["any"], height=0.6)
    right.axvline(level, color=GREY, linestyle="--", linewidth=1)
    right.plot([covered[name] for name in names], range(len(names)), "o", color=COLOURS["any"])
    left.set_yticks(range(len(names)), names)
    right.set_yticks(range(len(names)), [])
    for panel in (left, right):
        panel.set_ylim(len(names) - 0.5, -0.5)
    left.set(xlabel="half-width of the interval")
    right.set(xlabel="share of test clips inside", xlim=(0.5, 1))
    return drawn
