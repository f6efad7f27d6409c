"""Tables of the subsets: specialists as one system, means, and differences paired on seeds and clips."""

import msgspec
import numpy as np
import pytest
from matplotlib.colors import to_hex

from ktbook import result_subsets
from ktnet_lite.experiments import grids
from ktnet_lite.experiments.result import Filled
from ktnet_lite.reporting import frame, subsets, tables
from ktnet_lite.reporting.plots import COLOURS
from made import make_result

ERRORS = {"Language only": 0.8, "Vision only": 1.2, "Audio only": 0.7, "Language and vision": 0.6}
ERRORS |= {"Language and audio": 0.5, "Vision and audio": 0.55, "Full modality": 0.4, "Any modality": 0.41}
WITHOUT = {"language": 0.9, "vision": 1.1, "audio": 0.72, "language_vision": 0.65}
WITHOUT |= {"language_audio": 0.5, "vision_audio": 0.6, "language_vision_audio": 0.41}


def filled(config, error: float) -> Filled:
    made = make_result(config, error)
    return Filled(made.metrics["test"], {}, made.predictions.scores)


def results(seeds=range(2), rows=ERRORS):
    for cell in grids.load("any").cells("synthetic"):
        if cell.column == "redundancy 0.7" and cell.row in rows:
            for config in cell.configs(seeds):
                made = make_result(
                    config,
                    rows[cell.row],
                    curves=[
                        {"loss": 1.0, "seconds": 1.0, "valid_vision_to_audio_r2": 0.25, "valid_mae": rows[cell.row]}
                    ],
                )
                fills = {"any": ["inferred"], "full": ["zero", "mean"]}.get(config.variant, [])
                worse = 0.0 if cell.row == "Any modality" else 0.3
                each = {
                    fill: {s: filled(config, e + worse * (s != "language_vision_audio")) for s, e in WITHOUT.items()}
                    for fill in fills
                }
                yield msgspec.structs.replace(made, subsets=each)


def table(runs):
    return tables.build(grids.load("any"), "synthetic", frame.frame(runs), range(5))


@pytest.fixture(scope="module")
def laid_out():
    return subsets.tests(table(results()), "redundancy 0.7")


def test_specialists_are_one_system_and_fills_are_systems_of_their_own(laid_out):
    assert list(dict.fromkeys(laid_out["system"])) == [
        *("KTNet, one for each subset", "Full modality, zeros", "Full modality, means", "Any modality")
    ]
    counts = laid_out.groupby("system")["subset"].nunique()
    assert set(counts) == {7} and set(laid_out.groupby(["system", "subset"]).size()) == {2}
    one = laid_out[(laid_out["system"] == "KTNet, one for each subset") & (laid_out["subset"] == "language")]
    assert {run.config.variant for run in one["result"]} == {"language"}


