"""The models that come with the package: found by name, unaltered, with the scores of their result files, a card."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import make_models
from ktbook import model_cards
from ktnet_lite.cli import main as cli
from ktnet_lite.cli import train
from ktnet_lite.config import TrainConfig
from ktnet_lite.deploy.bench import bench
from ktnet_lite.errors import CheckpointError
from ktnet_lite.experiments import result
from ktnet_lite.training import shipped
from ktnet_lite.training.build import load_model, load_teacher, load_validated
from ktnet_lite.training.dataset import load_dataset
from ktnet_lite.training.evaluation import evaluate, evaluate_subsets
from small import untraced
from test_book import parse

NAMES = list(make_models.MODELS)
LARGEST = 640_000  # bytes of weights
PARTS = ["parameters", "data", "terms of the data", "weights", "training", "versions"]
SECTIONS = ["Trained", "Errors", "Intervals", "Intended use.", "Not for", "Loading"]


def published(name: str) -> result.Result:
    return result.load(shipped.FOLDER / f"{name}.result.json")


@pytest.fixture(scope="module")
def data():
    return load_dataset(make_models.MODELS[NAMES[0]])


@pytest.fixture
def altered(tmp_path, monkeypatch):
    """A copy of the folder in which the weights of one model end in another byte."""
    folder = tmp_path / "trained"
    shutil.copytree(shipped.FOLDER, folder)
    path = folder / f"{NAMES[0]}.pt"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    monkeypatch.setattr(shipped, "FOLDER", folder)
    return folder


def test_the_folder_holds_what_its_checksums_list():
    held = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in shipped.FOLDER.iterdir()}
    del held["SHA256SUMS"]
    assert held == shipped.checksums()
    assert set(held) == {f"{name}{ending}" for name in NAMES for ending in (".pt", ".result.json")}


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_small_and_comes_from_the_recipe_that_its_result_file_names(name):
    model, config = load_model(name)
    run = published(name)
    assert (shipped.FOLDER / f"{name}.pt").stat().st_size < LARGEST
    assert config.identity == run.config.identity == make_models.MODELS[name].identity
    assert (config.out, config.data_from, config.teacher) == ("runs", "", "")  # no place on the machine of its makers
    assert not model.training
    assert sum(parameter.numel() for parameter in model.parameters()) == run.model_parameters
    assert load_validated(name).half_widths == run.half_widths


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_model_gives_the_scores_of_its_result_file(name, data):
    """On the whole test set, and on each subset of the modalities that the file has."""
    model, run = load_model(name)[0], published(name)
    assert data.checksum == run.dataset.checksum
    with untraced():
        found = evaluate(model, data["test"])
        np.testing.assert_allclose(found.predictions, run.scores, atol=1e-4)
        assert found.metrics["mae"] == pytest.approx(run.metrics["test"]["mae"], abs=1e-4)
        for fill, subsets in run.subsets.items():
            for names, rest in evaluate_subsets(model, data["test"], fill).items():
                np.testing.assert_allclose(rest.predictions, subsets["_".join(names)].scores, atol=1e-4)


def test_a_name_without_a_model_says_which_there_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint at ktnet-any-synthtic; with the package come") as caught:
        load_model("ktnet-any-synthtic")
    assert str(caught.value).endswith("did you mean 'ktnet-any-synthetic'?")
    assert all(name in str(caught.value) for name in NAMES)
    with pytest.raises(CheckpointError, match=r"^no checkpoint at nowhere\.pt$"):
        load_model("nowhere.pt")
    with pytest.raises(CheckpointError, match=r"^no checkpoint at runs/ktnet-any-synthetic$"):
        load_model("runs/ktnet-any-synthetic")


def test_a_file_of_the_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(shipped.FOLDER / "ktnet-full-synthetic.pt", "ktnet-any-synthetic")
    assert load_model("ktnet-any-synthetic")[1].variant == "full"


def test_altered_weights_are_refused(altered):
    with pytest.raises(CheckpointError, match=r"its SHA-256 is wrong; reinstall ktnet-lite"):
        load_model(NAMES[0])
    (altered / f"{NAMES[1]}.pt").unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        load_validated(NAMES[1])


def test_commands_take_the_name(tmp_path):
    measured = bench(Path("ktnet-any-bottleneck-synthetic"), dict.fromkeys(("language", "vision", "audio"), 3), clips=2)
    assert measured.size == (shipped.FOLDER / "ktnet-any-bottleneck-synthetic.pt").stat().st_size
    done = CliRunner().invoke(
        cli, ["predict", "ktnet-ours-synthetic", "synthetic", "--out", str(tmp_path / "scores.csv")]
    )
    assert done.exit_code == 0, done.output
    _, *rows = (tmp_path / "scores.csv").read_text().splitlines()
    scores = [float(row.split(",")[1]) for row in rows]
    np.testing.assert_allclose(scores, published("ktnet-ours-synthetic").scores, atol=1.5e-4)


def test_the_commands_of_the_page_are_ones_and_name_models():
    page = (Path(__file__).parents[1] / "book" / "models.md").read_text(encoding="utf-8")
    lines = re.findall(r"^ktnet-lite (.+)$", page, re.MULTILINE)
    assert len(lines) == 5
    for line in lines:
        parse(cli, shlex.split(line))
        assert set(re.findall(r"ktnet-\S+", line)) <= set(NAMES)
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1].split("test =")[0], {})


def test_a_teacher_is_named_too():
    config = TrainConfig(teacher="ktnet-full-synthetic", dim=16, clips=8)
    assert load_teacher(config, load_dataset(config)).observed == ("language", "vision", "audio")
    done = CliRunner().invoke(cli, ["train", "--teacher", "ktnet-ful-synthetic"])
    assert "did you mean 'ktnet-full-synthetic'?" in done.output


@pytest.fixture(scope="module")
def cards() -> dict[str, str]:
    """The cards by heading."""
    _, *parts = re.split(r"^## (.+)\n", model_cards.cards(), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_model_has_a_card_with_all_parts(cards):
    assert list(cards) == [*(f"`{name}`" for name in model_cards.ABOUT), "`ktnet-any-hazumi`, a recipe"]
    assert set(model_cards.ABOUT) == set(NAMES)
    for card in cards.values():
        assert [part for part in PARTS if not re.search(rf"^\| {part} ", card, re.MULTILINE)] == []
        assert [section for section in SECTIONS if f"**{section}" not in card] == []


def test_a_card_says_what_the_result_file_says(cards):
    for name in NAMES:
        card, run = cards[f"`{name}`"], published(name)
        assert f"{run.model_parameters:,}" in card
        assert shipped.checksums()[f"{name}.pt"][:12] in card
        for filled in (filled for subsets in run.subsets.values() for filled in subsets.values()):
            assert f"{filled.metrics['mae']:.3f}" in card
        assert f"{run.metrics['test']['mae']:.3f}" in card and f"{run.baselines['training median']['mae']:.3f}" in card
        assert ("**Calibration**" in card) == bool(run.calibration) == ("any" in name)
        assert f'load_model("{name}")' in card
    recipe = cards["`ktnet-any-hazumi`, a recipe"]
    assert "no licence is stated" in recipe and "not given" in recipe and "load_model(" not in recipe


def test_the_command_of_a_card_trains_its_model(cards, monkeypatch):
    given = []
    monkeypatch.setattr(train, "configs", lambda **parameters: given.append(parameters) or exit(0))
    recipes = [*(make_models.MODELS[name] for name in model_cards.ABOUT), model_cards.HAZUMI]
    for card, config in zip(cards.values(), recipes, strict=True):
        (line,) = re.findall(r"^ktnet-lite (train .+)$", card, re.MULTILINE)
        CliRunner().invoke(cli, shlex.split(line))
        parameters = {name: int(x) if name == "seed" else x for name, x in given.pop().items()}
        assert TrainConfig.build(parameters).identity == config.identity
