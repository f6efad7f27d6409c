"""A clip that is scored while it runs: the same numbers as from scratch, at every moment."""

import numpy as np
import pytest
import torch

from ktnet_lite.data.batching import Padded
from ktnet_lite.deploy.dense import Predictor
from ktnet_lite.deploy.stream import Listener, Steps
from ktnet_lite.errors import ConfigError
from ktnet_lite.model.losses import predictions
from ktnet_lite.names import VARIANTS
from small import DIMS, make_model

SYSTEMS = [
    *((variant, {}) for variant in VARIANTS),
    ("any", {"missing": "both", "transfer": "gaussian", "kernel": 3, "pooling": "last"}),
    ("any", {"missing": "token", "kernel": 5, "fusion": "bottleneck"}),
    ("any", {"sharing": "source", "targets": ("vision",)}),
    ("ours", {"transfer": "gaussian", "kernel": 3, "pooling": "last"}),
    ("ours", {"fusion": "bottleneck", "kernel": 3}),
]


def clip(rng: np.random.Generator, observed, longest: int = 12) -> dict[str, Steps]:
    """Streams of all lengths, steps at uneven times; some end together, some of them lack a part."""
    streams = {}
    for name in observed:
        steps = int(rng.integers(0 if len(observed) > 1 else 1, longest))
        times = np.sort(rng.choice(np.arange(1, 41), steps, replace=False)) / 10
        streams[name] = Steps(rng.normal(size=(steps, DIMS[name])).astype(np.float32), times)
    return streams


def from_scratch(model, streams: dict[str, Steps], now: float) -> np.ndarray:
    """The score of the clip up to a moment, as training and evaluation compute it."""
    given = {}
    for name, (values, times) in streams.items():
        known = torch.from_numpy(times <= now)[None]
        if not len(times):
            values, times, known = np.zeros((1, DIMS[name])), np.zeros(1), torch.zeros(1, 1, dtype=torch.bool)
        raw = torch.as_tensor(values, dtype=torch.float32)[None]
        given[name] = Padded(raw, known, times=torch.as_tensor(times)[None])
    with torch.no_grad():
        return predictions(model(given).logits, model.loss).numpy()


def between(streams: dict[str, Steps], before: float, now: float) -> dict[str, Steps]:
    """What arrives after one moment and up to another."""
    arrived = {}
    for name, (values, times) in streams.items():
        new = (before < times) & (times <= now)
        arrived[name] = Steps(values[new], times[new])
    return arrived


@pytest.mark.parametrize(("variant", "options"), SYSTEMS, ids=str)
def test_a_clip_that_runs_is_scored_as_from_scratch_at_every_moment(variant, options):
    model = make_model(variant, "l1", causal=True, **options)
    rng = np.random.default_rng(0)
    for hop in (0.1, 0.5, 0.5, 2.0, 2.0):
        streams, before = clip(rng, model.observed), 0.0
        listener = Listener(model)
        for now in np.arange(hop, 4.05 + hop, hop):
            score = listener.hear(between(streams, before, now), now)
            np.testing.assert_allclose(score, from_scratch(model, streams, now), atol=1e-5)
            before = now


@pytest.mark.parametrize(("variant", "options"), SYSTEMS, ids=str)
def test_a_causal_score_is_that_of_the_beginning_alone(variant, options):
    """What comes later changes nothing; a model that looks ahead would see it."""
    rng, causal = np.random.default_rng(1), make_model(variant, "l1", causal=True, **options)
    streams = clip(rng, causal.observed, 30)
    other = {
        name: Steps(np.where(times[:, None] <= 2, values, 9.0), times) for name, (values, times) in streams.items()
    }
    heard, changed = (Listener(causal) for _ in range(2))
    for now in np.arange(0.5, 4.5, 0.5):
        one, two = (
            listener.hear(between(x, now - 0.5, now), now) for listener, x in ((heard, streams), (changed, other))
        )
        assert (one == two).all() or now > 2
    assert not (one == two).all(), "the later steps count"


def test_batches_of_beginnings_are_those_of_the_listener():
    """Padding and clips of other lengths in the batch change nothing."""
    model, rng = make_model("any", "l1", causal=True, missing="both", kernel=3), np.random.default_rng(2)
    clips = [clip(rng, model.observed, 20) for _ in range(8)]
    batch = {}
    for name in model.observed:
        steps = max(len(streams[name].times) for streams in clips)
        values, times = np.full((8, steps, DIMS[name]), 7.0), np.zeros((8, steps))
        mask = np.zeros((8, steps), bool)
        for i, streams in enumerate(clips):
            count = len(streams[name].times)
            values[i, :count], times[i, :count] = streams[name]
            mask[i] = (np.arange(steps) < count) & (times[i] <= 2.5)
        batch[name] = Padded(torch.tensor(values).float(), torch.tensor(mask), times=torch.tensor(times))
    with torch.no_grad():
        together = predictions(model(batch).logits, model.loss).numpy()
    for i, streams in enumerate(clips):
        alone = Listener(model).hear(between(streams, 0, 2.5), 2.5)
        np.testing.assert_allclose(alone, together[i : i + 1], atol=1e-5)


def test_what_cannot_be_heard_is_refused():
    with pytest.raises(ConfigError, match="looks ahead"):
        Listener(make_model("any"))
    with pytest.raises(ConfigError, match="waits for both sources"):
        Listener(make_model("ours", causal=True, concat="features"))
    listener = Listener(make_model("language", "l1", causal=True))
    one = Steps(np.zeros((1, DIMS["language"]), np.float32), np.array([1.0]))
    listener.hear({"language": one}, 1.0)
    with pytest.raises(ValueError, match="language: a step ended"):
        listener.hear({"language": one}, 2.0)
    with pytest.raises(ValueError, match="does not observe audio"):
        listener.hear({"audio": one}, 3.0)


@pytest.mark.parametrize(("variant", "options"), SYSTEMS, ids=str)
def test_the_form_that_is_exported_does_not_look_ahead_either(variant, options):
    model, rng = make_model(variant, "l1", causal=True, **options), np.random.default_rng(3)
    dense = Predictor(model)
    for steps in (2, 5, 9):
        streams = {}
        for name in model.observed:
            lengths = torch.tensor([steps, 1, int(rng.integers(0, 2)), 2])
            mask = torch.arange(steps) < lengths[:, None]
            streams[name] = Padded(torch.from_numpy(rng.normal(size=(4, steps, DIMS[name]))).float(), mask)
        parts = [part for padded in streams.values() for part in padded[:2]]
        with torch.no_grad():
            expected = predictions(model(streams).logits, model.loss)
            np.testing.assert_allclose(dense(*parts), expected, atol=1e-5)
