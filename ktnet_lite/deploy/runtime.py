"""Predict with an exported model: NumPy and onnxruntime, without torch."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np

from ktnet_lite.config import TrainConfig
from ktnet_lite.data.fits import to_read
from ktnet_lite.data.schema import Split, Stream
from ktnet_lite.errors import CheckpointError, ConfigError, DataError
from ktnet_lite.names import Fill, Modality, Task

KEY = "ktnet_lite"  # of what a file says about itself


class Statistics(msgspec.Struct):
    """Mean and scale of each feature in the training set, D_m numbers each."""

    mean: list[float]
    scale: list[float]


class About(msgspec.Struct):
    """What an exported model says about itself, as JSON."""

    version: str  # of ktnet-lite
    config: dict[str, str | int | float | bool]
    task: Task
    observed: tuple[Modality, ...]
    dims: dict[Modality, int]
    inputs: dict[Modality, Statistics]
    fills: tuple[Fill, ...]
    any_subset: bool
    aligned_only: bool  # whether all streams have the same number of steps
    metric: str  # on the validation set, of which ``valid`` has the values by subset of the modalities
    valid: dict[str, float]
    half_widths: dict[str, list[float]]  # of intervals, by subset, at the levels of names.LEVELS
    recipes: dict[Modality, str]  # how the training data was extracted from clips
    parameters: int
    precision: str = "float32"


class Input(msgspec.Struct):
    """Training statistics of one modality, each (D_m,), in the features' own units."""

    mean: np.ndarray
    scale: np.ndarray


class OnnxModel:
    """An exported model, ready to predict; it has the attributes of a :class:`ktnet_lite.data.fits.Reader`."""

    def __init__(self, about: About, session: Any):
        self.about, self.session = about, session
        self.config = TrainConfig.build(about.config)
        self.observed, self.fills, self.recipes = about.observed, about.fills, about.recipes
        self.any_subset, self.aligned_only = about.any_subset, about.aligned_only
        self.inputs = {
            name: Input(np.array(x.mean, np.float32), np.array(x.scale, np.float32)) for name, x in about.inputs.items()
        }

    def predict(self, split: Split, fill: Fill | None = None, batch_size: int = 24) -> np.ndarray:
        """Predict scores (N,), or the probability of each emotion (N, 4).

        Parameters and errors are those of :func:`ktnet_lite.training.evaluation.evaluate`.
        """
        if len(split) == 0:
            raise DataError("the split has no clips")
        read, gone = to_read(self, split, fill)
        streams = {name: split.streams[name] for name in read}
        if gone and fill != "inferred":
            first = np.maximum(streams[read[0]].lengths, 1)  # as long as the first stream, or as its step of zeros
            steps = {name: 0 * self.inputs[name].mean if fill == "zero" else self.inputs[name].mean for name in gone}
            streams |= {name: Stream(np.tile(step, (first.sum(), 1)), first) for name, step in steps.items()}
        order = np.argsort(np.max([stream.lengths for stream in streams.values()], axis=0), kind="stable")
        scores = np.empty((len(split), 4) if self.about.task == "emotion" else len(split), np.float32)
        for clips in np.array_split(order, np.arange(batch_size, len(order), batch_size)):
            scores[clips] = self.run(self.feed(streams, clips))
        return scores

    def feed(self, streams: Mapping[Modality, Stream], clips: np.ndarray) -> dict[str, np.ndarray]:
        """Pad some clips (B,) to the inputs of the model: values (B, T_m, D_m) and a mask (B, T_m) of each stream."""
        steps = max(stream.lengths[clips].max() for stream in streams.values()) if self.aligned_only else 1
        feed = {}
        for name in self.observed:
            if name in streams:
                values, mask = streams[name].padded(clips, max(steps, 1))
                if self.any_subset and self.config.silence == "observed":
                    mask[:, 0] = True  # nothing was said or seen: one step of zeros
            else:
                values = np.zeros((len(clips), 1, self.about.dims[name]), np.float32)
                mask = np.zeros(values.shape[:2], dtype=bool)
            feed |= {name: values, f"{name}_mask": mask}
        return feed

    def run(self, feed: Mapping[str, np.ndarray]) -> np.ndarray:
        """Predict a padded batch: scores (B,), or the probability of each emotion (B, 4)."""
        return self.session.run(None, dict(feed))[0]


def load(path: Path | str, threads: int | None = None) -> OnnxModel:
    """Load an exported model.

    Parameters
    ----------
    path : Path
        A file of :func:`ktnet_lite.deploy.export.export`.
    threads : int, optional
        Threads of a prediction; by default OMP_NUM_THREADS, or all cores.

    Raises
    ------
    CheckpointError
        The file is damaged, is not such a file, or comes from another version of the package.
    ConfigError
        onnxruntime is not installed.
    """
    runtime, path = needed("onnxruntime"), Path(path)
    if not path.is_file():
        raise CheckpointError(f"no model at {path}")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # errors are raised as well
    if threads is None:
        threads = int(number) if (number := os.environ.get("OMP_NUM_THREADS", "")).isdigit() else 0
    options.intra_op_num_threads = threads
    try:
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a dozen kinds, without a common one
        raise CheckpointError(f"{path} is damaged or no ONNX file: {_line(error)}") from error
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    if text is None:
        raise CheckpointError(f"{path} was not exported by ktnet-lite: its metadata has no {KEY!r}")
    try:
        about = msgspec.json.decode(text, type=About)
        model = OnnxModel(about, session)
    except (msgspec.MsgspecError, ConfigError, UnicodeError) as error:
        raise CheckpointError(f"{path} comes from another version of ktnet-lite, or was altered: {error}") from error
    names = [value.name for value in session.get_inputs()]
    if names != [part for name in about.observed for part in (name, f"{name}_mask")]:
        raise CheckpointError(f"{path} was altered: it observes {', '.join(about.observed)} and takes {names}")
    return model


def needed(module: str) -> ModuleType:
    """Import a package of the extra ``deploy``.

    Raises
    ------
    ConfigError
        It is not installed, or cannot be loaded on this machine.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise ConfigError(f'this needs {module} ({error}); run: pip install "ktnet-lite[deploy]"') from None


def _line(error: BaseException) -> str:
    """Shorten an error of onnxruntime to its first line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
