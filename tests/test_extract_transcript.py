"""Transcripts: every kind of file gives its lines and times, every wrong one the place where it is wrong."""

from pathlib import Path

import pytest

from ktnet_lite.errors import DataError
from ktnet_lite.extract.clip import Line
from ktnet_lite.extract.transcript import beside, of_text, read, words_of

SMILE, HEART, KEYCAP, FLAG = "\U0001f600", "\u2764\ufe0f", "5\ufe0f\u20e3", "\U0001f1e9\U0001f1ea"
CODER = "\U0001f469\u200d\U0001f4bb"  # two emoji and a joiner
RUSSIAN, HINDI = "\u043f\u0440\u0438\u0432\u0435\u0442", "\u0939\u093f\u0928\u094d\u0926\u0940"
PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"  # with a joiner inside

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Hello</i>, {\\an8}dear

2
00:00:03,5 --> 01:00:04,000 X1:40 X2:600
<font color="red">two</font>
lines &amp; more

3
00:00:00,000 --> 00:00:00,000
"""


def write(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def wrong(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_subrip_gives_lines_with_times_and_no_tags(end, encoding, tmp_path):
    text = SRT.partition("\n3\n")[0].replace("\n", end)
    assert read(write(tmp_path, "a.srt", text, encoding)) == (
        Line("Hello, dear", 1.0, 2.5),
        Line("two lines & more", 3.5, 3604.0),
    )


def test_subrip_keeps_a_number_that_is_spoken_and_text_after_an_empty_line(tmp_path):
    text = "1\n00:00:01,000 --> 00:00:02,000\n42\n\n2\n00:00:02,000 --> 00:00:03,000\none\n\nmore\n"
    assert [line.text for line in read(write(tmp_path, "a.srt", text))] == ["42", "one more"]


def test_webvtt_skips_notes_styles_and_names_of_cues(tmp_path):
    text = """WEBVTT - a title
Kind: captions

STYLE
::cue { color: red }

NOTE not spoken

intro
00:01.000 --> 00:02.000 align:start position:0%
<v Anna><b>Good</b> morning

NOTE
not spoken either

00:00:02.000 --> 00:00:03.000
&lt;bye&gt;
"""
    assert read(write(tmp_path, "a.vtt", text)) == (Line("Good morning", 1.0, 2.0), Line("<bye>", 2.0, 3.0))


def test_webvtt_gives_the_times_of_single_words(tmp_path):
    text = "WEBVTT\n\n00:01.000 --> 00:04.000\none <00:02.000><c>two three</c> <00:00:03.500>four\n"
    assert read(write(tmp_path, "a.vtt", text)) == (
        Line("one", 1.0, 2.0),
        Line("two three", 2.0, 3.5),
        Line("four", 3.5, 4.0),
    )


@pytest.mark.parametrize(
    ("name", "text", "place", "reason"),
    [
        ("a.srt", "1\n-00:00:01,000 --> 00:00:02,000\na", "line 2", "-00:00:01,000"),
        ("a.srt", "1\n00:00:61,000 --> 00:02:02,000\na", "line 2", "expected times"),
        ("a.srt", "1\n00:00:01 --> 00:00:02\na", "line 2", "expected times"),
        ("a.srt", "1\n00:00:03,000 --> 00:00:02,000\na", "line 2", "begins at 3 s"),
        ("a.srt", SRT, "line 11", "ends at 0 s"),
        ("a.srt", "1\n00:00:01,0 --> 00:00:03,0\na\n\n2\n00:00:02,0 --> 00:00:04,0\nb", "line 6", "until 3 s"),
        ("a.srt", "no times at all", "line 1", "name a plain text .txt"),
        ("a.srt", "hello\n00:00:01,000 --> 00:00:02,000\na", "line 1", "begin with a number"),
        ("a.vtt", "00:01.000 --> 00:02.000\na", "line 1", "WEBVTT"),
        ("a.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\na <00:03.000>b", "line 3", "not within its own"),
        ("a.vtt", "WEBVTT\n\n00:01.000 --> 00:04.000\na <00:03.000>b <00:02.000>c", "line 3", "not in order"),
    ],
)
def test_wrong_times_are_refused_with_the_line(name, text, place, reason, tmp_path):
    message = wrong(write(tmp_path, name, text))
    assert place in message and reason in message


def test_a_file_that_is_no_text_is_refused_with_the_byte(tmp_path):
    latin = tmp_path / "a.txt"
    latin.write_bytes("café".encode("latin-1"))
    assert "byte 4 is not UTF-8; save it as UTF-8" in wrong(latin)
    half = tmp_path / "b.txt"
    half.write_bytes("\ufeffok".encode("utf-16-le")[:-1])
    assert "byte 5 is not UTF-16" in wrong(half)
    assert "character 2 is NUL" in wrong(write(tmp_path, "c.txt", "ok", "utf-16-le"))
    packed = tmp_path / "d.txt"
    packed.write_bytes(b"\x1f\x8b\x08\xff")
    assert "compressed with gzip" in wrong(packed)
    assert "no file" in wrong(tmp_path / "e.txt")


def test_the_transcript_beside_a_clip_is_the_one_with_times(tmp_path):
    clip = tmp_path / "v.1.mp4"
    assert beside(clip) == ()
    write(tmp_path, "v.1.txt", " plain text\nof two lines\n")
    assert beside(clip) == (Line("plain text\nof two lines"),)
    write(tmp_path, "v.1.VTT", "WEBVTT\n\n00:01.000 --> 00:02.000\nvtt")
    assert beside(clip) == (Line("vtt", 1.0, 2.0),)
    write(tmp_path, "v.1.srt", "1\n00:00:01,000 --> 00:00:02,000\nsrt")
    assert beside(clip) == (Line("srt", 1.0, 2.0),)


def test_blank_files_have_no_lines(tmp_path):
    assert read(write(tmp_path, "a.txt", " \n")) == read(write(tmp_path, "a.srt", "\n")) == of_text("") == ()
    assert read(write(tmp_path, "a.vtt", "WEBVTT\n")) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop - it\u2019s O'Neill's 'dog'!", ["don't", "stop", "it's", "o'neill's", "dog"]),
        ("well-made, 3.5 of 1,000 in 2009. OK?", ["well", "made", "3.5", "of", "1,000", "in", "2009", "ok"]),
        (f"{SMILE}{HEART} so {KEYCAP} {FLAG} {CODER} good\u2026", ["so", "good"]),
        ("[Music] >> hi \u266a", ["hi"]),
        ("Cafe\u0301 \u00dcBER", ["caf\u00e9", "\u00fcber"]),
        (f"{RUSSIAN.upper()}, {RUSSIAN}!", [RUSSIAN, RUSSIAN]),
        (f"{HINDI} {PERSIAN}", [HINDI, PERSIAN]),
        ("\u4f60\u597d \u4e16\u754c\u3002", ["\u4f60\u597d", "\u4e16\u754c"]),
        ("... -- ?!", []),
    ],
)
def test_words_of_a_text(text, words):
    assert words_of(text) == words
