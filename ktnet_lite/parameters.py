"""A parameter: how a field of :class:`ktnet_lite.config.TrainConfig` is declared and checked; named sets of values."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from ktnet_lite.errors import ConfigError, did_you_mean, shown

Use = Callable[[Any], bool]  # of a config: whether its run uses a parameter
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)

# The paper's own settings, where the defaults differ: 40 epochs, three layers, Eq. (5), and MulT's choices elsewhere.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"epochs": 40, "patience": 0, "batch_size": 24, "task_loss": "auto", "heads": 8, "layers": 3, "kernel": 1},
}


def parameter(
    default: Any,
    about: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    identity: bool = True,
    used: Use | None = None,
    shared: bool = True,
    automatic: bool = False,
) -> Any:
    """Declare a field of :class:`TrainConfig`.

    Parameters
    ----------
    about, unit, low, high
        Its meaning, and the values that it may take.
    identity : bool
        Whether it changes what is computed, and so belongs to a run's name; False for places and devices.
    used : function of a config, optional
        Whether that run uses the parameter; by default every run does.
    shared : bool
        Whether a teacher has the same value as its student, where it uses the parameter at all.
    automatic : bool
        Whether it may also be "auto", which is resolved when the config is built.
    """
    metadata = {"about": about, "unit": unit, "low": low, "high": high, "identity": identity, "shared": shared}
    metadata["automatic"] = automatic
    return dataclasses.field(default=default, metadata={**metadata, "used": used or (lambda config: True)})


def checked(field: dataclasses.Field, kind: type, known: Sequence[str], value: Any) -> Any:
    """Return a value in the type ``kind`` of its field; ``known`` are its choices, if it has any. A bool is no number.

    For a float an int will do, and a text that is plainly a number: so YAML reads ``1e-3``.

    Raises
    ------
    ConfigError
        The value has another type, is out of range, or is not one of the choices.
    """
    name, about = field.name, field.metadata
    if kind is float and (type(value) is int or (type(value) is str and NUMBER.fullmatch(value))):
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
    if type(value) is not kind:
        raise ConfigError(f"{name} = {shown(value)} is {type(value).__name__}, expected {kind.__name__}")
    if known and value not in known:
        raise ConfigError(f"{name} = {shown(value)} is not one of {', '.join(known)}{did_you_mean(value, known)}")
    if kind is str and (
        any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)
        or len(value) > 4000
        or any(len(part.encode()) > 255 for part in value.split("/"))
    ):
        raise ConfigError(f"{name} = {shown(value)} can be the name of no file; rename the file, or set PYTHONUTF8=1")
    low, high = about["low"], about["high"]
    if kind in (int, float) and not (
        (kind is int or math.isfinite(value)) and (low is None or value >= low) and (high is None or value <= high)
    ):
        raise ConfigError(f"{name} = {shown(value)} is outside [{low}, {'...' if high is None else high}]")
    return value


def preset(name: str) -> dict[str, Any]:
    """Return the parameters of a preset: ``paper``, the paper's own settings.

    Raises
    ------
    ConfigError
        There is no such preset.
    """
    if not isinstance(name, str) or name not in PRESETS:
        hint = did_you_mean(shown(name), PRESETS)
        raise ConfigError(f"preset = {shown(name)} is not one of {', '.join(PRESETS)}{hint}")
    return dict(PRESETS[name])
