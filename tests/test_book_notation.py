"""The page of notation: its names are the code's, its shapes are a small model's, no chapter's symbol is missing."""

import re
from pathlib import Path

import nbformat
import pytest
import torch
from torch import nn

import execute
from ktnet_lite.config import TrainConfig
from ktnet_lite.data import schema, synthetic
from ktnet_lite.data.batching import Padded
from ktnet_lite.extract import voice
from ktnet_lite.measures import metrics, statistics
from ktnet_lite.model import layers, losses, transfer
from small import DIMS, SIZE, UNALIGNED, make_batch, make_model, make_objective, make_split

ROOT = Path(__file__).resolve().parents[1]

PAGE = (ROOT / "book" / "notation.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^##+ (.+?)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
GREEK = "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|upsilon|phi|chi|psi"
GREEK += "|omega|ell"


def rows(section: str) -> list[list[str]]:
    """The cells of a section's table, its heading aside."""
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


NAMES = sorted(
    {name for section in SECTIONS.values() for row in rows(section) for name in re.findall(r"`(.+?)`", row[-1])}
)
SHAPES = [(row[2], re.findall(r"`(.+?)`", row[-1])) for row in rows(SECTIONS["The model's symbols"]) if row[2]]


@pytest.fixture(scope="module")
def scope():
    """What the page's names mean, a class's name being an object of it; and what each module of a model gave."""
    config = TrainConfig(dim=SIZE["dim"], heads=SIZE["heads"], layers=SIZE["layers"])
    objective, batch = make_objective(make_model("ours"), "random"), make_batch(UNALIGNED)
    outputs: dict[nn.Module, Padded] = {}
    for module in objective.modules():
        module.register_forward_hook(lambda module, _, output: outputs.__setitem__(module, output))
    objective(batch)
    encoder = objective.model.encoders["vision"]
    names = {
        "KTNet": objective.model,
        "KTNetOutput": outputs[objective.model],
        "Objective": objective,
        "TransformerLayer": encoder.transformer.layers[0],
        "Embedding": encoder.embedding,
        "Attention": encoder.transformer.layers[0].attention,
        "AudioTarget": objective.audio_target,
        "Standardise": encoder.embedding.standardise,
        "Batch": batch,
        "Padded": batch.streams["vision"],
        "voice": voice,
        "Stream": make_split(UNALIGNED).streams["vision"],
        "Factors": synthetic.make((2, 1, 1)).factors["train"],
        "TrainConfig": config,
        "m": "vision",
        "pair": "vision_to_language",
    }
    modules = (layers, losses, metrics, statistics, schema, synthetic, transfer)
    return names | {module.__name__.rpartition(".")[2]: module for module in modules}, outputs


@pytest.mark.parametrize("name", NAMES)
def test_a_name_on_the_page_is_one_in_the_code(name, scope):
    assert eval(name, scope[0]) is not None


@pytest.mark.parametrize(("shape", "names"), SHAPES)
def test_a_shape_on_the_page_is_that_in_the_code(shape, names, scope):
    steps = {f"T_{name[0].upper()}": max(lengths) for name, lengths in UNALIGNED.items()}
    sizes = {"B": 4, "d": SIZE["dim"], "D_m": DIMS["vision"], "T_m": steps["T_V"], "T_target": steps["T_L"], **steps}
    written = re.sub(r"(\d)([a-z])", r"\1*\2", shape.strip("$").replace("T_{m'}", "T_target"))
    (name,) = names
    value = eval(name, scope[0])
    value = scope[1][value] if isinstance(value, nn.Module) else value
    value = value.values if isinstance(value, Padded) else value
    assert isinstance(value, torch.Tensor) and tuple(value.shape) == eval(written, sizes)


def test_most_names_and_shapes_are_found_on_the_page():
    """So that the tests above are not of nothing."""
    assert len(NAMES) > 40 and len(SHAPES) > 10


def symbols(text: str) -> set[str]:
    """The letters of all formulas in a Markdown text, subscripts and short names of functions among them."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL).replace("\\varepsilon", "\\epsilon")
    found: set[str] = set()
    for pair in re.findall(r"\$\$(.+?)\$\$|\$([^$\n]+(?:\n[^$\n]+)?)\$", text, re.DOTALL):
        formula = re.sub(r"\\(?:begin|end|tag)\{[^}]*\}", " ", "".join(pair))
        words = re.findall(r"\\(?:mathrm|text)\{([^}]*)\}", formula)
        formula = re.sub(r"\\(?:mathrm|text)\{[^}]*\}", " ", formula)
        found |= {
            word.capitalize() if word == "var" else word for word in words if re.fullmatch("[A-Z]{2}|[Vv]ar", word)
        }
        found |= set(re.findall(r"\\math(?:cal|bb)\{\w\}", formula))
        formula = re.sub(r"\\math(?:cal|bb)\{\w\}", " ", formula)
        found |= set(re.findall(rf"\\(?:{GREEK})(?![a-z])", formula, re.IGNORECASE))
        found |= set(re.findall("[A-Za-z]", re.sub(r"\\[A-Za-z]+", " ", formula)))
    return found


def listed(*sections: str) -> set[str]:
    """The symbols of the tables under these headings, what stands behind a colon in a heading aside."""
    found = [text for name, text in SECTIONS.items() if name.partition(":")[0] in sections]
    return set().union(*(symbols(row[0]) for text in found for row in rows(text)))


@pytest.mark.parametrize("path", execute.course(), ids=lambda path: path.stem)
def test_every_symbol_of_a_chapter_is_on_the_page(path):
    cells = nbformat.read(path, as_version=4).cells
    used = symbols("\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown"))
    known = listed("The model's symbols", "In all chapters", f"Chapter {int(path.name[:2])}")
    assert used and used <= known, f"not on the page of notation: {sorted(used - known)}"


def test_a_symbol_that_is_not_on_the_page_is_seen():
    text = "Let $\\Xi = 1$ and $G_{\\pi} = \\mathrm{TP}$, `$Y$`; then\n\n$$\n\\text{as $a$} \\mathcal{L} \\tag{1}\n$$"
    assert symbols(text) == {"\\Xi", "G", "\\pi", "TP", "\\mathcal{L}"}
    assert not {"\\Xi", "G", "\\pi"} & listed("The model's symbols", "In all chapters")
