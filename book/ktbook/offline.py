"""Keep pages from loading anything from another site.

The Colab badge of a notebook is Google's image on GitHub and Colab, and the book's own copy in the book. Jupyter Book
adds thebe to every page, to run cells on a remote server; the book has no button for it, so this module removes it.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
OWN_BADGE = "/book/images/colab-badge.svg"


def use_own_badge(app: Sphinx, doctree: nodes.document) -> None:
    """Point each badge at the file in the book, before Sphinx collects the images to copy."""
    for image in doctree.findall(nodes.image):
        if image["uri"] == BADGE:
            image["uri"] = OWN_BADGE
            image["classes"].append("dark-light")


def remove_thebe(app: Sphinx, config: Config) -> None:
    """Keep thebe from adding anything to a page."""
    for listeners in app.events.listeners.values():
        for listener in [each for each in listeners if each.handler.__module__ == "sphinx_thebe"]:
            app.disconnect(listener.id)
    app.registry.css_files = [file for file in app.registry.css_files if file[0] != "sphinx-thebe.css"]


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", remove_thebe)
    app.connect("doctree-read", use_own_badge, priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
