"""One look for every picture of the project, and the pictures of a run.

The colours are those of Okabe & Ito, safe for the colour-blind, and mean the same everywhere. Backgrounds are
transparent and lines mid-grey, so every figure reads on a light page and on a dark one.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import seaborn as sns
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import confusion_matrix

from ktnet_lite import text
from ktnet_lite.data.batching import collate
from ktnet_lite.data.schema import Dataset, Split
from ktnet_lite.files import replacing, write
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.measures.statistics import Difference, Interval
from ktnet_lite.model.network import Network
from ktnet_lite.names import EMOTIONS, VARIANTS, System
from ktnet_lite.reporting.letters import Drawing, literal

COLOURS = {
    "language": "#0072B2",
    "vision": "#E69F00",
    "audio": "#009E73",
    "reconstructed": "#CC79A7",
    "any": "#56B4E9",
    "missing": "#999999",
    "valid": "#D55E00",
}
GREY = "#737373"
TERMS = {
    "loss": ("L, Eq. (6)", GREY),
    "task": ("task, Eq. (5)", COLOURS["valid"]),
    "vision_to_audio": ("vision → audio, Eq. (1)", COLOURS["vision"]),
    "language_to_audio": ("language → audio, Eq. (1)", COLOURS["language"]),
    "audio_task": ("audio head", COLOURS["audio"]),
}


def figure(columns: int = 1, height: float = 3.2, rows: int = 1) -> tuple[Figure, np.ndarray]:
    """Make an empty figure of book width in the project's look, and its axes, an array of shape (rows * columns,)."""
    style = {
        "axes.edgecolor": GREY,
        "axes.labelcolor": GREY,
        "text.color": GREY,
        "text.usetex": False,
        "xtick.color": GREY,
        "ytick.color": GREY,
        "grid.color": GREY,
        "grid.alpha": 0.25,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "legend.frameon": False,
    }
    with sns.axes_style("whitegrid", style), matplotlib.rc_context(style):
        drawn = Drawing(figsize=(8, height), layout="constrained")
        axes = drawn.subplots(rows, columns, squeeze=False).ravel()
    sns.despine(drawn)
    return drawn, axes


def legend(axes: Axes, **options: Any) -> None:
    """Draw a small grey legend if anything is labelled; the options are those of matplotlib's ``Axes.legend``."""
    if "handles" in options or axes.get_legend_handles_labels()[0]:
        drawn = axes.legend(fontsize=8, labelcolor=GREY, frameon=False, **options)
        drawn.get_title().set_color(GREY)


