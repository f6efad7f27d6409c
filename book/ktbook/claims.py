"""The claims that the paper makes about its tables, and what our runs show of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ktnet_lite.experiments import grids
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.measures.statistics import TESTED
from ktnet_lite.names import System
from ktnet_lite.reporting import paper
from ktnet_lite.reporting.compare import SURE, Comparison, corrected, paired
from ktnet_lite.reporting.tables import Table

SILENCED = System("ktnet", "full", "zero"), System("ktnet", "full", "mean")


class Claim(NamedTuple):
    """A sentence of the paper as a comparison of two rows."""

    text: str
    quote: str  # the paper's words
    ours: str
    other: str
    grids: tuple[str, ...]  # whose comparisons speak of it
    close: bool = False  # the first row is to come close to the other, not to be better


CLAIMS = (
    Claim(
        "Ours is better than language and vision",
        "outperforms the lower bound results (including vision and language)",
        "Ours",
        "Language and vision",
        ("table_1", "table_2", "table_3"),
    ),
    Claim(
        "Ours is better than language alone",
        "outperforms the lower bound results (including vision and language)",
        "Ours",
        "Language only",
        ("table_1", "table_2"),
    ),
    Claim(
        "Ours comes close to full modality",
        "achieves competitive results compared to the upper bound",
        "Ours",
        "Full modality",
        ("table_1", "table_2", "table_3"),
        close=True,
    ),
    Claim(
        "The transferred voice is what helps",
        "our reconstructed feature can effectively restore the missing audio modal information",
        "teacher",
        "no transfer",
        ("treatments",),
    ),
    Claim(
        "Ours is better than MCTN",
        "outperforms other baseline approaches",
        "Ours",
        "MCTN",
        ("table_1", "table_2", "table_3"),
    ),
    Claim(
        "Language and vision are better than language alone",
        "significantly improved over methods with only one modal information",
        "Language and vision",
        "Language only",
        ("table_1", "table_2"),
    ),
    Claim(
        "Of single targets, language is better than audio",
        "the highest performance is achieved when the target modality is text",
        "Language",
        "Audio",
        ("table_4",),
    ),
    Claim(
        "Of single targets, language is better than vision",
        "the highest performance is achieved when the target modality is text",
        "Language",
        "Vision",
        ("table_4",),
    ),
    Claim(
        "All targets are better than language alone as target",
        "Combining all the cross-modal transformers further improves the performance",
        "Ours",
        "Language",
        ("table_4",),
    ),
    Claim(
        "L2 is better than L1",
        "using the L2 loss leads to better performance",
        "L2",
        "L1",
        ("table_5",),
    ),
)
BOLDEST = Claim(
    "A reconstruction can beat the real audio",
    "even better performance than the full modality supervision",
    "Ours",
    "Full modality",
    ("noise",),
)


class Printed(NamedTuple):
    """The difference of a claim's two rows in the paper."""

    data: str
    column: str
    metric: str
    difference: float

    @property
    def gain(self) -> float:
        """By how much the first row is better."""
        return METRICS[self.metric].gain(self.difference)


def printed(claim: Claim) -> list[Printed]:
    """What the paper's own tables say of a claim, by the metrics that we test, or all accuracies of Table III."""
    found = []
    for number in filter(None, (grids.load(name).paper for name in claim.grids)):
        table = paper.table(number)
        for row, column in table.values:
            if row != claim.ours or (claim.other, column) not in table.values:
                continue
            for metric in table.metrics:
                if metric in TESTED["sentiment"] or metric.startswith("accuracy_"):
                    ours, other = (table.values[name, column][metric] for name in (claim.ours, claim.other))
                    found.append(Printed(table.data, column, metric, round(ours - other, 4)))
    return found


def margin(claim: Claim, metric: str) -> float:
    """How far behind still counts as close: as far as the paper's own numbers are, where that is farthest."""
    alike = "accuracy_" if metric == "accuracy_mean" else metric
    return max(0.0, *(-found.gain for found in printed(claim) if found.metric.startswith(alike)))


class Finding(NamedTuple):
    """What one comparison says of a claim."""

    claim: Claim
    data: str
    comparison: Comparison

    @property
    def verdict(self) -> str:
        """Of "better", the difference's sign, where p is below ``SURE``; of "close", its interval and the margin."""
        difference, gain = self.comparison.difference, METRICS[self.comparison.metric].gain
        if self.claim.close:
            allowed = margin(self.claim, self.comparison.metric)
            low, high = sorted((gain(difference.low), gain(difference.high)))
            return "holds" if low >= -allowed else "fails" if high < -allowed else "not shown"
        if self.comparison.p >= SURE:
            return "not shown"
        return "holds" if gain(difference.mean) > 0 else "reversed"


def findings(claim: Claim, tables: Mapping[str, Sequence[Table]]) -> list[Finding]:
    """What the tables of its grids, by name, say of a claim; trainings that two tables share count once."""
    found: dict[tuple[str, str, str], Finding] = {}
    for name in claim.grids:
        for table in tables[name]:
            for comparison in table.comparisons:
                if (comparison.ours, comparison.other) == (claim.ours, claim.other):
                    key = table.data, comparison.column, comparison.metric
                    found.setdefault(key, Finding(claim, table.data, comparison))
    return list(found.values())


def controls(table: Table) -> list[Comparison]:
    """Compare ours with a full model whose audio is missing and filled in: the cheapest alternatives."""
    compared = []
    for column in table.columns:
        ours = table.tests("Ours", column)
        for system in SILENCED:
            for metric, difference in paired(ours, table.tests("Full modality", column, system.fill)).items():
                compared.append(Comparison(column, "Ours", str(system), metric, difference, difference.p))
    return corrected(compared)
