"""Forced alignment by pocketsphinx: when each word of a known English text is spoken.

D. Huggins-Daines et al., "PocketSphinx: a free, real-time continuous speech recognition system for hand-held devices",
ICASSP 2006. Its model of US English is part of the package. On a sentence of the GRID corpus, the boundaries of words
are 0.025 s from those of the corpus on average.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np

from ktnet_lite.errors import DataError
from ktnet_lite.extract.extras import needed
from ktnet_lite.extract.media import RATE

FRAMES = 100  # per second
POOR = -2.75  # nats per frame; see align
SPELLING = (
    "a AE, b B, c K, d D, e EH, f F, g G, h HH, i IH, j JH, k K, l L, m M, n N, o AO, p P, q K, r R, s S, t T, u AH, "
    "v V, w W, x Z, y Y, z Z"
)
LETTERS: dict[str, str] = dict(re.findall(r"(\w) (\w+)", SPELLING))  # to phones of the CMU dictionary
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
REMEDY = "check the text, or spread its words evenly: --words spread"


def align(words: Sequence[str], sound: np.ndarray | Iterable[np.ndarray]) -> np.ndarray:
    """Find when each word is spoken.

    A word that the dictionary lacks is pronounced by its letters; digits are read one by one. A word without a Latin
    letter or a digit gets the time between its neighbours.

    A text that does not match the sound is recognised in two ways: pocketsphinx finds no path through it, or the mean
    log-likelihood of its words, relative to the best candidate of each frame, is below ``POOR``. On 21 English
    clips of 1 to 10 s, this accepts all 21 right texts and rejects 99 % of 294 wrong ones; with other voices 10 dB
    below, 20 and 88 %. A text that is wrong in a few words, or is a single word, may pass.

    The time per second of sound grows with the length: 20 ms in a clip of seconds, 85 ms in one of 7 minutes, which
    takes 60 MB.

    Returns a float64 array (T, 2): start and end of each word in seconds, in steps of 0.01 s.

    Parameters
    ----------
    words : sequence of str
        As :func:`~ktnet_lite.extract.transcript.words_of` gives them.
    sound : float32 array (N,), or blocks of it
        Samples in [-1, 1] at 16 kHz.


    Raises
    ------
    DataError
        Text and sound do not match, or no word is in the dictionary.
    ConfigError
        pocketsphinx is not installed.
    """
    decoder = _decoder()
    names = [_entry(decoder, word) for word in words]
    if all(name is None or name.startswith("~") for name in names):
        raise DataError(f"no word is in pocketsphinx's English dictionary: {REMEDY}")
    pcm = b"".join(map(_pcm, [sound] if isinstance(sound, np.ndarray) else sound))
    segments = _decode(decoder, [name for name in names if name], pcm)
    if len(segments) != sum(map(bool, names)) or _score(segments) < POOR:
        raise DataError(f"text and sound do not match: {REMEDY}")
    times = np.full((len(words), 2), np.nan)  # (T, 2)
    times[[name is not None for name in names]] = [(part.start_frame, part.end_frame + 1) for part in segments]
    duration = len(pcm) / 2 / RATE
    return _filled(words, np.minimum(times / FRAMES, duration), duration)


def spread(words: Sequence[str], start: float, end: float) -> np.ndarray:
    """Divide the time from ``start`` to ``end`` among words by their numbers of letters; times of shape (T, 2)."""
    edges = np.cumsum([0, *map(len, words)])
    edges = start + (end - start) * edges / edges[-1]
    return np.stack([edges[:-1], edges[1:]], axis=1)


@cache
def _decoder() -> Any:
    return needed("pocketsphinx").Decoder(lm=None, loglevel="FATAL")


def _entry(decoder: Any, word: str) -> str | None:
    """Name a word's entry in the dictionary; a guessed one begins with ~ and is added."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    for form in (word, plain):
        if decoder.lookup_word(form):
            return form
    phones = [decoder.lookup_word(DIGITS[int(c)]) if c.isdecimal() else LETTERS.get(c) for c in plain]
    if not any(phones):
        return None
    name = f"~{plain}"
    if not decoder.lookup_word(name):
        decoder.add_word(name, " ".join(filter(None, phones)), update=False)
    return name


def _pcm(block: np.ndarray) -> bytes:
    return (np.nan_to_num(block).clip(-1, 1) * 32767).astype("<i2").tobytes()


def _decode(decoder: Any, names: Sequence[str], pcm: bytes) -> list[Any]:
    """Align; a result without silences and noises, or nothing if there is no path through the text.

    The second pass that pocketsphinx has for phones gives the same times of words, and fails on clips of a minute.
    """
    if not pcm:
        return []
    decoder.reinit_feat()  # otherwise its estimate of the noise comes from the clip before
    try:
        decoder.set_align_text(" ".join(names))
        decoder.start_utt()
        decoder.process_raw(pcm, full_utt=True)
        decoder.end_utt()
    except RuntimeError:
        _decoder.cache_clear()  # it may be left within an utterance
        return []
    return [part for part in decoder.seg() if part.word[0] not in "<["] if decoder.hyp() else []


def _score(segments: Sequence[Any]) -> float:
    """Compute the mean log-likelihood per frame, in nats, of the words whose pronunciation is known."""
    known = [part for part in segments if part.word[0] != "~"]
    frames = sum(part.end_frame + 1 - part.start_frame for part in known)
    return sum(math.log(part.ascore or 5e-324) for part in known) / frames


def _filled(words: Sequence[str], times: np.ndarray, duration: float) -> np.ndarray:
    """Give each run of words without times the time between its neighbours."""
    missing = np.isnan(times[:, 0])
    for absent, run in groupby(range(len(words)), key=missing.__getitem__):
        if absent:
            first, *_, last = [*run] * 2
            start = times[first - 1, 1] if first else 0.0
            end = times[last + 1, 0] if last + 1 < len(words) else duration
            times[first : last + 1] = spread(words[first : last + 1], start, end)
    return times
