"""ktnet-lite extract: one clip shown, kept and drawn; the page's example; what is missing is said."""

import re
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import clips
from ktnet_lite.cli import main
from ktnet_lite.data import store
from ktnet_lite.extract import tracks
from ktnet_lite.extract.clip import Clip

PAGE = Path(__file__).parents[1] / "book" / "clips.md"
OWN = ["--words", "own_extractors:Sizes", "--vision", "brightness:Brightness", "--audio", "descriptors"]


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def red(time):
    image = np.zeros((48, 64, 3), np.uint8)
    image[..., 0] = 255 if time >= 0.5 else 0
    return image


def tone(times):
    return 0.5 * np.sin(2 * np.pi * 200 * times)


@pytest.fixture(autouse=True)
def brightness(tmp_path, monkeypatch):
    """The extractor of the book's page, as a module that can be imported."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "brightness.py").write_text(example, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "own")
    monkeypatch.delitem(sys.modules, "brightness", raising=False)


@pytest.fixture
def clip(tmp_path):
    return clips.make(tmp_path / "clip.mkv", picture=red, sound=tone, size=(64, 48))


def test_the_extractor_of_the_page_works(clip):
    from brightness import Brightness

    track = Brightness()(Clip(clip))
    assert track.values.shape == (5, 3) and track.values[0, 0] < 0.1 and track.values[-1, 0] > 0.9
    lines = PAGE.read_text(encoding="utf-8").split("class Brightness:")[1].split("```")[0]
    assert len(lines.strip().splitlines()) < 20


def test_one_clip_is_shown_kept_and_drawn(clip, tmp_path):
    kept, picture = tmp_path / "kept.npz", tmp_path / "picture.png"
    done = invoke("extract", clip, kept, "--text", "a word", "--show", picture, *OWN)
    assert done.exit_code == 0, done.output
    assert re.search(r"^language +1 +1 ", done.output, re.MULTILINE) and "a word" in done.output
    assert re.search(r"^audio +100 +26 +0.00 s +1.00 s", done.output, re.MULTILINE)
    assert tracks.load(kept)["vision"].values.shape == (5, 3)
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_a_clip_without_words_or_sound_says_what_is_absent(tmp_path):
    mute = clips.make(tmp_path / "mute.mkv", picture=red, size=(64, 48))
    output = invoke("extract", mute, *OWN).output
    assert "absent: no transcript" in output and "absent: no sound track" in output


def test_a_sound_file_has_no_video(tmp_path):
    output = invoke("extract", clips.make(tmp_path / "sound.wav", sound=tone), *OWN).output
    assert "absent: no video" in output and re.search(r"^audio +100 ", output, re.MULTILINE)


def test_a_folder_needs_labels_and_a_clip_has_none(clip, tmp_path):
    assert "is a folder: name the file to write and --labels" in invoke("extract", tmp_path, *OWN).output
    assert "--labels is for a folder" in invoke("extract", clip, "--labels", "labels.csv", *OWN).output
    assert (
        "--text and --show are for one clip"
        in invoke("extract", tmp_path, "my.h5", "--labels", "labels.csv", "--text", "a", *OWN).output
    )


def test_a_folder_of_clips_becomes_a_data_set(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for i in range(3):
        clips.make(folder / f"{i}.mkv", picture=red, sound=tone if i else None, size=(64, 48))
    (tmp_path / "labels.csv").write_text("id,score,speaker,text\n0,5,a,x\n1,3,b,\n2,1,c,y\n", encoding="utf-8")
    options = ["--labels", tmp_path / "labels.csv", "--score-range", 1, 5, *OWN]
    done = invoke("extract", folder, tmp_path / "my.h5", *options)
    assert done.output == f"{tmp_path / 'my.h5'}: 3 clips; 1 without language; 1 without audio\n"
    dataset = store.read(tmp_path / "my.h5")
    scores = {
        name: score for split in dataset.splits.values() for name, score in zip(split.ids, split.targets, strict=True)
    }
    assert scores == {"0": 3, "1": 0, "2": -3}


def test_nothing_opens_a_connection(clip, monkeypatch):
    def refuse(*_):
        pytest.fail("a connection")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert invoke("extract", clip, "--text", "a word", *OWN).exit_code == 0


@pytest.mark.parametrize("missing", ["av", "pocketsphinx"])
def test_a_missing_package_says_what_to_install(clip, tmp_path, monkeypatch, missing):
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    (tmp_path / "table.txt").write_text("word 1 0\n", encoding="utf-8")
    done = invoke("extract", clip, "--text", "word", "--table", tmp_path / "table.txt", *OWN[2:4])
    assert done.exit_code == 1 and 'run: pip install "ktnet-lite[extract]"' in done.output


def test_a_missing_model_says_how_to_fetch_it(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KTNET_DATA", raising=False)
    for options, name in ((OWN[:2], "face-landmarker"), (OWN[2:], "word-vectors")):
        done = invoke("extract", clip, *options)
        assert done.exit_code == 1 and f"run: ktnet-lite data fetch {name}" in done.output


def test_models_are_fetched_from_a_folder_only_if_they_are_the_right_ones(tmp_path):
    (tmp_path / "face_landmarker.task").write_bytes(b"else")
    done = invoke("data", "fetch", "face-landmarker", "--from", tmp_path, "--to", tmp_path / "data")
    assert done.exit_code == 1 and "SHA-256" in done.output
    assert "face-landmarker" in invoke("data", "list", "--to", tmp_path).output
