"""Figures of chapter 4, on cross-modal attention: scale, residual, pairs, maps over words, targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ktnet_lite.data.batching import collate
from ktnet_lite.data.schema import Split
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.reporting.letters import literal
from ktnet_lite.reporting.plots import COLOURS, GREY, figure, legend

PLACES = {"language": (0.0, 0.0), "vision": (1.0, 0.0), "audio": (0.5, 0.85)}


def scale(
    widths: Sequence[int], largest: Mapping[str, Sequence[float]], gradient: Mapping[str, Sequence[float]]
) -> Figure:
    """Plot the largest attention weight and the gradient of a query against the head's width, for each scale."""
    drawn, panels = figure(2)
    colours = (GREY, COLOURS["language"], COLOURS["vision"])
    for axes, series in zip(panels, (largest, gradient), strict=True):
        for (name, values), colour in zip(series.items(), colours, strict=True):
            axes.plot(widths, values, "o-", color=colour, label=name, markersize=4)
        axes.set_xscale("log", base=2)
        axes.set(xlabel="width of a head, $d / h$", xticks=list(widths), ylim=(0, None))
        axes.set_xticklabels([str(width) for width in widths])
    panels[0].set(ylabel="largest weight of a step", ylim=(0, 1))
    panels[1].set(ylabel="size of the softmax's gradient")
    legend(panels[0], title="scores divided by", title_fontsize=8)
    return drawn


def residual(kept: Mapping[str, Sequence[float]], gradient: Mapping[str, Sequence[float]]) -> Figure:
    """Plot, over the layers, how well the output predicts the target linearly, and the gradient at the target."""
    drawn, panels = figure(2)
    colours = (COLOURS["language"], COLOURS["missing"])
    for axes, series in zip(panels, (kept, gradient), strict=True):
        for (name, values), colour in zip(series.items(), colours, strict=True):
            axes.plot(range(1, len(values) + 1), values, "o-", color=colour, label=name)
        axes.set(xlabel="layers", xticks=range(1, len(values) + 1))
    panels[0].axhline(0, color=GREY, linestyle=":")
    panels[0].set(ylabel="$R^2$ of the target from the output", ylim=(-0.1, 1.05))
    panels[1].set(ylabel="gradient at the target", yscale="log")
    legend(panels[0], loc="center right")
    return drawn


def pairs(fusions: Mapping[str, Sequence[str]]) -> Figure:
    """Draw the pairs of each model as arrows from source to target, in the source's colour; audio stands for A'."""
    drawn, panels = figure(len(fusions), height=3.0)
    for axes, (title, names) in zip(panels, fusions.items(), strict=True):
        used = sorted({stream for name in names for stream in name.split("_to_")})
        for name in names:
            source, target = name.split("_to_")
            style = {"arrowstyle": "-|>", "connectionstyle": "arc3,rad=0.16", "shrinkA": 26, "shrinkB": 26}
            look = {"color": _colour(source), "linewidth": 2, "mutation_scale": 16}
            axes.annotate("", PLACES[target], PLACES[source], arrowprops=style | look)
        for stream in used:
            label = "A'" if stream == "audio" else stream[0].upper()
            axes.text(*PLACES[stream], label, color=_colour(stream), fontsize=18, ha="center", va="center")
        axes.set(xlim=(-0.25, 1.25), ylim=(-0.3, 1.1), title=f"{title}: {len(names)} pairs", aspect="equal")
        axes.set_axis_off()
    return drawn


def word_map(
    model: KTNet, split: Split, clip: int = 0, pair: str = "language_to_audio", layer: int = 1, head: int | str = "mean"
) -> Figure:
    """Plot the attention of one clip, pair and layer, for one head or the mean of all, with words on the axes.

    A' consists of the reconstructions one after the other along time: first from the words, then from the frames.
    """
    assert split.words is not None
    maps = model.eval().attention_maps(collate(split, [clip], model.observed).streams)
    heads = maps[pair][layer - 1][0]  # (h, T, S)
    weights = (heads.mean(0) if head == "mean" else heads[int(head) - 1]).numpy()
    source, target = pair.split("_to_")
    drawn, (axes,) = figure(1, height=1.4 + 0.17 * len(weights))
    image = axes.imshow(weights, aspect="auto", cmap="viridis", vmin=0)
    axes.grid(False)
    bar = drawn.colorbar(image, ax=axes)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(colors=GREY)
    bar.set_label("weight", color=GREY)
    words, frames = split.words[clip], int(split.streams["vision"].lengths[clip])
    _label(axes.set_xticks, source, words, frames, rotation=90)
    _label(axes.set_yticks, target, words, frames)
    which = "mean of the heads" if head == "mean" else f"head {head}"
    names = ["A'" if name == "audio" else name for name in (source, target)]
    axes.set(xlabel=names[0], ylabel=names[1], title=f"{names[0]} → {names[1]}, layer {layer}, {which}")
    return drawn


def words(shares: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]) -> Figure:
    """Plot the attention on each kind of word, 1 if uniform: ``{pair: {model: [{kind: share}, one per seed]}}``."""
    drawn, panels = figure(len(shares))
    for axes, (title, models) in zip(panels, shares.items(), strict=True):
        axes.axhline(1, color=GREY, linestyle=":")
        kinds: list[str] = []
        for shift, (name, seeds) in zip((-0.12, 0.12), models.items(), strict=False):
            kinds = list(seeds[0])
            colour = COLOURS["missing"] if name == "untrained" else COLOURS["language"]
            for i, seed in enumerate(seeds):
                places = np.arange(len(kinds)) + shift
                axes.plot(places, list(seed.values()), "o", color=colour, label=name if i == 0 else None)
        axes.set_xticks(range(len(kinds)), kinds)
        axes.set(title=title, xlim=(-0.5, len(kinds) - 0.5))
    top = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(0, top)
    panels[0].set(ylabel="attention, 1 is even")
    legend(panels[0], loc="lower right")
    return drawn


def targets(scores: Mapping[str, Sequence[float]], published: Mapping[str, float], floor: float) -> Figure:
    """Plot the error by target, a dot per seed and a bar at the mean (left), beside the paper's numbers (right)."""
    drawn, (left, right) = figure(2, height=2.6)
    left.axvline(floor, color=GREY, linestyle=":")
    left.annotate("median", (floor, 1), xycoords=left.get_xaxis_transform(), ha="right", va="top", color=GREY)
    for y, (name, values) in enumerate(scores.items()):
        colour = GREY if name == "all" else _colour(name)
        left.plot(values, [y] * len(values), "o", color=colour, alpha=0.6)
        left.plot(np.mean(values), y, "|", color=colour, markersize=22, markeredgewidth=2)
        right.plot(published[name], y, "o", color=colour)
    for axes, title in ((left, "here, synthetic"), (right, "the paper's, MOSEI")):
        axes.set_yticks(range(len(scores)), ["A'" if name == "audio" else name for name in scores])
        axes.set(xlabel="MAE (lower is better)", ylim=(len(scores) - 0.5, -0.5), title=title)
    return drawn


def _colour(stream: str) -> str:
    return COLOURS["reconstructed" if stream == "audio" else stream]


def _label(set_ticks, stream: str, spoken: Sequence[str], frames: int, **look) -> None:
    spoken = [literal(word) for word in spoken]
    names = {
        "language": spoken,
        "vision": [str(frame + 1) for frame in range(frames)],
        "audio": [*(f"ϕ {word}" for word in spoken), *(f"θ {frame + 1}" for frame in range(frames))],
    }[stream]
    set_ticks(range(len(names)), names, fontsize=7, **look)
