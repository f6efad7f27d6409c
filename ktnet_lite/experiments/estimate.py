"""How long trainings will take, by how long such trainings took."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from ktnet_lite.config import TrainConfig
from ktnet_lite.training.runtime import choose_device

START = 10.0  # seconds that a notebook takes to begin, measure and draw


class Estimate:
    """Seconds a training, learned from result files of the same kind of device."""

    def __init__(self):
        self.seconds = defaultdict(list)  # key -> seconds an epoch

    def learn(self, result: dict[str, Any]) -> None:
        """Take what one run took into account."""
        config = TrainConfig.build(result["parameters"])
        if result["hardware"]["device"] == choose_device(config.device).type:
            for key in _keys(config):
                self.seconds[key].append(statistics.fmean(epoch["seconds"] for epoch in result["curves"]))

    def __call__(self, config: TrainConfig) -> float | None:
        """Of one training, from those most like it; None where nothing like it is known."""
        for key in _keys(config):
            if key in self.seconds:
                return START + config.epochs * statistics.median(self.seconds[key])
        return None

    def total(self, configs: Iterable[TrainConfig]) -> float | None:
        """Of all, one after the other; an unknown one counts as the mean of the others, None when all are."""
        found = [self(config) for config in configs]
        known = [seconds for seconds in found if seconds is not None]
        return statistics.fmean(known) * len(found) if known else None


def _keys(config: TrainConfig) -> list[tuple]:
    """What makes two trainings alike, from very to roughly."""
    size = config.dim, config.layers, config.clips, config.aligned, config.grid
    return [(config.system, config.dataset, *size, config.targets), (config.system, config.dataset), (config.system,)]
