"""Errors written for people: what was wrong, where, and what to do about it."""


class KTNetError(Exception):
    """Base of every error that this package raises on purpose.

    The command line prints its message without a traceback and exits with status 1.
    """


class DataError(KTNetError):
    """A data file or array is not what it should be. Names the file, the field and the index."""


class ConfigError(KTNetError):
    """A parameter is unknown, ill-typed or out of range. Names the nearest right one."""


class CheckpointError(KTNetError):
    """A checkpoint is damaged, or belongs to another configuration or data set."""
