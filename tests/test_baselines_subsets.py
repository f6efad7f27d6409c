"""What the baselines that take any subset of the modalities have in common."""

import numpy as np
import pytest
import torch

import test_baselines_emt_dlfr
import test_baselines_mmin
from ktnet_lite.baselines.emt_dlfr import EMTDLFR
from ktnet_lite.baselines.mmin import MMIN
from ktnet_lite.errors import ConfigError
from ktnet_lite.robustness import harness
from ktnet_lite.robustness.conditions import Condition, Masks
from ktnet_lite.training.evaluation import evaluate_subsets
from small import UNALIGNED, make_split
from some_missing import LENGTHS, NAMES, SUBSETS, batch_of, clips_of, lacking, poisoned

made = pytest.mark.parametrize("make", [test_baselines_emt_dlfr.make, test_baselines_mmin.make], ids=["emt", "mmin"])


@made
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_what_is_missing_is_never_read_in_no_form_not_even_its_length(make, lengths):
    """Bitwise, for every subset alone and in a batch of all: NaN in place of the values, masks and other lengths."""
    model, split = make(), clips_of(lengths, len(SUBSETS))
    batch = batch_of(split)
    for subset in SUBSETS:
        expected = model.answer(batch_of(split.without(*set(NAMES) - set(subset)))).logits
        assert expected.isfinite().all()
        assert torch.equal(model(poisoned(batch, [subset] * len(split))).logits, expected), subset
    expected = model.answer(batch_of(lacking(split, SUBSETS))).logits
    assert torch.equal(model(poisoned(batch, SUBSETS)).logits, expected)


@made
def test_a_clip_is_predicted_alone_as_in_a_mixed_batch(make):
    model, split = make(), lacking(clips_of(UNALIGNED, len(SUBSETS)), SUBSETS)
    together = model.answer(batch_of(split)).logits
    for i in range(len(split)):
        alone = model.answer(batch_of(split.select([i]))).logits[0]
        torch.testing.assert_close(alone, together[i], rtol=0, atol=1e-5)


@made
def test_evaluation_and_the_harness_of_missing_modalities_agree(make):
    model, split = make(outputs=(1,)), make_split(UNALIGNED)
    assert model.fills == ("inferred",)
    for subset, evaluation in evaluate_subsets(model, split, "inferred").items():
        kept = Masks(split).kept(Condition(subset))
        expected = harness.predict(model, split, kept, "inferred")
        np.testing.assert_allclose(evaluation.predictions, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("system", "name"), [(EMTDLFR, "emt_dlfr"), (MMIN, "mmin")])
def test_it_needs_two_modalities(system, name):
    with pytest.raises(ConfigError, match=f"{name} needs two modalities or more, but this data has only language"):
        system({"language": 5}, (1,), dim=4, dropout=0.0)
