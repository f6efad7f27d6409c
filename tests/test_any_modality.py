"""One model for every subset of the modalities: against NumPy, against "ours", and never reading what is missing."""

import csv
import dataclasses
import itertools
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import numpy_ktnet as reference
from ktnet_lite.cli import main
from ktnet_lite.config import TrainConfig
from ktnet_lite.data import store, synthetic
from ktnet_lite.data.batching import Padded, collate
from ktnet_lite.data.schema import Dataset, Split, Stream
from ktnet_lite.errors import ConfigError, DataError
from ktnet_lite.experiments import result
from ktnet_lite.model.any_modality import AnyKTNet, merged, placed, taken
from ktnet_lite.model.losses import OUTPUTS, Objective, transfer_quality
from ktnet_lite.names import MODALITIES, subsets
from ktnet_lite.robustness import harness
from ktnet_lite.robustness.conditions import Condition, Masks
from ktnet_lite.training.build import build_objective, load_model, save_model
from ktnet_lite.training.evaluation import evaluate, evaluate_subsets, predict
from ktnet_lite.training.loop import fit
from small import ALIGNED, DIMS, SIZE, UNALIGNED, make_batch, make_model, make_split, shaken

TESTS = Path(__file__).resolve().parent
SUBSETS = subsets(MODALITIES)
FORMS = [(missing, sharing) for missing in ("reconstruction", "token", "both") for sharing in ("none", "source")]
SMALL = {"variant": "any", "dim": 8, "heads": 2, "layers": 1, "epochs": 2, "clips": 24, "batch_size": 8}


def lacking(split: Split, choice: list[tuple[str, ...]]) -> Split:
    """The same clips, each with its own subset of the modalities."""
    streams = {}
    for name, stream in split.streams.items():
        clips = [stream.clip(i) if name in subset else np.zeros((0, stream.dim)) for i, subset in enumerate(choice)]
        streams[name] = Stream.from_clips(clips)
    return dataclasses.replace(split, streams=streams, words=None)


def mixed(lengths: dict[str, list[int]]) -> tuple[Split, list[tuple[str, ...]]]:
    """Seven clips, one for every subset."""
    clips = {name: list(itertools.islice(itertools.cycle(counts), len(SUBSETS))) for name, counts in lengths.items()}
    return make_split(clips), SUBSETS


def answers(model: AnyKTNet, split: Split) -> torch.Tensor:
    return model.answer(collate(split, range(len(split)), tuple(split.streams))).logits


def numpy_any(clip: dict[str, np.ndarray], w: reference.Weights, missing: str, gaussian: bool = False) -> np.ndarray:
    """Eq. (1) and (2) for whatever a clip lacks, and the fusion."""
    heads, features, biases = SIZE["heads"], {}, {}
    for name in clip:
        features[name] = reference.encoder(clip[name], reference.part(w, f"encoders.{name}"), heads)
    whole = dict(features)
    for name in set(MODALITIES) - set(clip):
        if missing == "token":
            whole[name] = w[f"tokens.{name}"]
            continue
        delta, sources = reference.part(w, f"combine.{name}"), [m for m in MODALITIES if m != name]
        known = [m for m in sources if m in clip]
        parts = [reference.transfer(features[m], reference.part(w, f"transfer.{m}_to_{name}"), heads) for m in known]
        if gaussian:
            parts, biases[name] = map(list, zip(*map(reference.believed, parts), strict=True))
        delta |= {"source_embedding": delta["source_embedding"][[sources.index(m) for m in known]]}
        whole[name], biases[name] = reference.combine(parts, delta, heads, biases.get(name))
        if missing == "both":
            whole[name] = whole[name] + w[f"tokens.{name}"]
    fusion = reference.part(w, "fusion")
    if "latents.audio" in fusion:
        return reference.bottleneck(whole, fusion, heads, biases)
    return reference.fusion(whole, fusion, heads, MODALITIES, "mean", biases)


