"""What our runs show about the paper's claims, as Markdown: tables, and sentences for prose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ktbook.claims import BOLDEST, CLAIMS, Claim, Finding, findings, margin, printed
from ktbook.result_text import CHIEF, NOTHING, Tables, command, short
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.reporting import paper
from ktnet_lite.reporting.compare import Comparison
from ktnet_lite.text import enumerated, markdown

COLOURS = {"holds": "success", "reversed": "danger", "fails": "danger", "not shown": "muted-line"}
AGAINST = {"reversed", "fails"}


def _setting(finding: Finding) -> str:
    emotions = finding.data == "synthetic" and finding.comparison.metric.startswith("accuracy")  # or sentiment
    return f"`{finding.data}`, {'emotions, ' if emotions else ''}{finding.comparison.column}"


def _badge(finding: Finding) -> str:
    badge = f"{{bdg-{COLOURS[finding.verdict]}}}`{finding.verdict}`"
    return f"{short(finding.comparison.metric)} {finding.comparison.difference.mean:+.3f} {badge}"


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
    settings = list(dict.fromkeys(_setting(finding) for group in by_claim.values() for finding in group))
    if not settings:
        return NOTHING + "\n"
    columns = Counter(setting.split(",")[0] for setting in settings)
    labels = (setting.split(",")[0] if columns[setting.split(",")[0]] == 1 else setting for setting in settings)
    rows = [("claim", "the paper's difference", *labels)]
    for claim, group in by_claim.items():
        cells = ["<br>".join(_badge(x) for x in group if _setting(x) == setting) for setting in settings]
        rows.append((claim.text, _paper_ranges(claim) or "none", *(cell or "not run" for cell in cells)))
    return markdown(rows) + "\n"


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
            parts.append("It has no number for this.")
        if claim.close:
            margins = {short(metric): margin(claim, metric) for metric in ("mae", "acc2_nonzero", "accuracy_mean")}
            allowed = enumerated(f"{value:.3f} of {name}" for name, value in margins.items())
            parts.append(
                f"Close is what the paper itself calls so: it is behind by up to {allowed}. The claim holds where our "
                "whole interval is no further behind, and fails where the whole interval is."
            )
        rows = [("data", "metric", "difference [95%]", "p", "seeds", "verdict")]
        for finding in findings(claim, tables):
            x = finding.comparison
            cells = METRICS[x.metric].label, str(x.difference), f"{x.p:.3f}", str(x.difference.runs)
            rows.append((_setting(finding), *cells, finding.verdict))
        parts += [markdown(rows) if len(rows) > 1 else f"Not run yet: {command(claim.grids[0])}.", ":::"]
    return "\n\n".join(parts) + "\n"


def by_verdict(group: Sequence[Finding]) -> str:
    """Say where a claim holds and where it does not, by the chief metric of each setting."""
    places: dict[str, list[str]] = {}
    for finding in group:
        if finding.comparison.metric in CHIEF:
            places.setdefault(finding.verdict, []).append(_setting(finding))
    return "; ".join(f"*{verdict}* on {enumerated(places[verdict])}" for verdict in COLOURS if verdict in places)


def summary(tables: Tables) -> str:
    """Say how many claims hold."""
    verdicts = [{finding.verdict for finding in findings(claim, tables)} for claim in CLAIMS]
    counts = {
        "shown wherever we could test them": sum(group == {"holds"} for group in verdicts),
        "shown by some metric or on some data and not on others": sum(
            "holds" in group and group != {"holds"} for group in verdicts
        ),
        "contradicted somewhere and shown nowhere": sum(
            bool(group & AGAINST) and "holds" not in group for group in verdicts
        ),
        "neither shown nor contradicted": sum(group == {"not shown"} for group in verdicts),
        "not tested yet": sum(not group for group in verdicts),
    }
    parts = enumerated(f"{count} {'is' if count == 1 else 'are'} {what}" for what, count in counts.items() if count)
    return f"Of {len(CLAIMS)} claims, {parts}."


def boldest(tables: Tables) -> str:
    """Say where ours beats the real audio, and where it beats having none, over redundancy and noise."""
    sentences = []
    for subject, other in (("By MAE, ours", BOLDEST.other), ("It", "Language and vision")):
        group = [x for x in findings(BOLDEST._replace(other=other), tables) if x.comparison.metric in CHIEF]
        if not group:
            return "This has not been run yet."
        places = {verdict: [x.comparison.column for x in group if x.verdict == verdict] for verdict in COLOURS}
        count = f"{subject} is better than {other.lower()} in {len(places['holds'])} of {len(group)} settings"
        where = f" ({'; '.join(places['holds'])})" if places["holds"] else ""
        sentences.append(
            f"{count}{where}, worse in {len(places['reversed'])}, and in {len(places['not shown'])} neither is shown."
        )
    return " ".join(sentences)


def controls(by_data: Mapping[str, Sequence[Comparison]]) -> str:
    """Write the comparisons of ours with a full model that was given zeros or means, by data set."""
    rows: dict[tuple[str, str], list[str]] = {}
    for data, comparisons in by_data.items():
        for x in comparisons:
            line = f"{short(x.metric)} {x.difference} p = {x.p:.3f}: {x.verdict}"
            rows.setdefault((f"`{data}`, {x.column}", x.other), []).append(line)
    lines = [(*place, "<br>".join(cell)) for place, cell in rows.items()]
    return (markdown([("data", "ours minus", "difference [95%]"), *lines]) if lines else NOTHING) + "\n"


def landing(tables: Tables) -> str:
    """Write the central rows on synthetic clips, next to the paper's on other data."""
    column, metrics = "word aligned", ("mae", "acc2_nonzero")
    table = next(table for table in tables["table_1"] if table.data == "synthetic")
    original = paper.table("I")
    labels = [short(metric) for metric in metrics]
    rows = [("", *(f"{x}, here: `synthetic`" for x in labels), *(f"{x}, the paper: {original.data}" for x in labels))]
    for row in ("Full modality", "Ours", "Language and vision", "Language only"):
        values = table.values.get((row, column), {})
        ours = (str(values[metric].interval) if metric in values else "not run" for metric in metrics)
        rows.append((row, *ours, *(f"{original.values[row, column][metric]:.3f}" for metric in metrics)))
    baselines = next((run.baselines for run in table.results(column=column)), {})
    if baselines:
        constant = (f"{baselines['training median'][metric]:.3f}" for metric in metrics)
        rows.append(("no model: the training median", *constant, "not given", "not given"))
    trained = max(len(table.results(*place)) for place in table.needs if place[1] == column)
    note = (
        f"Here: synthetic clips, {column}, the mean of {trained} trainings, its 95% interval. The paper: one number, "
        f"on {original.data}. They are different data: compare the order of the rows, not the numbers."
    )
    return "\n\n".join((markdown(rows), *([note] if trained else []), central(tables))) + "\n"


def central(tables: Tables) -> str:
    """Say in a sentence what became of the paper's central claim."""
    verdicts = by_verdict(findings(CLAIMS[0], tables))
    return f"{CLAIMS[0].text}, by MAE or, for emotions, by accuracy: {verdicts}." if verdicts else NOTHING
