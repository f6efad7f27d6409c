"""What our runs show about the paper's claims, as Markdown: tables, and sentences for prose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from ktbook.claims import BOLDEST, CLAIMS, CONTROLS, Claim, Finding, findings, margin, printed
from ktbook.result_text import CHIEF, NOTHING, Tables, command, short
from ktbook.result_text import table as captioned
from ktnet_lite.config import TrainConfig
from ktnet_lite.experiments.result import Result
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.parameters import PRESETS
from ktnet_lite.reporting import learning, paper
from ktnet_lite.reporting import markdown as pages
from ktnet_lite.reporting.compare import Comparison, corrected, paired
from ktnet_lite.reporting.tables import Table
from ktnet_lite.reporting.verdicts import AGAINST, CONTRADICTED, FOR, HOLDS, NEITHER, UNDETECTED
from ktnet_lite.text import count, enumerated, markdown

WAYS = "MAE: lower is better, Acc2: higher."
APART = "The best without the voice is bold."
COLOURS = dict.fromkeys(FOR, "success") | dict.fromkeys(AGAINST, "danger") | dict.fromkeys(NEITHER, "muted-line")


def setting(finding: Finding) -> str:
    """Name the data and the column of a finding."""
    emotions = finding.data == "synthetic" and finding.comparison.metric.startswith("accuracy")  # or sentiment
    return f"`{finding.data}`, {'emotions, ' if emotions else ''}{finding.comparison.column}"


def _badge(finding: Finding) -> str:
    return f"{{bdg-{COLOURS[finding.verdict]}}}`{finding.verdict}`"


def _paper_ranges(claim: Claim) -> str:
    """Write the range of the paper's own differences for each metric."""
    ranges: dict[str, list[float]] = {}
    for number in sorted(printed(claim), key=lambda number: "mae" not in number.metric):
        name = "Acc" if "accuracy" in number.metric else short(number.metric)
        ranges.setdefault(name, []).append(number.difference)
    parts = []
    for name, differences in ranges.items():
        low, high = min(differences), max(differences)
        parts.append(f"{name} {low:+.3f}" + (f" to {high:+.3f}" if high > low else ""))
    return "<br>".join(parts)


def claims(tables: Tables) -> str:
    """Write each claim with the verdict of the runs in each setting, next to the paper's own differences."""
    by_claim = {claim: findings(claim, tables) for claim in CLAIMS}
    settings = list(dict.fromkeys(setting(finding) for group in by_claim.values() for finding in group))
    if not settings:
        return NOTHING + "\n"
    columns = Counter(place.split(",")[0] for place in settings)
    labels = (place.split(",")[0] if columns[place.split(",")[0]] == 1 else place for place in settings)
    rows = [("claim", "the paper's difference", *labels)]
    for claim, group in by_claim.items():
        cells = [
            "<br>".join(
                f"{short(x.comparison.metric)} {x.comparison.difference.mean:+.3f} {_badge(x)}"
                for x in group
                if setting(x) == place
            )
            for place in settings
        ]
        rows.append((claim.text, _paper_ranges(claim) or "none", *(cell or "not run" for cell in cells)))
    caption = "Each claim on the test sets: first row minus second, mean over seeds. MAE: lower is better, Acc: higher."
    return captioned(caption, markdown(rows)) + "\n"


def evidence(tables: Tables) -> str:
    """Write, for each claim, the paper's words and numbers, and every comparison that tests it."""
    parts = []
    for claim in CLAIMS:
        parts += [f":::{{dropdown}} {claim.text}", f"The paper: “{claim.quote}”."]
        by_place: dict[str, list[str]] = {}
        for number in printed(claim):
            against = " (against it)" if number.gain < 0 and not claim.close else ""
            by_place.setdefault(f"{number.data}, {number.column}", []).append(
                f"{METRICS[number.metric].label} {number.difference:+.3f}{against}"
            )
        if by_place:
            lines = (f"- {place}: {', '.join(numbers)}" for place, numbers in by_place.items())
            parts.append(f"“{claim.ours}” minus “{claim.other}” in its tables:\n\n" + "\n".join(lines))
        else:
            parts.append("The paper gives no number for this.")
        if claim.close:
            margins = {short(metric): margin(claim, metric) for metric in ("mae", "acc2_nonzero", "accuracy_mean")}
            allowed = enumerated(f"{value:.3f} in {name}" for name, value in margins.items())
            parts.append(
                f"The paper itself calls a result close that is behind by up to {allowed}. Ours is *close* if no part "
                "of our interval is further behind, *not close* if all of it is, and otherwise *undecided*."
            )
        rows = [("data", "metric", "difference [95%]", "p", "seeds", "verdict")]
        for finding in findings(claim, tables):
            x = finding.comparison
            cells = METRICS[x.metric].label, str(x.difference), f"{x.p:.3g}", str(x.difference.runs)
            rows.append((setting(finding), *cells, finding.verdict))
        caption = "First row minus second on the test set, paired. MAE: lower is better, the others: higher."
        laid_out = captioned(caption, markdown(rows))
        parts += [laid_out if len(rows) > 1 else f"Not run yet: {command(claim.grids[0])}.", ":::"]
    return "\n\n".join(parts) + "\n"


