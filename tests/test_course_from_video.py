"""Chapter 11: clips that say what their script says, code that agrees with the package, figures, a clip's picture."""

from pathlib import Path

import numpy as np
import pytest

from ktnet_lite.course import drawn_face, from_video, made_clip, made_voice
from ktnet_lite.extract import transcript, voice
from ktnet_lite.extract.clip import Absent, Clip, Track
from ktnet_lite.extract.face import Frame
from ktnet_lite.reporting import clips
from ktnet_lite.reporting.plots import COLOURS
from test_course_definitions import definitions

SCRIPT = made_clip.script(1.5, 4, seed=12)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return made_clip.write(tmp_path_factory.mktemp("clip") / "a.mp4", SCRIPT, fps=20, size=96)


def test_a_clip_has_the_video_the_sound_and_the_words_of_its_script(path):
    clip = Clip(path, transcript.beside(path))
    assert clip.media.has_video and clip.media.has_sound
    assert clip.media.duration == pytest.approx(SCRIPT.seconds, abs=0.1)
    assert tuple(line.text for line in clip.lines) == SCRIPT.words
    np.testing.assert_allclose([line[1:] for line in clip.lines], SCRIPT.times)


def test_a_clip_is_written_with_the_same_bytes_again_and_another_seed_is_another_clip(path, tmp_path):
    again = made_clip.write(tmp_path / "b.mp4", SCRIPT, fps=20, size=96)
    assert again.read_bytes() == path.read_bytes()
    assert again.with_suffix(".vtt").read_bytes() == path.with_suffix(".vtt").read_bytes()
    other = made_clip.script(1.5, 4, seed=13)
    assert (other.words, other.f0.tolist()) != (SCRIPT.words, SCRIPT.f0.tolist())


def test_a_muted_clip_has_no_sound_track_and_the_same_frames(path, tmp_path):
    muted = Clip(made_clip.write(tmp_path / "b.mp4", SCRIPT, fps=20, size=96, sound=False, subtitles=False))
    assert not muted.media.has_sound and not transcript.beside(muted.path)
    pairs = zip(muted.frames(10), Clip(path).frames(10), strict=True)
    assert all(a[0] == b[0] and np.array_equal(a[1], b[1]) for a, b in pairs)


def test_the_pitch_that_is_heard_is_that_of_the_script(path):
    track = voice.Voice()(Clip(path))
    times = track.times.mean(1)
    known, hertz = SCRIPT.pitch(times), 55 * 2 ** (track.values[:, 0] / 12)
    inside = np.isfinite(SCRIPT.pitch(times - 0.02)) & np.isfinite(SCRIPT.pitch(times + 0.02))
    assert inside.mean() > 0.4 and track.values[inside, 1].all()
    np.testing.assert_allclose(hertz[inside], known[inside], rtol=0.01)
    assert np.isfinite(known).mean() == pytest.approx(np.diff(SCRIPT.times).sum() / SCRIPT.seconds, abs=0.05)


def test_the_face_that_is_seen_has_the_mouth_of_the_script(path):
    middle = SCRIPT.times.mean(1)
    np.testing.assert_allclose(SCRIPT.mouth(middle), SCRIPT.opening)
    assert not SCRIPT.mouth(SCRIPT.times[:, 1] + 0.01).any()
    for time, image in Clip(path).frames(20):
        drawn = drawn_face.draw(float(SCRIPT.mouth(np.array([time]))[0]), size=(96, 96))
        closed = drawn_face.draw(0.0, size=(96, 96))
        assert np.abs(image - drawn.astype(float)).mean() < 4
        if SCRIPT.mouth(np.array([time]))[0] > 0.4:
            assert np.abs(image - drawn.astype(float)).mean() < np.abs(image - closed.astype(float)).mean()


def test_words_voice_and_face_each_carry_the_mood_with_a_noise_of_its_own():
    moods = np.random.default_rng(0).uniform(-3, 3, 300)
    scripts = [made_clip.script(mood, 3, seed=seed) for seed, mood in enumerate(moods)]
    points = [[(word in made_clip.GOOD) - (word in made_clip.BAD) for word in script.words] for script in scripts]
    carried = {
        "words": np.mean(points, axis=1),
        "voice": np.array([np.log2(script.f0).mean() for script in scripts]),
        "face": np.array([script.opening.mean() for script in scripts]),
    }
    rest = []
    for values in carried.values():
        assert 0.7 < np.corrcoef(values, moods)[0, 1] < 0.98
        rest.append(values - np.polyval(np.polyfit(moods, values, 1), moods))
    assert np.abs(np.corrcoef(rest) - np.eye(3)).max() < 0.25


