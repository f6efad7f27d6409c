"""Decoding: a file that is damaged, cut off or no clip at all gives a DataError that names it, and nothing else."""

import re

import numpy as np
import pytest

pytest.importorskip("av", reason="pip install ktnet-lite[extract]")

import av

import clips
from ktnet_lite.errors import DataError
from ktnet_lite.extract import media

SMALL = (64, 48)
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
SUBTITLES = b"1\n00:00:01,000 --> 00:00:02,000\nhello\n\n2\n00:00:03,000 --> 00:00:04,000\nworld\n"


def refusals(path, fps=25) -> list[str]:
    """The messages of probe, sound and frames; each that decodes everything gives "", with plausible output."""
    messages = []
    for decode in (media.probe, lambda p: list(media.sound(p)), lambda p: list(media.frames(p, fps))):
        try:
            result = decode(path)
        except DataError as error:
            messages.append(str(error))
        else:
            messages.append("")
            for block in result if not isinstance(result, media.Media) else ():
                image_or_sound = block[1] if isinstance(block, tuple) else block
                assert image_or_sound.dtype == np.uint8 or np.abs(image_or_sound).max() <= 1
    assert all(str(path) in message and message.count(". ") < 3 for message in messages if message)
    return messages


def clip(path, seconds=12, **changes):
    return clips.make(path, seconds, picture=clips.noise, size=SMALL, sound=clips.tone(), rate=44100, **changes)


def cut(path, share=1 / 3):
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * share)])
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.mp4", None, "no file at"),
        ("empty.mp4", b"", r"is empty \(0 bytes\)"),
        ("text.mp4", b"This is not a film.\n" * 99, "is not a video or sound file"),
        ("text.txt", b"This is not a film.\n" * 99, "is not a video or sound file"),  # FFmpeg would film the text
        ("list.m3u8", PLAYLIST, "is not a video or sound file"),
        ("list.mp4", b"ffconcat version 1.0\nfile 'clip.mkv'\n", "is not a video or sound file"),
        ("clip.srt", SUBTITLES, "is not a video or sound file"),
        ("one.mp4", b"\0", "is not a video or sound file"),
    ],
)
def test_a_file_that_is_no_clip_is_refused(name, content, message, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    for decode in (media.probe, lambda p: next(media.sound(p)), lambda p: next(media.frames(p, 25))):
        with pytest.raises(DataError, match=message):
            decode(path)


def test_a_folder_a_photograph_and_subtitles_alone_are_refused(tmp_path):
    with pytest.raises(DataError, match="is a folder"):
        media.probe(tmp_path)
    av.VideoFrame.from_ndarray(clips.noise(0), "rgb24").save(str(tmp_path / "photograph.png"))
    with pytest.raises(DataError, match="is not a video or sound file"):
        media.probe(tmp_path / "photograph.png")
    (tmp_path / "lines.srt").write_bytes(SUBTITLES)
    with pytest.raises(DataError, match="has neither video nor sound"):
        media.probe(clips.remux(tmp_path / "lines.srt", tmp_path / "lines.mkv"))


def test_an_mp4_without_its_index_is_refused_at_once(tmp_path):
    assert all("is damaged, or is not" in message for message in refusals(cut(clip(tmp_path / "clip.mp4"))))


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".flv"])
def test_a_file_that_is_cut_off_is_refused_where_it_ends(suffix, tmp_path):
    whole = clips.make(tmp_path / f"clip{suffix}", 12, picture=clips.noise, size=SMALL, sound=clips.tone(),
                       rate=48000 if suffix == ".webm" else 44100)  # fmt: skip
    assert refusals(whole) == ["", "", ""]
    opened, *messages = refusals(cut(whole))
    assert opened == "" and all(re.search(r"it declares 12\.0 s and ends at [34]\.\d s", text) for text in messages)


def test_an_mp4_with_its_index_in_front_is_refused_where_it_ends(tmp_path):
    whole = clips.remux(clip(tmp_path / "clip.mp4"), tmp_path / "front.mp4", movflags="faststart")
    assert refusals(whole) == ["", "", ""]
    opened, *messages = refusals(cut(whole))
    assert opened == "" and all(re.search(r"it declares 12\.0 s and ends at 3\.\d s", text) for text in messages)


def test_a_track_that_appears_late_changes_nothing(tmp_path):
    path = clips.make(tmp_path / "clip.flv", 12, picture=clips.noise, size=SMALL)
    late = clips.make(tmp_path / "late.flv", 1, sound=clips.tone(), rate=44100)
    path.write_bytes(path.read_bytes() + late.read_bytes()[13:])
    assert media.probe(path) == media.Media(12.0, True, False) and len(list(media.frames(path, 5))) == 60


def test_what_comes_before_the_cut_is_still_given(tmp_path):
    path, times, blocks = cut(clip(tmp_path / "clip.mkv", 36)), [], []
    with pytest.raises(DataError, match="is cut off"):
        for time, _ in media.frames(path, 5):
            times.append(time)
    with pytest.raises(DataError, match="is cut off"):
        for block in media.sound(path):
            blocks.append(len(block))
    assert len(times) == pytest.approx(60, abs=2) and blocks == [160000]


