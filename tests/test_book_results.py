"""The results pages: what they say follows from the result files, also from few and from none."""

import dataclasses
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

import step
from ktbook import (
    claims,
    generated,
    result_choices,
    result_claims,
    result_doubt,
    result_figures,
    result_light,
    result_runs,
    result_tables,
    result_text,
    result_words,
)
from ktbook import results as extension
from ktnet_lite.cli import main
from ktnet_lite.config import TrainConfig
from ktnet_lite.experiments import grids
from ktnet_lite.experiments.result import Filled, Result, load, published
from ktnet_lite.measures.statistics import Difference, Interval
from ktnet_lite.reporting import frame
from ktnet_lite.reporting import markdown as pages
from ktnet_lite.reporting import reproduce as reproduction
from ktnet_lite.reporting.compare import Comparison
from ktnet_lite.reporting.tables import Table
from ktnet_lite.training.decoding import Decoded, Fidelity
from made import make_result
from test_book import parse

ROOT = Path(__file__).resolve().parents[1]

ADDRESS = "https://example.org/repository/blob/main/results"
PAGES = [ROOT / "book" / "results.md", *sorted((ROOT / "book" / "results").glob("*.md"))]
CLOSE = next(claim for claim in claims.CLAIMS if claim.close)
BETTER = claims.CLAIMS[0]
ERRORS = {"Full modality": 0.3, "Language and vision": 0.9, "Language only": 1.2, "Ours": 0.5}


def result(config: TrainConfig, error: float) -> Result:
    """A result whose curves and validation metrics are round numbers; full models are also tested without audio."""
    filled = {"zero": 2.0} if config.variant == "full" else {}
    epochs = ((error + 0.1, 0.8), (error, error))
    curves = [{"valid_mae": mae, "valid_audio_std": std, "seconds": 15.0} for mae, std in epochs]
    run = make_result(config, error, clips=300, without_audio=filled, curves=curves)
    return msgspec.structs.replace(run, metrics=run.metrics | {"valid": run.metrics["valid"] | {"mae": error}})


def saved(folder: Path, name: str, errors: dict, data: str = "synthetic", column: str = "word aligned") -> list[Path]:
    """Two seeds of each row of a grid that has an error."""
    paths = []
    for cell in grids.load(name).cells(data):
        if cell.column == column and cell.row in errors:
            for config in cell.configs(range(2)):
                place = folder / config.dataset / f"{len(list(folder.rglob('*.json')))}.result.json"
                place.parent.mkdir(parents=True, exist_ok=True)
                result(config, errors[cell.row]).save(place)
                paths.append(place)
    return paths


def build(name: str, paths) -> list[Table]:
    """A grid's tables from result files."""
    return reproduction.build(grids.load(name), frame.load(paths), 2)


@pytest.fixture(scope="module")
def empty() -> dict[str, list[Table]]:
    """Tables of every grid without results."""
    return {name: build(name, []) for name in grids.names()}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("results"), "table_1", ERRORS)


@pytest.fixture(scope="module")
def made_tables(empty, paths):
    return empty | {"table_1": build("table_1", paths)}


def comparison(metric: str, low: float, high: float, p: float) -> Comparison:
    return Comparison("c", "a", "b", metric, Difference((low + high) / 2, low, high, 5, p), p, None)


# Claims


@pytest.mark.parametrize(
    ("metric", "low", "high", "p", "verdict"),
    [
        ("mae", -0.2, -0.1, 0.01, "holds"),
        ("mae", 0.1, 0.2, 0.01, "contradicted"),
        ("mae", -0.2, -0.1, 0.05, "no difference detected"),
        ("mae", 0.1, 0.2, 0.06, "no difference detected"),
        ("acc2_nonzero", 0.1, 0.2, 0.01, "holds"),
        ("acc2_nonzero", -0.2, -0.1, 0.01, "contradicted"),
    ],
)
def test_a_claim_to_be_better_goes_by_p_and_then_by_the_sign(metric, low, high, p, verdict):
    assert claims.Finding(BETTER, "d", comparison(metric, low, high, p)).verdict == verdict


@pytest.mark.parametrize(
    ("metric", "low", "high", "verdict"),
    [
        ("mae", -0.2, 0.011, "close"),
        ("mae", 0.013, 0.2, "not close"),
        ("mae", 0.011, 0.2, "undecided"),
        ("acc2_nonzero", -0.005, 0.1, "close"),
        ("acc2_nonzero", -0.1, -0.007, "not close"),
        ("acc2_nonzero", -0.1, 0.1, "undecided"),
        ("accuracy_mean", -0.003, 0.1, "close"),
        ("accuracy_mean", -0.005, 0.1, "undecided"),
    ],
)
def test_a_claim_to_be_close_goes_by_the_papers_own_distance_and_not_by_p(metric, low, high, verdict):
    for p in (0.001, 0.9):
        assert claims.Finding(CLOSE, "d", comparison(metric, low, high, p)).verdict == verdict


