"""The harness for missing modalities: frozen masks, what is hidden is not read, the same file twice, foreign scores."""

import csv
import dataclasses
import hashlib
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from ktnet_lite.baselines import BASELINES
from ktnet_lite.cli import main
from ktnet_lite.config import TrainConfig
from ktnet_lite.data import synthetic
from ktnet_lite.data.schema import Dataset, Split, Stream
from ktnet_lite.errors import ConfigError, DataError
from ktnet_lite.names import MODALITIES, subsets
from ktnet_lite.robustness import harness, report
from ktnet_lite.robustness.conditions import FAMILIES, Condition, Masks, conditions, in_order, load, save, uniform
from ktnet_lite.training.build import build_model, save_model
from ktnet_lite.training.evaluation import evaluate, fill_in
from small import ALIGNED, DIMS, UNALIGNED, make_model, make_split, shaken

LONG = {"language": [12, 5, 1, 9] * 5, "vision": [30, 1, 14, 22] * 5, "audio": [41, 18, 3, 25] * 5}
EVERY = conditions(MODALITIES, rates=(0.3, 0.9), draws=2)


def drawn(split: Split, seed: int = 0, draws: int = 2) -> dict[str, dict]:
    masks = Masks(split, seed)
    return {str(x): masks.kept(x) for x in EVERY if x.draw < draws}


def steps_kept(split: Split, kept) -> np.ndarray:
    """Steps that are kept, (modalities, clips)."""
    ends = {name: np.repeat(np.arange(len(split)), s.lengths) for name, s in split.streams.items()}
    return np.array([np.bincount(ends[name], kept[name], len(split)) for name in split.streams])


def test_masks_depend_on_clip_draw_and_seed_alone():
    split = make_split(LONG)
    masks, order = drawn(split), np.random.default_rng(0).permutation(len(split))
    shuffled = split.select(order)
    for name, kept in drawn(shuffled).items():
        for modality, stream in split.streams.items():
            assert np.array_equal(kept[modality], masks[name][modality][stream.rows(order)]), name
    for other in (drawn(split, seed=1), drawn(dataclasses.replace(split, ids=tuple(f"x{i}" for i in range(20))))):
        for name in (name for name in masks if "0.3" in name):
            assert any(not np.array_equal(other[name][m], masks[name][m]) for m in MODALITIES), name
    assert not np.array_equal(masks["steps 0.3 #0"]["audio"], masks["steps 0.3 #1"]["audio"])


def test_the_numbers_behind_the_masks_are_those_of_shake_128():
    digest = hashlib.shake_128(b"7\0clip").digest(16)
    expected = [(int.from_bytes(digest[i : i + 8], "little") >> 11) / 2**53 for i in (0, 8)]
    assert uniform(2, 7, "clip").tolist() == expected
    assert uniform(4000, 0).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_higher_rate_removes_more_and_never_everything(family):
    split = make_split(LONG)
    split = dataclasses.replace(
        split, streams={**split.streams, "language": Stream.from_clips([np.zeros((n % 3, 5)) for n in range(20)])}
    )
    masks, before = Masks(split), None
    for rate in (0.1, 0.5, 0.9, 0.999):
        kept = masks.kept(Condition((), family, rate, 0))
        assert (steps_kept(split, kept).sum(0) > 0).all()
        if before is not None:
            assert all((before[name] | ~kept[name]).all() for name in MODALITIES), "what is missing stays missing"
        before = kept
    if family in ("steps", "blocks"):
        return
    for name, stream in split.streams.items():
        whole = steps_kept(split, kept)[MODALITIES.index(name)]
        assert set(whole) <= {0, *stream.lengths}, "a modality is missing as a whole"


def test_rates_are_those_that_were_asked_for():
    split = make_split({name: [40] * 600 for name in DIMS})
    masks = Masks(split)
    for family in FAMILIES:
        kept = masks.kept(Condition((), family, 0.4, 0))
        for name in MODALITIES:
            rate = 0.4 if family in ("modalities", "steps", "blocks", f"mostly {name}") else 0.2
            spared = 0.4**3 / 3 if family == "modalities" else 0.4 * 0.2 * 0.2  # a clip keeps its last modality
            tolerance = 0.05 if family in ("modalities", f"mostly {name}") or "mostly" in family else 0.02
            assert 1 - kept[name].mean() == pytest.approx(rate - (spared if "m" in family else 0), abs=tolerance)
    blocks = masks.kept(Condition((), "blocks", 0.4, 0))["audio"].reshape(600, 40)
    assert (np.diff(blocks.astype(int), axis=1) != 0).sum(1).max() <= 9, "ten pieces of four steps"


