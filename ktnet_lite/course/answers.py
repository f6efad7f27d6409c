"""Numbers, arrays and functions that answer exercises: each check returns a hint, or None if the answer is right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ktnet_lite.measures.metrics import sentiment_metrics

Check = Callable[..., "str | None"]
CHECKS: dict[str, Check] = {}


def _exercise(number: str) -> Callable[[Check], Check]:
    """Register the check of an exercise."""

    def register(function: Check) -> Check:
        CHECKS[number] = function
        return function

    return register


def _near(value: float, wanted: float) -> bool:
    """Tell whether a number is the wanted one, as it would be rounded on paper."""
    return math.isclose(value, wanted, rel_tol=0.01, abs_tol=1e-9)


@_exercise("1.1")
def _one_number(changed: np.ndarray, y: np.ndarray, s: np.ndarray) -> str | None:
    moved = np.flatnonzero(changed != s)
    if len(moved) != 1 or abs(changed - s).max() >= 0.5:
        return f"Change one number by less than 0.5. You changed {len(moved)}, by up to {abs(changed - s).max():.2f}."
    names = ("acc2_nonzero", "acc2_has_zero", "acc7")
    before, after = ([float(sentiment_metrics(x, y).values[name] or 0) for name in names] for x in (s, changed))
    rises = [name for name, old, new in zip(names, before, after, strict=True) if new > old and name != "acc7"]
    if len(rises) == 2:
        return "Both conventions rise. Which clips does only one of them count?"
    if not rises:
        return "Neither convention rises. A sign has to change, of a clip that only one of the two counts."
    return None if after[-1] == before[-1] else "Acc7 moves too: stay within the same class."


@_exercise("1.2")
def _high_f1(pair: tuple[np.ndarray, np.ndarray]) -> str | None:
    truth, guess = (np.asarray(part, dtype=bool) for part in pair)
    if truth.shape != (100,) or guess.shape != (100,):
        return "Give 100 truths and 100 guesses."
    accuracy = np.mean(truth == guess)

    def f1(truth: np.ndarray, guess: np.ndarray) -> float:
        return sum(
            np.mean(truth == c) * 2 * np.sum((truth == c) & (guess == c)) / (np.sum(truth == c) + np.sum(guess == c))
            for c in (False, True)
            if np.any(truth == c)
        )

    if f1(truth, guess) >= accuracy + 0.02:
        return None
    if f1(guess, truth) >= accuracy + 0.02:
        return (
            "That is the swapped F1. The classes are weighted by how often they occur, not by how often they are said."
        )
    return "Which class has to be said less often than it occurs, so that its hits count for more?"


@_exercise("2.1")
def _parameters_of_heads(counts: dict[int, int]) -> str | None:
    d = 24
    if len(set(counts.values())) > 1:
        return "Heads cut the width, by a reshape. A reshape has no parameters."
    count = next(iter(counts.values()))
    if count == 4 * d * d:
        return "Each of the four maps also has biases."
    return (
        None
        if count == 4 * d * d + 4 * d
        else f"Queries, keys, values and output: four maps of {d} x {d}, with biases."
    )


@_exercise("4.2")
def _mask_of_mult(mask: Callable[[int, int], Tensor]) -> str | None:
    for steps, source in ((4, 4), (4, 8), (8, 4)):
        t, s = torch.arange(steps)[:, None], torch.arange(source)[None]
        wanted = s - t < 1 + abs(source - steps)
        made = torch.as_tensor(mask(steps, source))
        if made.shape != wanted.shape:
            return f"For {steps} and {source} steps the mask has the shape {tuple(made.shape)}: rows are targets."
        if torch.equal(made.bool(), ~wanted):
            return "Your mask is True where a step is forbidden. It should be True where it may be seen."
        if torch.equal(made.bool(), s <= t) and not torch.equal(s <= t, wanted):
            return f"That mask is causal. MulT's is not: for {steps} and {source} steps it allows more."
        if not torch.equal(made.bool(), wanted):
            return f"For {steps} target and {source} source steps it differs: forbidden is s - t >= 1 + |S - T|."
    return None


@_exercise("5.2")
def _smoothing(smoothed: Callable[[Tensor, Tensor, float], Tensor]) -> str | None:
    logits, score, share = torch.tensor([0.3, -1.0, 0.5, 0.0, 0.8, 1.5, 2.0]), torch.tensor(1.8), 0.1
    found = float(smoothed(logits, score, share))
    wanted = float(torch.nn.functional.cross_entropy(logits, torch.tensor(5), label_smoothing=share))
    losses = -logits.log_softmax(0)
    others = float((1 - share) * losses[5] + share * (losses.sum() - losses[5]) / 6)
    if _near(found, others):
        return "You spread the share over the six other classes. Evenly over all seven includes the true one."
    if _near(found, float(losses[5])):
        return "That is the plain cross entropy: nothing has been spread."
    return None if _near(found, wanted) else f"For an example the loss is {found:.4f}, and torch has {wanted:.4f}."


@_exercise("5.5")
def _where_s_goes(s: float) -> str | None:
    if _near(s, math.log(2)):
        return None
    if _near(s, 2.0):
        return "Set the derivative of exp(-s) 2 + s to zero: s is a logarithm."
    return "For a term that stays at 2, minimise exp(-s) 2 + s. The + s is what keeps s from growing for ever."


@_exercise("6.2")
def _sign_test(answer: Sequence[float]) -> str | None:
    p, seeds = answer
    if _near(p, 0.125):
        return "That is one-sided. All three could also have been lost, which is as remarkable."
    if not _near(p, 0.25):
        return "With three seeds there are 2**3 outcomes. Which of them are as extreme as the most extreme one?"
    if seeds == 5:
        return "Five wins in five have p = 2 / 2**5, which is still above 0.05."
    return None if seeds == 6 else "How many wins in a row have 2 / 2**n below 0.05?"


@_exercise("6.3")
def _luck_of_valid(error: float, errors: np.ndarray, clips: int) -> str | None:
    spread = float(np.std(errors))
    if _near(error, spread):
        return "That is how far the error of one clip varies. A mean over many clips varies less."
    if _near(error, spread / math.sqrt(len(errors))):
        return f"That is for the {len(errors)} test clips. Which clips chose the epoch?"
    if _near(error, spread / clips):
        return "The variance of a mean is divided by the number of clips. What about its root?"
    if _near(error, spread**2 / clips):
        return "That is the variance of the mean. Take its root."
    return (
        None if _near(error, spread / math.sqrt(clips)) else "Divide the spread of the errors by the root of the clips."
    )


@_exercise("7.1")
def _limit(laughter: Callable[[float, float], float]) -> str | None:
    for redundancy, trained in ((0.75, 0.0), (0.75, 0.5), (0.5, 1.0)):
        own = 1 - redundancy
        wanted, found = math.sqrt(own + 2 * trained**2), laughter(redundancy, trained)
        if _near(found, wanted):
            continue
        if _near(found, wanted**2):
            return "That is the square. Take its root."
        if _near(found, math.sqrt(own + trained**2)):
            return "A listener who was told of some laughter also believes less of it. Put k into both of its errors."
        return f"At redundancy {redundancy}, trained with {trained}, it is {wanted:.3f}, and yours is {found:.3f}."
    return None


@_exercise("7.2")
def _overtakes(clips: Sequence[int | None]) -> str | None:
    *some, never = clips
    if never is not None:
        return "At redundancy 1 the voice has nothing of its own. Can 16 more features ever pay?"
    if [x + 1 for x in some if x] == [59, 142, 475]:
        return "Off by one: at that number of clips both still cost the same, or the audio more."
    return None if some == [59, 142, 475] else "Compare expected(clips, 18, told) with expected(clips, 2, silence)."


@_exercise("7.3")
def _half_told(limit: float) -> str | None:
    own, loud = 0.25, 3.0
    if _near(limit, math.sqrt(own + loud**2)):
        return None
    if _near(limit, math.sqrt(own + 2 * (loud / 2) ** 2)):
        return "You put in the mean laughter, 1.5. What is squared before the mean is taken?"
    if _near(limit, math.sqrt(own + 2 * loud**2)):
        return "That listener met laughter in every training clip. Half of these are quiet."
    if _near(limit, math.sqrt(own)):
        return "That listener met no laughter. Half of these training clips are loud."
    if _near(limit, own + loud**2):
        return "That is the square. Take its root."
    return "Put the mean of the squared laughter, over quiet and loud clips, in place of n_0^2 in exercise 1."


@_exercise("8.1")
def _seeds(seeds: Sequence[float]) -> str | None:
    if all(_near(a, 60 / k) for a, k in zip(seeds, (2, 5, 11), strict=True)):
        return "The base has to be trained too, with as many seeds as each choice."
    right = all(_near(a, 60 / (k + 1)) for a, k in zip(seeds, (2, 5, 11), strict=True))
    return None if right else "60 networks are shared by the choices and the base."


@_exercise("8.2")
def _interaction(answer: Sequence[float]) -> str | None:
    effect, times = answer
    if _near(effect, -0.3):
        return "That is the effect of both changes together. Subtract what each of them does alone."
    if _near(effect, 0.5):
        return "The size is right. Errors fall with both changes, so the sign is the other one."
    if not _near(effect, -0.5):
        return "The interaction is 0.7 - 1.1 - 1.1 + 1.0."
    if times == 4:
        return "A difference of differences has four means in place of two. What does that do to the variance?"
    return None if times == 2 else "Seeds go with the variance. How many means are in an interaction, and in an effect?"


@_exercise("9.3")
def _gaps(missing: Callable[[Tensor], Tensor]) -> str | None:
    values = torch.zeros(6, 4, 2)  # gap; short voice, its rest padding; quiet first step; sum 0; quiet feature; gap
    values[1, :2] = values[2, 1:] = 5.0
    values[3] = torch.tensor([1.0, -1.0])
    values[4, :, 1] = 5.0
    found = torch.as_tensor(missing(values))
    if found.shape != (6,):
        return f"For 6 clips the answer has the shape {tuple(found.shape)}: one True or False for each clip, (B,)."
    gaps, wanted = found.bool().tolist(), [True, False, False, False, False, True]
    if gaps == [not gap for gap in wanted]:
        return "Yours is True where there is a voice."
    faults = {
        1: "A short voice counts as a gap. Padding is zeros too: ask for a clip in which every step is zeros.",
        2: "A voice whose first step is zeros counts as a gap. Look at all steps.",
        3: "A voice whose features add up to 0 counts as a gap. A sum can be 0 without zeros.",
        4: "A voice with one feature at 0 counts as a gap. Look at all features of a step.",
    }
    wrong = next((text for clip, text in faults.items() if gaps[clip]), "A gap is not seen: all its numbers are 0.")
    return None if gaps == wanted else wrong


@_exercise("10.2")
def _lost_steps(answer: Sequence[float]) -> str | None:
    masked, filled = answer
    if _near(masked, 1.0) and _near(filled, 0.4):
        return None
    if _near(masked, 0.4) and _near(filled, 1.0):
        return "The other way round: which of the two spends attention on what is lost?"
    if _near(masked, 0.4):
        return "A step that is masked gets no weight. What do the weights of the other steps add up to?"
    if _near(filled, 1.0):
        return "A step that is filled in is a step to attention, so it gets its weight. What does it add?"
    if _near(filled, 0.6):
        return "0.6 is the share of the steps that are lost. Which steps still say 1?"
    return "Attention gives a weighted mean, and its weights add up to 1. Weigh the steps that it sees alike."


@_exercise("11.4")
def _clips_for(clips: float) -> str | None:
    have, times = 14, 5
    if _near(clips, have * times**2):
        return None
    if _near(clips, have * times):
        return "Five times the clips make the interval shorter by the root of five only."
    if _near(clips, times**2):
        return "That is how many times as many. How many clips are there now?"
    if abs(clips - have * math.sqrt(times)) < 1:
        return "The root belongs to the number of clips: the width falls with it. Solve for the number."
    return "The width of an interval falls with the root of the number of clips."


@_exercise("13.2")
def _index(share: float) -> str | None:
    if _near(share, 1 / 3):
        return "That is when word 2 ends. How long is a step of the voice?"
    return None if _near(share, 2 / 3) else "Three steps fill the clip. The second of them ends after two thirds of it."


@_exercise("13.3")
def _calm(display: Callable[[np.ndarray, float], np.ndarray]) -> str | None:
    scores = np.array([[0.9, -0.8, 0.7], [0.3, 0.3, -0.3], [-0.2, 0.4, -0.7], [-0.9, 0.1, 0.2], [0.2, 0.9, 0.6]])
    wanted = np.array([[1, -1, 1], [1, -1, 1], [1, -1, -1], [-1, -1, -1], [-1, 1, 1]])
    found = np.asarray(display(scores.copy(), 0.5), dtype=float)
    if found.shape != wanted.shape:
        return f"For scores {scores.shape}, moments by clips, it has the shape {found.shape}. Give a sign for each."
    if np.array_equal(found, np.sign(scores)):
        return "Each sign is shown at once. What is shown while the score is near zero?"
    if (found == 0).any():
        return "Near zero yours shows nothing, so the display still jumps. Keep what was shown."
    kept = np.where(np.abs(scores) > 0.5, scores, np.concatenate([scores[:1], scores[:-1]]))
    if np.array_equal(found, np.sign(kept)):
        return "Near zero yours shows the sign of the score before. Keep the sign that was *shown* before."
    jumps = np.concatenate([np.ones_like(scores[:1]), np.abs(np.diff(scores, axis=0))]) > 0.5
    steps = scores.copy()
    for i in range(1, len(steps)):
        steps[i] = np.where(jumps[i], scores[i], steps[i - 1])
    if np.array_equal(found, np.sign(steps)):
        return "Yours waits for a large step. The score has to be far from zero, however it came there."
    return (
        None if np.array_equal(found, wanted) else f"For {scores[:, 1].tolist()} the signs are {wanted[:, 1].tolist()}."
    )
