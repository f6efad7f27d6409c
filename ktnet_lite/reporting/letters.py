"""Letters in pictures: text from data is no formula, and every script is drawn that an installed font has."""

from __future__ import annotations

import unicodedata
from functools import cache

import matplotlib
from matplotlib import font_manager
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text

FAMILIES = ["DejaVu Sans"]  # it comes with matplotlib; those that text from data needed besides follow
LONGEST = 60


def literal(text: str) -> str:
    """Return text from data, such as a clip's id, as matplotlib takes it: a ``$`` begins no formula.

    A character that no installed font has is written as its escape, and the end of long text is cut off.
    """
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    drawn = (letter if _is_drawable(letter) else letter.encode("unicode_escape").decode() for letter in text)
    return "".join(drawn).replace("$", r"\$")


class Drawing(Figure):
    """A figure that finds its letters in ``FAMILIES``, and its formulas without LaTeX, whatever a user has set."""

    def draw(self, renderer: RendererBase) -> None:
        for text in self.findobj(Text):
            text.set(usetex=False, parse_math=True, fontfamily=FAMILIES)
        with matplotlib.rc_context({"text.usetex": False, "text.parse_math": True, "font.family": FAMILIES}):
            super().draw(renderer)


@cache
def _is_drawable(letter: str) -> bool:
    """Whether a family in ``FAMILIES`` has a character, after a search among all that are installed."""
    if unicodedata.category(letter) in ("Cc", "Co", "Cs", "Zl", "Zp"):  # controls, lone surrogates, line breaks
        return False
    if any(_has(family, letter) for family in FAMILIES):
        return True
    fonts = font_manager.fontManager.ttflist
    plain = [font for font in fonts if (font.style, font.weight) == ("normal", 400) and "Last Resort" not in font.name]
    for font in sorted(plain, key=lambda font: "Sans" not in font.name):
        if _in_file(font.fname, letter) and _has(font.name, letter):
            FAMILIES.append(font.name)
            return True
    return False


def _has(family: str, letter: str) -> bool:
    try:
        path = font_manager.findfont(FontProperties(family=[family]), fallback_to_default=False)
    except ValueError:  # there is no such family any more
        return False
    return _in_file(path, letter)


def _in_file(path: str, letter: str) -> bool:
    try:
        return font_manager.get_font(path).get_char_index(ord(letter)) > 0
    except (OSError, RuntimeError):  # the file has gone, or is broken
        return False
