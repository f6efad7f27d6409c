"""Estimate run time from the recorded times of similar runs."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable

from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import ConfigError
from ktnet_lite.experiments.result import Result
from ktnet_lite.training.runtime import choose_device

START = 10.0  # seconds for a notebook to start, evaluate and draw


class Estimate:
    """Estimates run times in seconds from result files of the same kind of device."""

    def __init__(self):
        self.seconds: dict[tuple, list[float]] = defaultdict(list)  # key -> seconds per epoch

    def learn(self, result: Result) -> None:
        """Take the time of one run into account."""
        try:
            here = choose_device(result.config.device).type
        except ConfigError:  # this machine has no such device
            return
        if result.hardware.device == here:
            for key in _keys(result.config):
                self.seconds[key].append(statistics.fmean(epoch["seconds"] for epoch in result.curves))

    def __call__(self, config: TrainConfig) -> float | None:
        """Estimate one run from those most like it; None if none is known."""
        for key in _keys(config):
            if key in self.seconds:
                return START + config.epochs * statistics.median(self.seconds[key])
        return None

    def total(self, configs: Iterable[TrainConfig]) -> float | None:
        """Estimate the sum of several runs; an unknown one counts as the mean of the others.

        None if all are unknown.
        """
        estimates = [self(config) for config in configs]
        known = [seconds for seconds in estimates if seconds is not None]
        return statistics.fmean(known) * len(estimates) if known else None


def _keys(config: TrainConfig) -> list[tuple]:
    """Describe a run from closely to roughly: runs with an equal description take about as long."""
    size = config.dim, config.layers, config.clips, config.aligned, config.grid
    return [(config.system, config.dataset, *size, config.targets), (config.system, config.dataset), (config.system,)]
