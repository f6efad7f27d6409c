"""Make a numbered figure of each picture in a notebook's outputs, and let every wide picture scroll alone.

The description is stored in the notebook next to the picture, where GitHub and Jupyter read it; myst-nb drops it. In
the book it is the caption, for everybody. So that nobody hears it twice, the picture's own text only points to it.
"""

from __future__ import annotations

import hashlib
from binascii import a2b_base64
from pathlib import Path, PurePosixPath

import nbformat
from docutils import nodes
from sphinx.application import Sphinx

PNG = "image/png"
ALT = "Figure, described in its caption"
DRAWN = "drawn"  # the class of figures that the project's code draws
SCROLLS = "scrolls"


def texts(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """Collect the text of each image in a notebook's outputs, by the file name that myst-nb uses: the image's hash."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return {
        hashlib.sha256(a2b_base64(output["data"][PNG])).hexdigest(): output["metadata"].get(PNG, {}).get("alt", "")
        for output in outputs
        if PNG in output.get("data", {})
    }


def put_into(box: nodes.Element, image: nodes.image) -> None:
    """Put a box in the place of an image, and the image into it."""
    image.parent.replace(image, box)
    box.insert(0, image)


def make_figures(app: Sphinx, doctree: nodes.document) -> None:
    """Make figures of the pictures on a notebook's page, and give every drawn picture a box in which it scrolls."""
    path = Path(app.env.doc2path(app.env.docname))
    by_hash = texts(nbformat.read(path, as_version=4)) if path.suffix == ".ipynb" else {}
    for image in list(doctree.findall(nodes.image)):
        if text := by_hash.get(PurePosixPath(image["uri"]).stem):
            image["alt"] = ALT
            image["classes"].append(DRAWN)
            figure = nodes.figure("", nodes.caption(text, text), align="default")
            doctree.note_implicit_target(figure)  # Sphinx numbers what has a name
            put_into(figure, image)
        if DRAWN in image["classes"]:
            put_into(nodes.container(classes=[SCROLLS]), image)


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", make_figures)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
