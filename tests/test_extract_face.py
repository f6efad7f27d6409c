"""The extractor of vision and the networks below it, on drawn faces and on real clips."""

import os
import pickle
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ktnet_lite.course.drawn_face import draw
from ktnet_lite.errors import ConfigError, DataError
from ktnet_lite.extract import face, landmarker, models
from ktnet_lite.extract.clip import Absent, Clip, Extractor
from ktnet_lite.extract.face import FaceTracker
from ktnet_lite.extract.landmarker import BLENDSHAPES, Landmarker, Region

JAW = BLENDSHAPES.index("jawOpen")
YAW, PITCH, ROLL, X, _, _, SEEN = range(51, 58)
BLANK = np.full((240, 360, 3), 128, np.uint8)


class Shown:
    """A clip of given images, one step each; without images it has no video."""

    def __init__(self, images):
        self.images, self.media = images, SimpleNamespace(has_video=bool(images))

    def frames(self, fps):
        return ((k / fps, image) for k, image in enumerate(self.images))


@pytest.fixture
def data(monkeypatch):
    """Folder of the model and the clips, named by KTNET_DATA or beside the checkout; the test is skipped without it."""
    pytest.importorskip("ai_edge_litert")
    folder = Path(os.environ.get("KTNET_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "models" / "face_landmarker.task").is_file():
        pytest.skip(f"no face_landmarker.task in {folder / 'models'}; set KTNET_DATA")
    monkeypatch.setenv("KTNET_DATA", str(folder / "models"))
    return folder


@pytest.fixture
def networks(data):
    return landmarker.load(models.find("face-landmarker"))


def seen(networks, image):
    """The face that the networks are surest of."""
    return networks.landmarks(image, networks.detect(image)[0])


def test_the_numbers_are_mediapipes(networks):
    found = seen(networks, draw(0.6, 0.8, 15, (240, 360)))  # mediapipe 0.10 gives these for the same image
    points = {1: (205.4, 146.3, -28.2), 33: (155.4, 112.8, -4.7), 152: (194.7, 219.2, 12.7), 468: (169.2, 112.6, -6.9)}
    for index, point in points.items():
        np.testing.assert_allclose(found.points[index], point, atol=1.0)
    for name, value in {
        "browOuterUpLeft": 0.361,
        "eyeWideLeft": 0.181,
        "jawOpen": 0.382,
        "mouthPressRight": 0.22,
    }.items():
        assert found.blendshapes[BLENDSHAPES.index(name)] == pytest.approx(value, abs=0.05)


def test_the_jaw_follows_the_mouth_and_the_rest_stands_still(data):
    rng = np.random.default_rng(0)
    noisy = [np.clip(draw() + rng.normal(0, 3, (320, 320, 3)), 0, 255).astype(np.uint8) for _ in range(8)]
    still = FaceTracker()(Shown(noisy)).values
    assert still[:, :51].std(axis=0).max() < 0.03 and np.abs(still[1:, :51] - still[0, :51]).max() < 0.1
    mouth = np.linspace(0, 1, 8)
    moving = FaceTracker()(Shown([draw(m) for m in mouth])).values
    assert np.corrcoef(mouth, moving[:, JAW])[0, 1] > 0.95 and np.ptp(moving[:, JAW]) > 0.4
    assert np.abs(moving[:, [YAW, PITCH, ROLL]]).max() < 6
    blink = BLENDSHAPES.index("eyeBlinkLeft")
    assert FaceTracker()(Shown([draw(eyes=0.0)])).values[0, blink] > 0.4 > 0.1 > still[:, blink].max()


def test_a_frame_with_padded_rows_gives_the_same_face(networks):
    image = draw(0.3, size=(240, 360))
    padded = np.zeros((240, 384, 3), np.uint8)
    padded[:, :360] = image
    assert not padded[:, :360].flags.c_contiguous
    np.testing.assert_array_equal(seen(networks, padded[:, :360]).points, seen(networks, image).points)


def test_a_turned_head_has_a_yaw_that_a_mirror_flips(networks):
    image = draw(turn=20)
    pose = face.pose(seen(networks, image).points)
    mirrored = face.pose(seen(networks, image[:, ::-1]).points)
    assert 10 < pose[0] < 35
    np.testing.assert_allclose(mirrored, pose * (-1, 1, -1), atol=3)


def test_a_head_tilted_clockwise_has_a_positive_roll(networks):
    tilted = landmarker.sample(draw(), Region(160, 160, 320, -0.4), 320).astype(np.uint8)
    assert face.pose(seen(networks, tilted).points)[2] == pytest.approx(np.degrees(0.4), abs=3)


def test_place_and_size_are_fractions_of_the_image_and_points_depend_on_neither(data):
    tracker = FaceTracker(values="points")
    whole = draw(0.5, size=(240, 360))
    part = np.full((480, 720, 3), 176, np.uint8)
    part[200:440, 360:] = whole
    (*face_a, x_a, y_a, size_a, _), (*face_b, x_b, y_b, size_b, _) = (
        tracker(Shown([image])).values[0] for image in (whole, part)
    )
    assert len(face_a) + 4 == len(tracker.features) == 478 * 3 + 7
    assert np.abs(np.subtract(face_a, face_b))[:-3].mean() < 0.02
    np.testing.assert_allclose([x_b, y_b], [0.5 + x_a / 2, (200 + 240 * y_a) / 480], atol=0.01)
    assert size_b == pytest.approx(size_a / 2, rel=0.03)


def test_of_two_faces_the_largest_or_the_chosen_is_followed(data):
    left, right = draw(0.0, size=(320, 320)), np.full((320, 320, 3), 176, np.uint8)
    images = []
    for mouth in (0.2, 0.5, 0.8, 1.0):
        right[40:280, 40:280] = draw(mouth, size=(240, 240))
        images.append(np.hstack([left, right]))
    for choice, x, opening in (("largest", 0.25, 0), ((0.8, 0.5), 0.75, 1), ((0.1, 0.4), 0.25, 0)):
        values = FaceTracker(choice=choice)(Shown(images)).values
        np.testing.assert_allclose(values[:, X], x, atol=0.02)
        assert (np.ptp(values[:, JAW]) > 0.3) == opening


def test_a_chosen_face_that_was_lost_is_found_again_at_its_last_place(data):
    both, right = np.hstack([draw(), draw()]), np.hstack([draw(), draw(0.9)])
    blank = np.full_like(both, 128)
    values = FaceTracker(choice=(0.9, 0.5), gaps="absent")(Shown([both, blank, right])).values
    assert values[:, X] == pytest.approx(0.75, abs=0.02) and values[1, JAW] > 0.3


def test_the_detector_runs_only_where_no_face_is_followed_and_no_clip_follows_another(networks, monkeypatch):
    searched = []
    detect = networks.detect
    monkeypatch.setattr(networks, "detect", lambda image: searched.append(1) or detect(image))
    face_left = np.hstack([draw(), np.full((320, 320, 3), 176, np.uint8)])
    list(face.follow([(0.0, face_left), (0.1, face_left), (0.2, face_left)], networks))
    assert len(searched) == 1
    (frame,) = face.follow([(0.0, np.ascontiguousarray(face_left[:, ::-1]))], networks)
    assert len(searched) == 2 and face.centre(frame.face.points)[0] > 320


def test_gaps_are_interpolated_and_marked_or_left_out(data):
    clip = Shown([BLANK, draw(0, size=(240, 360)), BLANK, BLANK, BLANK, draw(1, size=(240, 360)), BLANK])
    track = FaceTracker(fps=5)(clip)
    assert track.values.dtype == np.float32 and track.notes == ("no face in 5 of 7 frames",)
    np.testing.assert_allclose(track.times, np.arange(7)[:, None] / 5 + (0, 0.2))
    np.testing.assert_array_equal(track.values[:, SEEN], [0, 1, 0, 0, 0, 1, 0])
    closed, opened = track.values[1, :SEEN], track.values[5, :SEEN]
    for step, share in enumerate((0, 0, 0.25, 0.5, 0.75, 1, 1)):
        np.testing.assert_allclose(track.values[step, :SEEN], closed + share * (opened - closed), atol=1e-4)
    short = FaceTracker(fps=5, gaps="absent")(clip)
    np.testing.assert_array_equal(short.values, track.values[[1, 5]])
    np.testing.assert_allclose(short.times, [[0.2, 0.4], [1.0, 1.2]])


def test_a_clip_without_face_or_video_is_absent(data):
    assert FaceTracker()(Shown([BLANK] * 3)) == Absent("no face in 3 frames")
    assert FaceTracker()(Shown([])) == Absent("no video")


@pytest.mark.parametrize("name", ["ravdess-01-01-01-01-01-01-01.mp4", "grid-lbax4n.mpg"])
def test_a_real_speaker_looks_at_the_camera_and_moves_the_jaw(data, name):
    pytest.importorskip("av")
    if not (path := data / "clips" / name).is_file():
        pytest.skip(f"no {path}")
    tracker: Extractor = FaceTracker()
    track = tracker(Clip(path))
    assert track.values.shape[1] == len(tracker.features) == 58 and track.notes == ()
    assert np.abs(track.values[:, [YAW, PITCH, ROLL]]).max() < 20
    assert track.values[:, JAW].max() > 0.15 and track.values[:, JAW].min() < 0.05
    assert (track.values[:, :51] >= 0).all() and (track.values[:, :51] <= 1).all()


def test_loading_prints_nothing_and_a_tracker_can_be_sent_to_a_process(networks, capfd):
    Landmarker(models.find("face-landmarker"))
    tracker = FaceTracker(choice=(0.5, 0.5))
    tracker(Shown([draw()]))
    assert pickle.loads(pickle.dumps(tracker)).recipe == tracker.recipe
    assert capfd.readouterr() == ("", "")


def test_a_missing_model_says_how_to_fetch_it(tmp_path, monkeypatch):
    monkeypatch.delenv("KTNET_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="ktnet-lite data fetch face-landmarker"):
        FaceTracker()


def test_another_file_in_place_of_the_model_is_rejected(tmp_path):
    pytest.importorskip("ai_edge_litert")
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match=r"face_landmarker\.task is not MediaPipe's .*ktnet-lite data fetch"):
        Landmarker(path)
    for names in (("other",), landmarker.NETWORKS):
        with zipfile.ZipFile(path, "w") as bundle:
            for name in names:
                bundle.writestr(name, b"no network")
        with pytest.raises(DataError, match="is not MediaPipe's face landmarker"):
            Landmarker(path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fps": 0}, "fps: 0 is not a positive"),
        ({"choice": "biggest"}, "choice: 'biggest' is neither"),
        ({"choice": (0.5, 1.5)}, r"choice: \(0.5, 1.5\) is neither"),
        ({"gaps": "absnt"}, "did you mean 'absent'"),
        ({"values": "blendshape"}, "did you mean 'blendshapes'"),
    ],
)
def test_a_wrong_parameter_is_rejected(wrong, message):
    with pytest.raises(ConfigError, match=message):
        FaceTracker(**wrong)


def made_points(yaw=0.0, pitch=0.0, roll=0.0):
    """478 points around upright axes, turned by three angles in degrees."""
    points = np.random.default_rng(0).normal(size=(478, 3))
    axes = [landmarker.RIGHT_EYE, landmarker.LEFT_EYE, face.BROW, face.NOSE]
    points[axes] = [(-1, 0, 0), (1, 0, 0), (0.1, -0.2, 0), (0.1, 0.9, 0)]
    (a, b, c), (s, t, u) = np.cos(np.radians([yaw, pitch, roll])), np.sin(np.radians([yaw, pitch, roll]))
    about_y, about_x = np.array([[a, 0, -s], [0, 1, 0], [s, 0, a]]), np.array([[1, 0, 0], [0, b, t], [0, -t, b]])
    return points @ (np.array([[c, -u, 0], [u, c, 0], [0, 0, 1]]) @ about_y @ about_x).T


@pytest.mark.parametrize("angles", [(0, 0, 0), (40, 0, 0), (0, 25, 0), (0, 0, 30), (-35, -20, 0)])
def test_pose_returns_the_angles_by_which_points_were_turned(angles):
    turned = made_points(*angles)
    np.testing.assert_allclose(face.pose(turned)[:2], angles[:2], atol=1e-6)
    if angles[0] == 0:
        assert face.pose(turned)[2] == pytest.approx(angles[2], abs=1e-6)
    mirrored = turned * (-1, 1, 1)
    mirrored[[landmarker.RIGHT_EYE, landmarker.LEFT_EYE]] = mirrored[[landmarker.LEFT_EYE, landmarker.RIGHT_EYE]]
    np.testing.assert_allclose(face.pose(mirrored), face.pose(turned) * (-1, 1, -1), atol=1e-6)


def test_aligned_points_do_not_depend_on_pose_place_and_size():
    moved = 70 * made_points(30, -10, 20) + (200, 100, 5)
    np.testing.assert_allclose(face.aligned(moved), made_points() / 2, atol=1e-6)


def test_interpolation_is_linear_in_time_and_constant_at_the_ends():
    values = face.interpolate(np.array([1.0, 3.0]), np.array([[0.0, 10.0], [1.0, 30.0]]), np.array([0, 1, 1.5, 3, 4]))
    np.testing.assert_allclose(values, [[0, 10], [0, 10], [0.25, 15], [1, 30], [1, 30]])


def test_a_region_is_cut_out_turned_and_continued_at_the_edges():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    np.testing.assert_allclose(landmarker.sample(image, Region(20, 20, 40), 40), image, atol=1e-3)
    quarter = landmarker.sample(image, Region(20, 20, 40, np.pi / 2), 40)  # its rightward axis points down the image
    np.testing.assert_allclose(quarter[1:], np.rot90(image)[:-1], atol=0.02)
    beyond = landmarker.sample(image, Region(-60, 20, 40), 40)
    np.testing.assert_allclose(beyond, np.repeat(image[:, :1], 40, axis=1), atol=1e-3)
    between = landmarker.sample(image, Region(20.5, 20, 40), 40)
    np.testing.assert_allclose(between[:, :39], (image[:, :39].astype(float) + image[:, 1:]) / 2, atol=1e-3)


def test_boxes_that_overlap_are_averaged_by_their_scores():
    boxes = np.zeros((3, 8, 2))
    boxes[:, 0], boxes[:, 1] = [(0.5, 0.5), (0.9, 0.5), (0.54, 0.5)], 0.2
    merged = landmarker.merge(boxes, np.array([0.6, 0.8, 0.9]))
    np.testing.assert_allclose(merged[:, 0], [(0.524, 0.5), (0.9, 0.5)])
    assert landmarker.merge(boxes[:0], np.zeros(0)).shape == (0, 8, 2)
