"""The packages of the extra, imported when they are needed."""

from __future__ import annotations

import importlib
from types import ModuleType

from ktnet_lite.errors import ConfigError


def needed(module: str, install: str = '"ktnet-lite[extract]"') -> ModuleType:
    """Import a package of the extra.

    Raises
    ------
    ConfigError
        It is not installed, or cannot be loaded on this machine; the message says what to install.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a shared library is missing
        raise ConfigError(f"extraction needs {module} ({error}); run: pip install {install}") from None