def by_verdict(group: Sequence[Finding]) -> str:
    """Say where a claim holds and where it does not, by the chief metric of each setting."""
    places: dict[str, list[str]] = {}
    for finding in group:
        if finding.comparison.metric in CHIEF:
            places.setdefault(finding.verdict, []).append(setting(finding))
    return "; ".join(f"*{verdict}* on {enumerated(places[verdict])}" for verdict in COLOURS if verdict in places)


def summary(tables: Tables) -> str:
    """Say how many claims hold."""
    verdicts = [{finding.verdict for finding in findings(claim, tables)} for claim in CLAIMS]
    good, bad, neither = ({*group} for group in (FOR, AGAINST, NEITHER))
    counts = {
        ("holds", "hold", "wherever tested"): sum(bool(x) and x <= good for x in verdicts),
        ("holds", "hold", "for some metrics or data but not for others"): sum(
            bool(x & good) and not x <= good for x in verdicts
        ),
        ("is", "are", "contradicted somewhere and confirmed nowhere"): sum(
            bool(x & bad) and not x & good for x in verdicts
        ),
        ("stays", "stay", "open, with no difference detected anywhere"): sum(
            bool(x) and x <= neither for x in verdicts
        ),
        ("is", "are", "not tested yet"): sum(not x for x in verdicts),
    }
    parts = enumerated(
        f"{number} {one if number == 1 else many} {what}" for (one, many, what), number in counts.items() if number
    )
    return f"Of {len(CLAIMS)} claims, {parts}."


def boldest(tables: Tables) -> str:
    """Say where ours beats the real audio, and where it beats having none, over redundancy and noise."""
    sentences = []
    for subject, other in (("By MAE, ours", BOLDEST.other), ("It", "Language and vision")):
        group = [x for x in findings(BOLDEST._replace(other=other), tables) if x.comparison.metric in CHIEF]
        if not group:
            return "This has not been run yet."
        places = {verdict: [x.comparison.column for x in group if x.verdict == verdict] for verdict in COLOURS}
        better = f"{subject} is better than {other.lower()} in {len(places[HOLDS])} of {len(group)} settings"
        where = f" ({'; '.join(places[HOLDS])})" if places[HOLDS] else ""
        rest = f"worse in {len(places[CONTRADICTED])}, and no difference was detected in {len(places[UNDETECTED])}"
        sentences.append(f"{better}{where}, {rest}.")
    return " ".join(sentences)


def _paired(x: Comparison) -> str:
    return f"{short(x.metric)} {x.difference} p = {x.p:.3g}: {x.verdict}"


def controls(by_data: Mapping[str, Sequence[Comparison]]) -> str:
    """Write the comparisons of ours with its controls, by data set, and name the controls that have not been run."""
    rows: dict[tuple[str, str], list[Comparison]] = {}
    for data, comparisons in by_data.items():
        for x in comparisons:
            rows.setdefault((f"`{data}`, {x.column}", x.other), []).append(x)
    if not rows:
        return NOTHING + "\n"
    lines = [("data", "ours minus", "difference [95%]", "seeds")]
    for place, cell in rows.items():
        lines.append((*place, "<br>".join(map(_paired, cell)), str(cell[0].difference.runs)))
    missing = []
    for name in CONTROLS:
        without = [place for place in dict.fromkeys(place for place, _ in rows) if (place, name) not in rows]
        if without:
            missing.append(f"“{name}” on {enumerated(without)}")
    note = f"\n\nNot run yet: {'; '.join(missing)}." if missing else ""
    caption = "Ours minus each control on the test set, paired on seeds and clips. MAE: lower is better, Acc2: higher."
    return captioned(caption, markdown(lines)) + note + "\n"


def _is_of_paper(run: Result) -> bool:
    """Whether a run has the paper's settings, apart from the number of epochs."""
    papers = TrainConfig.build(run.parameters | PRESETS["paper"] | {"epochs": run.config.epochs})
    return papers.key == run.key


