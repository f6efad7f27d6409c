"""The paper's own numbers, Tables I to V."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

from ktnet_lite.errors import ConfigError
from ktnet_lite.experiments import yaml_file

CONVENTION = {"acc2": "acc2_nonzero", "f1": "f1_nonzero"}  # the paper does not say which; see choices.md


class PaperTable(NamedTuple):
    """One of the paper's tables, with accuracies as fractions."""

    data: str
    metrics: tuple[str, ...]  # by our names
    values: dict[tuple[str, str], dict[str, float]]  # (row, column) -> metric -> number


@cache
def table(number: str) -> PaperTable:
    """Look a table up by its Roman number.

    Raises
    ------
    ConfigError
        The paper has no table of results with that number, or the file of its tables was altered.
    """
    path = Path(__file__).with_suffix(".yaml")
    content = yaml_file.read(path)
    try:
        if number not in content:
            raise ConfigError(f"the paper has no table {number!r} of results; it has {', '.join(content)}")
        printed = content[number]
        metrics = tuple(CONVENTION.get(metric, metric) for metric in printed["metrics"])
        scale = {metric: 0.01 if metric.startswith(("acc", "f1")) else 1.0 for metric in metrics}
        values = {
            (row, column): {metric: round(x * scale[metric], 4) for metric, x in zip(metrics, numbers, strict=True)}
            for column, rows in printed.items()
            if isinstance(rows, dict)
            for row, numbers in rows.items()
        }
        return PaperTable(printed["data"], metrics, values)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path}, table {number}, was altered ({error}); install ktnet-lite again") from error
