"""A folder of clips becomes a data set: the same whatever interrupts it, and no clip is lost in silence."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ktnet_lite.data import doctor, store
from ktnet_lite.errors import ConfigError, DataError
from ktnet_lite.extract import choose, tracks
from ktnet_lite.extract.clip import Absent, Clip, Track, recipes
from own_extractors import BOTH, Letters, Sizes, convert, make_clips


@pytest.fixture
def clips(tmp_path):
    return make_clips(tmp_path)


def test_a_folder_becomes_a_data_set_that_the_doctor_passes(clips):
    assert convert(clips) == "6 clips; 5 without language"
    dataset = store.read(clips.parent / "my.h5")
    found = {name: (split.ids[i], split.targets[i]) for name, split in dataset.splits.items() for i in range(2)}
    assert set(found) == {"train", "valid", "test"} and not dataset.header.aligned
    split = next(split for split in dataset.splits.values() if "a" in split.ids)
    i = split.ids.index("a")
    assert split.streams["audio"].clip(i)[:, 0].tolist() == [ord(letter) for letter in "clip a"]
    assert split.words[i] == ("hello",) and split.streams["language"].lengths.sum() == 1
    assert dataset.header.recipes == recipes(BOTH)
    report = doctor.check(clips.parent / "my.h5")
    assert not report.errors
    assert ("extracted", "6 clips; 5 without language") in report.facts


def test_a_finished_clip_is_not_extracted_twice(clips, monkeypatch):
    monkeypatch.setenv("SEEN", str(clips.parent / "seen"))
    convert(clips)
    first = (clips.parent / "my.h5").read_bytes()
    (clips.parent / "my.h5").unlink()
    convert(clips)
    assert (clips.parent / "my.h5").read_bytes() == first
    assert (clips.parent / "seen").read_text(encoding="utf-8").split() == ["a", "b", "c", "d", "e", "f"]


def test_a_changed_clip_transcript_or_recipe_is_extracted_again(clips, monkeypatch):
    convert(clips)
    monkeypatch.setenv("SEEN", str(clips.parent / "seen"))
    (clips / "b.clip").write_text("new", encoding="utf-8")
    (clips / "a.txt").write_text("goodbye", encoding="utf-8")
    convert(clips)
    assert (clips.parent / "seen").read_text(encoding="utf-8").split() == ["a", "b"]
    convert(clips, extractors=[Sizes(), Letters(version=2)])
    assert len((clips.parent / "seen").read_text(encoding="utf-8").split()) == 8


def test_a_damaged_cached_clip_is_extracted_again(clips):
    convert(clips)
    first = (clips.parent / "my.h5").read_bytes()
    for cached in (clips.parent / "my.h5.clips").glob("*.npz"):
        cached.write_bytes(cached.read_bytes()[:100])
    convert(clips)
    assert (clips.parent / "my.h5").read_bytes() == first


@pytest.mark.process
def test_processes_give_the_same_file(clips):
    convert(clips)
    convert(clips, "other/my.h5", jobs=2)
    assert (clips.parent / "my.h5").read_bytes() == (clips.parent / "other" / "my.h5").read_bytes()


KILLED = """
import sys, os, signal
from pathlib import Path
from own_extractors import Letters, Sizes, convert

class Killed(Letters):
    def __call__(self, clip):
        if clip.path.stem == sys.argv[2]:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(clip)