def test_a_script_stays_within_what_can_be_drawn_said_and_measured():
    for seed, mood in enumerate(np.linspace(-3, 3, 40)):
        script = made_clip.script(mood, 3, base=130 + seed, seed=seed)
        assert (script.f0 > voice.LOWEST).all() and (script.f0 < voice.HIGHEST).all()
        assert (script.opening > 0).all() and (script.opening <= 1).all()
        assert (np.diff(script.times.ravel()) > 0.05).all() and script.times[0, 0] > 0
        assert seed % 8 or np.abs(script.sound()).max() < 1
    every = made_clip.GOOD + made_clip.BAD + made_clip.NEUTRAL
    assert len(set(every)) == 12 and all(set(word) & set(made_voice.FORMANTS) for word in every)


def test_the_chapters_pitch_is_the_packages():
    chapter, rng = definitions("11"), np.random.default_rng(0)
    chapter.cut.__globals__.update(RATE=16_000, WIDTH=voice.LONG, HOP=voice.HOP, SHORTEST=32, LONGEST=246)
    sound = made_voice.vowel((110, 320), 1.0) + 0.02 * rng.normal(size=16_000).astype(np.float32)
    frames = chapter.cut(sound)
    assert frames.shape == (100, voice.LONG)
    written = np.array([chapter.autocorrelation(frame) for frame in frames])
    np.testing.assert_allclose(written, voice.autocorrelation(frames)[:, : written.shape[1]], atol=1e-3)
    hertz = np.array([chapter.pitch(frame) for frame in frames])[5:-5]
    package = voice.describe([sound])[5:-5]
    assert package[:, 1].all()
    np.testing.assert_allclose(hertz, 55 * 2 ** (package[:, 0] / 12), rtol=2e-3)
    assert chapter.energy(np.full((1, 8), 0.1)) == pytest.approx(-20)


def test_the_chapters_extractor_follows_the_mouth_and_says_why_there_is_none(path, tmp_path):
    mouth = definitions("11").MouthOpening()
    track = mouth(Clip(path))
    assert track.values.shape == (len(track.times), 1) and track.values.dtype == np.float32
    assert np.corrcoef(track.values[:, 0], SCRIPT.mouth(track.times[:, 0]))[0, 1] > 0.98
    sound = tmp_path / "sound.wav"
    sound.write_bytes(_wav(np.zeros(1600, "<i2")))
    assert mouth(Clip(sound)) == Absent("no video")


def _wav(samples: np.ndarray) -> bytes:
    data, rate = samples.tobytes(), 16_000
    numbers = ((16, 4), (1, 2), (1, 2), (rate, 4), (2 * rate, 4), (2, 2), (16, 2))
    head = b"".join(number.to_bytes(size, "little") for number, size in numbers)
    body = b"WAVEfmt " + head + b"data" + len(data).to_bytes(4, "little") + data
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def test_a_strip_has_the_frames_over_the_wave_and_the_words():
    images = [(0.2 * k, np.full((4, 4, 3), 50 * k, np.uint8)) for k in range(3)]
    sound = np.linspace(-0.5, 0.5, 16_000, dtype=np.float32)
    above, below = from_video.strip(images, sound, ("one", "two"), np.array([[0.1, 0.3], [0.6, 0.8]])).axes
    assert [image.get_array()[0, 0, 0] for image in above.images] == [0, 50, 100]
    assert [text.get_text() for text in above.texts] == ["0.00 s", "0.20 s", "0.40 s"]
    assert below.get_lines()[0].get_ydata().tolist() == sound.tolist()
    assert [(text.get_text(), round(text.get_position()[0], 6)) for text in below.texts] == [("one", 0.2), ("two", 0.7)]


