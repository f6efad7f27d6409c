"""The consistency loss, Eq. (1), the task loss, Eq. (5), and their sum, Eq. (6), which training minimises."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import NamedTuple, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from ktnet_lite.data.batching import Batch, Padded
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.network import OUTPUTS as OUTPUTS
from ktnet_lite.model.network import Network
from ktnet_lite.model.targets import AudioTarget
from ktnet_lite.model.transfer import mean_and_log_variance
from ktnet_lite.names import Distance, Level, Modality, TaskLoss


def process_mean(value: Tensor) -> Tensor:
    """Return the mean of a number over the processes of a distributed run; without one, return it unchanged."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value / dist.get_world_size()


def sharded_mean(total: Tensor, count: Tensor | float) -> Tensor:
    """Return ``total / count``; in a distributed run, divide by the mean count of all processes.

    DistributedDataParallel averages gradients over processes. With the *mean* count as the divisor, that average is
    the gradient of the mean over the whole batch, whichever process has which clips and steps.
    """
    count = process_mean(torch.as_tensor(count, dtype=total.dtype, device=total.device))
    return total / count.clamp(min=1e-9)  # without any valid step the sum is 0, and so is the mean


def resample(features: Tensor, lengths: Tensor, new_lengths: Tensor, steps: int) -> Tensor:
    """Interpolate linearly in normalised clip time: (B, T, d) of ``lengths`` -> (B, steps, d) of ``new_lengths``.

    All streams span the same clip, so the centre of step j of n lies at (j + 1/2) / n of it, as in
    ``torch.nn.functional.interpolate(align_corners=False)``. Equal lengths leave the features unchanged. Steps beyond
    a new length repeat the last valid step; callers mask them.
    """
    old, new = lengths[:, None], new_lengths[:, None]  # (B, 1)
    step = torch.arange(steps, device=features.device)  # (steps,)
    position = ((2 * step + 1) * old - new) / (2 * new)  # the numerator is an exact integer
    position = position.clamp(min=torch.zeros_like(old), max=old - 1)  # (B, steps)
    below = position.floor().long()
    above = torch.minimum(below + 1, old - 1)
    fraction = (position - below).unsqueeze(-1).to(features.dtype)

    def at(index: Tensor) -> Tensor:
        return features.gather(1, index.unsqueeze(-1).expand(-1, -1, features.shape[-1]))

    return torch.lerp(at(below), at(above), fraction)


def beta_nll(gaussian: Tensor, target: Tensor, beta: float = 0.5) -> Tensor:
    """Return the negative log-likelihood of a target (..., d), times the variance to the power beta, (..., d).

    The reconstruction (..., 2d) holds mean and log-variance. The factor has no gradient: it gives back the weight that
    the likelihood takes from steps with a large variance, on which the mean would else be trained too little (Seitzer
    et al. 2022, Eq. 5). A constant is left out.
    """
    mean, log_variance = mean_and_log_variance(gaussian)
    likelihood = (log_variance + (target - mean).square() * (-log_variance).exp()) / 2
    return likelihood * (beta * log_variance.detach()).exp()


def consistency_loss(
    reconstructed: Padded,
    audio: Padded,
    present: Tensor | None = None,
    kind: Distance = "l2",
    level: Level = "step",
) -> Tensor:
    """l_c of Eq. (1): the mean squared (l2) or absolute (l1) difference over valid steps and dimensions, a scalar.

    With the kind "gaussian", :func:`beta_nll` takes the place of the difference.

    The reconstruction (B, T_m, d) lies on the time line of its source; the audio features (B, T_A, d) are resampled
    to that time line. Clips without audio (``present`` False) do not count. "l2" is the squared Euclidean distance
    divided by d, so that its size does not depend on the width. At the level "clip", the means over the valid steps of
    both are compared.
    """
    if level == "clip":
        reconstructed, audio = Padded(reconstructed.mean()[:, None]), Padded(audio.mean()[:, None])  # (B, 1, d)
    target = resample(audio.values, audio.lengths, reconstructed.lengths, reconstructed.values.shape[1])
    values, target = reconstructed.values.float(), target.float()  # (B, T_m, d)
    if kind == "gaussian":
        distance = beta_nll(values, target)
    else:
        distance = (values - target).square() if kind == "l2" else (values - target).abs()
    weight = reconstructed.full_mask().to(distance.dtype)  # (B, T_m)
    if present is not None:
        weight = weight * present[:, None]
    # Autocast would compute an einsum in half precision, where this sum overflows.
    return sharded_mean((distance.sum(-1) * weight).sum(), weight.sum() * distance.shape[-1])


def sentiment_classes(scores: Tensor) -> Tensor:
    """Round scores in [-3, 3] to classes 0 to 6, halves to even, as the field's Acc7 does."""
    return scores.clamp(-3, 3).round().long() + 3


