"""What the explorer's page says of its models: their table, the picture that stands for them, how much is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ktbook.generated import ROOT, write
from ktnet_lite.text import markdown

STATIC = ROOT / "book" / "static"
LOADED = ("vendor/onnxruntime/*.mjs", "vendor/onnxruntime/*.gz", "explorer/*.onnx", "explorer/clips.json")
HEARS = {"full": "words, face, voice", "language_vision": "words, face", "ours": "words, face; the voice in training"}


def models() -> dict[str, Any]:
    """What ``book/explorer/make.py`` wrote of the models."""
    return json.loads((STATIC / "explorer" / "models.json").read_text(encoding="utf-8"))


def megabytes() -> float:
    """What a reader who starts the models loads."""
    return sum(path.stat().st_size for pattern in LOADED for path in STATIC.glob(pattern)) / 1e6


def table(about: Mapping[str, Any]) -> str:
    """The models, how far they are off, and how they were made."""
    mae, weights = about["mae"], about["weights"]
    rows = [("model", "what it gets", "weights", "MAE on the test clips")]
    rows += [(f"`{name}`", HEARS[name], f"{weights[name]:,}", f"{mae[name]:.2f}") for name in weights]
    rows.insert(2, ("`full`, voice silenced", "words, face", "the same", f"{mae['full, silenced']:.2f}"))
    rows.append(("always the median", "nothing", "1", f"{mae['median']:.2f}"))
    made, clips, versions = about["parameters"], about["data"]["clips"], about["versions"]
    said = (
        f"Trained on {clips['train']:,} synthetic clips (redundancy {made['redundancy']}, noise {made['audio_noise']}) "
        f"for {made['epochs']} epochs; tested on {clips['test']:,} others. Width {made['dim']}, {made['heads']} heads, "
        f"{made['layers']} layer in each set of blocks, where the paper has three; L1 loss; seed {made['seed']}. Made "
        f"with ktnet-lite {versions['ktnet-lite']} and PyTorch {versions['torch']}."
    )
    return f"{markdown(rows)}\n\n{said}\n"


def picture(about: Mapping[str, Any]) -> str:
    """The page's first state as a figure."""
    caption = "What the models say of the first clip: scores, the error of the rebuilt voice, an attention map."
    options = f":alt: {about['picture']}\n:class: on-white\n:width: 720px"
    return f":::{{figure}} images/explorer.svg\n{options}\n\n{caption}\n:::\n"


def make(app: Any, config: Any) -> None:
    about = models()
    write("explorer_models.md", table(about))
    write("explorer_picture.md", picture(about))
    numbers = {name: about["mae"][name] for name in ("full", "language_vision", "ours")}
    numbers["silenced"] = about["mae"]["full, silenced"]
    said = {f"explorer_{name}": f"{value:.2f}" for name, value in numbers.items()}
    config.myst_substitutions |= said | {"explorer_megabytes": f"{megabytes():.1f}"}


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", make)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
