"""The bibliography: every paper that is linked has an entry; every entry is used, complete and in one list."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from pybtex.database import Entry, parse_file
from sphinxcontrib.bibtex.style import template

from ktbook import bibliography

ROOT = Path(__file__).resolve().parents[1]

ENTRIES = parse_file(str(ROOT / "book" / "references.bib")).entries
LISTS = re.findall(r'keywords % "(\w+)"', (ROOT / "book" / "references.md").read_text(encoding="utf-8"))
PAGES = [*ROOT.glob("book/**/*.md"), *ROOT.glob("notebooks/*.ipynb"), ROOT / "README.md"]
HOSTS = r"arxiv\.org|doi\.org|aclanthology\.org|jstor\.org|openreview\.net|mlr\.press|neurips\.cc|acm\.org|thecvf\.com"
LINK = re.compile(rf"https?://(?:[\w.-]+\.)?(?:{HOSTS})/[^\s)>\"'`]+")


def text_of(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return text


def identity(link: str) -> str:
    """What two addresses of one paper have in common."""
    for pattern, kind in (
        (r"arxiv\.org/(?:abs|pdf|html)/(\d{4}\.\d{4,5})", "arxiv"),
        (r"doi\.org/10\.18653/v1/(.+?)/?$", "acl"),
        (r"doi\.org/(.+?)/?$", "doi"),
        (r"aclanthology\.org/([\w.-]+?)(?:\.pdf)?/?$", "acl"),
    ):
        if found := re.search(pattern, link):
            return f"{kind}:{found[1].lower()}"
    return link.rstrip("/")


def addresses(entry: Entry) -> set[str]:
    prefixes = {"url": "", "doi": "https://doi.org/", "eprint": "https://arxiv.org/abs/"}
    return {identity(prefix + entry.fields[name]) for name, prefix in prefixes.items() if name in entry.fields}


TEXTS = {path.relative_to(ROOT).as_posix(): text_of(path) for path in PAGES if "generated" not in path.parts}
LINKED = {identity(link) for text in TEXTS.values() for link in LINK.findall(text)}
CITED = {
    key
    for text in TEXTS.values()
    for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text)
    for key in re.split(r"[,\s]+", keys)
}


@pytest.mark.parametrize("page", TEXTS)
def test_every_paper_that_is_linked_has_an_entry(page):
    known = set().union(*map(addresses, ENTRIES.values()))
    for link in LINK.findall(TEXTS[page]):
        assert identity(link) in known, f"{page} links to {link}, which references.bib does not have"


@pytest.mark.parametrize("key", ENTRIES)
def test_an_entry_is_used_complete_and_in_one_list(key):
    entry = ENTRIES[key]
    assert key in CITED or addresses(entry) & LINKED, f"{key} is neither cited nor linked anywhere"
    assert entry.persons.get("author") and entry.fields["title"] and addresses(entry)
    assert {"booktitle", "journal", "publisher", "eprint"} & set(entry.fields)
    surname = re.sub(r"[^a-z]", "", str(entry.persons["author"][0].last_names[0]).lower())
    assert re.fullmatch(r"[a-z]+\d{4}[a-z]+", key) and f"{entry.fields['year']}" in key
    assert key[:2] == surname[:2]
    assert entry.fields["keywords"] in LISTS


def test_no_paper_has_two_entries():
    titles = [re.sub(r"\W", "", entry.fields["title"]).lower() for entry in ENTRIES.values()]
    assert len(set(titles)) == len(titles)
    assert sum(len(addresses(entry)) for entry in ENTRIES.values()) == len(
        set().union(*map(addresses, ENTRIES.values()))
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://arxiv.org/abs/1706.03762", "http://arxiv.org/pdf/1706.03762v5"),
        ("https://aclanthology.org/P19-1656/", "https://aclanthology.org/P19-1656.pdf"),
        ("https://doi.org/10.18653/v1/2021.acl-long.203", "https://aclanthology.org/2021.acl-long.203"),
    ],
)
def test_addresses_of_one_paper_are_known_as_one(one, other):
    assert identity(one) == identity(other) != identity("https://arxiv.org/abs/2401.10747")


def test_labels_are_what_the_text_cites():
    keys = "dunnett1955comparison", "liu2024knowledge", "wollmer2013youtube"
    assert [bibliography.label(ENTRIES[key]) for key in keys] == [
        "Dunnett, 1955",
        "Liu and Zhan, 2024",
        "Wöllmer et al., 2013",
    ]
    same = [ENTRIES[key] for key in ("wang2023shared", "holm1979simple", "wang2023diffused")]
    labels = ["Wang et al., 2023a", "Holm, 1979", "Wang et al., 2023c"]
    assert list(bibliography.AuthorYear().format_labels(same)) == labels


def test_no_two_papers_have_one_label():
    labels = list(bibliography.AuthorYear().format_labels(ENTRIES.values()))
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(("key", "year"), [("tsai2019multimodal", "2019a"), ("holm1979simple", "1979")])
def test_the_text_cites_by_the_year_of_the_label(key, year):
    (name,) = bibliography.AuthorYear().format_labels([ENTRIES[key]])
    data = {"entry": ENTRIES[key], "formatted_entry": SimpleNamespace(label=name)}
    assert str(bibliography.lettered[template.year].format_data(data)) == year
