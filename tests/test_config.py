"""Parameters: every mistake is an error with the remedy, and a run is known by the parameters that it uses."""

import dataclasses
import json
import math
from itertools import pairwise
from typing import get_args

import pytest

from ktnet_lite.config import TrainConfig, choices
from ktnet_lite.errors import ConfigError
from ktnet_lite.names import FILLS, MODALITIES, Fill, Model, System, Variant
from ktnet_lite.parameters import preset

FIELDS = {field.name: field for field in dataclasses.fields(TrainConfig)}


@pytest.mark.parametrize(("model", "task_loss"), [("ktnet", "cross_entropy"), ("mult", "l1"), ("raven", "l1")])
def test_the_preset_of_the_paper(model, task_loss):
    """Eq. (5) and 40 epochs of Adam at 1e-3 in three layers; MulT's regression for the baselines."""
    config = TrainConfig(model=model, **preset("paper"))
    assert (config.epochs, config.learning_rate, config.batch_size, config.layers) == (40, 1e-3, 24, 3)
    assert (config.dim, config.heads, config.task_loss, config.consistency) == (40, 8, task_loss, "l2")
    assert (config.patience, config.kernel, config.level, config.pretrain, config.labelled) == (0, 1, "step", 0, 0)


def test_the_defaults_are_smaller_than_the_paper_and_stop_early():
    config = TrainConfig()
    assert {name: getattr(config, name) for name in preset("paper")} == {
        **{"epochs": 40, "patience": 8, "batch_size": 64, "heads": 4, "layers": 1, "kernel": 3, "task_loss": "l1"}
    }


def test_no_such_preset():
    with pytest.raises(ConfigError, match="preset = 'papr' is not one of paper; did you mean 'paper'"):
        preset("papr")


def test_there_and_back():
    config = TrainConfig(variant="full", seed=3, learning_rate=0.5, targets="language, audio", aligned=True, grid=50)
    plain = json.loads(json.dumps(config.as_dict()))
    assert TrainConfig.build(plain) == config
    assert TrainConfig.build({}) == TrainConfig()
    assert set(plain) == set(FIELDS)


def test_a_config_cannot_be_changed_but_replaced():
    config = TrainConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1
    assert dataclasses.replace(config, seed=1).seed == 1
    with pytest.raises(ConfigError, match="seed = -1"):
        dataclasses.replace(config, seed=-1)


@pytest.mark.parametrize("name", ["dataset", "out", "data_from", "teacher"])
def test_a_path_that_is_no_text_is_told_to_be_renamed(name):
    """As Python reads the bytes of a name in another encoding: no notebook can hold it."""
    with pytest.raises(ConfigError, match=rf"{name} = 'lat\\udce9in\.pkl' can be the name of no file; rename the file"):
        TrainConfig.build({name: "lat\udce9in.pkl"})


@pytest.mark.parametrize(
    ("given", "meant"),
    [("epoch", "epochs"), ("lr_rate", "learning_rate"), ("varaint", "variant"), ("lambda_vison", "lambda_vision")],
)
def test_an_unknown_name_is_told_the_nearest(given, meant):
    with pytest.raises(ConfigError, match=f"unknown parameter '{given}'; did you mean '{meant}'") as error:
        TrainConfig.build({given: 1})
    assert all(name in str(error.value) for name in FIELDS)


def test_a_name_like_no_other_is_told_all():
    with pytest.raises(ConfigError, match="unknown parameter 'zzz'; all: dataset, ") as error:
        TrainConfig.build({"zzz": 1})
    assert "did you mean" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", True, "epochs = True is bool, expected int"),
        ("epochs", "40", "epochs = '40' is str, expected int"),
        ("epochs", 40.0, r"epochs = 40\.0 is float, expected int"),
        ("epochs", None, "epochs = None is NoneType, expected int"),
        ("learning_rate", "fast", "learning_rate = 'fast' is str, expected float"),
        ("learning_rate", "nan", "learning_rate = 'nan' is str, expected float"),
        ("learning_rate", " 0.1", "learning_rate = ' 0.1' is str, expected float"),
        ("epochs", "1e3", "epochs = '1e3' is str, expected int"),
        ("learning_rate", False, "learning_rate = False is bool, expected float"),
        ("aligned", 1, "aligned = 1 is int, expected bool"),
        ("aligned", "true", "aligned = 'true' is str, expected bool"),
        ("variant", 3, "variant = 3 is int, expected str"),
        ("targets", ("language",), "targets = .* is tuple, expected str"),
    ],
)
def test_another_type(name, value, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig.build({name: value})


def test_an_int_is_a_float():
    config = TrainConfig(lambda_vision=2)
    assert config.lambda_vision == 2.0 and type(config.lambda_vision) is float


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "+1e-3", "1.e-3", "0.001", ".1e-2"])
def test_a_text_that_is_plainly_a_number_is_a_float(text):
    """YAML 1.1 reads ``1e-3`` as text, since it has no point."""
    assert TrainConfig(learning_rate=text) == TrainConfig()


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("learning_rate", "10**400", "inf"),
        ("learning_rate", "'1e999'", "inf"),
        ("epochs", "10**400", "1000"),
        ("seed", "16**5000", r"\(int that is too large to show\)"),
        ("clips", "-(16**5000)", r"\(int that is too large to show\)"),
    ],
)
def test_a_number_of_any_size_is_an_error_in_words(name, text, shown):
    with pytest.raises(ConfigError, match=rf"{name} = {shown}.* is outside \["):
        TrainConfig(**{name: eval(text)})