convert(Path(sys.argv[1]), extractors=[Sizes(), Killed()])
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_extraction_resumes_with_the_same_file(clips, monkeypatch):
    convert(clips, "whole/my.h5")
    monkeypatch.setenv("SEEN", str(clips.parent / "seen"))
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    for clip in ("b", "e"):
        killed = subprocess.run([sys.executable, "-c", KILLED, str(clips), clip], env=environment, capture_output=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (clips.parent / "my.h5").exists()
    convert(clips)
    assert (clips.parent / "my.h5").read_bytes() == (clips.parent / "whole" / "my.h5").read_bytes()
    assert (clips.parent / "seen").read_text(encoding="utf-8").split() == ["a", "b", "c", "d", "e", "f"]


def test_bad_clips_are_listed_and_left_out_only_on_demand(clips):
    (clips / "b.clip").write_text("bad", encoding="utf-8")
    (clips / "c.clip").write_text("silent", encoding="utf-8")
    (clips / "d.srt").write_text("no subtitle", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"3 of 6 clips cannot be extracted(.|\n)*b: .* is bad(.|\n)*--drop-bad-clips"
    ) as caught:
        convert(clips)
    assert "c: " in str(caught.value) and "has nothing to extract" in str(caught.value)
    assert not (clips.parent / "my.h5").exists()
    (clips / "b.clip").write_text("two", encoding="utf-8")
    (clips / "d.srt").unlink()
    assert convert(clips, drop_bad_clips=True) == "5 clips; 4 without language; 1 left out, which cannot be extracted"
    assert "c" not in {name for split in store.read(clips.parent / "my.h5").splits.values() for name in split.ids}


@pytest.mark.parametrize(
    ("track", "message"),
    [
        (Track(np.zeros((2, 3), np.float32), np.zeros((2, 2))), r"float32 \(2, 3\); expected float32 \(steps, 2\)"),
        (Track(np.zeros((0, 2), np.float32), np.zeros((0, 2))), r"float32 \(0, 2\)"),
        (Track(np.zeros((2, 2)), np.zeros((2, 2))), r"float64 \(2, 2\)"),
        (Track(np.full((1, 2), np.nan, np.float32), np.zeros((1, 2))), "NaN or inf"),
        (Track(np.zeros((2, 2), np.float32), np.zeros((1, 2))), r"times of shape \(1, 2\)"),
        (Track(np.zeros((1, 2), np.float32), np.array([[1.0, 0.0]])), "expected start and end"),
        (Track(np.zeros((1, 2), np.float32), np.zeros((1, 2)), ("a",)), "1 words for 1 steps"),
    ],
)
def test_an_extractor_that_gives_nonsense_is_named(tmp_path, monkeypatch, track, message):
    monkeypatch.setattr(Letters, "__call__", lambda self, clip: track)
    with pytest.raises(DataError, match=f"audio: the extractor gives .*{message}"):
        tracks.extract(Clip(tmp_path / "clip"), [Letters()])


def test_tracks_survive_their_file(tmp_path):
    found = {
        "audio": Track(np.ones((2, 3), np.float32), np.ones((2, 2)), notes=("a note",)),
        "vision": Absent("no video"),
    }
    tracks.save(tmp_path / "one.npz", found)
    again = tracks.load(tmp_path / "one.npz")
    assert again["vision"] == found["vision"] and again["audio"].notes == ("a note",)
    np.testing.assert_array_equal(again["audio"].values, found["audio"].values)
    assert tracks.load(tmp_path / "none.npz") is None


def test_an_extractor_of_ones_own_is_found_by_its_name():
    found = choose.extractors(*(f"own_extractors:{name}" for name in ("Sizes", "Faces", "Letters")))
    assert [type(extractor).__name__ for extractor in found] == ["Sizes", "Faces", "Letters"]
    again = choose.like(recipes([found[0], found[2]]))
    assert recipes(again) == recipes(BOTH)
    assert choose.like(recipes([Letters(version=3)]))[0].recipe["version"] == 3
    with pytest.raises(ConfigError, match="write \"name\": 'own_extractors:Nameless' into its recipe"):
        choose.extractors("own_extractors:Sizes", "own_extractors:Nameless")
    with pytest.raises(ConfigError, match="no extractor 'own_extractors:Nothing'"):
        choose.extractors("own_extractors:Nothing")
    with pytest.raises(ConfigError, match="is no extractor of language"):
        choose.extractors("own_extractors:Letters")
    other = {"audio": json.dumps({**Letters().recipe, "model": "else"})}
    with pytest.raises(DataError, match=r"audio: extraction here does not give(.|\n)*here: (.|\n)*needed: .*else"):
        choose.like(other)
