"""The API pages list every public name of the package, or it is internal on purpose; their example runs."""

import importlib
import inspect
import pkgutil
import re
import typing
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import yaml
from sphinx.ext.napoleon import NumpyDocstring

import ktnet_lite
from ktbook import reference
from ktnet_lite import names
from ktnet_lite.config import TrainConfig
from ktnet_lite.data.batching import Padded
from ktnet_lite.data.schema import Stream

ROOT = Path(__file__).resolve().parents[1]
KINDS = inspect.isfunction, inspect.isclass

PAGES = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "book" / "api").glob("*.md"))]
# The command line, what serves it alone, and the formats of single files: nobody imports these.
INTERNAL_MODULES = (
    r"__main__|cli(\.\w+)?|files|text|threads|data\.(checks|hdf5|opcodes|doctor\.contents)|data\.readers\.\w+|"
    r"training\.state"
)
INTERNAL = {
    "model.any_modality.at_hand",
    "model.fast.spread",
    "model.any_modality.drawn",
    "model.any_modality.merged",
    "model.any_modality.placed",
    "model.any_modality.places",
    "model.any_modality.taken",
    "parameters.checked",
    "parameters.parameter",
    "data.catalogue.download.are_below",
    "data.catalogue.download.copy",
    "data.catalogue.download.download",
    "data.catalogue.download.locate",
    "data.catalogue.download.sha256_of",
    "data.doctor.findings.place",
    "data.doctor.measure.Frames",
    "data.doctor.measure.histogram",
    "data.doctor.measure.labels_of",
    "data.doctor.measure.measure",
    "data.readers.naming",
    "data.schema.blocks",
    "deploy.runtime.needed",
    "data.foreign.damaged",
    "data.foreign.unreadable",
    "errors.did_you_mean",
    "extract.extras.needed",
    "extract.folder.Job",
    "extract.landmarker.around",
    "extract.landmarker.sigmoid",
    "extract.vectors.murmur",
    "experiments.kernel.Kernel",
    "experiments.kernel.prepared",
    "reporting.letters.Drawing",
    "errors.shown",
    "experiments.agreement.contradictions",
    "experiments.notebook.source",
    "experiments.yaml_file.read",
    "training.checkpoint.check_weights",
    "training.checkpoint.checked",
}


def public(module: str) -> dict[str, object]:
    """Functions and classes that a module defines."""
    found = vars(importlib.import_module(module)).items()
    return {
        name: its
        for name, its in found
        if not name.startswith("_") and any(kind(its) for kind in KINDS) and its.__module__ == module
    }


def listed() -> set[str]:
    """What stands on the pages, by full name; of a whole module, all that is public in it."""
    found = set()
    for page in PAGES:
        module = ""
        for directive, argument in re.findall(r"^\.\. ([\w:]+):: ([\w.]+)", page, re.MULTILINE):
            if directive in ("py:module", "currentmodule"):
                module = argument
            elif directive == "automodule":
                found |= {f"{argument}.{name}" for name in public(argument)}
            else:
                found.add(f"{module}.{argument}")
    return found


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


def test_every_choice_is_listed():
    choices = {name for name in vars(names) if name[0].isupper() and not hasattr(typing, name)}
    assert {f"ktnet_lite.names.{name}" for name in choices} <= LISTED