@pytest.mark.parametrize("lengths", [ALIGNED, UNALIGNED], ids=["aligned", "unaligned"])
@pytest.mark.parametrize(("missing", "sharing"), FORMS)
def test_every_subset_in_one_batch_against_numpy(missing, sharing, lengths):
    model = make_model("any", missing=missing, sharing=sharing)
    split, choice = mixed(lengths)
    logits, weights = answers(model, lacking(split, choice)), reference.weights_of(model)
    for i, subset in enumerate(choice):
        clip = {name: split.streams[name].clip(i).astype(float) for name in MODALITIES if name in subset}
        np.testing.assert_allclose(logits[i].detach(), numpy_any(clip, weights, missing), rtol=0, atol=1e-5)


@pytest.mark.parametrize("fusion", ["pairs", "bottleneck"])
@pytest.mark.parametrize("missing", ["reconstruction", "both"])
def test_doubt_in_every_subset_of_one_batch_against_numpy(missing, fusion):
    """Clips whose audio is real and clips whose audio is doubtful meet in one batch."""
    model = make_model("any", missing=missing, fusion=fusion, transfer="gaussian", consistency="gaussian")
    split, choice = mixed(UNALIGNED)
    logits, weights = answers(model, lacking(split, choice)), reference.weights_of(model)
    for i, subset in enumerate(choice):
        clip = {name: split.streams[name].clip(i).astype(float) for name in MODALITIES if name in subset}
        np.testing.assert_allclose(logits[i].detach(), numpy_any(clip, weights, missing, True), rtol=0, atol=1e-5)


@pytest.mark.parametrize("lengths", [ALIGNED, UNALIGNED], ids=["aligned", "unaligned"])
def test_ours_is_the_case_of_language_and_vision(lengths):
    model, ours = make_model("any"), make_model("ours")
    shared = {name: value for name, value in model.state_dict().items() if name.startswith("fusion.")}
    for name in ("language", "vision"):
        shared |= {f"encoders.{name}.{k}": v for k, v in model.encoders[name].state_dict().items()}
        shared |= {f"transfer.{name}.{k}": v for k, v in model.transfer[f"{name}_to_audio"].state_dict().items()}
    shared |= {f"combine.{k}": v for k, v in model.combine["audio"].state_dict().items()}
    ours.load_state_dict(shared)
    streams = make_batch(lengths).streams
    seen = {name: streams[name] for name in ("language", "vision")}
    expected, found = ours(seen), model(seen)
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=1e-6)
    for name in seen:
        rebuilt = found.reconstructed[f"{name}_to_audio"]
        torch.testing.assert_close(rebuilt.values, expected.reconstructed[name].values, rtol=0, atol=1e-6)
    full = make_model("full")
    full.load_state_dict({k: v for k, v in model.state_dict().items() if k.startswith(("encoders.", "fusion."))})
    torch.testing.assert_close(model(streams).logits, full(streams).logits, rtol=0, atol=1e-6)


@pytest.mark.parametrize("lengths", [ALIGNED, UNALIGNED], ids=["aligned", "unaligned"])
@pytest.mark.parametrize(
    "options",
    [{"missing": "reconstruction"}, {"missing": "token"}, {"missing": "both", "transfer": "gaussian"}],
    ids=["reconstruction", "token", "both, gaussian"],
)
def test_what_is_missing_is_never_read_in_no_form_not_even_its_length(options, lengths):
    """Bitwise, for every subset alone and in a batch of all: NaN in place of the values, masks and other lengths."""
    model = make_model("any", **options)
    split, choice = mixed(lengths)
    batch = collate(split, range(len(split)), MODALITIES)
    for subset in SUBSETS:
        expected = answers(model, split.without(*(set(MODALITIES) - set(subset))))
        assert expected.isfinite().all()
        streams = {}
        for name, padded in batch.streams.items():
            kept = name in subset
            values = padded.values if kept else torch.full((len(split), 40, DIMS[name]), torch.nan)
            steps = values.shape[1]
            streams[name] = Padded(values, padded.mask if kept else torch.zeros(len(split), steps, dtype=torch.bool))
        assert torch.equal(model(streams).logits, expected), subset
    expected = answers(model, lacking(split, choice))
    poisoned = {}
    for name, padded in batch.streams.items():
        has = torch.tensor([name in subset for subset in choice])
        values = torch.where(has[:, None, None], padded.values, torch.nan)
        longer = torch.cat([values, torch.full((len(split), 33, DIMS[name]), torch.nan)], dim=1)
        mask = torch.cat([padded.full_mask() & has[:, None], torch.zeros(len(split), 33, dtype=torch.bool)], dim=1)
        poisoned[name] = Padded(longer, mask)
    assert torch.equal(model(poisoned).logits, expected)


