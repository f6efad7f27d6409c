"""The words for what a comparison shows. Every table, claim, figure and sentence takes its verdicts from here."""

from __future__ import annotations

from ktnet_lite.measures.metrics import METRICS

SURE = 0.05  # a corrected p below which a difference counts as detected
UNDETECTED = "no difference detected"

SAME, OPPOSITE = "same sign as the paper", "opposite sign"  # of a row of a table, where the paper has a number
BETTER, WORSE = "better", "worse"  # where it has none

HOLDS, CONTRADICTED = "holds", "contradicted"  # of a claim that one system is better than another
CLOSE, NOT_CLOSE, UNDECIDED = "close", "not close", "undecided"  # of a claim that it comes close to another

FOR, AGAINST, NEITHER = (HOLDS, CLOSE), (CONTRADICTED, NOT_CLOSE), (UNDETECTED, UNDECIDED)  # of claims


def better_or_worse(metric: str, difference: float) -> str:
    """Say which way a difference in a metric goes."""
    return BETTER if METRICS[metric].gain(difference) > 0 else WORSE


def of_signs(metric: str, mean: float, p: float, paper: float | None = None) -> str:
    """Give the verdict on a difference; ``paper`` is the paper's difference, if it has one other than zero."""
    if p >= SURE:
        return UNDETECTED
    if not paper:
        return better_or_worse(metric, mean)
    return SAME if (mean > 0) == (paper > 0) else OPPOSITE


def of_claim(metric: str, mean: float, p: float) -> str:
    """Give the verdict on the claim that the first of two systems is the better one."""
    return {BETTER: HOLDS, WORSE: CONTRADICTED}.get(of_signs(metric, mean, p), UNDETECTED)


def of_closeness(low: float, high: float, margin: float) -> str:
    """Give the verdict on the claim that a system is behind by no more than a margin.

    ``low`` and ``high`` limit the interval of its gain over the other system; a negative gain is a loss.
    """
    return CLOSE if low >= -margin else NOT_CLOSE if high < -margin else UNDECIDED
