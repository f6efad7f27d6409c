"""The book's Sphinx extensions: each writes or adapts one kind of content."""

from __future__ import annotations

from typing import Any

PARTS = (
    "execution",
    "ledger",
    "paper_page",
    "bibliography",
    "reference",
    "offline",
    "pictures",
    "explorer_page",
    "model_cards",
    "questions",
    "ways_in",
    "results",
)


def setup(app: Any) -> dict[str, bool]:
    """Set up every extension; Sphinx calls this."""
    for part in PARTS:
        app.setup_extension(f"{__name__}.{part}")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
