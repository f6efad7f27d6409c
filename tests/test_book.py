"""The book builds, warnings as errors, as `make book` does it; the commands on its page on experiments are right."""

import re
import runpy
import shlex
from pathlib import Path

import click
import pytest
import yaml
from papermill.cli import papermill

from ktnet_lite.cli import main
from ktnet_lite.config import TrainConfig
from ktnet_lite.experiments import grids

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "book" / "experiments.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


COMMANDS = [
    line.split("  #")[0].strip()
    for line in [*"".join(blocks("bash")).splitlines(), *re.findall(r"`(ktnet-lite (?:reproduce|data) [^`]+)`", PAGE)]
    if line
]


def parse(command: click.Command, arguments: list[str]) -> dict:
    """The parameters that click finds, checked, before anything runs."""
    while isinstance(command, click.Group):
        command, arguments = command.get_command(None, arguments[0]), arguments[1:]
        assert command is not None
    return command.make_context(command.name, list(arguments)).params


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_on_experiments_is_one(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = [word for word in shlex.split(line) if not re.fullmatch(r"[A-Z_]+=.*", word)]
    if words[:4] == ["torchrun", "--nproc-per-node", "4", "-m"]:
        assert words[4] == "ktnet_lite"
        words = ["ktnet-lite", *words[5:]]
    program, *arguments = words
    if program == "ktnet-lite":
        given = parse(main, arguments)
        if given.get("grid") and given["grid"] != "dropout.yaml":
            data = grids.load(given["grid"]).data
            assert given["data"] is None or given["data"] in data
    elif program == "papermill":
        given = parse(papermill, arguments)
        assert Path(given["notebook_path"]).is_file()
        assert {name for name, _ in given["parameters"]} <= TrainConfig.__dataclass_fields__.keys()
    elif program == "python":
        given = parse(runpy.run_path(arguments[0])["main"], arguments[1:])
        assert set(given["data"]) <= grids.load(given["table"]).data.keys()
    elif program == "dask":
        from distributed.cli import dask_scheduler, dask_worker

        parse({"scheduler": dask_scheduler, "worker": dask_worker}[arguments[0]].main, arguments[1:])
    else:
        viewers = "tensorboard --logdir runs", "mlflow ui --backend-store-uri sqlite:///runs/mlflow.db"
        assert line in ("pip install dask-jobqueue", *viewers)


def test_the_files_on_the_page_on_experiments_are_right(tmp_path):
    parameters, grid = blocks("yaml")
    assert TrainConfig.build(yaml.safe_load(parameters)).variant == "language_vision"
    (tmp_path / "dropout.yaml").write_text(grid, encoding="utf-8")
    assert len(grids.load(tmp_path / "dropout.yaml").cells("synthetic")) == 6


def test_it_builds_without_a_warning(book_build):
    assert book_build["returncode"] == 0, book_build["output"]
    pages = {page.name for page in book_build["html"].rglob("*.html")}
    assert {"index.html", "00_quickstart.html", "experiments.html"} <= pages
