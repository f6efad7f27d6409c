"""The verdicts: one word for each outcome, whatever table or claim it stands in."""

import pytest

from ktnet_lite.reporting import markdown, verdicts


@pytest.mark.parametrize(
    ("metric", "mean", "p", "verdict"),
    [
        ("mae", -0.1, 0.01, "holds"),
        ("mae", 0.1, 0.01, "contradicted"),
        ("corr", 0.1, 0.01, "holds"),
        ("mae", -0.1, 0.05, "no difference detected"),
    ],
)
def test_a_claim_to_be_better_needs_a_small_p_and_the_right_sign(metric, mean, p, verdict):
    assert verdicts.of_claim(metric, mean, p) == verdict


def test_close_is_an_interval_on_one_side_of_the_margin():
    assert verdicts.of_closeness(-0.01, 0.3, margin=0.01) == "close"
    assert verdicts.of_closeness(-0.3, -0.011, margin=0.01) == "not close"
    assert verdicts.of_closeness(-0.3, -0.01, margin=0.01) == "undecided"


def test_no_word_has_two_meanings_and_the_rules_explain_those_of_the_tables():
    of_claims = (*verdicts.FOR, *verdicts.AGAINST, *verdicts.NEITHER)
    of_tables = (verdicts.SAME, verdicts.OPPOSITE, verdicts.BETTER, verdicts.WORSE, verdicts.UNDETECTED)
    assert len(set(of_claims)) == len(of_claims) == 6
    assert {*of_claims} & {*of_tables} == {verdicts.UNDETECTED}
    rules = " ".join(markdown.RULES.split())
    assert all(f"*{word}*" in rules for word in of_tables)
