"""What a page would load from another site comes from the book's own files, or not at all.

The badge of a notebook is Google's picture where GitHub and Colab show the notebook, and ours in the book. Jupyter Book
adds thebe, which runs cells on a server elsewhere, to every page; the book has no button for it, so it is left out.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
OWN_BADGE = "/book/images/colab-badge.svg"


def take_own_badge(app: Sphinx, doctree: nodes.document) -> None:
    """Point each badge at the file in the book, before Sphinx collects the pictures to copy."""
    for image in doctree.findall(nodes.image):
        if image["uri"] == BADGE:
            image["uri"] = OWN_BADGE
            image["classes"].append("dark-light")


def leave_thebe_out(app: Sphinx, config: Config) -> None:
    """Keep thebe from adding anything to a page."""
    for listeners in app.events.listeners.values():
        for listener in [each for each in listeners if each.handler.__module__ == "sphinx_thebe"]:
            app.disconnect(listener.id)
    app.registry.css_files = [file for file in app.registry.css_files if file[0] != "sphinx-thebe.css"]


def setup(app: Sphinx) -> dict:
    """Called by Sphinx."""
    app.connect("config-inited", leave_thebe_out)
    app.connect("doctree-read", take_own_badge, priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