def test_close_is_as_far_behind_as_the_paper_is_at_most():
    assert claims.margin(CLOSE, "mae") == pytest.approx(0.012)  # Table II, aligned
    assert claims.margin(CLOSE, "acc2_nonzero") == pytest.approx(0.006)  # Tables I and II, aligned
    assert claims.margin(CLOSE, "accuracy_mean") == pytest.approx(0.004)  # Table III, unaligned, happy


def test_every_claim_has_its_rows_compared_in_each_of_its_grids():
    for claim in (*claims.CLAIMS, claims.BOLDEST):
        assert all((claim.ours, claim.other) in grids.load(name).compare for name in claim.grids), claim.text


@pytest.mark.slow
def test_a_flipped_result_flips_the_verdict(empty, tmp_path):
    rows = "Ours", "Language and vision"
    for folder, errors, verdict in (
        ("a", (0.5, 0.9), "holds"),
        ("b", (0.9, 0.5), "contradicted"),
        ("c", (0.5, 0.5), "no difference detected"),
    ):
        paths = saved(tmp_path / folder, "table_1", dict(zip(rows, errors, strict=True)))
        found = empty | {"table_1": build("table_1", paths)}
        line = next(x for x in result_claims.claims(found).splitlines() if x.startswith(f"| {BETTER.text} "))
        assert f"`{verdict}`" in line.split("|")[3].split("<br>")[0], line
        assert f"*{verdict}* on `synthetic`, word aligned" in result_claims.central(found)
        told = {"holds": "1 holds wherever", "contradicted": "1 is contradicted"}
        assert told.get(verdict, "1 stays open") in result_claims.summary(found)


def test_the_summary_counts_claims_by_what_was_shown(made_tables, empty):
    told = result_claims.summary(made_tables)
    verdicts = [{x.verdict for x in claims.findings(claim, made_tables)} for claim in claims.CLAIMS]
    everywhere, untested = sum(x == {"holds"} for x in verdicts), sum(not x for x in verdicts)
    assert everywhere and untested
    assert f"{everywhere} hold{'s' if everywhere == 1 else ''} wherever" in told
    assert f"{untested} are not tested yet" in told
    assert result_claims.summary(empty) == f"Of {len(claims.CLAIMS)} claims, {len(claims.CLAIMS)} are not tested yet."


def test_a_training_that_two_tables_share_counts_once(made_tables, paths):
    twice = made_tables | {"table_2": build("table_2", paths)}
    assert twice["table_2"][1].comparisons
    assert claims.findings(BETTER, twice) == claims.findings(BETTER, made_tables)


def test_emotions_are_a_setting_of_their_own_judged_by_accuracy(empty, tmp_path):
    errors = {"Ours": 0.3, "Language and vision": 1.2}
    found = empty | {"table_3": build("table_3", saved(tmp_path, "table_3", errors, column="unaligned"))}
    assert "*holds* on `synthetic`, emotions, unaligned" in result_claims.central(found)
    table = found["table_3"][1]
    assert result_tables.alt(table, "unaligned").startswith("Acc happy on synthetic, unaligned")
    assert re.search(r"Acc \+0\.\d{3} \{bdg-success\}`holds`", result_claims.claims(found))


def test_the_evidence_has_the_papers_numbers_and_says_when_one_speaks_against_it(made_tables):
    told = result_claims.evidence(made_tables)
    mine = told[: told.index(":::\n\n")]
    assert "CMU-MOSI, word aligned: Acc2 (non-zero) +0.010, MAE +0.009 (against it)" in mine
    (mae, *_) = (x.comparison for x in claims.findings(BETTER, made_tables))
    assert str(mae.difference) in mine and f"{mae.p:.3f}" in mine
    assert told.count(":::{dropdown}") == len(claims.CLAIMS) and "Not run yet: `ktnet-lite reproduce 5" in told


def test_silence_is_compared_with_ours(made_tables, paths):
    (_, table, *_) = made_tables["table_1"]
    found = claims.controls(table, frame.load(paths))
    assert [(x.ours, x.other, x.metric) for x in found] == [
        ("Ours", "full, audio = 0", "mae"),
        ("Ours", "full, audio = 0", "acc2_nonzero"),
    ]
    ours, full = (table.results(row, "word aligned") for row in ("Ours", "Full modality"))
    gaps = [
        run.metrics["test"]["mae"] - heard.without_audio["zero"].metrics["mae"]
        for run, heard in zip(ours, full, strict=True)
    ]
    assert found[0].difference.mean == pytest.approx(np.mean(gaps)) and found[0].verdict == "better"
    told = result_claims.controls({"synthetic": found})
    (row,) = (line for line in told.splitlines() if str(found[0].difference) in line)
    assert row.strip("| ").endswith("2"), "the seeds that both have"
    missing = "“ours, lambda = 0” on `synthetic`, word aligned; “ours, other voices” on `synthetic`, word aligned."
    assert told.rstrip().endswith(f"Not run yet: {missing}")


