"""Decoding: every kind of clip gives its pictures and its sound at the right time, every bad file a DataError."""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="pip install ktnet-lite[extract]")

import av

import clips
from ktnet_lite.errors import DataError
from ktnet_lite.extract import media

SMALL = (64, 48)
CORNERS = np.zeros((48, 64, 3), np.uint8)  # red, green; blue, white
CORNERS[:24, :32, 0] = CORNERS[:24, 32:, 1] = CORNERS[24:, :32, 2] = CORNERS[24:, 32:] = 255


def decode(path: Path, fps: float = 25) -> tuple[media.Media, np.ndarray, list]:
    """What a file holds, its sound and its frames; each empty if there is none."""
    held = media.probe(path)
    sound = np.concatenate([np.empty(0, np.float32), *media.sound(path)] if held.has_sound else [np.empty(0)])
    return held, sound, list(media.frames(path, fps)) if held.has_video else []


def levels(path: Path, fps: float) -> list[tuple[float, int]]:
    return [(time, round(float(image.mean()))) for time, image in media.frames(path, fps)]


@pytest.mark.parametrize("suffix", [suffix for suffix, codecs in clips.CODECS.items() if codecs[0]])
def test_a_flash_and_a_click_at_the_same_time_stay_together_in_every_container(suffix, tmp_path):
    path = tmp_path / f"clip{suffix}"
    clips.make(path, 2, picture=clips.flash(1.2, SMALL), size=SMALL, sound=clips.tone(900, 1.2, 0.9), rate=48000)
    held, sound, frames = decode(path, 100)
    flash = next(time for time, image in frames if image.mean() > 128)
    click = np.flatnonzero(np.abs(sound) > 0.2)[0] / media.RATE
    assert held.has_video and held.has_sound and held.duration == pytest.approx(2, abs=0.1)
    assert abs(flash - click) <= 0.04 and flash == pytest.approx(1.2, abs=0.08)


@pytest.mark.parametrize(("codec", "options"), [("libx264", {}), ("mpeg4", {"bf": "2"}), ("mpeg4", {})])
def test_pictures_of_an_avi_come_at_their_time_though_it_has_times_of_packets_only(codec, options, tmp_path):
    path = tmp_path / "clip.avi"
    clips.make(path, picture=clips.flash(0.48, SMALL), size=SMALL, codec=codec, options=options)
    assert [(time, level > 128) for time, level in levels(path, 25)] == [(k / 25, k >= 12) for k in range(25)]


def test_a_wrong_extension_does_not_matter(tmp_path):
    path = clips.make(tmp_path / "clip.avi", picture=clips.colour(9, 9, 9), sound=clips.tone(), codec="h264",
                      sound_codec="aac", format="mp4")  # fmt: skip
    assert decode(path)[0] == media.Media(1.0, True, True)


@pytest.mark.parametrize("name", ["été %03d.mp4", "data,a=b;c.mp4", "#1 - [x]'.mp4"])
def test_a_file_name_is_only_a_name(name, tmp_path):
    assert media.probe(clips.make(tmp_path / name, picture=clips.colour(9, 9, 9))).has_video


