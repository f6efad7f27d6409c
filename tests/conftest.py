"""Fixtures that several test files share."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from chromium import launch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real raw files; named by KTNET_DATA, or beside the checkout; the test is skipped without it."""
    folder = Path(os.environ.get("KTNET_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "mosi-csd").is_dir():
        pytest.skip(f"no real data at {folder}; set KTNET_DATA")
    return folder


@pytest.fixture(scope="session")
def book_build(tmp_path_factory) -> dict:
    """The book, built as `make book` does it, once for all test processes: ``html``, ``returncode`` and ``output``."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    record = shared / "book.json"
    with FileLock(shared / "book.lock"):
        if not record.exists():
            program = shutil.which("jupyter-book", path=str(Path(sys.executable).parent))
            command = [program, "build", ".", "-W", "-n", "--keep-going", "--path-output", shared / "book"]
            done = subprocess.run(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
            )
            record.write_text(json.dumps({"returncode": done.returncode, "output": done.stdout}), encoding="utf-8")
    return json.loads(record.read_text(encoding="utf-8")) | {"html": shared / "book" / "_build" / "html"}


@pytest.fixture(scope="session")
def site(book_build: dict) -> Path:
    """The built book's folder."""
    assert (book_build["html"] / "index.html").is_file(), book_build["output"]
    return book_build["html"]


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium; one for each test file, since its event loop is in the way of tests that have their own."""
    with launch() as browser:
        yield browser
