"""Checks of exercises: what is right passes, each misconception gets its hint, and no typed answer crashes them."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from ktnet_lite.course.exercises import CHECKS, OPTIONS, check, hint

ROOT = Path(__file__).resolve().parents[1]
Y = np.array([-2.4, -1.6, -0.8, -0.6, 0.0, 0.0, 0.4, 0.8, 1.2, 1.8, 2.2, 3.0])
S = np.array([-1.9, -2.2, 0.3, -0.2, 0.4, -0.3, 0.9, -0.5, 1.4, 2.5, 1.1, 3.6])


def changed(index: int, value: float) -> np.ndarray:
    s = S.copy()
    s[index] = value
    return s


def pair(*counts: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth and guess of clips that are right positive, missed, false alarm, right negative."""
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def mask(steps: int, source: int) -> torch.Tensor:
    return ~torch.ones(steps, source, dtype=torch.bool).triu(1 + abs(source - steps))


def smoothed(logits, score, epsilon, classes=7):
    """Of each class epsilon / 7, or of the six others epsilon / 6."""
    losses = -logits.log_softmax(0)
    true = losses[int(score.round()) + 3]
    return (1 - epsilon) * true + epsilon * (losses.sum() - (classes == 6) * true) / classes


def limit(redundancy, trained):
    return math.sqrt(1 - redundancy + 2 * trained**2)


ERRORS = np.random.default_rng(0).exponential(size=400)


def gaps(values):
    return ~values.any(-1).any(1)


def display(scores, threshold):
    shown = np.sign(scores)
    for i in range(1, len(shown)):
        shown[i] = np.where(abs(scores[i]) > threshold, np.sign(scores[i]), shown[i - 1])
    return shown


def blank(scores, threshold):
    return np.where(abs(scores) > threshold, np.sign(scores), 0)


def forgetful(scores, threshold):
    """Near zero, the sign of the score before."""
    before = np.concatenate([scores[:1], scores[:-1]])
    return np.sign(np.where(abs(scores) > threshold, scores, before))


def leaping(scores, threshold):
    """The sign after the last large step."""
    shown = np.sign(scores)
    for i in range(1, len(shown)):
        shown[i] = np.where(abs(scores[i] - scores[i - 1]) > threshold, np.sign(scores[i]), shown[i - 1])
    return shown


RIGHT = {
    "1.1": changed(5, 0.1),
    "1.2": pair(58, 22, 2, 18),
    "2.1": dict.fromkeys((1, 2, 4, 8), 2400),
    "4.2": mask,
    "5.2": smoothed,
    "5.5": 0.693,
    "6.2": (0.25, 6),
    "6.3": ERRORS.std() / math.sqrt(120),
    "7.1": limit,
    "7.2": [59, 142, 475, None],
    "7.3": 3.04,
    "8.1": [20, 10, 5],
    "8.2": (-0.5, 2),
    "9.3": gaps,
    "10.2": (1, 0.4),
    "11.4": 350,
    "13.2": 0.667,
    "13.3": display,
}
WRONG = {  # a misconception, and a word of its hint
    "1.1": [
        (S, "one number"),
        (changed(2, -0.1), "Both"),
        (changed(0, -2.0), "Neither"),
        (changed(5, 0.9), "less than"),
    ],
    "1.2": [
        (pair(40, 10, 10, 40), "less often"),
        (pair(5, 0, 0, 5), "100"),
        (tuple(pair(58, 22, 2, 18)[::-1]), "swapped"),
    ],
    "2.1": [({1: 2400, 2: 4800}, "reshape"), ({1: 2304, 2: 2304}, "biases"), ({1: 7}, "four maps")],
    "4.2": [
        (lambda t, s: ~mask(t, s), "forbidden"),
        (lambda t, s: torch.ones(t, s).tril(), "causal"),
        (lambda t, s: mask(s, t), "shape"),
        (lambda t, s: torch.ones(t, s), "differs"),
    ],
    "5.2": [
        (lambda *x: smoothed(*x, classes=6), "six"),
        (lambda x, y, _: smoothed(x, y, 0), "plain"),
        (lambda *x: 0, "torch"),
    ],
    "5.5": [(2, "logarithm"), (0, "minimise")],
    "6.2": [((0.125, 6), "one-sided"), ((0.5, 6), "outcomes"), ((0.25, 5), "2**5"), ((0.25, 9), "in a row")],
    "6.3": [
        (ERRORS.std(), "one clip"),
        (ERRORS.std() / math.sqrt(400), "Which clips"),
        (ERRORS.std() / 120, "root"),
        (ERRORS.var() / 120, "variance"),
        (9.0, "Divide"),
    ],
    "7.1": [
        (lambda r, n: limit(r, n) ** 2, "root"),
        (lambda r, n: math.sqrt(1 - r + n**2), "both"),
        (lambda r, n: 9.0, "yours"),
    ],
    "7.2": [([58, 141, 474, None], "Off by one"), ([59, 142, 475, 9], "pay"), ([1, 2, 3, None], "Compare")],
    "7.3": [
        (2.18, "mean laughter"),
        (4.27, "every training clip"),
        (0.5, "no laughter"),
        (9.25, "square"),
        (1.0, "n_0^2"),
    ],
    "8.1": [([30, 12, 60 / 11], "base"), ([1, 2, 3], "shared")],
    "8.2": [
        ((-0.3, 2), "alone"),
        ((0.5, 2), "sign"),
        ((9, 2), "1.1"),
        ((-0.5, 4), "four means"),
        ((-0.5, 1), "How many"),
    ],
    "9.3": [
        (lambda x: ~gaps(x), "where there is a voice"),
        (lambda x: (~x.any(-1)).any(1), "Padding"),
        (lambda x: ~x[:, 0].any(-1), "first step"),
        (lambda x: x.sum((1, 2)) == 0, "add up"),
        (lambda x: ~x[..., 0].any(1), "one feature"),
        (lambda x: ~x.any(-1), "shape"),
        (lambda x: torch.zeros(len(x)), "not seen"),
    ],
    "10.2": [
        ((0.4, 1), "other way round"),
        ((0.4, 0.4), "no weight"),
        ((1, 1), "gets its weight"),
        ((1, 0.6), "lost"),
        ((4, 4), "add up to 1"),
    ],
    "11.4": [(70, "root of five"), (25, "how many times"), (31, "Solve"), (32, "Solve"), (14, "width")],
    "13.2": [(0.333, "ends"), (0.5, "Three steps")],
    "13.3": [
        (lambda x, _: np.sign(x), "at once"),
        (blank, "nothing"),
        (forgetful, "shown"),
        (leaping, "large step"),
        (lambda x, _: np.ones_like(x), "the signs are"),
        (lambda x, _: x[0], "shape"),
    ],
}
GIVEN = {"1.1": {"y": Y, "s": S}, "6.3": {"errors": ERRORS, "clips": 120}}