@pytest.mark.parametrize("suffix", [".avi", ".wav"])
def test_a_riff_file_that_is_cut_off_is_refused_by_its_size(suffix, tmp_path):
    path = clips.make(tmp_path / f"clip{suffix}", 12, picture=clips.noise if suffix == ".avi" else None, size=SMALL,
                      sound=clips.tone())  # fmt: skip
    assert refusals(path)[:2] == ["", ""]
    assert all("is cut off: it declares" in message for message in refusals(cut(path)))


def test_a_wav_whose_size_is_unknown_is_read_to_its_end(tmp_path):
    path = clips.make(tmp_path / "clip.wav", 2, sound=clips.tone())
    content = path.read_bytes()
    at = content.index(b"data") + 4
    path.write_bytes(content[:4] + b"\xff" * 4 + content[8:at] + b"\xff" * 4 + content[at + 4 :])
    assert refusals(path)[:2] == ["", ""] and sum(map(len, media.sound(path))) == 2 * media.RATE


def test_sound_may_be_shorter_than_the_video(tmp_path):
    for suffix in (".mkv", ".mp4", ".mov", ".avi"):
        path = clip(tmp_path / f"clip{suffix}", 3, silent=(1.0, 3.0))
        assert refusals(path) == ["", "", ""]


def test_a_jump_of_the_times_is_refused_and_a_long_still_is_not(tmp_path):
    still = clips.make(tmp_path / "still.mkv", picture=clips.noise, size=SMALL, times=[0, 0.04, 300])
    assert len(list(media.frames(still, 1))) == 301
    jump = clips.make(tmp_path / "jump.mkv", picture=clips.noise, size=SMALL, times=[0, 0.04, 3000])
    assert "the times of its video jump from 0.0 s to 3000.0 s" in refusals(jump)[2]


def test_damage_in_the_middle_is_bridged_if_short_and_refused_if_long(tmp_path):
    whole = clips.make(tmp_path / "clip.mov", 8, picture=clips.noise, size=SMALL, codec="mjpeg", pixels="yuvj420p")
    content, marks = whole.read_bytes(), []
    while (at := content.find(b"\xff\xd8", marks[-1] + 1 if marks else 0)) >= 0:
        marks.append(at)
    assert len(marks) == 200
    marks.append(content.index(b"moov") - 4)

    def without(first, last):
        start, stop = marks[first], marks[last]
        path = tmp_path / "damaged.mov"
        path.write_bytes(content[:start] + bytes(stop - start) + content[stop:])
        return path

    frames = list(media.frames(without(50, 55), 25))
    assert len(frames) == 200 and all(image is frames[49][1] for _, image in frames[50:55])
    assert "its video cannot be decoded from 2.0 s to 4.0 s" in refusals(without(50, 100))[2]
    assert "its video cannot be decoded beyond 4.0 s" in refusals(without(100, 200))[2]


def test_a_picture_that_is_partly_decoded_is_not_shown(tmp_path):
    path = clips.make(tmp_path / "clip.mp4", picture=clips.noise, size=SMALL, options={"bf": "0"})
    with av.open(str(path)) as container:
        packet = next(packet for k, packet in enumerate(container.demux()) if k == 10)
        start, stop = packet.pos + packet.size // 3, packet.pos + packet.size
    content = path.read_bytes()
    path.write_bytes(content[:start] + b"\xff" * (stop - start) + content[stop:])
    images = [image for _, image in media.frames(path, 25)]
    assert len(images) == 25 and images[10] is images[9] and images[9] is not images[8]


def test_a_duration_that_ffmpeg_estimates_wrongly_refuses_nothing(tmp_path):
    def sound(times):
        return np.where(times < 2, np.random.default_rng(0).normal(0, 0.3, times.shape), 0).clip(-1, 1)

    path = clips.make(tmp_path / "clip.aac", 12, sound=sound, rate=44100, sound_codec="aac", format="adts")
    with av.open(str(path)) as container:
        assert abs(container.duration / 1e6 - 12) > 2
    assert media.probe(path).duration == pytest.approx(12, abs=0.1)
    assert sum(map(len, media.sound(path))) / media.RATE == pytest.approx(12, abs=0.1)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi", "clip.flv", "clip.ts", "clip.mov", "grid"])
def test_random_damage_gives_a_data_error_or_a_plausible_clip_and_prints_nothing(name, request, tmp_path, capfd):
    if name == "grid":
        source = request.getfixturevalue("real_data") / "clips" / "grid-bbaf2n.mpg"
    else:
        source = clip(tmp_path / name, 1)
    content, random, refused = source.read_bytes(), np.random.default_rng(0), 0
    path = tmp_path / f"damaged{source.suffix}"
    for trial in range(20):
        damaged = bytearray(content)
        if trial % 4 == 0:
            damaged = damaged[: random.integers(len(content))]
        elif trial % 4 == 1:
            start = random.integers(len(content))
            del damaged[start : start + random.integers(1, 3000)]
        else:
            for at in random.integers(0, len(content) if trial % 4 == 2 else 2000, 10):
                damaged[at] = random.integers(256)
        path.write_bytes(damaged)
        refused += any(refusals(path, 5))
    assert refused < 20 and capfd.readouterr() == ("", "")
