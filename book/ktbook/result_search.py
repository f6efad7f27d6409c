"""What the searches for settings found, from the files that ``ktnet-lite search`` writes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ktbook import generated
from ktbook.result_text import table as captioned
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.text import count, markdown

FOLDER = generated.ROOT / "results" / "search"


def files() -> list[Path]:
    """List the files of the searches."""
    return sorted(FOLDER.glob("*.json"))


def page(paths: Iterable[Path]) -> str:
    """Write for each search the validation metric of the first and of the best settings, and what differs."""
    lines = [("system", "data", "trials", "first trial", "best trial", "settings of the best trial")]
    for path in paths:
        found = json.loads(path.read_text(encoding="utf-8"))
        name, gain = f"valid_{found['metric']}", METRICS[found["metric"]].gain
        known = [trial for trial in found["trials"] if trial[name] is not None]
        first, best = found["trials"][0], max(known, key=lambda trial: gain(trial[name]))
        changed = [f"`{key}` {_number(x)}" for key, x in best.items() if key != name and x != first[key]]
        lines.append(
            (
                f"`{found['system']}`",
                f"`{found['dataset']}`",
                count(len(found["trials"]), "trial"),
                _number(first[name]),
                _number(best[name]),
                ", ".join(changed) or "the same settings",
            )
        )
    if len(lines) == 1:
        return "Not run yet: `ktnet-lite search`.\n"
    caption = "Each search: MAE on the validation set; lower is better."
    return captioned(caption, markdown(lines)) + "\n"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
