"""The voice's descriptors: pitch of voices that we made, levels and shapes of known sounds, silence, and any cut."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ktnet_lite.course.made_voice import envelope, vowel
from ktnet_lite.errors import ConfigError
from ktnet_lite.extract import voice
from ktnet_lite.extract.clip import Absent, Clip, Track
from ktnet_lite.extract.egemaps import Egemaps
from ktnet_lite.extract.media import RATE
from ktnet_lite.extract.voice import FEATURES, HOP, LONG, Voice, describe

PITCH = "F0 [semitones re 27.5 Hz]"  # of eGeMAPS
EDGE = 5  # steps whose long window may reach over an end of the sound or of a vowel


def column(values: np.ndarray, name: str) -> np.ndarray:
    """The descriptor whose name begins so."""
    return values[:, [feature.startswith(name) for feature in FEATURES].index(True)]


def hertz(values: np.ndarray) -> np.ndarray:
    return 55 * 2 ** (column(values, "F0") / 12)


def noise(seconds: float, level: float = 0.1) -> np.ndarray:
    return np.float32(level * np.random.default_rng(0).standard_normal(round(seconds * RATE)))


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def tone(frequency: float, seconds: float = 0.5, level: float = 0.5) -> np.ndarray:
    return np.float32(level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE))


def clip_of(*blocks: np.ndarray, has_sound: bool = True):
    return SimpleNamespace(media=SimpleNamespace(has_sound=has_sound), sound=lambda: iter(blocks))


@pytest.mark.parametrize("formants", "aiu")
@pytest.mark.parametrize("f0", [80, 120, 200, 300, 400, 480])
def test_the_pitch_of_a_steady_vowel_is_exact_within_1_percent(f0, formants):
    values = describe([vowel(f0, 0.5, formants)])[EDGE:-EDGE]
    assert (column(values, "voicing") == 1).all()
    np.testing.assert_allclose(hertz(values), f0, rtol=0.01)


@pytest.mark.parametrize("ends", [(80, 160), (300, 100), (200, 400)])
def test_the_pitch_of_a_gliding_vowel_is_exact_within_1_percent(ends):
    samples = vowel(ends, 1.0)
    middles = (np.arange(100) + 0.5) * HOP / len(samples)
    values = describe([samples])[EDGE:-EDGE]
    assert (column(values, "voicing") == 1).all()
    np.testing.assert_allclose(hertz(values), np.interp(middles, [0, 1], ends)[EDGE:-EDGE], rtol=0.01)


def test_noise_and_silence_are_unvoiced_and_the_pitch_passes_over_them_in_a_straight_line():
    values = describe([silence(0.2), vowel(100, 0.3), noise(0.2), vowel(200, 0.3), silence(0.2)])
    voicing, semitones = column(values, "voicing"), column(values, "F0")
    assert set(voicing) == {0, 1}
    assert (voicing[25:45] == 1).all() and (voicing[75:95] == 1).all()
    assert not voicing[55:65].any() and not voicing[:15].any() and not voicing[105:].any()
    first, last = np.flatnonzero(voicing)[[0, -1]]
    assert (semitones[:first] == semitones[first]).all() and (semitones[last:] == semitones[last]).all()
    assert np.abs(np.diff(semitones[55:65], 2)).max() < 1e-3 and semitones[55] < semitones[64]


def test_a_sound_without_a_voice_has_the_pitch_in_the_middle_of_the_range():
    values = describe([noise(0.5)])
    assert not column(values, "voicing").any() and not column(values, "H1-H2").any()
    np.testing.assert_allclose(hertz(values), np.sqrt(65 * 500), rtol=1e-5)


def test_the_path_does_not_follow_a_candidate_that_jumps_for_one_step():
    f0 = np.tile([100.0, 200.0], (9, 1))
    strength = np.tile([0.8, 0.7], (9, 1))
    strength[4] = 0.75, 0.85
    assert (voice.pitch(voice.Candidates(f0, strength), np.zeros(9)) == 0).all()
    strength[4:] = 0.3, 0.9
    assert (voice.pitch(voice.Candidates(f0, strength), np.zeros(9)) == [0] * 4 + [1] * 5).all()


def test_a_single_strong_candidate_does_not_make_an_unvoiced_passage_voiced():
    strength = np.full((9, 1), 0.3)
    strength[4] = 0.6
    assert (voice.pitch(voice.Candidates(np.full((9, 1), 100.0), strength), np.zeros(9)) == -1).all()


def test_peaks_are_refined_by_a_parabola_and_mirrored_above_1():
    correlation = np.zeros((1, voice.LAGS[-1] + 2))
    correlation[0, 99:102] = 1.04 - 0.02 * (np.arange(99, 102) - 100.25) ** 2
    f0, strength = voice.find_candidates(correlation)
    best = strength.argmax()
    assert (strength > 0).sum() == 1
    assert f0[0, best] == pytest.approx(RATE / 100.25) and strength[0, best] == pytest.approx(1 / 1.04)


def test_a_step_far_below_the_loudest_is_unvoiced():
    values = describe([vowel(120, 0.3), np.float32(0.003) * vowel(120, 0.3)])
    assert column(values, "voicing")[EDGE:25].all() and not column(values, "voicing")[35:].any()


def test_the_autocorrelation_of_a_tone_is_1_at_its_period_and_minus_1_at_half_of_it():
    frames = np.stack([tone(160, 1.0)[i : i + LONG] for i in range(0, 999, 111)])
    lags = voice.autocorrelation(frames)
    np.testing.assert_allclose(lags[:, [0, 50, 100, 200]], np.tile([1, -1, 1, 1], (len(frames), 1)), atol=0.01)


@pytest.mark.parametrize("level", [0.02, 0.05])
def test_the_harmonics_to_noise_ratio_is_that_of_the_mixture(level):
    voiced, rest = vowel(150, 2.0), noise(2.0, level)
    ratio = 20 * np.log10(voiced.std() / rest.std())
    assert np.median(column(describe([voiced + rest]), "HNR")) == pytest.approx(ratio, abs=1)


@pytest.mark.parametrize("formants", "ai")
def test_h1_h2_is_the_difference_of_the_levels_of_two_harmonics(formants):
    levels = 20 * np.log10(envelope([180, 360], formants))
    values = describe([vowel(180, 0.5, formants)])[EDGE:-EDGE]
    np.testing.assert_allclose(column(values, "H1-H2"), levels[0] - levels[1], atol=0.1)


def test_the_energy_and_spectral_shape_of_a_tone_and_of_noise():
    values = describe([tone(2500) + np.float32(0.3)])[EDGE:-EDGE]  # a constant offset is no sound
    np.testing.assert_allclose(column(values, "energy"), 20 * np.log10(0.5 / np.sqrt(2)), atol=0.05)
    np.testing.assert_allclose(column(values, "centroid"), 2500, atol=5)
    np.testing.assert_allclose(column(values, "rolloff"), 2500, atol=40)
    assert (column(values, "flux") < 0.01).all() and (column(values, "flatness") < -40).all()
    assert (column(values, "alpha") < -50).all() and (column(values, "Hammarberg") < -30).all()
    values = describe([noise(1.0)])
    assert column(values, "centroid").mean() == pytest.approx(4000, rel=0.03)
    assert column(values, "rolloff").mean() == pytest.approx(0.85 * 8000, rel=0.03)
    assert column(values, "flatness").mean() == pytest.approx(-2.5, abs=0.5)  # -10 log10(e) Euler's constant
    assert column(values, "alpha").mean() == pytest.approx(10 * np.log10(950 / 4000), abs=0.5)


def test_slopes_and_flux_of_known_spectra():
    falling = 10 ** (-2 * voice.HERTZ[None] / 1000)  # -20 dB per kHz
    np.testing.assert_allclose(voice.shape(falling)[0, -2:], -20, rtol=1e-3)
    spectra = np.full((3, len(voice.HERTZ)), 1e-9)
    spectra[0, 100], spectra[1, [100, 200]], spectra[2, 200] = 1, (0.75, 0.25), 1
    np.testing.assert_allclose(voice.shape(spectra)[:, 3], [0, 0.25, 0.75], atol=1e-4)


def test_mel_filters_are_triangles_that_meet_and_have_ever_wider_distances():
    filters = voice.mel_filters(12)
    peaks = voice.HERTZ[filters.argmax(1)]
    assert filters.shape == (12, len(voice.HERTZ)) and filters.min() == 0 and 0.9 < filters.max() <= 1
    assert (np.diff(peaks, 2) > -16).all() and np.diff(peaks)[-1] > 3 * np.diff(peaks)[0]
    inside = np.abs(voice.HERTZ - (peaks[0] + peaks[-1]) / 2) < (peaks[-1] - peaks[0]) / 2 - 16
    np.testing.assert_allclose(filters.sum(0)[inside], 1, atol=1e-5)


def test_mfcc_tell_vowels_apart_and_do_not_depend_on_loudness():
    a, i = (vowel(120, 0.5, formants) + noise(0.5, 0.001) for formants in "ai")
    a, quiet, i = (describe([samples])[EDGE:-EDGE, -13:].mean(0) for samples in (a, np.float32(0.5) * a, i))
    assert np.linalg.norm(quiet - a) < 0.1 and np.linalg.norm(i - a) > 15


@pytest.mark.parametrize("size", [1, 7, HOP, 1000, 40961])
def test_the_division_into_blocks_changes_no_bit(size):
    samples = np.concatenate([vowel((90, 180), 1.0), noise(1.0), vowel((300, 200), 1.0)])
    samples = samples[: 4001 if size == 1 else 46_007]
    blocks = np.split(samples, range(size, len(samples), size))
    np.testing.assert_array_equal(describe(blocks), describe([samples]))


def test_a_later_start_gives_the_same_steps():
    samples = vowel((90, 180), 2.9)  # longer than a chunk
    late = describe([samples[100 * HOP :]])
    np.testing.assert_allclose(late[EDGE:], describe([samples])[100 + EDGE :], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("samples", [0, 1, HOP - 1, HOP, HOP + 1, 256 * HOP - 1, 256 * HOP, 256 * HOP + 1])
def test_there_are_as_many_steps_as_fit(samples):
    assert describe([noise(1.0 + samples / RATE)[:samples]]).shape == (samples // HOP, 26)


def test_silence_in_a_clip_has_finite_levels():
    values = describe([vowel(120, 0.3), silence(0.3)])
    assert np.isfinite(values).all()
    np.testing.assert_allclose(column(values, "energy")[35:], -100, atol=0.01)
    np.testing.assert_allclose(column(values, "HNR")[35:], -20, atol=0.1)
    np.testing.assert_allclose(
        column(values, "MFCC 1 ")[35:], column(describe([silence(0.1)]), "MFCC 1 ")[0], atol=0.01
    )


def test_a_clip_gives_a_track_with_a_time_for_each_step():
    extractor, samples = Voice(), vowel(120, 1.005)
    track = extractor(clip_of(samples[:9000], samples[9000:]))
    assert isinstance(track, Track) and track.values.dtype == np.float32 and track.times.dtype == np.float64
    np.testing.assert_array_equal(track.values, describe([samples]))
    np.testing.assert_allclose(track.times, [(t / 100, (t + 1) / 100) for t in range(100)])
    assert track.notes == () == track.words
    assert extractor.modality == "audio" and len(set(extractor.features)) == 26 == track.values.shape[1]
    assert all(feature.endswith("]") and " [" in feature for feature in extractor.features)
    assert extractor.recipe == {"name": "voice", "version": 1}


def test_a_clip_without_a_voice_is_absent_and_says_why():
    assert Voice()(clip_of(has_sound=False)) == Absent("no sound track")
    for samples in (silence(1.0), noise(1.0, 1e-5), np.full(RATE, np.nan, np.float32)):
        assert "silent" in Voice()(clip_of(samples)).reason
    for samples in (silence(0), noise(1.0)[: HOP - 1]):
        assert f"too short: {len(samples)} samples; at least 160" in Voice()(clip_of(samples)).reason


def test_damaged_and_clipped_samples_give_finite_numbers_and_a_note():
    samples = vowel(120, 0.5)
    samples[[100, 2000, 5000]] = np.nan, np.inf, 1e30
    track = Voice()(clip_of(samples))
    assert track.notes == ("3 damaged samples count as 0",) and np.isfinite(track.values).all()
    clipped = Voice()(clip_of(np.clip(20 * vowel(120, 0.5), -1, 1)))
    assert clipped.notes == () and np.isfinite(clipped.values).all()
    np.testing.assert_allclose(hertz(clipped.values)[EDGE:-EDGE], 120, rtol=0.01)


def test_a_made_vowel_has_the_length_peak_and_vowel_that_were_asked_for():
    assert vowel(100, 0.25, rate=8000).shape == (2000,) and vowel(100, 0.1).dtype == np.float32
    assert np.abs(vowel((90, 200), 0.3, "i")).max() == pytest.approx(0.5)
    contour = np.linspace(100, 150, 1600)
    np.testing.assert_allclose(vowel(contour, 0.1), vowel((100, 150), 0.1), atol=1e-5)
    for wrong in ({"formants": "y"}, {"f0": 0}, {"f0": (100, 9000)}, {"f0": np.nan}):
        with pytest.raises(ConfigError):
            vowel(**{"f0": 100, "seconds": 0.1} | wrong)


@pytest.fixture
def clips() -> list[Path]:
    """Films of people who speak; the test is skipped without them."""
    folder = Path(os.environ.get("KTNET_DATA", "nowhere")) / "clips"
    paths = sorted([*folder.glob("*.mpg"), *folder.glob("*.mp4")])
    if not paths:
        pytest.skip("no clips; set KTNET_DATA")
    pytest.importorskip("av")
    return paths


def test_real_clips_have_voiced_and_unvoiced_steps(clips):
    for path in clips:
        track = Voice()(Clip(path))
        assert isinstance(track, Track) and np.isfinite(track.values).all(), path
        assert 0.1 < column(track.values, "voicing").mean() < 0.6, path
        assert column(track.values, "flux").max() <= 1 and column(track.values, "flux").min() >= 0, path


def test_pitch_agrees_with_opensmile_within_a_semitone(clips):
    pytest.importorskip("opensmile")
    extractor, near = Egemaps(), []
    for path in clips:
        ours, theirs = Voice()(Clip(path)).values, extractor(Clip(path)).values[:, extractor.features.index(PITCH)]
        early, late = theirs[:-1] - 12, theirs[1:] - 12  # its row t is centred 30 ms after t / 100, ours 5 ms
        ours = ours[3 : 3 + len(early)]
        both = (column(ours, "voicing") == 1) & (early > -12)[: len(ours)] & (late > -12)[: len(ours)]
        near.append(np.abs(column(ours, "F0") - (early + late)[: len(ours)] / 2)[both] < 1)
    assert np.concatenate(near).mean() > 0.9


def test_egemaps_gives_a_track_of_the_same_sound_and_names_its_licence():
    pytest.importorskip("opensmile")
    extractor, samples = Egemaps(), vowel(120, 1.0)
    track = extractor(clip_of(samples[:9000], samples[9000:]))
    assert track.values.shape == (len(track.times), 25) and track.values.dtype == np.float32
    assert np.isfinite(track.values).all() and "non-commercial" in extractor.recipe["licence"]
    f0 = 27.5 * 2 ** (track.values[10:-10, extractor.features.index(PITCH)] / 12)
    np.testing.assert_allclose(f0, 120, rtol=0.01)
    np.testing.assert_allclose(track.times[[0, 1]], [[0.005, 0.015], [0.015, 0.025]])
    for clip in (clip_of(has_sound=False), clip_of(silence(1)), clip_of(noise(0.05))):
        assert isinstance(extractor(clip), Absent)


def test_egemaps_without_opensmile_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(ConfigError, match="pip install opensmile"):
        Egemaps()
