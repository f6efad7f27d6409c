"""Transcripts: plain text, SubRip (.srt) and WebVTT (.vtt), read into lines; and the words of a text.

W3C, "WebVTT: The Web Video Text Tracks Format", 2019. SubRip has no standard; what players accept is accepted here.
"""

from __future__ import annotations

import codecs
import html
import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from ktnet_lite.data.foreign import instead, unreadable
from ktnet_lite.errors import DataError, shown
from ktnet_lite.extract.clip import Line

SUFFIXES = (".srt", ".vtt", ".txt")  # the first that exists is read: times are worth having

CLOCK = r"(?:(\d{1,4}):)?([0-5]\d):([0-5]\d)[.,](\d{1,3})"
CUE = re.compile(rf"{CLOCK}\s*-->\s*{CLOCK}(?:\s.*)?")
WORD_TIME = re.compile(rf"<{CLOCK}>")
TAG = re.compile(r"</?[a-zA-Z][^<>]*>|\{\\[^{}]*\}")  # <i>, <v Anna>, {\an8}

ASIDE = re.compile(r"\[[^\[\]]*\]")  # [music], [laughs]: heard, not spoken
DROPPED = re.compile("[0-9#*]\ufe0f?\u20e3|[\ufe00-\ufe0f]")  # keycap emoji; signs that choose a glyph
JOINERS = "\u200c\u200d"  # between the letters of Persian and Indic words
WORD = re.compile(r"[w9](?:[w9m]|'(?=[w9])|(?<=9)[.,](?=9))*")  # over kinds of characters: see words_of


def beside(clip: Path | str) -> tuple[Line, ...]:
    """Read the transcript with the clip's name and the suffix .srt, .vtt or .txt, in this order of preference.

    Returns
    -------
    tuple of Line
        Empty if there is no such file.

    Raises
    ------
    DataError
        As :func:`read`.
    """
    path = Path(clip)
    places = [path.with_suffix(form) for suffix in SUFFIXES for form in (suffix, suffix.upper())]
    return next((read(place) for place in places if place.is_file()), ())


def find(clip: Path | str, text: str | None = None) -> tuple[Line, ...]:
    """Take ``text`` as a clip's transcript, or without one the file beside the clip; errors as :func:`read`."""
    return of_text(text) if text else beside(clip)


def read(path: Path | str) -> tuple[Line, ...]:
    """Read subtitles (.srt, .vtt), a line each, or a text file (any other suffix), a single line without times.

    The file is UTF-8, or UTF-16 with a byte order mark.

    Raises
    ------
    DataError
        It cannot be read or decoded, or a subtitle's times are malformed, reversed or overlap those before; the message
        names the byte or the line.
    """
    path = Path(path)
    text = _decoded(path)
    if path.suffix.lower() not in (".srt", ".vtt"):
        return of_text(text)
    return tuple(_subtitles(path, re.split(r"\r\n|\r|\n", text)))


def of_text(text: str) -> tuple[Line, ...]:
    """Make a text a single line without times; a blank text gives none."""
    return (Line(text.strip()),) if text.strip() else ()


def words_of(text: str) -> list[str]:
    """Split a text into words, in lower case.

    A word is a run of letters, their marks and digits, in any script, with inner apostrophes ("don't") and the inner
    points and commas of numbers ("3.5"). Punctuation, hyphens, emoji and asides in square brackets ("[music]") are
    dropped. Scripts without spaces between words (Chinese, Thai) have to be given with spaces.
    """
    text = unicodedata.normalize("NFC", ASIDE.sub(" ", text).lower().replace("\u2019", "'"))
    text = DROPPED.sub("", text)
    kinds = "".join(map(_kind, text))
    return [text[match.start() : match.end()] for match in WORD.finditer(kinds)]


def _kind(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Nd":
        return "9"
    if category[0] in "LN":
        return "w"
    if category[0] == "M" or character in JOINERS:
        return "m"
    return character if character in "'.," else " "


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        what = instead(path)
        name = encoding.removesuffix("-sig").upper()
        reason = f"it is {what}" if what else f"byte {error.start + 1} is not {name}; save it as UTF-8 in a text editor"
        raise DataError(f"{path} is not a text: {reason}") from None
    if "\0" in text:
        raise DataError(f"{path} is not a text: character {text.index(chr(0)) + 1} is NUL; save it as UTF-8")
    return text


def _subtitles(path: Path, rows: list[str]) -> Iterator[Line]:
    webvtt = path.suffix.lower() == ".vtt"
    if webvtt and not re.match(r"WEBVTT(\s|$)", rows[0]):
        raise DataError(f"{path}, line 1: a .vtt file begins with WEBVTT; is it another format?")
    cues = [i for i, row in enumerate(rows) if "-->" in row]
    before = " ".join(rows[: cues[0] if cues else None]).strip()
    if not webvtt and before and not (cues and before.isdecimal()):
        raise DataError(f"{path}, line 1: subtitles begin with a number and times; name a plain text .txt")
    last = 0.0
    for i, following in pairwise([*cues, len(rows)]):
        where = f"{path}, line {i + 1}"
        match = CUE.fullmatch(rows[i].strip())
        if not match:
            raise DataError(f"{where}: expected times as 00:00:01,000 --> 00:00:02,000, not {shown(rows[i].strip())}")
        start, end = _seconds(*match.groups()[:4]), _seconds(*match.groups()[4:])
        if end <= start:
            raise DataError(f"{where}: the subtitle ends at {end:g} s, but begins at {start:g} s; correct its times")
        if start < last:
            raise DataError(
                f"{where}: the subtitle begins at {start:g} s, but the one before lasts until {last:g} s; shorten the "
                "one before, or join the two"
            )
        last = end
        body = rows[i + 1 : following]
        if webvtt:
            body = body[: next((k for k, row in enumerate(body) if not row.strip()), None)]
        elif following < len(rows) and body and body[-1].strip().isdecimal():
            body = body[:-1]  # the number of the next
        yield from _pieces(where, "\n".join(body), start, end) if webvtt else _line("\n".join(body), start, end)


def _pieces(where: str, text: str, start: float, end: float) -> Iterator[Line]:
    """Split the text of a cue at the times between its words, if there are any."""
    stamps = list(WORD_TIME.finditer(text))
    times = [start, *(_seconds(*stamp.groups()) for stamp in stamps), end]
    if any(late < early for early, late in pairwise(times)):
        raise DataError(f"{where}: the times within the subtitle are not in order, or not within its own; correct them")
    begins, ends = [0, *(stamp.end() for stamp in stamps)], [*(stamp.start() for stamp in stamps), len(text)]
    for begin, stop, (early, late) in zip(begins, ends, pairwise(times), strict=True):
        yield from _line(text[begin:stop], early, late)


def _line(text: str, start: float, end: float) -> Iterator[Line]:
    plain = " ".join(html.unescape(TAG.sub("", text)).split())
    if plain:
        yield Line(plain, start, end)


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str) -> float:
    return int(hours or 0) * 3600 + int(minutes) * 60 + float(f"{seconds}.{fraction}")
