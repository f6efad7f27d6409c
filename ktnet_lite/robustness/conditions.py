"""What test clips lack: frozen masks of whole modalities and of steps, the same for every system.

A mask depends on the clip's id, the draw and the seed alone, never on the order of clips, the system or the platform.
A higher rate removes what a lower rate removes, and more. Nothing takes the last step of a clip.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from ktnet_lite.data.schema import Split
from ktnet_lite.errors import ConfigError, DataError
from ktnet_lite.files import write
from ktnet_lite.names import MODALITIES, Modality, subsets

RATES = (0.1, 0.3, 0.5, 0.7, 0.9)
PIECES = 10  # of a stream; "blocks" removes one at a time
FAMILIES = {  # what a rate is the rate of
    "modalities": "every modality of a clip is missing at the rate",
    "mostly language": "language is missing at the rate, vision and audio at half of it",
    "mostly vision": "vision is missing at the rate, language and audio at half of it",
    "mostly audio": "audio is missing at the rate, language and vision at half of it",
    "steps": "single steps of every stream are missing at the rate",
    "blocks": "a tenth of a stream at a time is missing, at the rate",
}

Kept = Mapping[Modality, np.ndarray]  # per step of a packed stream, (rows,) bool


class Condition(NamedTuple):
    """One condition of a test: a subset of the modalities, or a draw of a family at a rate."""

    subset: tuple[Modality, ...] = ()
    family: str = ""
    rate: float = 0.0
    draw: int = 0

    def __str__(self) -> str:
        """Return the condition's name in files, such as ``language+vision`` or ``steps 0.3 #1``."""
        return f"{self.family} {self.rate:g} #{self.draw}" if self.family else "+".join(self.subset)


def conditions(
    modalities: Sequence[Modality], rates: Iterable[float] = RATES, draws: int = 3, families: Iterable[str] = FAMILIES
) -> list[Condition]:
    """List the subsets of some modalities, and every draw of every family at every rate.

    Raises
    ------
    ConfigError
        A rate is not between 0 and 1, or a family is unknown.
    """
    rates, families = tuple(rates), tuple(families)
    for rate in rates:
        if not 0 < rate < 1:
            raise ConfigError(f"rate {rate:g} is not between 0 and 1; 0 is the complete clip, and stands there anyway")
    for family in families:
        if family not in FAMILIES:
            raise ConfigError(f"{family!r} is not a family of conditions; they are {', '.join(FAMILIES)}")
    absent = {f"mostly {name}" for name in set(MODALITIES) - set(modalities)}
    listed = [Condition(subset) for subset in subsets(modalities)]
    for family in families:
        if family not in absent:
            listed += [Condition((), family, rate, draw) for rate in rates for draw in range(draws)]
    return listed


