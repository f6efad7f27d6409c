"""The names that parameters and files use: every choice that the package offers is a Literal here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations
from typing import Literal, NamedTuple, get_args

Modality = Literal["language", "vision", "audio"]
Task = Literal["sentiment", "emotion"]
Model = Literal[
    "ktnet",
    "mult",
    "mctn",
    "mfm",
    "raven",
    "rmfn",
    "graph_mfn",
    "mmin",
    "emt_dlfr",
    "ctc_mctn",
    "ctc_raven",
    "linear",
    "constant",
]
Variant = Literal[
    "full", "vision", "language", "language_vision", "ours", "audio", "language_audio", "vision_audio", "any"
]
SentimentLoss = Literal["cross_entropy", "l1"]
TaskLoss = Literal["cross_entropy", "l1", "emotion"]
Consistency = Literal["l2", "l1"]
Treatment = Literal["naive", "joint", "random", "teacher"]  # of the audio encoder
Target = Literal[Treatment, "descriptors", "view"]  # what Eq. (1) predicts: its features, or something else
Level = Literal["step", "clip"]
Reconstruction = Literal["point", "gaussian"]  # what theta and phi give: features, or their mean and variance
Distance = Literal[Consistency, "gaussian"]  # of a reconstruction from the real features
Doubt = Literal["bias", "none"]  # how the variance of a reconstruction reaches the fusion
Fusion = Literal["pairs", "bottleneck"]
Voice = Literal["own", "other", "none"]
Concat = Literal["time", "features"]
Missing = Literal["reconstruction", "token", "both"]  # what stands for a missing modality in "any"
Sharing = Literal["none", "source"]
Silence = Literal["missing", "observed"]  # what a stream without a step is to "any"
Pooling = Literal["mean", "last"]
Fill = Literal["zero", "mean", "inferred"]  # in place of missing audio: raw zeros, the training mean, the network's own
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bf16", "fp16"]
Tracker = Literal["none", "tensorboard", "mlflow"]

TREATMENTS: tuple[Treatment, ...] = get_args(Treatment)
MODALITIES: tuple[Modality, ...] = get_args(Modality)
SPLITS = ("train", "valid", "test")
SENTIMENT_RANGE = (-3.0, 3.0)
LEVELS = (0.5, 0.8, 0.9, 0.95)  # probabilities of the intervals that a trained model keeps
EMOTIONS = ("neutral", "happy", "sad", "angry")  # the order of IEMOCAP's labels in MulT's files

# The modalities that each variant observes, in training and at test: the paper's five (Tables I to III), and the rest.
VARIANTS: dict[Variant, tuple[Modality, ...]] = {
    "full": ("language", "vision", "audio"),
    "vision": ("vision",),
    "language": ("language",),
    "language_vision": ("language", "vision"),
    "ours": ("language", "vision"),  # and A', reconstructed from them
    "audio": ("audio",),
    "language_audio": ("language", "audio"),
    "vision_audio": ("vision", "audio"),
    "any": ("language", "vision", "audio"),  # or what a clip has of them
}
FILLS = {"zero": "audio = 0", "mean": "audio = mean", "inferred": "audio inferred"}  # and how tables label them
VOICES = {"other": ("others' voices",), "none": ("no voice",)}


def subsets(modalities: Sequence[Modality]) -> list[tuple[Modality, ...]]:
    """List the non-empty subsets of some modalities, the largest first."""
    return list(chain.from_iterable(combinations(modalities, size) for size in range(len(modalities), 0, -1)))


class System(NamedTuple):
    """A trained model as a row of a table: what was trained, and how it was tested without audio, if it was."""

    model: Model
    variant: Variant
    fill: Fill | None = None
    voice: Voice = "own"  # whose voice Eq. (1) predicted

    def __str__(self) -> str:
        """Return KTNet's variant or the model's name, its variant unless that observes everything, fill and control."""
        name = self.variant if self.model == "ktnet" else self.model
        if self.model != "ktnet" and self.variant != "full":
            name = f"{self.model}-{self.variant}"
        return ", ".join([name, *([FILLS[self.fill]] if self.fill else []), *VOICES.get(self.voice, ())])

    @property
    def order(self) -> tuple[int, ...]:
        """Sort key of tables: KTNet's variants first, then the other models."""
        places = (Model, self.model), (Variant, self.variant), (Voice, self.voice)
        return tuple(get_args(names).index(name) for names, name in places)
