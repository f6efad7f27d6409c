"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real raw files; named by KTNET_DATA, or beside the checkout; the test is skipped without it."""
    folder = Path(os.environ.get("KTNET_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "mosi-csd").is_dir():
        pytest.skip(f"no real data at {folder}; set KTNET_DATA")
    return folder
