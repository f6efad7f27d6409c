"""What a model costs, and weights of 8 bits: what is printed is what was measured, and what is worse is refused."""

import json
import re

import numpy as np
import pytest

from deployed import BOTH, JOINED
from ktnet_lite.deploy import bench, int8, runtime
from ktnet_lite.errors import ConfigError
from ktnet_lite.names import MODALITIES, subsets
from small import DIMS
from test_deploy_runtime import invoke, saved

pytestmark = pytest.mark.slow  # a model is exported first
STEPS = {"language": 4, "vision": 6, "audio": 5}


def test_a_bench_of_both_forms_measures_the_same_clips(tmp_path, deployed):
    one = deployed("language")
    trained, exported = (bench.bench(path, STEPS, clips=20) for path in (saved(one, tmp_path), one.path))
    for found, path in ((trained, tmp_path / "model.pt"), (exported, one.path)):
        (speed,) = found.speeds
        assert 0 < speed.p50 <= speed.p95 <= speed.p99 and speed.subset == "language"
        assert found.size == path.stat().st_size and found.steps == {"language": 4} and found.clips == 20
        assert found.parameters == sum(parameter.numel() for parameter in one.model.parameters())
        assert found.memory is None or 10e6 < found.memory < 64e9
    assert exported.speeds[0].flops is None
    dim, features, steps, width = 8, DIMS["language"], 4, 16  # a head of 4 is computed with 16
    layer = 2 * steps * dim * (3 * dim + dim + 8 * dim) + 2 * 2 * 2 * steps * steps * width
    once = 2 * steps * features * dim  # the projection, and a head of two maps and one
    assert trained.speeds[0].flops == once + 2 * layer + 2 * (2 * dim * dim + dim)


def test_any_is_measured_with_every_subset_and_prints_what_it_measured(tmp_path, deployed):
    one, out = deployed("any", **BOTH), tmp_path / "bench.json"
    done = invoke("bench", one.path, "--steps", "4,6,5", "--clips", "3", "--json", out)
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text(encoding="utf-8"))
    assert [speed["subset"] for speed in found["speeds"]] == ["+".join(subset) for subset in subsets(MODALITIES)]
    heading, *rows = done.output.splitlines()[:8]
    assert re.split(r" {2,}", heading) == ["CLIPS HAVE", "P50", "P95", "P99", "MFLOP"]
    for speed, row in zip(found["speeds"], rows, strict=True):
        times = (f"{speed[key]:.2f} ms" for key in ("p50", "p95", "p99"))
        assert re.split(r" {2,}", row) == [speed["subset"], *times, "-"]
    assert f"float32, {found['parameters']:,} parameters" in done.output
    assert "steps language 4, vision 6, audio 5; 3 random clips" in done.output
    done = invoke("bench", one.path, "--steps", "4,6,5", "--clips", "3", "--subset", "vision,language")
    assert [line.split()[0] for line in done.output.splitlines()[1:2]] == ["language+vision"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "4,6"], "give three positive whole numbers"),
        (["--steps", "4,0,6"], "give three positive whole numbers"),
        (["--subset", "audio"], "this model does not observe audio; it observes language"),
        (["--subset", "smell"], "this model does not observe smell; it observes language"),
    ],
)
def test_what_cannot_be_measured_is_refused(options, message, deployed):
    done = invoke("bench", deployed("language").path, *options)
    assert done.exit_code == 1 and message in done.output
    with pytest.raises(ConfigError, match="needs all that it observes: language, vision, audio"):
        bench.bench(deployed("linear").path, STEPS, ["language"])


def test_a_model_of_aligned_streams_is_measured_on_aligned_ones(deployed):
    path = deployed("ours", "cross_entropy", **JOINED).path
    with pytest.raises(ConfigError, match="give each of them the same number of steps"):
        bench.bench(path, STEPS)
    assert bench.bench(path, dict.fromkeys(MODALITIES, 5), clips=2).speeds[0].p50 > 0


def test_the_random_clips_are_seeded_and_have_the_statistics_of_the_training_set(deployed):
    one = deployed("language")
    first, again, other = (bench.random_clips(one.exported, {"language": 400}, ["language"], 3, s) for s in (0, 0, 1))
    assert all(np.array_equal(a["language"], b["language"]) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0]["language"], other[0]["language"])
    values = np.concatenate([clip["language"][0] for clip in first])
    layer = one.model.inputs["language"]
    np.testing.assert_allclose(values.mean(0), layer.mean, atol=0.2)
    np.testing.assert_allclose(values.std(0), layer.scale, atol=0.2)


@pytest.fixture
def fast(monkeypatch):
    """Let times come from a table, since those of a small model on a busy machine say nothing."""

    def set_times(float32: float, eight: float) -> None:
        monkeypatch.setattr(bench, "timed", lambda calls, clips: np.array([[float32] * 3, [eight] * 3]))

    return set_times


def test_weights_of_8_bits_are_accepted_where_they_are_near_and_faster(fast, tmp_path, deployed):
    fast(2.0, 1.0)
    one, small = deployed("language"), tmp_path / "small.onnx"
    found = int8.quantise(one.path, small, STEPS, tolerance=0.5)
    assert 0 < found.difference < 0.5 and (found.float32, found.int8) == (2, 1)
    assert b"MatMulInteger" in small.read_bytes()
    loaded = runtime.load(small)
    assert loaded.about.precision == "int8" and loaded.config == one.config
    clips = bench.random_clips(one.exported, STEPS, ["language"], 20, 3)
    calls = [bench.exported_call(model) for model in (one.exported, loaded)]
    difference = max(float(np.abs(calls[0](clip) - calls[1](clip)).max()) for clip in clips)
    assert 0 < difference < 0.5


@pytest.mark.parametrize(("times", "tolerance"), [((1.0, 2.0), 0.5), ((2.0, 1.0), 1e-6)], ids=["slower", "far"])
def test_weights_of_8_bits_that_are_slower_or_far_are_refused_with_the_figures(
    times, tolerance, fast, tmp_path, deployed
):
    fast(*times)
    with pytest.raises(ConfigError, match=r"is refused: .* takes \d\.00 ms in place .* by up to \d\.\d{3} \(at most"):
        int8.quantise(deployed("language").path, tmp_path / "small.onnx", STEPS, tolerance=tolerance)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_why_8_bits_are_refused(fast, tmp_path, deployed):
    fast(1.0, 3.0)
    model = saved(deployed("language"), tmp_path)
    done = invoke("export", model, tmp_path / "small.onnx", "--int8", "--steps", "4,6,5")
    assert done.exit_code == 1 and "a clip takes 3.00 ms in place of 1.00 ms" in done.output
    assert not (tmp_path / "small.onnx").exists()
