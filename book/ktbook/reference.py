"""What autodoc needs to show this package well: fields said in comments, and types named as in the source."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

FIELD = re.compile(r"^    (\w+): [^#\n]+?  # (.+)$", re.MULTILINE)
SECTIONS = {"Parameters", "Attributes", "Raises"}


def fields(cls: type) -> list[str]:
    """The lines of a section on a class's fields: of those that say what they are behind them, or by ``parameter``."""
    if dataclasses.is_dataclass(cls) and all(field.metadata for field in dataclasses.fields(cls)):
        found = [(field.name, _about(field)) for field in dataclasses.fields(cls)]
    else:
        found = FIELD.findall(inspect.getsource(cls))
    lines = [line for name, about in found for line in (name, "    " + re.sub(r"([*_`|])", r"\\\1", about))]
    return ["Fields", "------", *lines, ""] if lines else []


def _about(field: dataclasses.Field) -> str:
    about, unit = field.metadata["about"], field.metadata["unit"]
    choices = f"; one of {', '.join(field.metadata['choices'])}" if field.metadata["choices"] else ""
    default = field.default if field.default != "" else "empty"
    return f"{about}{choices}. Default: {default}{' ' + unit if unit else ''}."


def add_fields(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if what == "class" and not {"Parameters", "Attributes"} & set(lines):
        first = next((i for i, line in enumerate(lines) if line in SECTIONS), len(lines))
        lines[first:first] = ["", *fields(obj)]


def skip_field(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Of a NamedTuple's field autodoc knows no more than that it is an "alias for field number 0"."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def resolve(app: Any, env: Any, node: Any, content: Any) -> Any:
    """A type named as in the source, such as ``Padded``: the one thing of that name, or that of the same module."""
    if node.get("refdomain") != "py" or node.get("reftype") not in ("class", "exc"):
        return None
    domain, name = env.get_domain("py"), node["reftarget"].rpartition(".")[2]
    matches = [full for full in domain.objects if full.rpartition(".")[2] == name]
    if (own := f"{node.get('py:module')}.{name}") in matches:
        matches = [own]
    if len(matches) != 1:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", matches[0], node, content)


def setup(app: Any) -> dict[str, bool]:
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", add_fields, priority=400)  # before napoleon reads the docstring
    app.connect("autodoc-skip-member", skip_field)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
