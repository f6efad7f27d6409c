"""A notebook's pictures keep, in the book, the text that says what they show.

The text stands in the notebook, beside the picture, where GitHub and Jupyter look for it; myst-nb leaves it out.
"""

from __future__ import annotations

import hashlib
from binascii import a2b_base64
from pathlib import Path, PurePosixPath

import nbformat
from docutils import nodes
from sphinx.application import Sphinx

PNG = "image/png"


def texts(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """The text of each picture among a notebook's outputs, by the name that myst-nb gives the picture: its hash."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return {
        hashlib.sha256(a2b_base64(output["data"][PNG])).hexdigest(): output["metadata"].get(PNG, {}).get("alt", "")
        for output in outputs
        if PNG in output.get("data", {})
    }


def say_what_they_show(app: Sphinx, doctree: nodes.document) -> None:
    """Give the pictures of a notebook's page their texts."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix == ".ipynb":
        found = texts(nbformat.read(path, as_version=4))
        for image in doctree.findall(nodes.image):
            if text := found.get(PurePosixPath(image["uri"]).stem):
                image["alt"] = text


def setup(app: Sphinx) -> dict:
    """Called by Sphinx."""
    app.connect("doctree-read", say_what_they_show)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
