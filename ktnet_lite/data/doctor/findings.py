"""The findings of the doctor, and their presentation as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ktnet_lite.data.doctor.measure import Facts, histogram
from ktnet_lite.text import table

STREAM_COLUMNS = ("SPLIT", "MODALITY", "CLIPS", "FEATURES", "STEPS min/median/max", "PADDING", "MISSING")


class Finding(NamedTuple):
    """A problem in a file. An error makes the file unusable as it is; ``where`` names split and field."""

    level: Literal["error", "warning"]
    where: str
    what: str


def place(index: int, ids: tuple[str, ...] | None) -> str:
    """Describe the position of a clip: its index and, if it has one, its id."""
    return f"index {index} ({ids[index]})" if ids is not None and index < len(ids) else f"index {index}"


@dataclass
class Report:
    """All findings of :func:`ktnet_lite.data.doctor.check`; ``str`` presents them as text.

    Parameters
    ----------
    path : Path
    facts : list of (str, str)
        Labels and values that describe the file.
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
        """Add an error."""
        self.findings.append(Finding("error", where, what))

    def warn(self, where: str, what: str) -> None:
        """Add a warning."""
        self.findings.append(Finding("warning", where, what))

    def warn_clips(self, mask: np.ndarray, where: str, what: str, ids: tuple[str, ...] | None) -> None:
        """Add a warning about the marked clips, if any: how many there are, and the first."""
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
        parts.append(f"{len(self.errors)} errors, {warnings} warnings" if self.findings else "No problems found.")
        return "\n\n".join(parts)


def _stream_row(split: str, modality: str, facts: Facts) -> tuple[str, ...]:
    lengths = facts.lengths[~facts.absent]
    steps = f"{lengths.min()} / {np.median(lengths):g} / {lengths.max()}" if len(lengths) else "none"
    missing = str(int(facts.absent.sum()) or "")
    return split, modality, str(len(facts.lengths)), str(facts.dim), steps, facts.side, missing


def _label_row(split: str, labels: np.ndarray) -> tuple[str, ...]:
    finite = labels[np.isfinite(labels)]
    summary = f"{finite.min():.4g} / {finite.mean():.3f} / {finite.max():.4g}" if len(finite) else "none"
    return split, summary, *map(str, histogram(labels).values())