class Base(NamedTuple):
    """Full modality, the teacher of ours, beside a linear model on averages, by MAE."""

    settings: str  # the paper's or ours
    data: str
    full: float
    linear: float
    comparison: Comparison


def bases(tables: Tables) -> list[Base]:
    """Compare full modality with the linear model in every column that has both; runs that grids share count once."""
    found: dict[tuple[str, ...], Base] = {}
    for table in (table for group in tables.values() for table in group):
        for column in table.columns:
            full, linear = (table.tests(row, column) for row in ("Full modality", "linear"))
            if difference := paired(full, linear).get("mae"):
                settings = "the paper's" if _is_of_paper(full["result"].iloc[0]) else "ours"
                comparison = Comparison(column, "Full modality", "linear", "mae", difference, difference.p)
                base = Base(settings, f"`{table.data}`", full["mae"].mean(), linear["mae"].mean(), comparison)
                found.setdefault(tuple(sorted(full["key"])), base)
    tested = corrected(base.comparison for base in found.values())
    return [base._replace(comparison=x) for base, x in zip(found.values(), tested, strict=True)]


def base(tables: Tables) -> str:
    """Write a table of the comparisons of full modality with the linear model."""
    rows = [("settings", "data", "column", "full", "linear", "full minus linear [95%]", "verdict", "seeds")]
    for x in bases(tables):
        numbers = f"{x.full:.3f}", f"{x.linear:.3f}", str(x.comparison.difference)
        seeds = str(x.comparison.difference.runs)
        rows.append((x.settings, x.data, x.comparison.column, *numbers, x.comparison.verdict, seeds))
    caption = "MAE of full modality and of the linear model on the test set, mean over seeds; lower is better."
    return (captioned(caption, markdown(rows)) if len(rows) > 1 else NOTHING) + "\n"


def weak_base(tables: Tables) -> str:
    """Say how full modality compares with the linear model under the paper's settings, on synthetic clips."""
    found = [x for x in bases(tables) if (x.settings, x.data) == ("the paper's", "`synthetic`")]
    parts = [
        f"{x.comparison.column}, full modality has MAE {x.full:.3f} and the linear model {x.linear:.3f} "
        f"(difference {x.comparison.difference}: {x.comparison.verdict})"
        for x in found
    ]
    return f"On `synthetic`, {enumerated(parts)}." if parts else NOTHING


def length_only(tables: Tables) -> str:
    """Say how far the number of steps alone predicts the scores of `hazumi`."""
    table = next(x for x in tables["hazumi"] if x.data == "hazumi")
    if not (runs := table.results("Full modality", "all clips")):
        return NOTHING
    floors = {name: metrics["mae"] for name, metrics in runs[0].baselines.items()}
    return (
        f"The number of steps alone, which says how much was said, gives MAE {floors['length only']:.3f}; always the "
        f"training median gives {floors['training median']:.3f}."
    )


def _seeded(x: Comparison) -> str:
    return f"{x.difference}, {count(x.difference.runs, 'seed')}: {x.verdict}"


