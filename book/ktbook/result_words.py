"""What the results show about the rebuilt voice in acoustic words: how faithful it is, and how useful."""

from __future__ import annotations

from collections.abc import Sequence

from ktbook.result_text import mean, seeds
from ktbook.result_text import table as captioned
from ktnet_lite.experiments.result import Result
from ktnet_lite.reporting.tables import Table
from ktnet_lite.text import markdown

FIDELITY = {"retrieval": "retrieval", "r2": "R2", "use": "use for the score"}
DECODED = {"ceiling": "ceiling", "r2": "decoded", "placebo": "placebo", "own": "own decoder"}
HIGHER = "higher is better."
NAMES = {"combined": "A'"}


def page(tables: Sequence[Table]) -> dict[str, str]:
    """Write ``words.md``: for each data set and column whose runs have it, fidelity, then decoding by descriptor."""
    written = []
    for table in tables:
        for column in table.columns:
            runs = {row: measured(table.results(row, column)) for row in table.grid.columns[column]}
            runs = {row: found for row, found in runs.items() if found}
            if runs:
                place = f"`{table.data}`, {column}, test set, mean over {seeds(map(len, runs.values()))}"
                written.append(captioned(f"{place}: fidelity and use of the reconstructions; {HIGHER}", fidelity(runs)))
                written.append(captioned(f"{place}: $R^2$ of each descriptor; {HIGHER}", decoding(runs)))
    return {"words.md": "\n\n".join(written or ["No run has been measured yet."]) + "\n"}


def measured(runs: Sequence[Result]) -> list[Result]:
    """Leave out the runs that were made before fidelity was measured."""
    return [run for run in runs if run.fidelity]


def fidelity(runs: dict[str, list[Result]]) -> str:
    """Write retrieval, R2 and use of each reconstruction, mean over the seeds."""
    lines = [("model", "voice from", *FIDELITY.values(), "seeds")]
    for row, found in runs.items():
        for source in found[0].fidelity:
            cells = [mean([getattr(run.fidelity[source], key) for run in found]) for key in FIDELITY]
            lines.append((row, NAMES.get(source, source), *cells, str(len(found))))
    return markdown(lines)


def decoding(runs: dict[str, list[Result]]) -> str:
    """Write the R2 of each descriptor, decoded from each reconstruction, mean over the seeds."""
    lines = [("descriptor", "model", "voice from", *DECODED.values())]
    names = next(iter(next(iter(runs.values()))[0].fidelity.values())).decoding
    for word in names:
        for row, found in runs.items():
            for source in found[0].fidelity:
                read = [run.fidelity[source].decoding[word] for run in found]
                cells = [mean([getattr(each, key) for each in read]) for key in DECODED]
                lines.append((word, row, NAMES.get(source, source), *cells))
    return markdown(lines)
