"""Synthetic clips whose cause is known: a latent sentiment drives words, face and voice, which share a part of it.

Each clip has moments at which an event occurs:

- Words: three valence words ("great", "awful", ...); a preceding "not" flips the valence. ``z_L`` is the standardised
  sum of the valences.
- Face: three expressions. The face is mirrored in half of the clips, and a second cue shows in which, so a model must
  combine both to read an expression. ``z_V`` is the standardised sum of the expressions.
- Voice: it follows the valences and the expressions at their moments, without "not" or mirror, and adds three events of
  its own, ``z_A``. With redundancy r its message is ``u = sqrt(r) (0.8 z_L + 0.6 z_V) + sqrt(1 - r) z_A``.
- Score: ``y = 0.7 z_L + 0.5 z_V + 0.7 u + 0.3 noise``, clipped to [-3, 3].
- Background laughter of strength ``audio_noise``: it sounds like the voice, at the moments of the voice's own events.

So audio states plainly, step by step, what words and face encode in a way that is hard to read ("not", the mirrored
face). Under this condition a reconstruction of audio can teach more than the labels of a few clips do. At redundancy 0
the voice is independent of words and face, and a reconstruction teaches nothing. A reconstruction can beat the real
audio because vision and language predict the voice but not the laughter. This is an effect of learning from finitely
many clips: observing more never makes the best possible predictor worse.

The standard deviation of the score is 1.15 at redundancy 0, 1.52 at 0.7 and 1.59 (as in MOSI) at 1. To compare errors
across redundancies, give the error of the training median beside them.

:func:`ceiling` is the best possible predictor from a set of observed modalities.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ktnet_lite.data.schema import Dataset, Header, Split, Stream
from ktnet_lite.errors import ConfigError
from ktnet_lite.names import SENTIMENT_RANGE, SPLITS, Modality, Task

VALENCE = {
    **dict.fromkeys(("great", "wonderful", "brilliant", "superb"), 2.0),
    **dict.fromkeys(("good", "nice", "funny", "fine"), 1.0),
    **dict.fromkeys(("bad", "boring", "slow", "weak"), -1.0),
    **dict.fromkeys(("awful", "terrible", "horrible", "dreadful"), -2.0),
}
FILLERS = (
    "the",
    "a",
    "movie",
    "film",
    "it",
    "was",
    "is",
    "and",
    "so",
    "but",
    "then",
    "i",
    "you",
    "we",
    "they",
    "actor",
)
VOCABULARY = (*FILLERS, "not", *VALENCE)
DIMS: dict[Modality, int] = {"language": 32, "vision": 16, "audio": 16}
EVENTS = 3  # of each kind in a clip
SHARE = {"language": 0.8, "vision": 0.6}  # of the redundant part of the voice; the squares add up to 1
WEIGHT = {"language": 0.7, "vision": 0.5, "audio": 0.7}  # of the score
NEGATED = 0.25  # share of valence words that a "not" flips
LABEL_NOISE = 0.3
LOW_VOICE = -0.75  # a lower voice is sad, a higher one angry
FRAME_NOISE = {"vision": 0.1, "audio": 0.02}
RATE = {"language": 1.0, "vision": 1.5, "audio": 2.0}  # steps per word


class Factors(NamedTuple):
    """The latent factors of one split, each of shape (N,)."""

    language: np.ndarray  # z_L
    vision: np.ndarray  # z_V
    audio: np.ndarray  # u + audio_noise * laughter, as an ideal listener hears it
    scores: np.ndarray  # y, before clipping


class Causes(NamedTuple):
    """What happens in one clip; moments are in clip time, from 0 to 1."""

    words: tuple[str, ...]
    slots: np.ndarray  # (EVENTS,) which words have a valence
    valences: np.ndarray  # (EVENTS,)
    expressions: np.ndarray  # (EVENTS,)
    own: np.ndarray  # (EVENTS,) of the voice alone
    laughter: np.ndarray  # (EVENTS,)
    seen: np.ndarray  # (EVENTS,) moments of the expressions
    heard: np.ndarray  # (EVENTS,) moments of the voice's own events and of the laughter
    mirror: float  # -1 or 1


class World(NamedTuple):
    """What all clips of a data set share."""

    redundancy: float
    audio_noise: float
    aligned: bool
    embedding: dict[str, np.ndarray]  # of words (words, D_L), face (2, D_V) and voice (1, D_A)


class Synthetic(NamedTuple):
    """A data set, the latent factors and the causes of each split's clips, and what all clips share."""

    dataset: Dataset
    factors: dict[str, Factors]
    causes: dict[str, list[Causes]]
    world: World