def task_loss(logits: Tensor, targets: Tensor, kind: TaskLoss, present: Tensor | None = None) -> Tensor:
    """L_e of Eq. (5): cross entropy over 7 classes or 4 binary emotions, or MulT's L1 regression.

    Returns a scalar, the mean over all clips or over the clips that are ``present`` (B,).

    Parameters
    ----------
    logits : Tensor, shape (B, 7), (B, 4, 2) or (B, 1)
        For ``"cross_entropy"``, ``"emotion"`` and ``"l1"``.
    targets : Tensor, shape (B,) or (B, 4)
        Scores in [-3, 3], or zeros and ones.
    """
    if kind == "l1":
        losses = (logits.float().squeeze(-1) - targets).abs()
    elif kind == "cross_entropy":
        losses = F.cross_entropy(logits.float(), sentiment_classes(targets), reduction="none")
    else:
        losses = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten().long(), reduction="none")
        losses = losses.view(targets.shape).mean(1)
    weight = torch.ones_like(losses) if present is None else present.to(losses.dtype)  # (B,)
    return sharded_mean((losses * weight).sum(), weight.sum())


def predictions(logits: Tensor, kind: TaskLoss) -> Tensor:
    """Turn the logits of :func:`task_loss` into scores (B,), or into the probability of each emotion (B, 4).

    With cross entropy, the score is the expected value of the class distribution, so that MAE and Corr are defined.
    """
    if kind == "l1":
        return logits.float().squeeze(-1)
    probabilities = logits.float().softmax(-1)
    if kind == "emotion":
        return probabilities[..., 1]
    return probabilities @ torch.arange(-3.0, 4.0, device=logits.device)