class Masks:
    """The masks of one split.

    Parameters
    ----------
    split : Split
    seed : int
        Another seed gives other masks.
    """

    def __init__(self, split: Split, seed: int = 0):
        self.split, self.seed = split, seed
        self._drawn: dict[tuple[str, int], Kept] = {}

    def kept(self, condition: Condition) -> Kept:
        """Mark what a condition leaves of each stream, step by step; only a subset can leave nothing of a clip."""
        streams = self.split.streams
        if not condition.family:
            return {name: np.full(len(stream.values), name in condition.subset) for name, stream in streams.items()}
        if condition.family in ("steps", "blocks"):
            return self._keep_a_step(self._uniform(condition.family, condition.draw), condition.rate)
        drawn = self._uniform("modalities", condition.draw)
        often = condition.family.removeprefix("mostly ")
        shares = {name: 1.0 if often in (name, "modalities") else 0.5 for name in streams}  # of the rate
        return self._keep_a_modality({name: drawn[name] / share for name, share in shares.items()}, condition.rate)

    def _uniform(self, family: str, draw: int) -> Kept:
        """Draw from [0, 1) for every clip and modality (N,), or for every step or block of a stream (rows,)."""
        if (family, draw) not in self._drawn:
            found: dict[Modality, np.ndarray] = {}
            for name, stream in self.split.streams.items():
                parts = []
                for clip, steps in zip(self.split.ids, stream.lengths.tolist(), strict=True):
                    size = max(steps // PIECES, 1) if family == "blocks" else 1
                    count = 1 if family == "modalities" else -(-steps // size)
                    values = uniform(count, self.seed, draw, family, clip, name)
                    parts.append(values if family == "modalities" else np.repeat(values, size)[:steps])
                found[name] = np.concatenate(parts)
            self._drawn[family, draw] = found
        return self._drawn[family, draw]

    def _keep_a_modality(self, drawn: Kept, rate: float) -> Kept:
        lengths = {name: stream.lengths for name, stream in self.split.streams.items()}
        has = np.stack([counts > 0 for counts in lengths.values()])  # (M, N)
        values = np.where(has, np.stack([drawn[name] for name in lengths]), -1.0)
        keeps = has & (values >= rate)
        empty = np.flatnonzero(~keeps.any(0))
        keeps[values.argmax(0)[empty], empty] = True
        return {name: np.repeat(keep, lengths[name]) for name, keep in zip(lengths, keeps, strict=True)}

    def _keep_a_step(self, drawn: Kept, rate: float) -> Kept:
        kept = {name: values >= rate for name, values in drawn.items()}
        left = sum(np.bincount(self._clips[name], kept[name], len(self.split)) for name in kept)
        for clip in np.flatnonzero(left == 0):
            rows = {name: np.flatnonzero(self._clips[name] == clip) for name in kept}
            best = max((drawn[name][row], name, row) for name, found in rows.items() for row in found)
            kept[best[1]][best[2]] = True
        return kept

    @cached_property
    def _clips(self) -> dict[Modality, np.ndarray]:
        """The clip of every step."""
        return {name: np.repeat(np.arange(len(s)), s.lengths) for name, s in self.split.streams.items()}


def uniform(count: int, *key: str | int) -> np.ndarray:
    """Draw numbers in [0, 1) from a key alone, (count,): SHAKE-128 of its parts, 53 bits for each number."""
    digest = hashlib.shake_128("\0".join(map(str, key)).encode()).digest(8 * count)
    return (np.frombuffer(digest, "<u8") >> np.uint64(11)) * 2.0**-53


def save(path: Path, split: Split, masks: Mapping[str, Kept]) -> None:
    """Write masks by condition to an HDF5 file: ``ids``, ``steps/<modality>`` and ``<condition>/<modality>``.

    Raises
    ------
    KTNetError
        The file cannot be written.
    """
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["ids"] = np.array(split.ids, dtype=h5py.string_dtype())
        for name, stream in split.streams.items():
            file[f"steps/{name}"] = stream.lengths
        for condition, kept in masks.items():
            for name, values in kept.items():
                file.create_dataset(f"masks/{condition}/{name}", data=values, compression="gzip")
    write(path, content.getvalue())


def load(path: Path, split: Split) -> dict[str, Kept]:
    """Read the masks of a split, by condition, in the order of their names.

    Raises
    ------
    DataError
        The file is damaged, or belongs to other clips.
    """
    try:
        with h5py.File(path) as file:
            ids = tuple(file["ids"].asstr()[()])
            steps = {name: values[()] for name, values in file["steps"].items()}
            masks: dict[str, Kept] = {
                condition: {name: values[()].astype(bool) for name, values in group.items()}
                for condition, group in file["masks"].items()
            }
    except (OSError, KeyError, AttributeError, ValueError, TypeError) as error:
        raise DataError(f"{path} is not a file of masks: {error}") from error
    if ids != split.ids or steps.keys() != split.streams.keys():
        raise DataError(f"{path} has masks of other clips or modalities; write them again for this split")
    for name, stream in split.streams.items():
        sizes = {np.shape(kept[name]) if name in kept else None for kept in masks.values()}
        if not np.array_equal(steps[name], stream.lengths) or sizes != {(len(stream.values),)}:
            raise DataError(f"{path}, {name}: the masks have other numbers of steps than the clips; write them again")
    return masks


def in_order(names: Iterable[str]) -> list[str]:
    """Sort the names of conditions: subsets first, the largest before the others, then the families."""

    def place(name: str) -> tuple:
        if " " in name:
            family, rate, draw = name.rsplit(" ", 2)
            return 1, list(FAMILIES).index(family), float(rate), int(draw[1:])
        parts = name.split("+")
        return 0, -len(parts), *(MODALITIES.index(part) for part in parts)  # type: ignore[arg-type]

    return sorted(names, key=place)
