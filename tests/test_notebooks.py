"""The course's notebooks: made from today's code, complete, readable without a kernel, and what they define."""

import ast
import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
import yaml

import execute

ROOT = Path(__file__).resolve().parents[1]

COURSE = execute.course()
NAMES = [path.stem for path in COURSE]
SITE = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
PLACE = SITE["url"].removeprefix("https://github.com/") + f"/blob/{SITE['branch']}/notebooks"
COLAB = f"https://colab.research.google.com/github/{PLACE}"
HIDDEN = "hide-cell"
SAME = re.compile(r"# The package's: (ktnet_lite[\w.]+)")
LINE_LIMIT = 25  # of a code cell
OF_REPOSITORY = re.compile(
    rf"(?:\[`(\w+)(?=[`.(])[^`\]]*`\]\()?{re.escape(SITE['url'])}/(?:blob|tree|raw)/{SITE['branch']}/([\w./-]*[\w/-])"
)


def cells_of(path: Path, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def prose_of(path: Path) -> str:
    return "\n\n".join(cell.source for cell in cells_of(path, "markdown"))


def test_the_course_is_in_the_books_contents_in_order():
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert re.findall(r"notebooks/(\d\d_\w+)", contents) == NAMES


@pytest.mark.parametrize("path", COURSE, ids=NAMES)
def test_outputs_are_not_older_than_the_code(path):
    assert execute.is_current(path), "its outputs are older than its code or the package's; run: make notebooks"


@pytest.mark.parametrize("path", COURSE, ids=NAMES)
def test_every_code_cell_ran_in_order_without_an_error(path):
    cells = [cell for cell in cells_of(path, "code") if cell.source.strip()]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


@pytest.mark.parametrize("path", COURSE, ids=NAMES)
def test_a_code_cell_has_at_most_25_lines(path):
    """Every line counts: blank ones, comments, the text of a picture, and solutions that are folded."""
    lengths = {cell.source.splitlines()[0]: len(cell.source.splitlines()) for cell in cells_of(path, "code")}
    assert not {first: lines for first, lines in lengths.items() if lines > LINE_LIMIT}


def text_files() -> list[Path]:
    """Notebooks, pages and the texts that GitHub shows."""
    patterns = ("*.md", "book/**/*.md", "notebooks/*.md", "notebooks/*.ipynb", "data/*.md", ".github/**/*.md")
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


@pytest.mark.parametrize("path", text_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_link_into_the_repository_leads_to_a_file_that_defines_what_it_names(path):
    for name, linked in OF_REPOSITORY.findall(path.read_text(encoding="utf-8")):
        file = ROOT / linked
        assert file.exists(), linked
        if name and file.suffix == ".py" and name != file.stem:
            source = file.read_text(encoding="utf-8")
            assert re.search(rf"^\s*(?:def|class) {name}\b|^{name}\b.*=", source, re.MULTILINE), (name, linked)


@pytest.mark.parametrize("path", COURSE, ids=NAMES)
def test_every_picture_has_text_for_those_who_cannot_see_it(path):
    notebook = nbformat.read(path, as_version=4)
    assert "widgets" not in notebook.metadata, "GitHub does not show such a notebook"
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if execute.WIDGET in output.get("data", {})]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert pictures
    for picture in pictures:
        text = picture.metadata.get("image/png", {}).get("alt", "")  # in the book, the caption
        assert len(text) > 20 and text[0].isupper() and text[-1] == "." and len(text.split()) < 45
    drawn = re.findall(r"!\[(.*?)\]\(", prose_of(path))
    assert all(drawn)


@pytest.mark.parametrize("path", COURSE, ids=NAMES)
def test_a_chapter_has_all_its_parts(path):
    prose = prose_of(path)
    assert prose.startswith("# ") and f"({COLAB}/{path.name})" in prose
    blob = f"{SITE['url']}/blob/{SITE['branch']}/notebooks/{path.name}"
    slug = SITE["url"].removeprefix("https://github.com/")
    for link in (
        f"kaggle.com/kernels/welcome?src={blob}",
        f"mybinder.org/v2/gh/{slug}/{SITE['branch']}?labpath=notebooks/{path.name}",
        f"codespaces.new/{slug}",
    ):
        assert f"](https://{link})" in prose.split("**You will learn**")[0], link
    assert re.search(r"^\*\*The question\.\*\* [A-Z][^\n]+\?$", prose.split("**You will learn**")[0], re.MULTILINE)
    known = re.search(r"^## Summary\n\nWhat is now known:\n\n((?:- .+\n(?:  .+\n)*)+)", prose, re.MULTILINE)
    assert known and len(re.findall(r"^- ", known[1], re.MULTILINE)) == 3
    assert "](../book/" not in prose, "in Colab only an address of the site leads to a page"
    for part in (
        "**You will learn**",
        "**Time:**",
        "## Set-up",
        "**What you should see:**",
        "## Exercises",
        "## Summary",
        "**Next:**",
    ):
        assert part in prose, part
    exercises = re.findall(r"^\*\*Exercise (\d)", prose, re.MULTILINE)
    assert exercises == [str(n + 1) for n in range(len(exercises))] and len(exercises) >= 3
    hidden = [cell for cell in cells_of(path, "code") if HIDDEN in cell.metadata.get("tags", [])]
    titles = re.findall(r"# @title Solution (\d)", "\n".join(cell.source for cell in hidden))
    assert titles == exercises, "each exercise has a hidden solution, in order"
    code = "\n".join(cell.source for cell in cells_of(path, "code"))
    checks = re.findall(r'^check\("\d+\.(\d)"', code, re.MULTILINE)
    assert checks == exercises, "each exercise has a stub that ends in a check, in order"
    for cell in hidden:
        assert cell.metadata.get("jupyter", {}).get("source_hidden") and cell.metadata.get("cellView") == "form"


def test_each_chapter_leads_to_the_next():
    assert [name[:2] for name in NAMES] == [f"{number:02}" for number in range(14)]
    for path, following in pairwise(COURSE):
        last = prose_of(path).rpartition("**Next:**")[2]
        assert f"]({following.name})" in last, path.name


@pytest.mark.parametrize("path", COURSE, ids=NAMES)
def test_what_you_should_see_is_checked(path):
    """After each such text, before the next heading, some cell fails when it is not so."""
    cells = nbformat.read(path, as_version=4).cells
    for i, cell in enumerate(cells):
        if cell.cell_type == "markdown" and "**What you should see:**" in cell.source:
            around = [c.source for c in cells[max(i - 1, 0) : i + 3] if c.cell_type == "code"]
            assert any("assert" in source for source in around), cell.source[:80]


@pytest.mark.parametrize("path", COURSE, ids=NAMES)
def test_what_a_notebook_calls_the_packages_is_the_packages(path):
    """A definition under the comment "The package's: NAME" is that of the package, but for docstrings and comments."""
    for cell in cells_of(path, "code"):
        for name in SAME.findall(cell.source):
            module, _, definition = name.rpartition(".")
            source = execute.module_path(module).read_text(encoding="utf-8")
            assert defined(cell.source, definition) == defined(source, definition), name


def defined(source: str, name: str) -> str:
    """The code of one class or function, without what changes no output, on one canonical layout."""
    lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
    (node,) = [
        node
        for node in ast.parse("\n".join(lines)).body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name
    ]
    return execute.meaning(ast.unparse(node))


def test_the_digest_changes_with_code_that_is_reached_and_with_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "ROOT", tmp_path)
    package = tmp_path / "ktnet_lite"
    package.mkdir()
    files = {"__init__": "", "near": "from ktnet_lite import far\nx = 1\n", "far": "y = 2\n", "other": "z = 3\n"}
    path = tmp_path / "a.ipynb"

    def digest(code: str = "import ktnet_lite.near\n%pip x\n", **changes: str) -> str:
        for name, source in (files | changes).items():
            (package / f"{name}.py").write_text(source, encoding="utf-8")
        cells = [nbformat.v4.new_code_cell(code), nbformat.v4.new_markdown_cell("text")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return execute.digest(path)

    first = digest()
    assert digest(other="z = 4\n") == first == digest(far='"""Text."""\n\ny = 2  # two\n')
    changed = (
        digest(far="y = 3\n"),
        digest(near="from ktnet_lite import far\nx = 2\n"),
        digest("import ktnet_lite.near\nx"),
    )
    assert len({first, *changed}) == 4


def test_the_names_that_the_package_imports_lazily_are_reached():
    files = {path.relative_to(execute.ROOT).as_posix() for path in execute.reached("import ktnet_lite as kt")}
    modules = {"model.ktnet", "training.loop", "training.evaluation", "training.build", "config", "data.synthetic"}
    assert {f"ktnet_lite/{module.replace('.', '/')}.py" for module in modules} <= files


BROKEN = {  # a formula, and a number that is compared, in chapter 2 up to its attention
    "math.sqrt(q.shape[-1])": "math.sqrt(k.shape[-2])",
    "(8 * weights).round": "(9 * weights).round",
}


@pytest.mark.kernel
def test_a_broken_notebook_fails(tmp_path):
    """A lesson that no longer holds, or an output that is no longer what the page shows, and `make test` says so."""
    (source,) = [path for path in COURSE if path.name.startswith("02_")]
    notebook = nbformat.read(source, as_version=4)
    end = next(i for i, cell in enumerate(notebook.cells) if "layers.Attention(" in cell.source)
    notebook.cells = notebook.cells[: end + 1]
    for old, new in BROKEN.items():
        assert sum(old in cell.source for cell in notebook.cells if cell.cell_type == "code") >= 1
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)
    path = tmp_path / "broken.ipynb"
    nbformat.write(notebook, path)
    command = f"{sys.executable} -m pytest --nbval-lax --nbval-current-env -q -p no:cacheprovider {path}".split()
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    failed = re.search(r"(\d+) failed", done.stdout)
    assert failed and int(failed[1]) == len(BROKEN), done.stdout


def test_notebooks_are_plain_json_with_ids():
    for path in COURSE:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        assert all(cell["id"] for cell in notebook["cells"])
