"""The files around the package agree: dependencies, versions, commands, licences."""

from __future__ import annotations

import ast
import os
import re
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ktnet_lite
from chromium import serve

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PLATFORMS = (("linux", "Linux", "posix"), ("darwin", "Darwin", "posix"), ("win32", "Windows", "nt"))
IMPORT_NAMES = {"ipython": "IPython", "jupyter-client": "jupyter_client", "pyyaml": "yaml", "scikit-learn": "sklearn"}
# What may import what the extra `experiments` installs.
NEED_EXPERIMENTS = ("experiments", "reporting", "course", "robustness.report", "cli.tables")
HEAVY = re.compile(rf"ktnet_lite\.({'|'.join(map(re.escape, NEED_EXPERIMENTS))})\b")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


PROJECT = tomllib.loads(read("pyproject.toml"))["project"]
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {
    name: [Requirement(line) for line in lines]
    for name, lines in PROJECT["optional-dependencies"].items()
    if name != "all"
}
PINS = [Requirement(line) for line in read("requirements.lock").splitlines() if line and not line.startswith("#")]


def environments() -> list[dict[str, str]]:
    """The marker environments of every supported Python and system."""
    return [
        {
            **default_environment(),
            "python_version": python,
            "python_full_version": f"{python}.5",
            "sys_platform": sys_platform,
            "platform_system": system,
            "os_name": os_name,
            "platform_machine": "x86_64",
        }
        for python in PYTHONS
        for sys_platform, system, os_name in PLATFORMS
    ]


@pytest.mark.parametrize("environment", environments(), ids=lambda e: f"{e['sys_platform']}-{e['python_version']}")
def test_lock_pins_every_dependency_within_its_bounds(environment):
    pins = {}
    for pin in PINS:
        if pin.marker is None or pin.marker.evaluate(environment):
            (specifier,) = pin.specifier
            assert specifier.operator == "==", f"{pin} is not an exact version"
            assert canonicalize_name(pin.name) not in pins, f"{pin.name} is pinned twice"
            pins[canonicalize_name(pin.name)] = specifier.version
    for requirement in [*CORE, *(requirement for extra in EXTRAS.values() for requirement in extra)]:
        if requirement.marker is not None and not requirement.marker.evaluate(environment):
            continue
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is not in requirements.lock; run: make lock"
        assert requirement.specifier.contains(pins[name]), (
            f"requirements.lock has {name} {pins[name]}, not {requirement}"
        )


def test_lock_names_torch_exactly_and_none_of_its_cuda_packages():
    assert "torch==2.13.0" in read("requirements.lock").splitlines()
    assert not [pin.name for pin in PINS if re.match("nvidia|cuda|triton", pin.name)]


def test_core_has_lower_bounds_only():
    for requirement in CORE:
        assert [specifier.operator for specifier in requirement.specifier] == [">="], requirement


def test_all_names_every_extra():
    (everything,) = (Requirement(line) for line in PROJECT["optional-dependencies"]["all"])
    assert everything.name == PROJECT["name"]
    assert everything.extras == set(EXTRAS)


def test_conda_environment_installs_the_lock_and_the_package_with_all_extras():
    dependencies = yaml.safe_load(read("environment.yml"))["dependencies"]
    (pip,) = (entry["pip"] for entry in dependencies if isinstance(entry, dict))
    assert f"python{PROJECT['requires-python']},<3.14" in dependencies
    assert pip[0] == "-r requirements.lock"
    assert set(re.fullmatch(r"-e \.\[(.*)\]", pip[1])[1].split(",")) == set(EXTRAS)


