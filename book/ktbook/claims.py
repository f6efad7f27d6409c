"""The paper's claims about its tables, and what our runs show about each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import pandas as pd

from ktnet_lite.experiments import grids
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.measures.statistics import TESTED, Interval
from ktnet_lite.names import System
from ktnet_lite.reporting import paper, verdicts
from ktnet_lite.reporting.compare import Comparison, corrected, paired
from ktnet_lite.reporting.tables import Table

SILENCED = System("ktnet", "full", "zero"), System("ktnet", "full", "mean")
CONTROLS = {  # what is changed in ours
    "ours, lambda = 0": {"lambda_vision": 0.0, "lambda_language": 0.0},
    "ours, other voices": {"voice": "other"},
}


class Claim(NamedTuple):
    """A sentence of the paper as a comparison of two rows."""

    text: str
    quote: str  # the paper's words
    ours: str
    other: str
    grids: tuple[str, ...]  # whose comparisons test it
    close: bool = False  # the claim is that the first row comes close to the other, not that it is better


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
        "Eq. (1) is what helps",
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
    """The difference between a claim's two rows in the paper."""

    data: str
    column: str
    metric: str
    difference: float

    @property
    def gain(self) -> float:
        """How much better the first row is; negative if it is worse."""
        return METRICS[self.metric].gain(self.difference)


@cache
def printed(claim: Claim) -> list[Printed]:
    """List the paper's own differences for a claim, in the metrics that we test and all accuracies of Table III."""
    differences = []
    for number in filter(None, (grids.load(name).paper for name in claim.grids)):
        table = paper.table(number)
        for row, column in table.values:
            if row != claim.ours or (claim.other, column) not in table.values:
                continue
            for metric in table.metrics:
                if metric in TESTED["sentiment"] or metric.startswith("accuracy_"):
                    ours, other = (table.values[name, column][metric] for name in (claim.ours, claim.other))
                    differences.append(Printed(table.data, column, metric, round(ours - other, 4)))
    return differences


def margin(claim: Claim, metric: str) -> float:
    """Return how far behind still counts as close: the largest gap between the paper's own numbers."""
    prefix = "accuracy_" if metric == "accuracy_mean" else metric
    return max(0.0, *(-number.gain for number in printed(claim) if number.metric.startswith(prefix)))


class Finding(NamedTuple):
    """What one comparison shows about a claim."""

    claim: Claim
    data: str
    comparison: Comparison

    @property
    def verdict(self) -> str:
        """Whether the claim holds: "better" by p and the difference's sign, "close" by its interval and the margin."""
        metric, difference = self.comparison.metric, self.comparison.difference
        if self.claim.close:
            return verdicts.of_closeness(self.gain.low, self.gain.high, margin(self.claim, metric))
        return verdicts.of_claim(metric, difference.mean, self.comparison.p)

    @property
    def gain(self) -> Interval:
        """How much better the first row is, with its interval; negative where it is worse."""
        gain, difference = METRICS[self.comparison.metric].gain, self.comparison.difference
        low, high = sorted((gain(difference.low), gain(difference.high)))
        return Interval(gain(difference.mean), low, high, difference.runs)


def findings(claim: Claim, tables: Mapping[str, Sequence[Table]]) -> list[Finding]:
    """List what the tables of a claim's grids show about it; runs that two tables share count once."""
    by_place: dict[tuple[str, str, str], Finding] = {}
    for name in claim.grids:
        for table in tables[name]:
            for comparison in table.comparisons:
                if (comparison.ours, comparison.other) == (claim.ours, claim.other):
                    key = table.data, comparison.column, comparison.metric
                    by_place.setdefault(key, Finding(claim, table.data, comparison))
    return list(by_place.values())


def changed(runs: pd.DataFrame, results: pd.DataFrame, changes: Mapping[str, Any]) -> pd.DataFrame:
    """Find the runs that differ from some others in these parameters alone, wherever they stand among all results."""
    keys = {dataclasses.replace(run.config, **changes).key for run in runs["result"]}
    return results[results["key"].isin(keys) & (results["fill"] == "")]


def controls_of(table: Table, column: str, results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Collect the controls of ours in a column: the full model without its audio, and ours without the transfer."""
    ours = table.tests("Ours", column)
    silenced = {str(system): table.tests("Full modality", column, system.fill) for system in SILENCED}
    return silenced | {name: changed(ours, results, changes) for name, changes in CONTROLS.items()}


def controls(table: Table, results: pd.DataFrame) -> list[Comparison]:
    """Compare ours with each of its controls, in every column."""
    return corrected(
        Comparison(column, "Ours", name, metric, difference, difference.p)
        for column in table.columns
        for name, other in controls_of(table, column, results).items()
        for metric, difference in paired(table.tests("Ours", column), other).items()
    )