def make(
    clips: tuple[int, int, int] = (800, 200, 400),
    redundancy: float = 0.7,
    audio_noise: float = 0.5,
    aligned: bool = False,
    seed: int = 0,
    task: Task = "sentiment",
) -> Synthetic:
    r"""Draw a synthetic data set.

    Parameters
    ----------
    clips : tuple of int
        Clips in train, valid and test.
    redundancy : float in [0, 1]
        Share of the variance of the voice's message ``u`` that words and face determine.
    audio_noise : float
        Standard deviation of the laughter, in units of ``u``.
    aligned : bool
        Whether all streams share a time line, instead of each having its own frame rate.
    seed : int
    task : {"sentiment", "emotion"}
        Emotion labels: neutral (\|y\| < 0.75), happy (y > 0.5), sad (y < -0.5, low voice) and angry (y < -0.5, high
        voice).

    Raises
    ------
    ConfigError
        A parameter is out of range.
    """
    if not (0 <= redundancy <= 1 and 0 <= audio_noise < np.inf and min(clips) >= 1):
        raise ConfigError(
            "synthetic data needs redundancy in [0, 1], audio_noise >= 0 and clips >= 1, "
            f"not {redundancy}, {audio_noise} and {clips}"
        )
    rng = np.random.default_rng(seed)
    # Shared by all splits: word vectors, and directions of face and voice in feature space.
    embedding = {"words": rng.normal(size=(len(VOCABULARY), DIMS["language"]))}
    directions: dict[Modality, int] = {"vision": 2, "audio": 1}
    for modality, count in directions.items():
        basis, _ = np.linalg.qr(rng.normal(size=(DIMS[modality], count)))
        embedding[modality] = 2.0 * basis.T  # (directions, D)
    world = World(redundancy, audio_noise, aligned, embedding)
    splits, factors, causes = {}, {}, {}
    for name, count in zip(SPLITS, clips, strict=True):
        streams, values, causes[name] = map(list, zip(*(_clip(rng, world) for _ in range(count)), strict=True))
        factors[name] = Factors(*np.array(values).T)
        splits[name] = Split(
            {modality: Stream.from_clips([stream[modality] for stream in streams]) for modality in DIMS},
            _targets(factors[name], task),
            tuple(f"{name}_{i}" for i in range(count)),
            tuple(clip.words for clip in causes[name]),
        )
    provenance = {
        "source": "made by ktnet_lite.data.synthetic",
        "knobs": f"redundancy {redundancy}, audio_noise {audio_noise}, seed {seed}",
        "licence": "none needed",
    }
    dataset = Dataset.collect(Header("synthetic", task, aligned, provenance), splits.items())
    return Synthetic(dataset, factors, causes, world)


def ceiling(factors: Factors, observed: Iterable[Modality], redundancy: float, audio_noise: float) -> np.ndarray:
    """Predict the best possible scores, (N,), from the factors of the observed modalities.

    The prediction is the best linear predictor of y from ``z_L``, ``z_V`` and the heard voice, clipped like the labels.
    It equals the conditional mean of y unless audio is observed without language (``z_L`` takes few values and is not
    normal). The residual of y is then symmetric, so the clipped prediction is the conditional median of the label, and
    no predictor from these factors has a lower mean absolute error.

    Language and vision inform about the score only through ``z_L`` and ``z_V``; if both are observed, audio adds only
    the heard sum. For these sets the prediction bounds every network. With audio but not both of the others it is a
    yardstick: a model that separates the three sources in the voice, by size or place, knows more than the sum.

    Parameters
    ----------
    factors : Factors
        The factors of one split.
    observed : iterable of str
        Modalities; without any, the prediction is constant.
    redundancy, audio_noise : float
        The arguments of :func:`make`.
    """
    observed = tuple(observed)
    r = redundancy
    names = ("language", "vision", "own", "laughter")
    voice = np.array([np.sqrt(r) * SHARE["language"], np.sqrt(r) * SHARE["vision"], np.sqrt(1 - r), 0.0])
    score = np.array([WEIGHT["language"], WEIGHT["vision"], 0.0, 0.0]) + WEIGHT["audio"] * voice
    heard = voice + audio_noise * np.eye(4)[3]
    rows = {"language": np.eye(4)[0], "vision": np.eye(4)[1], "audio": heard}
    seen = np.array([rows[name] for name in observed]).reshape(-1, len(names))  # (observed, causes), unit variances
    weights = np.linalg.lstsq(seen @ seen.T, seen @ score, rcond=None)[0]  # (observed,)
    shape = len(observed), len(factors.scores)
    values = np.array([getattr(factors, name) for name in observed]).reshape(shape)  # (observed, N)
    return np.clip(weights @ values, *SENTIMENT_RANGE)


def redraw(made: Synthetic, split: str, given: Iterable[Modality], seed: int) -> Stream:
    """Draw the voice of each clip once more, while words, face or both stay as they are.

    Over many seeds, the voices spread as widely as what is given leaves open: no reconstruction can know more. A voice
    is as long as the clip's own.

    Parameters
    ----------
    split : {"train", "valid", "test"}
    given : iterable of str
        "language", "vision" or both.
    """
    given, rng = set(given), np.random.default_rng(seed)
    voices = []
    for old in made.causes[split]:
        new = _causes(rng, len(old.words))
        if "language" in given:
            new = new._replace(words=old.words, slots=old.slots, valences=old.valences)
        if "vision" in given:
            new = new._replace(expressions=old.expressions, seen=old.seen)
        voices.append(_audio(rng, new, made.world))
    return Stream.from_clips(voices)


