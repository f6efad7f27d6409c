"""Models of extracted clips: they take clips of their own recipe, and no others."""

import pytest
from click.testing import CliRunner

from ktnet_lite.cli import main
from ktnet_lite.config import TrainConfig
from ktnet_lite.data import store
from ktnet_lite.data.fits import check_recipes
from ktnet_lite.data.schema import Header
from ktnet_lite.errors import DataError
from ktnet_lite.training.build import build_model, build_objective, load_model, save_model
from ktnet_lite.training.loop import fit
from own_extractors import Letters, Sizes, convert, make_clips

TINY = {"dim": 8, "heads": 2, "layers": 1}


@pytest.fixture
def clips(tmp_path):
    return make_clips(tmp_path)


def test_recipes_do_not_mix(clips, tmp_path):
    convert(clips, "one.h5")
    convert(clips, "other.h5", extractors=[Sizes(), Letters(version=2)])
    one, other = store.read(tmp_path / "one.h5"), store.read(tmp_path / "other.h5")
    config = TrainConfig(variant="audio", **TINY)
    model = build_objective(config, one).model
    check_recipes(model, one.header, "one")
    with pytest.raises(DataError, match=r"other, audio(.|\n)*here: .*\"version\": 2(.|\n)*model: .*\"version\": 1"):
        check_recipes(model, other.header, "other")
    with pytest.raises(DataError, match="here: not extracted from clips"):
        check_recipes(model, Header("else", "sentiment", False), "else")
    save_model(tmp_path / "model.pt", model, config, one.header, one.dims)
    assert load_model(tmp_path / "model.pt")[0].recipes == one.header.recipes
    only_words = Header("words", "sentiment", False, {"recipe language": one.header.recipes["language"]})
    check_recipes(model, only_words, "a data set without audio, which check_fits reports")


def test_a_model_scores_a_clip_as_its_training_set_was_extracted(clips, tmp_path):
    convert(clips)
    dataset = store.read(tmp_path / "my.h5")
    config = TrainConfig(variant="any", **TINY, epochs=1, dataset=str(tmp_path / "my.h5"))
    fit(config, dataset, tmp_path / "run", progress=False)
    clip = tmp_path / "new.mp4"
    clip.write_text("seven", encoding="utf-8")
    done = CliRunner().invoke(main, ["predict", str(tmp_path / "run" / "model.pt"), str(clip)])
    assert done.exit_code == 0, done.output
    assert "absent: no transcript" in done.stderr
    head, row = done.stdout.splitlines()
    assert head == "id,score,low,high,there,rebuilt,valid_mae" and row.startswith("new,") and ",audio,language," in row
    done = CliRunner().invoke(main, ["predict", str(tmp_path / "run" / "model.pt"), str(clip), "--text", "a word"])
    assert ",language+audio,," in done.stdout


def test_a_model_of_other_data_refuses_a_clip(tmp_path):
    config = TrainConfig(variant="language", **TINY)
    save_model(
        tmp_path / "model.pt",
        build_model(config, "sentiment", {"language": 3}),
        config,
        Header("x", "sentiment", True),
        {"language": 3},
    )
    done = CliRunner().invoke(main, ["predict", str(tmp_path / "model.pt"), str(tmp_path / "clip.mp4")])
    assert done.exit_code == 1 and "was not trained on clips that ktnet-lite extracted" in done.output
