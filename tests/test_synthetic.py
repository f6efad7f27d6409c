"""The synthetic set does what its knobs say, and its ceiling is one: measured on the data, not on the code."""

from functools import cache
from itertools import chain, combinations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from ktnet_lite.data import synthetic
from ktnet_lite.errors import ConfigError
from ktnet_lite.names import MODALITIES

ALPHAS = np.logspace(-3, 4, 15)
SUBSETS = list(chain.from_iterable(combinations(MODALITIES, n) for n in range(1, 4)))


@cache
def made(redundancy=0.7, audio_noise=0.5, **options):
    return synthetic.make(redundancy=redundancy, audio_noise=audio_noise, **options)


def many(redundancy=0.7, audio_noise=0.5):
    """Thousands of training clips."""
    return made(redundancy, audio_noise, clips=(4000, 1, 1))


def pooled(split, modality):
    """Mean over each clip's steps, (N, D)."""
    stream = split.streams[modality]
    return np.stack([stream.clip(i).mean(axis=0) for i in range(len(stream))])


def raw(split, *modalities):
    return np.hstack([pooled(split, modality) for modality in modalities])


def second_order(split):
    """Pooled words, and pooled face with its products, which undo the mirror."""
    face = pooled(split, "vision")
    return np.hstack([pooled(split, "language"), PolynomialFeatures(2, include_bias=False).fit_transform(face)])


def fitted(features, target, data):
    """Predictions on test of a ridge that was fitted on train; the truth beside them."""
    dataset = data.dataset
    truth = {name: target(name) for name in ("train", "test")}
    probe = make_pipeline(StandardScaler(), RidgeCV(ALPHAS)).fit(features(dataset["train"]), truth["train"])
    return probe.predict(features(dataset["test"])), truth["test"]


def r2(predicted, truth):
    return 1 - np.square(truth - predicted).mean() / truth.var()


def mae(predicted, truth):
    return np.abs(predicted - truth).mean()


def best(data, observed, redundancy=0.7, audio_noise=0.5, split="test"):
    return synthetic.ceiling(data.factors[split], observed, redundancy, audio_noise)


def scores(data):
    return lambda name: data.dataset[name].targets


@pytest.mark.parametrize("options", [{}, {"aligned": True}, {"task": "emotion"}])
def test_same_seed_same_bits(options):
    first, second = (synthetic.make((20, 5, 5), seed=3, **options) for _ in range(2))
    assert first.dataset.checksum == second.dataset.checksum
    assert first.dataset.checksum != synthetic.make((20, 5, 5), seed=4, **options).dataset.checksum
    for name in first.factors:
        np.testing.assert_array_equal(first.factors[name], second.factors[name])


@pytest.mark.parametrize("aligned", [False, True])
def test_it_is_sound_and_of_the_asked_size(aligned):
    data = synthetic.make((30, 10, 20), aligned=aligned)
    data.dataset.validate()
    assert {name: len(data.dataset[name]) for name in data.dataset} == {"train": 30, "valid": 10, "test": 20}
    assert data.dataset.dims == synthetic.DIMS
    lengths = [data.dataset["train"].streams[modality].lengths for modality in MODALITIES]
    assert len(set(lengths[0].tolist())) > 3
    if aligned:
        assert all((other == lengths[0]).all() for other in lengths)
    else:
        assert (lengths[0] < lengths[1]).all() and (lengths[1] < lengths[2]).all()
    assert data.dataset.header.aligned == aligned
    assert "redundancy 0.7" in data.dataset.header.provenance["knobs"]


def test_scores_cover_the_range_and_spread_like_those_of_mosi():
    targets = made().dataset["train"].targets
    assert targets.min() == -3 and targets.max() == 3
    assert 1.4 < targets.std() < 1.7  # MOSI: 1.588
    classes = np.bincount(targets.round().astype(int) + 3, minlength=7) / len(targets)
    assert classes.min() > 0.02 and classes.max() < 0.35


def test_words_hold_their_factor_for_who_can_read_a_not():
    """The factor worked out again from the printed words."""
    data = made()
    for words, factor in zip(data.dataset["test"].words, data.factors["test"].language, strict=True):
        total = sum(
            synthetic.VALENCE.get(word, 0) * (-1 if before == "not" else 1)
            for before, word in zip(("", *words), words, strict=False)
        )
        assert factor == pytest.approx(total / np.sqrt(7.5))  # three events of variance 2.5
        assert sum(word in synthetic.VALENCE for word in words) == 3
    assert any("not" in words for words in data.dataset["test"].words)


def test_a_word_looks_the_same_in_every_split():
    vectors = {}
    for name in ("train", "test"):
        split = made().dataset[name]
        for i, words in enumerate(split.words):
            for word, vector in zip(words, split.streams["language"].clip(i), strict=True):
                np.testing.assert_array_equal(vectors.setdefault(word, vector), vector)
    assert set(vectors) == set(synthetic.VOCABULARY)


