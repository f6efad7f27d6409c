"""Errors written for people: what is wrong, where, and what to do about it."""

import difflib
from collections.abc import Iterable


class KTNetError(Exception):
    """Base class of every error that this package raises on purpose.

    The command line prints the message without a traceback and exits with status 1.
    """


class DataError(KTNetError):
    """A data file or array is invalid. The message names the file, the field and the index."""


class UnreadableError(DataError):
    """A data file cannot be read now, though it may be sound: it is locked, forbidden, or its drive does not answer."""


class ConfigError(KTNetError):
    """A parameter is unknown, of the wrong type or out of range. The message names the nearest valid one."""


class CheckpointError(KTNetError):
    """A checkpoint is damaged, or belongs to another configuration or data set."""


class BusyError(KTNetError):
    """Another process is at work in the same folder."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` with the known name nearest to ``name``, or nothing if none is near."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def shown(value: object) -> str:
    """Write a value for a message, shortened; also a number or a nesting that Python itself refuses to write."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f"({type(value).__name__} that is too large to show)"
    return text if len(text) <= 200 else f"{text[:200]}..."
