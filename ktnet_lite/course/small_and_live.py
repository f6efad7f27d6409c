"""Figures of chapter 13, on small models and live clips: error against cost, what a step may see, running scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from ktnet_lite.config import TrainConfig
from ktnet_lite.data.schema import Dataset
from ktnet_lite.deploy.bench import STEPS, operations, random_clips
from ktnet_lite.names import Modality
from ktnet_lite.reporting.plots import COLOURS, GREY, figure, legend
from ktnet_lite.training.build import build_model

DIMS: dict[Modality, int] = {"language": 300, "vision": 35, "audio": 74}  # features a step, of MOSI in MulT's files
HEIGHTS = (5, -12, 16)  # of a name beside its point, in points
LINES = ("-", "--", ":", "-.")


def cost(config: TrainConfig, dataset: Dataset | None = None) -> int:
    """Count the operations of one clip as long as MOSI's unaligned ones, by a model of this config, untrained.

    A time grid shortens that clip by as much as it shortens those of the data set.
    """
    steps = dict(STEPS)
    if config.grid and dataset is not None:
        before, after = dataset["test"], dataset["test"].on_grid(config.grid)
        for name, count in STEPS.items():
            share = after.streams[name].lengths.mean() / before.streams[name].lengths.mean()
            steps[name] = max(1, round(count * share))
    model = build_model(config, "sentiment", DIMS).eval().requires_grad_(False)
    (clip,) = random_clips(model, steps, model.observed, 1, 0)
    return operations(model, clip)


def frontier(points: Mapping[str, tuple[float, Sequence[float]]]) -> Figure:
    """Draw error against cost, ``{row: (operations, error of each seed)}``; a line joins what nothing else beats."""
    drawn, (panel,) = figure(1, height=3.6)
    means = {name: (operations / 1e6, float(np.mean(errors))) for name, (operations, errors) in points.items()}
    best = [
        (x, y)
        for x, y in sorted(means.values())
        if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in means.values())
    ]
    panel.step(*zip(*best, strict=True), where="post", color=GREY, linewidth=1, linestyle="--")
    spread = max(y for _, y in means.values()) - min(y for _, y in means.values())
    named: list[tuple[float, float, int]] = []
    for name, (x, y) in sorted(means.items(), key=lambda item: item[1]):
        errors = points[name][1]
        near = {height for a, b, height in named if x < 3 * a and abs(y - b) < spread / 12}  # names must not meet
        height = next((height for height in HEIGHTS if height not in near), HEIGHTS[0])
        named.append((x, y, height))
        colour = COLOURS["any"] if (x, y) in best else GREY
        panel.errorbar(x, y, [[y - min(errors)], [max(errors) - y]], fmt="o", color=colour, markersize=5, linewidth=1.5)
        panel.annotate(name, (x, y), xytext=(6, height), textcoords="offset points", fontsize=8.5, color=GREY)
    panel.set(xlabel="million operations a clip (50, 500, 375 steps)", ylabel="MAE on the test set", xscale="log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter("{x:,.0f}")
    panel.xaxis.set_minor_locator(NullLocator())
    low, high = panel.get_xlim()
    panel.set_xlim(low, high * 1.8)  # room for the last name
    return drawn


def sight(times: Mapping[str, np.ndarray], target: str, source: str) -> Figure:
    """Draw which steps of a source have ended when each step of a target ends; times in shares of the clip."""
    drawn, (left, right) = figure(2, height=3)
    seen = times[source][None] <= times[target][:, None]  # (T, S)
    by_index = np.arange(seen.shape[1])[None] <= np.arange(seen.shape[0])[:, None]
    colours = ListedColormap(["none", COLOURS["missing"]])
    for panel, title, cells in ((left, "by time", seen), (right, "by index (wrong)", by_index)):
        panel.pcolormesh(np.arange(seen.shape[1] + 1), np.arange(seen.shape[0] + 1), cells, cmap=colours)
        panel.set(xlabel=f"step of {source}", title=title)
        panel.grid(False)
        panel.invert_yaxis()
    left.set_ylabel(f"step of {target}")
    return drawn


def running(scores: Mapping[str, tuple[np.ndarray, np.ndarray]], truth: float, dropped: tuple[float, float]) -> Figure:
    """Draw scores over a clip, ``{label: (moments, scores)}``; a band marks the drop-out, a line the true score."""
    drawn, (panel,) = figure(1, height=3)
    panel.axvspan(*dropped, color=COLOURS["missing"], alpha=0.2, linewidth=0, label="drop-out")
    panel.axhline(truth, color=GREY, linestyle="--", linewidth=1, label="true score")
    for (label, (x, y)), line in zip(scores.items(), LINES, strict=False):
        panel.plot(x, y, line, color=COLOURS["any"], label=label)
    panel.set(xlabel="share of the clip heard", ylabel="score", xlim=(0, 1.02))
    legend(panel, ncols=2)
    return drawn


def heard(errors: Mapping[str, np.ndarray], shares: Sequence[float]) -> Figure:
    """Draw the error against the share of each clip that was heard, ``{label: (shares,)}``."""
    drawn, (panel,) = figure(1, height=3)
    for (label, values), line in zip(errors.items(), LINES, strict=False):
        panel.plot(shares, values, line, color=COLOURS["any"], label=label)
    panel.set(xlabel="share of the clip heard", ylabel="MAE on the test set", xlim=(0, 1.02))
    legend(panel)
    return drawn