def show(drawn: Figure, alt: str, path: Path | None = None) -> None:
    """Display a figure in a notebook, with its text for those who cannot see it, and save it when given a path."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    picture = {"image/png": b64encode(buffer.getvalue()).decode()}
    # not Image(alt=...), which Colab's IPython does not know
    display(picture, raw=True, metadata={"image/png": {"alt": alt, "width": 8 * 96}})
    if path is not None:
        write(path, buffer.getvalue())


def save(drawn: Figure, path: Path) -> None:
    """Save a figure as a PNG file. Raises :class:`ktnet_lite.errors.KTNetError` if it cannot be written."""
    with replacing(path) as partial:
        drawn.savefig(partial, format="png", dpi=150, bbox_inches="tight")


def describe(dataset: Dataset) -> str:
    """Write the sizes of a data set as a small text table."""
    header = dataset.header
    kind = "aligned" if header.aligned else "unaligned"
    rows: list[tuple[str, ...]] = [("split", "clips", "stream", "features", "steps (median, least to most)")]
    for name in dataset:
        split = dataset[name]
        for i, (modality, stream) in enumerate(split.streams.items()):
            steps = f"{int(np.median(stream.lengths))}, {stream.lengths.min()} to {stream.lengths.max()}"
            first = (name, str(len(split))) if i == 0 else ("", "")
            rows.append((*first, modality, str(stream.dim), steps))
    return f"{text.printable(header.name)}: {header.task}, {kind}, {dataset.checksum[:12]}\n{text.table(rows)}"


def metrics_table(systems: Mapping[str, Mapping[str, float | None]]) -> str:
    """Write metrics by systems as text; an undefined metric is a dash."""
    rows = [("", *systems)]
    for name in next(iter(systems.values())):
        if name in METRICS:
            values = (metrics.get(name) for metrics in systems.values())
            rows.append((METRICS[name].label, *("-" if value is None else f"{value:.3f}" for value in values)))
    return text.table(rows)


def loss_curves(history: Sequence[Mapping[str, float]], best_epoch: int | None = None) -> Figure:
    """Draw the training terms (left) and the validation metrics (right); a line marks the epoch that was kept.

    ``history`` and ``best_epoch`` are those of a :class:`ktnet_lite.training.loop.Run`.
    """
    drawn, (left, right) = figure(2)
    epochs = np.arange(1, len(history) + 1)
    terms = [name for name in history[0] if not name.startswith("valid_") and name != "seconds"]
    if not terms:
        left.text(0.5, 0.5, "solved, not trained", ha="center", va="center", transform=left.transAxes, color=GREY)
    for term in terms:
        label, colour = TERMS.get(term, (term.replace("_", " "), None))
        left.plot(epochs, [entry[term] for entry in history], label=label, color=colour)
    for metric, colour in (("mae", COLOURS["valid"]), ("corr", COLOURS["language"]), ("f1_mean", COLOURS["audio"])):
        values = [entry.get(f"valid_{metric}", np.nan) for entry in history]
        if np.isfinite(values).any():
            right.plot(epochs, values, label=METRICS[metric].label, color=colour)
    left.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    right.set(xlabel="epoch", ylabel="validation set")
    if best_epoch is not None:
        right.axvline(best_epoch + 1, color=GREY, linestyle=":", label="kept")
    for axes in (left, right):
        legend(axes)
    return drawn


def predictions(predicted: np.ndarray, targets: np.ndarray) -> Figure:
    """Draw scores against labels and the confusion of the seven classes, or the confusion of each of four emotions.

    Both arrays are (N,) scores, or (N, 4): probabilities, and zeros and ones.
    """
    if targets.ndim == 2:
        drawn, axes = figure(4, height=2.4)
        for i, (panel, emotion) in enumerate(zip(axes, EMOTIONS, strict=True)):
            _confusion(panel, targets[:, i], predicted[:, i] > 0.5, [0, 1])
            panel.set_title(emotion)
        return drawn
    drawn, (left, right) = figure(2, height=3.6)
    left.plot([-3, 3], [-3, 3], color=GREY, linestyle=":")
    left.scatter(targets, predicted, s=8, alpha=0.5, color=COLOURS["language"], linewidths=0)
    left.set(xlabel="label", ylabel="predicted score", xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), aspect="equal")
    truth, guess = (np.clip(x, -3, 3).round().astype(int) for x in (targets, predicted))
    _confusion(right, truth, guess, list(range(-3, 4)))
    return drawn


def reconstruction_over_time(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw error and R2 of each reconstruction, and the spread of what is predicted, on the validation set by epoch."""
    drawn, (left, middle, right) = figure(3, height=2.8)
    epochs = np.arange(1, len(history) + 1)
    known = {key.removeprefix("valid_") for entry in history for key in entry if key.startswith("valid_")}
    for name in sorted(key.removesuffix("_error") for key in known if key.endswith("_error")):
        source, _, target = name.partition("_to_")
        dashes = {"audio": "-", "vision": "--", "language": ":"}[target or "audio"]
        for axes, key in ((left, "error"), (middle, "r2")):
            values = [entry.get(f"valid_{name}_{key}", np.nan) for entry in history]
            if np.isfinite(values).any():
                label = f"{source} → {target or 'audio'}"
                axes.plot(epochs, values, color=COLOURS[source], linestyle=dashes, label=label)
    for name in sorted(key for key in known if key.endswith("_std")):
        right.plot(epochs, [entry[f"valid_{name}"] for entry in history], color=COLOURS[name.removesuffix("_std")])
    left.set(xlabel="epoch", ylabel="squared error", ylim=(0, None))
    middle.set(xlabel="epoch", ylabel="$R^2$ of the reconstruction")
    middle.axhline(0, color=GREY, linestyle=":")
    right.set(xlabel="epoch", ylabel="std of the target", ylim=(0, None))
    legend(left)
    return drawn