@pytest.mark.parametrize("name", claims.CONTROLS)
def test_a_control_of_ours_is_found_among_all_results_by_what_was_changed(made_tables, paths, tmp_path, name):
    (_, table, *_) = made_tables["table_1"]
    runs = table.results("Ours", "word aligned")
    for seed, run in enumerate(runs):
        for place, changes in (("control", {}), ("further", {"epochs": 7})):
            config = dataclasses.replace(run.config, **claims.CONTROLS[name], **changes)
            result(config, 0.9).save(tmp_path / f"{place}{seed}.result.json")
    results = frame.load([*paths, *sorted(tmp_path.iterdir())])
    found = claims.controls_of(table, "word aligned", results)[name]
    assert [path.name for path in found["path"]] == ["control0.result.json", "control1.result.json"]
    (mae, _) = (x for x in claims.controls(table, results) if x.other == name)
    assert mae.verdict == "better" and mae.difference.runs == 2
    assert f"“{name}”" not in result_claims.controls({"synthetic": claims.controls(table, results)})
    drawn = result_figures.comparison(made_tables["table_1"], results)
    assert (
        name in [label.get_text() for label in drawn.figure.axes[0].get_yticklabels()] and f"; {name} 0." in drawn.alt
    )


def test_the_landing_table_keeps_the_papers_data_apart_and_tests_the_claim(made_tables):
    told = result_claims.landing(made_tables)
    ours, papers = told.split(":::{dropdown}")
    head, row = ours.splitlines()[1], next(x for x in ours.splitlines() if x.startswith("| Ours"))
    assert "MAE, word aligned" in head and "MAE, unaligned" in head
    table = made_tables["table_1"][1]
    assert str(table.values["Ours", "word aligned"]["mae"].interval) in row.replace("**", "") and "not run" in row
    assert "0.823" in papers and "CMU-MOSI" in papers and "0.823" not in ours
    assert "mean of 2 seeds" in told
    (mae, *_) = (x for x in claims.findings(BETTER, made_tables))
    last = next(x for x in ours.splitlines() if x.startswith("| **Ours minus language and vision**"))
    assert f"{mae.comparison.difference}: *holds*" in last


def test_the_base_compares_the_teacher_with_the_linear_model_and_counts_shared_runs_once(tmp_path):
    errors = {"Full modality": 0.9, "linear": 0.5}
    paths = saved(tmp_path, "table_1", errors) + saved(tmp_path, "transfer", errors, column="redundancy 0.7")
    tables = {name: build(name, paths) for name in ("table_1", "table_2", "transfer")}
    first, second = result_claims.bases(tables)
    assert (first.settings, first.data, first.comparison.column) == ("the paper's", "`synthetic`", "word aligned")
    assert (second.settings, second.comparison.column) == ("ours", "redundancy 0.7")
    assert first.full > first.linear and first.comparison.verdict == "worse"
    told = result_claims.weak_base(tables)
    assert f"full modality has MAE {first.full:.3f} and the linear model {first.linear:.3f}" in told
    assert str(first.comparison.difference) in told and "redundancy" not in told
    assert result_claims.base(tables).count("| worse ") == 2


# Tables and pictures


def test_a_page_has_the_papers_numbers_alone_where_there_are_none_of_ours(made_tables):
    page = result_tables.grid_page(made_tables["table_1"], [])
    mosi = page[page.index("## On CMU-MOSI") : page.index("## On synthetic")]
    assert "| Ours " in mosi and "0.858" in mosi and "needs mosi (" not in mosi
    assert "ktnet-lite data fetch mosi --from FOLDER" in mosi
    synthetic = page[page.index("## On synthetic") : page.index("## On mosi-utterance")]
    assert str(made_tables["table_1"][1].values["Ours", "word aligned"]["mae"].interval) in synthetic.replace("**", "")
    assert "0.858" not in synthetic, "the paper's number is on other data"
    assert synthetic.count(":::{tab-item}") == 3 and synthetic.count("::::{tab-set}") == 1


