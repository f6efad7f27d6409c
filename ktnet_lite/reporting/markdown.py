"""Tables as Markdown pages for the terminal, GitHub and the book, and their pictures."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ktnet_lite.config import TrainConfig
from ktnet_lite.data.catalogue.entries import ENTRIES
from ktnet_lite.experiments.grids import Grid
from ktnet_lite.experiments.result import Result
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.reporting import verdicts
from ktnet_lite.reporting.compare import Comparison
from ktnet_lite.reporting.tables import Place, Table
from ktnet_lite.text import duration, file_name, markdown, plain, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RULES = f"""\
- Each number is the mean over seeds with its 95% bootstrap interval.
- If the paper has a number on the same data, it follows as (paper, ours minus paper, verdict). Ours is *level* if the
  paper's number lies in our interval, otherwise *better* or *worse*. Without a number of ours, it stands alone.
- Comparisons are paired on seeds and clips; p is corrected for their number (Benjamini & Hochberg).
- A difference is detected if p is below {verdicts.SURE:g}. It then has the *{verdicts.SAME}* or the
  *{verdicts.OPPOSITE}*. Where the paper has no sign, the first row is *{verdicts.BETTER}* or *{verdicts.WORSE}*.
- Otherwise the verdict is *{verdicts.UNDETECTED}*, which does not mean that there is no difference."""


def page(tables: Sequence[Table]) -> str:
    """Write a grid on all its data sets."""
    grid = tables[0].grid
    sections = [f"# {printable(grid.title)}", grid.about, RULES]
    for table in tables:
        sections.append(f"## On {plain(table.data)}")
        sections += _section(table)
    return "\n\n".join(sections) + "\n"


def _section(table: Table) -> list[str]:
    parts = []
    for column in table.columns:
        parts += [f"**{plain(column)}**", values(table, column)]
    if table.missing:
        parts.append(how_to_get(table))
    if table.comparisons:
        parts += ["**Compared**", compared(table.comparisons)]
    if runs := table.results():
        parts.append(provenance(runs))
    return parts


def how_to_get(table: Table) -> str:
    """List the commands that fill a table's missing cells; empty where nothing is missing."""
    return "\n".join(f"- {_how_to_get(name, table)}" for name in sorted(set(table.missing.values())))


def _how_to_get(name: str, table: Table) -> str:
    run = f"`ktnet-lite reproduce {table.grid.name} --data {shlex.quote(table.data)}`"
    if name not in ENTRIES:
        return f"not run yet: {run}"
    fetch = f"`ktnet-lite data fetch {name}{'' if ENTRIES[name].public else ' --from FOLDER'}`"
    return f"needs {name}: get it by {fetch}, then {run}"


def values(table: Table, column: str) -> str:
    """Write a column's rows by metrics: ours with intervals, the paper's beside them."""
    metrics = table.grid.metrics
    lines = [("", *(METRICS[name].label for name in metrics), "runs")]
    for place in table.needs:
        if place[1] == column:
            cells = (_cell(table, place, name) for name in metrics)
            lines.append((plain(place[0]), *cells, str(len(table.results(*place)))))
    return markdown(lines)


def _cell(table: Table, place: Place, metric: str) -> str:
    if name := table.missing.get(place):
        missing = f"needs {name}" if name in ENTRIES and not ENTRIES[name].public else "not run"
        number = table.printed.get(place, {}).get(metric)
        return missing if number is None else f"{missing} ({number:.3f})"
    value = table.values[place].get(metric)
    if value is None:
        return "undefined"
    if value.paper is None:
        return str(value.interval)
    return f"{value.interval} ({value.paper:.3f}, {value.difference:+.3f}, *{value.verdict(metric)}*)"


def compared(comparisons: Sequence[Comparison]) -> str:
    """Write paired differences with their verdicts, one per line."""
    lines = [("", "", "metric", "difference [95%]", "verdict", "p", "seeds", "paper")]
    for found in comparisons:
        lines.append(
            (
                plain(f"{found.ours} - {found.other}"),
                plain(found.column),
                METRICS[found.metric].label,
                str(found.difference),
                found.verdict,
                f"{found.p:.3f}",
                str(found.difference.runs),
                "" if found.paper is None else f"{found.paper:+.3f}",
            )
        )
    return markdown(lines)


def provenance(runs: Sequence[Result]) -> str:
    """Say in a sentence on which machines, from which data and in what time some runs were made."""
    machines = sorted({plain(run.hardware.gpu or f"{run.hardware.cpu} CPU") for run in runs})
    torch = sorted({run.libraries["torch"] for run in runs})
    versions = sorted({run.package for run in runs})
    checksums = sorted({run.dataset.checksum[:12] for run in runs})
    seconds = [run.seconds for run in runs]
    return (
        f"{len(runs)} runs on {', '.join(machines)}; ktnet-lite {', '.join(versions)}, torch {', '.join(torch)}; data "
        f"{', '.join(checksums)}; median training {duration(statistics.median(seconds))}, all {duration(sum(seconds))}."
    )


def chief(grid: Grid) -> str:
    """Choose the metric that a grid's pictures show."""
    return "mae" if "mae" in grid.metrics else grid.metrics[0]


def picture(table: Table, column: str) -> Figure | None:
    """Draw a column's rows by its chief metric; None where nothing has run."""
    from ktnet_lite.reporting.plots import colour_of, comparison

    metric = chief(table.grid)
    places = [place for place in table.values if place[1] == column and metric in table.values[place]]
    rows = {row: table.values[row, column][metric].interval for row, _ in places}
    configs = {row: table.results(row, column)[0].config for row in rows}
    colours = {row: "missing" if is_control(config) else colour_of(config.system) for row, config in configs.items()}
    return comparison(rows, metric, colours=colours) if rows else None


def is_control(config: TrainConfig) -> bool:
    """Whether a run of ours is a control: without Eq. (1), or with voices that say nothing about its clips."""
    lambdas = [value for name, value in config.identity.items() if name.startswith("lambda_")]
    return bool(lambdas) and ((not any(lambdas) and not config.pretrain) or config.voice != "own")


def pictures(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Draw every column that has runs into a folder."""
    from ktnet_lite.reporting.plots import save

    drawn = []
    for table in tables:
        for column in table.columns:
            if figure := picture(table, column):
                path = folder / picture_name(table, column)
                save(figure, path)
                drawn.append(path)
    return drawn


def picture_name(table: Table, column: str) -> str:
    """Name the file of a column's picture."""
    return file_name(f"{table.grid.name}-{table.data}-{column}".replace(",", "")) + ".png"
