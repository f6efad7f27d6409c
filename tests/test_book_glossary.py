"""The glossary: in order, each term with a link to the place that explains it."""

import re
import unicodedata
from pathlib import Path

BOOK = Path(__file__).resolve().parents[1] / "book"
ENTRIES = dict(re.findall(r"^(\S.*)\n((?:  .+\n)+)", (BOOK / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE))


def test_terms_are_in_alphabetical_order():
    terms = [unicodedata.normalize("NFKD", term).casefold() for term in ENTRIES]
    assert 40 <= len(terms) <= 75 and terms == sorted(terms)


def test_each_term_is_explained_in_a_few_sentences_with_a_link_to_more():
    for term, text in ENTRIES.items():
        sentences = re.findall(r"[.?](?=\s)", re.sub(r"\(\[.*?\)\)", "", text, flags=re.DOTALL))
        assert 1 <= len(sentences) <= 3, term
        links = re.findall(r"\]\(([^)#]+)", text)
        assert links, term
        assert all((BOOK / link).resolve().is_file() for link in links), term
