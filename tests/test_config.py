"""Parameters: every mistake is an error that says what is right."""

import dataclasses
import json
import math

import pytest

from ktnet_lite.config import TrainConfig
from ktnet_lite.errors import ConfigError
from ktnet_lite.names import MODALITIES

FIELDS = {field.name: field for field in dataclasses.fields(TrainConfig)}


def test_the_papers_defaults():
    config = TrainConfig()
    assert (config.epochs, config.learning_rate, config.batch_size, config.layers) == (40, 1e-3, 24, 3)
    assert (config.dim, config.heads, config.task_loss, config.consistency) == (40, 8, "cross_entropy", "l2")


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
        ("learning_rate", "0.1", "learning_rate = '0.1' is str, expected float"),
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
    heads = {"heads": 1} if name == "dim" else {}
    for end in (about["low"], about["high"]):
        if end is not None:
            assert getattr(TrainConfig(**{name: kind(end)}, **heads), name) == end


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.metadata["choices"]])
def test_choices(name):
    choices = FIELDS[name].metadata["choices"]
    for choice in choices:
        assert choice == "auto" or getattr(TrainConfig(**{name: choice}), name) == choice
    listed = ", ".join(choices)
    with pytest.raises(ConfigError, match=f"{name} = '{choices[0]}x' is none of {listed}; did you mean '{choices[0]}'"):
        TrainConfig(**{name: choices[0] + "x"})


@pytest.mark.parametrize(
    ("given", "variant", "task_loss", "system"),
    [
        ({}, "ours", "cross_entropy", "ours"),
        ({"variant": "full"}, "full", "cross_entropy", "full"),
        ({"model": "mult"}, "full", "l1", "mult"),
        (
            {"model": "mult", "variant": "language", "task_loss": "cross_entropy"},
            *("language", "cross_entropy"),
            "mult-language",
        ),
    ],
)
def test_what_auto_means_for_each_system(given, variant, task_loss, system):
    config = TrainConfig(**given)
    assert (config.variant, config.task_loss, config.system) == (variant, task_loss, system)
    assert TrainConfig.build(config.as_dict()) == config
    assert dataclasses.replace(config, seed=1).system == system


def test_the_variant_ours_is_ktnets():
    with pytest.raises(ConfigError, match="variant 'ours' is ktnet's alone; those of 'mult' are full, vision,"):
        TrainConfig(model="mult", variant="ours")


def test_targets():
    assert TrainConfig().target_modalities is None
    assert TrainConfig(targets="audio").target_modalities == ("audio",)
    assert TrainConfig(targets="language, vision").target_modalities == ("language", "vision")
    with pytest.raises(ConfigError, match=r"targets: 'langauge' is none of .*; did you mean 'language'"):
        TrainConfig(targets="vision,langauge")
    with pytest.raises(ConfigError, match=f"targets: '' is none of {', '.join(MODALITIES)}; or 'all'"):
        TrainConfig(targets="")
    with pytest.raises(
        ConfigError, match="targets: 'audio' is no stream of 'language_vision': language, vision; or 'all'"
    ):
        TrainConfig(variant="language_vision", targets="audio")
    with pytest.raises(ConfigError, match="names one twice"):
        TrainConfig(targets="vision,vision")


def test_heads_divide_the_width():
    with pytest.raises(ConfigError, match="dim = 42 is not a multiple of heads = 8"):
        TrainConfig(dim=42)


def test_every_parameter_says_what_it_means():
    assert all(field.metadata["about"] for field in FIELDS.values())
