"""Keep the alternative texts of a notebook's images in the book.

The text is stored in the notebook next to the image, where GitHub and Jupyter read it; myst-nb drops it.
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
    """Collect the text of each image in a notebook's outputs, by the file name that myst-nb uses: the image's hash."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return {
        hashlib.sha256(a2b_base64(output["data"][PNG])).hexdigest(): output["metadata"].get(PNG, {}).get("alt", "")
        for output in outputs
        if PNG in output.get("data", {})
    }


def add_texts(app: Sphinx, doctree: nodes.document) -> None:
    """Set the texts of the images on a notebook's page."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix == ".ipynb":
        by_hash = texts(nbformat.read(path, as_version=4))
        for image in doctree.findall(nodes.image):
            if text := by_hash.get(PurePosixPath(image["uri"]).stem):
                image["alt"] = text


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", add_texts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
