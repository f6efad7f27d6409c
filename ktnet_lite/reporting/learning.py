"""Error against the number of labelled clips, from the results of a grid: as a frame, a figure and words."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from ktnet_lite.data import synthetic
from ktnet_lite.experiments.result import Result
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.names import MODALITIES
from ktnet_lite.reporting.letters import literal
from ktnet_lite.reporting.plots import COLOURS, GREY, figure
from ktnet_lite.reporting.tables import Table


class Style(NamedTuple):
    """How the line of a system is drawn: its colour says what it learns from, a broken line marks a control."""

    colour: str
    dashes: tuple[float, ...] = ()  # on, off, in line widths
    marker: str = "o"


STYLES = {
    "linear": Style(COLOURS["missing"], marker="s"),
    "Full modality": Style(COLOURS["audio"], marker="D"),
    "Language and vision": Style(COLOURS["language"], marker="^"),
    "Ours": Style(COLOURS["reconstructed"]),
    "lambda 0": Style(COLOURS["reconstructed"], (4, 2)),
    "Other voices": Style(COLOURS["reconstructed"], (1, 1.5)),
    "Ours, unlabelled clips": Style(COLOURS["valid"]),
    "Unlabelled clips, other voices": Style(COLOURS["valid"], (1, 1.5)),
    "First, unlabelled clips": Style(COLOURS["valid"]),
    "First, unlabelled clips, other voices": Style(COLOURS["valid"], (1, 1.5)),
}
CEILINGS = {"language and vision": MODALITIES[:2], "all three": MODALITIES}
CEILING_COLOURS = {"language and vision": COLOURS["language"], "all three": COLOURS["audio"]}


def labelled(run: Result) -> int:
    """Count the training clips whose labels a run uses."""
    return run.config.labelled or run.dataset.clips["train"]


def setting_of(table: Table, column: str) -> str:
    """Name what the columns of one curve share: the column without the number of clips at its end, or the data set."""
    return column.rpartition(", ")[0] or table.data


def points(table: Table, metric: str = "mae") -> pd.DataFrame:
    """Lay out a metric of the rows in ``STYLES``: one line per run, with setting, row, clips and seed."""
    runs = table.runs[(table.runs["fill"] == "") & table.runs["row"].isin(list(STYLES))]
    return pd.DataFrame(
        {
            "setting": [setting_of(table, column) for column in runs["column"]],
            "row": runs["row"],
            "clips": [labelled(run) for run in runs["result"]],
            "seed": [run.seed for run in runs["result"]],
            "value": runs[metric] if metric in runs else pd.Series(dtype=float),
            "result": runs["result"],
        }
    ).reset_index(drop=True)


def ceilings(run: Result) -> dict[str, float]:
    """Compute the lowest possible MAE on the test clips of a synthetic run, for each set in ``CEILINGS``."""
    if run.config.dataset != "synthetic" or run.dataset.task != "sentiment":
        return {}
    config, clips = run.config, run.dataset.clips
    sizes = clips["train"], clips["valid"], clips["test"]
    return _ceilings(sizes, config.redundancy, config.audio_noise, config.aligned)


@lru_cache(maxsize=16)
def _ceilings(sizes: tuple[int, int, int], redundancy: float, noise: float, aligned: bool) -> dict[str, float]:
    made = synthetic.make(sizes, redundancy, noise, aligned)
    targets = made.dataset["test"].targets
    best = {
        name: synthetic.ceiling(made.factors["test"], observed, redundancy, noise)
        for name, observed in CEILINGS.items()
    }
    return {name: float(np.abs(scores - targets).mean()) for name, scores in best.items()}


def learning_curves(table: Table, metric: str = "mae") -> Figure | None:
    """Draw a metric against the number of labelled clips, a panel per setting; None where nothing has run.

    Lines are means over seeds, bands reach from the lowest to the highest seed. Dashed horizontal lines are the lowest
    possible errors on synthetic clips.
    """
    laid_out = points(table, metric)
    if laid_out.empty:
        return None
    settings = list(dict.fromkeys(laid_out["setting"]))
    rows = [row for row in STYLES if (laid_out["row"] == row).any()]
    options: dict[str, Any] = {
        "hue_order": rows,
        "style_order": rows,
        "palette": {row: STYLES[row].colour for row in rows},
        "dashes": [STYLES[row].dashes for row in rows],
        "markers": [STYLES[row].marker for row in rows],
        "errorbar": ("pi", 100),
        "err_kws": {"alpha": 0.15, "linewidth": 0},
        "markeredgewidth": 0,
    }
    drawn, axes = figure(len(settings), height=4.8)
    for panel, (setting, here) in zip(axes, laid_out.groupby("setting", sort=False), strict=True):
        if panel is not axes[0]:
            panel.sharey(axes[0])
        best = ceilings(here["result"].iloc[0]) if metric == "mae" else {}
        for name, error in best.items():
            style = {"color": CEILING_COLOURS[name], "linestyle": (0, (6, 4)), "linewidth": 1}
            panel.axhline(error, label=f"best possible, {name}", **style)
        sns.lineplot(here, x="clips", y="value", hue="row", style="row", ax=panel, **options)
        ticks = sorted(set(here["clips"]))
        panel.set(xscale="log", xlabel="labelled clips", ylabel="", xticks=ticks)
        panel.xaxis.set_major_formatter(ScalarFormatter())
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_title(literal(str(setting)), fontsize=11)
    axes[0].set_ylabel(f"{METRICS[metric].label} ({METRICS[metric].direction})")
    handles = {label: line for panel in axes for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    for panel in axes:
        panel.get_legend().remove()
    look: dict[str, Any] = {"ncols": 2, "fontsize": 10, "labelcolor": GREY, "handlelength": 4, "frameon": False}
    drawn.legend(handles.values(), handles, loc="outside lower center", **look)
    return drawn


def in_words(table: Table, metric: str = "mae") -> str:
    """Describe the learning curves: the mean of each system at the fewest and at the most clips, and the ceilings."""
    parts = []
    for setting, here in points(table, metric).groupby("setting", sort=False):
        lines = []
        for row in STYLES:
            means = here[here["row"] == row].groupby("clips")["value"].mean()
            if len(means):
                ends = [
                    f"{means[clips]:.2f} with {clips:,}" for clips in dict.fromkeys((means.index[0], means.index[-1]))
                ]
                lines.append(f"{row} {', '.join(ends)}")
        best = ceilings(here["result"].iloc[0]) if metric == "mae" else {}
        lines += [f"best possible from {name} {error:.2f}" for name, error in best.items()]
        parts.append(f"{setting}: {'; '.join(lines)}")
    return f"Mean {METRICS[metric].label} by number of labelled clips. {'. '.join(parts)}."


def seeds(table: Table) -> str:
    """Say how many seeds stand behind the points of the curves, and which points have not been run."""
    counts = points(table).groupby(["setting", "row", "clips"])["seed"].nunique()
    missing = [f"{row} at {column}" for row, column in table.missing]
    span = f"{counts.min()} to {counts.max()}" if counts.min() < counts.max() else str(counts.max())
    text = f"Seeds per point: {span}."
    if not missing:
        return text
    shown = "; ".join(missing) if len(missing) <= 4 else f"{len(missing)} of {len(table.needs)} points"
    return f"{text} Not run yet: {shown}."