@pytest.mark.skipif(sys.platform == "win32", reason="no colon in a name")
@pytest.mark.parametrize("name", ["data:,clip.mp4", "concat:a.mp4|b.mp4", "http:clip.mp4"])
def test_a_file_name_is_no_address(name, tmp_path, monkeypatch):
    clips.make(tmp_path / "clip.mp4", picture=clips.colour(9, 9, 9)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert media.probe(Path(name)).has_video


def test_a_clip_may_lack_video_or_sound(tmp_path):
    silent = clips.make(tmp_path / "silent.mp4", picture=clips.colour(9, 9, 9))
    blind = clips.make(tmp_path / "blind.wav", sound=clips.tone())
    assert media.probe(silent) == media.Media(1.0, True, False)
    assert media.probe(blind) == media.Media(1.0, False, True)
    with pytest.raises(DataError, match=r"silent\.mp4 has no sound"):
        next(media.sound(silent))
    with pytest.raises(DataError, match=r"blind\.wav has no video"):
        next(media.frames(blind, 25))


def test_a_cover_picture_is_no_video(tmp_path):
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as song:
        sound, cover = song.add_stream("libmp3lame", rate=44100, layout="mono"), song.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        song.mux(cover.encode(av.VideoFrame.from_ndarray(CORNERS, "rgb24")) + cover.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
        frame.rate = 44100
        song.mux(sound.encode(frame))
        song.mux(sound.encode(None))
    assert media.probe(path)[1:] == (False, True)


def test_a_file_without_a_declared_duration_is_measured(tmp_path):
    clip = clips.make(tmp_path / "clip.webm", 2, picture=clips.colour(9, 9, 9), sound=clips.tone(), rate=48000)
    live = clips.remux(clip, tmp_path / "live.webm", live="1")
    with av.open(str(live)) as container:
        assert container.duration is None
    held, sound, frames = decode(live)
    assert held.duration == pytest.approx(2, abs=0.02) and len(sound) == 2 * media.RATE and len(frames) == 50


def test_each_time_gets_the_frame_shown_then_at_any_rate_of_the_video(tmp_path):
    times = [0, 0.05, 0.3, 0.31, 0.32, 0.9]
    path = tmp_path / "clip.mkv"
    clips.make(path, picture=lambda t: np.full((48, 64, 3), round(200 * t), np.uint8), size=SMALL, times=times)
    found = levels(path, 10)
    expected = [200 * max(t for t in times if t <= k / 10 + 1e-9) for k in range(10)]
    assert [time for time, _ in found] == [k / 10 for k in range(10)]
    assert [level for _, level in found] == pytest.approx(expected, abs=2)
    images = [image for _, image in media.frames(path, 10)]
    assert images[3] is not images[2] and images[4] is images[8]  # repeated, not converted again


@pytest.mark.parametrize("rate", [24, 25, 30, 60])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".flv"])
def test_a_rate_equal_to_that_of_the_video_gives_each_frame_once_though_times_are_rounded(suffix, rate, tmp_path):
    path = tmp_path / f"clip{suffix}"
    clips.make(path, 2, fps=rate, picture=lambda t: np.full((48, 64, 3), 100 * t, np.uint8), size=SMALL)
    images = [image for _, image in media.frames(path, rate)]
    assert len(images) == 2 * rate and len(set(map(id, images))) == 2 * rate


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_pictures_are_upright(rotation, flip, tmp_path):
    path = clips.make(tmp_path / "clip.mp4", 0.2, picture=lambda _: CORNERS, size=SMALL, rotation=rotation, flip=flip)
    expected = np.rot90(CORNERS, rotation // 90)
    expected = expected[:, ::-1] if flip else expected
    image = next(media.frames(path, 5))[1]
    assert image.shape == expected.shape and image.flags.c_contiguous
    assert np.abs(image.astype(int) - expected).mean() < 5


def test_pixels_are_square(tmp_path):
    def shape(**changes):
        path = clips.make(tmp_path / "clip.mp4", 0.2, picture=lambda _: CORNERS, size=SMALL, **changes)
        return next(media.frames(path, 5))[1].shape

    assert shape(aspect=Fraction(3, 2)) == (48, 96, 3)
    assert shape(aspect=Fraction(1, 2)) == (96, 64, 3)
    assert shape(aspect=Fraction(3, 2), rotation=90) == (96, 48, 3)


@pytest.mark.parametrize("size", [(360, 288), (357, 241), (16, 16)])
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "yuv420p10le", "bgr0"])
def test_pictures_of_any_size_and_depth_are_contiguous_rgb(size, pixels, tmp_path):
    image = np.full((size[1], size[0], 3), 128, np.uint8)
    image[..., 0], image[..., 1] = np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1])[:, None]
    path = clips.make(tmp_path / "clip.mkv", 0.1, picture=lambda _: image, size=size, pixels=pixels)
    found = next(media.frames(path, 10))[1]
    assert found.dtype == np.uint8 and found.shape == image.shape and found.flags.c_contiguous
    assert np.abs(found.astype(int) - image).mean() < 6


def test_real_clips_are_whole(real_data, capfd):
    for path in sorted((real_data / "clips").glob("grid-*.mpg")):
        held, sound, frames = decode(path)
        assert held.duration == pytest.approx(3, abs=0.05) and held[1:] == (True, True)
        assert len(sound) / media.RATE == pytest.approx(3, abs=0.05) and np.abs(sound).max() > 0.1
        assert len(frames) == 75 and {image.shape for _, image in frames} == {(288, 360, 3)}
    held, sound, frames = decode(real_data / "clips" / "ravdess-01-01-01-01-01-01-01.mp4", 10)
    assert held.duration == pytest.approx(3.3, abs=0.01) and held[1:] == (True, True)
    assert len(sound) / media.RATE == pytest.approx(3.3, abs=0.02) and len(frames) == 33
    assert frames[0][1].shape == (720, 1280, 3) and capfd.readouterr() == ("", "")


def test_a_title_that_is_not_utf_8_does_not_matter(tmp_path):
    clips.make(path := tmp_path / "clip.mkv", sound=clips.tone(440), title="XXXX")
    content = path.read_bytes()
    assert b"XXXX" in content
    path.write_bytes(content.replace(b"XXXX", b"caf\xe9"))
    assert media.probe(path).has_sound
