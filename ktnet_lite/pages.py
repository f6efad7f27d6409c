"""Tables as Markdown pages: for the terminal, for GitHub and for the book."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from ktnet_lite.data.sources import ENTRIES
from ktnet_lite.metrics import METRICS
from ktnet_lite.tables import SURE, Comparison, Table
from ktnet_lite.text import duration

RULES = f"""\
Each number is the mean over seeds with its 95% bootstrap interval. Where the paper has a number on the same data, it
stands behind ours as (paper, ours minus paper, verdict), and alone where we have none: *level* when it lies in our
interval, else *better* or *worse*. Comparisons are paired on seeds and clips; p is corrected for their number
(Benjamini & Hochberg). Below {SURE:g} a difference counts as shown: the paper's sign *holds* or is *reversed*, or,
where the paper has none, ours is *better* or *worse*."""


def page(tables: Sequence[Table]) -> str:
    """A grid on all its data sets."""
    grid = tables[0].grid
    sections = [f"# {grid.title}", grid.about, RULES]
    for table in tables:
        sections.append(f"## On {table.data}")
        sections += _section(table)
    return "\n\n".join(sections) + "\n"


def _section(table: Table) -> list[str]:
    parts = []
    for column in table.columns:
        parts += [f"**{column}**", _values(table, column)]
    if table.lacking:
        parts.append("\n".join(f"- {_how_to_get(name, table)}" for name in sorted(set(table.lacking.values()))))
    if table.comparisons:
        parts += ["**Compared**", _comparisons(table.comparisons)]
    if runs := [run for group in table.runs.values() for run in group]:
        parts.append(_provenance(runs))
    return parts


def _how_to_get(name: str, table: Table) -> str:
    run = f"`ktnet-lite reproduce {table.grid.name} --data {table.data}`"
    if name not in ENTRIES:
        return f"not run yet: {run}"
    fetch = f"`ktnet-lite data fetch {name}{'' if ENTRIES[name].public else ' --from FOLDER'}`"
    return f"needs {name}: get it by {fetch}, then {run}"


def _values(table: Table, column: str) -> str:
    metrics = table.grid.metrics
    lines = [("", *(METRICS[name].label for name in metrics), "runs")]
    for row, its in table.runs:
        if its == column:
            lines.append(
                (row, *(_cell(table, (row, column), name) for name in metrics), str(len(table.runs[row, its])))
            )
    return markdown(lines)


def _cell(table: Table, place: tuple[str, str], metric: str) -> str:
    if not table.runs[place]:
        name = table.lacking[place]
        what = f"needs {name}" if name in ENTRIES else "not run"
        theirs = table.printed.get(place, {}).get(metric)
        return what if theirs is None else f"{what} ({theirs:.3f})"
    value = table.values[place].get(metric)
    if value is None:
        return "undefined"
    text = str(value.interval)
    if value.paper is None:
        return text
    return f"{text} ({value.paper:.3f}, {value.difference:+.3f}, *{value.verdict(metric)}*)"


def _comparisons(comparisons: Sequence[Comparison]) -> str:
    lines = [("", "", "metric", "difference", "p", "seeds", "paper", "verdict")]
    for found in comparisons:
        lines.append(
            (
                f"{found.ours} - {found.other}",
                found.column,
                METRICS[found.metric].label,
                str(found.difference),
                f"{found.p:.3f}",
                str(found.difference.runs),
                "" if found.paper is None else f"{found.paper:+.3f}",
                found.verdict,
            )
        )
    return markdown(lines)


def _provenance(runs: Sequence[dict]) -> str:
    machines = sorted({run["hardware"]["gpu"] or f"{run['hardware']['cpu']} CPU" for run in runs})
    torch = sorted({run["libraries"]["torch"] for run in runs})
    versions = sorted({run["package"] for run in runs})
    checksums = sorted({run["dataset"]["checksum"][:12] for run in runs})
    seconds = [run["seconds"] for run in runs]
    return (
        f"{len(runs)} runs on {', '.join(machines)}; ktnet-lite {', '.join(versions)}, torch {', '.join(torch)}; data "
        f"{', '.join(checksums)}; median training {duration(statistics.median(seconds))}, all {duration(sum(seconds))}."
    )


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its heading, in columns that also line up as plain text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def pictures(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Draw every column that has runs, by its chief metric, into the folder."""
    from ktnet_lite.plots import comparison

    drawn = []
    for table in tables:
        metric = "mae" if "mae" in table.grid.metrics else table.grid.metrics[0]
        for column in table.columns:
            places = [place for place in table.values if place[1] == column and metric in table.values[place]]
            if not places:
                continue
            figure = comparison({row: table.values[row, column][metric].interval for row, _ in places}, metric)
            path = folder / f"{table.grid.name}-{table.data}-{column}.png".replace(" ", "-").replace(",", "")
            figure.savefig(path, dpi=150, bbox_inches="tight")
            drawn.append(path)
    return drawn