def module_level_imports(path: Path) -> set[str]:
    """Dotted names that importing a module imports."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize(
    "path", sorted((ROOT / "ktnet_lite").rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_module_imports_what_is_declared(path):
    may = HEAVY.match(".".join(path.relative_to(ROOT).with_suffix("").parts))
    declared = [*CORE, *EXTRAS["experiments"]] if may else CORE
    allowed = {IMPORT_NAMES.get(requirement.name, requirement.name) for requirement in declared}
    imports = module_level_imports(path)
    foreign = {name.split(".")[0] for name in imports} - sys.stdlib_module_names - {"ktnet_lite"}
    assert foreign <= allowed, "declare it in pyproject.toml, or import it where it is used"
    if not may:
        assert not set(filter(HEAVY.match, imports)), (
            "import it inside the function: the package must work without the extra `experiments`"
        )


def test_wheel_holds_the_package_and_the_experiments_only(tmp_path):
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    kinds = "*.py", "*.yaml", "*.txt", "py.typed", "trained/*"
    files = [path for kind in kinds for path in (ROOT / "ktnet_lite").rglob(kind)]
    modules = {path.relative_to(ROOT).as_posix() for path in files}
    notebooks = {f"ktnet_lite/notebooks/{name}" for name in ("train.ipynb", "slurm.py")}
    assert {
        "ktnet_lite/data/schema.py",
        "ktnet_lite/experiments/grids/table_1.yaml",
        "ktnet_lite/reporting/paper.yaml",
        "ktnet_lite/trained/ktnet-any-synthetic.pt",
        "ktnet_lite/trained/SHA256SUMS",
    } <= held
    assert held == modules | notebooks


def test_version_is_the_same_everywhere():
    version = ktnet_lite.__version__
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == version
    assert re.search(r"^## (\S+)", read("CHANGELOG.md"), re.MULTILINE)[1] == version


def test_licences_agree():
    assert PROJECT["license"] == "BSD-3-Clause AND CC-BY-4.0"
    assert yaml.safe_load(read("CITATION.cff"))["license"] == "BSD-3-Clause"
    assert read("LICENSE").startswith("BSD 3-Clause License")
    assert "Creative Commons Attribution 4.0 International Public License" in read("LICENSE-TEXT")


def test_repository_address_is_one():
    address = PROJECT["urls"]["Repository"]
    assert yaml.safe_load(read("_config.yml"))["repository"]["url"] == address
    assert yaml.safe_load(read("CITATION.cff"))["repository-code"] == address
    assert f"git clone {address}" in read("README.md")


needs_make = pytest.mark.skipif(os.name != "posix", reason="Windows has no make; README shows the plain commands")
TARGETS = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))


@pytest.mark.parametrize("page", ["README.md", *(path.relative_to(ROOT).as_posix() for path in ROOT.glob("book/*.md"))])
def test_every_make_command_on_a_page_is_a_target(page):
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", read(page), re.MULTILINE))
    assert named <= TARGETS
    if page == "README.md":
        assert {"train", "test"} <= named


def test_ci_runs_the_test_command_of_the_readme():
    script = ROOT / ".ci" / "run"
    lines = script.read_text(encoding="utf-8").splitlines()
    assert lines[-1] == "make test"
    assert "set -euo pipefail" in lines
    if os.name == "posix":
        assert os.access(script, os.X_OK)


@needs_make
@pytest.mark.process
def test_make_help_shows_every_target_and_is_the_default():
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {target for target in TARGETS if re.search(rf"^  {target} ", shown, re.MULTILINE)} == TARGETS


@needs_make
@pytest.mark.process
def test_make_says_what_to_do_when_python_is_too_old(tmp_path):
    old = tmp_path / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    command = ["make", "book", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert outcome.returncode != 0
    assert "needs Python 3.10 or newer" in outcome.stdout
    assert "make book PYTHON=" in outcome.stdout


def make(*arguments: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess:
    """Call ``make`` as from a shell, without what an outer ``make`` and pip's settings put into the environment."""
    names = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"}
    plain = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        ["make", *arguments], cwd=cwd, env=plain | environment, capture_output=True, text=True, check=True
    )