def test_the_figure_of_pitch_marks_the_period_and_lays_measured_on_known():
    r = np.cos(2 * np.pi * np.arange(100) / 40)
    times, known = np.arange(5) / 100, np.array([100, 110, np.nan, 120, 130])
    left, right = from_video.pitch(r, (20, 90), 40.2, times, known + 1, known).axes
    marker = left.get_lines()[1]
    assert (marker.get_xdata()[0], marker.get_ydata()[0]) == pytest.approx((40.2, r[40]))
    assert left.texts[0].get_text() == "40.2 samples"
    lines = {line.get_label(): line.get_ydata() for line in right.get_lines()}
    np.testing.assert_array_equal(lines["as synthesised"], known)
    np.testing.assert_array_equal(lines["measured"], known + 1)


def test_the_figures_of_openings_and_of_scores_show_what_they_are_given():
    times, values = np.arange(4) / 10, np.array([0, 0.5, 1, 0.2])
    (axes,) = from_video.openings((times, values), {"ours": (times, values / 2), "theirs": (times, values / 3)}).axes
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axes.get_lines()}
    assert drawn == {"as drawn": values.tolist(), "ours": (values / 2).tolist(), "theirs": (values / 3).tolist()}
    targets, scores = np.array([-1.0, 2.0]), {"with": np.array([-0.5, 1.5]), "without": np.array([0.0, 1.0])}
    (axes,) = from_video.answers(targets, scores, 0.3).axes
    drawn = {line.get_label(): line for line in axes.get_lines()}
    for name, expected in scores.items():
        assert drawn[name].get_xdata().tolist() == targets.tolist()
        assert drawn[name].get_ydata().tolist() == expected.tolist()
    assert any(list(line.get_ydata()) == [0.3, 0.3] for line in axes.get_lines())
    assert [segment[:, 1].tolist() for segment in axes.collections[0].get_segments()] == [[-0.5, 0.0], [1.5, 1.0]]


def track(values: np.ndarray, words: tuple[str, ...] = ()) -> Track:
    starts = np.arange(len(values)) / len(values)
    return Track(np.asarray(values, np.float32), np.column_stack([starts, starts + 1 / len(values)]), words)


def test_the_picture_of_a_clip_has_its_words_pitch_where_there_is_a_voice_and_reasons():
    values = np.zeros((4, 26))
    values[:, 0], values[:, 1], values[:, 4] = (12, 12, 24, 12), (1, 0, 1, 1), -20
    found = {"language": track(np.ones((2, 3)), ("a", "film")), "vision": Absent("no video"), "audio": track(values)}
    language, vision, audio, energy = clips.draw(found, {"language": (), "vision": (), "audio": voice.FEATURES}).axes
    assert [text.get_text() for text in language.texts] == ["a", "film"]
    assert [text.get_text() for text in vision.texts] == ["absent: no video"]
    np.testing.assert_allclose(audio.get_lines()[0].get_ydata(), [110, np.nan, 220, 110])
    np.testing.assert_allclose(energy.get_lines()[0].get_ydata(), -20)
    assert not any(spine.get_visible() for spine in energy.spines.values())


def test_the_picture_shows_the_liveliest_features_of_left_and_right_only_one_at_the_time_of_their_frame():
    values = np.array([[0, 0, 0, 0, 0, 9], [1, 0.9, 0.1, 0.5, 0.2, 99]])
    features = ("eyeLeft [0..1]", "eyeRight [0..1]", "still [0..1]", "jaw [0..1]", "brow [0..1]", "yaw [degrees]")
    image = np.zeros((8, 8, 3), np.uint8)
    picture, vision = clips.draw({"vision": track(values)}, {"vision": features}, Frame(0.5, image, None)).axes
    assert [line.get_label() for line in vision.get_lines()] == ["eyeLeft", "jaw", "brow"]
    assert vision.get_lines()[0].get_xdata().tolist() == [0, 0.5]
    assert {line.get_color() for line in vision.get_lines()} == {COLOURS["vision"]}
    assert picture.get_title() == "the frame at 0.50 s" and len(picture.images) == 1


def test_words_that_are_dense_are_written_on_several_lines_within_the_picture():
    words = ("extraordinary",) * 20
    (language,) = clips.draw({"language": track(np.ones((20, 2)), words)}, {"language": ()}).axes
    places = [text.get_position() for text in language.texts]
    assert len({y for _, y in places}) == clips.LEVELS
    assert min(x for x, _ in places) > 0.05 and max(x for x, _ in places) < 0.95
