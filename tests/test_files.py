"""Writing: whole or not at all, nothing left over, failures said in words, and locks for what processes share."""

import errno
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import h5py
import nbformat
import papermill
import pytest
import torch
from click.testing import CliRunner
from filelock import FileLock

from ktnet_lite import files
from ktnet_lite.cli import main
from ktnet_lite.config import TrainConfig
from ktnet_lite.data import store, synthetic
from ktnet_lite.data.catalogue import download
from ktnet_lite.errors import BusyError, CheckpointError, DataError, KTNetError
from ktnet_lite.experiments import notebook, sweep
from ktnet_lite.experiments.plan import plan
from ktnet_lite.files import check_folder, locked, replacing, settle, write
from ktnet_lite.reporting import plots
from ktnet_lite.training import checkpoint
from ktnet_lite.training.dataset import load_dataset
from ktnet_lite.training.loop import fit
from made import make_result

posix = pytest.mark.skipif(os.name != "posix", reason="files of Unix")


@pytest.fixture
def path(tmp_path) -> Path:
    """A file in a folder of its own."""
    write(tmp_path / "folder" / "a.txt", "first")
    return tmp_path / "folder" / "a.txt"


def whole(path: Path, text: str = "first") -> bool:
    """Whether a file is what it was, alone in its folder."""
    return path.read_text(encoding="utf-8") == text and list(path.parent.iterdir()) == [path]


def failing(number: int):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


# Whole or not at all