def test_the_table_has_means_and_the_best_in_bold(laid_out):
    text = subsets.values(laid_out)
    (line,) = (line for line in text.splitlines() if line.startswith("| Any modality"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    known = [
        laid_out[(laid_out["system"] == "Any modality") & (laid_out["subset"] == s)]["mae"].mean()
        for s in subsets.SUBSETS
    ]
    assert [float(cell.strip("*")) for cell in cells[1:8]] == pytest.approx(known, abs=6e-4)
    assert float(cells[8].strip("*")) == pytest.approx(np.mean(known), abs=6e-4) and cells[9] == "2"
    for column in range(1, 9):
        column_cells = [row.strip("|").split("|")[column].strip() for row in text.splitlines()[2:]]
        best = min(float(cell.strip("*")) for cell in column_cells)
        assert all(cell.startswith("**") == (float(cell.strip("*")) == best) for cell in column_cells)


def test_differences_are_paired_and_have_a_mean_over_the_subsets(laid_out):
    compared = subsets.comparisons(laid_out, "Any modality")
    regret = {x.column: x for x in compared if x.other == "KTNet, one for each subset"}
    assert list(regret) == [*subsets.SUBSETS, "mean"]
    for name, x in regret.items():
        names = subsets.SUBSETS if name == "mean" else [name]
        means = [
            np.mean([laid_out[(laid_out["system"] == system) & (laid_out["subset"] == s)]["mae"].mean() for s in names])
            for system in ("Any modality", "KTNet, one for each subset")
        ]
        assert x.difference.mean == pytest.approx(means[0] - means[1])
        assert x.difference.low <= x.difference.mean <= x.difference.high and x.difference.runs == 2
    against = {x.column: x for x in compared if x.other == "Full modality, means"}
    assert against["mean"].difference.mean < 0 and against["mean"].detected
    text = subsets.differences(compared)
    assert f"**{against['mean'].difference}**" in text and text.count("\n") == 4
    (row,) = (line for line in text.splitlines() if line.startswith("| Full modality, means"))
    smaller, larger, unsure = (cell.strip() for cell in row.strip("|").split("|")[2:])
    detected = [name for name in subsets.SUBSETS if against[name].detected]
    assert smaller.split(", ") == [f"{subsets.letters(n)} {against[n].difference.mean:+.3f}" for n in detected]
    assert larger == "" and len(unsure.split(", ")) == 7 - len(detected)
    every = subsets.every_difference(compared).splitlines()[2:]
    assert len(every) == len(compared) == 3 * 8 and str(against["audio"].difference) in "".join(every)


def test_a_system_that_lacks_subsets_has_no_mean():
    laid_out = subsets.tests(table(results(rows={"Any modality": 0.4, "Audio only": 0.7})), "redundancy 0.7")
    assert {x.column for x in subsets.comparisons(laid_out, "Any modality")} == {"audio"}
    (line,) = (line for line in subsets.values(laid_out).splitlines() if "one for each" in line)
    assert line.count(" - ") == 7


def test_the_validation_set_chooses_among_any_models_that_are_no_control():
    rows = {"Any modality": 0.5, "Token": 0.4, "lambda 0": 0.1, "Others' features": 0.2, "Full modality": 0.3}
    assert subsets.chosen(table(results(rows=rows)), "redundancy 0.7") == "Token"
    assert subsets.chosen(table(results(rows={"Full modality": 0.3})), "redundancy 0.7") is None


def test_the_page_shows_what_has_run_and_how_to_get_the_rest(laid_out):
    group = [table(results()), tables.build(grids.load("any"), "hazumi", frame.frame([]), range(5))]
    made = result_subsets.page(group)
    text = made["any-subsets.md"]
    assert "### synthetic, redundancy 0.7" in text and "any-subsets-synthetic-redundancy-0.7.png" in made
    assert "Not run yet: `ktnet-lite reproduce any --data hazumi`" in text
    (line,) = (line for line in text.splitlines() if line.startswith("| vision ") and "0.250" in line)
    assert line.split("|")[4].strip() == "0.250 [0.250, 0.250]" and line.split("|")[2].strip() == "-"
    assert "MAE by subset of the modalities. language + vision + audio: Any modality 0" in text


def test_a_report_has_the_subsets_of_any_models_alone(laid_out):
    page = subsets.page([table(results()), table(results(rows={"Full modality": 0.3}))])
    assert page.count("## On synthetic, redundancy 0.7: any modality missing") == 1 == page.count("## ")
    assert subsets.values(laid_out, "corr") in page
    assert subsets.differences(subsets.comparisons(laid_out, "Any modality")) in page
    assert subsets.page([]) == ""


def test_the_page_answers_its_questions_in_one_line(laid_out):
    short = result_subsets.page([table(results())])["any-short.md"]
    rows = [line for line in short.splitlines() if line.startswith("| ")]
    cells = [row.strip("|").split("|")[1].strip() for row in rows]
    assert cells[0] == "`synthetic`, redundancy 0.7"
    regret = {x.other: x for x in subsets.comparisons(laid_out, "Any modality") if x.column == "mean"}
    found = regret["KTNet, one for each subset"]
    assert cells[1].replace("**", "") == str(found.difference) and ("**" in cells[1]) == found.detected
    assert cells[2:5] == ["-"] * 3 and cells[7] == "2"  # the controls have not been run
    mae = laid_out[laid_out["system"] == "Any modality"].groupby("subset")["mae"].mean()
    whole = mae["language_vision_audio"]
    lost = {"audio": "language_vision", "vision": "language_audio", "language": "vision_audio"}
    worst = max(lost, key=lambda name: mae[lost[name]])
    assert cells[5] == f"{worst}, {mae[lost[worst]] - whole:+.2f}" and cells[6] == "audio from vision, 0.25"
    assert result_subsets.page([])["any-short.md"].startswith("No result files yet")


def test_the_short_answer_names_the_controls_of_the_chosen_model():
    runs = results(
        rows={"Any modality": 0.4, "Token": 0.5, "lambda 0": 0.6, "Others' features": 0.7, "Both, lambda 0": 1}
    )
    short = result_subsets.page([table(runs)])["any-short.md"]
    cells = [line.strip("|").split("|")[1] for line in short.splitlines() if line.startswith("| ")]
    assert [float(cell.split("[")[0].replace("*", "")) < 0 for cell in cells[2:5]] == [True] * 3
    assert cells[1].strip() == "-"


def test_the_figure_has_a_row_for_each_subset(laid_out):
    drawn = result_subsets.draw(laid_out, ["Any modality", *result_subsets.BESIDE])
    (axes,) = drawn.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [s.replace("_", " + ") for s in subsets.SUBSETS]
    assert result_subsets.draw(laid_out, ["nothing"]) is None


def test_a_system_has_its_colour_wherever_it_stands(laid_out):
    systems = list(dict.fromkeys(laid_out["system"]))
    for shown in (systems, systems[::-1]):
        (axes,) = result_subsets.draw(laid_out, shown).axes
        handles, names = axes.get_legend_handles_labels()
        expected = {name: COLOURS[result_subsets.COLOUR_OF.get(name, "any")] for name in shown}
        assert {
            name: to_hex(handle.get_color()).upper() for name, handle in zip(names, handles, strict=True)
        } == expected