def _causes(rng: np.random.Generator, count: int) -> Causes:
    """Draw what happens in a clip of so many words."""
    words = list(rng.choice(FILLERS, size=count))
    slots = np.sort(rng.choice(np.arange(1, count, 2), size=EVENTS, replace=False))  # room for a "not" before each
    valences = np.empty(EVENTS)
    for k, slot in enumerate(slots):
        words[slot] = str(rng.choice(list(VALENCE)))
        negated = rng.random() < NEGATED
        if negated:
            words[slot - 1] = "not"
        valences[k] = VALENCE[words[slot]] * (-1 if negated else 1)
    valences /= np.sqrt(2.5 * EVENTS)  # a valence has variance 2.5
    expressions, own, laughter = rng.normal(size=(3, EVENTS)) / np.sqrt(EVENTS)
    centres = _centres(count)
    seen, heard = rng.choice(centres, EVENTS), rng.choice(centres, EVENTS)
    mirror = float(rng.choice([-1.0, 1.0]))
    return Causes(tuple(str(word) for word in words), slots, valences, expressions, own, laughter, seen, heard, mirror)


def _centres(count: int) -> np.ndarray:
    """Return the times of a clip's words, in clip time from 0 to 1."""
    return (np.arange(count) + 0.5) / count


def _track(modality: Modality, count: int, aligned: bool, *events: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Sum bumps of some strengths at some moments, (moments, strengths), on the frames of a modality, shape (T,)."""
    steps = count if aligned else round(count * RATE[modality])
    frames = (np.arange(steps) + 0.5) / steps
    return np.add.reduce([_bump((frames[:, None] - moments) * count) @ strength for moments, strength in events])


def _audio(rng: np.random.Generator, causes: Causes, world: World) -> np.ndarray:
    """Let a voice be heard, (T_A, D_A)."""
    count, shared = len(causes.words), np.sqrt(world.redundancy)
    voice = _track(
        "audio",
        count,
        world.aligned,
        (_centres(count)[causes.slots], shared * SHARE["language"] * causes.valences),
        (causes.seen, shared * SHARE["vision"] * causes.expressions),
        (causes.heard, np.sqrt(1 - world.redundancy) * causes.own + world.audio_noise * causes.laughter),
    )
    audio = voice[:, None] @ world.embedding["audio"]  # (T_A, D_A)
    return (audio + FRAME_NOISE["audio"] * rng.normal(size=audio.shape)).astype(np.float32)


def _clip(rng: np.random.Generator, world: World) -> tuple[dict[Modality, np.ndarray], tuple[float, ...], Causes]:
    """Draw one clip: its three streams, its factors and its causes."""
    causes = _causes(rng, int(rng.integers(6, 12)))
    words, mirror = causes.words, causes.mirror
    face = mirror * _track("vision", len(words), world.aligned, (causes.seen, causes.expressions))
    vision = np.stack([face, np.full(len(face), 0.5 * mirror)], axis=1) @ world.embedding["vision"]  # (T_V, D_V)
    streams: dict[Modality, np.ndarray] = {
        "language": world.embedding["words"][[VOCABULARY.index(word) for word in words]].astype(np.float32),
        "vision": (vision + FRAME_NOISE["vision"] * rng.normal(size=vision.shape)).astype(np.float32),
        "audio": _audio(rng, causes, world),
    }
    r, z_l, z_v = world.redundancy, causes.valences.sum(), causes.expressions.sum()
    u = np.sqrt(r) * (SHARE["language"] * z_l + SHARE["vision"] * z_v) + np.sqrt(1 - r) * causes.own.sum()
    y = WEIGHT["language"] * z_l + WEIGHT["vision"] * z_v + WEIGHT["audio"] * u + LABEL_NOISE * rng.normal()
    return streams, (z_l, z_v, u + world.audio_noise * causes.laughter.sum(), y), causes


def _bump(x: np.ndarray) -> np.ndarray:
    """Return exp(-x^2 / 2), rounded as SciPy's normal density over its peak is: the clips keep their checksums."""
    peak = 1 / np.sqrt(2 * np.pi)
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi) / peak


def _targets(factors: Factors, task: Task) -> np.ndarray:
    y = factors.scores
    if task == "sentiment":
        return np.clip(y, *SENTIMENT_RANGE).astype(np.float32)
    low = factors.audio < LOW_VOICE
    return np.stack([np.abs(y) < 0.75, y > 0.5, (y < -0.5) & low, (y < -0.5) & ~low], axis=1).astype(np.int64)
