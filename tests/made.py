"""Results as runs leave them, without a run: predictions scatter around the labels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
import numpy as np

from ktnet_lite import __version__
from ktnet_lite.config import TrainConfig
from ktnet_lite.experiments.result import FORMAT, Data, Filled, Hardware, Predictions, Result
from ktnet_lite.measures.metrics import Metrics, constant_baselines, emotion_metrics, sentiment_metrics
from ktnet_lite.names import EMOTIONS, Fill, Task

HARDWARE = Hardware(
    device="cpu", gpu=None, cpu="x86_64", cores=2, threads=1, system="Linux-6.1-x86_64", python="3.12.1"
)


def make_result(
    config: TrainConfig,
    error: float = 0.5,
    *,
    clips: int = 50,
    without_audio: Mapping[Fill, float] | None = None,
    **changes: Any,
) -> Result:
    """The result of a run whose predictions are off by about ``error``, and by another error with each fill.

    Results of as many clips have the same labels. Those of the same seed also share most of their errors, as two
    systems do that find the same clips hard. ``changes`` are fields of :class:`Result`.
    """
    task: Task = config.task if config.dataset == "synthetic" else "sentiment"
    targets = _targets(task, clips)
    scores = _scores(config, targets, error)
    metrics = _metrics(task, scores, targets)
    filled = {}
    for fill, size in (without_audio or {}).items():
        predicted = _scores(config, targets, size)
        values, undefined = _metrics(task, predicted, targets)
        filled[fill] = Filled(values, undefined, predicted.tolist())
    result = Result(
        format=FORMAT,
        system=str(config.system),
        parameters=config.as_dict(),
        dataset=Data(config.dataset, task, "c" * 64, {"train": 2 * clips, "valid": clips, "test": clips}, {}),
        package=__version__,
        libraries={"torch": "2.13.0"},
        hardware=HARDWARE,
        seconds=30.0,
        peak_memory=10**9,
        model_parameters=1234,
        curves=[{"loss": 1.23456789, "seconds": 30.0}],
        best_epoch=0,
        metrics={"valid": metrics.values, "test": metrics.values},
        undefined={"valid": metrics.undefined, "test": metrics.undefined},
        baselines=_baselines(task, clips),
        predictions=Predictions([f"clip{i}" for i in range(clips)], targets.tolist(), scores.tolist()),
        without_audio=filled,
    )
    return msgspec.structs.replace(result, **changes)


def _targets(task: Task, clips: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (
        rng.uniform(-3, 3, clips) if task == "sentiment" else rng.integers(0, 2, (clips, len(EMOTIONS))).astype(float)
    )


@cache
def _baselines(task: Task, clips: int) -> dict[str, dict[str, float | None]]:
    targets = _targets(task, clips)
    return constant_baselines(targets, targets)


def _scores(config: TrainConfig, targets: np.ndarray, error: float) -> np.ndarray:
    common = np.random.default_rng(config.seed).normal(size=targets.shape)
    own = np.random.default_rng([config.seed, *str(config.system).encode()]).normal(size=targets.shape)
    scores = targets + error * (0.8 * common + 0.6 * own)
    return scores if targets.ndim == 1 else scores.clip(0, 1)


def _metrics(task: Task, scores: np.ndarray, targets: np.ndarray) -> Metrics:
    return sentiment_metrics(scores, targets) if task == "sentiment" else emotion_metrics(scores > 0.5, targets)
