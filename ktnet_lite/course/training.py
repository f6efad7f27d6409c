"""Figures of chapter 5, on training: what each part sees, losses, gradients, padding, the choice of an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import nn

from ktnet_lite.data.batching import Batch
from ktnet_lite.model.fusion import CrossModalFusion
from ktnet_lite.model.ktnet import KTNet
from ktnet_lite.model.losses import Objective
from ktnet_lite.reporting.plots import COLOURS, GREY, figure, legend

CYCLE = [COLOURS[name] for name in ("language", "vision", "audio", "reconstructed", "valid")]

# Boxes of the diagram: position, text, colour.
SEEN = {
    "X_L": ((0.0, 3.0), "words", "language"),
    "X_V": ((0.0, 2.0), "face", "vision"),
    "f_L": ((1.2, 3.0), "encoder, $f_L$", "language"),
    "f_V": ((1.2, 2.0), "encoder, $f_V$", "vision"),
    "phi": ((2.5, 1.1), r"$\phi(f_L)$", "reconstructed"),
    "theta": ((2.5, 0.3), r"$\theta(f_V)$", "reconstructed"),
    "delta": ((3.5, 0.7), r"$\delta$, $A'$", "reconstructed"),
    "fusion": ((4.7, 2.0), "attention,\ndecoders, head", None),
    "score": ((6.0, 2.0), "logits", None),
}
TRAINING = {
    "X_A": ((0.0, -0.7), "voice", "audio"),
    "f_A": ((1.2, -0.7), "teacher, $f_A$", "audio"),
    "consistency": ((3.5, -0.7), "Eq. (1)", "valid"),
    "task": ((6.0, 0.7), "Eq. (5)", "valid"),
}
ARROWS = (
    ("X_L", "f_L"),
    ("X_V", "f_V"),
    ("f_L", "phi"),
    ("f_V", "theta"),
    ("phi", "delta"),
    ("theta", "delta"),
    ("f_L", "fusion"),
    ("f_V", "fusion"),
    ("delta", "fusion"),
    ("fusion", "score"),
)
TRAINING_ARROWS = (
    ("X_A", "f_A"),
    ("f_A", "consistency"),
    ("phi", "consistency"),
    ("theta", "consistency"),
    ("score", "task"),
)


def who_sees_what() -> Figure:
    """Draw KTNet "ours" in training (top) and at test (bottom), without the voice and everything that depends on it."""
    drawn, panels = figure(1, height=6.0, rows=2)
    for axes, training in zip(panels, (True, False), strict=True):
        boxes = SEEN | TRAINING if training else SEEN | {"X_A": (TRAINING["X_A"][0], "no voice", "missing")}
        drawn_boxes = {}
        for name, (place, text, colour) in boxes.items():
            edge = GREY if colour is None else COLOURS[colour]
            dashed = {"linestyle": "--"} if name in ("X_A", "f_A") else {}
            box = {"boxstyle": "round,pad=0.45", "facecolor": "none", "edgecolor": edge, "linewidth": 1.6, **dashed}
            drawn_boxes[name] = axes.text(*place, text, ha="center", va="center", color=GREY, fontsize=9, bbox=box)
        for start, end in (*ARROWS, *(TRAINING_ARROWS if training else ())):
            patches = {f"patch{side}": drawn_boxes[name].get_bbox_patch() for side, name in (("A", start), ("B", end))}
            style = {"arrowstyle": "-|>", "color": GREY, "shrinkA": 1, "shrinkB": 1, "linewidth": 1.0, **patches}
            axes.annotate("", xy=boxes[end][0], xytext=boxes[start][0], arrowprops=style)
        axes.set(xlim=(-0.5, 6.5), ylim=(-1.2, 3.5), title="in training" if training else "at test")
        axes.title.set_color(GREY)
        axes.set_axis_off()
    return drawn


def parts(objective: Objective) -> dict[str, nn.Module]:
    """Return the parts of "ours" and its audio target, from the inputs to the logits."""
    model, target = objective.model, objective.audio_target
    assert isinstance(model, KTNet) and isinstance(model.fusion, CrossModalFusion) and target is not None
    modules: dict[str, nn.Module] = {f"{name} encoder": part for name, part in model.encoders.items()}
    modules |= {f"transfer {name} to audio": part for name, part in model.transfer.items()}
    modules["delta (A')"] = model.combine
    modules |= {f"cross-modal {pair.replace('_', ' ')}": part for pair, part in model.fusion.cross_modal.items()}
    modules |= {f"{name} decoder": part for name, part in model.fusion.decoders.items()}
    return modules | {"head": model.fusion.head, "audio teacher": target.encoder}


def parts_table(objective: Objective, batch: Batch) -> str:
    """List each part with the shape of its output for a batch and its number of parameters, as text."""
    shapes: dict[str, tuple[int, ...]] = {}
    hooks = []
    for name, part in parts(objective).items():

        def note(module, inputs, output, name=name):
            shapes[name] = tuple(getattr(output, "values", output).shape) if name != "head" else tuple(output.shape)

        hooks.append(part.register_forward_hook(note))
    objective(batch)
    for hook in hooks:
        hook.remove()
    lines = [f"{'part':34}{'comes out':>14}{'parameters':>12}"]
    for name, part in parts(objective).items():
        frozen = "" if any(p.requires_grad for p in part.parameters()) else "  frozen"
        lines.append(f"{name:34}{shapes[name]!s:>14}{sum(p.numel() for p in part.parameters()):12,}{frozen}")
    return "\n".join(lines)


def over_steps(
    runs: Mapping[str, Sequence[float]], ylabel: str, top: float | None = None, mark: tuple[str, float] | None = None
) -> Figure:
    """Plot a number of several runs over the steps; ``mark`` is the name and height of a dotted line."""
    drawn, (axes,) = figure(1, height=3.0)
    for i, ((name, values), colour) in enumerate(zip(runs.items(), CYCLE, strict=False)):
        width = 1 + 0.8 * (len(runs) - 1 - i)  # the first line is the widest, so that coinciding lines all show
        axes.plot(np.arange(1, len(values) + 1), values, label=name, color=colour, linewidth=width)
    if mark is not None:
        axes.axhline(mark[1], color=GREY, linestyle=":", label=mark[0])
    axes.set(xlabel="step", ylabel=ylabel, ylim=(0, top))
    legend(axes)
    return drawn


def curves(runs: Mapping[str, Sequence[Mapping[str, float]]], floor: float, top: float) -> Figure:
    """Plot the training and validation error of each L1 regression run, side by side on one scale.

    ``floor`` is the error of the best constant, drawn as a dotted line; errors above ``top`` are cut off.
    """
    drawn, panels = figure(len(runs), height=2.8)
    for axes, (name, history) in zip(panels, runs.items(), strict=True):
        epochs = np.arange(1, len(history) + 1)
        axes.axhline(floor, color=GREY, linestyle=":", label="always the median")
        axes.plot(epochs, [entry["task"] for entry in history], color=GREY, label="train")
        axes.plot(epochs, [entry["valid_mae"] for entry in history], color=COLOURS["valid"], label="valid")
        axes.set(xlabel="epoch", title=name, ylim=(0, top))
        axes.title.set_color(GREY)
    panels[0].set(ylabel="mean absolute error")
    legend(panels[0])
    for axes in panels[1:]:
        axes.set_yticklabels([])
    return drawn


def padding(lengths: np.ndarray, orders: Mapping[str, Sequence[np.ndarray]]) -> Figure:
    """Plot the steps of each clip and its padding as a bar, batch after batch, for each way to form the batches."""
    drawn, panels = figure(len(orders), height=3.2)
    for axes, (name, batches) in zip(panels, orders.items(), strict=True):
        valid = lengths[np.concatenate(batches)]
        padded = np.concatenate([np.full(len(batch), lengths[batch].max()) for batch in batches])
        for steps, colour, label in ((padded, "missing", "padding"), (valid, "language", "steps")):
            axes.stairs(steps, orientation="horizontal", fill=True, color=COLOURS[colour], label=label)
        share = 1 - valid.sum() / padded.sum()
        axes.set(xlabel="steps", title=f"{name}: {share:.0%} padding", ylim=(len(valid), 0))
        axes.title.set_color(GREY)
        axes.grid(False)
    panels[0].set(ylabel="clip, in the order of the batches")
    legend(panels[0], loc="lower right")
    return drawn


def selection(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Plot validation and test error over the epochs of each run; a ring marks the epoch with the best validation."""
    drawn, panels = figure(len(runs), height=2.8)
    for axes, (name, history) in zip(panels, runs.items(), strict=True):
        epochs = np.arange(1, len(history) + 1)
        kept = int(np.argmin([entry["valid_mae"] for entry in history]))
        for split, colour in (("valid", COLOURS["valid"]), ("test", COLOURS["language"])):
            values = [entry[f"{split}_mae"] for entry in history]
            axes.plot(epochs, values, color=colour, label=split)
            axes.plot(kept + 1, values[kept], "o", markersize=9, fillstyle="none", color=colour)
        axes.set(xlabel="epoch", title=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.title.set_color(GREY)
    low, high = min(axes.get_ylim()[0] for axes in panels), max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(low, high)
    panels[0].set(ylabel="mean absolute error")
    legend(panels[0])
    return drawn
