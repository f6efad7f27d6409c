"""What the results show about missing modalities: figure, errors, rebuilt features and differences, by data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ktbook.result_figures import png
from ktbook.result_text import command, figure
from ktbook.result_text import table as captioned
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.measures.statistics import Interval, mean_interval
from ktnet_lite.names import MODALITIES
from ktnet_lite.reporting import subsets
from ktnet_lite.reporting.tables import Table
from ktnet_lite.text import file_name, markdown

BESIDE = [subsets.SPECIALISTS["ktnet"], subsets.SPECIALISTS["linear"], "Full modality, means"]
CAPTION = """\
MAE on the test set by available modalities: mean over seeds, bars from the best to the worst seed. Specialists are one
model for each subset; the others are one model for all subsets."""


def page(tables: Sequence[Table]) -> dict[str, str | bytes]:
    """Write ``any-subsets.md`` and its figures."""
    content: dict[str, str | bytes] = {}
    parts = []
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
            if drawn := subsets.draw(laid_out, shown):
                name = file_name(f"any-subsets-{table.data}-{column}") + ".png"
                content[name] = png(drawn)
                parts.append(figure(name, subsets.in_words(laid_out, shown), CAPTION))
            compared = subsets.comparisons(laid_out, best)
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
    return content | {"any-subsets.md": "\n\n".join(parts) + "\n"}


def rebuilt(table: Table, row: str, column: str) -> str:
    """Write R2 of every reconstruction of a row on the validation set, at the epoch that was kept."""
    runs = [run.curves[run.best_epoch] for run in table.results(row, column)]
    lines = [("from, to", *MODALITIES)]
    for source in MODALITIES:
        cells = ["" if source == name else _interval(runs, f"valid_{source}_to_{name}_r2") for name in MODALITIES]
        lines.append((source, *cells))
    return markdown(lines)


def _interval(epochs: Sequence[dict[str, float]], name: str) -> str:
    known = [epoch[name] for epoch in epochs if name in epoch]
    interval: Interval | None = mean_interval(known) if known and np.isfinite(known).all() else None
    return "-" if interval is None else str(interval)
