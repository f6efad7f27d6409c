"""The landing page's three lines: each says what the results say."""

import re

import pytest

from ktbook import headlines
from ktnet_lite.experiments import grids
from ktnet_lite.experiments.result import published
from ktnet_lite.reporting import frame, reproduce
from ktnet_lite.reporting.verdicts import BETTER, UNDETECTED, WORSE

LINES = headlines.load()


@pytest.fixture(scope="module")
def tables():
    results = frame.load(published())
    wanted = {check.grid for line in LINES for check in line.checks}
    names = [name for name in grids.names() if name in wanted or grids.load(name).paper]
    return {name: reproduce.build(grids.load(name), results, 5) for name in names}


def test_there_are_three_and_each_rests_on_something():
    assert [line.title for line in LINES] == ["What holds:", "What does not:", "What cannot be tested here:"]
    assert all(line.checks or line.not_run for line in LINES)


def test_numbers_in_the_lines_are_those_of_their_checks():
    for line in LINES:
        places = [int(place) for place in re.findall(r"{(\d+)}", line.text)]
        assert all(place < len(line.checks) for place in places)
        assert not re.search(r"\d[.]\d", re.sub(r"redundancy \d[.]\d", "", line.text)), "a number of its own"


def test_verdicts_are_ones():
    assert {check.verdict for line in LINES for check in line.checks} <= {BETTER, WORSE, UNDETECTED}


@pytest.mark.slow
def test_each_line_says_what_the_results_say(tables):
    for line in LINES:
        for x in headlines.seen(line, tables):
            assert x.comparison is not None, f"not run: {x.check}"
            assert x.agrees, f"{x.comparison.verdict}, p {x.comparison.p:.3f}, {x.comparison.difference}: {x.check}"
            if x.check.verdict != UNDETECTED:
                assert x.comparison.difference.low * x.comparison.difference.high > 0, x.check
    for name in (name for line in LINES for name in line.not_run):
        of_name = [table for group in tables.values() for table in group if table.data == name]
        assert of_name and not any(table.results() for table in of_name), name
    told = headlines.markdown(tables)
    assert told.count("**What") == 3 and "not run yet" not in told


@pytest.mark.slow
def test_a_wrong_verdict_is_noticed(tables):
    line = next(line for line in LINES if line.checks)
    (first, *_) = headlines.seen(line, tables)
    other = next(verdict for verdict in (BETTER, WORSE) if verdict != first.check.verdict)
    assert (
        first.agrees
        and not first._replace(
            comparison=first.comparison._replace(p=0.9 if first.comparison.detected else 0.001)
        ).agrees
    )
    assert not first._replace(comparison=None).agrees and other != first.comparison.verdict
