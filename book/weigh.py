"""What a reader's browser loads: for each page all that it asks for, in Chromium, and the whole site beside it.

    python book/weigh.py                # after make book

Two sizes, in kB: of the files, and with text packed by gzip, as GitHub Pages and most servers send it. Every page is
weighed as if it were the first; in truth the browser keeps styles, scripts and fonts from one page to the next.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterable
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
from playwright.sync_api import sync_playwright

from make_pdf import ROOT, open_browser

PACKED = {".css", ".html", ".js", ".json", ".md", ".mjs", ".svg", ".txt"}


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder, and says nothing."""

    def log_message(self, *arguments: object) -> None:
        pass


@cache
def sizes(file: Path) -> tuple[int, int]:
    """Bytes of a file, and bytes sent."""
    content = file.read_bytes()
    return len(content), len(gzip.compress(content) if file.suffix in PACKED else content)


def total(files: Iterable[Path]) -> tuple[int, int]:
    """Bytes of several files, and bytes sent."""
    pairs = [sizes(file) for file in files]
    return sum(size for size, _ in pairs), sum(sent for _, sent in pairs)


def pages_of(site: Path) -> list[Path]:
    """The pages of a site."""
    return sorted(path for path in site.rglob("*.html") if "_static" not in path.parts)


def loaded(site: Path, pages: list[Path]) -> dict[str, set[Path]]:
    """For each page the files that Chromium asks for when it is opened and read to its end."""
    asked: dict[str, set[str]] = {}
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server, sync_playwright() as api:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        browser = open_browser(api)
        context = browser.new_context()
        for page in pages:
            urls = asked[page.relative_to(site).as_posix()] = set()
            tab = context.new_page()
            tab.on("request", lambda request, urls=urls: urls.add(request.url))
            tab.goto(address + page.relative_to(site).as_posix())
            tab.keyboard.press("End")
            tab.wait_for_load_state("networkidle")
            tab.close()
        browser.close()
        server.shutdown()
    found = {name: {site / unquote(urlsplit(url).path.lstrip("/")) for url in urls} for name, urls in asked.items()}
    return {name: {file for file in files if file.is_file()} for name, files in found.items()}


@click.command()
@click.option("--site", default=ROOT / "_build" / "html", type=click.Path(path_type=Path), help="the built book")
@click.option("--pages", default=5, help="show this many of the heaviest pages")
def main(site: Path, pages: int) -> None:
    """Print a table of the heaviest pages and of the whole site."""
    if not (site / "index.html").is_file():
        raise click.ClickException(f"there is no built book in {site}; run: make book")
    weights = {name: total(files) for name, files in loaded(site, pages_of(site)).items()}
    heaviest = sorted(weights, key=lambda name: weights[name][1], reverse=True)[:pages]
    rows = [(name, *weights[name]) for name in heaviest]
    rows.append(("the whole site", *total(path for path in site.rglob("*") if path.is_file())))
    click.echo(f"{'page':44} {'files, kB':>10} {'sent, kB':>10}")
    for name, size, sent in rows:
        click.echo(f"{name:44} {size / 1000:10,.0f} {sent / 1000:10,.0f}")


if __name__ == "__main__":
    main()
