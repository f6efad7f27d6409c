"""Adapt autodoc to this package: fields described by comments, and types named as in the source."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import re
import textwrap
import tokenize
from typing import Any

from ktnet_lite.config import choices

SECTIONS = {"Parameters", "Attributes", "Raises"}
COLON = "\ue000"  # stands for a colon while napoleon reads a docstring


def fields(cls: type) -> list[str]:
    """Return the lines of a docstring section on a class's fields, for those that a comment or metadata describes."""
    if dataclasses.is_dataclass(cls) and all(field.metadata for field in dataclasses.fields(cls)):
        described = {field.name: _about(field) for field in dataclasses.fields(cls)}
    else:
        described = _comments(cls)
    lines = [line for name, about in described.items() for line in (name, "    " + re.sub(r"([*_`|])", r"\\\1", about))]
    return ["Fields", "------", *lines, ""] if lines else []


def _comments(cls: type) -> dict[str, str]:
    """Read the comment at the end of each field's line, by field.

    Sphinx itself reads only ``#:`` comments and strings below a field; plain comments keep each field on one line.
    """
    source = textwrap.dedent(inspect.getsource(cls))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
    described = {}
    for statement in ast.parse(source).body[0].body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            comment = comments.get(statement.end_lineno, "").partition("# noqa")[0]
            if about := comment.lstrip("#: ").rstrip():
                described[statement.target.id] = about
    return described


def _about(field: dataclasses.Field) -> str:
    about, unit, known = field.metadata["about"], field.metadata["unit"], choices(field.name)
    listed = f"; one of {', '.join(known)}" if known else ""
    default = field.default if field.default != "" else "empty"
    return f"{about}{listed}. Default: {default}{' ' + unit if unit else ''}."


def add_fields(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Add the fields to a class's docstring, before what it raises, unless it describes them itself."""
    if what == "class" and not {"Parameters", "Attributes"} & set(lines):
        first = next((i for i, line in enumerate(lines) if line in SECTIONS), len(lines))
        lines[first:first] = ["", *fields(obj)]


def hide_colon(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Hide a colon in the first line of a property: napoleon would take the text before it for the property's type."""
    if what == "property":
        lines[:1] = [line.replace(":", COLON) for line in lines[:1]]


def show_colon(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Undo :func:`hide_colon`."""
    lines[:] = [line.replace(COLON, ":") for line in lines]


def skip_field(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Skip the fields of a NamedTuple: autodoc would describe each as an "alias for field number 0"."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def resolve(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Link a name as written in the source, such as ``Padded``: the same module's object, or the only one of that name.

    Any module in front of a type (``batching.Padded``) is ignored if it leads nowhere.
    """
    if node.get("refdomain") != "py":
        return None
    domain, target = env.get_domain("py"), node["reftarget"]
    short = target.rpartition(".")[2] if node.get("reftype") in ("class", "exc") else target
    for name in dict.fromkeys((target, short)):
        matches = [full for full in domain.objects if f".{full}".endswith(f".{name}")]
        if (own := f"{node.get('py:module')}.{name}") in matches:
            matches = [own]
        if len(matches) == 1:
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", matches[0], node, content)
    return None


def setup(app: Any) -> dict[str, bool]:
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", add_fields, priority=400)  # napoleon reads the docstring at 500
    app.connect("autodoc-process-docstring", hide_colon, priority=400)
    app.connect("autodoc-process-docstring", show_colon, priority=600)
    app.connect("autodoc-skip-member", skip_field)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
