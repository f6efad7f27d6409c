"""Execute the course's notebooks in place, by default those whose outputs are out of date.

    python notebooks/execute.py                    # what is out of date
    python notebooks/execute.py --all
    python notebooks/execute.py notebooks/02_encoders.ipynb

Outputs are out of date when the notebook's code cells, or the package modules that they reach, have changed, other than
in comments and docstrings. The metadata of a notebook holds a digest of both; `make test` compares it.
"""

from __future__ import annotations

import ast
import hashlib
import io
import os
import platform
import time
import tokenize
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path

import click
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

NOTEBOOKS = Path(__file__).resolve().parent
ROOT = NOTEBOOKS.parent
PACKAGE = "ktnet_lite"
WIDGET = "application/vnd.jupyter.widget-view+json"


def course() -> list[Path]:
    """List the course's notebooks, in order."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def module_path(name: str) -> Path | None:
    """Find the file of a package module; None if no module has this name."""
    path = ROOT.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the names of the package modules that code imports, in functions and for type checkers too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE)


def meaning(source: str) -> str:
    """Return code without comments, empty lines and docstrings, which change no output; the same in every Python."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, clean=False):
            first, last = node.body[0].lineno, node.body[0].end_lineno
            lines[first - 1 : last] = [""] * (last - first + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def code_of(notebook: nbformat.NotebookNode) -> str:
    """Join all code cells, without magics."""
    lines = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))


def reached(code: str) -> dict[Path, str]:
    """Return the source of every package module that code imports, directly or through another module.

    The package itself imports its public names lazily; they count through its imports for type checkers.
    """
    sources: dict[Path, str] = {}
    waiting = set(imported(ast.parse(code)))
    while waiting:
        file = module_path(waiting.pop())
        if file is not None and file not in sources:
            sources[file] = file.read_text(encoding="utf-8")
            waiting |= set(imported(ast.parse(sources[file])))
    return sources


def digest(path: Path) -> str:
    """Compute the digest of what the outputs of a notebook depend on: its code and the modules that it reaches."""
    code = code_of(nbformat.read(path, as_version=4))
    modules = [meaning(source) for _, source in sorted(reached(code).items())]
    return hashlib.sha256("\0".join([meaning(code), *modules]).encode()).hexdigest()


def is_current(path: Path) -> bool:
    """Tell whether the outputs of a notebook come from the present code."""
    return nbformat.read(path, as_version=4).metadata.get(PACKAGE, {}).get("made_from") == digest(path)


def execute(path: Path) -> float:
    """Run a notebook from the top and write it back; return the seconds."""
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    client = NotebookClient(notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": NOTEBOOKS}})
    client.extra_arguments = ["--IPKernelApp.log_level=ERROR"]  # no warning about open ports
    try:
        client.execute()
    except CellExecutionError as error:
        raise click.ClickException(f"{path.name}: {error}") from None
    seconds = time.perf_counter() - start
    notebook.metadata.pop("widgets", None)  # it breaks GitHub's viewer
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    notebook.metadata[PACKAGE] = {
        "made_from": digest(path),
        "seconds": round(seconds),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {os.environ.get('OMP_NUM_THREADS', 'all')} used",
        "torch": version("torch").split("+")[0],
    }
    nbformat.write(notebook, path)
    return seconds


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--all", "everything", is_flag=True, help="also those that are up to date")
def main(paths: tuple[Path, ...], everything: bool) -> None:
    """Execute notebooks in place, two at once: PATHS, or those that are out of date."""
    os.environ["OMP_NUM_THREADS"] = "1"  # so that numbers do not depend on the cores
    chosen = [path.resolve() for path in paths] or [path for path in course() if everything or not is_current(path)]
    with ProcessPoolExecutor(max_workers=2) as pool:
        running = {path: pool.submit(execute, path) for path in chosen}
    failed = [run.exception() for run in running.values() if run.exception()]
    for path, run in running.items():
        click.echo(f"{path.name}: {'failed' if run.exception() else f'{run.result():.0f} s'}")
    if failed:
        raise click.ClickException("\n\n".join(str(error) for error in failed))


if __name__ == "__main__":
    main()
