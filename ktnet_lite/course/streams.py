"""Figures of chapter 1: clips, padding, labels, what a score rewards, and the parts of the synthetic voice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from ktnet_lite.data import synthetic
from ktnet_lite.data.schema import Split
from ktnet_lite.names import Modality
from ktnet_lite.reporting.letters import literal
from ktnet_lite.reporting.plots import COLOURS, GREY, figure, legend

CLASSES = np.arange(-3, 4)
SETS: dict[tuple[Modality, ...], tuple[str, str, str]] = {
    ("vision",): ("face", COLOURS["vision"], "-"),
    ("language",): ("words", COLOURS["language"], "-"),
    ("audio",): ("voice", COLOURS["audio"], "-"),
    ("language", "vision"): ("words + face", COLOURS["reconstructed"], "-"),
    ("language", "vision", "audio"): ("all three", GREY, "--"),
}
REDUNDANCIES = (0.0, 0.25, 0.5, 0.75, 1.0)
CLIPS = 300  # test clips for each error


def clip(split: Split, index: int) -> Figure:
    """Plot the words of one clip, and its face and voice as heat maps (steps by features) over the same time."""
    drawn, (words, *tracks) = figure(1, height=4.6, rows=3)
    assert split.words is not None
    spoken = split.words[index]
    for t, word in enumerate(spoken):
        middle = (t + 0.5) / len(spoken)
        words.text(middle, 0.3 + 0.4 * (t % 2), literal(word), ha="center", va="center", color=COLOURS["language"])
    for edge in np.arange(1, len(spoken)) / len(spoken):
        words.axvline(edge, color=GREY, alpha=0.15, linewidth=0.8)
    words.set(ylim=(0, 1), yticks=[], ylabel=f"words\n{len(spoken)} steps")
    shown: tuple[tuple[Modality, str], ...] = (("vision", "face"), ("audio", "voice"))
    for panel, (name, label) in zip(tracks, shown, strict=True):
        values = split.streams[name].clip(index)  # (T_m, D_m)
        bound = np.abs(values).max()
        panel.imshow(
            values.T, aspect="auto", extent=(0, 1, 0, values.shape[1]), cmap="PuOr", vmin=-bound, vmax=bound, zorder=2
        )
        panel.set(yticks=[], ylabel=f"{label}\n{len(values)} steps")
        panel.yaxis.label.set_color(COLOURS[name])
    words.yaxis.label.set_color(COLOURS["language"])
    for panel in (words, *tracks):
        panel.grid(False)
        panel.set(xlim=(0, 1), xticks=[])
    tracks[-1].set(xticks=[0, 1], xticklabels=["start", "end"], xlabel="time in the clip")
    return drawn


def padding(mask: np.ndarray, texts: Sequence[Sequence[str]]) -> Figure:
    """Plot a batch as a grid of clips by steps: valid steps are blue, padding is grey, and each cell has a text."""
    clips, steps = mask.shape
    drawn, (panel,) = figure(1, height=0.7 + 0.5 * clips)
    colours = ListedColormap([COLOURS["missing"], COLOURS["language"]])
    panel.imshow(mask, cmap=colours, vmin=0, vmax=1, aspect="auto", alpha=0.35)
    for i in range(clips):
        for t in range(steps):
            panel.text(t, i, texts[i][t], ha="center", va="center", color=GREY)
    panel.grid(False)
    panel.set_xticks(range(steps), [f"step {t}" for t in range(steps)])
    panel.set_yticks(range(clips), [f"clip {i}" for i in range(clips)])
    return drawn


def timeline(clips: Mapping[str, tuple[Sequence[str], np.ndarray]]) -> Figure:
    """Plot spoken words as boxes on a time line in seconds, one row per clip; the gaps between boxes are silence.

    ``clips`` maps the name of a row to its words and their (start, end) in seconds, shape (T, 2).
    """
    drawn, (panel,) = figure(1, height=0.8 + 0.9 * len(clips))
    for y, (words, intervals) in enumerate(clips.values()):
        for t, (word, (start, end)) in enumerate(zip(words, intervals, strict=True)):
            panel.barh(y, end - start, left=start, height=0.22, color=COLOURS["language"], alpha=0.5, edgecolor=GREY)
            above = -0.3 if t % 2 else 0.3
            panel.text((start + end) / 2, y + above, literal(word), ha="center", va="center", fontsize=8, color=GREY)
    panel.set_yticks(range(len(clips)), [literal(name) for name in clips])
    panel.set(xlabel="seconds from the start of the clip", xlim=(0, None), ylim=(len(clips) - 0.4, -0.6))
    panel.grid(False, axis="y")
    return drawn


def intervals_of(rhythm: np.ndarray) -> np.ndarray:
    """Compute start and end of each word in seconds, (T, 2), from the rhythm features of ``mosi-words``, (T, 5).

    A word starts after the previous word and the pause between them. Overlapping words are placed one after another.
    """
    duration, before, after = rhythm[:, 0], rhythm[:, 1], rhythm[:, 2]
    starts = before[0] + np.concatenate([[0.0], np.cumsum(duration[:-1] + after[:-1])])
    return np.stack([starts, starts + duration], axis=1)


def labels(targets: Mapping[str, np.ndarray]) -> Figure:
    """Plot the share of clips in each of the seven classes, one panel per set of scores (N,), with counts above."""
    drawn, panels = figure(len(targets), height=2.8)
    counted = {name: np.bincount(np.clip(x, -3, 3).round().astype(int) + 3, minlength=7) for name, x in targets.items()}
    highest = max((counts / counts.sum()).max() for counts in counted.values())
    for panel, (name, counts) in zip(panels, counted.items(), strict=True):
        bars = panel.bar(CLASSES, counts / counts.sum(), color=COLOURS["language"], alpha=0.6, linewidth=0)
        panel.bar_label(bars, counts, fontsize=8, color=GREY)
        panel.set(title=literal(name), xlabel="class", xticks=CLASSES, ylim=(0, 1.15 * highest))
        panel.grid(False, axis="x")
    panels[0].set_ylabel("share of the clips")
    return drawn


def always_negative(marks: Mapping[str, float]) -> Figure:
    """Plot the weighted F1 of always predicting "negative" over the share p of negative clips, correct and swapped.

    ``marks`` maps names to shares, which are drawn as dotted lines.
    """
    drawn, (panel,) = figure(1, height=3.0)
    p = np.linspace(0, 1, 101)
    panel.plot(p, 2 * p / (1 + p), color=COLOURS["valid"], label="F1, arguments swapped: 2p / (1 + p)")
    panel.plot(p, p, color=GREY, label="Acc2: p")
    panel.plot(p, 2 * p**2 / (1 + p), color=COLOURS["language"], label="F1, weighted by the truth: 2p² / (1 + p)")
    for name, share in marks.items():
        panel.axvline(share, color=GREY, linestyle=":")
        panel.annotate(name, (share, 0.02), xytext=(4, 0), textcoords="offset points", fontsize=9, color=GREY)
    panel.set(xlabel="p, share of negative clips", ylabel="score of knowing nothing", xlim=(0, 1), ylim=(0, 1))
    legend(panel)
    return drawn


def testbed(redundancy: float, noise: float) -> Figure:
    """Plot the voice track of one clip and its parts (left), and the best possible MAE over the redundancy (right)."""
    drawn, (left, right) = figure(2, height=3.4)
    styles = {"heard": (COLOURS["audio"], 3.0), "what words and face hold": (COLOURS["reconstructed"], 1.5)}
    styles |= {"the voice's own": (COLOURS["valid"], 1.5), "laughter": (COLOURS["missing"], 1.5)}
    for name, track in voice_parts(redundancy, noise).items():
        colour, width = styles[name]
        time = (np.arange(len(track)) + 0.5) / len(track)
        left.plot(time, track, color=colour, linewidth=width, label=name, alpha=0.5 if name == "heard" else 1.0)
    left.set(xlabel="time in the clip", ylabel="voice track", xlim=(0, 1), ylim=(-1.5, 1.9))
    errors = [best_possible(r, noise) for r in REDUNDANCIES]
    for observed, (label, colour, dashes) in SETS.items():
        right.plot(REDUNDANCIES, [row[observed] for row in errors], dashes, color=colour, label=label)
    right.plot(REDUNDANCIES, [row[()] for row in errors], ":", color=GREY, label="none: the median")
    right.axvline(redundancy, color=GREY, alpha=0.3, linewidth=4, ymax=0.7)
    right.set(xlabel="redundancy", ylabel="best possible MAE", ylim=(0, 1.9))
    for panel in (left, right):
        legend(panel, ncols=2, loc="upper center")
    return drawn


def voice_parts(redundancy: float, noise: float) -> dict[str, np.ndarray]:
    """Return the voice track of one clip and its three parts, each (T_A,); the track is the sum of the parts.

    The parameters scale the parts but do not change the random draws, so each part can be read from another data set.
    """
    plain = _voice(0.0, 0.0)
    return {
        "heard": _voice(redundancy, noise),
        "what words and face hold": np.sqrt(redundancy) * _voice(1.0, 0.0),
        "the voice's own": np.sqrt(1 - redundancy) * plain,
        "laughter": _voice(0.0, noise) - plain,
    }


@cache
def best_possible(redundancy: float, noise: float) -> dict[tuple[Modality, ...], float]:
    """Compute the MAE of the best possible predictor by the modalities that it observes; for none, (), the median."""
    dataset, factors, *_ = synthetic.make((1, 1, CLIPS), redundancy, noise)
    targets = dataset["test"].targets
    guesses = {observed: synthetic.ceiling(factors["test"], observed, redundancy, noise) for observed in SETS}
    guesses[()] = np.full(CLIPS, np.median(targets))
    return {observed: float(np.abs(guess - targets).mean()) for observed, guess in guesses.items()}


@cache
def _voice(redundancy: float, noise: float) -> np.ndarray:
    """Project the voice of one clip onto the direction in which its audio features move, (T_A,)."""
    dataset, factors, *_ = synthetic.make((12, 1, 1), redundancy, noise)
    audio = dataset["train"].streams["audio"]
    direction = np.linalg.svd(audio.values, full_matrices=False)[2][0]  # (D_A,), sign undetermined
    totals = [(audio.clip(i) @ direction).sum() for i in range(len(audio))]
    return audio.clip(0) @ direction * np.sign(np.dot(totals, factors["train"].audio)) / 2.0
