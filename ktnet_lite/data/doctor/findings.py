"""What the doctor found, and the page of text that says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ktnet_lite.data.doctor.measure import Facts, histogram
from ktnet_lite.text import table

STREAM_COLUMNS = ("SPLIT", "MODALITY", "CLIPS", "FEATURES", "STEPS min/median/max", "PADDING", "LACKING")


class Finding(NamedTuple):
    """Something wrong. An error makes the file unfit as it is; ``where`` names split and field."""

    level: Literal["error", "warning"]
    where: str
    what: str


def place(index: int, ids: tuple[str, ...] | None) -> str:
    """Where a clip stands: its index, and its id where it has one."""
    return f"index {index} ({ids[index]})" if ids is not None and index < len(ids) else f"index {index}"


@dataclass
class Report:
    """Everything that :func:`ktnet_lite.data.doctor.check` found; ``str`` of it is a page of text.

    Parameters
    ----------
    path : Path
    facts : list of (str, str)
        What the file is.
    streams : list of (split, modality, Facts)
    labels : list of (split, array)
    findings : list of Finding
    """

    path: Path
    facts: list[tuple[str, str]] = field(default_factory=list)
    streams: list[tuple[str, str, Facts]] = field(default_factory=list)
    labels: list[tuple[str, np.ndarray]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> list[Finding]:
        """The findings that are errors."""
        return [finding for finding in self.findings if finding.level == "error"]

    def error(self, where: str, what: str) -> None:
        """Note an error."""
        self.findings.append(Finding("error", where, what))

    def warn(self, where: str, what: str) -> None:
        """Note a warning."""
        self.findings.append(Finding("warning", where, what))

    def warn_of(self, mask: np.ndarray, where: str, what: str, ids: tuple[str, ...] | None) -> None:
        """Warn of the clips that are marked, if any: how many, and the first."""
        if mask.any():
            first = int(np.argmax(mask))
            self.warn(where, f"{int(mask.sum())} of {len(mask)} clips {what}, the first at {place(first, ids)}")

    def __str__(self) -> str:
        parts = [table([("file", str(self.path)), *self.facts])]
        if self.streams:
            parts.append(table([STREAM_COLUMNS, *(_stream_row(*row) for row in self.streams)]))
        if self.labels:
            head = ("SPLIT", "LABELS min/mean/max", *histogram(self.labels[0][1]))
            parts.append(table([head, *(_label_row(name, labels) for name, labels in self.labels)]))
        if self.findings:
            ordered = sorted(self.findings, key=lambda finding: finding.level)
            parts.append(table(ordered))
        warnings = len(self.findings) - len(self.errors)
        parts.append(
            f"{len(self.errors)} errors, {warnings} warnings" if self.findings else "Nothing is wrong with it."
        )
        return "\n\n".join(parts)


def _stream_row(split: str, modality: str, facts: Facts) -> tuple[str, ...]:
    there = facts.lengths[~facts.absent]
    steps = f"{there.min()} / {np.median(there):g} / {there.max()}" if len(there) else "none"
    lacking = str(int(facts.absent.sum()) or "")
    return split, modality, str(len(facts.lengths)), str(facts.dim), steps, facts.side, lacking


def _label_row(split: str, labels: np.ndarray) -> tuple[str, ...]:
    number = labels[np.isfinite(labels)]
    about = f"{number.min():.4g} / {number.mean():.3f} / {number.max():.4g}" if len(number) else "none"
    return split, about, *map(str, histogram(labels).values())