def test_a_value_of_any_depth_or_length_is_an_error_in_words():
    nested: list = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(ConfigError, match=r"epochs = \(list that is too large to show\) is list, expected int"):
        TrainConfig(epochs=nested)
    with pytest.raises(ConfigError) as error:
        TrainConfig(epochs="long" * 10**6)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("text", ["data\0.h5", "data\udcff.h5", "a" * 256, "ü/" * 2001, f"data/{'ü' * 128}.h5"])
def test_a_name_that_no_file_can_hold_is_refused(text):
    with pytest.raises(ConfigError, match=r"dataset = .* can be the name of no file; rename the file"):
        TrainConfig(dataset=text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("learning_rate", value) for value in (-1e-9, math.nan, math.inf, -math.inf)],
        *[("clip_norm", value) for value in (0.0, math.inf)],
        *[("lambda_language", value) for value in (-0.1, math.nan)],
        *[("dropout", value) for value in (-0.1, 1.0)],
        *[("redundancy", value) for value in (-0.01, 1.01)],
        *[("epochs", value) for value in (0, -1)],
        *[("seed", value) for value in (-1, 2**32)],
        ("batch_size", 0),
        ("grid", -1),
        ("layers", 0),
    ],
)
def test_out_of_range(name, value):
    with pytest.raises(ConfigError, match=rf"{name} = {value!r} is outside \["):
        TrainConfig(**{name: value})


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.metadata["low"] is not None])
def test_the_ends_of_a_range_are_allowed(name):
    about, kind = FIELDS[name].metadata, type(FIELDS[name].default)
    fitting = {"dim": {"heads": 1}, "heads": {"dim": 2**16}, "unlabelled": {"labelled": 1}}.get(name, {})
    for end in (about["low"], about["high"]):
        if end is not None:
            assert getattr(TrainConfig(**{name: kind(end)}, **fitting), name) == end


@pytest.mark.parametrize("name", [name for name in FIELDS if choices(name)])
def test_choices(name):
    first, *_ = known = choices(name)
    for choice in known:
        config = TrainConfig(**{name: choice})
        assert choice == "auto" or getattr(config, name) == choice
    listed = ", ".join(known)
    with pytest.raises(ConfigError, match=f"{name} = '{first}x' is not one of {listed}; did you mean '{first}'"):
        TrainConfig(**{name: first + "x"})


def test_choices_are_those_of_the_type_after_auto():
    assert choices("model") == get_args(Model)
    assert choices("variant") == ("auto", *get_args(Variant))
    assert choices("device") == ("auto", "cpu", "cuda", "mps")
    assert choices("seed") == choices("dataset") == ()


@pytest.mark.parametrize(
    ("given", "variant", "task_loss", "system"),
    [
        ({}, "ours", "l1", "ours"),
        ({"variant": "full"}, "full", "l1", "full"),
        ({"model": "mult"}, "full", "l1", "mult"),
        ({"task_loss": "auto"}, "ours", "cross_entropy", "ours"),
        ({"task_loss": "auto", "model": "mult"}, "full", "l1", "mult"),
        (
            {"model": "mult", "variant": "language", "task_loss": "cross_entropy"},
            *("language", "cross_entropy"),
            "mult-language",
        ),
    ],
)
def test_what_auto_means_for_each_system(given, variant, task_loss, system):
    config = TrainConfig(**given)
    assert (config.variant, config.task_loss, str(config.system)) == (variant, task_loss, system)
    assert config.system == System(config.model, config.variant)
    assert TrainConfig.build(config.as_dict()) == config
    assert str(dataclasses.replace(config, seed=1).system) == system


