"""Systems on every subset of the modalities, from the results of a grid: as a frame and as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from ktnet_lite.experiments.result import Result
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.measures.statistics import PER_CLIP, paired_difference
from ktnet_lite.names import MODALITIES, VARIANTS, subsets
from ktnet_lite.reporting.compare import Comparison, corrected
from ktnet_lite.reporting.markdown import best, bold, is_control
from ktnet_lite.reporting.tables import Table
from ktnet_lite.text import markdown, plain

SPECIALISTS = {"ktnet": "KTNet, one for each subset", "linear": "Ridge, one for each subset"}
FILLED = {"zero": "zeros", "mean": "means"}
MEAN = "mean"  # over the subsets
SUBSETS = ["_".join(subset) for subset in subsets(MODALITIES)]


def page(tables: Sequence[Table]) -> str:
    """Write the errors on every subset, and how the chosen any model differs; empty where none has been run."""
    parts = []
    for table in tables:
        for column in table.columns:
            if best := chosen(table, column):
                laid_out = tests(table, column)
                parts.append(f"## On {plain(table.data)}, {plain(column)}: any modality missing")
                parts += [values(laid_out, metric) for metric in ("mae", "corr")]
                parts.append(f"“{plain(best)}” has the lowest error on the validation set. Bold: detected.")
                parts.append(differences(comparisons(laid_out, best)))
    return "".join(f"\n{part}\n" for part in parts)


def tests(table: Table, column: str) -> pd.DataFrame:
    """Lay out a column: a row for each system, subset and seed, with ``mae``, ``corr``, scores and the result.

    Systems for single subsets form one system together.
    """
    found = [
        {"system": system, "subset": subset, "seed": run.seed, **metrics, "scores": scores, "result": run}
        for row in dict.fromkeys(row for row, name in table.needs if name == column)
        for run in table.results(row, column)
        for system, subset, metrics, scores in _of_run(row, run)
    ]
    laid_out = pd.DataFrame(found, columns=["system", "subset", "seed", "mae", "corr", "scores", "result"])
    return laid_out[laid_out["subset"].isin(SUBSETS)]


def chosen(table: Table, column: str) -> str | None:
    """Name the row of an any model with the lowest error on the validation set, mean over subsets and seeds.

    Controls do not count. None where no any model has been run.
    """
    errors: dict[str, float] = {}
    for row in dict.fromkeys(row for row, name in table.needs if name == column):
        runs = table.results(row, column)
        if runs and runs[0].config.variant == "any" and not is_control(runs[0].config):
            errors[row] = float(np.mean([run.curves[run.best_epoch]["valid_mae"] for run in runs]))
    return min(errors, key=errors.__getitem__, default=None)


def _of_run(row: str, run: Result) -> Iterator[tuple[str, str, dict[str, float | None], np.ndarray]]:
    config = run.config
    if config.variant != "any" and config.model in SPECIALISTS:
        subset = "_".join(VARIANTS[config.variant])
        metrics, scores = run.metrics["test"], run.scores
        yield SPECIALISTS[config.model], subset, {name: metrics[name] for name in ("mae", "corr")}, scores
    if config.model == "linear":  # its means are no model of what is missing, and it has its own for each subset
        return
    for fill, each in run.subsets.items():
        label = row if fill == "inferred" else f"{row}, {FILLED[fill]}"
        for subset, filled in each.items():
            values = {name: filled.metrics[name] for name in ("mae", "corr")}
            yield label, subset, values, np.array(filled.scores)


def present(laid_out: pd.DataFrame) -> list[str]:
    """List the subsets that are there, the complete one first."""
    return [subset for subset in SUBSETS if (laid_out["subset"] == subset).any()]


def values(laid_out: pd.DataFrame, metric: str = "mae") -> str:
    """Write a metric of each system on each subset, a mean over seeds, and its mean over the subsets; best in bold."""
    known = present(laid_out)
    rows: dict[str, list[float]] = {}
    for system, here in laid_out.groupby("system", sort=False):
        means = here.groupby("subset")[metric].mean().reindex(known)
        rows[str(system)] = [*means, float(np.mean(means.to_numpy()))]
    known_of = {system: {i: x for i, x in enumerate(row) if not np.isnan(x)} for system, row in rows.items()}
    marked = best(known_of, rows, lambda _: metric)
    lines: list[tuple[str, ...]] = [
        (f"{METRICS[metric].label} {METRICS[metric].arrow}", *map(letters, known), MEAN, "seeds")
    ]
    for system, row in rows.items():
        cells = ("-" if np.isnan(x) else bold(f"{x:.3f}", (system, i) in marked) for i, x in enumerate(row))
        seeds = laid_out[laid_out["system"] == system]["seed"].nunique()
        lines.append((plain(system), *cells, str(seeds)))
    return markdown(lines)


def comparisons(laid_out: pd.DataFrame, ours: str) -> list[Comparison]:
    """Compare the MAE of one system with that of every other, on each subset and on the mean over them.

    Paired on seeds and clips; p is corrected for the number of comparisons.
    """
    others = [name for name in dict.fromkeys(laid_out["system"]) if name != ours]
    sides = {other: _errors(laid_out, ours, other) for other in others}
    return corrected(_compared(x, ours, other, *found[x]) for other, found in sides.items() for x in found)


def on_the_mean(laid_out: pd.DataFrame, pairs: Iterable[tuple[str, str]]) -> list[Comparison]:
    """Compare pairs of systems by the MAE that is the mean over the subsets; as :func:`comparisons` does."""
    sides = {pair: _errors(laid_out, *pair).get(MEAN) for pair in pairs}
    return corrected(_compared(MEAN, *pair, *found) for pair, found in sides.items() if found)


def _errors(laid_out: pd.DataFrame, ours: str, other: str) -> dict[str, list[np.ndarray]]:
    """Lay out the errors of two systems, (seeds, clips) each, by subset, and their mean if no subset is absent."""
    sides = [laid_out[laid_out["system"] == system] for system in (ours, other)]
    pairs = sides[0].merge(sides[1], on=["subset", "seed"], suffixes=("", "_other")).sort_values("seed")
    errors = {}
    for subset in present(pairs):
        here = pairs[pairs["subset"] == subset]
        targets = here["result"].iloc[0].targets
        errors[subset] = [PER_CLIP["mae"](np.stack(list(here[s])), targets) for s in ("scores", "scores_other")]
    if errors and len(errors) == len(present(laid_out)):
        same = min(len(found) for found, _ in errors.values())
        errors[MEAN] = [np.mean([side[i][:same] for side in errors.values()], axis=0) for i in (0, 1)]
    return errors


def _compared(column: str, ours: str, other: str, left: np.ndarray, right: np.ndarray) -> Comparison:
    nothing = np.zeros(left.shape[1])  # the errors know the targets
    found = paired_difference(lambda errors, _: errors, left, right, nothing)
    return Comparison(column, ours, other, "mae", found, found.p)


def differences(compared: list[Comparison]) -> str:
    """Write the comparisons with each other system: that of the means, and where a difference is detected."""
    heading = f"MAE of {compared[0].ours} minus that of" if compared else ""
    lines = [(heading, f"{MEAN} [95%]", "smaller with", "larger with", "not detected with")]
    for other in dict.fromkeys(x.other for x in compared):
        here = {x.column: x for x in compared if x.other == other}
        whole = here.pop(MEAN, None)
        told = "-" if whole is None else f"**{whole.difference}**" if whole.detected else str(whole.difference)
        smaller, larger = (
            ", ".join(
                f"{letters(name)} {x.difference.mean:+.3f}"
                for name, x in here.items()
                if x.detected and (x.difference.mean > 0) == worse
            )
            for worse in (False, True)
        )
        unsure = ", ".join(letters(name) for name, x in here.items() if not x.detected)
        lines.append((plain(other), told, smaller, larger, unsure))
    return markdown(lines)


def every_difference(compared: list[Comparison]) -> str:
    """Write each comparison of one system with its interval and p-value."""
    heading = f"MAE of {compared[0].ours} minus that of" if compared else ""
    lines = [(heading, "with", "difference [95%]", "p", "seeds")]
    for x in compared:
        column = x.column if x.column == MEAN else letters(x.column)
        lines.append((plain(x.other), column, str(x.difference), f"{x.p:.3g}", str(x.difference.runs)))
    return markdown(lines)


def letters(subset: str) -> str:
    """Shorten the name of a subset to initials: LV for ``language_vision``."""
    return "".join(part[0].upper() for part in subset.split("_"))
