"""Shared fixtures, and the guard that keeps the test markers right."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from filelock import FileLock

from chromium import launch

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = ("process", "kernel", "browser")
MARKED_BY_FIXTURE = {"book_build": "process", "site": "process", "browser": "browser"}
SECONDS = {"kernel": 15, "process": 8, "browser": 4, "slow": 4}  # of a test with a marker, roughly


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use the built book or the browser; several processes start with the longest files.

    Of the files that use the built book one builds it, and the others come last, so that no process waits for it.
    """
    seconds: Counter[Path] = Counter()
    readers = {item.path for item in items if "book_build" in getattr(item, "fixturenames", ())}
    for item in items:
        for name in MARKED_BY_FIXTURE.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(MARKED_BY_FIXTURE[name])
        plain = 0.2 if isinstance(item, pytest.Function) else 1  # or a cell of a notebook
        seconds[item.path] += max((SECONDS.get(marker.name, 0) for marker in item.iter_markers()), default=0) or plain
    if "PYTEST_XDIST_WORKER" in os.environ:
        readers.discard(max(readers, key=seconds.__getitem__, default=None))
        items.sort(key=lambda item: (item.path in readers, -seconds[item.path]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    """Let only marked tests, with their fixtures of any scope, start a process."""
    if not isinstance(item, pytest.Function) or any(map(item.get_closest_marker, OUTSIDE)):
        return (yield)

    platform.processor()  # its first call starts `uname`, and libraries call it
    message = "this test starts a process: mark it with pytest.mark.process, kernel or browser (see CONTRIBUTING.md)"

    def refuse_command(*_, **__):
        pytest.fail(message)

    def refuse_worker(*_, **__):  # an ordinary error, since Dask starts its workers in a thread and waits for it
        raise RuntimeError(message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", refuse_command)
        patch.setattr(subprocess.Popen, "__del__", lambda *_: None)  # it asks for what __init__ would have set
        patch.setattr(BaseProcess, "start", refuse_worker)
        return (yield)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real raw files; named by KTNET_DATA, or beside the checkout; the test is skipped without it."""
    folder = Path(os.environ.get("KTNET_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "mosi-csd").is_dir():
        pytest.skip(f"no real data at {folder}; set KTNET_DATA")
    return folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """Folder of this test run, the same in all its processes."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def deployed(shared: Path) -> Callable:
    """Small models and their exported files; see ``tests/deployed.py``."""
    import deployed

    return partial(deployed.deployed, shared)


@pytest.fixture(scope="session")
def book_build(shared: Path) -> dict:
    """The book, built as `make book` does it, once for all test processes: ``html``, ``returncode`` and ``output``."""
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
