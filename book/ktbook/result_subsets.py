"""What the results show about missing modalities: in short, and a figure, errors and differences by data set."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ktbook.result_figures import png
from ktbook.result_text import NOTHING, command, figure
from ktbook.result_text import table as captioned
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.measures.statistics import Interval, mean_interval
from ktnet_lite.names import MODALITIES
from ktnet_lite.reporting import plots, subsets
from ktnet_lite.reporting.compare import Comparison
from ktnet_lite.reporting.markdown import bold
from ktnet_lite.reporting.tables import Table
from ktnet_lite.text import file_name, markdown

BESIDE = [subsets.SPECIALISTS["ktnet"], subsets.SPECIALISTS["linear"], "Full modality, means"]
CAPTION = """\
MAE on the test set by available modalities: mean over seeds, bars from the best to the worst seed. Specialists are one
model for each subset; the others are one model for all subsets."""
SHORT = (
    "MAE on the test set, mean over the subsets: the any model that the validation set chooses minus others. Below "
    "zero it is better; bold: detected. Largest loss: the modality without which the error rises most. Best "
    "reconstruction: by $R^2$ on the validation set."
)
HEADING = (
    *("", "any - specialists", "any - token alone", "any - lambda 0", "any - others' features"),
    *("largest loss", "best reconstruction", "seeds"),
)
COLOUR_OF = {
    subsets.SPECIALISTS["ktnet"]: "vision",
    subsets.SPECIALISTS["linear"]: "missing",
    "Full modality, means": "missing",
}
MARKERS = {subsets.SPECIALISTS["linear"]: "s", "Full modality, means": "D"}
OFF = {"lambda_language": 0.0, "lambda_vision": 0.0, "lambda_audio": 0.0}


def page(tables: Sequence[Table]) -> dict[str, str | bytes]:
    """Write ``any-short.md``, ``any-subsets.md`` and its figures."""
    content: dict[str, str | bytes] = {}
    parts, lines = [], [HEADING]
    for table in tables:
        for column in table.columns:
            laid_out = subsets.tests(table, column)
            parts.append(f"### {table.data}, {column}")
            best = subsets.chosen(table, column)
            if best is None:
                parts.append(f"Not run yet: {command(table.grid.name, table.data)}.")
                continue
            parts.append(
                f"Of the any models, “{best}” has the lowest error on the validation set. The comparisons below use it."
            )
            shown = [best, *BESIDE]
            if drawn := draw(laid_out, shown):
                name = file_name(f"any-subsets-{table.data}-{column}") + ".png"
                content[name] = png(drawn)
                parts.append(figure(name, in_words(laid_out, shown), CAPTION))
            compared = subsets.comparisons(laid_out, best)
            lines.append(short(table, column, best, laid_out, compared))
            place = f"`{table.data}`, {column}"
            for metric in ("mae", "corr"):
                caption = f"{place}: {METRICS[metric].label} on the test set by what a clip has, mean over seeds"
                caption = f"{caption}; {METRICS[metric].direction}. The best of each column is bold."
                parts.append(captioned(caption, subsets.values(laid_out, metric)))
            caption = f"{place}: MAE of “{best}” minus that of each system, paired; below zero it is better."
            parts.append(captioned(f"{caption} Bold: detected.", subsets.differences(compared)))
            parts += [":::{dropdown} Every interval", captioned(caption, subsets.every_difference(compared)), ":::"]
            caption = f"{place}: $R^2$ of the reconstructions on the validation set, mean over seeds; higher is better."
            parts.append(captioned(caption, rebuilt(table, best, column)))
    content["any-short.md"] = (
        captioned(SHORT, markdown(list(zip(*lines, strict=True)))) if lines[1:] else NOTHING
    ) + "\n"
    return content | {"any-subsets.md": "\n\n".join(parts) + "\n"}


def short(
    table: Table, column: str, best: str, laid_out: pd.DataFrame, compared: Sequence[Comparison]
) -> tuple[str, ...]:
    """Answer the page's questions about a column in one line: the cells beside ``HEADING``."""
    chosen = table.grid.rows[best]
    controls = ({**chosen, "missing": "token"}, {**chosen, **OFF}, {**chosen, "voice": "other"})
    named = (next((row for row, each in table.grid.rows.items() if each == control), "") for control in controls)
    whole = {x.other: x for x in compared if x.column == subsets.MEAN}
    differences = [
        "-" if x is None else bold(str(x.difference), x.detected)
        for x in map(whole.get, (subsets.SPECIALISTS["ktnet"], *named))
    ]
    mae = laid_out[laid_out["system"] == best].groupby("subset")["mae"].mean()
    complete = max(mae.index, key=len)
    lost = {
        name: mae[rest] - mae[complete]
        for name in complete.split("_")
        if (rest := "_".join(part for part in complete.split("_") if part != name)) in mae
    }
    worst = max(lost, key=lost.__getitem__)
    epochs = _kept(table, best, column)
    r2 = {
        (source, name): np.mean([epoch.get(f"valid_{source}_to_{name}_r2", -np.inf) for epoch in epochs])
        for source, name in permutations(MODALITIES, 2)
    }
    (source, name), most = max(r2.items(), key=lambda item: item[1])
    easiest = f"{name} from {source}, {most:.2f}" if np.isfinite(most) else "-"
    return f"`{table.data}`, {column}", *differences, f"{worst}, {lost[worst]:+.2f}", easiest, str(len(epochs))


