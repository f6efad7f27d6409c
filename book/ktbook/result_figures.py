"""The figures of the results page, each with a description in words."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ktbook import claims, result_claims
from ktbook.result_plots import STYLES, Mark, epochs, forest, panels
from ktbook.result_text import Tables, short
from ktnet_lite.config import TrainConfig
from ktnet_lite.course.claim import heat_maps
from ktnet_lite.measures.statistics import Interval, mean_interval
from ktnet_lite.names import System
from ktnet_lite.reporting import learning
from ktnet_lite.reporting.compare import Comparison, intervals
from ktnet_lite.reporting.plots import colour_of
from ktnet_lite.reporting.tables import Table

CENTRAL_CAPTION = """\
MAE on the test set, lower is better: mean over seeds and 95% interval. Grey: controls and a linear model. The first
two were trained with all three streams and get zeros, or the mean of the training clips, instead of the voice. Dotted:
always predicting the median of the training labels. Each panel has its own scale."""
EPOCHS_CAPTION = """\
Error on the validation set after each epoch: mean over the seeds still training, with its 95% interval as a band. A
run keeps the weights of its best epoch."""
NOISE_CAPTION = """\
Difference of MAE over redundancy and laughter, the noise in the real voice; below zero ours is better. Hatched and in
brackets: no difference detected."""
LABELS_CAPTION = """\
MAE on the test set against the number of labelled clips, lower is better: mean over seeds; the band reaches from the
best to the worst seed. Broken lines in a method's colour are its controls."""
CEILING_CAPTION = """\
Dashed horizontal lines: the lowest possible error with these streams. Where words and face determine the voice, both
lines coincide."""
PAYS_CAPTION = """\
Difference of MAE over redundancy and labelled clips; below zero the transfer pays. Hatched and in brackets: no
difference detected."""
FOREST_CAPTION = """\
What our runs show about each claim, with 95% intervals. Right of zero, the claim's first system is better. A grey bar
is the margin that still counts as close."""
FULL = System("ktnet", "full")
CENTRAL = ("Full modality", "Ours", "Language and vision", "Language only", "linear")
ORDER = FULL, *claims.SILENCED, *(System("ktnet", name) for name in ("language", "language_vision", "ours"))
LINEAR = System("linear", "full")


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


def comparison(tables: Iterable[Table], results: pd.DataFrame) -> Picture | None:
    """Draw the MAE of the central systems, with and without audio, and of the controls of ours."""
    rows: dict[str, dict[str, Interval]] = {}
    floors = {}
    for setting, (table, column) in settings(tables).items():
        tests = pd.concat(table.tests(row, column, fill) for row in CENTRAL for fill in (None, "zero", "mean"))
        known = intervals(tests, "mae")
        rows[setting] = {str(system): known[system] for system in (*ORDER, LINEAR) if system in known}
        for name in claims.CONTROLS:
            if len(runs := claims.controls_of(table, column, results)[name]):
                rows[setting][name] = mean_interval(list(runs["mae"]))
        floors[setting] = tests["result"].iloc[0].baselines["training median"]["mae"]
    if not rows:
        return None
    colours = {str(system): colour_of(system) for system in ORDER}
    colours |= dict.fromkeys((*claims.CONTROLS, str(LINEAR)), "missing")
    parts = (f"{setting}: {'; '.join(f'{name} {x}' for name, x in row.items())}" for setting, row in rows.items())
    alt = f"MAE, mean and 95% interval. {'. '.join(parts)}."
    return Picture(panels(rows, "mae", floors, colours), alt, CENTRAL_CAPTION)


def by_epoch(tables: Iterable[Table]) -> Picture | None:
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
    alt = f"Mean MAE on the validation set, first to last epoch. {'. '.join(parts)}."
    return Picture(epochs(runs, "MAE on the validation set"), alt, EPOCHS_CAPTION)


class Map(NamedTuple):
    """Differences of MAE over two parameters of a table's columns."""

    levels: list[list[float]]  # of each parameter, in order
    values: np.ndarray  # NaN where a comparison has not been run
    sure: np.ndarray  # whether a difference was detected
    compared: list[Comparison]


