"""The claims of the paper and what came of them, as Markdown: tables, and sentences for prose."""

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


def _told(finding: Finding) -> str:
    badge = f"{{bdg-{COLOURS[finding.verdict]}}}`{finding.verdict}`"
    return f"{short(finding.comparison.metric)} {finding.comparison.difference.mean:+.3f} {badge}"


def _papers(claim: Claim) -> str:
    """The range of the paper's own differences, metric by metric."""
    ranges: dict[str, list[float]] = {}
    for found in sorted(printed(claim), key=lambda found: "mae" not in found.metric):
        ranges.setdefault("Acc" if "accuracy" in found.metric else short(found.metric), []).append(found.difference)
    parts = []
    for name, its in ranges.items():
        low, high = min(its), max(its)
        parts.append(f"{name} {low:+.3f}" + (f" to {high:+.3f}" if high > low else ""))
    return "<br>".join(parts)


def claims(tables: Tables) -> str:
    """Each claim in each setting: what the runs say of it, beside the paper's own differences."""
    found = {claim: findings(claim, tables) for claim in CLAIMS}
    settings = list(dict.fromkeys(_setting(finding) for its in found.values() for finding in its))
    if not settings:
        return NOTHING + "\n"
    columns = Counter(setting.split(",")[0] for setting in settings)
    labels = (setting.split(",")[0] if columns[setting.split(",")[0]] == 1 else setting for setting in settings)
    rows = [("claim", "the paper's difference", *labels)]
    for claim, its in found.items():
        cells = ["<br>".join(_told(x) for x in its if _setting(x) == setting) for setting in settings]
        rows.append((claim.text, _papers(claim) or "none", *(cell or "not run" for cell in cells)))
    return markdown(rows) + "\n"


def evidence(tables: Tables) -> str:
    """For each claim the paper's words and numbers, and every comparison that speaks of it."""
    parts = []
    for claim in CLAIMS:
        parts += [f":::{{dropdown}} {claim.text}", f"The paper: “{claim.quote}”."]
        theirs: dict[str, list[str]] = {}
        for found in printed(claim):
            against = " (against it)" if found.gain < 0 and not claim.close else ""
            theirs.setdefault(f"{found.data}, {found.column}", []).append(
                f"{METRICS[found.metric].label} {found.difference:+.3f}{against}"
            )
        if theirs:
            lines = (f"- {place}: {', '.join(numbers)}" for place, numbers in theirs.items())
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
            its = finding.comparison
            cells = METRICS[its.metric].label, str(its.difference), f"{its.p:.3f}", str(its.difference.runs)
            rows.append((_setting(finding), *cells, finding.verdict))
        parts += [markdown(rows) if len(rows) > 1 else f"Not run yet: {command(claim.grids[0])}.", ":::"]
    return "\n\n".join(parts) + "\n"


def by_verdict(its: Sequence[Finding]) -> str:
    """Where a claim holds and where it does not, by the chief metric of each setting."""
    places: dict[str, list[str]] = {}
    for finding in its:
        if finding.comparison.metric in CHIEF:
            places.setdefault(finding.verdict, []).append(_setting(finding))
    return "; ".join(f"*{verdict}* on {enumerated(places[verdict])}" for verdict in COLOURS if verdict in places)


def summary(tables: Tables) -> str:
    """How many claims hold."""
    verdicts = [{finding.verdict for finding in findings(claim, tables)} for claim in CLAIMS]
    counts = {
        "shown wherever we could test them": sum(its == {"holds"} for its in verdicts),
        "shown by some metric or on some data and not on others": sum(
            "holds" in its and its != {"holds"} for its in verdicts
        ),
        "contradicted somewhere and shown nowhere": sum(bool(its & AGAINST) and "holds" not in its for its in verdicts),
        "neither shown nor contradicted": sum(its == {"not shown"} for its in verdicts),
        "not tested yet": sum(not its for its in verdicts),
    }
    told = enumerated(f"{count} {'is' if count == 1 else 'are'} {what}" for what, count in counts.items() if count)
    return f"Of {len(CLAIMS)} claims, {told}."


def boldest(tables: Tables) -> str:
    """Where ours beat the real audio, and where the want of it, over redundancy and noise."""
    told = []
    for subject, other in (("By MAE, ours", BOLDEST.other), ("It", "Language and vision")):
        its = [x for x in findings(BOLDEST._replace(other=other), tables) if x.comparison.metric in CHIEF]
        if not its:
            return "This has not been run yet."
        places = {verdict: [x.comparison.column for x in its if x.verdict == verdict] for verdict in COLOURS}
        count = f"{subject} is better than {other.lower()} in {len(places['holds'])} of {len(its)} settings"
        where = f" ({'; '.join(places['holds'])})" if places["holds"] else ""
        told.append(
            f"{count}{where}, worse in {len(places['reversed'])}, and in {len(places['not shown'])} neither is shown."
        )
    return " ".join(told)


def controls(found: Mapping[str, Sequence[Comparison]]) -> str:
    """Ours against a full model that was given zeros or means; by data set."""
    rows: dict[tuple[str, str], list[str]] = {}
    for data, its in found.items():
        for x in its:
            told = f"{short(x.metric)} {x.difference} p = {x.p:.3f}: {x.verdict}"
            rows.setdefault((f"`{data}`, {x.column}", x.other), []).append(told)
    lines = [(*place, "<br>".join(told)) for place, told in rows.items()]
    return (markdown([("data", "ours minus", "difference [95%]"), *lines]) if lines else NOTHING) + "\n"


def landing(tables: Tables) -> str:
    """The few rows that the method is about, on synthetic clips, beside what the paper has on other data."""
    column, metrics = "word aligned", ("mae", "acc2_nonzero")
    table = next(table for table in tables["table_1"] if table.data == "synthetic")
    theirs = paper.table("I")
    labels = [short(metric) for metric in metrics]
    rows = [("", *(f"{x}, here: `synthetic`" for x in labels), *(f"{x}, the paper: {theirs.data}" for x in labels))]
    for row in ("Full modality", "Ours", "Language and vision", "Language only"):
        values = table.values.get((row, column), {})
        ours = (str(values[metric].interval) if metric in values else "not run" for metric in metrics)
        rows.append((row, *ours, *(f"{theirs.values[row, column][metric]:.3f}" for metric in metrics)))
    baselines = next((run.baselines for run in table.results(column=column)), {})
    if baselines:
        constant = (f"{baselines['training median'][metric]:.3f}" for metric in metrics)
        rows.append(("no model: the training median", *constant, "not given", "not given"))
    trained = max(len(table.results(row, its)) for row, its in table.needs if its == column)
    told = (
        f"Here: synthetic clips, {column}, the mean of {trained} trainings, its 95% interval. The paper: one number, "
        f"on {theirs.data}. They are different data: compare the order of the rows, not the numbers."
    )
    return "\n\n".join((markdown(rows), *([told] if trained else []), central(tables))) + "\n"


def central(tables: Tables) -> str:
    """The claim that the paper is about, in a sentence."""
    told = by_verdict(findings(CLAIMS[0], tables))
    return f"{CLAIMS[0].text}, by MAE or, for emotions, by accuracy: {told}." if told else NOTHING
