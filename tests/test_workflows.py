"""The files for GitHub: they fit its schemas, a linter finds nothing unsafe, and what they call exists."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import check_jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result

import ktnet_lite

ROOT = Path(__file__).resolve().parents[1]
GITHUB = ROOT / ".github"
FOLDER = GITHUB / "workflows"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.yml"))}
WORKFLOWS = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
STEPS = [
    (name, step) for name, workflow in WORKFLOWS.items() for job in workflow["jobs"].values() for step in job["steps"]
]
COLAB = runpy.run_path(str(ROOT / "notebooks" / "colab.py"))
NOTES = runpy.run_path(str(GITHUB / "release_notes.py"))["release_notes"]
# The jobs that may write, and what.
WRITES = {"Publish": {"pages", "id-token"}, "Publish on PyPI": {"id-token"}, "Publish on GitHub": {"contents"}}


def run(*arguments: str | Path) -> subprocess.CompletedProcess:
    folder = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(list(map(str, arguments)), capture_output=True, encoding="utf-8", env=environment)


def fits(schema: str, *paths: Path) -> Result:
    options = "--builtin-schema", f"vendor.{schema}", "--default-filetype", "yaml"
    return CliRunner().invoke(check_jsonschema.main, [*options, *map(str, paths)])


def test_the_workflows_are_these():
    assert list(WORKFLOWS) == ["book.yml", "colab.yml", "newest.yml", "release.yml", "tests.yml"]


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", "workflows/*.yml"),
        ("dependabot", "dependabot.yml"),
        ("github-issue-forms", "ISSUE_TEMPLATE/[!c]*.yml"),
        ("github-issue-config", "ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_files_for_github_fit_its_schema(schema, files):
    paths = list(GITHUB.glob(files))
    done = fits(schema, *paths)
    assert paths and done.exit_code == 0, done.output


@pytest.mark.process
def test_the_linter_finds_nothing_unsafe():
    done = run("zizmor", "--offline", "--pedantic", GITHUB)
    assert done.returncode == 0, done.stdout
    assert "No findings" in done.stdout


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
def test_a_workflow_has_few_rights_and_a_time_limit(name):
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {} and workflow["concurrency"]
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 120
        writes = {key for key, value in job["permissions"].items() if value == "write"}
        assert writes == WRITES.get(job["name"], set())


@pytest.mark.parametrize("step", [step for _, step in STEPS if "uses" in step], ids=lambda step: step["uses"][:40])
def test_actions_are_pinned_by_commit(step):
    assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])


def test_commands_and_files_that_a_workflow_names_exist():
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    commands = "\n".join(step.get("run", "") for _, step in STEPS)
    named = set(re.findall(r"\bmake ([a-z-]+)", commands))
    assert {"check", "test", "pdf"} <= named <= targets
    files = re.findall(r"(?:python|--requirement) ([\w.][\w./]*\.(?:py|txt))", commands)
    assert {"notebooks/colab.py", ".github/release_notes.py", ".github/requirements.txt"} <= set(files)
    made_there = {"requirements.txt"}
    assert [name for name in set(files) - made_there if not (ROOT / name).is_file()] == []


def commands(target: str) -> list[str]:
    """The recipe of a target in the makefile, without the way to the programs."""
    (recipe,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    plain = (
        recipe.replace("$(BIN)/", "")
        .replace("OMP_NUM_THREADS=1 ", "")
        .replace("$(NOTEBOOKS)", "notebooks/[0-9]*.ipynb")
    )
    return [line.strip() for line in plain.splitlines()]


def test_windows_runs_what_make_check_runs():
    (step,) = [step for name, step in STEPS if name == "tests.yml" and step.get("if") == "runner.os == 'Windows'"]
    assert step["run"].splitlines()[1:] == [*commands("lint"), *commands("check")]


def test_the_newest_versions_run_what_make_test_runs():
    (line,) = [step["run"] for name, step in STEPS if name == "newest.yml" and "pytest" in step.get("run", "")]
    assert line == re.sub(r" --cov\S*", "", *commands("test"))


def test_quick_checks_run_on_six_machines():
    matrix = WORKFLOWS["tests.yml"]["jobs"]["check"]["strategy"]["matrix"]
    assert {name.split("-")[0] for name in matrix["system"]} == {"ubuntu", "macos", "windows"}
    assert matrix["python"] == ["3.10", "3.13"]


def test_the_branch_is_the_books():
    branch = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["branch"]
    for name in ("tests.yml", "book.yml"):
        assert WORKFLOWS[name][True]["push"]["branches"] == [branch]  # YAML reads the key `on` as true
    assert f"refs/heads/{branch}'" in WORKFLOWS["book.yml"]["jobs"]["deploy"]["if"]


CHANGELOG = "# Changelog\n\n## 0.2.0 (2027-01-31)\n\n- New.\n- More.\n\n## 0.1.0 (2026-12-31)\n\n- First.\n"


def test_release_notes_are_the_section_of_the_version():
    assert NOTES("v0.2.0", CHANGELOG, '__version__ = "0.2.0"') == "- New.\n- More."
    assert NOTES("v0.1.0", CHANGELOG, '__version__ = "0.1.0"') == "- First."


@pytest.mark.parametrize(
    ("tag", "changelog", "message"),
    [
        ("v0.3.0", CHANGELOG, "tag is v0.3.0, but .* has version 0.2.0"),
        ("v0.2.0", CHANGELOG.replace("2027-01-31", "unreleased"), "calls 0.2.0 unreleased"),
        ("v0.2.0", CHANGELOG.replace("- New.\n- More.", ""), "no text for 0.2.0"),
        ("v0.2.0", CHANGELOG.replace("## 0.2.0", "## 0.2.00"), "no text for 0.2.0"),
    ],
)
def test_a_version_that_is_not_ready_is_not_released(tag, changelog, message):
    with pytest.raises(SystemExit, match=message):
        NOTES(tag, changelog, '__version__ = "0.2.0"')


def test_hooks_use_the_locked_ruff():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    locked = re.search(r"^ruff==\S+", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)[0]
    ruff = [hook for repo in hooks for hook in repo["hooks"] if hook["id"].startswith("ruff")]
    assert [hook["additional_dependencies"] for hook in ruff] == [[locked]] * 2
    assert all(re.fullmatch("[0-9a-f]{40}", repo["rev"]) for repo in hooks if repo["repo"] != "local")


def test_the_citation_file_fits_its_schema_and_names_this_version():
    path = ROOT / "CITATION.cff"
    done = fits("citation-file-format", path)
    assert done.exit_code == 0, done.output
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["version"] == ktnet_lite.__version__


def test_a_citation_file_without_authors_does_not_fit(tmp_path):
    path = tmp_path / "CITATION.cff"
    path.write_text("cff-version: 1.2.0\ntitle: x\nmessage: y\n", encoding="utf-8")
    assert fits("citation-file-format", path).exit_code == 1


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
