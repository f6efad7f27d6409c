"""Print the section of CHANGELOG.md for a version tag such as v0.1.0; fail unless the version is ready for release."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def release_notes(tag: str, changelog: str, package: str) -> str:
    """The text below a version's heading.

    Parameters
    ----------
    tag
        The version with a ``v`` in front.
    changelog, package
        The texts of ``CHANGELOG.md`` and of ``ktnet_lite/__init__.py``.
    """
    version = tag.removeprefix("v")
    (packaged,) = re.findall(r'^__version__ = "(.+)"', package, re.MULTILINE)
    if version != packaged:
        sys.exit(f"The tag is {tag}, but ktnet_lite/__init__.py has version {packaged}. Change one of them.")
    sections = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", changelog, re.MULTILINE))
    if f"{version} (unreleased)" in sections:
        sys.exit(f"CHANGELOG.md calls {version} unreleased. Put the date into the heading: ## {version} (2030-12-31)")
    notes = [text.strip() for heading, text in sections.items() if heading.split()[0] == version]
    if not any(notes):
        sys.exit(f"CHANGELOG.md has no text for {version}. Add a section: ## {version} (2030-12-31)")
    return notes[0]


if __name__ == "__main__":
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("CHANGELOG.md", "ktnet_lite/__init__.py")]
    print(release_notes(sys.argv[1], *texts))
