"""Prediction from an exported file: the same table as from model.pt, without torch; and what is refused, in words."""

import csv
import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from deployed import BOTH, JOINED, VALID
from ktnet_lite.cli import main
from ktnet_lite.config import TrainConfig
from ktnet_lite.data import store
from ktnet_lite.data.schema import Dataset, Header, Split
from ktnet_lite.deploy import runtime
from ktnet_lite.errors import CheckpointError, ConfigError, DataError
from ktnet_lite.names import MODALITIES, subsets
from ktnet_lite.training.build import save_model
from ktnet_lite.training.evaluation import predict
from small import ALIGNED, DIMS, UNALIGNED, make_split
from test_any_modality import lacking, mixed

pytestmark = pytest.mark.slow  # a model is exported first
WITHOUT_TORCH = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("torch is imported")
sys.meta_path.insert(0, Refused())
from ktnet_lite.cli import main
main(sys.argv[1:])
"""


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def saved(one, folder: Path, validated: tuple = ()) -> Path:
    """The same model as a model.pt."""
    header = Header("own", "sentiment", False)
    save_model(folder / "model.pt", one.model, one.config, header, {n: DIMS[n] for n in one.model.inputs}, *validated)
    return folder / "model.pt"


def stored(split: Split, folder: Path) -> Path:
    """A data set with these clips as its test split."""
    dataset = Dataset(Header("own", "sentiment", False), {"train": make_split(UNALIGNED, seed=5), "test": split})
    split = dataclasses.replace(dataset["train"], ids=tuple(f"train{i}" for i in range(len(dataset["train"]))))
    store.write(folder / "own.h5", dataset.header, [("train", split), ("test", dataset["test"])], progress=False)
    return folder / "own.h5"


def some_clips() -> Split:
    split, choice = mixed(UNALIGNED)
    return lacking(split, choice)


@pytest.mark.process
def test_without_torch_the_command_writes_the_same_table(tmp_path, deployed):
    one = deployed("any", **BOTH)
    data, model = stored(some_clips(), tmp_path), saved(one, tmp_path, VALID)
    for options in ([], ["--audio", "inferred"]):
        command = [sys.executable, "-c", WITHOUT_TORCH, "predict", str(one.path), str(data), *options]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found, rows = (
            list(csv.DictReader(text.splitlines()))
            for text in (done.stdout, invoke("predict", model, data, *options).output)
        )
        for name in ("score", "low", "high"):
            numbers, expected = ([float(row.pop(name)) for row in each] for each in (found, rows))
            assert numbers == pytest.approx(expected, abs=2e-4)
        assert found == rows and {row["rebuilt"] for row in found} > {"audio", "vision+audio"}


@pytest.mark.parametrize(
    ("system", "loss", "options", "lengths", "fills"),
    [
        ("language", "l1", {}, UNALIGNED, (None,)),
        ("linear", "l1", {}, UNALIGNED, (None, "zero", "mean")),
        ("mult", "l1", {}, UNALIGNED, (None, "zero", "mean")),
        ("language_audio", "emotion", {}, UNALIGNED, (None, "zero", "mean")),
        ("ours", "cross_entropy", JOINED, ALIGNED, (None,)),
        ("any", "l1", BOTH, UNALIGNED, (None, "inferred")),
    ],
)
def test_a_split_is_predicted_as_by_torch(system, loss, options, lengths, fills, deployed):
    """Clips that lack modalities are among them, in batches of any size, and with missing audio filled in."""
    one, split = deployed(system, loss, **options), mixed(lengths)[0]
    choice = subsets(MODALITIES)
    for clips in (split, lacking(split, choice), lacking(split, choice).without("vision")):
        if "vision" not in clips.streams and system not in ("language", "language_audio", "any"):
            continue
        for fill in fills:
            expected = predict(one.model, clips, fill)
            for batch_size in (3, 24):
                found = one.exported.predict(clips, fill, batch_size)
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_with_the_audio_alone_and_without_it_there_is_nothing_to_predict_from(deployed):
    one = deployed("any", **BOTH)
    alone = make_split(UNALIGNED).without("language", "vision")
    for predicted in (one.exported.predict, lambda split, fill: predict(one.model, split, fill)):
        with pytest.raises(ConfigError, match="without audio there is nothing"):
            predicted(alone, "inferred")


def test_silence_that_is_an_observation_is_one_step_of_zeros(deployed):
    one = deployed("any", **BOTH)
    observed = runtime.OnnxModel(one.exported.about, one.exported.session)
    observed.config = dataclasses.replace(observed.config, silence="observed")
    model, split = one.model, some_clips()
    model.silence = "observed"
    try:
        for clips in (split, split.without("audio")):
            np.testing.assert_allclose(observed.predict(clips), predict(model, clips), rtol=0, atol=1e-4)
            assert np.abs(observed.predict(clips) - one.exported.predict(clips)).max() > 1e-3
    finally:
        model.silence = "missing"


def test_what_does_not_fit_is_refused_as_by_torch(tmp_path, deployed):
    model, split = deployed("linear").exported, make_split(UNALIGNED)
    for wrong, fill, error, message in (
        (split.without("vision"), None, DataError, "has no vision, which this model observes"),
        (split, "inferred", ConfigError, "audio cannot be 'inferred'; this model can do: zero, mean"),
        (split.select([]), None, DataError, "the split has no clips"),
    ):
        with pytest.raises(error, match=message):
            model.predict(wrong, fill)
    done = invoke("predict", deployed("language").path, stored(split, tmp_path), "--audio", "mean")
    assert done.exit_code == 1 and "this model observes no audio" in done.output


def test_streams_of_different_lengths_are_refused_where_features_are_joined(deployed):
    with pytest.raises(DataError, match="this model needs aligned streams"):
        deployed("ours", "cross_entropy", **JOINED).exported.predict(make_split(UNALIGNED))


def altered(source: Path, target: Path, **about) -> Path:
    """An exported file that says something else of itself; nothing at all without a word."""
    graph = onnx.load(source)
    text = graph.metadata_props[0].value
    del graph.metadata_props[:]
    if about:
        changed = runtime.msgspec.json.decode(text) | about
        graph.metadata_props.add(key=runtime.KEY, value=runtime.msgspec.json.encode(changed).decode())
    onnx.save(graph, target)
    return target


def test_a_file_that_is_no_exported_model_is_refused_in_words(tmp_path, deployed):
    whole, bad = deployed("language").path, tmp_path / "bad.onnx"
    for content in (b"", b"not a model", whole.read_bytes()[: whole.stat().st_size // 2]):
        bad.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"bad\.onnx (is damaged or no ONNX file|was not exported)"):
            runtime.load(bad)
    with pytest.raises(CheckpointError, match=r"no model at .*none\.onnx"):
        runtime.load(tmp_path / "none.onnx")
    with pytest.raises(CheckpointError, match="was not exported by ktnet-lite"):
        runtime.load(altered(whole, bad))
    for about, message in (
        ({"task": "weather"}, "comes from another version of ktnet-lite, or was altered: Invalid enum value 'weather'"),
        ({"config": {"dim": 8, "colour": "red"}}, "unknown parameter 'colour'"),
        ({"observed": ["language", "audio"]}, "it observes language, audio and takes"),
    ):
        with pytest.raises(CheckpointError, match=message):
            runtime.load(altered(whole, bad, **about))
    done = invoke("predict", bad, "synthetic")
    assert done.exit_code == 1 and "was altered" in done.output and "Traceback" not in done.output


def test_a_missing_package_is_named_with_what_to_install(monkeypatch, deployed):
    path = deployed("language").path
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r'needs onnxruntime .*pip install "ktnet-lite\[deploy\]"'):
        runtime.load(path)


def test_the_threads_are_those_of_the_environment_or_of_the_caller(monkeypatch, deployed):
    path = deployed("language").path
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    for threads, expected in ((None, 3), (1, 1)):
        options = runtime.load(path, threads).session.get_session_options()
        assert options.intra_op_num_threads == expected


def test_an_exported_model_keeps_its_config(deployed):
    one = deployed("language")
    assert one.exported.config == one.config == TrainConfig(**one.exported.about.config)


def test_the_command_exports_what_predict_reads(tmp_path, deployed):
    data, model = stored(make_split(UNALIGNED), tmp_path), saved(deployed("language"), tmp_path)
    done = invoke("export", model, tmp_path / "model.onnx")
    assert done.exit_code == 0, done.output
    assert f"{tmp_path / 'model.onnx'}: " in done.output
    expected, found = (invoke("predict", path, data).output for path in (model, tmp_path / "model.onnx"))
    assert found.splitlines()[0] == expected.splitlines()[0] == "id,score" and len(found.splitlines()) == 5
    done = invoke("export", model, tmp_path / "model.pb")
    assert done.exit_code == 1 and "ends in .onnx" in done.output
