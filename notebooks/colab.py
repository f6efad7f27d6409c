"""Colab's packages, for a test in an environment like it: what Google publishes of it, as files for pip.

    python notebooks/colab.py pip-freeze.txt constraints.txt requirements.txt

`pip-freeze.txt` is that of https://github.com/googlecolab/backend-info. The constraints are all its exact versions; the
requirements, those of them that ktnet-lite and its notebooks ask for.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
PIN = re.compile(r"([\w.-]+)==([^+\s]+)", re.ASCII)
WHEEL = re.compile(r"([\w.-]+) @ https://\S*/[^/-]+-([^/-]+?)(?:%2B[^/-]*)?-[^/\s]*\.whl", re.ASCII)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(freeze: str) -> dict[str, str]:
    """Versions by name, without the build that PyTorch puts after a plus; what only Colab has is left out."""
    matches = (PIN.match(line) or WHEEL.match(line) for line in freeze.splitlines())
    return {canonical(match[1]): match[2] for match in matches if match}


def asked() -> set[str]:
    """The packages that the project names for itself and for its notebooks."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["experiments"], *extras["extract"]]
    return {canonical(re.match(r"[\w.-]+", line)[0]) for line in lines}


@click.command()
@click.argument("freeze", type=click.File(encoding="utf-8"))
@click.argument("constraints", type=click.File("w", encoding="utf-8"))
@click.argument("requirements", type=click.File("w", encoding="utf-8"))
def main(freeze, constraints, requirements) -> None:
    """Write CONSTRAINTS and REQUIREMENTS from Colab's FREEZE."""
    found = pins(freeze.read())
    for name, version in found.items():
        constraints.write(f"{name}=={version}\n")
    for name in sorted(asked() & set(found)):
        requirements.write(f"{name}\n")


if __name__ == "__main__":
    main()