def test_signatures_show_choices_by_their_names():
    """Signatures link a name in ``autodoc_type_aliases`` and spell any other type out."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["sphinx"]["config"]
    aliases = config["autodoc_type_aliases"]
    literals = {name for name, its in vars(names).items() if typing.get_origin(its) is typing.Literal}
    assert literals <= aliases.keys() and set(aliases.values()) <= LISTED
    assert {name: full.rpartition(".")[2] for name, full in aliases.items()} == {name: name for name in aliases}


def test_every_listed_name_is_one_of_the_package_where_it_is_defined():
    for full in LISTED:
        module, _, name = full.rpartition(".")
        its = getattr(importlib.import_module(module), name)
        # Python 3.10 takes an alias such as Mapping[str, Any] for a class
        defined = any(kind(its) for kind in KINDS) and not typing.get_origin(its)
        assert not defined or its.__module__ == module, full
    for full in INTERNAL:
        module, _, name = f"ktnet_lite.{full}".rpartition(".")
        assert name in public(module), f"{full} is internal, and is no more"


def test_the_example_runs(capsys):
    (example,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "book/api.md").read_text(encoding="utf-8"), re.M | re.S)
    exec(example, {})
    assert 0 < float(capsys.readouterr().out) < 3


class Fields(NamedTuple):
    """Fields with and without comments."""

    first: int  # of all, a_b * c
    second: dict[str, int] = {}  # noqa: RUF012
    third: str = "# 3"
    fourth: tuple[str, ...] = (
        "a",  # no comment on the field
        "b",
    )  #: the last
    fifth: dict[str, int] = {}  # by name  # noqa: RUF012

    def method(self) -> int:
        local: int = 1  # not a field
        return local


def test_fields_are_described_by_the_comments_behind_them():
    lines = ["first", r"    of all, a\_b \* c", "fourth", "    the last", "fifth", "    by name"]
    assert reference.fields(Fields) == ["Fields", "------", *lines, ""]
    assert "    (B, T, D)" in reference.fields(Padded)
    assert reference.fields(Stream) == []


def test_parameters_are_described_by_what_the_config_says_of_them():
    lines = reference.fields(TrainConfig)
    assert set(TrainConfig.__dataclass_fields__) <= {line.replace("\\", "") for line in lines}
    assert "    distance of Eq. (1), Table V; one of l2, l1. Default: l2." in lines
    assert lines[lines.index("batch_size") + 1] == "    over all processes. Default: 64 clips."


@pytest.mark.parametrize(
    ("target", "kind", "module", "found"),
    [
        ("Padded", "class", "ktnet_lite.model.layers", "ktnet_lite.data.batching.Padded"),
        ("batching.Padded", "class", "", "ktnet_lite.data.batching.Padded"),
        ("other.Padded", "class", "", "ktnet_lite.data.batching.Padded"),
        ("Entry", "class", "ktnet_lite.baselines", "ktnet_lite.baselines.Entry"),
        ("Entry", "class", "", None),
        ("Result.key", "attr", "", "ktnet_lite.experiments.result.Result.key"),
        ("np.load", "func", "", None),
    ],
)
def test_a_name_links_to_the_modules_own_object_or_to_the_only_one(target, kind, module, found):
    known = (
        "ktnet_lite.data.batching.Padded",
        "ktnet_lite.data.catalogue.entries.Entry",
        "ktnet_lite.baselines.Entry",
        "ktnet_lite.experiments.result.Result.key",
        "ktnet_lite.data.store.load",
    )
    domain = SimpleNamespace(objects=known, resolve_xref=lambda env, page, builder, kind, target, node, content: target)
    env = SimpleNamespace(get_domain=lambda name: domain)
    node = {"refdomain": "py", "reftype": kind, "reftarget": target, "refdoc": "page", "py:module": module}
    assert reference.resolve(SimpleNamespace(builder=None), env, node, None) == found
    assert reference.resolve(SimpleNamespace(builder=None), env, node | {"refdomain": "std"}, None) is None


def test_a_colon_in_the_first_line_of_a_property_is_no_type():
    text = ["The key: :class:`Padded` and more.", "", "Raises", "------", "ConfigError", "    Never: no."]

    def read(*hooks) -> list[str]:
        lines = list(text)
        for hook in hooks:
            hook(None, "property", "", None, None, lines)
        return lines

    def napoleon(app, what, name, obj, options, lines):
        lines[:] = NumpyDocstring(lines, what=what, name="key").lines()

    assert ":type: The key" in read(napoleon)
    lines = read(reference.hide_colon, napoleon, reference.show_colon)
    assert lines[0] == text[0] and ":raises ConfigError: Never: no." in lines


def test_fields_stand_before_what_is_raised_and_never_twice():
    lines = ["Text.", "", "Raises", "------", "ConfigError"]
    reference.add_fields(None, "class", "", Padded, None, lines)
    assert lines.index("Fields") < lines.index("Raises") - 2
    again = ["Text.", "", "Parameters", "----------"]
    reference.add_fields(None, "class", "", Padded, None, again)
    assert "Fields" not in again
