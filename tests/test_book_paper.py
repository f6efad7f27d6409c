"""The page on the paper: its picture's links, its tables, its numbers."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from ktbook import ledger, paper_page
from ktnet_lite.measures.metrics import METRICS
from ktnet_lite.reporting import paper

ROOT = Path(__file__).resolve().parents[1]

PAGE = (ROOT / "book" / "paper.md").read_text(encoding="utf-8")
PICTURE = ROOT / "book" / "images" / "pipeline.svg"
SVG = "{http://www.w3.org/2000/svg}"
LINKS = [link.get("href") for link in ElementTree.parse(PICTURE).iter(f"{SVG}a")]


@pytest.mark.parametrize("link", sorted(set(LINKS)))
def test_a_part_of_the_picture_leads_to_a_chapter(link):
    path, _, anchor = link.partition("#")
    assert (PICTURE.parent / path).resolve().is_file()
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in ledger.headings(Path(path).name)
    }
    assert not anchor or anchor in anchors


def test_the_picture_leads_to_every_part_of_the_method():
    assert {int(Path(link).name[:2]) for link in LINKS} == {1, 2, 3, 4, 5, 6, 7}


def test_the_picture_says_in_words_what_it_shows():
    root = ElementTree.parse(PICTURE).getroot()
    for name, kind in (("title", "labelledby"), ("desc", "describedby")):
        (text,) = root.findall(f"{SVG}{name}")
        assert root.get(f"aria-{kind}") == text.get("id") and len(text.text) > 40
    for link in root.iter(f"{SVG}a"):
        assert re.search(r": chapter \d$", link.find(f"{SVG}title").text)


def test_in_the_page_the_picture_links_to_the_pages_of_the_site():
    inline = paper_page.pipeline()
    assert ".ipynb" not in inline
    made = [f"../notebooks/{Path(link).name}".replace(".ipynb", ".html") for link in LINKS]
    assert re.findall(r'<a href="([^"]+)"', inline) == made


def numbers(row: str) -> list[str]:
    return re.findall(r"(?<=\| )[\d.]+(?= +\|)", row)


def test_the_tables_are_complete_and_as_printed():
    parts = dict(re.findall(r"### The paper's Table (\w+): (.*?)(?=\n\(|\Z)", paper_page.tables(), re.DOTALL))
    assert list(parts) == ["I", "II", "III", "IV", "V"]
    for number, text in parts.items():
        known = paper.table(number)
        printed = [numbers(line) for line in text.splitlines() if numbers(line)]
        assert len(printed) == len(known.values)
        for row, values in zip(printed, known.values.values(), strict=True):
            scale = [1 if name in ("mae", "corr") else 100 for name in values]
            expected = [value * by for value, by in zip(values.values(), scale, strict=True)]
            assert [float(x) for x in row] == pytest.approx(expected, abs=1e-9)
        assert known.data in text.partition("\n")[0]
    assert "| 0.623 | 0.700  |" in parts["II"] and "| 0.71  | 0.54   |" in parts["II"]


def test_arrows_point_to_where_a_metric_is_better():
    assert [paper_page.heading(name) for name in ("acc2", "mae", "f1_sad")] == ["Acc2 ↑", "MAE ↓", "F1 sad ↑"]
    assert not METRICS["mae"].higher_is_better


def test_numbers_of_the_tables_are_not_typed_on_the_page():
    """A decimal number in the page's own text is the paper's learning rate, and nothing else."""
    assert set(re.findall(r"\d+\.\d+", PAGE)) == {"0.001"}