def test_a_clip_is_predicted_alone_as_in_a_mixed_batch():
    model = make_model("any")
    split, choice = mixed(UNALIGNED)
    split = lacking(split, choice)
    together = answers(model, split)
    for i in range(len(split)):
        torch.testing.assert_close(answers(model, split.select([i]))[0], together[i], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("missing", "sharing"), FORMS)
def test_gradients_reach_every_parameter_and_no_target(missing, sharing):
    model = make_model("any", missing=missing, sharing=sharing, complete=0.2).train()
    model.nothing = 0.2
    torch.manual_seed(1)
    batch = make_batch({name: [5, 3, 6, 4, 5] * 8 for name in DIMS})
    terms = Objective(model)(batch)
    assert set(terms) == {"loss", "task", *model.weights}
    assert bool(model.weights) == (missing != "token")
    terms["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-9, name


def test_eq_1_has_no_gradient_to_its_target():
    model = make_model("any", complete=0.0).train()
    batch = make_batch({name: [5, 3, 6, 4, 5] * 8 for name in DIMS})
    model.drop = lambda present: torch.tensor([True, False, False]).expand_as(present)
    terms = model.auxiliary(model.answer(batch), batch)
    terms["language_to_audio"].backward()
    used = {name.split(".")[1] for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert used == {"language", "embedding", "transformer", "language_to_audio"} - {"embedding", "transformer"}
    assert all(terms[pair].item() == 0 for pair in model.weights if not pair.startswith("language"))


def test_a_third_of_the_training_clips_keeps_everything_and_a_few_nothing():
    torch.manual_seed(0)
    model = make_model("any")
    present = torch.ones(70_000, 3, dtype=torch.bool)
    kinds, counts = model.drop(present).unique(dim=0, return_counts=True)
    shares = {tuple(kind): count / len(present) for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True)}
    assert len(shares) == 8
    for kind, share in shares.items():
        expected = {3: 1 / 3, 0: 0.02}.get(sum(kind), (1 - 1 / 3 - 0.02) / 6)
        assert share == pytest.approx(expected, abs=0.01), kind
    some = torch.tensor([[True, False, False], [False, True, True]]).repeat(1000, 1)
    kept = model.drop(some)
    assert not (kept & ~some).any() and (kept[::2].any(1).float().mean() > 0.5)


def test_a_clip_without_anything_is_predicted_from_tokens_alone():
    model, split = make_model("any"), make_split(UNALIGNED)
    nothing = answers(model, lacking(split, [(), ("language",), (), ("audio",)]))
    assert torch.equal(nothing[0], nothing[2]) and nothing.isfinite().all()
    other = make_split({**UNALIGNED, "vision": [1, 9, 9, 1]}, seed=1)
    torch.testing.assert_close(answers(model, lacking(other, [()] * 4))[1], nothing[0], rtol=0, atol=1e-5)
    tokens = {name: Padded(token[None]) for name, token in model.tokens.items()}
    torch.testing.assert_close(nothing[:1], model.fusion(tokens), rtol=0, atol=1e-5)


def test_lambda_scales_the_terms_of_its_source_and_others_takes_other_targets():
    batch = make_batch({name: [5, 3, 6, 4, 5] * 8 for name in DIMS})
    lambdas = {"language": 6.0, "vision": 12.0, "audio": 0.0}
    model = make_model("any", weights=lambdas, complete=0.0).train()
    assert model.weights["vision_to_audio"] == 2.0 and model.weights["audio_to_language"] == 0.0
    found = []
    for others in (False, True):
        model.others = others
        torch.manual_seed(3)
        terms = Objective(model)(batch)
        total = terms["task"] + sum(weight * terms[pair] for pair, weight in model.weights.items())
        torch.testing.assert_close(terms["loss"], total)
        found.append(terms)
    assert torch.equal(found[0]["task"], found[1]["task"])
    assert all(found[0][pair] != found[1][pair] for pair in model.weights)


def test_the_quality_of_every_pair_against_numpy():
    model = make_model("any")
    split = lacking(*mixed(UNALIGNED))
    batch = collate(split, range(len(split)), MODALITIES)
    quality = transfer_quality(Objective(model).transfer_moments(batch))
    w, heads = reference.weights_of(model), SIZE["heads"]
    for source, name in itertools.permutations(MODALITIES, 2):
        predicted, target = [], []
        for i, subset in enumerate(SUBSETS):
            if {source, name} <= set(subset):
                f = {
                    m: reference.encoder(split.streams[m].clip(i).astype(float), reference.part(w, f"encoders.{m}"), 2)
                    for m in (source, name)
                }
                rebuilt = reference.transfer(f[source], reference.part(w, f"transfer.{source}_to_{name}"), heads)
                centres = (np.arange(len(rebuilt)) + 0.5) * len(f[name]) / len(rebuilt) - 0.5
                steps = np.clip(centres, 0, len(f[name]) - 1)
                target.append(np.array([np.interp(steps, np.arange(len(f[name])), column) for column in f[name].T]).T)
                predicted.append(rebuilt)
        predicted, target = np.concatenate(predicted), np.concatenate(target)
        r2 = 1 - ((predicted - target) ** 2).sum() / ((target - target.mean(0)) ** 2).sum()
        assert quality[f"{source}_to_{name}_r2"] == pytest.approx(r2, abs=1e-5)
        assert quality[f"{source}_to_{name}_std"] == pytest.approx(target.std(0).mean(), abs=1e-5)


def test_taking_placing_and_merging_by_hand():
    padded = Padded(
        torch.arange(12.0).reshape(3, 4, 1), torch.tensor([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]]).bool()
    )
    clips = torch.tensor([0, 1])
    some = taken(padded, clips)
    assert some.values[..., 0].tolist() == [[0, 1, 2], [4, 5, 6]] and some.mask.tolist() == [[1, 1, 0], [1, 0, 1]]
    back = placed(some, clips, 3)
    assert back.values.shape == (3, 3, 1) and back.present.tolist() == [True, True, False]
    other = placed(Padded(torch.full((1, 1, 1), 9.0)), torch.tensor([2]), 3)
    for joined in (merged(back, other), merged(other, back)):
        assert [joined.values[i][joined.mask[i]].flatten().tolist() for i in range(3)] == [[0, 1], [4, 6], [9]]
    assert placed(padded, torch.arange(3), 3) is padded


