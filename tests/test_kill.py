"""Kills at random moments, and two at once: a small part of ``make kill``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).with_name("kill_harness.py")


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_kills_and_two_at_once_lose_nothing_and_leave_nothing(tmp_path):
    numbers = ["--commands=6", "--writes=40", "--rounds=1", "--no-notebook"]
    command = [sys.executable, HARNESS, *numbers]
    done = subprocess.run(command, env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("WHAT") and not list(tmp_path.glob("kill-*"))
