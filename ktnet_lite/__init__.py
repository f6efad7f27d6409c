"""Knowledge transfer for multimodal sentiment analysis with missing modalities (Liu & Zhan).

    import ktnet_lite as kt

gives the few names below, each imported when it is first used; everything else lies in the package's rooms, from
:mod:`ktnet_lite.names` and :mod:`ktnet_lite.config` on the ground floor up to :mod:`ktnet_lite.cli`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ktnet_lite.threads import set_waiting

if TYPE_CHECKING:
    from ktnet_lite.config import TrainConfig
    from ktnet_lite.model.ktnet import KTNet
    from ktnet_lite.training.build import load_model
    from ktnet_lite.training.dataset import load_dataset
    from ktnet_lite.training.evaluation import evaluate, predict
    from ktnet_lite.training.loop import fit

__version__ = "0.1.0"
__all__ = ["KTNet", "TrainConfig", "evaluate", "fit", "load_dataset", "load_model", "predict"]

_HOME = {
    "KTNet": "model.ktnet",
    "TrainConfig": "config",
    "evaluate": "training.evaluation",
    "fit": "training.loop",
    "load_dataset": "training.dataset",
    "load_model": "training.build",
    "predict": "training.evaluation",
}

set_waiting()


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
