"""Small random splits, models and batches for the tests of the model."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

from ktnet_lite.data.batching import Batch, Padded, collate
from ktnet_lite.data.schema import Split, Stream
from ktnet_lite.model.any_modality import AnyKTNet
from ktnet_lite.model.encoder import ModalityEncoder
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.losses import OUTPUTS, Objective
from ktnet_lite.model.targets import AudioTarget

DIMS = {"language": 5, "vision": 4, "audio": 3}
UNALIGNED = {"language": [3, 1, 4, 2], "vision": [6, 5, 2, 7], "audio": [9, 4, 8, 3]}
ALIGNED = {name: [3, 1, 4, 2] for name in DIMS}
SIZE = {"dim": 8, "heads": 2, "layers": 2}
no_half_precision_lstm = pytest.mark.skipif(
    torch.backends.mkldnn.is_available() and not torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    reason="this processor has no LSTM in bf16",
)


def make_split(lengths: dict[str, Sequence[int]], task: str = "sentiment", seed: int = 0) -> Split:
    rng = np.random.default_rng(seed)
    clips = len(next(iter(lengths.values())))
    streams = {
        name: Stream.from_clips([rng.normal(size=(n, DIMS[name])) for n in counts]) for name, counts in lengths.items()
    }
    targets = rng.uniform(-3, 3, clips).astype(np.float32) if task == "sentiment" else rng.integers(0, 2, (clips, 4))
    return Split(streams, targets, tuple(f"clip{i}" for i in range(clips)))


def make_batch(lengths: dict[str, Sequence[int]], task: str = "sentiment", seed: int = 0) -> Batch:
    split = make_split(lengths, task, seed)
    return collate(split, range(len(split)), tuple(split.streams))


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter and statistic away from 0 and 1, so that one that is not used, or used wrongly, shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
        for name, buffer in module.named_buffers():
            if name.endswith(("mean", "scale")):
                buffer += 0.5 * torch.rand(buffer.shape, generator=generator)
    return module


def make_model(variant: str, loss: str = "cross_entropy", **options) -> KTNet | AnyKTNet:
    torch.manual_seed(0)
    options = SIZE | {"dropout": 0.0} | options
    if variant == "any":
        options.pop("concat", None)
        return shaken(AnyKTNet(DIMS, OUTPUTS[loss], **options)).eval()
    return shaken(KTNet(DIMS, OUTPUTS[loss], variant, **options)).eval()


def make_objective(model: KTNet, treatment: str = "naive", **options) -> Objective:
    if not model.reconstructs:
        return Objective(model)
    encoder = shaken(ModalityEncoder(DIMS["audio"], **SIZE, dropout=options.pop("audio_dropout", 0.0)), seed=1)
    options = {"weights": {"vision": 0.1, "language": 0.1}} | options
    return Objective(model, AudioTarget(encoder, treatment, model.outputs), **options)


@contextmanager
def untraced() -> Iterator[None]:
    """Leave out of the coverage what calls millions of torch's functions: tracing them doubles the time."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)


def extended(padded: Padded, steps: int, value: float) -> Padded:
    """The same clips with ``steps`` more of padding, and ``value`` in all of it."""
    clips, _, dim = padded.values.shape
    mask = torch.cat([padded.full_mask(), torch.zeros(clips, steps, dtype=torch.bool)], dim=1)
    values = torch.cat([padded.values, torch.zeros(clips, steps, dim)], dim=1)
    return Padded(values.masked_fill(~mask.unsqueeze(-1), value), mask)