def test_a_system_is_named_and_ordered_as_in_tables():
    mult = System("mult", "full")
    assert str(System("ktnet", "full", "zero")) == "full, audio = 0"
    assert str(System("mult", "language", "mean")) == "mult-language, audio = mean"
    rows = [System(model, variant) for model in get_args(Model) for variant in get_args(Variant)]
    assert sorted(rows, key=lambda row: row.order) == rows
    assert System("ktnet", "ours").order < mult.order < System("constant", "full").order
    assert len({str(row._replace(fill=fill)) for row in rows for fill in (None, *FILLS)}) == 4 * len(rows)
    assert set(FILLS) == set(get_args(Fill))


def test_the_variant_ours_is_ktnets():
    with pytest.raises(ConfigError, match="variant 'ours' exists for ktnet only; the variants of 'mult' are full, "):
        TrainConfig(model="mult", variant="ours")


def test_targets():
    assert TrainConfig().target_modalities is None
    assert TrainConfig(targets="audio").target_modalities == ("audio",)
    assert TrainConfig(targets="language, vision").target_modalities == ("language", "vision")
    with pytest.raises(ConfigError, match=r"targets: 'langauge' is not one of .*; did you mean 'language'"):
        TrainConfig(targets="vision,langauge")
    with pytest.raises(ConfigError, match=f"targets: '' is not one of {', '.join(MODALITIES)}; or 'all'"):
        TrainConfig(targets="")
    with pytest.raises(
        ConfigError, match="targets: 'audio' is not a stream of 'language_vision': language, vision; or 'all'"
    ):
        TrainConfig(variant="language_vision", targets="audio")
    with pytest.raises(ConfigError, match="names one twice"):
        TrainConfig(targets="vision,vision")


@pytest.mark.parametrize("model", ["ktnet", "mult"])
def test_heads_divide_the_width(model):
    with pytest.raises(ConfigError, match="dim = 42 is not a multiple of heads = 4"):
        TrainConfig(model=model, dim=42)


def test_heads_divide_the_width_only_where_there_are_heads():
    assert TrainConfig(model="mfm", dim=42).dim == 42


def test_every_parameter_says_what_it_means():
    assert all(field.metadata["about"] for field in FIELDS.values())


OURS, FULL, MULT, MCTN, LINEAR = (
    {"variant": "ours"},
    {"variant": "full"},
    {"model": "mult"},
    {"model": "mctn"},
    {"model": "linear"},
)
ANY, TOKEN, GAUSSIAN = {"variant": "any"}, {"variant": "any", "missing": "token"}, {"transfer": "gaussian"}
FILE, EMOTION = {"dataset": "own.h5"}, {"task": "emotion"}
# Every parameter: another value, a run that uses it, and a run that does not, if there is one.
USES = {
    "dataset": ("own.h5", OURS, None),
    "data_from": ("raw", None, OURS),
    "out": ("elsewhere", None, OURS),
    "model": ("mult", FULL, None),
    "variant": ("vision", FULL, None),
    "seed": (1, LINEAR, None),
    "epochs": (2, MCTN, LINEAR),
    "patience": (2, MCTN, LINEAR),
    "batch_size": (8, MCTN, LINEAR),
    "learning_rate": (0.1, FULL, LINEAR),
    "clip_norm": (0.1, FULL, LINEAR),
    "task_loss": ("cross_entropy", MULT, MULT | EMOTION),
    "treatment": ("joint", OURS, FULL),
    "teacher": ("model.pt", None, OURS),
    "transfer": ("gaussian", ANY, TOKEN),
    "doubt": ("none", GAUSSIAN, OURS),
    "consistency": ("l1", OURS, GAUSSIAN),
    "lambda_vision": (0.5, OURS, FULL),
    "lambda_language": (0.5, OURS, {"variant": "language_vision"}),
    "lambda_audio": (0.5, ANY, OURS),
    "missing": ("token", ANY, OURS),
    "sharing": ("source", ANY, TOKEN),
    "silence": ("observed", TOKEN, OURS),
    "complete": (0.5, TOKEN, OURS),
    "distil": (0.5, ANY, OURS),
    "level": ("clip", OURS, ANY),
    "pretrain": (2, OURS, FULL),
    "unlabelled": (8, OURS | {"pretrain": 1, "labelled": 8}, OURS | {"labelled": 8}),
    "voice": ("other", ANY, TOKEN),
    "dim": (16, MCTN, LINEAR),
    "heads": (8, MULT, MCTN),
    "layers": (2, FULL, MCTN),
    "dropout": (0.5, MCTN, LINEAR),
    "fusion": ("bottleneck", FULL, MULT),
    "causal": (True, FULL, MULT),
    "prefixes": (0.5, MULT, MCTN),
    "targets": ("language", MULT, FULL | {"fusion": "bottleneck"}),
    "concat": ("features", OURS, FULL),
    "pooling": ("last", LINEAR, MCTN),
    "kernel": (5, MULT, LINEAR),
    "labelled": (8, LINEAR, None),
    "grid": (50, LINEAR, None),
    "clips": (24, OURS, FILE),
    "redundancy": (0.5, LINEAR, FILE),
    "audio_noise": (0.1, OURS, FILE),
    "aligned": (True, MULT, FILE),
    "task": ("emotion", OURS, FILE),
    "trials": (12, None, OURS),
    "device": ("cpu", None, FULL),
    "log": ("mlflow", None, FULL),
    "precision": ("bf16", FULL, None),
    "compile": (True, FULL, None),
}


