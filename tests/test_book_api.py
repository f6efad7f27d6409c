"""The API pages list every public name of the package, or it is internal on purpose; their example runs."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import NamedTuple

import pytest

import ktnet_lite
from ktbook import reference
from ktnet_lite.config import TrainConfig
from ktnet_lite.data.batching import Padded
from ktnet_lite.data.schema import Stream

ROOT = Path(__file__).resolve().parents[1]

PAGES = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "book" / "api").glob("*.md"))]
# The command line, text for it, and the readers of single formats: no part of what one imports.
INTERNAL_MODULES = r"__main__|cli|commands|table_commands|text|data\.contents|data\.readers\.\w+"
INTERNAL = {
    "config.parameter",
    "data.download.copy",
    "data.download.download",
    "data.download.locate",
    "data.download.sha256_of",
    "data.findings.place",
    "data.measure.Frames",
    "data.measure.histogram",
    "data.measure.labels_of",
    "data.measure.measure",
    "data.readers.naming",
    "data.schema.blocks",
}


def public(module: str) -> dict[str, object]:
    """Functions and classes that a module defines."""
    found = vars(importlib.import_module(module)).items()
    kinds = (inspect.isfunction, inspect.isclass)
    return {
        name: its
        for name, its in found
        if not name.startswith("_") and any(kind(its) for kind in kinds) and its.__module__ == module
    }


def listed() -> set[str]:
    """What stands on the pages, by full name; of a whole module, all that is public in it."""
    names = set()
    for page in PAGES:
        module = ""
        for directive, argument in re.findall(r"^\.\. ([\w:]+):: ([\w.]+)", page, re.MULTILINE):
            if directive in ("py:module", "currentmodule"):
                module = argument
            elif directive == "automodule":
                names |= {f"{argument}.{name}" for name in public(argument)}
            else:
                names.add(f"{module}.{argument}")
    return names


LISTED = listed()
MODULES = [
    module.name
    for module in pkgutil.walk_packages(ktnet_lite.__path__, "ktnet_lite.")
    if not re.fullmatch(rf"ktnet_lite\.({INTERNAL_MODULES})", module.name)
]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_listed_or_internal_and_says_what_it_is(module):
    for name, its in public(module).items():
        full = f"{module}.{name}"
        assert (full in LISTED) != (full.removeprefix("ktnet_lite.") in INTERNAL), full
        assert inspect.getdoc(its), full


def test_every_listed_name_is_one_of_the_package():
    for full in LISTED:
        module, _, name = full.rpartition(".")
        assert hasattr(importlib.import_module(module), name), full
    for full in INTERNAL:
        module, _, name = f"ktnet_lite.{full}".rpartition(".")
        assert name in public(module), f"{full} is internal, and is no more"


def test_the_example_runs(capsys):
    (example,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "book/api.md").read_text(encoding="utf-8"), re.M | re.S)
    exec(example, {})
    assert 0 < float(capsys.readouterr().out) < 3


class Pair(NamedTuple):
    """Two."""

    first: int  # of the two, a_b * c
    second: dict[str, int] = {}  # noqa: RUF012
    third: str = ""


def test_fields_are_described_by_the_comments_behind_them():
    assert reference.fields(Pair)[:4] == ["Fields", "------", "first", r"    of the two, a\_b \* c"]
    assert "third" not in reference.fields(Pair)
    assert "    (B, T, D)" in reference.fields(Padded)
    assert reference.fields(Stream) == []


def test_parameters_are_described_by_what_the_config_says_of_them():
    lines = reference.fields(TrainConfig)
    assert set(TrainConfig.__dataclass_fields__) <= {line.replace("\\", "") for line in lines}
    assert "    how f\\_A is kept from collapsing; one of naive, joint, random, teacher. Default: teacher." in lines
    assert lines[lines.index("batch_size") + 1] == "    over all processes. Default: 24 clips."


def test_fields_stand_before_what_is_raised_and_never_twice():
    lines = ["Text.", "", "Raises", "------", "ConfigError"]
    reference.add_fields(None, "class", "", Padded, None, lines)
    assert lines.index("Fields") < lines.index("Raises") - 2
    again = ["Text.", "", "Parameters", "----------"]
    reference.add_fields(None, "class", "", Padded, None, again)
    assert "Fields" not in again
