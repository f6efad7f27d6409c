"""From a configuration to its data set."""

from __future__ import annotations

from ktnet_lite.config import TrainConfig
from ktnet_lite.data import catalogue, synthetic
from ktnet_lite.data.schema import Dataset


def load_dataset(config: TrainConfig | str) -> Dataset:
    """Load the data set that a config names, on its time grid if it sets one.

    Parameters
    ----------
    config : TrainConfig or str
        A name in the catalogue, ``synthetic`` or the path of a file stands for a config with that ``dataset``.

    Raises
    ------
    ConfigError
        There is no such data set or file.
    DataError
        The data set cannot be obtained, or it is invalid.
    """
    if isinstance(config, str):
        config = TrainConfig(dataset=config)
    if config.dataset == "synthetic":
        dataset = make_synthetic(config).dataset
    else:
        dataset = catalogue.load(config.dataset, local=config.data_from or None)
    return dataset.on_grid(config.grid) if config.grid else dataset


def make_synthetic(config: TrainConfig) -> synthetic.Synthetic:
    """Make the synthetic data set of a config, with its causes."""
    sizes = config.clips, min(max(config.clips // 4, 1), 500), min(max(config.clips // 2, 1), 2000)
    return synthetic.make(sizes, config.redundancy, config.audio_noise, config.aligned, task=config.task)