def stubs() -> dict[str, str]:
    """Stub cells of the notebooks, by exercise; each stands between its exercise and the solution."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for before, cell, after in zip(cells, cells[1:], cells[2:], strict=False):
            source = "".join(cell["source"])
            if number := re.search(r'^check\("(\d+\.\d)"', source, re.MULTILINE):
                chapter, exercise = number[1].split(".")
                assert int(path.stem[:2]) == int(chapter)
                assert f"**Exercise {exercise}.**" in "".join(before["source"])
                assert "".join(after["source"]).startswith(f"# @title Solution {exercise}")
                found[number[1]] = source
    return found


def test_every_check_has_its_stub_and_every_stub_its_check():
    assert stubs().keys() == {*OPTIONS, *CHECKS} and not {*OPTIONS} & {*CHECKS}
    assert CHECKS.keys() == RIGHT.keys() == WRONG.keys()


def test_a_stub_names_the_options():
    for number, source in stubs().items():
        for option in OPTIONS.get(number, ()):
            assert f'"{option}"' in re.sub(r"\n# ", " ", source), number


@pytest.mark.parametrize("number", OPTIONS)
def test_one_option_is_right_and_each_other_has_a_hint(number):
    hints = [hint(number, option) for option in OPTIONS[number]]
    assert hints.count(None) == 1
    others = [text for text in hints if text]
    assert len(set(others)) == len(others) >= 1 and all(text.endswith((".", "?")) for text in others)
    assert "Choose one of" in hint(number, None) and "Choose one of" in hint(number, ["anything"])


@pytest.mark.parametrize("number", CHECKS)
def test_the_right_answer_passes_and_each_misconception_gets_its_hint(number):
    given = GIVEN.get(number, {})
    assert hint(number, RIGHT[number], **given) is None
    for answer, word in WRONG[number]:
        assert word in hint(number, answer, **given), word
    for nonsense in ("x", [], 7, lambda: 0, {}):
        assert hint(number, nonsense, **given)


@pytest.mark.parametrize("number", [*OPTIONS, *CHECKS])
def test_the_untouched_stub_runs_and_says_what_to_do(number, capsys):
    names = {"check": check, "y": Y, "s": S, "dataset": {"valid": range(120)}, "errors": {"ours": [ERRORS]}}
    exec(stubs()[number], names)
    said = capsys.readouterr().out
    todo = ("Choose one of", "Put your answer in place", "Write the function first", "Change one number")
    assert said.startswith(tuple(f"Exercise {number}: {start}" for start in todo)), said


def test_a_stub_as_it_is_says_what_to_do(capsys):
    def unwritten(*_):
        raise NotImplementedError

    assert hint("5.2", unwritten) == "Write the function first."
    assert hint("8.1", None) == "Put your answer in place of None."
    check("0.1", "smaller")
    check("0.1", "same")
    assert capsys.readouterr().out.startswith("Exercise 0.1: right.\nExercise 0.1: Does the gap")