def test_conditions_are_named_and_sorted():
    names = [str(condition) for condition in EVERY]
    assert names[:7] == [
        *("language+vision+audio", "language+vision", "language+audio", "vision+audio", "language", "vision", "audio")
    ]
    assert names[7:9] == ["modalities 0.3 #0", "modalities 0.3 #1"] and len(names) == 7 + 6 * 2 * 2
    assert in_order(sorted(names)) == names
    two = [str(condition) for condition in conditions(("language", "audio"), (0.5,), 1)]
    assert two[:3] == ["language+audio", "language", "audio"] and not any("vision" in name for name in two)
    for wrong in ((0.0,), (1.0,), (-1,)):
        with pytest.raises(ConfigError, match="is not between 0 and 1"):
            conditions(MODALITIES, wrong)
    with pytest.raises(ConfigError, match="'frames' is not a family of conditions; they are modalities"):
        conditions(MODALITIES, families=("frames",))


def test_masks_are_saved_and_read_again(tmp_path):
    split = make_split(LONG)
    masks, path = drawn(split), tmp_path / "masks.h5"
    save(path, split, masks)
    again = load(path, split)
    assert in_order(again) == list(masks)
    assert all(np.array_equal(again[name][m], masks[name][m]) for name in masks for m in MODALITIES)
    first = path.read_bytes()
    save(path, split, masks)
    assert path.read_bytes() == first
    for other in (split.select(range(5)), split.without("audio")):
        with pytest.raises(DataError, match="has masks of other clips or modalities"):
            load(path, other)
    lengths = {**LONG, "audio": [40, *LONG["audio"][1:]]}
    with pytest.raises(DataError, match="audio: the masks have other numbers of steps"):
        load(path, make_split(lengths))
    path.write_bytes(b"nonsense")
    with pytest.raises(DataError, match="is not a file of masks"):
        load(path, split)


def hidden(split: Split, kept, value: float) -> Split:
    """The same clips with a value wherever something is missing."""
    streams = {
        name: Stream(np.where(kept[name][:, None], s.values, np.float32(value)), s.lengths)
        for name, s in split.streams.items()
    }
    return dataclasses.replace(split, streams=streams)


def models():
    yield "any", make_model("any", "l1"), UNALIGNED
    yield "full", make_model("full", "l1", kernel=3), UNALIGNED
    for name in ("mult", "mfm", "rmfn", "linear"):
        config = TrainConfig(model=name, dim=8, heads=2, dropout=0.0)
        yield name, shaken(build_model(config, "sentiment", DIMS)).eval(), ALIGNED


@pytest.mark.parametrize(("model", "lengths"), [pytest.param(m, n, id=name) for name, m, n in models()])
def test_what_a_mask_hides_is_never_read(model, lengths):
    """Bitwise, in every condition and with every way to do without a modality: NaN where something is missing."""
    split = make_split({name: counts * 4 for name, counts in lengths.items()})
    for condition, kept in drawn(split, draws=1).items():
        for fill in harness.fills_of(model):
            expected = harness.predict(model, split, kept, fill, batch_size=5)
            assert np.isfinite(expected).all()
            poisoned = harness.predict(model, hidden(split, kept, np.nan), kept, fill, batch_size=5)
            assert np.array_equal(poisoned, expected), (condition, fill)


def test_not_even_the_length_of_what_is_missing_is_read():
    split = make_split(UNALIGNED)
    audio = make_split({**UNALIGNED, "audio": [31, 17, 40, 5]}).streams["audio"]
    longer = dataclasses.replace(split, streams={**split.streams, "audio": audio})
    for model in (make_model("any", "l1"), make_model("full", "l1")):
        for fill in harness.fills_of(model):
            scores = []
            for clips in (split, longer):
                kept = Masks(clips).kept(Condition(("language", "vision")))
                scores.append(harness.predict(model, clips, kept, fill))
            assert np.array_equal(*scores)


