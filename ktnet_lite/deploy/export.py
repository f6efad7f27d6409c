"""Export a trained model to an ONNX file that needs neither torch nor this package."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.export import Dim

from ktnet_lite import __version__
from ktnet_lite.baselines.floors import Linear
from ktnet_lite.baselines.mult import MulT
from ktnet_lite.config import TrainConfig
from ktnet_lite.deploy.dense import Predictor
from ktnet_lite.deploy.runtime import KEY, About, Statistics, needed
from ktnet_lite.errors import CheckpointError, ConfigError
from ktnet_lite.files import write
from ktnet_lite.model.any_modality import AnyKTNet
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.network import Network
from ktnet_lite.training.build import Validated
from ktnet_lite.training.loop import SELECT_BY

OPSET = 18
EXPORTABLE = KTNet, AnyKTNet, MulT, Linear


def export(model: Network, config: TrainConfig, path: Path | str, validated: Validated | None = None) -> None:
    """Write a trained model as one ONNX file, for batches of any size and streams of any length.

    Its inputs are, for each observed modality, ``language`` (B, T_L, D_L), float32, and ``language_mask`` (B, T_L),
    bool, True at valid steps; its output is ``score`` (B,) or ``probabilities`` (B, 4). A clip whose mask has no True
    lacks the modality. With ``concat = "features"`` all streams have the same T. The file also says what the model is
    (:class:`ktnet_lite.deploy.runtime.About`). The same model gives the same bytes.

    Parameters
    ----------
    model, config
        From :func:`ktnet_lite.training.build.load_model`.
    path : Path
        File to write.
    validated : Validated, optional
        From :func:`ktnet_lite.training.build.load_validated`.

    Raises
    ------
    ConfigError
        The system cannot be exported, or the packages of the extra ``deploy`` are missing.
    CheckpointError
        The file cannot be written.
    """
    if not isinstance(model, EXPORTABLE):
        raise ConfigError(f"{config.model!r} cannot be exported; these can: ktnet in every variant, mult, linear")
    one_line = config.model == "ktnet" and model.reconstructs and config.concat == "features"
    module, batch = Predictor(model), Dim("batch")
    inputs: dict[str, Tensor] = {}
    shapes: list[dict[int, Dim]] = []
    for i, name in enumerate(model.observed):
        count = 9 if one_line else 9 + i  # steps of the example; different ones, so that no length counts as another
        steps = Dim("steps" if one_line else f"{name}_steps")
        mask = torch.arange(count) < torch.tensor([[count], [0], [4]])  # (3, T_m)
        inputs |= {name: torch.zeros(3, count, len(model.inputs[name].mean)), f"{name}_mask": mask}
        shapes += [{0: batch, 1: steps}, {0: batch, 1: steps}]
    output = "probabilities" if model.loss == "emotion" else "score"
    graph = trace(module, inputs, [output], (tuple(shapes),))
    about = describe(model, config, validated or Validated({}, {}), one_line)
    graph.metadata_props.add(key=KEY, value=msgspec.json.encode(about).decode())
    write(Path(path), graph.SerializeToString(deterministic=True), CheckpointError)


def describe(model: Network, config: TrainConfig, validated: Validated, aligned_only: bool) -> About:
    """Say what a model is, without the paths of the machine that trained it."""
    local: dict[str, Any] = {
        field.name: field.default for field in dataclasses.fields(config) if not field.metadata["identity"]
    }
    task = "emotion" if model.loss == "emotion" else "sentiment"
    return About(
        version=__version__,
        config=config.as_dict() | local,
        task=task,
        observed=model.observed,
        dims={name: len(layer.mean) for name, layer in model.inputs.items()},
        inputs={name: Statistics(x.mean.tolist(), x.scale.tolist()) for name, x in model.inputs.items()},
        fills=model.fills,
        any_subset=model.any_subset,
        aligned_only=aligned_only,
        metric=SELECT_BY[task],
        valid=dict(validated.metric),
        half_widths=dict(validated.half_widths),
        recipes=dict(model.recipes),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def trace(module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], shapes: tuple[Any, ...]) -> Any:
    """Trace a module into a checked ``onnx.ModelProto``, without a word of the machine that it was traced on.

    Parameters
    ----------
    module : Module
        Ready to predict; it takes the ``inputs`` in their order, and returns a tensor for each of the ``outputs``.
    inputs : dict of Tensor
        An example of each input.
    outputs : sequence of str
        Names of the outputs.
    shapes : tuple
        Which sizes may differ from the example's, as ``dynamic_shapes`` of ``torch.export.export``.

    Raises
    ------
    ConfigError
        The packages of the extra ``deploy`` are missing.
    """
    onnx = _packages()
    with _quiet():
        program = torch.export.export(module.eval(), tuple(inputs.values()), dynamic_shapes=shapes, strict=False)
        nodes = program.graph_module.graph
        for node in reversed(nodes.nodes):
            if node.target is torch.ops.aten._assert_scalar.default:  # what torch assumed of sizes
                nodes.erase_node(node)
        nodes.eliminate_dead_code()
        exported = torch.onnx.export(
            program,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamo=True,
            optimize=False,  # the runtime does it when it loads the file
            verbose=False,
        )
    if exported is None:
        raise AssertionError("torch.onnx.export returns a program if dynamo=True")
    graph = exported.model_proto
    for part in (graph, graph.graph, *graph.graph.node):
        part.ClearField("metadata_props")  # stack traces
    graph.graph.ClearField("value_info")  # shapes that a runtime infers
    onnx.checker.check_model(graph)
    return graph


def _packages() -> ModuleType:
    """Import the packages that torch's exporter needs; return onnx."""
    needed("onnxscript")
    return needed("onnx")


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide warnings of torch's exporter, which are about its own parts."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
