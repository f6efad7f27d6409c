"""A floor that knows only how much was said: the lengths of a clip's streams, and of its words."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from ktnet_lite.data.schema import Split
from ktnet_lite.names import MODALITIES


def amounts(split: Split) -> np.ndarray:
    """Measure how much there is of each clip, (N, 5): steps of each modality, letters of all words and of the last one.

    In a dialogue a "word" is what was said in one exchange, so the last one is the clip's own.
    """
    steps = [split.streams[name].lengths if name in split.streams else np.zeros(len(split)) for name in MODALITIES]
    words = split.words or ((),) * len(split)
    letters = [[len("".join(said)) for said in words], [len(said[-1]) if said else 0 for said in words]]
    return np.log1p(np.stack([*steps, *letters], axis=1))


def length_only(train: Split, test: Split) -> np.ndarray:
    """Predict the scores of the test clips, (N,), by ridge regression on the amounts, their squares and products.

    What a model has learned of *what* was said begins above this. Cross validation on the training clips chooses the
    strength.
    """
    model = make_pipeline(StandardScaler(), PolynomialFeatures(2), StandardScaler(), RidgeCV(np.logspace(-2, 4, 13)))
    return np.asarray(model.fit(amounts(train), train.targets).predict(amounts(test)))