def test_it_trains_on_clips_that_lack_a_modality_and_on_splits_that_lack_one(tmp_path):
    """As ICT-MMMO does: words for some clips only, and none at all in a split."""
    made = synthetic.make((24, 12, 12)).dataset
    rng = np.random.default_rng(0)
    choice = [SUBSETS[i] for i in rng.integers(len(SUBSETS), size=24)]
    splits = {"train": lacking(made["train"], choice), "valid": made["valid"].without("language")}
    dataset = Dataset(made.header, splits | {"test": made["test"].without("audio")})
    config = TrainConfig(**SMALL)
    run = fit(config, dataset, tmp_path, progress=False)
    entry = run.history[0]
    assert {"valid_mae_vision_audio", "valid_mae_vision", "valid_mae_audio"} <= entry.keys()
    each = [entry[f"valid_mae_{name}"] for name in ("vision_audio", "vision", "audio")]
    assert entry["valid_mae"] == pytest.approx(np.mean(each))
    assert "valid_vision_to_audio_r2" in entry and "valid_language_to_audio_r2" not in entry
    model, _ = load_model(tmp_path / "model.pt")
    scores = evaluate(model, dataset["test"]).predictions
    assert np.array_equal(scores, evaluate(run.model, dataset["test"]).predictions) and np.isfinite(scores).all()