def clip_attention(model: Network, split: Split, clip: int = 0) -> Figure | None:
    """Draw the cross-modal attention of one clip, last block of each pair, mean over heads; None without pairs."""
    device = next(model.parameters()).device
    batch = collate(split, [clip], model.observed).to(device)
    maps = model.eval().attention_maps(batch.streams)
    if not maps:
        return None
    rows = -(-len(maps) // 3)
    drawn, axes = figure(min(len(maps), 3), height=2.8 * rows, rows=rows)
    for spare in axes[len(maps) :]:
        spare.remove()
    for panel, (pair, layers) in zip(axes, maps.items(), strict=False):
        source, target = pair.split("_to_")
        weights = layers[-1][0].mean(0).cpu().numpy()  # (T, S)
        panel.imshow(weights, aspect="auto", cmap="viridis", vmin=0)
        reconstructed = "audio" if model.reconstructs else None
        labels = ["A'" if name == reconstructed else name for name in (source, target)]
        panel.set(xlabel=labels[0], ylabel=labels[1], title=" → ".join(labels))
        panel.grid(False)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
        if split.words is not None:
            words = [literal(word) for word in split.words[clip]]
            if target == "language":
                panel.set_yticks(range(len(words)), words, fontsize=8)
            if source == "language":
                panel.set_xticks(range(len(words)), words, fontsize=8, rotation=90)
    drawn.suptitle(f"clip {literal(split.ids[clip])}", color=GREY)
    return drawn


def comparison(
    rows: Mapping[str, Interval],
    metric: str,
    floor: tuple[str, float] | None = None,
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Draw one metric of several systems: a point for the mean over seeds, a line for its 95% interval.

    Parameters
    ----------
    floor : (str, float), optional
        Name and value of a prediction that knows nothing, drawn as a dotted line.
    colours : dict of str, optional
        Key of ``COLOURS`` by row; "language" for the rest.
    """
    drawn, (axes,) = figure(1, height=1.0 + 0.4 * len(rows))
    if floor is not None:
        axes.axvline(floor[1], color=GREY, linestyle=":")
        place = {"xycoords": axes.get_xaxis_transform(), "xytext": (0, 4), "textcoords": "offset points"}
        axes.annotate(literal(floor[0]), (floor[1], 1), **place, ha="center", fontsize=9, color=GREY)
    for y, (name, interval) in enumerate(rows.items()):
        interval_row(axes, y, interval, (colours or {}).get(name, "language"))
    axes.set_yticks(range(len(rows)), [literal(name) for name in rows])
    axes.set(xlabel=f"{METRICS[metric].label} ({METRICS[metric].direction})", ylim=(len(rows) - 0.5, -0.5))
    return drawn


def interval_row(axes: Axes, y: float, interval: Interval | Difference, colour: str) -> None:
    """Draw a mean and its interval at a height, in a colour of ``COLOURS``."""
    if interval.low is not None and interval.high is not None:
        axes.plot([interval.low, interval.high], [y, y], color=COLOURS[colour], linewidth=3, alpha=0.5)
    axes.plot(interval.mean, y, "o", color=COLOURS[colour])


def colour_of(system: System) -> str:
    """The key of ``COLOURS`` for a system: KTNet by what it uses; grey for other models and for filled-in audio."""
    if system.fill or system.model != "ktnet":
        return "missing"
    own = {"ours": "reconstructed", "any": "any", "full": "audio", "audio": "audio", "vision": "vision"}
    return own.get(system.variant, "language")


def colour_of_label(label: str) -> str:
    """The key of ``COLOURS`` for a system named as in "ours"; grey for a control or fill, as in "ours, lambda = 0"."""
    name = label.split(" ")[0]
    return colour_of(System("ktnet", name)) if name in VARIANTS else "missing"


def _confusion(axes: Axes, targets: np.ndarray, predicted: np.ndarray, labels: list[int]) -> None:
    counts = confusion_matrix(targets, predicted, labels=labels)
    sns.heatmap(counts, annot=True, fmt="d", cbar=False, cmap="viridis", ax=axes, annot_kws={"size": 8})
    axes.set_xticklabels(map(str, labels))
    axes.set_yticklabels(map(str, labels))
    axes.set(xlabel="predicted", ylabel="label")