def rebuilt(table: Table, row: str, column: str) -> str:
    """Write R2 of every reconstruction of a row on the validation set, at the epoch that was kept."""
    epochs = _kept(table, row, column)
    lines = [("from, to", *MODALITIES)]
    for source in MODALITIES:
        cells = ["" if source == name else _interval(epochs, f"valid_{source}_to_{name}_r2") for name in MODALITIES]
        lines.append((source, *cells))
    return markdown(lines)


def _kept(table: Table, row: str, column: str) -> list[dict[str, float]]:
    """The epoch that was kept, of each run of a cell."""
    return [run.curves[run.best_epoch] for run in table.results(row, column)]


def _interval(epochs: Sequence[dict[str, float]], name: str) -> str:
    known = [epoch[name] for epoch in epochs if name in epoch]
    interval: Interval | None = mean_interval(known) if known and np.isfinite(known).all() else None
    return "-" if interval is None else str(interval)


def draw(laid_out: pd.DataFrame, systems: list[str]) -> Figure | None:
    """Draw the MAE of some systems on every subset, mean over seeds; bars reach from the best to the worst seed."""
    known, shown = subsets.present(laid_out), [name for name in systems if (laid_out["system"] == name).any()]
    if not shown:
        return None
    drawn, (axes,) = plots.figure(1, height=3.8)
    palette = {name: plots.COLOURS[COLOUR_OF.get(name, "any")] for name in shown}
    part = laid_out[laid_out["system"].isin(shown)]
    sns.pointplot(
        part.assign(subset=part["subset"].map(_heading)),
        x="mae",
        y="subset",
        hue="system",
        hue_order=shown,
        order=[_heading(subset) for subset in known],
        palette=palette,
        markers=[MARKERS.get(name, "o") for name in shown],
        dodge=0.5 if len(shown) > 1 else False,  # type: ignore[arg-type]
        linestyle="none",
        errorbar=("pi", 100),
        markersize=5,
        err_kws={"linewidth": 1.2},
        ax=axes,
    )
    axes.set(xlabel=f"MAE on the test set ({METRICS['mae'].direction})", ylabel="")
    sns.move_legend(
        axes, "upper left", bbox_to_anchor=(1, 1), title="", frameon=False, fontsize=9, labelcolor=plots.GREY
    )
    return drawn


def in_words(laid_out: pd.DataFrame, systems: list[str]) -> str:
    """Describe the figure: the mean error of each system on each subset."""
    parts = []
    for subset in subsets.present(laid_out):
        here = laid_out[laid_out["subset"] == subset]
        known = [name for name in systems if (here["system"] == name).any()]
        numbers = (f"{name} {here[here['system'] == name]['mae'].mean():.2f}" for name in known)
        parts.append(f"{_heading(subset)}: {', '.join(numbers)}")
    return f"MAE by subset of the modalities. {'. '.join(parts)}."


def _heading(subset: str) -> str:
    return subset.replace("_", " + ")