def test_a_run_is_known_by_the_parameters_that_it_uses():
    assert USES.keys() == FIELDS.keys()
    for name, (value, using, other) in USES.items():
        if using is not None:
            before, after = TrainConfig(**using), TrainConfig(**using | {name: value})
            assert before.key != after.key, f"{using} uses {name}"
            changed = {n for n in FIELDS if before.identity.get(n) != after.identity.get(n)}
            assert name in changed and json.loads(after.key) == after.identity
        if other is not None:
            assert TrainConfig(**other).key == TrainConfig(**other | {name: value}).key, f"{other} does not use {name}"


def test_settings_are_what_a_runs_name_does_not_show():
    assert TrainConfig().settings == TrainConfig(model="mult", variant="language", seed=3).settings == {}
    config = TrainConfig(variant="full", dim=16, lambda_vision=0.5, out="elsewhere", task_loss="cross_entropy")
    assert config.settings == {"dim": 16, "task_loss": "cross_entropy"}
    assert TrainConfig(dataset="own.h5", clips=24).settings == {}


def test_who_needs_a_teacher():
    assert TrainConfig().needs_teacher
    assert TrainConfig(treatment="view").needs_teacher
    assert TrainConfig(treatment="random", voice="none").needs_teacher, "it predicts what a full model encodes"
    others = {"teacher": "model.pt"}, {"treatment": "joint"}, {"variant": "full"}, {"model": "mult"}
    others += {"treatment": "descriptors"}, {"treatment": "descriptors", "voice": "other"}
    assert not any(TrainConfig(**other).needs_teacher for other in others)


@pytest.mark.parametrize("task", ["sentiment", "emotion"])
def test_a_teacher_is_the_full_model_that_would_be_trained_directly(task):
    shared = {
        **{"seed": 3, "epochs": 2, "batch_size": 8, "learning_rate": 0.1, "clip_norm": 0.1, "task_loss": "l1"},
        **{"dim": 16, "heads": 4, "layers": 2, "dropout": 0.5, "pooling": "last", "grid": 50, "clips": 24},
        **{"patience": 3, "kernel": 5, "labelled": 12},
        **{"redundancy": 0.5, "audio_noise": 0.1, "aligned": True, "task": task, "precision": "bf16", "compile": True},
    }
    own = {"consistency": "l1", "lambda_vision": 0.5, "lambda_language": 0.5, "concat": "features"}
    own |= {"level": "clip", "pretrain": 2, "unlabelled": 6, "voice": "other"}
    student = TrainConfig(**shared, **own, targets="language", out="elsewhere", device="cpu", data_from="raw")
    teacher = student.taught_by
    assert teacher.identity == TrainConfig(variant="full", **shared).identity
    assert (teacher.out, teacher.device, teacher.data_from) == ("elsewhere", "cpu", "raw"), (
        "it runs where its student does"
    )
    assert {FIELDS[name].default for name in own} == {getattr(teacher, name) for name in own}
    assert teacher.targets == "all" and teacher.teacher == ""


def test_students_that_differ_in_their_own_parameters_share_a_teacher():
    students = [
        TrainConfig(),
        TrainConfig(lambda_vision=0.1),
        TrainConfig(targets="language"),
        TrainConfig(concat="features"),
        TrainConfig(pretrain=3),
        TrainConfig(treatment="view"),
        TrainConfig(voice="none"),
    ]
    for one, other in pairwise(students):
        assert one.key != other.key and one.taught_by == other.taught_by
    for shared in ({"dim": 16}, {"kernel": 5}, {"labelled": 8}, {"patience": 2}):
        assert TrainConfig(**shared).taught_by.key != TrainConfig().taught_by.key


def test_the_temporal_projection_has_a_middle_step():
    with pytest.raises(ConfigError, match="kernel = 4 has no middle step; give an odd number"):
        TrainConfig(kernel=4)


def test_clips_without_labels_are_those_beyond_the_labelled_ones():
    with pytest.raises(ConfigError, match="unlabelled = 5, but labelled = 0 uses every label; set both"):
        TrainConfig(pretrain=1, unlabelled=5)
    assert TrainConfig(pretrain=1, labelled=3, unlabelled=5).unlabelled == 5