def _curves(table: Table) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield the setting of each curve of a table, its columns with runs, and their headings without the setting."""
    run = [column for column in table.columns if table.results(column=column)]
    for setting, columns in groupby(run, lambda column: learning.setting_of(table, column)):
        names = list(columns)
        yield setting, names, [name.removeprefix(f"{setting}, ") for name in names]


def by_mae(table: Table) -> str:
    """Write the paired differences of MAE of a table with their verdicts, one table for each curve of columns."""
    found = {(x.ours, x.other, x.column): x for x in table.comparisons if x.metric == "mae"}
    if not found:
        return f"Not run yet: {command(table.grid.name, table.data)}.\n"
    parts = []
    for setting, names, headings in _curves(table):
        rows = [("difference of MAE [95%]", *headings)]
        for ours, other in table.grid.compare:
            cells = (found.get((ours, other, name)) for name in names)
            rows.append((f"{ours} - {other}", *(_seeded(x) if x else "not run" for x in cells)))
        caption = f"{setting}, test set: first minus second in MAE, paired; below zero the first is better."
        parts.append(captioned(caption, markdown(rows)))
    if any(x.difference.runs == 1 for x in found.values()):
        parts.append("The interval of a single seed covers only the choice of test clips, not the choice of the seed.")
    return "\n\n".join(parts) + "\n"


def by_labels(table: Table) -> str:
    """Write the MAE of each row with its interval by the number of labelled clips, and the number of seeds."""
    if not table.results():
        return f"Not run yet: {command(table.grid.name, table.data)}.\n"
    parts = []
    for setting, names, headings in _curves(table):
        rows = [("MAE [95%]", *headings)]
        found = {row: [table.values.get((row, name), {}).get("mae") for name in names] for row in table.grid.rows}
        means = {
            row: {(name, "mae"): x.interval.mean for name, x in zip(names, values, strict=True) if x}
            for row, values in found.items()
        }
        _, hearing = pages.by_voice(table, names[0])
        best = pages.best(means, [row for row in found if row not in hearing], itemgetter(1))
        for row, values in found.items():
            cells = (
                pages.bold(f"{x.interval}, {x.interval.runs}", (row, (name, "mae")) in best) if x else "not run"
                for name, x in zip(names, values, strict=True)
            )
            rows.append((row, *cells))
        caption = f"{setting}: MAE on the test set, lower is better: mean over seeds, 95% interval, number of seeds."
        parts.append(captioned(f"{caption} {APART}", markdown(rows)))
    parts += [pages.not_run(table, column) for column in table.columns if not table.results(column=column)]
    return "\n\n".join(parts) + "\n"


def landing(tables: Tables) -> str:
    """Write the central rows on synthetic clips with the paired difference, and the paper's on other data."""
    metrics, rows = ("mae", "acc2_nonzero"), ("Ours", "Language and vision", "Language only")
    table = next(table for table in tables["table_1"] if table.data == "synthetic")
    places = [(column, metric) for metric in metrics for column in table.columns]
    heading = ("", *(f"{short(metric)}, {column}" for column, metric in places))
    lines: list[tuple[str, ...]] = [heading]
    found = {
        row: {
            place: value.interval for place in places if (value := table.values.get((row, place[0]), {}).get(place[1]))
        }
        for row in (*rows, "Full modality")
    }
    means = {row: {place: x.mean for place, x in values.items()} for row, values in found.items()}
    best = pages.best(means, rows, itemgetter(1))

    def line(row: str) -> tuple[str, ...]:
        known = (found[row].get(place) for place in places)
        return row, *(
            pages.bold(str(x), (row, place) in best) if x else "not run" for place, x in zip(places, known, strict=True)
        )

    lines += map(line, rows)
    baselines = {column: run.baselines for column in table.columns for run in table.results(column=column)}
    if not baselines:
        return NOTHING + "\n"
    known = (baselines.get(column, {}).get("training median", {}).get(metric) for column, metric in places)
    lines.append(("no model (the training median)", *("not run" if x is None else f"{x:.3f}" for x in known)))
    claim = CLAIMS[0]._replace(grids=("table_1",))
    tested = {(x.comparison.column, x.comparison.metric): x for x in findings(claim, {"table_1": [table]})}
    cells = (tested.get(place) for place in places)
    numbers = (f"{x.comparison.difference}: *{x.verdict}*" if x else "not run" for x in cells)
    lines.append(("**Ours minus language and vision**", *numbers))
    lines += [(f"*{pages.WITH_VOICE}*", *[""] * len(places)), line("Full modality")]
    original = paper.table("I")
    printed = {
        row: {(column, metric): original.values[row, column][metric] for column, metric in places} for row in found
    }
    marked = pages.best(printed, rows, itemgetter(1))

    def printed_cells(row: str) -> list[str]:
        return [pages.bold(f"{x:.3f}", (row, place) in marked) for place, x in printed[row].items()]

    trained = max(len(table.results(*place)) for place in table.needs)
    caption = f"Synthetic clips, test set: mean of {trained} seeds, 95% interval. {WAYS} {APART}"
    note = (
        "“Ours minus language and vision” tests the paper's claim: it is paired on runs and clips, so its interval is "
        "narrower than those of the two rows suggest."
    )
    theirs = f":::{{dropdown}} The paper, on {original.data}: other data, so compare the order of the rows only"
    theirs_caption = f"{original.data}: the paper's numbers. {WAYS} {APART}"
    their_table = captioned(theirs_caption, pages.laid_out(rows, ["Full modality"], heading[1:], printed_cells))
    return "\n\n".join((captioned(caption, markdown(lines)), note, theirs, their_table, ":::")) + "\n"


def central(tables: Tables) -> str:
    """Say in a sentence what became of the paper's central claim."""
    verdicts = by_verdict(findings(CLAIMS[0], tables))
    return f"{CLAIMS[0].text}, by MAE or, for emotions, by accuracy: {verdicts}." if verdicts else NOTHING
