"""Tables as Markdown pages for the terminal, GitHub and the book, and their pictures."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktnet_lite.config import TrainConfig
from ktnet_lite.data.catalogue.entries import ENTRIES
from ktnet_lite.experiments.grids import Grid
from ktnet_lite.experiments.result import Result
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.names import VARIANTS
from ktnet_lite.reporting import verdicts
from ktnet_lite.reporting.compare import Comparison
from ktnet_lite.reporting.tables import Place, Table
from ktnet_lite.text import duration, file_name, markdown, plain, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WITH_VOICE = "with the voice at test"
RULES = f"""\
- Each number is the mean over seeds with its 95% bootstrap interval.
- If the paper has a number on the same data, it follows as (paper, ours minus paper, verdict). Ours is *level* if the
  paper's number lies in our interval, otherwise *better* or *worse*. Without a number of ours, it stands alone.
- The best number of each metric is bold. Where some rows get the voice at test and others do not, those with the voice
  stand apart and are not compared with the rest.
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
    return "\n\n".join(filter(None, sections)) + "\n"


def _section(table: Table) -> list[str]:
    parts = []
    for column in table.columns:
        parts += [f"**{plain(column)}**", values(table, column), not_run(table, column)]
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


def by_voice(table: Table, column: str) -> tuple[list[str], list[str]]:
    """List the rows of a column that compete, and those that stand apart since they alone get the voice at test.

    MCTN and its relative translate words alone.
    """
    cells = [cell for cell in table.grid.cells(table.data) if cell.column == column]
    systems = {cell.row: cell.configs([0])[0].system for cell in cells}
    hearing = [row for row, x in systems.items() if "audio" in VARIANTS[x.variant] and "mctn" not in x.model]
    deaf = [row for row in systems if row not in hearing]
    return (deaf, hearing) if deaf else (hearing, [])


def best(
    numbers: Mapping[str, Mapping[Any, float]], rows: Iterable[str], metric: Callable[[Any], str] = str
) -> set[tuple[str, Any]]:
    """Find which of some rows are the best in each column, ``{row: {column: number}}``: pairs of row and column.

    ``metric`` names the metric of a column. Numbers that are written alike are equal; one without a rival is not best.
    """
    shown = {row: {column: round(x, 3) for column, x in numbers.get(row, {}).items()} for row in rows}
    found = set()
    for column in {column for row in shown.values() for column in row}:
        known = {row: columns[column] for row, columns in shown.items() if column in columns}
        top = METRICS[metric(column)].best(known.values())
        found |= {(row, column) for row, number in known.items() if number == top and len(known) > 1}
    return found


def bold(text: str, best: bool) -> str:
    """Put the number that a text begins with in bold."""
    number, space, rest = text.partition(" ")
    return f"**{number}**{space}{rest}" if best else text


def laid_out(
    rows: Sequence[str], apart: Sequence[str], heading: Sequence[str], cells: Callable[[str], Sequence[str]]
) -> str:
    """Write rows below a heading, and those that stand apart below a heading of their own."""
    lines = [("", *heading), *((plain(row), *cells(row)) for row in rows or apart)]
    if rows and apart:
        lines += [(f"*{WITH_VOICE}*", *[""] * len(heading)), *((plain(row), *cells(row)) for row in apart)]
    return markdown(lines)


def not_run(table: Table, column: str) -> str:
    """Say which rows of a column have neither a run nor a number of the paper; empty without any."""
    every = [row for row, name in table.needs if name == column]
    rows = [plain(row) for row in every if not shown(table, row, column)]
    which = f" ({'; '.join(rows)})" if len(rows) < len(every) else ""
    return f"Not run: {plain(column)}{which}." if rows else ""


def shown(table: Table, row: str, column: str) -> bool:
    """Whether a cell has a number of ours or of the paper."""
    return bool(table.values.get((row, column)) or table.printed.get((row, column)))


def values(table: Table, column: str) -> str:
    """Write a column's rows by metrics: ours with intervals, best in bold, the paper's beside them; "" without any."""
    metrics = table.grid.metrics
    rows, apart = ([row for row in group if shown(table, row, column)] for group in by_voice(table, column))
    if not rows + apart:
        return ""
    means = {
        row: {metric: value.interval.mean for metric, value in found.items()}
        for (row, other), found in table.values.items()
        if other == column
    }
    marked = best(means, rows)

    def cells(row: str) -> list[str]:
        written = [_cell(table, (row, column), name, (row, name) in marked) for name in metrics]
        return [*written, str(len(table.results(row, column)))]

    return laid_out(rows, apart, [*(METRICS[name].label for name in metrics), "runs"], cells)


def _cell(table: Table, place: Place, metric: str, best: bool) -> str:
    if name := table.missing.get(place):
        missing = f"needs {name}" if name in ENTRIES and not ENTRIES[name].public else "not run"
        number = table.printed.get(place, {}).get(metric)
        return missing if number is None else f"{missing} ({number:.3f})"
    value = table.values[place].get(metric)
    if value is None:
        return "undefined"
    shown = bold(str(value.interval), best)
    if value.paper is None:
        return shown
    return f"{shown} ({value.paper:.3f}, {value.difference:+.3f}, *{value.verdict(metric)}*)"


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
                f"{found.p:.3g}",
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
