"""An exported model predicts what torch predicts: every system, all lengths and subsets, here and in Chromium."""

import json
import shutil
from typing import get_args

import numpy as np
import onnx
import pytest
import torch

from chromium import serve
from deployed import BOTH, JOINED, VALID, batches, feed, made
from ktnet_lite import __version__
from ktnet_lite.config import TrainConfig
from ktnet_lite.data.batching import Padded
from ktnet_lite.deploy.dense import Predictor
from ktnet_lite.deploy.export import export
from ktnet_lite.deploy.runtime import KEY
from ktnet_lite.errors import CheckpointError, ConfigError
from ktnet_lite.model.losses import predictions
from ktnet_lite.names import VARIANTS, Fusion
from small import DIMS
from test_explorer import RUNTIME

TOLERANCE = 1e-4
EVERY = [  # every variant, and among them every loss, pooling, kernel, and choice of targets
    ("full", "cross_entropy", {"kernel": 3}),
    ("vision", "emotion", {}),
    ("language", "l1", {}),
    ("language_vision", "l1", {"pooling": "last", "targets": ("language",)}),
    ("ours", "l1", {}),
    ("ours", "cross_entropy", JOINED),
    ("audio", "l1", {"kernel": 3, "pooling": "last"}),
    ("language_audio", "emotion", {}),
    ("vision_audio", "cross_entropy", {}),
    ("any", "l1", BOTH),
    ("any", "emotion", {"missing": "token", "fusion": "bottleneck"}),
    ("mult", "l1", {}),
    ("linear", "l1", {}),
]
NAMES = ["-".join([system, loss, *map(str, options.values())]) for system, loss, options in EVERY]
ANY = [
    {"missing": missing, "sharing": sharing, **more}
    for missing in ("reconstruction", "token", "both")
    for sharing in ("none", "source")
    for more in ({}, {"pooling": "last", "targets": ("audio", "language"), "kernel": 3})
] + [
    {"transfer": "gaussian", "doubt": doubt, "fusion": fusion}
    for doubt in ("bias", "none")
    for fusion in get_args(Fusion)
]


def expected(model, streams: dict[str, Padded]) -> np.ndarray:
    with torch.no_grad():
        return predictions(model(streams).logits, model.loss).numpy()


def test_every_variant_is_among_those_that_are_exported():
    assert {system for system, _, _ in EVERY} == {*VARIANTS, "mult", "linear"}


@pytest.mark.parametrize("options", ANY, ids=lambda options: "-".join(map(str, options.values())))
def test_the_dense_form_of_any_predicts_what_the_model_does(options):
    """The form that is exported, in torch, for 200 clips of all lengths and subsets."""
    model = made("any", "cross_entropy", **options)
    dense, seen = Predictor(model), set()
    for streams in batches(model.observed, missing=True):
        parts = [part for name in model.observed for part in streams[name][:2]]
        np.testing.assert_allclose(dense(*parts), expected(model, streams), rtol=0, atol=1e-5)
        seen |= set(zip(*(streams[name].present.tolist() for name in model.observed), strict=True))
    assert len(seen) == 8  # no modality at all is among them


@pytest.mark.parametrize(("system", "loss", "options"), EVERY, ids=NAMES)
@pytest.mark.slow
def test_an_exported_model_predicts_what_torch_does(system, loss, options, deployed):
    """Also with NaN at every step that is not valid, and bit by bit the same."""
    model, _, path = made_and_exported = deployed(system, loss, **options)
    found = made_and_exported.exported
    for streams in batches(model.observed, missing=system == "any", aligned=options == JOINED):
        scores = found.run(feed(streams))
        np.testing.assert_allclose(scores, expected(model, streams), rtol=0, atol=TOLERANCE)
        np.testing.assert_array_equal(found.run(feed(streams, np.nan)), scores)
    assert path.stat().st_size < 1e6


@pytest.mark.parametrize("system", ["ours", "language_vision"])
@pytest.mark.slow
def test_a_clip_without_a_valid_step_is_one_step_of_zeros_where_a_modality_cannot_be_missing(system, deployed):
    options = {} if system == "ours" else {"pooling": "last", "targets": ("language",)}
    model, _, _ = one = deployed(system, "l1", **options)
    (streams, *_) = batches(model.observed, missing=False)
    zeros = streams | {"vision": Padded(torch.zeros_like(streams["vision"].values[:, :1]))}
    gone = streams | {"vision": streams["vision"]._replace(mask=torch.zeros_like(streams["vision"].mask))}
    np.testing.assert_allclose(one.exported.run(feed(gone, np.nan)), expected(model, zeros), rtol=0, atol=TOLERANCE)


