"""Checkpoint files: saved whole or not at all, read without running or trusting anything in them."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import torch
from torch import Tensor

from ktnet_lite.data.foreign import instead
from ktnet_lite.data.opcodes import Machine, Source, check_tree
from ktnet_lite.errors import CheckpointError, DataError
from ktnet_lite.files import replacing

FORMAT = 1
LARGEST = 2**24  # bytes of the part that lists names, shapes and plain values
DTYPES = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
}

Fields = TypeVar("Fields")
Finite = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]  # so that sums are too


def save(path: Path, content: dict[str, Any]) -> None:
    """Save a checkpoint; a previous file at ``path`` survives any failure.

    Raises
    ------
    CheckpointError
        The disk is full or read-only; the message says that the previous file is intact.
    """
    with replacing(path, CheckpointError) as partial, open(partial, "wb") as file:
        try:
            torch.save({"format": FORMAT, **content}, file)
        except RuntimeError as error:  # torch's zip writer, of a write that failed
            raise OSError(str(error)) from error


def load(path: Path) -> dict[str, Any]:
    """Load a checkpoint onto the CPU. The CRC-32 of its parts are checked, and no code in it can run.

    torch's own loader is not used: some pickles that it takes for mere weights end the process. Memory is at most twice
    the size of the weights, and 100 times that of all else, which may have ``LARGEST`` bytes.

    Raises
    ------
    CheckpointError
        The file does not exist, is truncated or altered, or is not a checkpoint of this package.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            size = path.stat().st_size
            folder = _folder(archive, size)
            if damaged := archive.testzip():
                raise CheckpointError(
                    f"{path} is damaged (in its part {damaged}); delete it, or restore it from a copy"
                )
            content = _interpret(archive, folder, size)
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint at {path}") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except CheckpointError:
        raise
    except MemoryError:
        raise CheckpointError(f"not enough memory to read {path}") from None
    except DataError as error:  # it asks for a name, or holds an object
        raise CheckpointError(
            f"{path} is damaged or not a checkpoint of ktnet-lite: it holds more than weights; no code was run, do not "
            f"trust it ({error})"
        ) from None
    except Exception as error:  # zipfile, the interpreter and torch raise a dozen kinds on damaged or foreign files
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        reason = f"it is {what}" if (what := instead(path)) and "torch.save" not in what else reason
        raise CheckpointError(f"{path} is damaged or not a checkpoint of ktnet-lite: {reason}") from error
    number = content.get("format") if isinstance(content, dict) else None
    if type(number) is not int or number != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of ktnet-lite, format {FORMAT}")
    return content


def checked(path: Path, content: dict[str, Any], fields: type[Fields]) -> Fields:
    """Convert the content of a checkpoint to a class of typed fields.

    Raises
    ------
    CheckpointError
        A field is missing, unknown, or of another type; the message names it.
    """
    try:
        return msgspec.convert(content, fields)
    except (msgspec.MsgspecError, ValueError, RecursionError, AttributeError) as error:  # half a letter, a tensor
        raise CheckpointError(f"{path} comes from another version of ktnet-lite, or was altered: {error}") from error


def check_weights(where: str, weights: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> None:
    """Raise :class:`CheckpointError` unless weights are finite, with the names, shapes and types of a model's."""
    for what, names in (("lacks", model.keys() - weights.keys()), ("has an unknown", weights.keys() - model.keys())):
        if names:
            raise CheckpointError(f"{where} {what} {min(names)[:100]!r} ({len(names)} in total)")
    for name, tensor in weights.items():
        expected = model[name]
        if (tensor.shape, tensor.dtype) != (expected.shape, expected.dtype):
            raise CheckpointError(
                f"{where}: {name} has shape {tuple(tensor.shape)} and type {tensor.dtype}; the model expects "
                f"{tuple(expected.shape)} and {expected.dtype}"
            )
        if not tensor.isfinite().all():
            raise CheckpointError(f"{where}: {name} has a value that is not a number")


def _folder(archive: zipfile.ZipFile, size: int) -> str:
    """Check the directory of a checkpoint of ``size`` bytes; return the folder in it that holds its parts."""
    parts = archive.infolist()
    names = [part.filename for part in parts]
    folders = [name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(folders) != 1 or len(set(names)) < len(names):
        raise ValueError("it has no content, or parts of the same name")
    if not all(name.startswith(f"{folders[0]}/") and ".." not in name.split("/") for name in names):
        raise ValueError("it has parts outside its folder")
    if any(part.compress_type for part in parts) or sum(part.file_size for part in parts) > size:
        raise ValueError("it has parts that are compressed, or larger than the file")
    if archive.getinfo(f"{folders[0]}/data.pkl").file_size > LARGEST:
        raise ValueError(f"its list of weights is larger than {LARGEST:,} bytes")
    if f"{folders[0]}/byteorder" in names and archive.read(f"{folders[0]}/byteorder") != sys.byteorder.encode():
        raise ValueError("it comes from a machine with another byte order")
    return folders[0]


def _interpret(archive: zipfile.ZipFile, folder: str, size: int) -> Any:
    """Interpret the pickle by which torch.save writes plain values, dicts, lists and dense tensors."""
    pickle = archive.read(f"{folder}/data.pkl")
    storages: dict[str, Tensor] = {}

    def storage(part: tuple[Any, ...]) -> Tensor:
        """Read a part of the archive, given as ("storage", type, key, place, count)."""
        _, name, key, _, count = part
        if not (isinstance(name, str) and isinstance(key, str)):  # anything else could be hashed without end
            raise ValueError("a part without a name")
        if key not in storages:
            storages[key] = _numbers(archive.read(f"{folder}/data/{key}"), DTYPES[name])
        if storages[key].dtype != DTYPES[name] or len(storages[key]) != count:
            raise ValueError(f"its part data/{key} has another size than is said")
        return storages[key]

    builders = {"collections.OrderedDict": dict, "torch._utils._rebuild_tensor_v2": _tensor}
    machine = Machine(Source(io.BytesIO(pickle), len(pickle)), builders, set(DTYPES), _finished, storage)
    content = machine.run()
    check_tree(content, size)
    return content


def _finished(value: Any, state: Any) -> Any:
    """Leave out the attributes of an OrderedDict, which weights do not need."""
    if not isinstance(value, dict):
        raise DataError("it sets the attributes of an object")
    return value


def _numbers(content: bytes, dtype: torch.dtype) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=dtype) if content else torch.empty(0, dtype=dtype)


def _tensor(storage: Tensor, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """View a part of a storage; torch checks that it lies within."""
    view = torch.as_strided(storage, shape, stride, offset)
    if view.numel() > len(storage):
        raise ValueError("a tensor that is larger than its part")
    return view.contiguous()