def differences(table: Table, parameters: tuple[str, str], ours: str, other: str) -> Map:
    """Lay out the differences of MAE between two rows by the values that the columns give to two parameters."""
    levels_of = {
        column: tuple(set_there.get(name, getattr(TrainConfig, name)) for name in parameters)
        for column, set_there in table.grid.data[table.data].items()
    }
    levels = [sorted(set(values)) for values in zip(*levels_of.values(), strict=True)]
    values = np.full([len(x) for x in levels], np.nan)
    sure = np.zeros(values.shape, dtype=bool)
    compared = [x for x in table.comparisons if (x.ours, x.other, x.metric) == (ours, other, "mae")]
    for x in compared:
        place = tuple(known.index(level) for known, level in zip(levels, levels_of[x.column], strict=True))
        values[place], sure[place] = x.difference.mean, x.detected
    return Map(levels, values, sure, compared)


def noise(table: Table) -> Picture | None:
    """Draw the differences of MAE over redundancy and noise; None unless all settings have been run."""
    maps = {
        other: differences(table, ("redundancy", "audio_noise"), "Ours", row)
        for other, row in (("full", "Full modality"), ("language_vision", "Language and vision"))
    }
    if any(np.isnan(found.values).any() for found in maps.values()):
        return None
    told = (
        f"ours minus {other}: {', '.join(f'{x.column} {x.difference.mean:+.2f}' for x in found.compared)}"
        for other, found in maps.items()
    )
    panels = {f"ours - {other}": (other, found.values, found.sure) for other, found in maps.items()}
    drawn = heat_maps(panels, *maps["full"].levels)
    return Picture(drawn, f"Differences of MAE. {'. '.join(told)}.", NOISE_CAPTION)


def by_labels(table: Table) -> Picture | None:
    """Draw the error against the number of labelled clips."""
    drawn = learning.learning_curves(table)
    if drawn is None:
        return None
    best = f" {CEILING_CAPTION}" if table.data == "synthetic" else ""
    return Picture(drawn, learning.in_words(table), f"{LABELS_CAPTION}{best} {learning.seeds(table)}")


def where_it_pays(table: Table) -> Picture | None:
    """Draw what the transfer gains over language and vision, by redundancy and labelled clips; gaps are left empty."""
    rows = "Ours", "Ours, unlabelled clips"
    maps = {row: differences(table, ("redundancy", "labelled"), row, "Language and vision") for row in rows}
    maps = {row: found for row, found in maps.items() if found.compared}
    if not maps:
        return None
    panels = {
        f"{row[0].lower()}{row[1:]}, minus language_vision": ("language_vision", found.values, found.sure)
        for row, found in maps.items()
    }
    drawn = heat_maps(panels, *next(iter(maps.values())).levels)
    for panel in drawn.axes:
        panel.set_xlabel("labelled clips")
    told = []
    for row, found in maps.items():
        cells = (
            f"{x.column} {x.difference.mean:+.2f}{'' if x.detected else ' (not detected)'}" for x in found.compared
        )
        told.append(f"{row}: {', '.join(cells)}")
    return Picture(drawn, f"Differences of MAE from language and vision. {'. '.join(told)}.", PAYS_CAPTION)


def by_claim(tables: Tables) -> Picture | None:
    """Draw every claim in every setting: how much better its first system is, coloured by the verdict."""
    rows: dict[str, dict[str, dict[str, Mark]]] = {}
    told = []
    for claim in claims.CLAIMS:
        group = claims.findings(claim, tables)
        for x in group:
            metric = x.comparison.metric
            margin = claims.margin(claim, metric) if claim.close else None
            name = "accuracy" if metric.startswith("acc") else short(metric)
            setting = result_claims.setting(x).replace("`", "")
            rows.setdefault(claim.text, {}).setdefault(setting, {})[name] = Mark(x.gain, x.verdict, margin)
        if group:
            told.append(f"{claim.text}: {result_claims.by_verdict(group)}".translate(str.maketrans("", "", "*`")))
    if not rows:
        return None
    alt = f"Gain of each claim's first system in MAE and accuracy, with intervals. By MAE: {'. '.join(told)}."
    return Picture(forest(rows), alt, FOREST_CAPTION)