@pytest.mark.parametrize("lengths", [ALIGNED, UNALIGNED], ids=["aligned", "unaligned"])
def test_subsets_agree_with_evaluate(lengths):
    split = make_split(lengths)
    masks = Masks(split)
    any_model, full = make_model("any", "l1"), make_model("full", "l1")
    for subset in subsets(MODALITIES):
        kept = masks.kept(Condition(subset))
        expected = evaluate(any_model, split.without(*(set(MODALITIES) - set(subset)))).predictions
        np.testing.assert_allclose(harness.predict(any_model, split, kept, "inferred"), expected, rtol=0, atol=1e-5)
    for fill in ("zero", "mean"):
        kept = masks.kept(Condition(("language", "vision")))
        expected = evaluate(full, split, fill).predictions
        np.testing.assert_allclose(harness.predict(full, split, kept, fill), expected, rtol=0, atol=1e-5)
        kept = masks.kept(Condition(MODALITIES))
        expected = evaluate(full, split).predictions
        np.testing.assert_allclose(harness.predict(full, split, kept, fill), expected, rtol=0, atol=1e-5)


def test_mfm_infers_the_audio_of_the_clips_that_lack_it():
    model = shaken(build_model(TrainConfig(model="mfm", dim=8, dropout=0.0), "sentiment", DIMS)).eval()
    split = make_split(ALIGNED)
    assert harness.fills_of(model) == ("zero", "mean", "inferred")
    kept = {name: np.ones(len(s.values), bool) for name, s in split.streams.items()}
    kept["audio"][: split.streams["audio"].lengths[0]] = False  # the first clip
    found = harness.predict(model, split, kept, "inferred")
    without, complete = evaluate(model, split, "inferred").predictions, evaluate(model, split).predictions
    np.testing.assert_allclose(found, [without[0], *complete[1:]], rtol=0, atol=1e-5)


def test_every_system_predicts_a_clip_that_a_subset_leaves_nothing_of():
    split = make_split({"language": [3, 0, 4, 2], "vision": [6, 5, 0, 7], "audio": [9, 4, 8, 3]})
    kept = Masks(split).kept(Condition(("language",)))
    other = make_split({"language": [3, 0, 4, 2], "vision": [2, 9, 0, 7], "audio": [1, 30, 8, 3]}, seed=1)
    other = dataclasses.replace(other, streams={**other.streams, "language": split.streams["language"]})
    for model in (make_model("any", "l1"), make_model("full", "l1"), make_model("vision", "l1")):
        for fill in harness.fills_of(model):
            scores = harness.predict(model, split, kept, fill)
            again = harness.predict(model, other, Masks(other).kept(Condition(("language",))), fill)
            assert np.isfinite(scores).all() and scores[1] == again[1]


def test_filling_in_by_hand():
    model = make_model("full", "l1")
    split = make_split({"language": [2, 3], "vision": [4, 1], "audio": [5, 5]})
    from ktnet_lite.data.batching import collate

    streams = collate(split, range(2), MODALITIES).streams
    lacking = {"vision": torch.tensor([True, False]), "language": torch.tensor([False, True])}
    filled = fill_in(model, streams, lacking, "mean")
    assert filled["audio"] is streams["audio"]
    assert filled["vision"].lengths.tolist() == [2, 1] and filled["language"].lengths.tolist() == [2, 1]
    assert torch.equal(filled["vision"].values[0, :2], model.inputs["vision"].mean.expand(2, -1))
    assert torch.equal(filled["vision"].values[1, :1], streams["vision"].values[1, :1])
    assert torch.equal(filled["language"].values[1, :1], model.inputs["language"].mean.expand(1, -1))
    zero = fill_in(model, {"language": streams["language"]}, {"audio": torch.tensor([True, True])}, "zero")["audio"]
    assert zero.lengths.tolist() == [2, 3] and not zero.values.any()


@pytest.fixture(scope="module")
def trial():
    made = synthetic.make((40, 20, 60)).dataset
    masks = Masks(made["test"])
    kept = {str(c): masks.kept(c) for c in conditions(MODALITIES, (0.5, 0.9), 2)}
    targets = made["test"].targets.astype(float)
    rng = np.random.default_rng(0)
    good = {c: targets + 0.1 * rng.normal(size=60) * (1 + (1 - k["audio"].mean())) for c, k in kept.items()}
    bad = {c: scores + 1.0 for c, scores in good.items()}
    return report.Trial(made, "test", 0, kept, {"good": good, "bad": bad})


