"""A headless Chromium, and a server for the folder that it looks at."""

from __future__ import annotations

import contextlib
import functools
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = ("--no-sandbox", "--disable-background-networking")


@contextlib.contextmanager
def launch() -> Iterator[Browser]:
    """This machine's Chromium or Chrome, else Playwright's own; the test is skipped where there is neither."""
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    with api.sync_playwright() as playwright:
        if program is None and not Path(playwright.chromium.executable_path).is_file():
            pytest.skip("no Chromium here: install it, or run: playwright install chromium")
        started = playwright.chromium.launch(executable_path=program, args=list(OPTIONS))
        try:
            yield started
        finally:
            started.close()


class _Quiet(SimpleHTTPRequestHandler):
    scripts = dict.fromkeys((".js", ".mjs"), "text/javascript")  # Windows may think otherwise
    extensions_map = SimpleHTTPRequestHandler.extensions_map | scripts

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a browser may leave before all has come
            super().handle_error(request, client_address)


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address, without a slash at its end, under which a folder can be read while the block runs."""
    with _Server(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
