"""Weights of 8 bits, where they are right and faster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ktnet_lite.deploy import bench, runtime
from ktnet_lite.errors import CheckpointError, ConfigError
from ktnet_lite.files import replacing
from ktnet_lite.names import Modality

TOLERANCE = 0.05  # largest difference to float32: points of the score, or of a probability


class Quantised(NamedTuple):
    """The 8-bit model beside the one in float32, on random clips."""

    difference: float  # the largest, of a score or a probability
    float32: float  # median milliseconds per clip
    int8: float

    def __str__(self) -> str:
        return (
            f"a clip takes {self.int8:.2f} ms in place of {self.float32:.2f} ms, and predictions differ by up to "
            f"{self.difference:.3f}"
        )


def quantise(
    source: Path, target: Path, steps: Mapping[Modality, int] = bench.STEPS, tolerance: float = TOLERANCE
) -> Quantised:
    """Write an exported model with weights of 8 bits, and compare both on random clips, on one core.

    Activations are quantised for each batch anew (onnxruntime's ``quantize_dynamic``). For "any" there are clips
    with all modalities, and clips that lack one.

    Raises
    ------
    ConfigError
        The 8-bit model is not faster, or too far from the other one; no file is written. Or a package is missing.
    CheckpointError
        The source is no exported model, or the target cannot be written.
    """
    quantisation, onnx = runtime.needed("onnxruntime.quantization"), runtime.needed("onnx")
    before = runtime.load(source, threads=1)
    with replacing(target, CheckpointError) as partial:
        graph = folded(source, partial)
        options = {"weight_type": quantisation.QuantType.QInt8, "op_types_to_quantize": ["MatMul"]}
        quantisation.quantize_dynamic(graph, partial, **options)
        graph = onnx.load(partial)
        del graph.metadata_props[:]
        about = msgspec.structs.replace(before.about, precision="int8")
        graph.metadata_props.add(key=runtime.KEY, value=msgspec.json.encode(about).decode())
        partial.write_bytes(graph.SerializeToString(deterministic=True))
        compared = compare(before, runtime.load(partial, threads=1), steps)
        if compared.difference > tolerance or compared.int8 >= compared.float32:
            raise ConfigError(
                f"int8 is refused: {compared} (at most {tolerance:g} is allowed). Export this model without --int8"
            )
    return compared


def folded(source: Path, scratch: Path) -> Any:
    """Load a model with its constants folded, as ``onnx.ModelProto``: only constant weights can have 8 bits."""
    library, onnx = runtime.needed("onnxruntime"), runtime.needed("onnx")
    options = library.SessionOptions()
    options.graph_optimization_level = library.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(scratch)
    library.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(scratch)
    graph.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")  # else it advises to fold
    return graph


def compare(
    before: runtime.OnnxModel, after: runtime.OnnxModel, steps: Mapping[Modality, int], clips: int = 50
) -> Quantised:
    """Compare two forms of a model on the same random clips."""
    names = before.observed
    chosen = [names, *(tuple(n for n in names if n != name) for name in names)] if before.any_subset else [names]
    given = [
        clip
        for i, subset in enumerate(chosen)
        for clip in bench.random_clips(before, steps, subset, -(-clips // len(chosen)) + bench.WARM_UP, i)
    ]
    calls = [bench.exported_call(model) for model in (before, after)]
    difference = max(float(np.abs(calls[0](clip) - calls[1](clip)).max()) for clip in given)
    float32, int8 = np.median(bench.timed(calls, given), axis=1).tolist()
    return Quantised(difference, float32, int8)