def test_a_picture_has_a_text_with_its_numbers(made_tables):
    table = made_tables["table_1"][1]
    told = result_tables.alt(table, "word aligned")
    assert f"Ours {table.values['Ours', 'word aligned']['mae'].interval}" in told and "\n" not in told
    page = result_tables.grid_page(made_tables["table_1"], ["table_1-synthetic-word-aligned.png"])
    assert f"/book/generated/results/table_1-synthetic-word-aligned.png\n:alt: {told}\n" in page


def test_the_central_pictures_are_of_these_runs(made_tables, empty):
    drawn = result_figures.comparison(made_tables["table_1"], frame.load([]))
    (panel,) = drawn.figure.axes
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert names == ["full", "full, audio = 0", "language", "language_vision", "ours"]
    assert "ours " + str(made_tables["table_1"][1].values["Ours", "word aligned"]["mae"].interval) in drawn.alt
    lines = result_figures.by_epoch(made_tables["table_1"])
    assert "ours from 0.60 to 0.50" in lines.alt and "language " not in lines.alt
    nothing = result_figures.comparison(empty["table_1"], frame.load([])), result_figures.by_epoch(empty["table_1"])
    assert nothing == (None, None) and result_figures.by_claim(empty) is None
    assert result_figures.png(drawn.figure) == result_figures.png(drawn.figure)


def test_the_map_of_the_noise_waits_for_all_its_cells(empty):
    (table,) = empty["noise"]
    assert result_figures.noise(table) is None
    its = [
        Comparison(column, "Ours", other, "mae", Difference(0.1 * i - 0.4, -1, 1, 5, 0.01), 0.01, None)
        for i, column in enumerate(table.grid.columns)
        for other in ("Full modality", "Language and vision")
    ]
    drawn = result_figures.noise(table._replace(comparisons=its))
    assert "redundancy 0, noise 0 -0.40" in drawn.alt and "redundancy 1, noise 3 +0.40" in drawn.alt
    texts = [text.get_text() for text in drawn.figure.axes[0].texts]
    assert texts[0] == "-0.40" and texts[-1] == "+0.40"
    assert result_figures.noise(table._replace(comparisons=its[:-1])) is None
    told = result_claims.boldest({"noise": [table._replace(comparisons=its)]})
    assert "better than full modality in 4 of 9 settings (redundancy 0, noise 0;" in told and "worse in" in told
    assert "It is better than language and vision in 4 of 9 settings" in told


def test_the_claims_are_drawn_with_better_to_the_right_and_described_by_verdict(made_tables):
    drawn = result_figures.by_claim(made_tables)
    left, right = drawn.figure.axes
    assert (left.get_xlabel(), right.get_xlabel()) == ("gain in MAE", "gain in accuracy")
    (mae, accuracy, *_) = claims.findings(BETTER, made_tables)
    assert list(left.lines[1].get_xdata()) == [-mae.comparison.difference.high, -mae.comparison.difference.low]
    assert list(right.lines[1].get_xdata()) == [accuracy.comparison.difference.low, accuracy.comparison.difference.high]
    assert f"{BETTER.text}: holds on synthetic, word aligned" in drawn.alt


# Learning curves


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    """The grid without most of its cells: one column whole, one with two rows."""
    folder = tmp_path_factory.mktemp("curves")
    errors = {"Language and vision": 0.9, "Ours": 0.5, "Ours, unlabelled clips": 0.9, "linear": 0.7}
    paths = saved(folder, "curves", errors, column="redundancy 1, 100 clips")
    paths += saved(folder, "curves", dict(list(errors.items())[:2]), column="redundancy 0.7, 3000 clips")
    (table,) = build("curves", paths)
    return table


def test_the_map_shows_where_transfer_pays_and_leaves_gaps(curves, empty):
    drawn = result_figures.where_it_pays(curves)
    ours, unlabelled = drawn.figure.axes
    texts = [text.get_text() for text in ours.texts]
    assert texts.count("not run") == 6 and texts[4].startswith("-0.") and texts[3].startswith("-0.")
    undetected = [text.get_text() for text in unlabelled.texts]
    assert undetected.count("not run") == 7 and undetected[4].startswith("(")
    assert ours.get_xlabel() == "labelled clips"
    assert [label.get_text() for label in ours.get_xticklabels()] == ["100", "300", "1000", "3000"]
    assert f"redundancy 1, 100 clips {texts[4]}" in drawn.alt and "clips +" not in drawn.alt.split("unlabelled")[0]
    assert result_figures.where_it_pays(*empty["curves"]) is None


