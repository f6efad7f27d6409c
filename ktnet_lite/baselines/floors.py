"""Two floors for every table: the best constant prediction, and a linear model of averaged features.

Their weights have a closed form: ``fit`` calls :meth:`~ktnet_lite.model.network.Network.solve` in place of epochs.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor, nn

from ktnet_lite.baselines.blocks import Baseline
from ktnet_lite.data.batching import Batches, Padded
from ktnet_lite.data.schema import Split
from ktnet_lite.model.losses import sentiment_classes, task_loss
from ktnet_lite.model.network import Output
from ktnet_lite.names import Fill, Modality, Pooling, TaskLoss

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4)  # of the penalty on the weights
ABSENT = -30.0  # logit of a class without training clips


class Constant(Baseline):
    """The constant prediction that minimises the loss on the training labels.

    For L1 it is their median. For cross entropy it is the frequency of each class, so that the arg max is the majority
    class and the score is the mean class. For emotions it is the frequency of each emotion.
    """

    closed_form = True

    def __init__(self, dims: Mapping[Modality, int], outputs: tuple[int, ...], **_: object):
        super().__init__(dims, outputs)
        self.logits = nn.Parameter(torch.zeros(outputs))

    @property
    def fills(self) -> tuple[Fill, ...]:
        return ()  # no fill changes its prediction

    def forward(self, streams: Mapping[Modality, Padded]) -> Output:
        clips = len(next(iter(streams.values())).values)
        return Output(self.logits.expand(clips, *self.outputs))

    @torch.no_grad()
    def solve(self, train: Split, valid: Split) -> None:
        targets = torch.from_numpy(np.asarray(train.targets))
        if self.loss == "l1":
            best = targets.float().quantile(0.5)[None]
        elif self.loss == "cross_entropy":
            best = log_frequencies(sentiment_classes(targets), 7)
        else:
            best = torch.stack([log_frequencies(column.long(), 2) for column in targets.T])
        self.logits.copy_(best)


def log_frequencies(classes: Tensor, count: int) -> Tensor:
    """Return the log of each class's share of the clips, (count,)."""
    return (torch.bincount(classes, minlength=count) / len(classes)).log().clamp(min=ABSENT)


class Linear(Baseline):
    """Ridge regression (L1 loss) or logistic regression on one vector per modality, by scikit-learn.

    The vector is the mean over the steps, or the last step (``pooling``).

    The strength of the penalty minimises the loss on the validation set.
    """

    closed_form = True

    def __init__(self, dims: Mapping[Modality, int], outputs: tuple[int, ...], pooling: Pooling = "mean", **_: object):
        super().__init__(dims, outputs)
        self.pooling = pooling
        self.linear = nn.Linear(sum(dims.values()), int(np.prod(outputs)))

    def pooled(self, streams: Mapping[Modality, Padded]) -> Tensor:
        """Reduce each standardised stream to one vector and concatenate: (B, sum of D_m)."""
        reduced = [self.standardised(streams, name) for name in self.observed]
        return torch.cat([x.mean() if self.pooling == "mean" else x.last() for x in reduced], dim=-1)

    def forward(self, streams: Mapping[Modality, Padded]) -> Output:
        return Output(self.linear(self.pooled(streams)).unflatten(-1, self.outputs))

    @torch.no_grad()
    def solve(self, train: Split, valid: Split) -> None:
        (x, y), (valid_x, valid_y) = (self._table(split) for split in (train, valid))
        best = np.inf
        for strength in STRENGTHS:
            weight, bias = solution(x, y, strength, self.loss)
            logits = torch.from_numpy(valid_x @ weight.T + bias).float().unflatten(-1, self.outputs)
            error = task_loss(logits, torch.from_numpy(valid_y), self.loss).item()
            if error < best:
                best = error
                self.linear.weight.copy_(torch.from_numpy(weight))
                self.linear.bias.copy_(torch.from_numpy(bias))

    def _table(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Return one vector per clip, (N, sum of D_m), and the targets of a split."""
        device = self.linear.weight.device
        pooled = torch.empty(len(split), self.linear.in_features)
        for batch in Batches(split, 256, self.observed, device):
            pooled[batch.indices] = self.pooled(batch.streams).cpu()
        return pooled.double().numpy(), np.asarray(split.targets)


def solution(x: np.ndarray, y: np.ndarray, strength: float, loss: TaskLoss) -> tuple[np.ndarray, np.ndarray]:
    """Solve the linear model for a loss: weight (outputs, features) and bias (outputs,)."""
    if loss == "l1":
        model = Ridge(alpha=strength).fit(x, y)
        return model.coef_[None], np.array([model.intercept_])
    if loss == "cross_entropy":
        return _logistic(x, sentiment_classes(torch.from_numpy(y)).numpy(), 7, strength)
    solved = [_logistic(x, column, 2, strength) for column in y.T]
    return np.concatenate([w for w, _ in solved]), np.concatenate([b for _, b in solved])


def _logistic(x: np.ndarray, classes: np.ndarray, count: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Return softmax weights (count, features) and biases (count,); a class without clips is never predicted."""
    weight, bias = np.zeros((count, x.shape[1])), np.full(count, ABSENT)
    present = np.unique(classes)
    if len(present) == 1:
        bias[present] = 0.0
        return weight, bias
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the validation loss chooses among the strengths
        model = LogisticRegression(C=1 / strength, max_iter=1000).fit(x, classes)
    if len(present) == 2:  # scikit-learn then returns one row, the log odds of the second class
        model.coef_ = np.concatenate([np.zeros_like(model.coef_), model.coef_])
        model.intercept_ = np.concatenate([np.zeros(1), model.intercept_])
    weight[present], bias[present] = model.coef_, model.intercept_
    return weight, bias
