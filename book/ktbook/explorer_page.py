"""What the explorer's page says about its models: tables, a static figure, the size of their files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ktbook.generated import ROOT, write
from ktnet_lite.text import markdown

STATIC = ROOT / "book" / "static"
LOADED = ("vendor/onnxruntime/*.mjs", "vendor/onnxruntime/*.gz", "explorer/*.onnx", "explorer/clips.json")
HEARS = {"full": "words, face, voice", "language_vision": "words, face", "ours": "words, face; the voice in training"}
SHORT = {"language": "words", "vision": "face", "audio": "voice"}
HEARS |= {"any": "words, face, voice, or any subset of them"}


def models() -> dict[str, Any]:
    """Read what ``book/explorer/make.py`` wrote about the models."""
    return json.loads((STATIC / "explorer" / "models.json").read_text(encoding="utf-8"))


def half_widths() -> dict[str, dict[str, float]]:
    """Read the half-widths of the intervals, by model and subset of the modalities."""
    return json.loads((STATIC / "explorer" / "clips.json").read_text(encoding="utf-8"))["half_widths"]


def megabytes() -> float:
    """Return the size of the files, in MB, that a reader loads by starting the models."""
    return sum(path.stat().st_size for pattern in LOADED for path in STATIC.glob(pattern)) / 1e6


def table(about: Mapping[str, Any]) -> str:
    """Write a table of the models with their errors, and how they were trained."""
    mae, weights = about["mae"], about["weights"]
    rows = [("model", "input", "weights", "MAE on the test clips")]
    rows += [(f"`{name}`", HEARS[name], f"{weights[name]:,}", f"{mae[name]:.2f}") for name in weights]
    rows.insert(2, ("`full`, voice silenced", "words, face", "the same", f"{mae['full, silenced']:.2f}"))
    rows.append(("`any`, voice missing", "words, face", "the same", f"{mae['any, voice missing']:.2f}"))
    rows.append(("always the median", "nothing", "1", f"{mae['median']:.2f}"))
    run, clips, versions = about["parameters"], about["data"]["clips"], about["versions"]
    training = (
        f"Trained on {clips['train']:,} synthetic clips (redundancy {run['redundancy']}, noise {run['audio_noise']}) "
        f"for {run['epochs']} epochs; tested on {clips['test']:,} others. Width {run['dim']}, {run['heads']} heads, "
        f"{run['layers']} layer in each set of blocks (the paper has three), L1 loss, seed {run['seed']}. Trained "
        f"with ktnet-lite {versions['ktnet-lite']} and PyTorch {versions['torch']}."
    )
    return f"{markdown(rows)}\n\n{training}\n"


def intervals(about: Mapping[str, Any]) -> str:
    """Write a table of the intervals: how far they reach, and how many of the test clips they cover."""
    rows = [("model", "streams", "half-width", "coverage of the test clips")]
    for name, widths in half_widths().items():
        for subset, width in widths.items():
            there = ", ".join(SHORT[modality] for modality in subset.split("_"))
            rows.append((f"`{name}`", there, f"{width:.2f}", f"{about['coverage'][name][subset]:.0%}"))
    return f"{markdown(rows)}\n"


def picture(about: Mapping[str, Any]) -> str:
    """Write the figure of the page's first state, shown until the models are started."""
    caption = "Predictions for the first clip: scores, the error of the reconstructed voice, and an attention map."
    options = f":alt: {about['picture']}\n:class: drawn\n:width: 720px"
    return f":::{{figure}} images/explorer.svg\n{options}\n\n{caption}\n:::\n"


def make(app: Any, config: Any) -> None:
    """Write table and figure, and give the pages their numbers."""
    about = models()
    write("explorer_models.md", table(about))
    write("explorer_intervals.md", intervals(about))
    write("explorer_picture.md", picture(about))
    numbers = {name: about["mae"][name] for name in ("full", "language_vision", "ours", "any")}
    numbers |= {"silenced": about["mae"]["full, silenced"], "voice_missing": about["mae"]["any, voice missing"]}
    substitutions = {f"explorer_{name}": f"{value:.2f}" for name, value in numbers.items()}
    covered = sorted(share for found in about["coverage"].values() for share in found.values())
    substitutions |= {"explorer_least": f"{covered[0]:.0%}", "explorer_most": f"{covered[-1]:.0%}"}
    config.myst_substitutions |= substitutions | {"explorer_megabytes": f"{megabytes():.1f}"}


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", make)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