@needs_make
@pytest.mark.process
def test_make_train_passes_its_variables_on():
    def command(*variables: str) -> str:
        dry = make("-n", "train", *variables).stdout
        return " ".join(dry[dry.index("ktnet-lite train ") :].replace("\\\n", " ").split())

    transfer = "--aligned --clips 2200 --labelled 200 --unlabelled 2000 --pretrain 12 --voice own,other"
    assert command() == f"ktnet-lite train --dataset synthetic --variant ours,language_vision,full {transfer}"
    assert "--epochs" not in command("DATASET=mosi-words")
    assert command("DATASET=mosi-words", "VARIANTS=ours", "DATA_FROM=../raw", "SEEDS=0,1", "EPOCHS=3") == (
        "ktnet-lite train --dataset mosi-words --variant ours --data-from ../raw --seed 0,1 --epochs 3"
    )


@needs_make
@pytest.mark.process
def test_make_train_installs_no_more_than_it_needs(tmp_path):
    def installs(target: str) -> list[str]:
        return re.findall(r"-c requirements.lock -e \"(.*?)\"", make("-n", target, f"VENV={tmp_path}").stdout)

    assert installs("train") == [".[experiments]"]
    assert installs("check") == installs("test") == installs("book") == [".[all]"]
    (tmp_path / ".train").touch()
    assert installs("train") == []
    assert installs("check") == [".[all]"]
    (tmp_path / ".train").unlink()
    (tmp_path / ".all").touch()
    assert installs("train") == installs("check") == []


@pytest.fixture
def chosen(tmp_path):
    """What the makefile says about PyTorch, and the options that it gives to pip."""
    makefile = f"include {ROOT / 'Makefile'}\nshow:\n\t@options=$$($(CHOOSE_TORCH)); echo $$options\n"
    (tmp_path / "Makefile").write_text(makefile, encoding="utf-8")

    def call(*variables: str, **environment: str) -> tuple[str, str]:
        done = make("show", f"BIN={Path(sys.executable).parent}", *variables, cwd=tmp_path, **environment)
        return done.stderr.strip(), done.stdout.strip()

    return call


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere PyPI's build of PyTorch is the small one")
@pytest.mark.process
def test_make_chooses_the_build_of_pytorch(chosen, tmp_path):
    (tmp_path / "torch").mkdir()
    with serve(tmp_path) as index:
        here = f"TORCH_CPU={index}"
        said, options = chosen("TORCH=cpu", here)
        assert options == f"--extra-index-url {index}"
        assert "the CPU build" in said
        assert "make clean show TORCH=cuda" in said

        said, options = chosen("TORCH=cuda", here)
        assert (said, options) == ("PyTorch: the build with CUDA.", "")

        for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
            said, options = chosen("TORCH=cpu", here, **{name: "https://example.org"})
            assert options == ""
            assert "your PIP_INDEX_URL or PIP_EXTRA_INDEX_URL" in said

        card = tmp_path / "nvidia-smi"
        card.write_text("#!/bin/sh\n", encoding="utf-8")
        card.chmod(0o755)
        said, options = chosen(here, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        assert options == ""
        assert "your NVIDIA card" in said

    said, options = chosen("TORCH=cpu", here)
    assert options == ""
    assert f"{index} does not answer" in said


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere PyPI's build of PyTorch is the small one")
@pytest.mark.process
def test_an_index_that_never_answers_holds_make_up_for_five_seconds(chosen):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        said, options = chosen("TORCH=cpu", f"TORCH_CPU=http://127.0.0.1:{silent.getsockname()[1]}")
        assert 4 < time.monotonic() - start < 30
    assert options == ""
    assert "does not answer" in said


def test_table_of_contents_names_existing_files():
    contents = yaml.safe_load(read("_toc.yml"))
    files = [contents["root"]]
    for part in contents["parts"]:
        files += [chapter["file"] for chapter in part["chapters"]]
    for name in files:
        assert any((ROOT / f"{name}{suffix}").is_file() for suffix in (".md", ".ipynb")), name
    pages = {path.with_suffix("").relative_to(ROOT).as_posix() for path in ROOT.glob("book/*.md")}
    assert pages <= set(files), "a page of the book that no reader can reach"


def test_every_data_set_has_its_row_in_the_book():
    from ktnet_lite.data.catalogue import ENTRIES

    named = set(re.findall(r"`([a-z0-9-]+)`", read("book/data.md")))
    assert set(ENTRIES) <= named
