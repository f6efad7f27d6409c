"""How OpenMP's threads wait: set before torch loads, so that training does not collapse beside other work.

Idle threads spin by default, for hundreds of milliseconds in some libraries. When another program needs the cores, they
take them from the very thread that they wait for. ``benchmarks/loaded.py`` measures the effect.
"""

from __future__ import annotations

import os

# GNU's library (torch on Linux) counts turns of a loop; LLVM's and Intel's (macOS, Windows) count milliseconds.
WAITING = {"GOMP_SPINCOUNT": "6000", "KMP_BLOCKTIME": "1"}


def variables() -> dict[str, str]:
    """List the environment variables to set: none that the user has set, nor any beside their OMP_WAIT_POLICY."""
    return {} if os.environ.get("OMP_WAIT_POLICY") else {n: v for n, v in WAITING.items() if not os.environ.get(n)}


def set_waiting() -> None:
    """Set the variables in this process and for its children; without effect on a torch that is already loaded."""
    os.environ.update(variables())