def test_a_modality_that_no_training_clip_has_is_not_part_of_the_model(tmp_path):
    made = synthetic.make((24, 12, 12)).dataset
    dataset = Dataset(made.header, {**made.splits, "train": made["train"].without("vision")})
    config = TrainConfig(**SMALL)
    model = build_objective(config, dataset).model
    assert model.observed == ("language", "audio")
    save_model(tmp_path / "model.pt", model, config, made.header, {"language": 16, "audio": 6})
    assert set(evaluate_subsets(model, made["test"], "inferred")) == {("language", "audio"), ("language",), ("audio",)}
    with pytest.raises(DataError, match="none of the modalities that this model observes: language, audio"):
        evaluate(model, made["test"].without("language", "audio"))


def test_training_resumes_bitwise(tmp_path):
    config = TrainConfig(**SMALL)
    dataset = synthetic.make((24, 12, 12)).dataset
    whole = fit(config, dataset, tmp_path / "whole", progress=False)
    fit(dataclasses.replace(config, epochs=1), dataset, tmp_path / "parts", progress=False)
    parts = fit(config, dataset, tmp_path / "parts", progress=False)
    for (name, a), b in zip(whole.model.state_dict().items(), parts.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_sharing_keeps_one_transformer_per_source():
    apart, shared = make_model("any"), make_model("any", sharing="source")
    transformers = {id(network.transformer) for network in shared.transfer.values()}
    assert len(transformers) == 3 and len({id(network.transformer) for network in apart.transfer.values()}) == 6
    assert sum(p.numel() for p in shared.parameters()) < sum(p.numel() for p in apart.parameters())


def test_it_refuses_what_it_cannot_do():
    with pytest.raises(ConfigError, match="'any' needs two modalities or more, but this data has only language"):
        AnyKTNet({"language": 5}, OUTPUTS["l1"])
    with pytest.raises(ConfigError, match="'any' exists for ktnet only"):
        TrainConfig(model="mult", variant="any")
    with pytest.raises(ConfigError, match="'none' is a control of 'ours'"):
        TrainConfig(variant="any", voice="none")


def test_two_modalities_are_enough():
    model = shaken(AnyKTNet({"language": 5, "audio": 3}, (1,), **SIZE, dropout=0.0)).eval()
    split = make_split(UNALIGNED).without("vision")
    found = evaluate_subsets(model, split, "inferred")
    assert set(found) == {("language", "audio"), ("language",), ("audio",)}


def test_a_prediction_says_what_was_there_and_what_was_rebuilt(tmp_path):
    made = synthetic.make((24, 12, 7)).dataset
    dataset = Dataset(made.header, {**made.splits, "test": lacking(made["test"], SUBSETS)})
    run = fit(TrainConfig(**SMALL), dataset, tmp_path, progress=False)
    store.write(tmp_path / "own.h5", dataset.header, dataset.splits.items(), progress=False)
    done = CliRunner().invoke(main, ["predict", str(tmp_path / "model.pt"), str(tmp_path / "own.h5")])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(done.output.splitlines()))
    assert [row["there"] for row in rows] == ["+".join(subset) for subset in SUBSETS]
    entry = run.history[run.best_epoch]
    for subset, row in zip(SUBSETS, rows, strict=True):
        assert row["rebuilt"] == "+".join(name for name in MODALITIES if name not in subset)
        assert float(row["valid_mae"]) == pytest.approx(entry[f"valid_mae_{'_'.join(subset)}"], abs=1e-4)
    scores = predict(run.model, dataset["test"])
    assert [float(row["score"]) for row in rows] == pytest.approx(scores.tolist(), abs=1e-4)
    silent = CliRunner().invoke(
        main, ["predict", str(tmp_path / "model.pt"), str(tmp_path / "own.h5"), "--audio", "inferred"]
    )
    rows = list(csv.DictReader(silent.output.splitlines()))
    assert rows[0]["there"] == "language+vision" and rows[0]["rebuilt"] == "audio"
    assert (rows[-1]["there"], rows[-1]["rebuilt"], rows[-1]["valid_mae"]) == ("", "", ""), "it had audio alone"
    plain = CliRunner().invoke(main, ["predict", str(tmp_path / "model.pt"), "synthetic"])
    assert plain.exit_code == 0 and plain.output.splitlines()[1].endswith(
        f"{entry['valid_mae_language_vision_audio']:.4f}"
    )