def test_encoders_matter():
    """A bag of words misses the "not"; the average face says nothing, until its mirror cue is taken into account."""
    data = made()
    bag = fitted(lambda split: pooled(split, "language"), lambda name: data.factors[name].language, data)
    assert 0.1 < r2(*bag) < 0.5
    average = fitted(lambda split: pooled(split, "vision"), lambda name: data.factors[name].vision, data)
    assert r2(*average) < 0.05
    products = fitted(second_order, lambda name: data.factors[name].vision, data)
    assert r2(*products) > 0.8


def test_the_voice_says_at_the_moment_of_a_word_what_the_word_says():
    """Redundancy 1 and no laughter: at a valence word the voice leans its way, and two words on it does not."""
    data = made(1.0, 0.0, aligned=True)
    split = data.dataset["train"]
    audio = split.streams["audio"]
    direction = np.linalg.svd(audio.values, full_matrices=False)[2][0]
    at, later, valences = [], [], []
    for i, words in enumerate(split.words):
        voice = audio.clip(i) @ direction
        for t, word in enumerate(words[:-2]):
            if word in synthetic.VALENCE and not set(words[t + 1 : t + 4]) & set(synthetic.VALENCE):
                at.append(voice[t])
                later.append(voice[t + 2])
                valences.append(synthetic.VALENCE[word] * (-1 if words[t - 1] == "not" else 1))
    assert abs(np.corrcoef(at, valences)[0, 1]) > 0.5
    assert abs(np.corrcoef(at, valences)[0, 1]) > 3 * abs(np.corrcoef(later, valences)[0, 1])


@pytest.mark.parametrize(("redundancy", "audio_noise"), [(0.0, 0.5), (0.3, 0.0), (0.7, 0.5), (1.0, 0.0), (1.0, 1.0)])
@pytest.mark.slow
def test_what_is_heard_has_the_stated_variance_and_shared_part(redundancy, audio_noise):
    """The regression of what is heard on z_L and z_V: its weights and what it leaves, against the closed form."""
    factors = many(redundancy, audio_noise).factors["train"]
    causes = np.stack([factors.language, factors.vision], axis=1)
    probe = LinearRegression().fit(causes, factors.audio)
    np.testing.assert_allclose(probe.coef_, np.sqrt(redundancy) * np.array([0.8, 0.6]), atol=0.06)
    left = (factors.audio - probe.predict(causes)).var()
    assert left == pytest.approx(1 - redundancy + audio_noise**2, rel=0.08, abs=1e-9)


@pytest.mark.slow
def test_redundancy_lets_words_and_face_predict_the_voice():
    found = []
    for redundancy in (0.0, 0.5, 1.0):
        data = made(redundancy)
        found.append(r2(*fitted(second_order, lambda name, data=data: data.factors[name].audio, data)))
    assert found[0] < 0.05  # nothing to reconstruct
    assert found[0] + 0.1 < found[1] < found[2] - 0.1


def test_redundancy_takes_from_audio_what_it_alone_says():
    gains = []
    for redundancy in (0.0, 0.5, 1.0):
        data = made(redundancy)
        truth = data.dataset["test"].targets
        without, with_audio = (best(data, observed, redundancy) for observed in (("language", "vision"), MODALITIES))
        gains.append(mae(without, truth) - mae(with_audio, truth))
    assert gains[0] > gains[1] + 0.05 > 0.1
    assert gains[2] == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_laughter_lowers_what_the_real_audio_tells_and_leaves_the_rest_alone():
    heard, seen = [], []
    for audio_noise in (0.0, 0.5, 2.0):
        data = made(0.7, audio_noise)
        heard.append(r2(*fitted(lambda split: pooled(split, "audio"), scores(data), data)))
        seen.append(r2(*fitted(second_order, scores(data), data)))
    assert heard[0] - 0.1 > heard[1] > heard[2] + 0.1
    assert seen == pytest.approx([seen[0]] * 3, abs=1e-6)  # the same words and faces, the same scores


def test_ceiling_by_hand():
    factors = synthetic.Factors(*np.array([[1.0], [-2.0], [0.5], [0.0]]))
    shared = np.sqrt(0.5)
    language, vision = 0.7 + 0.7 * shared * 0.8, 0.5 + 0.7 * shared * 0.6
    assert synthetic.ceiling(factors, (), 0.5, 1.0).tolist() == [0.0]
    assert synthetic.ceiling(factors, ("language",), 0.5, 1.0)[0] == pytest.approx(language)
    assert synthetic.ceiling(factors, ("vision",), 0.5, 1.0)[0] == pytest.approx(-2 * vision)
    both = language - 2 * vision
    assert synthetic.ceiling(factors, ("language", "vision"), 0.5, 1.0)[0] == pytest.approx(both)
    # What is heard beyond z_L and z_V is sqrt(0.5) z_A + laughter: variances 0.5 and 1, so a third of it is z_A's.
    beyond = 0.5 - shared * (0.8 * 1 - 0.6 * 2)
    assert synthetic.ceiling(factors, MODALITIES, 0.5, 1.0)[0] == pytest.approx(both + 0.7 * beyond / 3)
    covariance = 0.8 * shared * language + 0.6 * shared * vision + shared * 0.7 * shared
    assert synthetic.ceiling(factors, ("audio",), 0.5, 1.0)[0] == pytest.approx(0.5 * covariance / 2)
    assert synthetic.ceiling(factors._replace(language=np.array([9.0])), ("language",), 0.5, 1.0).tolist() == [3.0]


