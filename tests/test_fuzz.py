"""Mutants of data files end in the original content, other valid content, or an error for people."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MUTANTS = os.environ.get("KTNET_FUZZ", "1000")  # over all formats


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of memory and time need a system like Unix")
def test_mutants_of_data_files_end_in_content_or_in_an_error_for_people():
    command = [sys.executable, "-m", "fuzz", "--count", MUTANTS]
    run = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    print(run.stdout, run.stderr)
    assert run.returncode == 0 and run.stdout.rstrip().endswith(f"0 failures of {MUTANTS} mutants")