def test_metrics_areas_and_conclusions_by_hand(trial):
    made = report.content(trial)
    targets = trial.clips.targets
    mae = {c: np.abs(s - targets).mean() for c, s in trial.systems["good"].items()}
    found = made["systems"]["good"]["metrics"]
    assert all(found[c]["mae"] == pytest.approx(value, abs=1e-6) for c, value in mae.items())
    line = [mae["language+vision+audio"], *(np.mean([mae[f"steps {r:g} #{d}"] for d in (0, 1)]) for r in (0.5, 0.9))]
    expected = (0.5 * (line[0] + line[1]) / 2 + 0.4 * (line[1] + line[2]) / 2) / 0.9
    about = made["systems"]["good"]["area"]["steps"]
    assert about["value"] == pytest.approx(expected, abs=1e-6) and (about["from"], about["to"]) == (0.0, 0.9)
    pairs = [(x["condition"], x["than"]) for x in made["conclusions"]]
    assert len(pairs) == len(set(pairs)) == 6 + 7 + 6
    against = {x["condition"]: x for x in made["conclusions"] if x["than"] == "bad"}
    assert all(x["verdict"] == "better" and x["difference"][0] < -0.5 for x in against.values())
    shares = made["missing"]["steps 0.5 #0"]
    assert shares["audio"] == pytest.approx(1 - trial.masks["steps 0.5 #0"]["audio"].mean(), abs=1e-6)
    text = report.table(made)
    assert "steps, rates 0 to 0.9" in text and "language: good - good, language+vision+audio:" in text


def test_the_picture_has_a_panel_for_the_subsets_and_each_family(trial):
    drawn = report.draw(trial, report.content(trial))
    visible = [axes for axes in drawn.axes if axes.get_visible()]
    assert [axes.get_title() for axes in visible] == ["", *FAMILIES]
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["good", "bad"]
    line = visible[5].lines[0]
    assert list(line.get_xdata()) == [0.0, 0.5, 0.9]


def test_emotions_are_measured_too():
    made = synthetic.make((40, 20, 30), task="emotion").dataset
    masks = Masks(made["test"])
    kept = {str(c): masks.kept(c) for c in conditions(MODALITIES, (0.5,), 1)}
    model = make_emotion_model()
    scores = harness.evaluate(model, made["test"], kept, "inferred")
    found = report.content(report.Trial(made, "test", 0, kept, {"any": scores}))
    assert found["systems"]["any"]["metrics"]["audio"]["accuracy_mean"] is not None
    assert {x["metric"] for x in found["conclusions"]} == {"accuracy_mean"}


def make_emotion_model():
    torch.manual_seed(0)
    dims = {name: features for name, features in synthetic.DIMS.items()}
    return build_model(TrainConfig(variant="any", task="emotion", dim=8, heads=2), "emotion", dims).eval()


def written(path, rows, columns=("id", "condition", "score")):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def test_foreign_predictions_are_read_and_checked(tmp_path):
    split = make_split(UNALIGNED)
    kept = {name: mask for name, mask in drawn(split).items() if name in ("language", "steps 0.3 #0")}
    rows = [(clip, name, 0.25 * i) for name in kept for i, clip in enumerate(split.ids)]
    path = written(tmp_path / "own.csv", rows)
    scores = harness.read_predictions(path, split, kept)
    assert {name: values.tolist() for name, values in scores.items()} == {name: [0, 0.25, 0.5, 0.75] for name in kept}
    for wrong, message in (
        (rows[1:], "no prediction for clip 'clip0' in condition 'language'"),
        ([*rows, rows[0]], "clip 'clip0', condition 'language': predicted twice"),
        ([("clip9", "language", 0.0)], "clip 'clip9', condition 'language': there is no such clip"),
        ([("clip0", "words", 0.0)], "condition 'words': there is no such condition"),
        ([("clip0", "language", "nan")], "the score nan is not a finite number"),
        ([("clip0", "language", "high")], "cannot be read as predictions: could not convert"),
    ):
        with pytest.raises(DataError, match=message):
            harness.read_predictions(written(path, wrong), split, kept)
    with pytest.raises(DataError, match=r"no column 'score'; it needs id, condition and score"):
        harness.read_predictions(written(path, [("clip0", "language", 1)], ("id", "condition", "value")), split, kept)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for variant in ("any", "full"):
        config = TrainConfig(variant=variant, dim=8, heads=2, layers=1, clips=24)
        torch.manual_seed(0)
        model = build_model(config, "sentiment", synthetic.DIMS)
        save_model(
            folder / variant / "model.pt", model, config, synthetic.make((8, 4, 4)).dataset.header, synthetic.DIMS
        )
    return folder


