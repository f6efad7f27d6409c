"""Make the files of the book's explorer: trained models in ONNX, some clips, and torch's outputs for them.

``python book/explorer/make.py`` trains for some minutes on one core. It writes ``book/static/explorer``, which the page
loads; ``reference.json`` next to this file, for the tests; and ``book/images/explorer.svg``, which the page shows
without JavaScript.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import matplotlib
import numpy as np
import torch
from torch import Tensor, nn

import ktnet_lite
from ktnet_lite.config import TrainConfig
from ktnet_lite.data.batching import Batches
from ktnet_lite.data.schema import Dataset, Split
from ktnet_lite.deploy import dense
from ktnet_lite.deploy.export import export as export_any
from ktnet_lite.measures.calibration import interval
from ktnet_lite.model.network import Network
from ktnet_lite.names import LEVELS, MODALITIES
from ktnet_lite.reporting.plots import COLOURS, GREY, figure
from ktnet_lite.training.build import load_validated
from ktnet_lite.training.dataset import load_dataset
from ktnet_lite.training.evaluation import evaluate, evaluate_subsets
from ktnet_lite.training.loop import Run, fit
from onnx_files import STEPS, Consistency, Predictor, export

BOOK = Path(__file__).resolve().parents[1]
STATIC = BOOK / "static" / "explorer"
REFERENCE = Path(__file__).with_name("reference.json")
PICTURE = BOOK / "images" / "explorer.svg"
PARAMETERS = {"clips": 3200, "redundancy": 0.9, "audio_noise": 0.5, "dim": 16, "heads": 4, "layers": 1}
PARAMETERS |= {"epochs": 20, "batch_size": 60, "learning_rate": 3e-3, "task_loss": "l1", "device": "cpu", "seed": 0}
PARAMETERS |= {"patience": 0, "kernel": 1}
VARIANTS = ("full", "language_vision", "ours", "any")
LEVEL = 0.8  # of the intervals
CLIPS = 10
PAIR = "audio_to_language"  # attention of "ours" in the figure, and on the page at first


def train(dataset: Dataset, parameters: Mapping[str, Any], folder: Path) -> dict[str, Run]:
    """Train the models, by variant; ``full`` is the teacher of ``ours``."""
    runs = {}
    for variant in VARIANTS:
        teacher = str(folder / "full" / "model.pt") if variant == "ours" else ""
        config = TrainConfig(variant=variant, teacher=teacher, **parameters)
        runs[variant] = fit(config, dataset, folder / variant)
    return runs


@torch.no_grad()
def modules(models: Mapping[str, Network], dataset: Dataset) -> dict[str, nn.Module]:
    """Build what is exported, by file name: each model, and Eq. (1) with the mean of f_A over the training clips.

    ``any`` has the form of ``ktnet-lite export``: masks in, and the score alone out.
    """
    encoder = models["full"].encoders["audio"]
    encoded = (encoder(batch.streams["audio"]) for batch in Batches(dataset["train"], 60, ("audio",)))
    mean = torch.cat([features.values[features.full_mask()] for features in encoded]).mean(0)  # (d,)
    made: dict[str, nn.Module] = {
        name: dense.Predictor(model) if model.any_subset else Predictor(model) for name, model in models.items()
    }
    made["consistency"] = Consistency(encoder, mean)
    return {name: module.eval() for name, module in made.items()}


def shared(model: Network, train: Split) -> dict[str, dict[str, list]]:
    """Return the mean and scale of each feature, and what the sliders add at each step, in units of the scale.

    For language and vision the sliders add white noise. For audio they add laughter: a burst every six steps along the
    first principal direction of the audio features, with the sign that goes with higher scores.
    """
    rng = np.random.default_rng(0)
    inputs = {name: model.inputs[name] for name in MODALITIES}
    noise = {name: rng.normal(size=(STEPS, len(layer.mean))) for name, layer in inputs.items()}
    audio = train.streams["audio"]
    sums = np.array([audio.clip(i).sum(0) for i in range(len(train))])
    values = audio.values - audio.values.mean(0)
    direction = np.linalg.svd(values[:10_000], full_matrices=False)[2][0]  # (D_A,)
    direction *= np.sign(np.corrcoef(sums @ direction, train.targets)[0, 1]) * (values @ direction).std()
    bursts = np.exp(-((np.arange(STEPS) % 6 - 3) ** 2) / 2)
    noise["audio"] = bursts[:, None] * direction / inputs["audio"].scale.numpy()
    return {
        "mean": {name: layer.mean.tolist() for name, layer in inputs.items()},
        "scale": {name: layer.scale.tolist() for name, layer in inputs.items()},
        "noise": {name: values.round(3).tolist() for name, values in noise.items()},
    }


def record(split: Split, index: int) -> dict[str, Any]:
    """Write one clip for the page; the streams are rounded, and torch's outputs are those of the rounded ones."""
    streams = {name: split.streams[name].clip(index).astype(float).round(3).tolist() for name in MODALITIES}
    return {
        "id": split.ids[index],
        "score": round(float(split.targets[index]), 2),
        "words": split.words[index],
        **streams,
    }


