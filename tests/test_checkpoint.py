"""Checkpoints: whole or not at all, checked before they are trusted, and no code in them runs."""

import errno
import io
import os
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from ktnet_lite.errors import CheckpointError
from ktnet_lite.training import checkpoint

CONTENT = {
    "model": {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1, 2])},
    "history": [{"loss": 0.5}, {"loss": 0.25}],
    "name": "ours",
}


@pytest.fixture
def path(tmp_path) -> Path:
    target = tmp_path / "run" / "last.pt"
    checkpoint.save(target, CONTENT)
    return target


def same(a, b) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def is_whole(path: Path) -> bool:
    return same(checkpoint.load(path), {"format": checkpoint.FORMAT, **CONTENT})


def test_what_is_saved_is_loaded_and_nothing_else_is_left(path):
    assert is_whole(path)
    assert [file.name for file in path.parent.iterdir()] == ["last.pt"]
    checkpoint.save(path, {"name": "second"})
    assert checkpoint.load(path)["name"] == "second"


def test_no_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*none\.pt"):
        checkpoint.load(tmp_path / "none.pt")
    with pytest.raises(CheckpointError):
        checkpoint.load(tmp_path)


def test_truncated_anywhere(path):
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"last\.pt is damaged or not a checkpoint"):
            checkpoint.load(path)


def test_a_flipped_bit_is_found_or_changes_nothing(path):
    whole = path.read_bytes()
    found = 0
    for count, position in enumerate(range(0, len(whole), 2)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (count % 8)
        path.write_bytes(damaged)
        try:
            assert is_whole(path), f"byte {position} changed the content unnoticed"
        except CheckpointError as error:
            found += "last.pt" in str(error)
    assert found > len(whole) // 16


def test_a_flipped_bit_in_the_weights_is_named_as_damage(path):
    whole = bytearray(path.read_bytes())
    numbers = CONTENT["model"]["weight"].numpy().tobytes()
    whole[whole.index(numbers) + 5] ^= 4
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match=r"last\.pt is damaged \(in its part .*data.*restore it from a copy"):
        checkpoint.load(path)


class Malicious:
    """Unpickled, it would make a file."""

    def __init__(self, proof: Path):
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_does_not_run(tmp_path, zipped):
    path, proof = tmp_path / "evil.pt", tmp_path / "it_ran"
    content = {"format": checkpoint.FORMAT, "model": Malicious(proof)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="no code was run" if zipped else "not a checkpoint"):
        checkpoint.load(path)
    assert not proof.exists()
    torch.load(path, weights_only=False)
    assert proof.exists(), "the file does hold code that would run"


def changed(path: Path, change) -> Path:
    """Write the parts of a checkpoint again, as ``change`` gives them: names and contents, with checksums that fit."""
    with zipfile.ZipFile(path) as archive:
        parts = [(part.filename, archive.read(part)) for part in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content, *packing in change(parts):
            archive.writestr(name, content, *packing)
    return path


def with_pickle(change):
    return lambda parts: [(name, change(content) if name.endswith("/data.pkl") else content) for name, content in parts]


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32]
)
def test_what_is_read_is_what_torch_reads(tmp_path, dtype):
    whole = torch.arange(24).reshape(2, 3, 4).to(dtype)
    weights = OrderedDict(whole=whole, part=whole[1, 1:], turned=whole.mT, empty=whole[:0], number=whole[1, 2, 3])
    weights._metadata = OrderedDict(version=1)
    content = {"weights": weights, "values": [None, True, -1, 300, 70_000, 2**40, 0.5, "é", [], {}, (), (1, 2), {3: 4}]}
    checkpoint.save(tmp_path / "any.pt", content)
    expected = torch.load(tmp_path / "any.pt", weights_only=True)
    assert same(checkpoint.load(tmp_path / "any.pt"), expected | {"weights": dict(expected["weights"])})


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda parts: [*parts, parts[-2]], "parts of the same name"),
        (lambda parts: [*parts, ("other/data.pkl", b"")], "no content, or parts of the same name"),
        (lambda parts: parts[1:], "it is a zip archive"),
        (lambda parts: [*parts, ("../../outside", b"")], "parts outside its folder"),
        (lambda parts: [*parts, (parts[0][0].replace("data.pkl", "../x"), b"")], "parts outside its folder"),
        (lambda parts: [(*part, zipfile.ZIP_DEFLATED) for part in parts], "parts that are compressed"),
        (lambda parts: [(n, b"big" if n.endswith("byteorder") else c) for n, c in parts], "another byte order"),
        (lambda parts: [(n, c + c if "/data/" in n else c) for n, c in parts], "data/0 has another size than is said"),
        (with_pickle(lambda content: content.replace(b"K\x06", b"K\x05")), "data/0 has another size than is said"),
        (
            with_pickle(lambda content: content.replace(b"K\x02K\x03\x86", b"K\x02K\x04\x86")),
            "out of bounds|larger than",
        ),
        (with_pickle(lambda content: content[:-1]), "it ends at position .*, in the middle"),
        (with_pickle(lambda content: b"(" + content[:-1] + b"N."), "it ends in the middle"),
        (with_pickle(lambda content: b"\x80\x02}N" + b"\x85" * 10**6 + b"Ns."), "a dict with a tuple as key"),
        (with_pickle(lambda content: b"\x80\x02]q\x00h\x00a."), "nests its parts too deep, or repeats them too often"),
    ],
)
def test_a_checkpoint_that_was_put_together_otherwise_is_refused(path, change, reason):
    """Each is a whole zip file whose checksums fit; the deep key ends a process that lets Python hash it."""
    with pytest.raises(CheckpointError, match=rf"last\.pt is damaged or not a checkpoint of ktnet-lite: .*({reason})"):
        checkpoint.load(changed(path, change))


