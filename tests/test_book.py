"""The book builds, with warnings as errors, as `make book` does it."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_it_builds_without_a_warning(tmp_path):
    program = shutil.which("jupyter-book", path=str(Path(sys.executable).parent))
    command = [program, "build", ".", "-W", "-n", "--keep-going"]
    done = subprocess.run([*command, "--path-output", tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "_build" / "html").rglob("*.html"))
    assert {"index.html", "00_quickstart.html", "choices.html"} <= {page.name for page in pages}
