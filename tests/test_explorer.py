"""The explorer's files say what torch says, in Python and in a browser; its page reacts, and says what is so."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from chromium import serve
from ktbook import explorer_page
from ktnet_lite import __version__
from ktnet_lite.config import TrainConfig
from ktnet_lite.data import synthetic
from ktnet_lite.data.batching import Padded
from ktnet_lite.deploy.runtime import load
from ktnet_lite.measures.calibration import WIDEST, interval
from ktnet_lite.model.encoder import ModalityEncoder
from ktnet_lite.model.losses import predictions
from ktnet_lite.names import LEVELS, MODALITIES, VARIANTS
from ktnet_lite.training.build import build_model
from ktnet_lite.training.evaluation import fill_in
from small import DIMS, SIZE, make_model, shaken, untraced

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
STATIC = BOOK / "static" / "explorer"
RUNTIME = BOOK / "static" / "vendor" / "onnxruntime"

pytest.importorskip("onnx", reason="pip install onnx onnxruntime onnxscript")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
pytest.importorskip("onnxscript", reason="pip install onnxscript")
pytest.importorskip("torch", minversion="2.6", reason="the exporter is that of torch 2.6 and newer")

import make  # noqa: E402
from onnx_files import Consistency, Predictor, export  # noqa: E402

PAGE = (BOOK / "explorer.md").read_text(encoding="utf-8")
DATA = json.loads((STATIC / "clips.json").read_text(encoding="utf-8"))
CLIPS = {clip["id"]: clip for clip in DATA["clips"]}
REFERENCE = json.loads(make.REFERENCE.read_text(encoding="utf-8"))
HALF_WIDTHS = explorer_page.half_widths()
TOLERANCE = 1e-4


class Session:
    """An ONNX file that is called as the module that it was made from."""

    def __init__(self, path: Path):
        self.session = onnxruntime.InferenceSession(path)
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.outputs = [value.name for value in self.session.get_outputs()]

    def __call__(self, *tensors: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        given = {name: tensor.numpy() for name, tensor in zip(self.inputs, tensors, strict=True)}
        found = [torch.from_numpy(np.asarray(value)) for value in self.session.run(None, given)]
        return found if len(found) > 1 else found[0]


@pytest.fixture(scope="module")
def sessions() -> dict[str, Session]:
    return {name: Session(STATIC / f"{name}.onnx") for name in (*make.VARIANTS, "consistency")}


def numbers(found: dict) -> dict[str, float]:
    """Of one state, under the names of the reference."""
    values = {name: value.item() for name, value in found["consistency"].items()}
    return values | {variant: found[variant]["score"].item() for variant in make.VARIANTS}


def state(clip: str, dropped: tuple[str, ...] = (), **noise: float) -> dict[str, float]:
    """What torch said of one state."""
    (entry,) = (
        entry
        for entry in REFERENCE
        if (entry["clip"], tuple(entry["dropped"]), entry["noise"]) == (clip, dropped, noise)
    )
    return entry["numbers"]


def r2(numbers: dict[str, float], source: str) -> float:
    return 1 - numbers[f"{source}_error"] / numbers[f"{source}_mean_error"]


# The exporter.


@pytest.mark.slow
def test_an_exported_model_says_what_torch_says_for_any_lengths(tmp_path):
    module = Predictor(make_model("ours", "l1", layers=1)).eval()  # what other variants compute is a part of it
    with untraced():
        export(module, DIMS, tmp_path / "model.onnx")
    session = Session(tmp_path / "model.onnx")
    assert tuple(session.inputs) == module.inputs
    assert tuple(session.outputs) == module.outputs
    generator = torch.Generator().manual_seed(0)
    for steps in ((3, 4, 5), (9, 2, 30)):
        streams = [
            torch.randn(1, n, DIMS[name], generator=generator) for n, name in zip(steps, module.inputs, strict=False)
        ]
        with torch.no_grad():
            expected = module(*streams)
            plain = module.model({name: Padded(x) for name, x in zip(module.inputs, streams, strict=True)})
        torch.testing.assert_close(expected[0], predictions(plain.logits, "l1"))
        for found, value in zip(session(*streams), expected, strict=True):
            torch.testing.assert_close(found, value, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_exported_consistency_is_eq_1_and_its_yardstick(tmp_path):
    torch.manual_seed(0)
    encoder = shaken(ModalityEncoder(DIMS["audio"], **SIZE | {"layers": 1}))
    mean = torch.randn(SIZE["dim"])
    widths = {"audio": DIMS["audio"], "language_rebuilt": SIZE["dim"], "vision_rebuilt": SIZE["dim"]}
    export(Consistency(encoder, mean), widths, tmp_path / "consistency.onnx")
    session = Session(tmp_path / "consistency.onnx")
    audio, language, vision = (torch.randn(1, 7, widths[name]) for name in session.inputs)
    with torch.no_grad():
        target = encoder(Padded(audio)).values  # of equal lengths, so that Eq. (1) needs no resampling
    expected = [(guess - target).square().mean() for guess in (language, vision, mean, mean)]
    torch.testing.assert_close(torch.stack(session(audio, language, vision)), torch.stack(expected))
    assert session(audio, target, vision)[0].item() < 1e-10


def test_exported_files_tell_nothing_of_the_machine_that_made_them():
    for path in STATIC.glob("*.onnx"):
        content = path.read_bytes()
        assert b".py" not in content
        assert str(ROOT).encode() not in content


@pytest.mark.slow
def test_making_writes_everything_that_the_page_and_these_tests_read(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "PARAMETERS", make.PARAMETERS | {"clips": 40, "epochs": 1})
    for name, path in (("STATIC", STATIC), ("REFERENCE", make.REFERENCE), ("PICTURE", make.PICTURE)):
        monkeypatch.setattr(make, name, tmp_path / path.name)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(make, "export", lambda module, widths, path: path.write_bytes(b""))
    monkeypatch.setattr(make, "export_any", lambda model, config, path, validated: path.write_bytes(b""))
    make.main.callback()
    written, shipped = ({path.name for path in folder.iterdir()} for folder in (tmp_path / STATIC.name, STATIC))
    assert written == {name for name in shipped if name.endswith((".json", ".onnx"))}
    assert (tmp_path / make.PICTURE.name).stat().st_size > 10_000
    about, before = (
        json.loads((folder / "models.json").read_text("utf-8")) for folder in (tmp_path / STATIC.name, STATIC)
    )
    assert about.keys() == before.keys() and about["mae"].keys() == before["mae"].keys()
    assert {name: found.keys() for name, found in about["coverage"].items()} == {
        name: found.keys() for name, found in before["coverage"].items()
    }
    assert about["weights"] == before["weights"] and about["mae"]["full"] != about["mae"]["full, silenced"]
    reference = json.loads((tmp_path / make.REFERENCE.name).read_text(encoding="utf-8"))
    assert [entry["numbers"].keys() for entry in reference] == [entry["numbers"].keys() for entry in REFERENCE]


# The files that the page loads.


@pytest.mark.slow
def test_the_shipped_models_say_what_torch_said_in_every_state(sessions):
    assert {entry["clip"] for entry in REFERENCE} == set(CLIPS)
    assert len(REFERENCE) == len(CLIPS) * len(make.settings())
    for entry in REFERENCE:
        found = make.explore(sessions, CLIPS[entry["clip"]], DATA, entry)
        expected = dict(entry["numbers"])
        assert found["ours"][make.PAIR].max().item() == pytest.approx(expected.pop("attention"), abs=TOLERANCE)
        assert numbers(found) == pytest.approx(expected, abs=TOLERANCE)


def test_the_file_of_a_model_that_hears_no_voice_has_no_input_for_it(sessions):
    assert set(sessions["full"].inputs) == set(MODALITIES)
    assert set(sessions["ours"].inputs) == set(sessions["language_vision"].inputs) == {"language", "vision"}


def test_the_file_of_any_is_that_of_the_command_and_holds_the_half_widths_of_the_page():
    model = load(STATIC / "any.onnx")
    assert model.any_subset and model.about.observed == MODALITIES
    level = LEVELS.index(make.LEVEL)
    kept = {subset: widths[level] for subset, widths in model.about.half_widths.items()}
    assert kept == pytest.approx(HALF_WIDTHS["any"], abs=1e-4)
    assert len(kept) == 7


def test_a_dropped_stream_is_one_step_with_a_false_mask_for_any():
    streams = make.disturbed(DATA["clips"][0], DATA, {"dropped": ["vision"], "noise": {}})
    masks = dict(zip(MODALITIES, make.masked(streams, ["vision"])[1::2], strict=True))
    assert masks["vision"].tolist() == [[False]]
    assert masks["language"].all() and masks["audio"].all()
    assert masks["audio"].shape == streams["audio"].shape[:2]


def test_intervals_are_wider_where_more_is_missing_and_cover_about_what_they_promise():
    widths = HALF_WIDTHS["any"]
    everything = "_".join(MODALITIES)
    for subset, width in widths.items():
        assert subset == everything or width > widths[everything]
    assert all(widths["language"] > width for subset, width in widths.items() if {"language"} < {*subset.split("_")})
    assert max(widths[name] for name in ("audio", "language_audio", "vision_audio")) < widths["language_vision"]
    for found in explorer_page.models()["coverage"].values():
        assert list(found.values()) == pytest.approx([make.LEVEL] * len(found), abs=0.05)  # 500 validation clips


def test_a_dropped_voice_is_what_the_package_puts_for_silence():
    clip = DATA["clips"][0]
    model = make_model("full", "l1")
    model.inputs["audio"].mean = torch.tensor(DATA["mean"]["audio"])
    found = make.disturbed(clip, DATA, {"dropped": ["audio"], "noise": {}})
    rest = {name: Padded(found[name]) for name in ("language", "vision")}
    filled = fill_in(model, rest, {"audio": torch.ones(1, dtype=torch.bool)}, "mean")
    torch.testing.assert_close(found["audio"], filled["audio"].values)


def test_clips_lie_at_even_ranks_of_the_true_score_from_the_lowest_to_the_highest():
    scores = [clip["score"] for clip in DATA["clips"]]
    assert len(scores) == make.CLIPS
    assert scores == sorted(scores)
    assert (scores[0], scores[-1]) == (-3, 3)


def test_what_the_page_says_of_its_models_is_theirs():
    about = explorer_page.models()
    assert about["versions"]["ktnet-lite"] == __version__, "run: make explorer"
    assert about["parameters"] == make.PARAMETERS
    for variant, weights in about["weights"].items():
        model = build_model(TrainConfig(**make.PARAMETERS, variant=variant), "sentiment", synthetic.DIMS)
        assert sum(parameter.numel() for parameter in model.parameters()) == weights
    assert about["data"]["clips"]["train"] == make.PARAMETERS["clips"]
    table = explorer_page.table(about)
    assert f"{about['mae']['ours']:.2f}" in table and f"PyTorch {about['versions']['torch']}" in table
    assert about["picture"] in explorer_page.picture(about)
    rows = explorer_page.intervals(about).splitlines()
    assert len(rows) == 2 + 3 + 7
    assert f"{HALF_WIDTHS['any']['vision']:.2f}" in next(row for row in rows if re.search(r"\| face +\|", row))


def test_the_runtime_is_that_of_the_npm_package():
    packed = (RUNTIME / "ort-wasm-simd-threaded.wasm.gz").read_bytes()
    readme = (RUNTIME / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(gzip.decompress(packed)).hexdigest() in readme
    version = re.search(rb"ONNX Runtime Web v([\d.]+)", (RUNTIME / "ort.wasm.bundle.min.mjs").read_bytes())[1].decode()
    assert f"# ONNX Runtime Web {version}\n" in readme


# What the page tells its reader to try, and to see.


def test_without_the_voice_full_loses_all_of_the_last_score_and_a_third_of_the_first_and_the_others_stay():
    first, last = ((state(clip["id"]), state(clip["id"], ("audio",))) for clip in (DATA["clips"][0], DATA["clips"][-1]))
    assert first[1]["full"] / first[0]["full"] == pytest.approx(2 / 3, abs=0.05)
    assert last[0]["full"] > 2 and abs(last[1]["full"]) < 0.15
    for before, after in (first, last):
        assert all(before[name] == after[name] for name in ("ours", "language_vision"))
    mae = explorer_page.models()["mae"]
    assert mae["full"] < min(mae["ours"], mae["language_vision"])
    assert max(mae["ours"], mae["language_vision"]) < mae["any, voice missing"] < mae["full, silenced"] < mae["median"]
    assert abs(mae["any"] - mae["full"]) < 0.02


def test_laughter_lifts_full_and_any_on_every_clip_and_does_not_move_ours(sessions):
    for name, clip in CLIPS.items():
        levels = [
            numbers(make.explore(sessions, clip, DATA, {"dropped": [], "noise": {"audio": strength}}))
            for strength in (0, 1, 2, 3)
        ]
        scores = [level["full"] for level in levels]
        assert scores == sorted(scores) and scores[-1] > scores[0] + 0.3, name
        assert levels[-1]["any"] > levels[0]["any"] + 0.1, name
        assert all(level["ours"] == levels[0]["ours"] for level in levels)
        unheard = make.explore(sessions, clip, DATA, {"dropped": ["audio"], "noise": {"audio": 3}})["any"][
            "score"
        ].item()
        assert unheard == pytest.approx(state(name, ("audio",))["any"], abs=TOLERANCE)
        for source in ("language", "vision"):
            assert np.ptp([level[f"{source}_error"] for level in levels]) > 0.005


def test_without_the_face_its_reconstruction_is_no_better_than_the_mean_and_that_of_the_words_stays():
    for clip in CLIPS:
        before, after = state(clip), state(clip, ("vision",))
        assert r2(after, "vision") < 0.05
        assert after["language_error"] == before["language_error"]


def test_from_silence_alone_full_says_about_minus_one_whatever_the_clip():
    scores = [state(clip, tuple(MODALITIES))["full"] for clip in CLIPS]
    assert scores == pytest.approx([-1] * len(scores), abs=0.15)


def test_from_nothing_any_says_the_same_of_every_clip():
    scores = [state(clip, tuple(MODALITIES))["any"] for clip in CLIPS]
    assert scores == pytest.approx([-0.4] * len(scores), abs=0.05)
    assert np.ptp(scores) < TOLERANCE


def test_two_words_with_a_feeling_stand_out_in_the_map_of_the_first_clip_until_noise_covers_them(sessions):
    clip = DATA["clips"][0]
    plain, noisy = (
        make.explore(sessions, clip, DATA, {"dropped": [], "noise": {"language": strength}})["ours"][make.PAIR][0]
        .mean(0)
        .argsort(descending=True)[:3]
        .tolist()
        for strength in (0, 1.5)
    )
    assert {clip["words"][step] for step in plain[:2]} == {"dreadful", "horrible"}
    assert clip["words"].index("bad") not in plain
    assert min(plain[2], *noisy) >= len(clip["words"])  # steps from the face


# The page in a browser.


@pytest.fixture(scope="module")
def harness(tmp_path_factory) -> Path:
    """The page's own HTML among its files, without the theme and the prose around it."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(STATIC, folder / "_static" / "explorer")
    shutil.copytree(RUNTIME, folder / "_static" / "vendor" / "onnxruntime")
    shutil.copytree(BOOK / "images", folder / "_images")
    widget = PAGE[PAGE.index("<link rel") : PAGE.index("A stream that is not *there*")]
    widget, included = re.subn(r"```.*?```", '<img src="../_images/explorer.svg" alt="">', widget, flags=re.DOTALL)
    assert included == 1
    (folder / "book").mkdir()
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,"><title>Explorer</title>'
    (folder / "book" / "explorer.html").write_text(head + widget, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def address(harness) -> Iterator[str]:
    with serve(harness) as address:
        yield address


@pytest.fixture(scope="module")
def page(browser, address):
    """The page with its models started; at the end, nothing was wrong and nothing came from elsewhere."""
    page = browser.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/book/explorer.html", wait_until="networkidle")
    assert not re.search("vendor|onnx|json", " ".join(asked)), "models are loaded before the reader asks for them"
    page.get_by_role("button", name="Start the models").click()
    settled(page)
    yield page
    assert said == []
    assert [url for url in asked if not url.startswith((address, "data:"))] == []


def settled(page) -> None:
    page.wait_for_selector("#explorer-widget form[aria-busy=false]:not([hidden])", timeout=120_000)


def set_controls(page, clip: str, dropped: list[str], noise: dict[str, float]) -> None:
    page.get_by_role("combobox", name="Clip").select_option(str(list(CLIPS).index(clip)))
    for name in MODALITIES:
        page.locator(f"input[name={name}]").set_checked(name not in dropped)
        page.locator(f"input[name={name}-noise]").fill(str(noise.get(name, 0)))
    settled(page)


def shown(page) -> dict[str, float]:
    """The numbers on the page, as precise as it has them."""
    values = {variant: f"[data-model={variant}]" for variant in make.VARIANTS}
    values |= {f"{source}_error": f"[data-source={source}]" for source in ("language", "vision")}
    values |= {"attention": ".peak"}
    return {name: float(page.locator(f"{row} data").get_attribute("value")) for name, row in values.items()}


def test_the_page_shows_what_torch_said_in_every_state(page):
    for entry in REFERENCE:
        set_controls(page, entry["clip"], entry["dropped"], entry["noise"])
        found = shown(page)
        assert found == pytest.approx({name: entry["numbers"][name] for name in found}, abs=TOLERANCE), entry


def test_the_page_shows_an_interval_for_each_subset_and_the_whole_scale_where_none_was_validated(page):
    clip = next(iter(CLIPS))
    for setting in make.settings()[:8]:
        set_controls(page, clip, setting["dropped"], {})
        scores = shown(page)
        for model in make.VARIANTS:
            subset = "_".join(name for name in VARIANTS[model] if name not in setting["dropped"])
            ends = interval(np.array(scores[model]), HALF_WIDTHS[model].get(subset, WIDEST))
            row = page.locator(f"[data-model={model}]")
            assert row.locator(".ends").text_content() == "{:.2f} to {:.2f}".format(*ends).replace("-", "\u2212")
            band, line = row.locator(".band").bounding_box(), row.locator(".line").bounding_box()
            drawn = [7 * (x - line["x"]) / line["width"] - 3.5 for x in (band["x"], band["x"] + band["width"])]
            assert drawn == pytest.approx(ends, abs=0.05)
    assert subset == "" and row.locator(".ends").text_content() == "\u22123.00 to 3.00"


def test_the_page_says_how_long_each_model_took(page):
    set_controls(page, next(iter(CLIPS)), [], {})
    for model in make.VARIANTS:
        assert re.fullmatch(r"(< 1|\d+) ms", page.locator(f"[data-model={model}] .time").text_content())


def test_laughter_on_the_page_moves_full_and_the_errors_and_nothing_of_ours(page):
    clip = next(iter(CLIPS))
    set_controls(page, clip, [], {})
    before, drawn = shown(page), page.locator("svg").inner_html()
    page.locator("input[name=audio-noise]").press("ArrowRight")
    settled(page)
    after = shown(page)
    assert page.locator("[data-shown=audio]").text_content() == "0.25"
    assert {name for name in before if before[name] != after[name]} == {"full", "any", "language_error", "vision_error"}
    assert page.locator("svg").inner_html() == drawn
    page.get_by_role("combobox", name="Attention map").select_option("full/audio_to_language")
    settled(page)
    heard = page.locator("svg").inner_html()
    page.locator("input[name=audio-noise]").press("ArrowRight")
    settled(page)
    assert page.locator("svg").inner_html() != heard


def test_every_map_has_a_cell_for_each_pair_of_steps_and_says_in_words_where_each_looks(page):
    clip = next(iter(CLIPS.values()))
    set_controls(page, clip["id"], [], {})
    maps = page.locator("select[name=map] option").evaluate_all("options => options.map(option => option.value)")
    assert len(maps) == 6 + 6 + 2
    for value in maps:
        model, pair = value.split("/")
        page.get_by_role("combobox", name="Attention map").select_option(value)
        settled(page)
        steps = {name: len(clip[name]) for name in MODALITIES}
        if model == "ours":
            steps["audio"] = steps["language"] + steps["vision"]
        source, target = (steps[stream] for stream in pair.split("_to_"))
        assert page.locator("svg rect").count() == source * target
        assert len(page.locator("svg").get_attribute("aria-label").split(";")) == target


def test_back_to_the_first_state_undoes_every_control(page):
    set_controls(page, next(iter(CLIPS)), [], {})
    page.get_by_role("combobox", name="Attention map").select_option("ours/audio_to_language")
    settled(page)
    first = shown(page)
    set_controls(page, list(CLIPS)[4], ["vision"], {"audio": 2, "language": 1})
    page.get_by_role("combobox", name="Attention map").select_option("full/audio_to_vision")
    settled(page)
    assert shown(page) != first
    page.get_by_role("button", name="Back to the first state").click()
    settled(page)
    assert shown(page) == first


def test_changes_that_come_faster_than_the_models_end_in_the_last_one(page):
    clip = list(CLIPS)[1]
    set_controls(page, clip, [], {})
    page.evaluate(
        """() => {
            const slider = document.querySelector("[name=audio-noise]");
            for (const value of [3, 0.5, 2, 1.5]) {
                slider.value = value;
                slider.dispatchEvent(new Event("input", { bubbles: true }));
            }
        }"""
    )
    settled(page)
    assert shown(page)["full"] == pytest.approx(state(clip, audio=1.5)["full"], abs=TOLERANCE)


def test_what_is_shown_is_also_said(page):
    clip = next(iter(CLIPS))
    set_controls(page, clip, ["audio"], {})
    said = page.get_by_role("status").text_content()
    assert page.get_by_text("The models need JavaScript").is_hidden()
    for variant in make.VARIANTS:
        assert f"{variant} {shown(page)[variant]:.2f}".replace("-", "\u2212") in said


def test_without_javascript_the_picture_stands_there_and_no_control_that_does_nothing(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/book/explorer.html")
    assert page.locator("img").is_visible()
    assert page.get_by_text("The models need JavaScript").is_visible()
    assert page.locator("button:visible, select:visible, input:visible").count() == 0
    context.close()


def test_a_file_that_does_not_come_leaves_the_picture_and_says_why(browser, address):
    page = browser.new_page()
    page.route("**/ours.onnx", lambda route: route.fulfill(status=404))
    page.goto(f"{address}/book/explorer.html")
    page.get_by_role("button", name="Start the models").click()
    page.get_by_text("ours.onnx: 404").wait_for()
    assert page.locator("img").is_visible()
    assert page.get_by_role("button", name="Start the models").is_enabled()
    page.close()