@pytest.mark.parametrize("variant", ["any", "full", "language_vision"])
def test_a_result_holds_what_a_model_for_all_modalities_does_without_some(variant, tmp_path):
    config = TrainConfig(**SMALL | {"variant": variant})
    dataset = synthetic.make((24, 12, 12)).dataset
    run = fit(config, dataset, progress=False)
    measured = result.measure(config, dataset, run)
    measured.save(tmp_path / "synthetic" / "run" / "result.json")
    published = result.load(measured.publish(tmp_path / "synthetic" / "run", tmp_path / "published"))
    for found in (result.load(tmp_path / "synthetic" / "run" / "result.json"), published):
        assert list(found.subsets) == {"any": ["inferred"], "full": ["zero", "mean"]}.get(variant, [])
        for fill, each in found.subsets.items():
            assert list(each) == ["_".join(subset) for subset in SUBSETS]
            assert each["language_vision_audio"].metrics.items() <= found.metrics["test"].items()
            assert each["language_vision"].metrics == found.without_audio[fill].metrics
            expected = evaluate(run.model, dataset["test"], fill, missing=("language", "vision")).metrics["mae"]
            assert each["audio"].metrics["mae"] == pytest.approx(expected, abs=1e-6)


def test_other_models_can_be_evaluated_without_any_modality():
    model, split = make_model("full", "l1"), make_split(UNALIGNED)
    for fill in ("zero", "mean"):
        found = evaluate_subsets(model, split, fill)
        for subset, evaluation in found.items():
            kept = Masks(split).kept(Condition(subset))
            expected = harness.predict(model, split, kept, fill)
            np.testing.assert_allclose(evaluation.predictions, expected, rtol=0, atol=1e-5)
    with pytest.raises(ConfigError, match="without vision there is nothing that this model could predict from"):
        evaluate(make_model("vision", "l1"), split, "mean", missing=("vision",))


@pytest.mark.process
def test_two_processes_train_one_model_of_clips_that_lack_modalities(tmp_path):
    """Each process draws what its clips keep, and some pairs occur in one of them only."""
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import hashlib, os, sys, torch
            sys.path[:0] = {[str(TESTS), str(TESTS.parent)]!r}
            import numpy as np
            from test_any_modality import SMALL, SUBSETS, TrainConfig, Dataset, fit, lacking, synthetic
            made = synthetic.make((24, 12, 12)).dataset
            choice = [SUBSETS[i] for i in np.random.default_rng(0).integers(7, size=24)]
            splits = dict(made.splits, train=lacking(made["train"], choice))
            run = fit(TrainConfig(**SMALL), Dataset(made.header, splits), sys.argv[1], progress=False)
            weights = b"".join(tensor.numpy().tobytes() for tensor in run.model.state_dict().values())
            losses = [entry["loss"] for entry in run.history]
            rank = os.environ["RANK"]
            open(sys.argv[1] + rank, "w").write(hashlib.sha256(weights).hexdigest() + repr(losses))
            """
        ),
        encoding="utf-8",
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*torchrun, script, tmp_path / "two"], check=True, timeout=300)
    first, second = ((tmp_path / f"two{rank}").read_text() for rank in (0, 1))
    assert first == second and "nan" not in first
