"""Text from data in pictures: `$` begins no formula, any script is drawn or escaped, no user's settings matter."""

import dataclasses
import io
import warnings

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from ktbook import result_plots
from ktnet_lite.course import cross_attention, streams
from ktnet_lite.measures.statistics import Interval
from ktnet_lite.reporting import letters, plots
from ktnet_lite.reporting.letters import literal
from small import ALIGNED, make_model, make_split

FORMULA = "vid$_$1"  # an id of MMSA, which matplotlib would read as a formula, and fail
MISSING = "\U00012000"  # a sign of cuneiform, which few machines have


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """What other tests have found among the fonts of this machine does not count."""
    monkeypatch.setattr(letters, "FAMILIES", letters.FAMILIES[:1])
    letters._is_drawable.cache_clear()
    yield
    letters._is_drawable.cache_clear()


@pytest.fixture
def cuneiform(tmp_path, monkeypatch) -> str:
    """The family of a new font, which has one sign of cuneiform and nothing else."""
    pen = TTGlyphPen(None)
    for i, corner in enumerate([(0, 0), (500, 0), (250, 500)]):
        (pen.lineTo if i else pen.moveTo)(corner)
    pen.closePath()
    font = FontBuilder(1000)
    font.setupGlyphOrder([".notdef", "sign"])
    font.setupCharacterMap({ord(MISSING): "sign"})
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "sign": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (600, 0), "sign": (600, 0)})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Cuneiform Test", "styleName": "Regular"})
    font.setupOS2(usWeightClass=400)
    font.setupPost()
    font.save(tmp_path / "cuneiform.ttf")
    others = [font for font in font_manager.fontManager.ttflist if "Cuneiform" not in font.name]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", others)
    font_manager.fontManager.addfont(tmp_path / "cuneiform.ttf")
    return "Cuneiform Test"


def rendered(drawn: Figure) -> bytes:
    """The file of a figure, drawn without a warning."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn.savefig(buffer, format="png", bbox_inches="tight")
    return buffer.getvalue()


def titled(text: str) -> Figure:
    drawn, (axes,) = plots.figure(1, height=1.0)
    axes.set_title(text)
    axes.set_yticks([0], [text])
    return drawn


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (FORMULA, r"vid\$_\$1"),
        ("naïve Straße Ελλάδα العربية", "naïve Straße Ελλάδα العربية"),
        ("a\nb\x07\u2028", r"a\nb\x07\u2028"),
        ("\udcff", r"\udcff"),
        ("\ue000", r"\ue000"),  # private use: each font has another sign there
        (MISSING, r"\U00012000"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
    ],
)
def test_text_from_data_is_drawn_as_it_is_or_escaped(text, shown):
    assert literal(text) == shown
    rendered(titled(literal(text)))


def test_a_script_is_drawn_in_the_installed_font_that_has_it(cuneiform):
    assert literal(f"{MISSING} é") == f"{MISSING} é"
    assert ["DejaVu Sans", cuneiform] == letters.FAMILIES
    drawn = titled(literal(MISSING))
    assert rendered(drawn) != rendered(titled(""))
    assert {tuple(text.get_fontfamily()) for text in drawn.findobj(Text)} == {("DejaVu Sans", cuneiform)}


def test_a_font_whose_file_has_gone_or_is_broken_is_passed_over(cuneiform, tmp_path):
    (tmp_path / "cuneiform.ttf").write_bytes(b"broken")
    assert literal(MISSING) == r"\U00012000"
    (tmp_path / "cuneiform.ttf").unlink()
    letters._is_drawable.cache_clear()
    assert literal(MISSING) == r"\U00012000"


def test_a_users_matplotlibrc_does_not_bring_latex_other_letters_or_raw_formulas():
    plain = rendered(titled("$f_A$ a_b 50%"))
    with matplotlib.rc_context({"text.usetex": True, "font.family": "No Such Font", "text.parse_math": False}):
        assert rendered(titled("$f_A$ a_b 50%")) == plain


def words_and_id(split):
    words = tuple(tuple(f"${i}$ {MISSING}" for i in range(count)) for count in split.streams["language"].lengths)
    return dataclasses.replace(split, words=words, ids=tuple(f"{FORMULA}{i}\n" for i in range(len(split))))


def texts(drawn: Figure) -> set[str]:
    rendered(drawn)
    return {text.get_text() for text in drawn.findobj(Text)}


def test_ids_and_words_of_clips_are_no_formulas():
    split, word = words_and_id(make_split(ALIGNED)), r"\$2\$ \U00012000"
    model = make_model("full")
    attention = texts(plots.clip_attention(model, split))
    assert r"clip vid\$_\$10\n" in attention and word in attention
    assert {f"ϕ {word}", word} <= texts(cross_attention.word_map(make_model("ours"), split))
    assert word in texts(streams.clip(split, 0))
    intervals = np.arange(6).reshape(3, 2)
    assert {r"vid\$_\$1", word} <= texts(streams.timeline({FORMULA: (split.words[0], intervals)}))


def test_names_of_systems_data_sets_and_floors_are_no_formulas():
    drawn = texts(plots.comparison({FORMULA: Interval(0.5, 0.4, 0.6, 3)}, "mae", (f"{FORMULA} median", 0.9)))
    assert {r"vid\$_\$1", r"vid\$_\$1 median"} <= drawn
    assert r"vid\$_\$1" in texts(streams.labels({FORMULA: np.zeros(3)}))
    setting = {FORMULA: {"ours": Interval(0.5, 0.4, 0.6, 3)}}
    assert r"vid\$_\$1" in texts(result_plots.panels(setting, "mae", {FORMULA: 0.9}, {"ours": "reconstructed"}))
    assert r"vid\$_\$1" in texts(result_plots.epochs({FORMULA: {"ours": [[1.0, 0.5]]}}, "MAE"))