@pytest.mark.parametrize("redundancy", [0.0, 0.7, 1.0])
@pytest.mark.slow
def test_ceiling_leaves_the_stated_error(redundancy):
    """Everything observed, no laughter: the label noise alone is left, and its mean absolute value is known."""
    factors = many(redundancy, audio_noise=0.0).factors["train"]
    left = factors.scores - synthetic.ceiling(factors, MODALITIES, redundancy, 0.0)
    inside = np.abs(factors.scores) < 2  # where nothing was clipped
    assert np.abs(left[inside]).mean() == pytest.approx(0.3 * np.sqrt(2 / np.pi), rel=0.05)


@pytest.mark.parametrize("redundancy", [0.0, 0.7, 1.0])
@pytest.mark.slow
def test_ceiling_is_monotone_in_what_is_observed(redundancy):
    data = many(redundancy)
    truth = data.dataset["train"].targets
    errors = {observed: mae(best(data, observed, redundancy, split="train"), truth) for observed in SUBSETS}
    for less in SUBSETS:
        for more in SUBSETS:
            if set(less) < set(more):
                assert errors[more] <= errors[less] + 0.01, (less, more)
    if redundancy < 1:
        assert errors[MODALITIES] < errors["language", "vision"] - 0.05


@pytest.mark.slow
@pytest.mark.parametrize("observed", SUBSETS, ids="+".join)
def test_no_probe_beats_the_ceiling(observed):
    """Neither on the factors themselves, with products and thousands of clips, nor on the streams."""
    data = made(clips=(4000, 1, 4000))
    truth = scores(data)
    limit = mae(best(data, observed), truth("test"))
    causes = {name: np.stack([getattr(data.factors[name], m) for m in observed], axis=1) for name in ("train", "test")}
    probe = make_pipeline(PolynomialFeatures(3), StandardScaler(), RidgeCV(ALPHAS)).fit(causes["train"], truth("train"))
    assert limit < mae(probe.predict(causes["test"]), truth("test")) + 0.005
    assert limit < mae(*fitted(lambda split: raw(split, *observed), truth, data)) + 0.005


def test_it_is_neither_trivial_nor_hopeless():
    """Mean-pooled features and a ridge are above chance and well below what can be known."""
    data = made()
    truth = data.dataset["test"].targets
    median = mae(np.median(data.dataset["train"].targets), truth)
    linear = {
        observed: mae(*fitted(lambda split, o=observed: raw(split, *o), scores(data), data)) for observed in SUBSETS
    }
    assert linear["language",] < median - 0.05
    assert linear["language", "vision"] < median - 0.02
    assert linear[MODALITIES] < linear["language", "vision"] - 0.2
    for observed in (("language",), ("vision",), ("language", "vision"), MODALITIES):
        assert mae(best(data, observed), truth) < linear[observed] - 0.15


def test_emotions_follow_the_score():
    data = made(task="emotion")
    targets, factors = data.dataset["train"].targets, data.factors["train"]
    assert targets.shape == (800, 4)
    assert targets.mean(axis=0).min() > 0.1 and targets.mean(axis=0).max() < 0.6
    neutral, happy, sad, angry = targets.T.astype(bool)
    assert np.abs(factors.scores[neutral]).max() < 0.75
    assert factors.scores[happy].min() > 0.5 and factors.scores[~happy].max() <= 0.5
    assert factors.scores[sad | angry].max() < -0.5
    assert factors.audio[sad].max() < synthetic.LOW_VOICE <= factors.audio[angry].min()
    assert not (sad & angry).any()


@pytest.mark.parametrize(
    "knobs",
    [
        {"redundancy": -0.1},
        {"redundancy": 1.1},
        {"redundancy": float("nan")},
        {"audio_noise": -1.0},
        {"audio_noise": float("nan")},
        {"audio_noise": float("inf")},
        {"clips": (10, 0, 5)},
    ],
)
def test_knobs_out_of_range_are_named(knobs):
    with pytest.raises(ConfigError, match=r"redundancy in \[0, 1\], audio_noise >= 0 and clips >= 1, not "):
        synthetic.make(**knobs)