@pytest.mark.slow
def test_a_file_says_what_it_is_and_nothing_of_the_machine_that_made_it(tmp_path, deployed):
    model, config, path = deployed("any", "l1", **BOTH)
    graph = onnx.load(path)
    about = json.loads({part.key: part.value for part in graph.metadata_props}[KEY])
    assert about["version"] == __version__ and about["task"] == "sentiment" and about["precision"] == "float32"
    assert TrainConfig(**about["config"]) == config
    assert about["observed"] == list(DIMS) and about["dims"] == DIMS
    assert (about["valid"], about["half_widths"]) == VALID
    assert about["inputs"]["audio"]["mean"] == model.inputs["audio"].mean.tolist()
    assert about["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert graph.opset_import[0].version == 18
    content = path.read_bytes()
    assert b".py" not in content and b"/home" not in content and str(tmp_path.parent).encode() not in content


@pytest.mark.slow
def test_the_same_model_gives_the_same_bytes_without_the_paths_of_its_training(tmp_path, deployed):
    model, config, path = deployed("language")
    elsewhere = TrainConfig(**config.as_dict() | {"out": "/secret/runs", "data_from": "/secret/data", "trials": 3})
    export(model, elsewhere, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_what_cannot_be_exported_is_named(tmp_path, deployed):
    for name in ("rmfn", "mfm", "constant"):
        with pytest.raises(ConfigError, match=f"{name}.* cannot be exported; these can: ktnet in every variant, mult"):
            export(made_baseline(name), TrainConfig(model=name), tmp_path / "a.onnx")
    (tmp_path / "a.onnx").mkdir()
    with pytest.raises(CheckpointError, match="there is a folder of this name"):
        export(*deployed("language")[:2], tmp_path / "a.onnx")


def made_baseline(name: str):
    from ktnet_lite.training.build import build_model

    return build_model(TrainConfig(model=name, dim=8), "sentiment", DIMS)


# In a browser.

START = """async () => {
  const ort = await import("/onnxruntime/ort.wasm.bundle.min.mjs");
  ort.env.wasm.numThreads = 1;
  const zipped = await fetch("/onnxruntime/ort-wasm-simd-threaded.wasm.gz");
  ort.env.wasm.wasmBinary = await new Response(zipped.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  window.ort = ort;
}"""
PREDICT = """async ([model, batches]) => {
  const session = await ort.InferenceSession.create(await (await fetch(model, { cache: "no-store" })).arrayBuffer());
  const scores = [];
  for (const batch of batches) {
    const feeds = {};
    for (const [name, { type, values, shape }] of Object.entries(batch)) {
      const data = type === "bool" ? Uint8Array.from(values) : Float32Array.from(values);
      feeds[name] = new ort.Tensor(type, data, shape);
    }
    scores.push(Array.from((await session.run(feeds))[session.outputNames[0]].data));
  }
  return scores;
}"""


@pytest.fixture(scope="module")
def runtime_page(browser, tmp_path_factory):
    """A page that has loaded the runtime, and the folder from which it is served."""
    folder = tmp_path_factory.mktemp("web")
    shutil.copytree(RUNTIME, folder / "onnxruntime")
    (folder / "index.html").write_text("<!doctype html><title>Model</title>", encoding="utf-8")
    with serve(folder) as address:
        page = browser.new_page()
        page.goto(f"{address}/index.html")
        page.evaluate(START)
        yield page, folder
        page.close()


@pytest.mark.parametrize(("system", "loss", "options"), EVERY, ids=NAMES)
@pytest.mark.slow
def test_an_exported_model_predicts_the_same_in_chromium(system, loss, options, runtime_page, deployed):
    model, _, path = deployed(system, loss, **options)
    page, folder = runtime_page
    shutil.copy(path, folder / "model.onnx")
    given = list(batches(model.observed, missing=system == "any", aligned=options == JOINED))
    found = page.evaluate(PREDICT, ["/model.onnx", [_plain(feed(streams)) for streams in given]])
    for scores, streams in zip(found, given, strict=True):
        predicted = expected(model, streams)
        np.testing.assert_allclose(np.reshape(scores, predicted.shape), predicted, rtol=0, atol=TOLERANCE)


def _plain(given: dict[str, np.ndarray]) -> dict[str, dict]:
    kinds = {"float32": "float32", "bool": "bool"}
    return {
        name: {"type": kinds[array.dtype.name], "values": array.ravel().tolist(), "shape": list(array.shape)}
        for name, array in given.items()
    }
