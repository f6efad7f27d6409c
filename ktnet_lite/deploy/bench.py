"""What a trained model costs: time per clip on one core, memory, size, arithmetic."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ktnet_lite.data.fits import Reader
from ktnet_lite.deploy import runtime
from ktnet_lite.errors import ConfigError
from ktnet_lite.names import MODALITIES, Modality, subsets
from ktnet_lite.text import size, table
from ktnet_lite.training.shipped import located

if TYPE_CHECKING:
    from ktnet_lite.model.network import Network

Clip = Mapping[Modality, np.ndarray]  # (1, T_m, D_m) each
WARM_UP = 5  # clips
STEPS: dict[Modality, int] = {"language": 50, "vision": 500, "audio": 375}  # of MOSI's clips, unaligned


@dataclass(frozen=True)
class Speed:
    """Time of one clip, in milliseconds, that 50, 95 and 99 of 100 clips do not exceed."""

    subset: str  # modalities that the clips have
    p50: float
    p95: float
    p99: float
    flops: int | None  # floating-point operations of one clip; unknown for an exported model


@dataclass(frozen=True)
class Bench:
    """What a model costs; times are those of one core."""

    model: str  # file
    precision: str
    clips: int
    steps: dict[Modality, int]
    speeds: tuple[Speed, ...]
    parameters: int
    size: int  # of the file, in bytes
    memory: int | None  # most that the process ever held, with Python and all libraries, in bytes; Windows: unknown


def bench(
    path: Path,
    steps: Mapping[Modality, int] = STEPS,
    subset: Sequence[str] = (),
    clips: int = 200,
    seed: int = 0,
) -> Bench:
    """Measure a ``model.pt`` or ``model.onnx`` on random clips, one at a time, on one core.

    Parameters
    ----------
    path : Path
        The file, or the name of a model that comes with the package.
    steps : dict of int
        Steps of each stream.
    subset : sequence of str
        Modalities that the clips have; by default all that the model observes, and every subset in turn for "any".
    clips : int
        Clips to time, after a few to warm up.

    Raises
    ------
    CheckpointError
        The file is no model.
    ConfigError
        The model does not observe the subset or cannot do without the rest, or it needs streams of equal length.
    """
    path = located(path)
    if path.suffix == ".onnx":
        model: Reader = (exported := runtime.load(path, threads=1))
        precision, parameters = exported.about.precision, exported.about.parameters
        call, flops = exported_call(exported), None
    else:
        model, call, flops, parameters = _trained(path)
        precision = "float32"
    speeds = []
    for names in _subsets(model, subset):
        given = random_clips(model, steps, names, clips + WARM_UP, seed)
        p50, p95, p99 = np.percentile(timed([call], given), [50, 95, 99]).tolist()
        speeds.append(Speed("+".join(names), p50, p95, p99, flops(given[0]) if flops else None))
    known = {name: steps[name] for name in model.observed}
    return Bench(str(path), precision, clips, known, tuple(speeds), parameters, path.stat().st_size, peak_memory())


def describe(found: Bench) -> str:
    """Lay out the figures as a table, with what they hold for below."""
    rows: list[tuple[str, ...]] = [("CLIPS HAVE", "P50", "P95", "P99", "MFLOP")]
    for speed in found.speeds:
        times = (f"{value:.2f} ms" for value in (speed.p50, speed.p95, speed.p99))
        rows.append((speed.subset, *times, "-" if speed.flops is None else f"{speed.flops / 1e6:.0f}"))
    steps = ", ".join(f"{name} {count}" for name, count in found.steps.items())
    memory = "unknown" if found.memory is None else size(found.memory)
    model = f"{found.precision}, {found.parameters:,} parameters, file {size(found.size)}, memory {memory}"
    return f"{table(rows)}\n\n{model}; steps {steps}; {found.clips} random clips, one core"


def _subsets(model: Reader, chosen: Sequence[str]) -> list[tuple[Modality, ...]]:
    if unknown := [name for name in chosen if name not in model.observed]:
        raise ConfigError(f"this model does not observe {', '.join(unknown)}; it observes {', '.join(model.observed)}")
    if chosen and not model.any_subset and set(chosen) != set(model.observed):
        raise ConfigError(f"this model needs all that it observes: {', '.join(model.observed)}")
    if not chosen and model.any_subset:
        return subsets(model.observed)
    return [tuple(name for name in MODALITIES if name in (chosen or model.observed))]


def random_clips(
    model: Reader, steps: Mapping[Modality, int], subset: Sequence[Modality], count: int, seed: int
) -> list[Clip]:
    """Draw clips of normal features with the mean and scale of the training set, the same for every form of a model.

    Raises
    ------
    ConfigError
        The model needs aligned streams, and the steps differ.
    """
    if model.aligned_only and len({steps[name] for name in subset}) > 1:
        raise ConfigError("this model needs aligned streams; give each of them the same number of steps")
    rng = np.random.default_rng(seed)
    inputs = {name: (np.asarray(model.inputs[name].mean), np.asarray(model.inputs[name].scale)) for name in subset}
    return [
        {
            name: rng.normal(mean, scale, (1, steps[name], len(mean))).astype(np.float32)
            for name, (mean, scale) in inputs.items()
        }
        for _ in range(count)
    ]


def timed(calls: Sequence[Callable[[Clip], np.ndarray]], clips: Sequence[Clip]) -> np.ndarray:
    """Time each call on each clip but the first few: milliseconds, (calls, N - WARM_UP). The calls take turns."""
    ms = np.empty((len(clips), len(calls)))
    for i, clip in enumerate(clips):
        for j, call in enumerate(calls):
            start = time.perf_counter()
            call(clip)
            ms[i, j] = 1000 * (time.perf_counter() - start)
    return ms[WARM_UP:].T


def exported_call(model: runtime.OnnxModel) -> Callable[[Clip], np.ndarray]:
    """Return the function from one clip to the prediction of an exported model, (1,) or (1, 4)."""

    def call(clip: Clip) -> np.ndarray:
        feed = {}
        for name in model.observed:
            values = clip[name] if name in clip else np.zeros((1, 1, model.about.dims[name]), np.float32)
            feed |= {name: values, f"{name}_mask": np.full(values.shape[:2], name in clip)}
        return model.run(feed)

    return call


def _trained(path: Path) -> tuple[Any, Callable[[Clip], np.ndarray], Callable[[Clip], int], int]:
    """Load a model.pt: the model, a prediction of one clip, the operations of one clip, and its parameters."""
    import torch

    from ktnet_lite.data.batching import Padded
    from ktnet_lite.model.losses import predictions
    from ktnet_lite.training.build import load_model

    torch.set_num_threads(1)
    model = load_model(path)[0].requires_grad_(False)  # else the counter of operations waits for gradients

    @torch.no_grad()
    def call(clip: Clip) -> np.ndarray:
        streams = {name: Padded(torch.from_numpy(values)) for name, values in clip.items()}
        return predictions(model(streams).logits, model.loss).numpy()

    parameters = sum(parameter.numel() for parameter in model.parameters())
    return model, call, functools.partial(operations, model), parameters


def operations(model: Network, clip: Clip) -> int:
    """Count the floating-point operations of a prediction of one clip; the model's parameters need no gradient."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from ktnet_lite.data.batching import Padded

    streams = {name: Padded(torch.from_numpy(values)) for name, values in clip.items()}
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(streams)  # the counter does not know torch's own attention
    return counter.get_total_flops()


def peak_memory() -> int | None:
    """Return the most memory that this process ever held, in bytes; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
