"""What the results show about light models: error against cost, as a figure and a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache

import numpy as np

from ktbook.result_figures import png
from ktbook.result_text import command, figure, mean
from ktbook.result_text import table as captioned
from ktnet_lite.config import TrainConfig
from ktnet_lite.course import small_and_live
from ktnet_lite.reporting import markdown as pages
from ktnet_lite.reporting import subsets
from ktnet_lite.reporting.tables import Table
from ktnet_lite.text import file_name, markdown
from ktnet_lite.training.dataset import load_dataset

CAPTION = """\
MAE on the test set, averaged over the subsets of the modalities, against the operations for one complete clip: mean
over seeds, bars from the best to the worst seed. The line joins the models that no other model beats in both."""


def page(tables: Sequence[Table]) -> dict[str, str | bytes]:
    """Write ``light-cost.md`` and its figures."""
    content: dict[str, str | bytes] = {}
    parts = []
    for table in tables:
        for column in table.columns:
            parts.append(f"**{table.data}, {column}**")
            runs = {row: found for row in table.grid.columns[column] if (found := table.results(row, column))}
            points = {row: (_cost(found[0].config), [_mae(run) for run in found]) for row, found in runs.items()}
            if len(points) < 2:
                parts.append(f"Not run yet: {command(table.grid.name, table.data)}.")
                continue
            name = file_name(f"light-cost-{table.data}-{column}") + ".png"
            content[name] = png(small_and_live.frontier(points))
            alternative = "; ".join(
                f"{row}: {x / 1e6:.0f} million, MAE {np.mean(y):.3f}" for row, (x, y) in points.items()
            )
            parts.append(figure(name, alternative, CAPTION))
            lines = [
                (row, f"{x / 1e6:.0f}", f"{runs[row][0].model_parameters:,}", mean(y), str(len(y)))
                for row, (x, y) in sorted(points.items(), key=lambda item: item[1][0])
            ]
            least = min((line[3] for line in lines), key=float)
            lines = [(*line[:3], pages.bold(line[3], line[3] == least), line[4]) for line in lines]
            caption = f"`{table.data}`, {column}, the cheapest first: MAE on the test set, mean over subsets and seeds"
            rows = [("model", "million operations", "parameters", "MAE, all subsets", "seeds"), *lines]
            parts.append(captioned(f"{caption}; lower is better, the best is bold.", markdown(rows)))
            caption = f"`{table.data}`, {column}: differences of that MAE, paired; below zero the first is better."
            parts.append(captioned(f"{caption} Bold: detected.", differences(table, column)))
    return content | {"light-cost.md": "\n\n".join(parts) + "\n"}


def differences(table: Table, column: str) -> str:
    """Write the grid's comparisons, each of the mean error over the subsets of the modalities."""
    lines = [("", "difference [95%]", "verdict", "p", "seeds")]
    for x in subsets.on_the_mean(subsets.tests(table, column), table.grid.compare):
        shown = pages.bold(str(x.difference), x.detected)
        lines.append((f"{x.ours} - {x.other}", shown, x.verdict, f"{x.p:.3g}", str(x.difference.runs)))
    return markdown(lines)


def _mae(run) -> float:
    """Average the error over the subsets of the modalities."""
    return float(np.mean([found.metrics["mae"] for found in run.subsets["inferred"].values()]))


@cache
def _cost(config: TrainConfig) -> int:
    return small_and_live.cost(config, load_dataset(dataclasses.replace(config, grid=0)) if config.grid else None)
