"""What the results show about doubt: how true the variance of reconstructions is, and how often intervals cover."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ktbook.result_text import command, mean
from ktbook.result_text import table as captioned
from ktnet_lite.experiments.result import Result
from ktnet_lite.names import LEVELS
from ktnet_lite.reporting.subsets import letters
from ktnet_lite.reporting.tables import Table
from ktnet_lite.text import markdown

LEVEL = 0.8
SCORES = {"crps": "CRPS", "crps_constant": "of a constant", "coverage_80": "within 80%"}
SCORES_CAPTION = "CRPS of the reconstructions, lower is better; and how much falls within 80%, near 0.8 is right."
AGREEMENT_CAPTION = "stated beside actual variance. Correlations: higher is better; slopes and ratio: near 1."
AGREEMENT = {
    "error_correlation": "errors: correlation",
    "error_slope": "slope",
    "true_correlation": "truth: correlation",
    "true_slope": "slope",
    "true_ratio": "ratio",
}


def page(tables: Sequence[Table]) -> dict[str, str]:
    """Write ``doubt-calibration.md`` and ``doubt-intervals.md``."""
    parts: dict[str, list[str]] = {"calibration": [], "intervals": []}
    for table in tables:
        for column in table.columns:
            runs = {row: found for row in table.grid.columns[column] if (found := table.results(row, column))}
            not_run = f"Not run yet: {command(table.grid.name, table.data)}."
            place = f"`{table.data}`, {column}, test set, mean over seeds"
            for name, written in (("calibration", calibration(runs, place)), ("intervals", intervals(runs, place))):
                parts[name].append(written or f"{table.data}, {column}: {not_run[0].lower()}{not_run[1:]}")
    return {f"doubt-{name}.md": "\n\n".join(written) + "\n" for name, written in parts.items()}


def calibration(runs: dict[str, list[Result]], place: str) -> str:
    """Write how far the variance of each reconstruction of audio is true, as two tables; empty without any."""
    written = []
    for headings, about in ((SCORES, SCORES_CAPTION), (AGREEMENT, AGREEMENT_CAPTION)):
        lines = []
        for row, found in runs.items():
            for name in found[0].calibration:
                source, _, target = name.partition("_to_")
                if target in ("", "audio"):
                    values = [run.calibration[name] for run in found]
                    cells = [mean([x[key] for x in values]) if key in values[0] else "-" for key in headings]
                    lines.append((row, f"from {source}", *cells, str(len(found))))
        if lines:
            rows = [("model", "audio", *headings.values(), "seeds"), *lines]
            written.append(captioned(f"{place}: {about}", markdown(rows)))
    return "\n\n".join(written)


def intervals(runs: dict[str, list[Result]], place: str) -> str:
    """Write how often the intervals of the scores cover the truth on the test set; empty without any."""
    lines, contained = [], []
    for row, found in runs.items():
        covered: dict[str, list[tuple[float, float]]] = {}
        for run in found:
            for subset, share, half_width in coverage(run):
                covered.setdefault(subset, []).append((share, half_width))
        for subset, each in covered.items():
            shares, half_widths = zip(*each, strict=True)
            contained.append(np.mean(shares))
            spread = f"{min(shares):.3f} to {max(shares):.3f}"
            lines.append((row, letters(subset), mean(shares), spread, mean(half_widths), str(len(each))))
    if not lines:
        return ""
    sentence = (
        f"**On {place.split(',')[0]}**, intervals at {LEVEL:.0%} contain {min(contained):.0%} to {max(contained):.0%} "
        "of the true scores: mean over seeds, for the model and the subset with the least and with the most."
    )
    headings = "model", "clips with", f"covered at {LEVEL:.0%}", "range over seeds", "half-width", "seeds"
    caption = f"{place}: clips whose truth is inside the interval; near {LEVEL:.0%} is right, narrow is better."
    return f"{sentence}\n\n{captioned(caption, markdown([headings, *lines]))}"


def coverage(run: Result) -> Iterator[tuple[str, float, float]]:
    """Yield each subset with an interval, the share of the test clips that it covers, and its half-width."""
    scores = {subset: np.array(x.scores) for subset, x in run.subsets.get("inferred", {}).items()}
    for subset, half_widths in run.half_widths.items():
        predicted = scores.get(subset, run.scores)
        half_width = half_widths[LEVELS.index(LEVEL)]
        yield subset, float((np.abs(predicted - run.targets) <= half_width).mean()), half_width