def run(*arguments):
    return CliRunner().invoke(main, ["robust", *map(str, arguments)])


def test_the_command_gives_the_same_file_twice_and_reads_its_own_predictions(saved, tmp_path):
    options = "synthetic", "--rates", "0.3,0.9", "--draws", "1", "--masks", tmp_path / "masks.h5"
    first = run(saved / "any/model.pt", saved / "full/model.pt", *options, "--out", tmp_path, "--predictions", tmp_path)
    assert first.exit_code == 0, first.output
    content = (tmp_path / "robust.json").read_bytes()
    made = json.loads(content)
    assert list(made["systems"]) == ["any", "full, missing = zero", "full, missing = mean", "training median"]
    assert (tmp_path / "robust.png").is_file() and "MAE" in first.output
    again = run(saved / "any/model.pt", saved / "full/model.pt", *options, "--out", tmp_path / "again")
    assert again.exit_code == 0 and (tmp_path / "again" / "robust.json").read_bytes() == content
    foreign = run(saved / "any/model.pt", tmp_path / "full-mean.csv", *options, "--out", tmp_path / "foreign")
    assert foreign.exit_code == 0, foreign.output
    found = json.loads((tmp_path / "foreign" / "robust.json").read_text())["systems"]
    theirs, ours = found["full-mean"]["metrics"], made["systems"]["full, missing = mean"]["metrics"]
    for condition in ours:
        assert theirs[condition]["mae"] == pytest.approx(ours[condition]["mae"], abs=1e-5)


def test_the_command_says_what_is_wrong(saved, tmp_path):
    for arguments, message in (
        (("synthetic", "--rates", "0.3,much"), "give numbers between 0 and 1"),
        (("synthetic", "--rates", "1.5"), "is not between 0 and 1"),
        (("synthetic", "--families", "frames"), "'frames' is not a family of conditions"),
        (("synthetic", "--split", "tests"), "has no split 'tests'"),
    ):
        done = run(saved / "any/model.pt", *arguments, "--out", tmp_path)
        assert done.exit_code == 1 and message in done.output, done.output
    assert "Missing argument" in run("synthetic").output


def test_every_baseline_can_be_tested():
    assert {name for name, entry in BASELINES.items() if not entry.ctc} >= {"mult", "mctn", "mfm", "linear", "constant"}
    split = make_split(ALIGNED)
    kept = Masks(split).kept(Condition(("vision", "audio")))
    for name in BASELINES:
        model = shaken(build_model(TrainConfig(model=name, dim=8, heads=2), "sentiment", DIMS)).eval()
        for fill in harness.fills_of(model):
            assert np.isfinite(harness.predict(model, split, kept, fill)).all(), (name, fill)
    with pytest.raises(ConfigError, match="cannot do without a modality by 'inferred': zero, mean"):
        harness.predict(make_model("full"), split, kept, "inferred")


def test_data_without_a_modality_is_tested_on_the_rest():
    made = synthetic.make((24, 8, 8)).dataset
    dataset = Dataset(made.header, {name: split.without("vision") for name, split in made.splits.items()})
    config = TrainConfig(variant="any", dim=8, heads=2)
    model = build_model(config, "sentiment", dataset.dims).eval()
    masks = Masks(dataset["test"])
    kept = {str(c): masks.kept(c) for c in conditions([*dataset.dims], (0.5,), 1)}
    found = report.content(
        report.Trial(dataset, "test", 0, kept, {"any": harness.evaluate(model, dataset["test"], kept, "inferred")})
    )
    assert [c for c in found["systems"]["any"]["metrics"] if " " not in c] == ["language+audio", "language", "audio"]
