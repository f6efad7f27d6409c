"""What Eq. (1) asks theta and phi to predict: the audio features f_A, in each of the readings that the paper allows.

Shapes: ``B`` clips, ``T_m`` steps and ``D_m`` features of modality m, ``d`` the model's width.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from ktnet_lite.data.batching import Batch, Padded
from ktnet_lite.errors import ConfigError
from ktnet_lite.model.encoder import ModalityEncoder, Standardise
from ktnet_lite.model.fusion import CrossModalFusion
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.transfer import mean_and_log_variance
from ktnet_lite.names import Modality, Reconstruction, Treatment

_Part = TypeVar("_Part", bound=nn.Module)


class Heard(NamedTuple):
    """What one source should predict."""

    features: Padded  # (B, T, width)
    present: Tensor  # (B,) bool: clips that have it


def _frozen(module: _Part) -> _Part:
    """Copy a trained part of a model, without gradients and without dropout."""
    return copy.deepcopy(module).requires_grad_(False).eval()


class AudioTarget(nn.Module):
    """The audio encoder that provides f_A of Eq. (1) in training, under one of four treatments of the collapse.

    The prediction does not depend on f_A, so a constant audio encoder minimises Eq. (1). The treatments:

    - ``naive``: Eq. (1) trains both sides; the encoder collapses.
    - ``joint``: f_A is detached in Eq. (1), and an auxiliary sentiment head keeps the encoder informative.
    - ``random``: a frozen copy of an untrained encoder.
    - ``teacher``: a frozen copy of a trained full-modality model's audio encoder (knowledge transfer proper).

    ``outputs`` is the shape of one clip's logits, for the head of ``joint``. The paper does not name a treatment.
    """

    def __init__(self, encoder: ModalityEncoder, treatment: Treatment, outputs: tuple[int, ...]):
        super().__init__()
        self.treatment, self.outputs = treatment, outputs
        self.frozen = treatment in ("random", "teacher")
        self.encoder = _frozen(encoder) if self.frozen else encoder
        if treatment == "joint":
            self.head = nn.Linear(encoder.embedding.project.out_features, math.prod(outputs))

    def train(self, mode: bool = True) -> AudioTarget:
        super().train(mode)
        if self.frozen:  # a frozen target has no dropout
            for part in self.children():
                part.eval()
        return self

    def forward(self, audio: Padded) -> tuple[Padded, Tensor | None]:
        """Map audio (B, T_A, D_A) to target features (B, T_A, d), and for ``joint`` to auxiliary logits."""
        features = self.encoder(audio)
        if self.treatment == "naive":
            return features, None
        logits = self.head(features.mean()).unflatten(-1, self.outputs) if self.treatment == "joint" else None
        return Padded(features.values.detach(), features.mask), logits

    def heard(self, batch: Batch, sources: Sequence[Modality]) -> tuple[dict[Modality, Heard], Tensor | None]:
        """Return what each source should predict, and for ``joint`` auxiliary logits, ``(B, *outputs)``."""
        features, logits = self(batch.streams["audio"])
        return dict.fromkeys(sources, Heard(features, batch.present["audio"])), logits

    def read(self, source: Modality, reconstructed: Padded) -> Padded:
        """Bring a reconstruction (B, T_m, d) into the space of the target."""
        return reconstructed


class Descriptors(AudioTarget):
    """The standardised audio descriptors themselves, X_A, which no encoder can collapse; a linear map reads them.

    It reads the mean of a "gaussian" reconstruction, and a second one reads the log-variance.
    """

    def __init__(self, standardise: Standardise, sources: Sequence[Modality], dim: int, kind: Reconstruction = "point"):
        nn.Module.__init__(self)
        self.frozen, self.standardise, self.kind = False, standardise, kind
        self.readout = nn.ModuleDict({source: nn.Linear(dim, len(standardise.mean)) for source in sources})
        if kind == "gaussian":
            self.doubt = nn.ModuleDict({source: nn.Linear(dim, len(standardise.mean)) for source in sources})

    def forward(self, audio: Padded) -> tuple[Padded, Tensor | None]:
        return Padded(self.standardise(audio.values), audio.mask), None

    def read(self, source: Modality, reconstructed: Padded) -> Padded:
        if self.kind == "point":
            return reconstructed._replace(values=self.readout[source](reconstructed.values))
        mean, log_variance = mean_and_log_variance(reconstructed.values)
        both = self.readout[source](mean), self.doubt[source](log_variance)
        return reconstructed._replace(values=torch.cat(both, dim=-1))


class _Taught(AudioTarget):
    """A target that a frozen copy of a trained full model computes from all streams of a batch."""

    def __init__(self, teacher: KTNet):
        nn.Module.__init__(self)
        self.frozen, self.teacher = True, _frozen(teacher)

    @torch.no_grad()
    def heard(self, batch: Batch, sources: Sequence[Modality]) -> tuple[dict[Modality, Heard], Tensor | None]:
        features, _ = self.teacher.encode(batch.streams)
        return {source: self.seen(source, features, batch) for source in sources}, None

    def seen(self, source: Modality, features: Mapping[Modality, Padded], batch: Batch) -> Heard:
        """Return what one source should predict, from the teacher's features f_m of all modalities."""
        raise NotImplementedError


class View(_Taught):
    """What a frozen, trained full model hears at each step of a source: the output of audio -> source, Eq. (3)."""

    def __init__(self, teacher: KTNet, sources: Sequence[Modality]):
        pairs = teacher.fusion.cross_modal if isinstance(teacher.fusion, CrossModalFusion) else ()
        if missing := [source for source in sources if f"audio_to_{source}" not in pairs]:
            raise ConfigError(f"treatment 'view' needs a teacher whose targets include {', '.join(missing)}")
        super().__init__(teacher)

    def seen(self, source: Modality, features: Mapping[Modality, Padded], batch: Batch) -> Heard:
        block = cast(CrossModalFusion, self.teacher.fusion).cross_modal[f"audio_to_{source}"]
        return Heard(block(features[source], features["audio"]), batch.present["audio"])


class OtherSource(_Taught):
    """A control without a voice to predict: language predicts a frozen, trained full model's f_V, and vision its f_L.

    Nothing of the clip's voice is read; the teacher itself has heard voices when it was trained.
    """

    def __init__(self, teacher: KTNet, sources: Sequence[Modality]):
        if len(sources) != 2:
            raise ConfigError(f"voice = 'none' needs words and face to predict each other; there is only {sources[0]}")
        super().__init__(teacher)
        self.other = dict(zip(sources, reversed(sources), strict=True))

    def seen(self, source: Modality, features: Mapping[Modality, Padded], batch: Batch) -> Heard:
        return Heard(features[self.other[source]], batch.present[self.other[source]])
