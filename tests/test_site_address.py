"""The repository's address stands in _config.yml; one command changes it everywhere, and nothing else."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.process
ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
SLUG = REPOSITORY["url"].removeprefix("https://github.com/")
SCRIPT = "book/site_address.py"
HOST, PAGES = "https://github.com", "github.io"
BINDER, CODESPACES = "https://mybinder.org/v2/gh", "https://codespaces.new"
ELSEWHERE = f"{HOST}/Some-One/film.reviews"


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def under_git(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "-c", "core.autocrlf=false", "add", "--all")
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What git tracks, but for result files, which name no address."""
    tracked = {name for name in git(ROOT, "ls-files", "-z").split("\0") if (ROOT / name).is_file()}
    return under_git(tmp_path, [name for name in tracked | {SCRIPT} if not name.startswith("results/")])


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A few of these files."""
    return under_git(
        tmp_path, [SCRIPT, "_config.yml", "book/data.md", "ktnet_lite/model/losses.py", "notebooks/02_encoders.ipynb"]
    )


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, folder / SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in git(folder, "ls-files", "-z").split("\0") if name}


def test_every_file_of_the_project_has_the_address_of_the_config():
    assert run(ROOT, "--check").returncode == 0


def test_another_address_reaches_every_file_and_the_way_back_leaves_no_trace(copy):
    before = contents(copy)
    done = run(copy, ELSEWHERE)
    assert done.returncode == 0, done.stderr
    after = contents(copy)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for name, content in before.items() if f"/{SLUG}".encode() in content}
    assert changed <= set(done.stdout.split())
    assert not [name for name, content in after.items() if f"github.com/{SLUG}".encode() in content]
    assert {"_config.yml", "README.md", "pyproject.toml", "CITATION.cff", "book/index.md"} <= changed
    assert len([name for name in changed if name.startswith("notebooks/0")]) == 10
    assert run(copy, "--check").returncode == 0
    assert not re.search(r"\b0 files", done.stdout) and run(copy, ELSEWHERE + ".git").stdout.count("\n") == 1

    assert run(copy, REPOSITORY["url"] + "/").returncode == 0
    assert contents(copy) == before


def test_notebooks_lead_to_the_new_address_and_are_still_up_to_date(copy, monkeypatch):
    assert run(copy, ELSEWHERE).returncode == 0
    text = (copy / "notebooks" / "02_encoders.ipynb").read_text(encoding="utf-8")
    colab = "https://colab.research.google.com/github"
    assert f"{colab}/Some-One/film.reviews/blob/{REPOSITORY['branch']}/notebooks/02_encoders.ipynb)" in text
    assert f'git+{ELSEWHERE}\\"' in text
    assert f"{ELSEWHERE}/blob/{REPOSITORY['branch']}/ktnet_lite/model/layers.py" in text
    assert f"/gh/Some-One/film.reviews/{REPOSITORY['branch']}?labpath=notebooks/02_encoders.ipynb)" in text
    assert f"{CODESPACES}/Some-One/film.reviews)" in text and f"welcome?src={ELSEWHERE}/blob/" in text
    assert f"https://some-one.{PAGES}/film.reviews/book/choices.html#padding" in text
    monkeypatch.syspath_prepend(ROOT / "notebooks")
    import execute

    for name in ("00_quickstart.ipynb", "02_encoders.ipynb"):
        assert execute.digest(copy / "notebooks" / name) == execute.digest(ROOT / "notebooks" / name)


def test_line_ends_and_bytes_that_are_no_text_stay(small):
    odd = small / "odd.txt"
    odd.write_bytes(f"a {REPOSITORY['url']}.\r\n\xe9 github.com/{SLUG}\r".encode("latin-1"))
    git(small, "-c", "core.autocrlf=false", "add", "odd.txt")
    assert run(small, ELSEWHERE).returncode == 0
    assert odd.read_bytes() == f"a {ELSEWHERE}.\r\n\xe9 {ELSEWHERE[8:]}\r".encode("latin-1")


STRAYS = {
    "another owner": f"{HOST}/stranger/ktnet-lite",
    "a file that lies here": f"{HOST}/stranger/other/blob/{REPOSITORY['branch']}/ktnet_lite/model/losses.py",
    "another branch": f"{HOST}/{SLUG}/blob/trunk/README.md",
    "a notebook in Colab": "https://colab.research.google.com/github"
    f"/stranger/other/blob/{REPOSITORY['branch']}/notebooks/02_encoders.ipynb",
    "a notebook on Binder": f"{BINDER}/stranger/other/trunk?labpath=notebooks/02_encoders.ipynb",
    "a notebook on Kaggle": f"https://kaggle.com/kernels/welcome?src={HOST}/stranger/other/blob/trunk/notebooks/02_encoders.ipynb",
    "a codespace": f"{CODESPACES}/stranger/ktnet-lite",
    "an installation": f"pip install git+{HOST}/stranger/ktnet-lite.git",
    "the published book": f"https://stranger.{PAGES}/ktnet-lite/book/index.html",
}


@pytest.mark.parametrize("what", STRAYS)
def test_a_stray_address_is_found_and_mended(what, small):
    page = small / "book" / "data.md"
    page.write_text(page.read_text(encoding="utf-8") + f"\n[there]({STRAYS[what]})\n", encoding="utf-8")
    found = run(small, "--check")
    assert found.returncode == 1 and found.stdout == "book/data.md\n" and "_config.yml" in found.stderr
    assert run(small).returncode == 0
    assert run(small, "--check").returncode == 0
    assert "stranger" not in page.read_text(encoding="utf-8") and "trunk" not in page.read_text(encoding="utf-8")


def test_links_to_other_projects_are_not_touched(small):
    others = f"""
        {HOST}/thuiar/MMSA {HOST}/thuiar/MMSA/blob/master/README.md {HOST}/a/b/blob/main/modules/transformer.py
        {BINDER}/a/b/main?labpath=c.ipynb {CODESPACES}/a/b
        {HOST}/{SLUG}-fork {HOST}/stranger/my-ktnet-lite https://someone.github.io/page/ {HOST}/OWNER/NAME
    """
    (small / "others.txt").write_text(others, encoding="utf-8")
    git(small, "add", "others.txt")
    assert run(small, "--check").returncode == 0
    assert run(small, ELSEWHERE).returncode == 0
    assert (small / "others.txt").read_text(encoding="utf-8") == others


@pytest.mark.parametrize(
    "url",
    [
        "http://github.com/a/b",
        "https://gitlab.com/a/b",
        "github.com/a/b",
        "https://github.com/a",
        "https://github.com/a/b/c",
    ],
)
def test_what_is_no_address_of_a_repository_is_refused_before_anything_changes(url, small):
    before = contents(small)
    done = run(small, url)
    assert done.returncode == 1
    assert done.stderr == f"Error: {url} is not the address of a repository, as https://github.com/OWNER/NAME is\n"
    assert contents(small) == before
