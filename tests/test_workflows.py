"""The workflows on GitHub: sound by their schema and by a linter, and asking for commands and files that are there."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import ktnet_lite

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".github" / "workflows"
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.yml"))}
WORKFLOWS = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
STEPS = [
    (name, step) for name, workflow in WORKFLOWS.items() for job in workflow["jobs"].values() for step in job["steps"]
]
COLAB = runpy.run_path(str(ROOT / "notebooks" / "colab.py"))


def run(*arguments: str | Path) -> subprocess.CompletedProcess:
    folder = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(list(map(str, arguments)), capture_output=True, encoding="utf-8", env=environment)


def fits(schema: str, *paths: Path) -> subprocess.CompletedProcess:
    return run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", "--default-filetype", "yaml", *paths)


def test_there_are_the_four_workflows():
    assert list(WORKFLOWS) == ["book.yml", "colab.yml", "newest.yml", "tests.yml"]


@pytest.mark.process
def test_workflows_fit_the_schema_of_github():
    done = fits("github-workflows", *FOLDER.glob("*.yml"))
    assert done.returncode == 0, done.stdout


@pytest.mark.process
def test_the_linter_finds_nothing_to_say():
    done = run("zizmor", "--offline", "--pedantic", FOLDER)
    assert done.returncode == 0 and "No findings" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("        with:\n          persist-credentials: false\n", ""),
        ("permissions: {}", "permissions: write-all"),
        (re.compile(r"actions/checkout@\w+ # v5.0.0"), "actions/checkout@v5"),
        ("run: make test", "run: echo ${{ github.event.pull_request.title }}"),
    ],
)
@pytest.mark.process
def test_the_linter_finds_what_is_unsafe(old, new, tmp_path):
    planted = re.sub(old if isinstance(old, re.Pattern) else re.escape(old), new, TEXTS["tests.yml"])
    assert planted != TEXTS["tests.yml"]
    (tmp_path / "tests.yml").write_text(planted, encoding="utf-8")
    assert run("zizmor", "--offline", "--pedantic", tmp_path / "tests.yml").returncode != 0


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_do_no_more_than_it_must_and_ends(name):
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {} and workflow["concurrency"]
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 120
        writes = {key for key, value in job["permissions"].items() if value == "write"}
        assert writes == ({"pages", "id-token"} if job["name"] == "Publish" else set())


def test_commands_and_files_that_a_workflow_names_are_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = "\n".join(step.get("run", "") for _, step in STEPS)
    named = set(re.findall(r"\bmake ([a-z-]+)", commands))
    assert {"test", "pdf"} <= named <= targets
    scripts = re.findall(r"python (\w[\w/]*\.py)", commands)
    assert "notebooks/colab.py" in scripts and all((ROOT / script).is_file() for script in scripts)


def test_what_runs_without_make_is_what_make_test_runs():
    """The makefile's line, without its way to the programs and without coverage."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (line,) = re.findall(r"python (-m pytest .*)", makefile)
    plain = line.replace("$(NOTEBOOKS)", "notebooks/[0-9]*.ipynb").replace(" --cov=ktnet_lite", "")
    for name in ("tests.yml", "newest.yml"):
        assert sorted(plain.split()) == sorted(re.search(r"python (-m pytest .*)", TEXTS[name])[1].split())


def test_the_branch_is_the_books():
    branch = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["branch"]
    for name in ("tests.yml", "book.yml"):
        assert WORKFLOWS[name][True]["push"]["branches"] == [branch]  # YAML reads the key `on` as true
    assert f"refs/heads/{branch}'" in WORKFLOWS["book.yml"]["jobs"]["deploy"]["if"]


@pytest.mark.process
def test_the_citation_file_fits_its_schema_and_names_this_version():
    path = ROOT / "CITATION.cff"
    done = fits("citation-file-format", path)
    assert done.returncode == 0, done.stdout
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["version"] == ktnet_lite.__version__


@pytest.mark.process
def test_a_citation_file_without_authors_does_not_fit(tmp_path):
    path = tmp_path / "CITATION.cff"
    path.write_text("cff-version: 1.2.0\ntitle: x\nmessage: y\n", encoding="utf-8")
    assert fits("citation-file-format", path).returncode != 0


FREEZE = """\
# a comment
numpy==2.0.2
PyYAML==6.0.3
torch==2.9.0+cpu
torchaudio @ https://download.pytorch.org/whl/cu118/torchaudio-2.0.2%2Bcu118-cp310-cp310-linux_x86_64.whl#sha256=26
google-colab @ file:///colabtools/dist/google_colab-1.0.0.tar.gz
kernel_gateway @ git+https://github.com/googlecolab/kernel_gateway@b134
"""


def test_colabs_packages_are_read_from_what_google_publishes(tmp_path):
    found = {"numpy": "2.0.2", "pyyaml": "6.0.3", "torch": "2.9.0", "torchaudio": "2.0.2"}
    assert COLAB["pins"](FREEZE) == found
    paths = [tmp_path / name for name in ("freeze.txt", "constraints.txt", "requirements.txt")]
    paths[0].write_text(FREEZE, encoding="utf-8")
    assert CliRunner().invoke(COLAB["main"], list(map(str, paths))).exit_code == 0
    assert paths[1].read_text(encoding="utf-8").split() == [f"{name}=={version}" for name, version in found.items()]
    assert paths[2].read_text(encoding="utf-8").split() == ["numpy", "pyyaml", "torch"]
