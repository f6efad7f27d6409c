"""The results in the book, from the result files: claims, tables, figures, run cards, and numbers for prose.

Bootstraps are slow, so the files are kept, with a digest of everything that they depend on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from ktbook import (
    claims,
    generated,
    headlines,
    result_choices,
    result_claims,
    result_doubt,
    result_figures,
    result_light,
    result_runs,
    result_search,
    result_subsets,
    result_tables,
    result_text,
    result_words,
)
from ktnet_lite.experiments import grids
from ktnet_lite.experiments.result import published
from ktnet_lite.reporting import frame
from ktnet_lite.reporting import markdown as pages
from ktnet_lite.reporting import reproduce as reproduction
from ktnet_lite.text import duration, enumerated

SEEDS = 5
MOST = 4  # columns of a table that has a figure for each; grids with more have a figure of the whole
ALONE = "curves", "hazumi"  # grids of our own that have a page for themselves, without other parts
STATE = "results/state.json"


class Kept(msgspec.Struct):
    """What the files were made from, which they are, and the numbers for the pages."""

    digest: str = ""
    files: list[str] = []
    numbers: dict[str, str] = {}


def numbers(tables: result_text.Tables, results: pd.DataFrame) -> dict[str, str]:
    """Return the text for each ``{{ name }}`` in the book's pages."""
    runs = [result for _, result in result_runs.runs(results)]
    ran: dict[str, bool] = {}
    for table in (table for group in tables.values() for table in group):
        ran[table.data] = ran.get(table.data, False) or bool(table.results())
    missing = [name for name in headlines.of_the_paper(tables) if not ran[name]]
    not_run = f"**Nothing has been run on {enumerated(missing)}**, which are" if missing else "They hold all"
    timed = any(run.hardware.gpu for run in runs)
    versions = {f"ktnet-lite {run.package} with torch {run.libraries['torch']}" for run in runs}
    return {
        "results_runs": f"{len(runs):,}",
        "results_time": duration(sum(run.seconds for run in runs)),
        "results_machines": enumerated(sorted({str(run.hardware) for run in runs})),
        "results_versions": enumerated(sorted(versions)),
        "results_data": enumerated(f"`{name}`" for name, done in ran.items() if done),
        "results_not_run": not_run,
        "results_claims": result_claims.summary(tables),
        "results_central": result_claims.central(tables),
        "results_base": result_claims.weak_base(tables),
        "results_length": result_claims.length_only(tables),
        "results_boldest": result_claims.boldest(tables),
        "results_collapse": result_choices.collapse(next(x for x in tables["treatments"] if x.data == "synthetic")),
        "cost_gpu": "GPU times are in the table above." if timed else "**No run has been timed on a GPU.**",
        "cost_assumptions": result_runs.assumptions(),
    }


def files(results: pd.DataFrame, address: str) -> tuple[dict[str, str | bytes], dict[str, str]]:
    """Make the content of every file in ``generated/results``, and the text for each ``{{ name }}`` in pages.

    ``address`` is that of the folder of result files.
    """
    tables = {name: reproduction.build(grids.load(name), results, SEEDS) for name in grids.names()}
    content: dict[str, str | bytes] = {}
    for name, group in tables.items():
        for table in group:
            for column in table.columns if len(table.columns) <= MOST else ():
                if drawn := pages.picture(table, column):
                    content[pages.picture_name(table, column)] = result_figures.png(drawn)
        level = 2 if group[0].grid.paper or name in ALONE else 3
        content[f"{name}.md"] = result_tables.grid_page(group, content, level)
    content |= result_subsets.page(tables["any"])
    content |= result_doubt.page(tables["doubt"])
    content |= result_light.page(tables["light"])
    content |= result_words.page([*tables["hazumi"], *tables["table_1"]])
    content["search.md"] = result_search.page(result_search.files())
    central = tables["table_1"]
    labels = next(table for table in tables["curves"] if table.data == "synthetic")
    for name, picture, grid in (
        ("central", result_figures.comparison(central, results), "table_1"),
        ("epochs", result_figures.by_epoch(central), "table_1"),
        ("noise-map", result_figures.noise(*tables["noise"]), "noise"),
        ("labels", result_figures.by_labels(labels), "curves"),
        ("hazumi-labels", result_figures.by_labels(tables["hazumi"][0]), "hazumi"),
        ("where-it-pays", result_figures.where_it_pays(labels), "curves"),
        ("forest", result_figures.by_claim(tables), "table_1"),
    ):
        data = tables[grid][0].data if grid in ALONE else "synthetic"
        content[f"{name}.md"] = f"Not drawn yet; it needs {result_text.command(grid, data)}.\n"
        if picture:
            content[f"{name}.png"] = result_figures.png(picture.figure)
            content[f"{name}.md"] = result_text.figure(f"{name}.png", picture.alt, picture.caption) + "\n"
    content |= {
        "rules.md": pages.RULES + "\n",
        "claims.md": result_claims.claims(tables),
        "evidence.md": result_claims.evidence(tables),
        "controls.md": result_claims.controls({table.data: claims.controls(table, results) for table in central}),
        "teacher.md": result_claims.base(tables),
        "labels-table.md": result_claims.by_labels(labels),
        "labels-differences.md": result_claims.by_mae(labels),
        "hazumi-differences.md": result_claims.by_mae(tables["hazumi"][0]),
        "transfer-differences.md": result_claims.by_mae(tables["transfer"][0]),
        "headlines.md": headlines.markdown(tables),
        "landing.md": result_claims.landing(tables),
        "runs.md": result_runs.cards(results, address),
        "times.md": result_runs.times(results),
        "costs.md": result_runs.counted(result_runs.costs()),
    }
    for name, choice in result_choices.CHOICES.items():
        content[f"choice-{name}.md"] = result_choices.measured(choice, tables[choice.grid])
    content = {name: result_text.unbroken(x) if isinstance(x, str) else x for name, x in content.items()}
    return content, numbers(tables, results)


def digest(paths: Iterable[Path], address: str) -> str:
    """Compute the digest of everything that the files depend on: results, package, benchmarks, this extension."""
    folders = generated.ROOT / "ktnet_lite", generated.ROOT / "benchmarks"
    sources = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".yaml")]
    sources += [*Path(__file__).parent.glob("*.py"), headlines.PATH, *result_search.files()]
    sha256 = hashlib.sha256(address.encode())
    for path in (*paths, *sorted(sources)):
        sha256.update("/".join(path.parts[-3:]).encode() + b"\0" + path.read_bytes())
    return sha256.hexdigest()


def make(_: Any, config: Any) -> None:
    """Write the files if they are out of date, and give the pages their numbers."""
    options = config.html_theme_options
    address = f"{options['repository_url']}/blob/{options['repository_branch']}/results"
    state, key = generated.FOLDER / STATE, digest(published(), address)
    try:
        kept = msgspec.json.decode(state.read_bytes(), type=Kept)
    except (OSError, ValueError):  # not yet made, or damaged
        kept = Kept()
    if kept.digest != key or not all((state.parent / name).is_file() for name in kept.files):
        made, substitutions = files(frame.load(published()), address)
        for name, content in made.items():
            generated.write(f"results/{name}", content)
        kept = Kept(key, list(made), substitutions)
        generated.write(STATE, msgspec.json.format(msgspec.json.encode(kept), indent=1).decode())
    config.myst_substitutions = {**kept.numbers, **config.myst_substitutions}


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", make)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
