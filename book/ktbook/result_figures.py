"""The figures of the results page, each with a description in words."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ktbook import claims
from ktbook.result_plots import STYLES, learning_curves, panels
from ktnet_lite.course.claim import heat_maps
from ktnet_lite.measures.statistics import Interval
from ktnet_lite.names import System
from ktnet_lite.reporting.compare import intervals
from ktnet_lite.reporting.tables import Table

CENTRAL_CAPTION = """\
MAE on the test split, lower is better: mean over seeds and 95% interval. Grey: a model that was trained with all three
streams and gets zeros, or the mean of the training clips, in place of the voice. Dotted: the median of the training
labels, for every clip. Each panel has a scale of its own."""
CURVES_CAPTION = """\
Error on the valid split after each epoch: mean over seeds, with its 95% interval as a band. A training keeps the
weights of its best epoch."""
NOISE_CAPTION = """\
Difference of MAE over redundancy and noise; below zero ours is better. Hatched and in brackets: not shown."""
FULL = System("ktnet", "full")
CENTRAL = ("Full modality", "Ours", "Language and vision", "Language only")


class Picture(NamedTuple):
    """A figure with its alternative text and caption."""

    figure: Figure
    alt: str
    caption: str


def png(drawn: Figure) -> bytes:
    """Render a figure as a PNG file, byte for byte the same in every build."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=130, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()


def settings(tables: Iterable[Table]) -> dict[str, tuple[Table, str]]:
    """List where the central comparison has been run: name -> table and column."""
    places = {}
    for table in tables:
        for column in table.columns:
            if any(table.results(row, column) for row in CENTRAL):
                places[f"{table.data}, {column}" if len(table.columns) > 1 else table.data] = table, column
    return places


def comparison(tables: Iterable[Table]) -> Picture | None:
    """Draw the MAE of the central systems, with and without audio."""
    rows: dict[str, dict[System, Interval]] = {}
    floors = {}
    for setting, (table, column) in settings(tables).items():
        tests = pd.concat(table.tests(row, column, fill) for row in CENTRAL for fill in (None, "zero", "mean"))
        known = intervals(tests, "mae")
        order = FULL, *claims.SILENCED, *(System("ktnet", name) for name in ("language", "language_vision", "ours"))
        rows[setting] = {system: known[system] for system in order if system in known}
        floors[setting] = tests["result"].iloc[0].baselines["training median"]["mae"]
    if not rows:
        return None
    parts = (f"{setting}: {'; '.join(f'{name} {x}' for name, x in row.items())}" for setting, row in rows.items())
    return Picture(panels(rows, "mae", floors), f"MAE, mean and 95% interval. {'. '.join(parts)}.", CENTRAL_CAPTION)


def curves(tables: Iterable[Table]) -> Picture | None:
    """Draw the MAE of the central systems on the validation set, by epoch."""
    runs: dict[str, dict[str, list[list[float]]]] = {}
    for setting, (table, column) in settings(tables).items():
        groups = {str(group[0].config.system): group for row in CENTRAL if (group := table.results(row, column))}
        valid = {name: [[epoch["valid_mae"] for epoch in run.curves] for run in g] for name, g in groups.items()}
        if known := {name: valid[name] for name in STYLES if name in valid}:
            runs[setting] = known
    if not runs:
        return None
    parts = []
    for setting, groups in runs.items():
        ends = {
            name: [np.mean([curve[epoch] for curve in group]) for epoch in (0, -1)] for name, group in groups.items()
        }
        parts.append(f"{setting}: {'; '.join(f'{name} from {a:.2f} to {b:.2f}' for name, (a, b) in ends.items())}")
    alt = f"Mean MAE on the valid split, first to last epoch. {'. '.join(parts)}."
    return Picture(learning_curves(runs, "MAE on the valid split"), alt, CURVES_CAPTION)


def noise(table: Table) -> Picture | None:
    """Draw the differences of MAE over redundancy and noise; None unless all settings have been run."""
    levels_of = {c: (x["redundancy"], x["audio_noise"]) for c, x in table.grid.data[table.data].items()}
    levels = [sorted(set(values)) for values in zip(*levels_of.values(), strict=True)]
    maps, descriptions = {}, []
    for other in ("Full modality", "Language and vision"):
        by_levels = {levels_of[x.column]: x for x in table.comparisons if x.other == other and x.metric == "mae"}
        if len(by_levels) < len(levels_of):
            return None
        grid = [[by_levels[redundancy, level] for level in levels[1]] for redundancy in levels[0]]
        values = np.array([[x.difference.mean for x in row] for row in grid])
        sure = np.array([[x.verdict != "not shown" for x in row] for row in grid])
        title = f"ours minus {other[0].lower()}{other[1:]}"
        maps[title] = values, sure
        descriptions.append(
            f"{title}: {', '.join(f'{x.column} {x.difference.mean:+.2f}' for row in grid for x in row)}"
        )
    return Picture(heat_maps(maps, *levels), f"Differences of MAE. {'. '.join(descriptions)}.", NOISE_CAPTION)
