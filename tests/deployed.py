"""Small models, exported once for all test processes, and random batches for them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from filelock import FileLock

from ktnet_lite.baselines import BASELINES
from ktnet_lite.config import TrainConfig
from ktnet_lite.data.batching import Padded
from ktnet_lite.deploy import runtime
from ktnet_lite.model.losses import OUTPUTS
from ktnet_lite.model.network import Network
from ktnet_lite.names import MODALITIES, VARIANTS, Modality
from ktnet_lite.training.build import Validated
from small import DIMS, SIZE, make_model, shaken, untraced

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package, reason="pip install 'ktnet-lite[deploy]'")

SMALL = {"dim": SIZE["dim"], "heads": SIZE["heads"], "layers": 1}
BOTH = {"missing": "both", "kernel": 3, "pooling": "last", "transfer": "gaussian"}  # of "any"
JOINED = {"concat": "features", "transfer": "gaussian", "fusion": "bottleneck"}  # of "ours", for aligned streams
VALID = Validated({"language_vision_audio": 0.5, "language": 0.75}, {"language": [0.1, 0.2, 0.3, 0.4]})


class Deployed(NamedTuple):
    model: Network
    config: TrainConfig
    path: Path  # of the exported file

    @property
    def exported(self) -> runtime.OnnxModel:
        return runtime.load(self.path)


def made(system: str, loss: str = "l1", **options) -> Network:
    """A model that is away from its initial values: a variant of KTNet, or a baseline."""
    if system in VARIANTS:
        return make_model(system, loss, layers=1, **options)
    torch.manual_seed(0)
    dims = {name: DIMS[name] for name in MODALITIES}
    size = {"dim": 8, "dropout": 0.0} | ({"heads": 2, "layers": 1} if system == "mult" else {})
    return shaken(BASELINES[system].network(dims, OUTPUTS[loss], **size, **options)).eval()


@functools.cache
def deployed(folder: Path, system: str, loss: str = "l1", **options) -> Deployed:
    """A small model and its exported file in the folder; loading it again needs no export."""
    from ktnet_lite.deploy.export import export

    model = made(system, loss, **options)
    which = {"variant": system} if system in VARIANTS else {"model": system, "variant": "full"}
    kept = {name: ",".join(value) if isinstance(value, tuple) else value for name, value in options.items()}
    kept = {"kernel": 1} | kept
    config = TrainConfig(**which, **SMALL, **kept, task_loss="l1" if loss == "emotion" else loss)
    path = folder / ("-".join([system, loss, *(f"{name}={value}" for name, value in sorted(kept.items()))]) + ".onnx")
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            with untraced():
                export(model, config, path, VALID if system == "any" else None)
    return Deployed(model, config, path)


def batches(observed: Sequence[Modality], missing: bool, aligned: bool = False) -> Iterator[dict[Modality, Padded]]:
    """Batches of 200 random clips of all lengths: for systems that can miss any modality also of all subsets."""
    rng, left = np.random.default_rng(0), 200
    while left:
        clips = min(left, int(rng.integers(1, 25)))
        left -= clips
        steps, streams = int(rng.integers(1, 30)), {}
        lengths = rng.integers(1, steps + 1, clips)
        for name in observed:
            if not aligned:
                steps = int(rng.choice([1, 2, 3, 10, 80]))
                lengths = rng.integers(1, steps + 1, clips)
            here = rng.random(clips) < 0.6 if missing else np.full(clips, True)
            mask = torch.from_numpy(np.arange(steps) < np.where(here, lengths, 0)[:, None])
            values = torch.from_numpy(rng.normal(size=(clips, steps, DIMS[name])).astype(np.float32))
            streams[name] = Padded(values, mask)
        yield streams


def feed(streams: dict[Modality, Padded], rubbish: float = 0.0) -> dict[str, np.ndarray]:
    """The inputs of an exported model, with ``rubbish`` at steps that are not valid."""
    given = {}
    for name, (values, mask, *_) in streams.items():
        given |= {name: values.where(mask.unsqueeze(-1), rubbish).numpy(), f"{name}_mask": mask.numpy()}
    return given
