"""The parameters of one training run: one frozen dataclass that papermill, the command line and Python share."""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ktnet_lite.baselines import SYSTEMS
from ktnet_lite.errors import ConfigError
from ktnet_lite.names import MODALITIES, TREATMENTS, VARIANTS

NOT_SCIENCE = {"out", "data_from", "device", "teacher"}  # where things lie, not what is computed


def parameter(default: Any, about: str, *, unit: str = "", choices: tuple = (), low: float | None = None, high=None):
    """A dataclass field that also says what it means, in which unit, and which values it may take."""
    metadata = {"about": about, "unit": unit, "choices": tuple(choices), "low": low, "high": high}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class TrainConfig:
    """Parameters of one run, checked when built; "auto" for variant and task loss is resolved then.

    Raises
    ------
    ConfigError
        A value of the wrong type, out of range, or none of the choices; the message names the parameter.
    """

    dataset: str = parameter("synthetic", "name in the catalogue, or path of a data file")
    data_from: str = parameter("", "folder that holds the raw files already; empty: download what is missing")
    out: str = parameter("runs", "folder under which each run gets a folder of its own")
    model: str = parameter("ktnet", "the system", choices=("ktnet", *SYSTEMS))
    variant: str = parameter(
        "auto", "what the model observes; auto: ours for ktnet, else full", choices=("auto", *VARIANTS)
    )
    seed: int = parameter(0, "seed of weights, batch order and dropout", low=0, high=2**32 - 1)

    epochs: int = parameter(40, "passes over the training split (paper: 40)", low=1)
    batch_size: int = parameter(24, "over all processes", unit="clips", low=1)
    learning_rate: float = parameter(1e-3, "Adam's, constant (paper: 1e-3)", low=0.0)
    clip_norm: float = parameter(0.8, "largest norm of the gradient (MulT: 0.8)", low=1e-6)
    task_loss: str = parameter(
        "auto",
        "Eq. (5), or MulT's regression; auto: cross_entropy for ktnet, else l1",
        choices=("auto", "cross_entropy", "l1"),
    )

    treatment: str = parameter("teacher", "how f_A is kept from collapsing", choices=TREATMENTS)
    teacher: str = parameter("", "model.pt of a trained full variant; empty: train one first")
    consistency: str = parameter("l2", "distance of Eq. (1), Table V", choices=("l2", "l1"))
    lambda_vision: float = parameter(1.0, "lambda_1 of Eq. (6)", low=0.0)
    lambda_language: float = parameter(1.0, "lambda_2 of Eq. (6)", low=0.0)

    dim: int = parameter(40, "width d", low=1)
    heads: int = parameter(8, "attention heads; divides the width", low=1)
    layers: int = parameter(3, "layers in each set of transformer blocks (paper: 3)", low=1)
    dropout: float = parameter(0.1, "on embeddings and residual branches", low=0.0, high=0.99)
    targets: str = parameter("all", "targets of cross-modal attention, comma-separated (Table IV)")
    concat: str = parameter("time", "how delta joins the reconstructions, Eq. (2)", choices=("time", "features"))
    pooling: str = parameter("mean", "how a stream becomes one vector", choices=("mean", "last"))
    grid: int = parameter(0, "average audio and vision onto this many steps; 0: leave them", unit="steps", low=0)

    clips: int = parameter(800, "training clips of the synthetic set", unit="clips", low=8)
    redundancy: float = parameter(
        0.7, "synthetic: share of audio's cause that vision and language hold", low=0.0, high=1
    )
    audio_noise: float = parameter(0.5, "synthetic: noise of the real audio", low=0.0)
    aligned: bool = parameter(False, "synthetic: one time line for all streams")
    task: str = parameter("sentiment", "synthetic: what the labels are", choices=("sentiment", "emotion"))

    device: str = parameter("auto", "auto, cpu, cuda or mps", choices=("auto", "cpu", "cuda", "mps"))
    precision: str = parameter("float32", "autocast of the forward pass", choices=("float32", "bf16", "fp16"))
    compile: bool = parameter(False, "torch.compile; worth it on a GPU")

    def __post_init__(self):
        for name, kind in typing.get_type_hints(type(self)).items():
            object.__setattr__(self, name, _checked(name, kind, getattr(self, name)))
        ours = self.model == "ktnet"
        if self.variant == "auto":
            object.__setattr__(self, "variant", "ours" if ours else "full")
        if self.task_loss == "auto":
            object.__setattr__(self, "task_loss", "cross_entropy" if ours else "l1")
        if self.variant == "ours" and not ours:
            others = ", ".join(name for name in VARIANTS if name != "ours")
            raise ConfigError(f"variant 'ours' is ktnet's alone; those of {self.model!r} are {others}")
        if self.dim % self.heads:
            raise ConfigError(f"dim = {self.dim} is not a multiple of heads = {self.heads}")
        targets = self.target_modalities or ()
        streams = (*VARIANTS[self.variant], "audio") if self.variant == "ours" else VARIANTS[self.variant]
        for target in targets:
            if target not in MODALITIES:
                known = ", ".join(MODALITIES)
                raise ConfigError(f"targets: {target!r} is none of {known}{_nearest(target, MODALITIES)}; or 'all'")
            if target not in streams:
                raise ConfigError(
                    f"targets: {target!r} is no stream of {self.variant!r}: {', '.join(streams)}; or 'all'"
                )
        if len(set(targets)) < len(targets):
            raise ConfigError(f"targets = {self.targets!r} names one twice")

    @classmethod
    def build(cls, parameters: Mapping[str, Any]) -> TrainConfig:
        """A config from a mapping; an unknown name is an error that names the nearest right one."""
        names = [field.name for field in dataclasses.fields(cls)]
        for name in parameters:
            if name not in names:
                raise ConfigError(f"unknown parameter {name!r}{_nearest(name, names)}; all: {', '.join(names)}")
        return cls(**parameters)

    @property
    def system(self) -> str:
        """The name in tables, KTNet's variant or the model, with its variant unless it observes everything."""
        if self.model == "ktnet":
            return self.variant
        return self.model if self.variant == "full" else f"{self.model}-{self.variant}"

    @property
    def taught_by(self) -> TrainConfig:
        """The training whose audio encoder teaches this one, of all modalities and the same in all that it uses."""
        fields = "treatment", "teacher", "consistency", "lambda_vision", "lambda_language", "targets", "concat"
        unused = {name: self.__dataclass_fields__[name].default for name in fields}
        return dataclasses.replace(self, **unused, variant="full")

    @property
    def target_modalities(self) -> tuple[str, ...] | None:
        """Targets as KTNet takes them; None for all."""
        return None if self.targets == "all" else tuple(part.strip() for part in self.targets.split(","))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and for papermill."""
        return dataclasses.asdict(self)


def _nearest(name: str, names) -> str:
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _checked(name: str, kind: type, value: Any) -> Any:
    """The value, as its declared type, or a ConfigError. An int is a float; a bool is no number."""
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ConfigError(f"{name} = {value!r} is {type(value).__name__}, expected {kind.__name__}")
    about = TrainConfig.__dataclass_fields__[name].metadata
    if about["choices"] and value not in about["choices"]:
        raise ConfigError(
            f"{name} = {value!r} is none of {', '.join(about['choices'])}{_nearest(value, about['choices'])}"
        )
    low, high = about["low"], about["high"]
    if kind in (int, float) and not (
        math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
    ):
        raise ConfigError(f"{name} = {value!r} is outside [{low}, {'...' if high is None else high}]")
    return value
