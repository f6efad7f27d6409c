"""The repository's address stands in ``_config.yml``; this writes it to every other place that needs it.

    python book/site_address.py https://github.com/OWNER/NAME     # or: make site-address URL=...
    python book/site_address.py                                   # after a change in _config.yml, of the branch say
    python book/site_address.py --check

Notebooks, the README and the pages are read on GitHub and in Colab too, where nothing fills in an address. So it is
typed there, and this finds it: in each link to GitHub, Colab, Binder, Codespaces or GitHub Pages (and to Kaggle, whose
links hold one to GitHub) that leads to the configured repository, to one called as the project is, or to a file that
lies here. Nothing but owner, name and branch changes, byte by byte.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "ktnet-lite"
OWNER, NAME = r"[A-Za-z0-9][A-Za-z0-9-]*", r"[\w.-]*?[\w-]"
HOSTS = r"github\.com|colab\.research\.google\.com/github|mybinder\.org/v2/gh|codespaces\.new"
LINK = re.compile(
    rf"(?:(?:{HOSTS})/(?P<owner>{OWNER})/|\b(?P<host>{OWNER})\.github\.io/)"
    rf"(?P<name>{NAME})(?:\.git)?(?![\w.-]*[\w-])"
    r"(?:/(?:blob|tree|edit|raw)/(?P<branch>[\w.-]+)/(?P<path>[\w./-]+)|/(?P<ref>[\w.-]+)\?labpath=(?P<lab>[\w./-]+))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Address:
    """A repository on GitHub, and the branch that its links name."""

    owner: str
    name: str
    branch: str

    @classmethod
    def of(cls, url: str, branch: str) -> Address:
        """From the address as a browser shows it."""
        match = re.fullmatch(rf"https://github\.com/({OWNER})/({NAME})(?:\.git)?/?", url, re.ASCII)
        if match is None:
            raise click.ClickException(f"{url} is not the address of a repository, as https://github.com/OWNER/NAME is")
        return cls(*match.groups(), branch)

    @property
    def url(self) -> str:
        return f"https://github.com/{self.owner}/{self.name}"


def configured() -> Address:
    """What ``_config.yml`` says."""
    repository = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    return Address.of(repository["url"], repository["branch"])


def rewrite(text: str, old: Address, new: Address) -> str:
    """A text whose links to this project lead to the new address."""

    def moved(link: re.Match) -> str:
        named = (link["owner"] or link["host"], link["name"])
        path = link["path"] or link["lab"] or ""
        here = "/" in path and (ROOT / path).exists()
        if link["name"] != PROJECT and named not in {(old.owner, old.name), (old.owner.lower(), old.name)} and not here:
            return link[0]
        values = {"owner": new.owner, "host": new.owner.lower(), "name": new.name, "branch": new.branch}
        values["ref"] = new.branch
        parts, end = [], link.start()
        for group, value in values.items():
            if link[group] is not None:
                parts += [text[end : link.start(group)], value]
                end = link.end(group)
        return "".join([*parts, text[end : link.end()]])

    return LINK.sub(moved, text)


def changes(new: Address) -> Iterator[tuple[Path, str]]:
    """Text files tracked by git that hold another address of this project, and what should stand in them."""
    old = configured()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for path in (ROOT / name for name in listed.split("\0") if name):
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            text = content.decode(errors="surrogateescape")
            if (wanted := rewrite(text, old, new)) != text:
                yield path, wanted


@click.command()
@click.argument("url", required=False)
@click.option("--check", is_flag=True, help="change nothing; fail when a file holds another address than _config.yml")
def main(url: str | None, check: bool) -> None:
    """Write the repository's address URL, or the one in _config.yml, to every file that names it."""
    old = configured()
    new = Address.of(url, old.branch) if url else old
    found = list(changes(new))
    for path, wanted in found:
        if not check:
            path.write_bytes(wanted.encode(errors="surrogateescape"))
        click.echo(path.relative_to(ROOT).as_posix())
    if check and found:
        raise click.ClickException("another address than _config.yml has it; run: make site-address")
    click.echo(f"{new.url}, branch {new.branch}: {f'{len(found)} files changed' if found else 'everywhere'}")


if __name__ == "__main__":
    main()
