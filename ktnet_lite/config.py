"""The parameters of one training run: one frozen dataclass that papermill, the command line and Python share.

A new parameter is one field: its type gives its choices, its metadata says what it means and which runs use it. The
command line, the notebook's parameters, run names, teachers and the book's reference follow from that.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ktnet_lite.errors import ConfigError, did_you_mean
from ktnet_lite.names import (
    MODALITIES,
    VARIANTS,
    Concat,
    Consistency,
    Device,
    Doubt,
    Fusion,
    Level,
    Missing,
    Modality,
    Model,
    Pooling,
    Precision,
    Reconstruction,
    SentimentLoss,
    Sharing,
    Silence,
    System,
    Target,
    Task,
    Tracker,
    Variant,
    Voice,
)
from ktnet_lite.parameters import checked, parameter


def _ours(config: TrainConfig) -> bool:
    return config.variant == "ours"


def _any(config: TrainConfig) -> bool:
    return config.variant == "any"


def _transfers(config: TrainConfig) -> bool:
    return _ours(config) or (_any(config) and config.missing != "token")


def _doubts(config: TrainConfig) -> bool:
    return _transfers(config) and config.transfer == "gaussian"


def _distils(config: TrainConfig) -> bool:
    return _any(config) and config.distil > 0


def _ktnet(config: TrainConfig) -> bool:
    return config.model == "ktnet"


def _attends(config: TrainConfig) -> bool:
    return config.model in ("ktnet", "mult")


def _pairs(config: TrainConfig) -> bool:
    return config.model == "mult" or (_ktnet(config) and config.fusion == "pairs")


def _trains(config: TrainConfig) -> bool:
    return config.model not in ("linear", "constant")  # they have a closed form


def _synthetic(config: TrainConfig) -> bool:
    return config.dataset == "synthetic"


def _scores(config: TrainConfig) -> bool:
    return not (_synthetic(config) and config.task == "emotion")  # emotions have one loss


@dataclass(frozen=True)
class TrainConfig:
    """Parameters of one run, checked when built; "auto" for variant and task loss is resolved then.

    Raises
    ------
    ConfigError
        A value has the wrong type, is out of range, or is not one of the choices; the message names the parameter.
    """

    dataset: str = parameter("synthetic", "name in the catalogue, or path of a data file")
    data_from: str = parameter(
        "", "folder that holds the raw files already; empty: download what is missing", identity=False
    )
    out: str = parameter("runs", "folder under which each run gets a folder of its own", identity=False)
    model: Model = parameter("ktnet", "the system")
    variant: Variant = parameter("auto", "what the model observes; auto: ours for ktnet, else full", automatic=True)
    seed: int = parameter(0, "seed of weights, batch order and dropout", low=0, high=2**32 - 1)

    epochs: int = parameter(40, "passes over the training split (paper: 40)", low=1, high=10**6, used=_trains)
    patience: int = parameter(
        8, "stop after so many epochs without a better validation score; 0: never", low=0, high=10**6, used=_trains
    )
    batch_size: int = parameter(64, "over all processes", unit="clips", low=1, high=10**6, used=_trains)
    learning_rate: float = parameter(1e-3, "Adam's, constant (paper: 1e-3)", low=0.0, used=_trains)
    clip_norm: float = parameter(0.8, "largest norm of the gradient (MulT: 0.8)", low=1e-6, used=_trains)
    task_loss: SentimentLoss = parameter(
        "l1",
        "MulT's regression, or Eq. (5); auto: cross_entropy for ktnet, as in the paper, else l1",
        used=_scores,
        automatic=True,
    )

    treatment: Target = parameter("teacher", "how f_A is kept from collapsing, or what stands for it", used=_ours)
    teacher: str = parameter(
        "",
        "model.pt of a trained full variant, or any to distil from; empty: train one first",
        identity=False,
        used=lambda config: _ours(config) or _distils(config),
    )
    transfer: Reconstruction = parameter(
        "point", "what theta and phi give: features, or their mean and variance", used=_transfers, shared=False
    )
    doubt: Doubt = parameter(
        "bias", "gaussian: how the variance reaches the fusion: attention bias, or not", used=_doubts, shared=False
    )
    consistency: Consistency = parameter(
        "l2", "distance of Eq. (1), Table V", used=lambda c: _transfers(c) and c.transfer == "point"
    )
    lambda_vision: float = parameter(1.0, "lambda_1 of Eq. (6)", low=0.0, used=_transfers)
    lambda_language: float = parameter(1.0, "lambda_2 of Eq. (6)", low=0.0, used=_transfers)
    lambda_audio: float = parameter(
        1.0, "lambda of Eq. (1) from audio, for any", low=0.0, used=lambda c: _any(c) and _transfers(c)
    )
    missing: Missing = parameter("reconstruction", "any: what stands for a missing modality", used=_any)
    sharing: Sharing = parameter(
        "none",
        "any: what the transfer networks share: nothing, or those of a source all but a map",
        used=lambda c: _any(c) and _transfers(c),
    )
    silence: Silence = parameter(
        "missing", "any: what a modality without a step is: missing, or observed (nothing was said)", used=_any
    )
    complete: float = parameter(
        1 / 3, "any: share of the training clips that keep every modality", low=0.0, high=1.0, used=_any
    )
    distil: float = parameter(
        0.0, "any: weight of the distance from the scores of any with all pairs", low=0.0, used=_any, shared=False
    )
    level: Level = parameter("step", "what Eq. (1) compares: each step, or the mean over a clip", used=_ours)
    pretrain: int = parameter(
        0, "epochs of Eq. (1) alone, before any label is used", low=0, high=10**6, used=_ours, shared=False
    )
    unlabelled: int = parameter(
        0,
        "training clips without a label that Eq. (1) alone sees as well",
        unit="clips",
        low=0,
        high=10**6,
        used=lambda config: _ours(config) and config.pretrain > 0,
        shared=False,
    )
    voice: Voice = parameter(
        "own",
        "whose voice Eq. (1) predicts; other, none: controls (another clip's; words and face each other)",
        used=_transfers,
        shared=False,
    )

    dim: int = parameter(40, "width d", low=1, high=2**16, used=_trains)
    heads: int = parameter(4, "attention heads; divides the width (MulT: 8)", low=1, high=2**16, used=_attends)
    layers: int = parameter(1, "layers in each set of transformer blocks (paper: 3)", low=1, high=100, used=_attends)
    dropout: float = parameter(0.1, "on embeddings and residual branches", low=0.0, high=0.99, used=_trains)
    fusion: Fusion = parameter(
        "pairs",
        "attention between all pairs of streams, or through a few latent vectors for each stream",
        used=_ktnet,
    )
    causal: bool = parameter(
        False, "each step sees only what has ended by its own end, so that a clip is scored while it runs", used=_ktnet
    )
    prefixes: float = parameter(
        0.0, "share of the training clips that are heard up to a random moment only", low=0.0, high=1.0, used=_attends
    )
    targets: str = parameter(
        "all", "targets of cross-modal attention, comma-separated (Table IV)", used=_pairs, shared=False
    )
    concat: Concat = parameter("time", "how delta joins the reconstructions, Eq. (2)", used=_ours)
    pooling: Pooling = parameter(
        "mean", "how a stream becomes one vector", used=lambda c: _pairs(c) or c.model == "linear"
    )
    kernel: int = parameter(
        3, "steps that the temporal projection sees; odd", unit="steps", low=1, high=99, used=_attends
    )
    labelled: int = parameter(
        0, "training clips whose labels are used, whole sessions first; 0: all", unit="clips", low=0, high=10**6
    )
    grid: int = parameter(
        0, "average audio and vision onto this many steps; 0: leave them", unit="steps", low=0, high=10**6
    )

    clips: int = parameter(800, "training clips of the synthetic set", unit="clips", low=8, high=10**6, used=_synthetic)
    redundancy: float = parameter(
        0.7, "synthetic: share of audio's cause that vision and language hold", low=0.0, high=1, used=_synthetic
    )
    audio_noise: float = parameter(0.5, "synthetic: noise of the real audio", low=0.0, used=_synthetic)
    aligned: bool = parameter(False, "synthetic: one time line for all streams", used=_synthetic)
    task: Task = parameter("sentiment", "synthetic: what the labels are", used=_synthetic)

    trials: int = parameter(
        0, "how many trials of a search chose these settings; 0: chosen by hand", low=0, high=10**6, identity=False
    )
    device: Device = parameter("auto", "auto, cpu, cuda or mps", identity=False)
    log: Tracker = parameter("none", "record each epoch for TensorBoard or MLflow too", identity=False)
    precision: Precision = parameter("float32", "autocast of the forward pass")
    compile: bool = parameter(False, "torch.compile; worth it on a GPU")

    def __post_init__(self):
        for field in dataclasses.fields(self):
            known = choices(field.name)
            kind = str if known else _types()[field.name]
            object.__setattr__(self, field.name, checked(field, kind, known, getattr(self, field.name)))
        ktnet = self.model == "ktnet"
        if self.variant == "auto":
            object.__setattr__(self, "variant", "ours" if ktnet else "full")
        if self.task_loss == "auto":
            object.__setattr__(self, "task_loss", "cross_entropy" if ktnet else "l1")
        if self.variant in ("ours", "any") and not ktnet:
            others = ", ".join(name for name in VARIANTS if name not in ("ours", "any"))
            raise ConfigError(
                f"variant {self.variant!r} exists for ktnet only; the variants of {self.model!r} are {others}"
            )
        if self.variant == "any" and self.voice == "none":
            raise ConfigError("voice = 'none' is a control of 'ours'; 'any' has 'own' and 'other'")
        if _attends(self) and self.dim % self.heads:
            raise ConfigError(f"dim = {self.dim} is not a multiple of heads = {self.heads}")
        if _ours(self) and self.treatment == "view" and self.fusion == "bottleneck":
            raise ConfigError("treatment = 'view' predicts what a pair attends to; fusion = 'bottleneck' has no pairs")
        if self.kernel % 2 == 0:
            raise ConfigError(f"kernel = {self.kernel} has no middle step; give an odd number")
        if self.unlabelled and not self.labelled:
            raise ConfigError(f"unlabelled = {self.unlabelled}, but labelled = 0 uses every label; set both")
        self._check_targets()

    def _check_targets(self) -> None:
        targets = self.target_modalities or ()
        streams = (*VARIANTS[self.variant], "audio") if self.variant == "ours" else VARIANTS[self.variant]
        for target in targets:
            if target not in MODALITIES:
                hint = did_you_mean(target, MODALITIES)
                raise ConfigError(f"targets: {target!r} is not one of {', '.join(MODALITIES)}{hint}; or 'all'")
            if target not in streams:
                known = ", ".join(streams)
                raise ConfigError(f"targets: {target!r} is not a stream of {self.variant!r}: {known}; or 'all'")
        if len(set(targets)) < len(targets):
            raise ConfigError(f"targets = {self.targets!r} names one twice")

    @classmethod
    def build(cls, parameters: Mapping[str, Any]) -> TrainConfig:
        """Build a config from a mapping; an unknown name is an error that suggests the nearest known one."""
        names = [field.name for field in dataclasses.fields(cls)]
        for name in parameters:
            if name not in names:
                raise ConfigError(f"unknown parameter {name!r}{did_you_mean(name, names)}; all: {', '.join(names)}")
        return cls(**parameters)

    @property
    def system(self) -> System:
        """What is trained: model and variant."""
        return System(self.model, self.variant)

    @property
    def taught(self) -> bool:
        """Whether this run learns from another model."""
        learns = self.treatment in ("teacher", "view") or self.voice == "none"
        return (_ours(self) and learns) or _distils(self)

    @property
    def needs_teacher(self) -> bool:
        """Whether this run learns from a model that nobody has named yet."""
        return self.taught and not self.teacher

    @property
    def taught_by(self) -> TrainConfig:
        """The run that teaches this one: a full one for its audio encoder, or "any" with all pairs for its scores.

        It shares the other parameters.
        """
        if _any(self):
            return dataclasses.replace(self, distil=0.0, fusion="pairs")
        own = {field.name: field.default for field in dataclasses.fields(self) if not field.metadata["shared"]}
        full = dataclasses.replace(self, **own, variant="full")
        unused = {field.name: field.default for field in dataclasses.fields(full) if not field.metadata["used"](full)}
        return dataclasses.replace(full, **unused)

    @property
    def identity(self) -> dict[str, Any]:
        """The parameters that decide what this run computes; two runs with the same ones are the same run."""
        fields = dataclasses.fields(self)
        return {f.name: getattr(self, f.name) for f in fields if f.metadata["identity"] and f.metadata["used"](self)}

    @property
    def key(self) -> str:
        """The identity as text."""
        return json.dumps(self.identity, sort_keys=True)

    @property
    def settings(self) -> dict[str, Any]:
        """The part of the identity that differs from the defaults and that a run's name does not show."""
        default = TrainConfig(model=self.model)
        shown = {"dataset", "model", "variant", "seed"}
        return {
            name: value
            for name, value in self.identity.items()
            if name not in shown and value != getattr(default, name)
        }

    @property
    def target_modalities(self) -> tuple[Modality, ...] | None:
        """Targets as KTNet takes them; None for all."""
        if self.targets == "all":
            return None
        return typing.cast("tuple[Modality, ...]", tuple(part.strip() for part in self.targets.split(",")))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and for papermill."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def choices(name: str) -> tuple[str, ...]:
    """List the values that a parameter may take; empty where its type alone limits them."""
    literals = typing.get_args(_types()[name])
    automatic = TrainConfig.__dataclass_fields__[name].metadata["automatic"]
    return tuple(dict.fromkeys(("auto", *literals) if automatic else literals))


@cache
def _types() -> dict[str, Any]:
    return typing.get_type_hints(TrainConfig)
