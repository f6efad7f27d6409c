"""Whether the clips of a split are what a trained model reads, in whatever form the model comes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ktnet_lite.data.schema import Header, Split
from ktnet_lite.errors import ConfigError, DataError
from ktnet_lite.names import Fill, Modality


class Reader(Protocol):
    """A trained model, as :class:`ktnet_lite.model.network.Network` describes it; ``inputs`` have a ``mean`` (D_m,)."""

    aligned_only: bool
    any_subset: bool

    @property
    def observed(self) -> tuple[Modality, ...]: ...
    @property
    def inputs(self) -> Mapping[Modality, Any]: ...
    @property
    def fills(self) -> tuple[Fill, ...]: ...
    @property
    def recipes(self) -> Mapping[Modality, str]: ...


def to_read(
    model: Reader, split: Split, fill: Fill | None, missing: Sequence[Modality] = ("audio",)
) -> tuple[list[Modality], list[Modality]]:
    """List the modalities of a split that a model reads, and those that it does without if there is a ``fill``.

    Raises
    ------
    ConfigError
        The model cannot do without these modalities in this way, or there is nothing else to read.
    DataError
        The split lacks a modality that the model observes, or has other feature counts.
    """
    gone = [name for name in missing if name in model.observed] if fill else []
    read = [name for name in model.observed if name not in gone]
    if model.any_subset:
        read = [name for name in read if name in split.streams]
    if gone and not read:
        raise ConfigError(f"without {', '.join(gone)} there is nothing that this model could predict from")
    if fill is not None and list(missing) == ["audio"] and fill not in model.fills:
        known = f"this model can do: {', '.join(model.fills)}" if model.fills else "this model observes no audio"
        raise ConfigError(f"audio cannot be {fill!r}; {known}")
    check_fits(model, split, without=gone)
    return read, gone


def check_recipes(model: Reader, header: Header, where: str) -> None:
    """Raise :class:`DataError` when features were extracted in another way than those that a model was trained on."""
    for name in model.observed:
        recipe, own = header.recipes.get(name), model.recipes.get(name)
        if recipe != own and (recipe or not header.recipes):  # else the clips were extracted without this modality
            raise DataError(
                f"{where}, {name}: these features and those that the model was trained on are not the same numbers.\n"
                f"here: {recipe or 'not extracted from clips by ktnet-lite'}\n"
                f"model: {own or 'not extracted from clips by ktnet-lite'}\n"
                "extract the clips as those of the training set, or train on these"
            )


def check_fits(model: Reader, split: Split, where: str = "this split", without: Collection[Modality] = ()) -> None:
    """Raise :class:`DataError` when a split lacks a modality that the model observes, or has other feature counts.

    Some may be missing: those ``without`` which the model is used, and for "any" all but one.
    """
    if model.any_subset and not set(model.observed) & set(split.streams):
        raise DataError(f"{where} has none of the modalities that this model observes: {', '.join(model.observed)}")
    for name in model.observed:
        if name in without or (model.any_subset and name not in split.streams):
            continue
        features = len(model.inputs[name].mean)
        if name not in split.streams:
            advice = f"; predict without it: {', '.join(model.fills)}" if name == "audio" else ""
            raise DataError(f"{where} has no {name}, which this model observes{advice}")
        if split.streams[name].dim != features:
            raise DataError(
                f"{where}, {name}: {split.streams[name].dim} features per step; the model expects {features}"
            )
    if model.aligned_only:
        check_aligned(model, split, where, without)


def check_aligned(model: Reader, split: Split, where: str, without: Collection[Modality] = ()) -> None:
    """Raise :class:`DataError` when the streams of a clip differ in length; a clip without a modality is aligned."""
    read = [name for name in model.inputs if name in split.streams and name not in without]
    lengths = {name: split.streams[name].lengths for name in read}
    longest = np.max(list(lengths.values()), axis=0)
    for name, counts in lengths.items():
        if (wrong := (counts > 0) & (counts != longest)).any():
            clip = int(wrong.argmax())
            raise DataError(
                f"{where}: {name} of clip {split.ids[clip]!r} has {counts[clip]} steps and another stream "
                f"{longest[clip]}, but this model needs aligned streams. ktnet-lite models lists the systems that take "
                "others"
            )
