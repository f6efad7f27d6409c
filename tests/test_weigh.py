"""What the book's pages weigh."""

import re
from pathlib import Path

import pytest

from chromium import launch

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("pikepdf", reason="pip install pikepdf")
pytest.importorskip("playwright", reason="pip install playwright")

import weigh  # noqa: E402

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", autouse=True)
def chromium():
    with launch():
        pass  # skips where there is none


def test_pages_and_site_are_as_light_as_the_page_on_publishing_says(site):
    text = (ROOT / "book" / "publishing.md").read_text(encoding="utf-8")
    page, whole = (int(re.search(rf"{words} (\d+) MB", text)[1]) for words in ("loads at most", r"has less\s+than"))
    longest = sorted(weigh.pages_of(site), key=lambda path: path.stat().st_size)[-12:]
    sent = {name: weigh.total(files)[1] / 1e6 for name, files in weigh.loaded(site, longest).items()}
    assert len(sent) == 12 and min(sent.values()) > 0.1
    assert {name: size for name, size in sent.items() if size > page} == {}
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) / 1e6 < whole


def test_weighing_counts_what_a_page_asks_for_and_all_files_of_the_site(tmp_path, capsys):
    (tmp_path / "style.css").write_text("p { color: red }" * 1000, encoding="utf-8")
    (tmp_path / "unused.bin").write_bytes(bytes(3_000_000))
    (tmp_path / "plain.html").write_text("<p>x</p>", encoding="utf-8")
    (tmp_path / "index.html").write_text('<link rel="stylesheet" href="style.css?v=1"><p>x</p>', encoding="utf-8")
    weigh.main.callback(site=tmp_path, pages=1)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1] == ["index.html", "16", "0"]
    assert rows[2] == ["the", "whole", "site", "3,016", "3,000"]
    assert len(rows) == 3
