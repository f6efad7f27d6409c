"""The command line: how it loads, what each data command prints, and how errors, warnings and Ctrl-C look."""

import csv
import dataclasses
import errno
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

import ktnet_lite
from ktnet_lite import cli
from ktnet_lite.baselines import BASELINES
from ktnet_lite.cli import main
from ktnet_lite.config import TrainConfig
from ktnet_lite.data import catalogue, store
from ktnet_lite.experiments import grids
from ktnet_lite.training.build import build_model, save_model
from ktnet_lite.training.dataset import load_dataset
from made import make_result
from test_doctor import dump, mult_content

HEAVY = {"torch", "numpy", "pandas", "yaml", "scipy", "sklearn", "h5py", "matplotlib", "papermill", "distributed"}
EXTRA = {"dask", "distributed", "ipykernel", "IPython", "matplotlib", "nbclient", "nbformat", "pandas"}
EXTRA |= {"papermill", "seaborn", "traitlets", "yaml"}  # what the extra `experiments` brings


def invoke(*arguments, **options):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], **options)


def without(missing: set[str], *commands: list[str]) -> list[tuple[int, str]]:
    """Status and output of commands in a Python that cannot import some packages."""
    code = f"""
import json, sys
sys.modules.update(dict.fromkeys({sorted(missing)}))
from click.testing import CliRunner
from ktnet_lite.cli import main
done = [CliRunner().invoke(main, command) for command in {commands}]
print(json.dumps([(each.exit_code, each.output) for each in done]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [(status, output) for status, output in json.loads(done.stdout)]


def test_every_command_has_help():
    shown = invoke("--help").output
    for name in cli.COMMANDS:
        assert f"  {name} " in shown
        assert "Usage: main" in invoke(name, "--help").output
    for name in ("list", "fetch", "convert", "info", "check"):
        assert f"  {name} " in invoke("data", "--help").output
    assert invoke("trian").exit_code == 2 and "No such command 'trian'" in invoke("trian").output


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_overview_says_what_the_command_itself_says(name):
    command = main.get_command(click.Context(main), name)
    assert command.name == name
    assert cli.COMMANDS[name][1] == inspect.cleandoc(command.help).splitlines()[0]


@pytest.mark.process
def test_help_imports_nothing_heavy():
    command = [sys.executable, "-X", "importtime", "-m", "ktnet_lite", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.split("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if line.count("|") == 2}
    assert {"click", "ktnet_lite"} <= imported and not imported & HEAVY
    assert done.stdout.startswith("Usage: ktnet-lite ")


@pytest.mark.process
def test_help_works_without_any_heavy_package():
    commands = [
        ["--help"],
        ["data", "--help"],
        ["data", "convert", "--help"],
        ["train", "--help"],
        ["predict", "--help"],
    ]
    for command, (status, output) in zip(commands, without(HEAVY | EXTRA, *commands), strict=True):
        assert status == 0 and output.startswith(f"Usage: main {' '.join(command[:-1])}".rstrip()), command
        assert output.rstrip().endswith("Show this message and exit.") or "--help" in output, command


@pytest.mark.process
def test_without_the_extra_commands_work_or_name_what_brings_the_package_that_they_need(tmp_path):
    work = [["models"], ["data", "list", "--to", str(tmp_path)], ["predict", "none.pt", "synthetic"]]
    need = [["report"], ["train"], ["experiments"]]
    done = without(EXTRA, *work, *need)
    assert done[:2] == [(0, invoke("models").output), (0, invoke("data", "list", "--to", tmp_path).output)]
    assert done[2][0] == 1 and "no checkpoint at none.pt" in done[2][1]
    told = r"Error: this command needs the package (\w+): pip install 'ktnet-lite\[experiments\]'\n"
    for status, output in done[3:]:
        assert status == 1 and re.fullmatch(told, output)[1] in EXTRA, output


def test_models_says_what_each_system_takes():
    heading, *rows = invoke("models").output.splitlines()
    assert heading.split()[0] == "--model" and "no audio at test" in heading
    assert [row.split()[0] for row in rows] == ["ktnet", *BASELINES]
    assert "needs language alone" in rows[2] and "inferred" in rows[3]


@pytest.mark.process
def test_it_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "ktnet_lite", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"ktnet-lite, version {ktnet_lite.__version__}\n"


def test_convert_and_info_say_what_is_in_the_file(tmp_path):
    content = mult_content()
    content["train"]["text"][0, 0, 0] = np.nan
    content["train"]["audio"][0, 0, 0] = -np.inf
    source = dump(tmp_path / "a.pkl", content)
    refused = invoke("data", "convert", source, tmp_path / "a.h5")
    assert refused.exit_code == 1 and not (tmp_path / "a.h5").exists()
    assert f"Error: {source}: a, split train, language, clip 0, step 0: NaN or inf" in refused.output
    assert "--replace-nonfinite" in refused.output and "Traceback" not in refused.output
    done = invoke("data", "convert", source, tmp_path / "a.h5", "--replace-nonfinite", "--name", "mine")
    assert done.exit_code == 0, done.output
    assert "Note: " in done.output and "NaN or inf read as 0: 1 in train language, 1 in train audio" in done.output
    about = invoke("data", "info", tmp_path / "a.h5").output
    assert about in done.output
    assert "mine: sentiment, unaligned" in about
    assert "1 in train language, 1 in train audio" in about
    assert store.read(tmp_path / "a.h5").header.name == "mine"


def test_bad_clips_are_left_out_on_demand(tmp_path):
    content = mult_content()
    content["train"]["labels"][2], content["train"]["labels"][5] = np.nan, 9
    content["train"]["audio"][0, 0, 0] = -np.inf
    for field in ("text", "audio", "vision"):
        content["test"][field][1] = 0
    source, dest = dump(tmp_path / "a.pkl", content), tmp_path / "a.h5"
    refused = invoke("data", "convert", source, dest)
    assert f"Error: {source}: a, split train, targets: nan at index 2" in refused.output
    assert "--drop-bad-clips" in refused.output
    done = invoke("data", "convert", source, dest, "--drop-bad-clips")
    assert done.exit_code == 0 and "a.pkl: clips left out: 2 in train, 1 in test" in done.output
    data = store.read(dest)
    assert data.header.provenance["clips left out"] == "2 in train, 1 in test"
    assert data.header.provenance["-inf read as 0"] == "1 in train audio"
    assert [len(data[name]) for name in data] == [6, 4, 4] and "trai2_0_1" not in data["train"].ids
    content["valid"]["labels"][:] = 9
    refused = invoke("data", "convert", dump(source, content), dest, "--drop-bad-clips")
    assert refused.exit_code == 1 and "split valid: there would be no clip left" in refused.output


def test_convert_overwrites_nothing_but_its_own_files(tmp_path):
    source = dump(tmp_path / "a.pkl", mult_content())
    before = source.read_bytes()
    refused = invoke("data", "convert", source, source)
    assert refused.exit_code == 1 and "Error: " in refused.output and "choose another name" in refused.output
    assert source.read_bytes() == before
    refused = invoke("data", "convert", source, tmp_path)
    assert refused.exit_code == 1 and f"is a folder; name the file to write, such as {tmp_path / 'a.h5'}" in (
        refused.output.replace("\n", " ")
    )
    for _ in range(2):
        assert invoke("data", "convert", source, tmp_path / "a.h5").exit_code == 0


def test_what_is_not_finite_is_replaced_in_a_folder_too(real_data, tmp_path):
    for name in (file.name for file in catalogue.ENTRIES["mosi-utterance"].files):
        (tmp_path / name).write_bytes(next(real_data.rglob(name)).read_bytes())
    audio = tmp_path / "audio_test0.csv"
    audio.write_text("inf," + audio.read_text(encoding="utf-8").partition(",")[2], encoding="utf-8")
    refused = invoke("data", "convert", tmp_path, tmp_path / "a.h5")
    assert refused.exit_code == 1 and "--replace-nonfinite" in refused.output
    done = invoke("data", "convert", tmp_path, tmp_path / "a.h5", "--replace-nonfinite")
    assert done.exit_code == 0, done.output
    assert "in test audio" in done.output


def test_list_says_what_is_here_and_how_to_get_the_rest(tmp_path, monkeypatch):
    monkeypatch.delenv("KTNET_DATA", raising=False)
    shown = invoke("data", "list", "--to", tmp_path).output
    assert "synthetic" in shown and "is here" in shown
    for name, entry in catalogue.ENTRIES.items():
        (line,) = (line for line in shown.splitlines() if line.startswith(f"{name} "))
        assert entry.about in line
        assert line.endswith("fetch --from") or (entry.public and " MB" in line)
    (tmp_path / "mosi-words.h5").touch()
    assert "is here" in next(
        x for x in invoke("data", "list", "--to", tmp_path).output.splitlines() if "mosi-words" in x
    )


def test_fetch_says_where_to_ask_when_there_is_no_public_link(tmp_path):
    assert "nothing to fetch" in invoke("data", "fetch", "synthetic").output
    refused = invoke("data", "fetch", "iemocap", "--to", tmp_path)
    assert refused.exit_code == 1
    for part in ("no public link", "source: ", "licence: ", "ktnet-lite data fetch iemocap --from FOLDER"):
        assert part in refused.output
    mistyped = invoke("data", "fetch", "mosi-word", "--to", tmp_path)
    assert mistyped.exit_code == 1 and "did you mean 'mosi-words'?" in mistyped.output


@pytest.mark.slow
def test_fetch_takes_local_files_and_builds_the_store(real_data, tmp_path):
    done = invoke("data", "fetch", "mosi-words", "--from", real_data, "--to", tmp_path)
    assert done.exit_code == 0, done.output
    assert "mosi-words: sentiment, aligned" in done.output
    valid = next(row for row in done.output.splitlines() if row.startswith("valid"))
    assert valid.split()[:3] == ["valid", "229", "language"]


@pytest.mark.parametrize("command", ["info", "check"])
def test_no_file_is_said(tmp_path, command):
    done = invoke("data", command, tmp_path / "none.h5")
    assert done.exit_code == 1 and "Error: no file" in done.output and "none.h5" in done.output


def test_what_the_system_refuses_is_said_without_a_traceback(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(catalogue, "home", full)
    done = invoke("data", "list")
    assert done.exit_code == 1 and done.output == "Error: [Errno 28] No space left on device\n"


@pytest.mark.process
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_under_standard_output_is_said():
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "ktnet_lite", "data", "list"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and done.stderr == b"Error: [Errno 28] No space left on device\n"


def test_ctrl_c_stops_without_a_traceback(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue, "home", interrupted)
    done = invoke("data", "list")
    assert done.exit_code == 130 and "The same command resumes where it can." in done.output


def predict_command(folder: Path, content: dict) -> list[str]:
    """The command that predicts the test clips of some data with an untrained model."""
    source, config = dump(folder / "a.pkl", content), TrainConfig(variant="language", dim=8, heads=2, layers=1)
    dataset = load_dataset(dataclasses.replace(config, dataset=str(source)))
    model = build_model(config, "sentiment", dataset.dims)
    save_model(folder / "model.pt", model, config, dataset.header, dataset.dims)
    return ["predict", str(folder / "model.pt"), str(source)]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_what_an_output_cannot_encode_is_escaped(encoding, tmp_path):
    """As where Windows writes into a file."""
    content = mult_content()
    for name, fields in content.items():
        fields["id"] = [f"视频-{name}-{i}" for i in range(len(fields["id"]))]
    command = predict_command(tmp_path, content)
    done = CliRunner(charset=encoding).invoke(main, command)
    assert done.exit_code == 0, done.output
    _, *lines = done.stdout_bytes.decode(encoding).splitlines()
    shown = r"\u89c6\u9891" if encoding == "cp1252" else "视频"
    assert [line.split(",")[0] for line in lines] == [f"{shown}-test-{i}" for i in range(len(lines))]
    out = tmp_path / "a.csv"
    assert CliRunner(charset=encoding).invoke(main, [*command, "--out", str(out)]).exit_code == 0
    assert out.read_text(encoding="utf-8").splitlines()[1].startswith("视频-test-0,")


def test_ids_in_a_file_of_predictions_stay_as_they_are(tmp_path):
    """Also -3g5yACwYnA[3], which a spreadsheet would take for a formula: others look clips up by their ids."""
    content = mult_content()
    ids = ["-3g5yACwYnA[3]", "=1+1", "@a", 'a,"b"', *(f"+{i}" for i in range(len(content["test"]["id"]) - 4))]
    content["test"]["id"] = ids
    done = invoke(*predict_command(tmp_path, content))
    assert [row[0] for row in csv.reader(done.output.splitlines())] == ["id", *ids]


@pytest.mark.process
def test_commands_draw_whatever_a_user_has_set_for_matplotlib(tmp_path):
    """In a home whose settings are broken, with a backend that matplotlib no longer has, and no other variable."""
    settings = tmp_path / ".config" / "matplotlib" / "matplotlibrc"
    settings.parent.mkdir(parents=True)
    settings.write_bytes(b"text.usetex: True\nbackend: Qt4Agg\nfont.family: No Such Font\n# \xff\n")
    make_result(TrainConfig(**grids.load("pooling").cells("synthetic")[0].parameters)).save(
        tmp_path / "runs" / "result.json"
    )
    command = [sys.executable, "-m", "ktnet_lite", "report", "pooling", "--results", "runs", "--to", "pages"]
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
    home = {"HOME": str(tmp_path), "MPLBACKEND": "Qt4Agg"}
    done = subprocess.run(command, cwd=tmp_path, env=kept | home, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in (tmp_path / "pages").glob("*.png")] == ["pooling-synthetic-word-aligned.png"]
