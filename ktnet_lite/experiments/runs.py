"""One run: its parameters in a notebook, its folder, and training without the notebook."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any

from ktnet_lite import __version__
from ktnet_lite.config import TrainConfig
from ktnet_lite.data import catalogue, store
from ktnet_lite.data.catalogue import ENTRIES
from ktnet_lite.errors import ConfigError, DataError
from ktnet_lite.experiments import result
from ktnet_lite.files import locked
from ktnet_lite.training.dataset import load_dataset
from ktnet_lite.training.loop import fit
from ktnet_lite.training.runtime import launched

KERNEL = ".kernel"  # in a run's folder: what the process of its notebook needs, while it is at work


def run_folder(config: TrainConfig) -> Path:
    """Name a run's folder, ``<out>/<dataset>/<system>-<key>-seed<seed>``, without making the data set.

    The key is a digest of the parameters that the run uses, its data and the package's version. A finished run that an
    earlier naming scheme of the same version put elsewhere keeps its folder.

    Raises
    ------
    ConfigError, DataError
        The data set is unknown, or has to be fetched first.
    """
    named = {name: x for name, x in config.identity.items() if name not in ("model", "variant", "seed")}
    data = "synthetic"  # the parameters and the package's version say the rest
    if config.dataset != "synthetic":
        data = catalogue.fingerprint(config.dataset, local=config.data_from or None)
    named |= {"dataset": [_data_name(config), data], "package": __version__}
    key = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:8]
    folder = Path(config.out) / _data_name(config) / f"{config.system}-{key}-seed{config.seed}"
    return folder if folder.exists() else _finished(config, folder.parent) or folder


def finished(folder: Path) -> bool:
    """Whether a run has a result, and no notebook at work or killed before its end."""
    return (folder / "result.json").is_file() and not (folder / KERNEL).exists()


def parameters_from(namespace: Mapping[str, Any]) -> TrainConfig:
    """Build the config that a notebook's parameter cells define.

    ``papermill -p sede 3`` silently injects a variable that no cell reads. Here every plain value that the notebook's
    cells have defined must be a parameter, so a mistyped name is an error before anything runs. What a start-up file
    has defined is none. When the cells run again in the same session, the notebook's own variables exist too; then only
    parameters are read.

    Raises
    ------
    ConfigError
        A name is no parameter, or a value is invalid; or a later cell has used the name of a parameter since.
    """
    again = isinstance(namespace.get("config"), TrainConfig)
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    values = {}
    defined = _assigned(namespace["In"]) if "In" in namespace else namespace.keys()
    for name in sorted(defined & namespace.keys()):
        value = namespace[name]
        plain = isinstance(value, (str, int, float, list, dict, type(None)))
        if again and name in names and not plain:
            raise ConfigError(f"{name} is a {type(value).__name__} by now, not a value; run the parameters cell again")
        if name in names or (plain and not again and not name.startswith("_")):
            values[name] = value
    return TrainConfig.build(values)


def obtain(config: TrainConfig) -> None:
    """Build the data set of a run if it is one of the catalogue: some have no name before they are built.

    Raises
    ------
    ConfigError, DataError
        There is no such data set, or it cannot be obtained.
    """
    if config.dataset in ENTRIES or not (config.dataset == "synthetic" or Path(config.dataset).exists()):
        catalogue.build(config.dataset, local=config.data_from or None)


def train_here(config: TrainConfig) -> Path:
    """Train in this process, without the notebook; return the run's result file.

    Under ``torchrun`` every process calls it, and the first one measures and writes. Another call for the same run
    waits for the first, as in :func:`ktnet_lite.experiments.notebook.run`.
    """
    dataset = load_dataset(config)
    folder = run_folder(config)
    first = launched().rank == 0
    with locked(folder / ".lock") if first else nullcontext():
        run = fit(config, dataset, folder)
        if first:
            result.measure(config, dataset, run).save(folder / "result.json")
    return folder / "result.json"


def _assigned(cells: Iterable[str]) -> set[str]:
    """Collect the names that cells assign; IPython keeps the code of those that have run as ``In``."""
    found = set()
    for cell in cells:
        with suppress(SyntaxError):
            nodes = ast.walk(ast.parse(cell))
            found |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return found


def _data_name(config: TrainConfig) -> str:
    named = config.dataset == "synthetic" or config.dataset in ENTRIES
    return config.dataset if named else Path(config.dataset).resolve().stem


def _finished(config: TrainConfig, folder: Path) -> Path | None:
    """Find a finished run of this version and of the same parameters and data under another key."""
    for path in sorted(folder.glob(f"{config.system}-*-seed{config.seed}/result.json")):
        try:
            found = _loaded(path, path.stat().st_mtime_ns)
        except OSError:
            continue
        except DataError as error:
            warnings.warn(f"{error}; it is passed over", stacklevel=2)
            continue
        if found.package == __version__ and found.config.identity == config.identity and _same_data(found, config):
            return path.parent
    return None


@cache
def _loaded(path: Path, changed: int) -> result.Result:
    """Load a result once as long as its file has not changed, since a plan looks at each for many runs."""
    return result.load(path)


def _same_data(found: result.Result, config: TrainConfig) -> bool:
    """Whether the data of a result is certainly what the config names now."""
    if config.dataset == "synthetic":
        return True
    path = catalogue.stored(config.dataset) if config.dataset in ENTRIES else Path(config.dataset)
    try:
        built = store.info(path)
    except DataError:
        return False  # not built, or a file of another format, whose content is unknown before it is read
    if config.grid:  # the result has the checksum of the averaged data
        return "raw" in built.header.provenance and dict(built.header.provenance) == found.dataset.provenance
    return built.checksum == found.dataset.checksum