def test_the_tables_of_the_curves_have_a_part_for_each_redundancy(curves, empty):
    errors, differences = result_claims.by_labels(curves), result_claims.by_mae(curves)
    for text in (errors, differences):
        assert re.findall(r"\{table\} (redundancy [\d.]+)", text) == ["redundancy 0.7", "redundancy 1"]
    assert "100 clips" in errors and "not run" in errors and "Not run yet" in result_claims.by_labels(*empty["curves"])
    value = curves.values["Ours", "redundancy 1, 100 clips"]["mae"].interval
    assert f"{value}, 2" in errors.replace("**", "")
    (x, *_) = (x for x in curves.comparisons if (x.column, x.metric) == ("redundancy 1, 100 clips", "mae"))
    assert f"{x.difference}, 2 seeds: better" in differences and "single seed" not in differences
    assert "Not run yet: `ktnet-lite reproduce curves" in result_claims.by_mae(*empty["curves"])


# Choices


def test_an_effect_is_the_other_reading_minus_the_default(tmp_path):
    found = build("table_5", saved(tmp_path, "table_5", {"L1": 0.9, "L2": 0.5}))
    choice, table = result_choices.CHOICES["consistency"], found[1]
    (effect,) = result_choices.effects(choice, table)
    (own, *_) = table.comparisons
    assert (effect.ours, effect.other, effect.verdict) == ("L1", "L2", "worse") and own.ours == "L2"
    assert effect.difference.mean == -own.difference.mean > 0
    assert effect.difference.low == -own.difference.high < effect.difference.high
    assert result_choices.chosen(choice, table) == "L2"
    told = result_choices.measured(choice, found)
    assert str(effect.difference) in told and "would choose “L2” on `synthetic`" in told
    assert "on `CMU-MOSEI` (`ktnet-lite reproduce 5 --data CMU-MOSEI`)" in told


def test_every_choice_is_of_rows_that_its_grid_compares():
    for choice in result_choices.CHOICES.values():
        for other in choice.others:
            assert {(other, choice.default), (choice.default, other)} & set(grids.load(choice.grid).compare), other


def test_the_valid_split_chooses_once_all_readings_have_been_run(tmp_path):
    choice = result_choices.CHOICES["treatment"]
    errors = {"teacher": 0.6, "joint": 0.7, "random": 0.5, "naive": 0.8}
    paths = saved(tmp_path, "treatments", errors)
    (synthetic, *_) = build("treatments", paths)
    assert result_choices.chosen(choice, synthetic) == "random"
    assert "0.80 to 0.80 with `naive`" in result_choices.collapse(synthetic)
    (partial, *_) = build("treatments", paths[:-2])
    assert result_choices.chosen(choice, partial) is None


# Runs and costs


def test_a_card_tells_what_was_trained_and_links_each_seed(paths):
    card = result_runs.cards(frame.load(paths), ADDRESS)
    (settings,) = re.findall("shared settings: (.*)", card)
    paper = ["batch_size 24", "heads 8", "kernel 1", "layers 3", "patience 0", "task_loss cross_entropy"]
    assert sorted(settings.split(", ")) == sorted(["aligned True", "epochs 12", *paper])
    assert "clips: 600 train, 300 valid, 300 test" in card
    lines = [line for line in card.splitlines() if line.startswith("| ours")]
    assert len(lines) == 1
    for path in paths:
        assert f"]({ADDRESS}/synthetic/{path.name})" in card
    assert result_runs.cards(frame.load([]), ADDRESS) == "No result files.\n"


def test_settings_that_differ_stand_in_the_rows_and_the_default_comes_first(tmp_path):
    rows = {"0": 0.9, "1": 0.5}
    its = result_runs.groups(result_runs.runs(frame.load(saved(tmp_path, "lambda", rows))))
    assert [group.settings.get("lambda_vision") for group in its] == [None, 0.0]
    assert [[run.seed for _, run in group.runs] for group in its] == [[0, 1], [0, 1]]


def test_a_setting_is_of_all_even_where_a_system_has_no_use_for_it(tmp_path):
    configs = [TrainConfig(model=model, variant="full", epochs=12) for model in ("ktnet", "constant")]
    for config in configs:
        result(config, 0.5).save(tmp_path / f"{config.system}.result.json")
    card = result_runs.cards(frame.load(sorted(tmp_path.iterdir())), ADDRESS)
    assert "shared settings: epochs 12\n" in card
    assert [line.split("|")[2].strip() for line in card.splitlines() if line.startswith("| ")][1:] == ["", ""]


def test_times_are_medians_by_system_and_data(paths):
    told = result_runs.times(frame.load(paths))
    assert "On one x86_64 CPU, 1 of 2 cores:" in told and "synthetic, aligned, 12 epochs" in told
    assert "30 s" in next(line for line in told.splitlines() if line.startswith("| ours"))


