"""Ways into the book and out of it: a notebook's links to pages, and comments.

A notebook is read in Colab, Kaggle and Jupyter too, where only an address of the site leads to a page of the book. In
the book itself, such a link becomes one between pages: it is checked, and works before anything is published.

Comments are an option of ``_config.yml``, ``giscus``. It is off by default, because giscus.app is another site.
"""

from __future__ import annotations

import html
import re
from typing import Any

from sphinx.errors import ExtensionError

KEYS = {"repo_id", "category", "category_id"}


def site_of(repository: str) -> str:
    """Return the address of the book on GitHub Pages, from that of its repository."""
    owner, name = repository.rstrip("/").removesuffix(".git").split("/")[-2:]
    return f"https://{owner.lower()}.github.io/{name}"


def linked(text: str, site: str) -> str:
    """Turn links to pages of the site into links to their files, as seen from the folder of the notebooks."""
    return re.sub(rf"\({re.escape(site)}/(book/[\w/-]+)\.html(#[\w-]+)?\)", r"(../\1.md\2)", text)


def link_pages(app: Any, name: str, content: list[str]) -> None:
    """Turn the links of a notebook, before it is parsed."""
    if name.startswith("notebooks/"):
        content[0] = linked(content[0], site_of(app.config.html_theme_options["repository_url"]))


def comments(repository: str, giscus: dict[str, str]) -> str:
    """Write the section for comments at the end of a page, by the page's address."""
    if giscus.keys() != KEYS:
        raise ExtensionError(f"_config.yml: giscus needs {', '.join(sorted(KEYS))}, as giscus.app shows them")
    options = {
        "repo": "/".join(repository.split("/")[-2:]),
        **{key.replace("_", "-"): value for key, value in giscus.items()},
        "mapping": "pathname",
        "strict": "1",
        "reactions-enabled": "0",
        "theme": "preferred_color_scheme",
        "lang": "en",
        "loading": "lazy",
    }
    data = " ".join(f'data-{key}="{html.escape(value)}"' for key, value in options.items())
    script = f'<script src="https://giscus.app/client.js" {data} crossorigin="anonymous" async></script>'
    return f'<section id="comments"><h2>Comments</h2>{script}</section>'


def add_comments(app: Any, name: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Add comments to the pages of the book, if they are asked for."""
    if app.config.giscus and doctree:  # not on the index and the search page
        context["body"] += comments(app.config.html_theme_options["repository_url"], app.config.giscus)


def setup(app: Any) -> dict[str, bool]:
    """Listen for notebooks that are read and pages that are written."""
    app.add_config_value("giscus", None, "html")
    app.connect("source-read", link_pages)
    app.connect("html-page-context", add_comments)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