class Objective(nn.Module):
    """Eq. (6), L = L_e + lambda_1 L_V->A + lambda_2 L_L->A, as one module that maps a batch to the terms by name.

    It is a module so that DistributedDataParallel and torch.compile see the whole step. The terms are ``loss`` (the
    total), ``task``, ``vision_to_audio``, ``language_to_audio`` and, for ``joint``, ``audio_task``. Variants other than
    "ours" have only the task loss. Baselines add terms through :meth:`ktnet_lite.model.network.Network.auxiliary`.

    Parameters
    ----------
    model : Network
        Its ``outputs`` imply the task loss.
    audio_target : AudioTarget, optional
        Required for "ours", and only there.
    weights : dict of float
        lambda_1 for vision, lambda_2 for language.
    consistency : {"l2", "l1", "gaussian"}
        Distance of Eq. (1) (Table V); "gaussian" for a model with the ``transfer`` of this name.
    level : {"step", "clip"}
        What Eq. (1) compares: each step of a source, or the means over the clip.
    prefixes : float
        Share of the training clips that the model hears up to a random moment only.
    tutor : Network, optional
        A trained model; the distance from its scores, on the whole clip, is a term with the weight ``distil``.
    distil : float

    Raises
    ------
    ValueError
        "ours" lacks an audio target or a lambda, or another variant has an audio target.
    """

    def __init__(
        self,
        model: Network,
        audio_target: AudioTarget | None = None,
        weights: Mapping[Modality, float] | None = None,
        consistency: Distance = "l2",
        level: Level = "step",
        *,
        prefixes: float = 0.0,
        tutor: Network | None = None,
        distil: float = 0.0,
    ):
        super().__init__()
        if model.reconstructs != (audio_target is not None):
            raise ValueError('give an audio target for the variant "ours", and for no other')
        self.model, self.audio_target = model, audio_target
        if audio_target is not None and (missing := set(model.observed) - set(weights or {})):
            raise ValueError(f"weights has no lambda for {', '.join(sorted(missing))}; add it")
        self.weights, self.consistency, self.level = dict(weights or {}), consistency, level
        self.prefixes, self.distil = prefixes, distil
        self.tutor = None if tutor is None else copy.deepcopy(tutor).requires_grad_(False)

    def train(self, mode: bool = True) -> Objective:
        super().train(mode)
        if self.tutor is not None:
            self.tutor.eval()
        return self

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Modalities that a training batch must hold; a test batch needs only ``model.observed``."""
        return self.model.trained_on if self.audio_target is None else (*self.model.trained_on, "audio")

    def forward(self, batch: Batch, labels: bool = True) -> dict[str, Tensor]:
        """Return the terms; without ``labels``, those of Eq. (1) alone, which need neither score nor fusion."""
        if not labels:
            terms, _ = self._consistency(cast("KTNet", self.model).reconstruct(batch.streams)[1], batch)
            return {"loss": torch.stack(list(terms.values())).sum(), **terms}
        whole, batch = batch, self.heard(batch)
        output = self.model.answer(batch)
        terms = {"task": task_loss(output.logits, batch.targets, self.model.loss)}
        total = terms["task"]
        for name, term in self.model.auxiliary(output, batch).items():
            terms[name] = term
            total = total + self.model.weights[name] * term
        if self.tutor is not None:
            terms["distil"] = self._distance_from(self.tutor, output.logits, whole)
            total = total + self.distil * terms["distil"]
        if self.audio_target is not None:
            consistency, logits = self._consistency(output.reconstructed, batch)
            terms |= consistency
            for source in output.reconstructed:
                total = total + self.weights[source] * terms[f"{source}_to_audio"]
            if logits is not None:
                terms["audio_task"] = task_loss(logits, batch.targets, self.model.loss, batch.present["audio"])
                total = total + terms["audio_task"]
        return {"loss": total, **terms}

    def heard(self, batch: Batch) -> Batch:
        """Cut some of the clips at a random moment, in training; the others stay whole."""
        if not (self.training and self.prefixes):
            return batch
        cut, moment = torch.rand(2, len(batch.targets), device=batch.targets.device)  # (B,) each
        return batch.until(moment.where(cut < self.prefixes, 1.0))

    def _distance_from(self, tutor: Network, logits: Tensor, batch: Batch) -> Tensor:
        """Return the mean absolute difference of the scores, or probabilities, from a tutor's, a scalar."""
        with torch.no_grad():
            taught = predictions(tutor.answer(batch).logits, tutor.loss)
        difference = (predictions(logits, self.model.loss) - taught).abs()
        return sharded_mean(difference.sum(), difference.numel())

    def _consistency(
        self, reconstructed: Mapping[Modality, Padded], batch: Batch
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """Return l_c of Eq. (1) for each source, and the auxiliary logits of the treatment ``joint``."""
        target = cast(AudioTarget, self.audio_target)
        heard, logits = target.heard(batch, list(reconstructed))
        return {
            f"{source}_to_audio": consistency_loss(
                target.read(source, values), *heard[source], self.consistency, self.level
            )
            for source, values in reconstructed.items()
        }, logits

    @torch.no_grad()
    def rebuilt(self, batch: Batch) -> dict[str, Rebuilt]:
        """Return the reconstructions of a batch for each source of A'; none where nothing is reconstructed."""
        if self.audio_target is None:
            return self.model.rebuilt(batch)
        reconstructed = cast("KTNet", self.model).reconstruct(batch.streams)[1]
        heard, _ = self.audio_target.heard(batch, list(reconstructed))
        found: dict[str, Rebuilt] = {}
        for source, values in reconstructed.items():
            real, present = heard[source]
            clips = present.nonzero().squeeze(1)
            found[source] = Rebuilt(self.audio_target.read(source, values).select(clips), real.select(clips), clips)
        return found

    def transfer_moments(self, batch: Batch) -> dict[str, Tensor]:
        """Return the sums over a batch from which :func:`transfer_quality` measures each reconstruction."""
        found: dict[str, Tensor] = {}
        for name, rebuilt in self.rebuilt(batch).items():
            found |= {f"{name}_{what}": value for what, value in rebuilt.moments().items()}
        return found


class Rebuilt(NamedTuple):
    """What was reconstructed of some clips of a batch, and what really was there."""

    reconstructed: Padded  # (n, T, d or 2d)
    real: Padded  # (n, S, d)
    clips: Tensor  # (n,) their places in the batch

    def steps(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return reconstruction (steps, d or 2d), real features (steps, d) and clip (steps,) of all valid steps.

        The real features are brought to the time line of the reconstruction.
        """
        lengths, mask = self.reconstructed.lengths, self.reconstructed.full_mask()
        target = resample(self.real.values, self.real.lengths, lengths, mask.shape[1])
        clips = self.clips[:, None].expand_as(mask)
        return self.reconstructed.values[mask].cpu(), target[mask].cpu(), clips[mask].cpu()

    def moments(self) -> dict[str, Tensor]:
        """Return the sums over valid steps of squared errors, real features and their squares, (d,), and the count."""
        predicted, target, _ = (part.double() for part in self.steps())
        error = predicted[:, : target.shape[1]] - target  # without the doubt
        sums = {"error": error.square().sum(0), "sum": target.sum(0), "square": target.square().sum(0)}
        return sums | {"count": torch.tensor(float(len(target)), dtype=torch.float64)}


def transfer_quality(moments: Mapping[str, Tensor]) -> dict[str, float]:
    """Compute error, standard deviation of the target and R2 for each name from summed moments.

    A low error alone shows nothing: collapsed features (std near 0) are easy to match. R2 compares the error with that
    of predicting their mean. R2 is left out if the target has no variance, and all values if no clip counts. A source
    alone, such as ``vision``, predicts the audio; a pair is ``vision_to_language``.
    """
    quality = {}
    for name in (key.removesuffix("_count") for key in moments if key.endswith("_count")):
        error, total, square, count = (moments[f"{name}_{key}"] for key in ("error", "sum", "square", "count"))
        if not count:
            continue
        variance = (square / count - (total / count).square()).clamp(min=0)  # (d,)
        quality[f"{name}_error"] = (error.mean() / count).item()
        quality[f"{name}_std" if "_to_" in name else "audio_std"] = variance.sqrt().mean().item()
        if variance.sum() > 0:
            quality[f"{name}_r2"] = (1 - error.sum() / (variance.sum() * count)).item()
    return quality