def test_an_estimate_is_bound_by_the_slower_of_arithmetic_and_step():
    cost = result_runs.Cost("MOSI", 100, {"small": 1e9, "large": 1e12})
    assert cost.seconds("small") == pytest.approx(100 * result_runs.STEP)
    assert cost.seconds("large") == pytest.approx(100 * 1e12 / result_runs.SPEED)
    row = result_runs.counted([cost]).splitlines()[4].split("|")
    assert [cell.strip() for cell in row[4:6]] == ["1e+03", "0.1"]


def test_the_counted_trainings_are_of_the_published_sizes(monkeypatch):
    monkeypatch.setattr(step, "training_flops", lambda objective, batch: len(batch.targets))
    its = {cost.data: cost for cost in result_runs.costs(["ours"])}
    assert its["MOSI, aligned"].steps == 54 * 40 and its["MOSEI, unaligned"].steps == 681 * 40
    assert all(cost.flops == {"ours": 24} for cost in its.values())


# The extension


@pytest.fixture(scope="module")
def without_results():
    """What is made without results: files by name, and numbers by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result_runs, "costs", lambda: [result_runs.Cost("MOSI", 1, {"ours": 1e9})])
        return extension.files(frame.load([]), ADDRESS)


def test_every_table_of_a_result_page_has_a_caption(made_tables, curves):
    written = [result_tables.grid_page(group, []) for group in made_tables.values()]
    written += [each(made_tables) for each in (result_claims.evidence, result_claims.claims, result_claims.landing)]
    written += [result_claims.base(made_tables), result_claims.by_labels(curves), result_claims.by_mae(curves)]
    for text in written:
        captions = re.findall(r"^(.*)\n.*\n\|[-|]+\|$", text, re.MULTILINE)
        assert all(re.match(r"~~~\{table\} .*(lower|higher|zero)", line) for line in captions), captions
    shown = "{table} `synthetic`, word aligned, test set: mean over 2 seeds and 95% interval; MAE: lower is better"
    assert shown in "".join(written)


def test_rows_that_hear_the_voice_stand_apart_and_the_best_of_the_others_is_bold(made_tables):
    table = made_tables["table_1"][1]
    lines = pages.values(table, "word aligned").splitlines()
    place = {line.split("|")[1].strip(): i for i, line in enumerate(lines)}
    rule = place[f"*{pages.WITH_VOICE}*"]
    assert place["Ours"] < rule < place["Full modality"]
    assert all(x not in place and x in pages.not_run(table, "word aligned") for x in ("MCTN", "Vision only"))
    assert not any("**" in line for line in lines[rule:])
    found = {row: values["mae"] for (row, name), values in table.values.items() if name == "word aligned" and values}
    deaf = {row: value.interval.mean for row, value in found.items() if place[row] < rule}
    assert f"**{min(deaf.values()):.3f}** " in lines[place[min(deaf, key=deaf.get)]]


def test_without_results_every_page_is_there_and_says_so(without_results):
    made_files, told = without_results
    assert all(isinstance(text, str) and text.strip() for text in (*made_files.values(), *told.values()))
    assert result_text.NOTHING in made_files["claims.md"] and result_text.NOTHING in made_files["landing.md"]
    assert all(made_files[f"{name}.md"].startswith("##") for name in grids.names()), "no other file has a grid's name"
    assert told["results_runs"] == "0" and "Nothing has been run on CMU-MOSI" in told["results_not_run"]
    assert "](/book" not in "".join(made_files.values()) and ":::{figure}" not in "".join(made_files.values())


def included(path: Path) -> set[str]:
    return set(re.findall(r"```\{include\} (?:\.\./)?generated/results/(\S+)", path.read_text(encoding="utf-8")))


def test_pages_include_what_is_made_and_all_of_it(without_results):
    made_files, _ = without_results
    wanted = set().union(*map(included, (ROOT / "book").rglob("*.md")))
    assert wanted == {name for name in made_files if name.endswith(".md")}


def test_numbers_that_pages_ask_for_exist_and_none_is_idle(without_results):
    _, told = without_results
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "book").rglob("*.md"))
    asked = {name for name in re.findall(r"\{\{ (\w+) \}\}", pages) if name.startswith(("results_", "cost_"))}
    assert asked == told.keys()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_measured_number_is_typed_on_a_results_page(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.findall(r"\d+[.,]\d+|\d+ ?%", text)


def test_the_commands_on_choices_and_results_are_ones(empty):
    told = "".join(result_choices.measured(choice, empty[choice.grid]) for choice in result_choices.CHOICES.values())
    text = told + result_claims.evidence(empty) + (ROOT / "book" / "choices.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"`ktnet-lite ([^`]+)`", text))
    assert len(commands) > 10
    for line in commands:
        parse(main, shlex.split(line))


def test_what_is_made_is_kept_until_a_source_changes(paths, monkeypatch, tmp_path):
    calls = []

    def files(results, address):
        calls.append(address)
        return {"claims.md": "text"}, {"results_runs": str(results["path"].nunique()), "mine": "of the extension"}

    monkeypatch.setattr(generated, "FOLDER", tmp_path)
    monkeypatch.setattr(extension, "files", files)
    monkeypatch.setattr(extension, "published", lambda: paths)
    theme = {"repository_url": "https://example.org/repository", "repository_branch": "main"}
    config = SimpleNamespace(html_theme_options=theme, myst_substitutions={"mine": "of the configuration"})
    extension.make(None, config)
    assert config.myst_substitutions == {"results_runs": "8", "mine": "of the configuration"}
    extension.make(None, config)
    assert calls == [ADDRESS] and (tmp_path / "results" / "claims.md").read_text(encoding="utf-8") == "text"
    text = paths[0].read_text(encoding="utf-8")
    paths[0].write_text(text + "\n", encoding="utf-8")
    extension.make(None, config)
    for damage in ("", "[]", '{"digest": 1}', "[" * 10**5):
        (tmp_path / "results" / "state.json").write_text(damage, encoding="utf-8")
        calls.clear()
        extension.make(None, config)
        assert calls == [ADDRESS], "made again"
    calls[:] = [ADDRESS] * 2
    (tmp_path / "results" / "claims.md").unlink()
    extension.make(None, config)
    theme["repository_branch"] = "other"
    extension.make(None, config)
    paths[0].write_text(text, encoding="utf-8")
    assert len(calls) == 4 and calls[-1] == ADDRESS.replace("main", "other")


def test_an_interval_stays_in_one_piece():
    text = result_text.unbroken(f"{Interval(0.5, 0.4, 0.6, 5)} p = 0.1 [a, b] MAE -0.1, 5 seeds")
    assert text.replace("\N{NO-BREAK SPACE}", "_") == "0.500 [0.400,_0.600] p_=_0.1 [a, b] MAE_-0.1, 5_seeds"


# Doubt


def test_the_tables_of_doubt_show_calibration_and_how_often_intervals_cover(tmp_path):
    (cell, *_) = (c for c in grids.load("doubt").cells("synthetic") if c.row == "Any, gaussian")
    parts = {"crps": 0.5, "crps_constant": 0.6, "coverage_80": 0.81, "error_slope": 1.1, "error_correlation": 0.4}
    truth = {"true_slope": 0.9, "true_correlation": 0.7, "true_ratio": 1.2}
    paths = []
    for config in cell.configs([0, 1]):
        made = make_result(config, 0.5, clips=300)
        filled = Filled(made.metrics["test"], {}, [0.0] * 300)
        reach = float(np.sort(np.abs(made.targets))[179 + 60 * config.seed])  # covers 180 and 240 of 300 clips
        run = msgspec.structs.replace(
            made,
            calibration={"language_to_audio": parts | truth, "audio_to_language": parts},
            subsets={"inferred": {"vision": filled}},
            half_widths={"vision": [0.1, reach, 5.0, 6.0]},
        )
        paths.append(run.publish(tmp_path / "synthetic" / f"any-seed{config.seed}", tmp_path / "results"))
    tables = reproduction.build(grids.load("doubt"), frame.load(paths), 5)
    pages = result_doubt.page(tables)
    rows = [line for line in pages["doubt-calibration.md"].splitlines() if "from language" in line]
    scores, agreement = ([part.strip() for part in row.strip("|").split("|")] for row in rows)
    assert scores[2:] == ["0.500", "0.600", "0.810", "2"]
    assert agreement[2:] == ["0.400", "1.100", "0.700", "0.900", "1.200", "2"]
    (row,) = (line for line in pages["doubt-intervals.md"].splitlines() if line.startswith("| Any, gaussian"))
    cells = [part.strip() for part in row.strip("|").split("|")]
    assert cells[1:4] == ["V", "0.700", "0.600 to 0.800"] and cells[-1] == "2"
    assert "**On `synthetic`**, intervals at 80% contain 70% to 70% of the true scores" in pages["doubt-intervals.md"]
    assert pages["doubt-intervals.md"].count("not run yet: `ktnet-lite reproduce doubt") == 2


# In acoustic words


def test_the_tables_of_acoustic_words_leave_out_runs_without_them(tmp_path):
    cells = [
        c for c in grids.load("hazumi").cells("hazumi") if c.column == "all clips" and c.row in ("Ours", "lambda 0")
    ]
    paths = []
    for cell in cells:
        for config in cell.configs([0, 1, 2]):
            read = Decoded(r2=0.1 * (1 + config.seed), own=0.4, ceiling=0.9, placebo=-0.3)
            found = Fidelity(retrieval=0.7 + 0.1 * config.seed, r2=-0.2, use=0.05, decoding={"pitch [Hz]": read})
            measured = {"language": found, "combined": found} if config.seed < 2 and cell.row == "Ours" else {}
            run = make_result(config, 0.5, clips=30, fidelity=measured)
            paths.append(run.publish(tmp_path / "hazumi" / f"{cell.row}-seed{config.seed}", tmp_path / "results"))
    page = result_words.page(reproduction.build(grids.load("hazumi"), frame.load(paths), 5))["words.md"]
    rows = [[part.strip() for part in line.strip("|").split("|")] for line in page.splitlines() if "Ours" in line]
    assert rows[:2] == [["Ours", name, "0.750", "-0.200", "0.050", "2"] for name in ("language", "A'")]
    assert rows[2] == ["pitch [Hz]", "Ours", "language", "0.900", "0.150", "-0.300", "0.400"]
    assert (
        "{table} `hazumi`, all clips, test set, mean over 2 seeds" in page
        and "lambda 0" not in page
        and "1000 clips" not in page
    )
    assert result_words.page(reproduction.build(grids.load("hazumi"), frame.load([]), 5)) == {
        "words.md": "No run has been measured yet.\n"
    }


# Light models


def test_the_page_of_light_models_shows_error_against_cost(tmp_path):
    paths = []
    for cell in grids.load("light").cells("synthetic"):
        if cell.row in ("Any", "Bottleneck"):
            for config in cell.configs([0, 1]):
                made = make_result(config, 0.5 if cell.row == "Any" else 0.6)
                filled = Filled(made.metrics["test"], {}, made.predictions.scores)
                run = msgspec.structs.replace(made, subsets={"inferred": {"vision": filled, "audio": filled}})
                folder = tmp_path / "synthetic" / f"any-{cell.row}-seed{config.seed}"
                paths.append(run.publish(folder, tmp_path / "results"))
    pages = result_light.page(reproduction.build(grids.load("light"), frame.load(paths), 5))
    assert pages["light-cost-synthetic-unaligned.png"].startswith(b"\x89PNG")
    rows = [
        [cell.strip() for cell in line.replace("**", "").strip("|").split("|")]
        for line in pages["light-cost.md"].splitlines()
        if line.startswith(("| Any", "| Bottleneck"))
    ]
    *rows, difference = rows
    assert [row[0] for row in rows] == ["Bottleneck", "Any"], "the cheapest first"
    assert difference[0] == "Bottleneck - Any" and difference[2] == "worse" and difference[-1] == "2"
    assert float(difference[1].split()[0]) == pytest.approx(float(rows[0][3]) - float(rows[1][3]), abs=1.1e-3)
    assert int(rows[0][1]) < int(rows[1][1]) / 3 and float(rows[0][3]) > float(rows[1][3]) and rows[0][4] == "2"
    assert "Not run yet: `ktnet-lite reproduce light --data hazumi`." in pages["light-cost.md"]


def test_what_the_page_says_of_acoustic_words_holds_in_every_published_run():
    plain = {"variant": "ours", "transfer": "point", "voice": "own", "pretrain": 0, "labelled": 0, "lambda_vision": 1.0}
    runs = {
        (r.dataset.name, r.config.treatment, r.seed): r
        for r in map(load, published())
        if r.fidelity and r.dataset.name != "synthetic" and r.parameters.items() >= plain.items()
    }
    from_words = {key: run.fidelity["language"].decoding for key, run in runs.items()}
    readable = {
        "hazumi": ("energy [RMS]", "spectral tilt [MFCC 1]"),
        "mosi-words": ("word duration [s]", "rate [characters/s]"),
    }
    silent = {"hazumi": ("pitch [Hz]",), "mosi-words": ("pause before [s]", "pause after [s]")}
    assert {name for name, *_ in runs} == set(readable)
    for (name, treatment, seed), words in from_words.items():
        assert all(
            0.08 < words[word].r2 < words[word].ceiling * 0.65 and words[word].placebo < 0 for word in readable[name]
        )
        assert all(words[word].r2 < 0 for word in silent[name])
        fidelity = runs[name, treatment, seed].fidelity
        assert all(abs(each.use) < 0.02 for each in fidelity.values())
        if name == "hazumi":
            assert all(fidelity["vision"].decoding[word].r2 < words[word].r2 - 0.1 for word in readable[name])
            assert fidelity["language"].retrieval > fidelity["vision"].retrieval > 0.6
        if (name, treatment) == ("hazumi", "descriptors"):
            gained = {word: read.r2 - from_words[name, "teacher", seed][word].r2 for word, read in words.items()}
            assert gained["spectral tilt [MFCC 1]"] > 0.03 > abs(gained["energy [RMS]"])
            assert gained["voicing [probability]"] < 0