def test_a_directory_that_promises_more_than_the_file_holds_is_refused(path):
    whole = bytearray(path.read_bytes())
    entry = whole.index(b"PK\x01\x02")
    whole[entry + 20 : entry + 28] = (2**30).to_bytes(4, "little") * 2  # both sizes of the first part
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match="parts that are compressed, or larger than the file"):
        checkpoint.load(path)


def test_a_list_of_weights_that_would_fill_the_memory_is_refused(path):
    changed(path, with_pickle(lambda content: b"\x80\x02" + b"}" * checkpoint.LARGEST + b"."))
    with pytest.raises(CheckpointError, match="its list of weights is larger than 16,777,216 bytes"):
        checkpoint.load(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.ones(2, 2).to_sparse(),
        lambda: torch.ones(2, dtype=torch.complex64),
        lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        lambda: torch.empty(2, device="meta"),
        lambda: torch.nn.Parameter(torch.ones(2)),
        lambda: {1, 2},
        lambda: b"bytes",
        lambda: torch.float32,
    ],
    ids=["sparse", "complex", "quantised", "meta", "parameter", "set", "bytes", "type"],
)
def test_what_no_checkpoint_of_ours_holds_is_refused_before_it_is_made(tmp_path, make):
    checkpoint.save(tmp_path / "last.pt", {"model": {"weight": make()}})
    with pytest.raises(CheckpointError, match="it holds more than weights; no code was run"):
        checkpoint.load(tmp_path / "last.pt")


def test_what_a_wrong_file_is_instead_is_said(tmp_path):
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("a.npy", b"")
        arrays = buffer.getvalue()
    for content, what in (
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"<!doctype html><title>Sign in</title>", "a web page"),
        (b"\x1f\x8b\x08", "compressed with gzip"),
        (b"", "an empty file"),
        (arrays, "a file of NumPy arrays"),
    ):
        (tmp_path / "model.pt").write_bytes(content)
        with pytest.raises(
            CheckpointError, match=rf"model\.pt is damaged or not a checkpoint of ktnet-lite: it is {what}"
        ):
            checkpoint.load(tmp_path / "model.pt")


@pytest.mark.parametrize("content", [{"format": 99}, {"model": 1}, [1, 2], torch.zeros(3)])
def test_another_format(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other\.pt is not a checkpoint of ktnet-lite, format 1"):
        checkpoint.load(tmp_path / "other.pt")


def test_another_kind_of_file(tmp_path):
    (tmp_path / "text.pt").write_text("no zip", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "archive.pt", "w") as archive:
        archive.writestr("readme.txt", "a zip, but no checkpoint")
    for name in ("text.pt", "archive.pt"):
        with pytest.raises(CheckpointError, match=rf"{name} is damaged or not a checkpoint of ktnet-lite"):
            checkpoint.load(tmp_path / name)


def fail_in_the_middle(content, file):
    file.write(b"half of it")
    raise OSError(errno.ENOSPC, "No space left on device")


def fail_in_the_zip_writer(content, file):
    file.write(b"half of it")
    raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")


def fail_to_open(*args, **kwargs):
    raise PermissionError(errno.EACCES, "Permission denied")


def fail(*args):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("owner", "name", "failure", "reason"),
    [
        (torch, "save", fail_in_the_middle, "No space left"),
        (torch, "save", fail_in_the_zip_writer, "file write failed"),
        (os, "fsync", fail, "No space left"),
        (os, "replace", fail_to_open, "Permission denied"),
        (checkpoint, "open", fail_to_open, "Permission denied"),
    ],
    ids=["disk full", "zip writer", "fsync", "replace", "read-only"],
)
def test_a_save_that_fails_keeps_the_previous_file_and_leaves_no_half(path, monkeypatch, owner, name, failure, reason):
    monkeypatch.setattr(owner, name, failure, raising=owner is not checkpoint)
    with pytest.raises(CheckpointError, match=rf"{reason}.*the previous last\.pt is intact; .*another folder"):
        checkpoint.save(path, {"name": "second"})
    with pytest.raises(CheckpointError) as error:
        checkpoint.save(path.with_name("first.pt"), {"name": "first"})
    assert reason in str(error.value) and "intact" not in str(error.value)
    monkeypatch.undo()
    assert is_whole(path)
    assert [file.name for file in path.parent.iterdir()] == ["last.pt"]


@pytest.mark.skipif(sys.platform == "win32", reason="folders of Windows have no such mode")
def test_a_read_only_folder(path):
    path.parent.chmod(0o500)
    try:
        if os.access(path.parent, os.W_OK):
            pytest.skip("this user may write everywhere")
        with pytest.raises(CheckpointError, match=r"cannot write .*the previous last\.pt is intact"):
            checkpoint.save(path, {"name": "second"})
    finally:
        path.parent.chmod(0o700)
    assert is_whole(path)


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "runs").write_text("a file", encoding="utf-8")
    with pytest.raises(CheckpointError, match="cannot write"):
        checkpoint.save(tmp_path / "runs" / "last.pt", CONTENT)
