"""The pictures of the results page, and each in words."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ktbook import claims
from ktnet_lite.course.claim import heat_maps
from ktnet_lite.course.results import STYLES, learning_curves, panels
from ktnet_lite.reporting import report
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
CENTRAL = ("Full modality", "Ours", "Language and vision", "Language only")


class Picture(NamedTuple):
    """A figure with what a page says of it."""

    figure: Figure
    alt: str
    caption: str


def png(drawn: Figure) -> bytes:
    """A figure as a file, the same from run to run."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=130, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()


def settings(tables: Iterable[Table]) -> dict[str, dict[str, Sequence[dict]]]:
    """Where the central comparison has been run: data and column -> row -> results."""
    found = {}
    for table in tables:
        for column in table.columns:
            runs = {row: table.runs[row, column] for row in CENTRAL if table.runs.get((row, column))}
            if runs:
                found[f"{table.data}, {column}" if len(table.columns) > 1 else table.data] = runs
    return found


def comparison(tables: Iterable[Table]) -> Picture | None:
    """MAE of the few systems that the paper is about, with and without audio."""
    rows, floors = {}, {}
    for setting, its in settings(tables).items():
        runs = [run for group in its.values() for run in group]
        found = report.intervals(runs, "mae")
        order = ("full", *claims.FILLS, "language", "language_vision", "ours")
        rows[setting] = {name: found[name] for name in order if name in found}
        floors[setting] = runs[0]["baselines"]["training median"]["mae"]
    if not rows:
        return None
    told = (f"{setting}: {'; '.join(f'{name} {x}' for name, x in its.items())}" for setting, its in rows.items())
    return Picture(panels(rows, "mae", floors), f"MAE, mean and 95% interval. {'. '.join(told)}.", CENTRAL_CAPTION)


def curves(tables: Iterable[Table]) -> Picture | None:
    """MAE on the valid split by epoch."""
    runs = {}
    for setting, its in settings(tables).items():
        systems = {group[0]["system"]: group for group in its.values() if group[0]["system"] in STYLES}
        valid = {name: [[epoch["valid_mae"] for epoch in run["curves"]] for run in g] for name, g in systems.items()}
        if valid:
            runs[setting] = {name: valid[name] for name in STYLES if name in valid}
    if not runs:
        return None
    told = []
    for setting, its in runs.items():
        ends = {name: [np.mean([curve[epoch] for curve in group]) for epoch in (0, -1)] for name, group in its.items()}
        told.append(f"{setting}: {'; '.join(f'{name} from {a:.2f} to {b:.2f}' for name, (a, b) in ends.items())}")
    alt = f"Mean MAE on the valid split, first to last epoch. {'. '.join(told)}."
    return Picture(learning_curves(runs, "MAE on the valid split"), alt, CURVES_CAPTION)


def noise(table: Table) -> Picture | None:
    """Differences of MAE over redundancy and noise, once all have been run."""
    knobs = {c: (x["redundancy"], x["audio_noise"]) for c, x in table.grid.data[table.data].items()}
    levels = [sorted(set(values)) for values in zip(*knobs.values(), strict=True)]
    shown, told = {}, []
    for other in ("Full modality", "Language and vision"):
        its = {knobs[x.column]: x for x in table.comparisons if x.other == other and x.metric == "mae"}
        if len(its) < len(knobs):
            return None
        grid = [[its[redundancy, level] for level in levels[1]] for redundancy in levels[0]]
        values = np.array([[x.difference.mean for x in row] for row in grid])
        sure = np.array([[x.verdict != "not shown" for x in row] for row in grid])
        title = f"ours minus {other[0].lower()}{other[1:]}"
        shown[title] = values, sure
        told.append(f"{title}: {', '.join(f'{x.column} {x.difference.mean:+.2f}' for row in grid for x in row)}")
    return Picture(heat_maps(shown, *levels), f"Differences of MAE. {'. '.join(told)}.", NOISE_CAPTION)