def test_a_file_is_replaced_whole_or_not_at_all(path):
    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        partial.write_text("second", encoding="utf-8")
        raise ZeroDivisionError
    assert whole(path)
    with replacing(path) as partial:
        partial.write_text("second", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "first"
    assert whole(path, "second")
    write(path, "dritt\u00e9\n".encode())
    assert whole(path, "dritt\u00e9\n")


def test_the_content_is_on_the_disk_before_the_name_and_then_the_name(path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: [done.append(os.fstat(number).st_ino), fsync(number)])
    monkeypatch.setattr(os, "replace", lambda *names: [done.append("replace"), replace(*names)])
    write(path, "second")
    assert done == [path.stat().st_ino, "replace", *([path.parent.stat().st_ino] if os.name == "posix" else [])]
    monkeypatch.setattr(os, "open", failing(errno.EACCES))  # of a folder, which some systems cannot
    settle(path.rename(path.parent.parent / "b"), path)
    assert whole(path, "second")


def test_two_writers_of_a_file_are_not_in_each_others_way(path):
    with replacing(path) as first, replacing(path) as second:
        first.write_text("of the first", encoding="utf-8")
        second.write_text("of the second", encoding="utf-8")
    assert whole(path, "of the first"), "who ends last"


@posix
def test_a_file_can_be_read_as_soon_as_it_is_there(tmp_path, monkeypatch):
    """HDF5 refuses a file on which somebody else has an exclusive lock."""
    data, replace, seen = synthetic.make((4, 2, 2)).dataset, os.replace, []

    def replace_and_read(partial, path):
        replace(partial, path)
        with h5py.File(path, "r") as file:
            seen.extend(file)

    monkeypatch.setattr(os, "replace", replace_and_read)
    store.write(tmp_path / "a.h5", data.header, data.splits.items())
    assert "train" in seen


@posix
def test_links_are_followed_and_devices_stay_what_they_are(path):
    link = path.parent.parent / "link"
    link.symlink_to(path)
    write(link, "second")
    assert link.is_symlink() and whole(path, "second")
    link.unlink()
    os.mkfifo(link)
    reader = threading.Thread(target=lambda: seen.append(link.read_text(encoding="utf-8")))
    seen: list[str] = []
    reader.start()
    write(link, "through a pipe")
    reader.join()
    assert seen == ["through a pipe"] and link.is_fifo()
    write(Path("/dev/null"), "gone")
    assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_device_is_said():
    with pytest.raises(KTNetError, match=r"cannot write /dev/full: No space left on device; free some space"):
        write(Path("/dev/full"), "text")


# Nothing left over


def leave(path: Path, digits: str = "0123abcd", age: float = 0.0) -> Path:
    """What a killed process leaves of a file."""
    partial = path.with_name(f".{path.name}.{digits}.partial")
    partial.write_bytes(b"half of i")
    os.utime(partial, (partial.stat().st_mtime - age,) * 2)
    return partial


@posix
@pytest.mark.parametrize("name", ["a.txt", "a[0-9]*?.txt", ".hidden"])
def test_what_killed_writers_left_of_a_file_goes_with_the_next_write(path, name):
    target = path.rename(path.with_name(name))
    leave(target, "00000000")
    leave(target, "ffffffff")
    others = [leave(target.with_name("b" + name)), leave(target, "download"), leave(target, "0123abcd.more")]
    write(target, "second")
    assert set(target.parent.iterdir()) == {target, *others}


@posix
def test_what_is_being_written_is_never_taken_for_a_leftover(path):
    with replacing(path) as partial:
        os.utime(partial, (0, 0))  # it looks old
        partial.write_text("slow", encoding="utf-8")
        write(path, "quick")
    assert whole(path, "slow")


def test_where_nothing_can_be_locked_a_leftover_is_what_is_old(path, monkeypatch):
    monkeypatch.setattr(files, "_lock", lambda *_, **__: None)
    leave(path, "00000000", 2 * files.DAY)
    young = leave(path, "11111111")
    write(path, "second")
    assert set(path.parent.iterdir()) == {path, young}


@posix
def test_a_writer_that_is_taken_for_a_leftover_in_its_first_moment_begins_anew(path, monkeypatch):
    lock, taken = files._lock, []

    def robbed(file, exclusive):
        if not exclusive and len(taken) < 2:  # the cleaner is just at it, or has just been
            taken.append(Path(file.name))
            Path(file.name).unlink()
            return lock(file, exclusive) if len(taken) > 1 else False
        return lock(file, exclusive)

    monkeypatch.setattr(files, "_lock", robbed)
    with replacing(path) as partial:
        assert partial.exists() and len({partial, *taken}) == 3
        partial.write_text("second", encoding="utf-8")
    assert whole(path, "second")


def test_a_cleanup_that_fails_hides_no_error(path, monkeypatch):
    monkeypatch.setattr(Path, "unlink", failing(errno.EIO))
    with pytest.raises(ZeroDivisionError), replacing(path):
        raise ZeroDivisionError
    with pytest.raises(KTNetError, match="No space left"), replacing(path):
        failing(errno.ENOSPC)()
    write(path, "second")
    assert path.read_text(encoding="utf-8") == "second"


# Failures in words


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space or choose another folder"),
        (errno.EDQUOT, "free some space or choose another folder"),
        (errno.EROFS, "choose another folder"),
        (errno.EACCES, "choose another folder"),
        (errno.EPERM, "choose another folder"),
        (errno.EFBIG, "choose another folder"),
        (errno.EIO, "choose another folder"),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_takes_no_file_is_said(path, number, remedy, call, monkeypatch):
    monkeypatch.setattr(os, call, failing(number))
    with pytest.raises(DataError) as error:
        write(path, "second", DataError)
    why = "the file is larger than this disk or a limit allows" if number == errno.EFBIG else os.strerror(number)
    assert str(error.value) == f"cannot write {path}: {why}; the previous a.txt is intact; {remedy}"
    with pytest.raises(KTNetError) as error:
        write(path.with_name("b.txt"), "first")
    assert "intact" not in str(error.value)
    monkeypatch.undo()
    assert whole(path)


def test_a_file_and_a_folder_in_each_others_place_are_named(path):
    for below in ("b.txt", "deep/er/b.txt"):
        with pytest.raises(KTNetError, match=r"cannot write .*b\.txt: .*a\.txt is a file; choose another folder"):
            write(path / below, "text")
        with pytest.raises(KTNetError, match=r"a\.txt is a file; choose another folder"):
            check_folder(path / below)
    with pytest.raises(KTNetError, match=r"a\.txt is a file; choose another folder"):
        check_folder(path)
    with pytest.raises(KTNetError, match=r"folder: there is a folder of this name; choose another name"):
        write(path.parent, "text")
    assert whole(path)


@posix
def test_a_name_that_is_too_long_is_said(path):
    for place in (path.with_name("n" * 300), path.parent / ("n" * 300) / "b.txt"):
        with pytest.raises(KTNetError, match="choose a shorter name"):
            write(place, "text")
        with pytest.raises(KTNetError, match="choose a shorter name"):
            check_folder(place)
    assert whole(path)


def test_a_folder_is_checked_before_it_is_made(tmp_path, monkeypatch):
    check_folder(tmp_path / "new" / "deep")
    monkeypatch.chdir(tmp_path)
    check_folder(Path("new"))
    assert not any(tmp_path.iterdir())
    monkeypatch.setattr(files.tempfile, "TemporaryFile", failing(errno.EROFS))
    with pytest.raises(KTNetError, match=r"cannot write new: Read-only file system; choose another folder"):
        check_folder(Path("new"))


def test_a_file_that_another_program_has_open_is_waited_for(path, monkeypatch):
    """As on Windows."""
    replace, tries = os.replace, []

    def busy(partial, target, times):
        tries.append(target)
        if len(tries) <= times:
            raise PermissionError(errno.EACCES, "Permission denied", str(partial), str(target))
        replace(partial, target)

    monkeypatch.setattr(files, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(os, "replace", lambda *names: busy(*names, times=2))
    write(path, "second")
    assert len(tries) == 3 and whole(path, "second")
    monkeypatch.setattr(os, "replace", lambda *names: busy(*names, times=99))
    with pytest.raises(KTNetError, match=r"Permission denied; the previous a\.txt is intact"):
        write(path, "third")
    assert len(tries) == 6 and whole(path, "second")


def test_a_source_that_cannot_be_read_is_no_fault_of_the_target(path, monkeypatch):
    def unreadable(source, _):
        raise PermissionError(errno.EACCES, "Permission denied", str(source))

    monkeypatch.setattr(download.shutil, "copyfile", unreadable)
    with pytest.raises(DataError, match=r"^cannot read .*a\.txt: Permission denied$"):
        download.copy(path, path.with_name("b.txt"))
    assert whole(path)


def executed(path: Path) -> None:
    notebook._register(str(path))
    papermill.iorw.write_ipynb(nbformat.v4.new_notebook(), str(path))


def made(path: Path) -> None:
    data = synthetic.make((4, 2, 2)).dataset
    store.write(path, data.header, data.splits.items(), progress=False)


WRITERS = {
    "a checkpoint": (lambda path: checkpoint.save(path, {"weight": torch.zeros(2)}), CheckpointError),
    "a result": (lambda path: make_result(TrainConfig()).save(path), DataError),
    "a published result": (
        lambda path: make_result(TrainConfig()).publish(Path(path.parent.name, path.name[:-12]), path.parent.parent),
        DataError,
    ),
    "a store": (made, DataError),
    "a copy": (lambda path: download.copy(Path(__file__), path), DataError),
    "a picture": (lambda path: plots.save(plots.figure()[0], path), KTNetError),
    "a picture of a notebook": (lambda path: plots.show(plots.figure()[0], "nothing", path), KTNetError),
    "an executed notebook": (executed, KTNetError),
}


@pytest.mark.parametrize("name", WRITERS)
def test_whatever_is_written_survives_a_full_disk_and_says_so(name, tmp_path, monkeypatch):
    save, error = WRITERS[name]
    path = tmp_path / "folder" / "file.result.json"
    save(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    for _ in range(2):
        with pytest.raises(
            error, match=r"cannot write .*file\.result\.json: No space left.*is intact; free some space"
        ):
            save(path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
    path.unlink()
    path.mkdir()
    with pytest.raises(error, match="there is a folder of this name"):
        save(path)


# Places that commands write to


@pytest.fixture
def finished(tmp_path, monkeypatch) -> Path:
    """A grid with a finished run, a model's name, a file and an empty folder; nothing can be trained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(notebook, "run", None)
    monkeypatch.setattr(sweep, "run", None)
    (job,) = plan([TrainConfig(variant="full", out="runs")])
    make_result(job.config).save(job.folder / "result.json")
    Path("file").write_text("kept", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("place", ["file", "file/below", "file/be/low"])
@pytest.mark.parametrize(
    "command",
    [
        ["train", "--variant", "full", "--out"],
        ["reproduce", "1", "--out"],
        ["reproduce", "1", "--publish"],
        ["report", "1", "--results", "runs", "--to"],
        ["data", "fetch", "mosi-words", "--from", "raw", "--to"],
    ],
    ids=" ".join,
)
def test_a_folder_that_cannot_be_is_said_before_any_work(command, place, finished):
    done = CliRunner().invoke(main, [*command, place])
    assert done.exit_code == 1 and "file is a file; choose another folder" in done.output, done.output
    assert Path("file").read_text(encoding="utf-8") == "kept"
    assert {path.name for path in finished.iterdir()} == {"file", "runs"}


def test_a_disk_that_can_only_be_read_is_said_before_any_work(finished, monkeypatch):
    monkeypatch.setattr(files.tempfile, "TemporaryFile", failing(errno.EROFS))
    for command in (["train", "--variant", "full", "--out", "new"], ["report", "--results", "runs", "--to", "new"]):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 1 and "cannot write new: Read-only file system" in done.output, done.output


def test_a_processes_share_of_a_run_checks_its_folder_too(finished, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = CliRunner().invoke(main, ["train", "--out", "file"])
    assert done.exit_code == 1 and "file is a file" in done.output


@pytest.mark.slow
def test_scores_are_written_whole_or_the_reason_is_said(tmp_path, monkeypatch):
    config = TrainConfig(variant="language", clips=16, epochs=1, dim=8, heads=2, layers=1)
    fit(config, load_dataset(config), tmp_path / "run", progress=False)

    def predict(out: str, status: int) -> str:
        command = ["predict", str(tmp_path / "run" / "model.pt"), "synthetic", "--out", str(tmp_path / out)]
        done = CliRunner().invoke(main, command)
        assert done.exit_code == status, done.output
        return done.output

    predict("a.csv", 0)
    before = (tmp_path / "a.csv").read_text(encoding="utf-8")
    assert before.startswith("id,score,low,high\n") and before.count("\n") == 9
    assert "there is a folder of this name; choose another name" in predict("run", 1)
    assert "there is no folder" in predict("none/a.csv", 1) and "there is no folder" in predict("a.csv/b.csv", 1)
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    assert "No space left on device; the previous a.csv is intact" in predict("a.csv", 1)
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "run"}


# Locks


def held(path: Path) -> tuple[threading.Thread, threading.Event]:
    """A thread that holds a lock until the event; between threads it is as between processes."""
    holds, release = threading.Event(), threading.Event()

    def hold():
        with locked(path):
            holds.set()
            release.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert holds.wait(60)
    return thread, release


def test_a_lock_lets_one_in_and_the_next_wait_or_turn_away(tmp_path):
    path = tmp_path / "new" / ".lock"
    thread, release = held(path)
    with pytest.raises(BusyError, match=r"another process is at work in .*new"), locked(path, wait=False):
        pass
    threading.Timer(0.2, release.set).start()
    waiting = locked(path)
    with pytest.warns(UserWarning, match=r"another process is at work in .*new; waiting"):
        waiting.__enter__()
    thread.join(60)
    with locked(path, wait=False):
        pass  # who holds it may take it again
    waiting.__exit__(None, None, None)
    with suppress(ZeroDivisionError), locked(path):
        raise ZeroDivisionError
    with locked(path, wait=False):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, None])
def test_a_disk_that_cannot_lock_is_said(number, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise NotImplementedError("no flock") if number is None else OSError(number, os.strerror(number))

    monkeypatch.setattr(FileLock, "acquire", fail)
    with pytest.raises(KTNetError, match=r"a network drive, cannot lock files: choose a folder on another"):
        locked(tmp_path / ".lock").__enter__()


def test_a_lock_that_cannot_be_is_said(path):
    with pytest.raises(KTNetError, match=r"a\.txt is a file; choose another folder"), locked(path / ".lock"):
        pass
    assert whole(path)


@pytest.mark.skipif(sys.platform == "win32", reason="flock of Unix")
def test_files_are_written_where_nothing_can_be_locked(path, monkeypatch):
    monkeypatch.setattr(files.fcntl, "flock", failing(errno.ENOLCK))
    write(path, "second")
    assert whole(path, "second")