def chosen(split: Split) -> list[int]:
    """Choose clips at evenly spaced ranks of the true score, from the lowest to the highest."""
    order = np.argsort(split.targets, kind="stable")
    return order[np.linspace(0, len(order) - 1, CLIPS).round().astype(int)].tolist()


def settings() -> list[dict[str, Any]]:
    """List the states in the reference: every set of dropped modalities; noise on each modality, and on all."""
    sets = itertools.chain.from_iterable(itertools.combinations(MODALITIES, count) for count in range(4))
    dropped = [{"dropped": list(names), "noise": {}} for names in sets]
    noisy = [{"dropped": [], "noise": dict.fromkeys(names, 1.5)} for names in (*zip(MODALITIES), MODALITIES)]
    return dropped + noisy


def disturbed(clip: Mapping[str, Any], common: Mapping[str, Any], setting: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the streams of a clip under a setting, (1, T_m, D_m) each.

    A dropped stream becomes the training mean, as many steps as the clip has words, as in
    :func:`ktnet_lite.training.evaluation.fill_in`.
    """
    streams = {}
    for name in MODALITIES:
        mean, scale, noise = (np.asarray(common[key][name]) for key in ("mean", "scale", "noise"))
        values = np.asarray(clip[name])
        values = values + setting["noise"].get(name, 0) * noise[: len(values)] * scale
        if name in setting["dropped"]:
            values = np.tile(mean, (len(clip["language"]), 1))
        streams[name] = torch.tensor(values, dtype=torch.float32)[None]
    return streams


def masked(streams: Mapping[str, Tensor], dropped: Sequence[str]) -> list[Tensor]:
    """Return what "any" takes of streams (1, T_m, D_m): a dropped one is a single step with a false mask."""
    parts = []
    for name in MODALITIES:
        values = streams[name][:, :1] if name in dropped else streams[name]
        parts += [values, torch.full(values.shape[:2], name not in dropped)]
    return parts


def limits(widths: Mapping[str, float], score: float) -> tuple[float, float]:
    """Return the ends of the interval around a score; ``widths`` by subset begin with the one that lacks nothing."""
    low, high = interval(np.array(score), next(iter(widths.values())))
    return float(low), float(high)


@torch.no_grad()
def explore(
    made: Mapping[str, nn.Module], clip: Mapping, common: Mapping, setting: Mapping
) -> dict[str, dict[str, Tensor]]:
    """Compute what the page does: the outputs of each module, by name. Eq. (1) always uses the real audio."""
    streams = disturbed(clip, common, setting)
    found = {"any": {"score": made["any"](*masked(streams, setting["dropped"]))}}
    for name in ("full", "language_vision", "ours", "consistency"):
        if name == "consistency":
            streams = {**found["ours"], "audio": disturbed(clip, common, {**setting, "dropped": []})["audio"]}
        module = made[name]
        values = module(*(streams[key] for key in module.inputs))
        found[name] = dict(zip(module.outputs, values, strict=True))
    return found


def picture(
    found: Mapping[str, Mapping[str, Tensor]], clip: Mapping[str, Any], half_widths: Mapping[str, Mapping[str, float]]
) -> matplotlib.figure.Figure:
    """Draw the page's first state: scores, errors of the reconstructions and one attention map, of one clip."""
    drawn, (scores, errors, attention) = figure(1, rows=3, height=7.2)
    colours = {"full": "audio", "language_vision": "language", "ours": "reconstructed", "any": "any"}
    beside = {"xytext": (8, 0), "textcoords": "offset points", "va": "center", "color": GREY}
    scores.axvline(clip["score"], color=GREY, linestyle=":")
    scores.set_title(
        f"dotted: the true score, {clip['score']:.1f}; bands: {LEVEL:.0%} intervals", fontsize=10, loc="left"
    )
    for y, variant in enumerate(VARIANTS):
        score = found[variant]["score"].item()
        low, high = limits(half_widths[variant], score)
        scores.barh(y, high - low, left=low, color=COLOURS[colours[variant]], alpha=0.3, height=0.4)
        scores.plot(score, y, "o", color=COLOURS[colours[variant]], markersize=9)
        scores.annotate(f"{score:.2f}", (max(score, high), y), **beside)
    scores.set_yticks(range(len(VARIANTS)), VARIANTS)
    scores.set(xlim=(-3.5, 3.5), ylim=(len(VARIANTS) - 0.5, -0.5), xlabel="score")
    sources = {"language": "words → voice", "vision": "face → voice"}
    for y, source in enumerate(sources):
        error, mean = (found["consistency"][f"{source}_{kind}"].item() for kind in ("error", "mean_error"))
        errors.barh(y, error, color=COLOURS[source], height=0.5)
        errors.plot([mean] * 2, [y - 0.4, y + 0.4], color=GREY, linewidth=3)
        errors.annotate(f"{error:.2f}; always the mean: {mean:.2f}", (max(error, mean), y), **beside)
    errors.set_yticks(range(len(sources)), sources.values())
    errors.set(xlabel="squared error, Eq. (1)", ylim=(len(sources) - 0.5, -0.5), xlim=(0, 1.5))
    words, frames = clip["words"], len(clip["vision"])
    attention.imshow(found["ours"][PAIR][0].numpy(), aspect="auto", cmap="viridis", vmin=0)
    attention.set_yticks(range(len(words)), words, fontsize=8)
    rebuilt = [*(f"ϕ {word}" for word in words), *(f"θ {frame + 1}" for frame in range(frames))]
    attention.set_xticks(range(len(rebuilt)), rebuilt, fontsize=8, rotation=90)
    attention.set(xlabel="A'", ylabel="words")
    attention.set_title("where the words look in A' (ours)", pad=12)
    for panel in (scores, errors, attention):
        panel.grid(panel is scores, axis="x")
        panel.grid(False, axis="y")
    return drawn


def alternative(
    found: Mapping[str, Mapping[str, Tensor]], clip: Mapping[str, Any], half_widths: Mapping[str, Mapping[str, float]]
) -> str:
    """Describe the figure in words."""
    scores = {variant: found[variant]["score"].item() for variant in VARIANTS}
    ends = {variant: limits(half_widths[variant], score) for variant, score in scores.items()}
    said = ", ".join(f"{name} {scores[name]:.2f} ({low:.2f} to {high:.2f})" for name, (low, high) in ends.items())
    values = {name: value.item() for name, value in found["consistency"].items()}
    errors = " and ".join(
        f"from the {word} {values[f'{source}_error']:.2f} (always the mean {values[f'{source}_mean_error']:.2f})"
        for source, word in (("language", "words"), ("vision", "face"))
    )
    return (
        f"One clip, “{' '.join(clip['words'])}”. Its true score is {clip['score']:.1f}. Predictions on a line from -3 "
        f"to 3, with {LEVEL:.0%} intervals: {said}. Below, bars for the error of the rebuilt voice: {errors}. At the "
        "bottom a map: which steps of A' each word attends to."
    )


def coverage(model: Network, test: Split, widths: Mapping[str, float]) -> dict[str, float]:
    """Measure the share of the test clips whose true score lies in the interval, by subset of the modalities."""
    found = evaluate_subsets(model, test, "inferred") if model.any_subset else {model.observed: evaluate(model, test)}
    errors = {"_".join(subset): np.abs(x.predictions - test.targets) for subset, x in found.items()}
    return {subset: round(float((errors[subset] <= width).mean()), 4) for subset, width in widths.items()}


def write(path: Path, content: Any) -> None:
    """Write compact JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8", newline="\n")


@click.command()
def main() -> None:
    """Train, export, and write the files of the explorer's page and of its tests."""
    torch.set_num_threads(1)
    config = TrainConfig(**PARAMETERS, variant="full")
    dataset = load_dataset(config)
    test = dataset["test"]
    with tempfile.TemporaryDirectory() as folder:
        runs = train(dataset, PARAMETERS, Path(folder))
        validated = load_validated(Path(folder) / "any" / "model.pt")
    models = {name: run.model for name, run in runs.items()}
    made = modules(models, dataset)
    STATIC.mkdir(parents=True, exist_ok=True)
    widths = {**dataset.dims, "language_rebuilt": config.dim, "vision_rebuilt": config.dim}
    for name in made.keys() - {"any"}:
        export(made[name], widths, STATIC / f"{name}.onnx")
    export_any(models["any"], TrainConfig(**PARAMETERS, variant="any"), STATIC / "any.onnx", validated)

    half_widths = {
        name: {subset: round(found[LEVELS.index(LEVEL)], 4) for subset, found in run.half_widths.items()}
        for name, run in runs.items()
    }
    common = shared(models["full"], dataset["train"]) | {"half_widths": half_widths}
    clips = [record(test, index) for index in chosen(test)]
    write(STATIC / "clips.json", common | {"clips": clips})
    reference = []
    for clip, setting in itertools.product(clips, settings()):
        found = explore(made, clip, common, setting)
        numbers = {name: value.item() for name, value in found["consistency"].items()}
        numbers |= {variant: found[variant]["score"].item() for variant in VARIANTS}
        numbers |= {"attention": found["ours"][PAIR].max().item()}
        reference.append({"clip": clip["id"], **setting, "numbers": {key: round(x, 6) for key, x in numbers.items()}})
    write(REFERENCE, reference)

    found = explore(made, clips[0], common, settings()[0])
    with matplotlib.rc_context({"svg.hashsalt": "explorer"}):
        picture(found, clips[0], half_widths).savefig(PICTURE, bbox_inches="tight", metadata={"Date": None})
    mae = {name: evaluate(model, test).metrics["mae"] for name, model in models.items()}
    mae["full, silenced"] = evaluate(models["full"], test, "mean").metrics["mae"]
    mae["any, voice missing"] = evaluate(models["any"], test, "inferred").metrics["mae"]
    mae["median"] = float(np.abs(np.median(dataset["train"].targets) - test.targets).mean())
    about = {
        "versions": {"ktnet-lite": ktnet_lite.__version__, "torch": torch.__version__},
        "parameters": PARAMETERS,
        "data": {"checksum": dataset.checksum, "clips": {name: len(dataset[name]) for name in dataset}},
        "weights": {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()},
        "mae": {name: round(value, 4) for name, value in mae.items()},
        "coverage": {name: coverage(model, test, half_widths[name]) for name, model in models.items()},
        "picture": alternative(found, clips[0], half_widths),
    }
    (STATIC / "models.json").write_text(
        json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n"
    )


if __name__ == "__main__":
    main()
