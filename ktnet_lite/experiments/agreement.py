"""Whether the parts of a result agree with one another, as every reader of a result assumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import TYPE_CHECKING, Any

from ktnet_lite.measures.metrics import METRICS, OF_TASK
from ktnet_lite.training.loop import SELECT_BY

if TYPE_CHECKING:
    from ktnet_lite.experiments.result import Filled, Result


def contradictions(run: Result) -> Iterator[str]:
    """Say what contradicts the rest of a result, or what it lacks; nothing for a sound one.

    Raises
    ------
    ConfigError
        A parameter is unknown or invalid.
    """
    if run.system != str(run.config.system):
        yield f"system: {run.system[:100]!r}, but the parameters describe {str(run.config.system)!r}"
    if "torch" not in run.libraries:
        yield "libraries: the version of torch is missing"
    yield from _clips(run)
    if not {"valid", "test"} <= run.metrics.keys() or not run.baselines:
        yield "metrics or baselines: those of valid or test are missing"
    tests = {"metrics.test": run.metrics.get("test", {})}
    tests |= {f"baselines.{name}": values for name, values in run.baselines.items()}
    tests |= {f"{where}.metrics": filled.metrics for where, filled in _filled(run)}
    for where, values in tests.items():
        yield from _metrics(where, values, OF_TASK[run.dataset.task])
    yield from _metrics("metrics.valid", run.metrics.get("valid", {}), {SELECT_BY[run.dataset.task]})
    yield from _epochs(run)


def _clips(run: Result) -> Iterator[str]:
    clips = len(run.predictions.ids)
    if len(set(run.predictions.ids)) < clips:
        yield "predictions.ids: two clips have the same id"
    if run.dataset.clips.get("test") != clips:
        yield f"dataset.clips.test: {run.dataset.clips.get('test')}, but there are {clips} ids"
    lists: dict[str, list[Any]] = {
        "predictions.targets": run.predictions.targets,
        "predictions.scores": run.predictions.scores,
        **{f"{where}.scores": filled.scores for where, filled in _filled(run)},
    }
    for where, values in lists.items():
        if len(values) != clips:
            yield f"{where}: {len(values)} values for {clips} clips"
        if any(isinstance(value, list) != (run.dataset.task == "emotion") for value in values):
            yield f"{where}: not all are of the task {run.dataset.task!r}"


def _filled(run: Result) -> Iterator[tuple[str, Filled]]:
    """Name the tests without some modalities."""
    for fill, filled in run.without_audio.items():
        yield f"without_audio.{fill}", filled
    for fill, each in run.subsets.items():
        for subset, filled in each.items():
            yield f"subsets.{fill}.{subset}", filled


def _metrics(where: str, values: Mapping[str, float | None], needed: Set[str]) -> Iterator[str]:
    if missing := needed - values.keys():
        yield f"{where}: {min(missing)} is missing"
    if unknown := values.keys() - METRICS.keys():
        yield f"{where}: {min(unknown)[:100]!r} is not a metric"


def _epochs(run: Result) -> Iterator[str]:
    terms = [{name for name in epoch if not name.startswith("valid_")} for epoch in run.curves]
    if any(epoch != terms[0] or "seconds" not in epoch for epoch in terms):
        yield "curves: the epochs differ in their terms, or lack seconds"
    if not run.best_epoch < len(run.curves) <= run.config.epochs:
        yield f"best_epoch: {run.best_epoch} of {len(run.curves)} epochs, where {run.config.epochs} were asked for"
