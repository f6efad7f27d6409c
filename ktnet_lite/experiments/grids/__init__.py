"""Grids of runs: one readable YAML file per table, with its rows, columns, data sets and the parameters they set."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import ConfigError, did_you_mean
from ktnet_lite.experiments import yaml_file
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.parameters import preset

FOLDER = Path(__file__).resolve().parent

Parameters = Mapping[str, Any]
_SOME = msgspec.Meta(min_length=1)
_Names = Annotated[list[str], _SOME]
PARTS: dict[str, Any] = {  # of a file, and what they hold
    "title": str,
    "about": str,
    "paper": str,
    "metrics": _Names,
    "rows": Annotated[dict[str, dict[str, Any] | None], _SOME],
    "columns": Annotated[dict[str, Literal["all"] | _Names], _SOME],
    "data": Annotated[dict[str, Annotated[dict[str, dict[str, Any]], _SOME]], _SOME],
    "without": dict[str, list[str]],
    "compare": list[tuple[str, str]],
}


class Cell(NamedTuple):
    """One row in one column on one data set: the same run with several seeds."""

    row: str
    column: str
    parameters: dict[str, Any]  # set by the grid; the rest are TrainConfig's defaults

    def configs(self, seeds: Sequence[int], **more: Any) -> list[TrainConfig]:
        """Build a config per seed; ``more`` sets places and devices."""
        return [TrainConfig.build({**self.parameters, **more, "seed": seed}) for seed in seeds]


@dataclass(frozen=True)
class Grid:
    """The runs behind a table.

    Parameters
    ----------
    name, title, about : str
    metrics : tuple of str
        Metrics on the test set, by their names in :data:`ktnet_lite.measures.metrics.METRICS`.
    rows : dict
        Row -> the parameters that make it.
    columns : dict
        Column -> its rows.
    data : dict
        Data set of the table -> column -> parameters. With ``paper``, the first is the paper's.
    without : dict
        Data set -> rows that are impossible on it.
    compare : tuple of (str, str)
        Pairs of rows whose difference is tested, in each column that has both.
    paper : str or None
        The paper's table (:mod:`ktnet_lite.reporting.paper`) to compare with.

    Raises
    ------
    ConfigError
        A part, row, column, metric or parameter does not exist; the message names it.
    """

    name: str
    title: str
    about: str
    metrics: tuple[str, ...]
    rows: Mapping[str, Parameters]
    columns: Mapping[str, Sequence[str]]
    data: Mapping[str, Mapping[str, Parameters]]
    without: Mapping[str, Sequence[str]]
    compare: tuple[tuple[str, str], ...]
    paper: str | None = None

    def __post_init__(self):
        def known(what: str, names, among) -> None:
            for name in names:
                if name not in among:
                    raise ConfigError(f"grid {self.name}: {name!r} is not a {what}: {', '.join(among)}")

        known("metric", self.metrics, METRICS)
        known("row", [row for rows in self.columns.values() for row in rows], self.rows)
        known("row", [row for rows in self.without.values() for row in rows], self.rows)
        known("row", [row for pair in self.compare for row in pair], self.rows)
        known("data set", self.without, self.data)
        for name, columns in self.data.items():
            known("column", columns, self.columns)
            for cell in self.cells(name):
                try:
                    cell.configs([0])
                except ConfigError as error:
                    where = f"grid {self.name}, data {name}, column {cell.column!r}, row {cell.row!r}"
                    raise ConfigError(f"{where}: {error}") from error

    def cells(self, data: str) -> list[Cell]:
        """List the cells of one data set, column by column. A row's parameters override its column's.

        Raises
        ------
        ConfigError
            The grid has no such data set.
        """
        if data not in self.data:
            raise ConfigError(f"{self.name} has no data set {data!r}; it has {', '.join(self.data)}")
        return [
            Cell(row, column, _spelled_out({"dataset": TrainConfig.dataset, **parameters, **self.rows[row]}))
            for column, parameters in self.data[data].items()
            for row in self.columns[column]
            if row not in self.without.get(data, ())
        ]


def _spelled_out(parameters: Parameters) -> dict[str, Any]:
    """Put the parameters of a ``preset`` in its place; those that stand beside it come first."""
    own = {name: value for name, value in parameters.items() if name != "preset"}
    if "preset" not in parameters:
        return own
    return {**preset(parameters["preset"]), **own}


def names() -> list[str]:
    """List the grids that come with the package, the paper's tables first."""
    return sorted((path.stem for path in FOLDER.glob("*.yaml")), key=lambda name: (name[:6] != "table_", name))


def load(name_or_path: str | Path) -> Grid:
    """Load a grid by its name (``table_1``; ``1`` and ``I`` name the paper's tables too), or from your own file.

    Raises
    ------
    ConfigError
        There is no such grid or file, or the file is not a valid grid.
    """
    paper = {numeral: f"table_{i}" for i, numeral in enumerate(("I", "II", "III", "IV", "V"), start=1)}
    name = str(name_or_path)
    name = paper.get(name.upper(), f"table_{name}" if name.isdigit() else name)
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        hint = did_you_mean(name, names())
        raise ConfigError(f"no grid {str(name_or_path)!r}{hint}\nthe grids are: {', '.join(names())}, or a .yaml file")
    return _grid(path, yaml_file.read(path))


def _grid(path: Path, parts: Any) -> Grid:
    needed = PARTS.keys() - {"paper", "without", "compare"}
    held: set[str] = set(parts) if isinstance(parts, dict) else set()
    if wrong := (needed - held) | (held - PARTS.keys()):
        raise ConfigError(
            f"{path}: {', '.join(sorted(wrong))[:100]} is missing or unknown; a grid has the parts {', '.join(PARTS)} "
            "(paper, without and compare may be left out)"
        )
    for name, part in parts.items():
        entries = part.items() if isinstance(part, dict) else ()
        for where, value in (*((f"{name}, {key}", {key: entry}) for key, entry in entries), (name, part)):
            try:
                msgspec.convert(value, PARTS[name])
            except msgspec.ValidationError as error:
                raise ConfigError(f"{path}, {where}: {_in_yaml(str(error))}") from None
    rows = {row: parameters or {} for row, parameters in parts["rows"].items()}  # "row:" is a row of defaults
    columns = {
        column: list(rows if which == "all" else dict.fromkeys(which)) for column, which in parts["columns"].items()
    }
    return Grid(
        path.stem,
        parts["title"],
        parts["about"],
        tuple(parts["metrics"]),
        rows,
        columns,
        parts["data"],
        parts.get("without", {}),
        tuple(map(tuple, parts.get("compare", ()))),
        parts.get("paper"),
    )


def _in_yaml(message: str) -> str:
    """Write a message about JSON in the words of YAML, without the place where it can name no part."""
    words = {"object": "mapping", "array": "list", "null": "nothing", "str": "text", "int": "number", "float": "number"}
    message = re.sub(r"\b(object|array|null|str|int|float)\b", lambda found: words[found[0]], message)
    return re.sub(r" - at `\$(\[\.\.\.\])*`$", "", message).replace("`", "")
