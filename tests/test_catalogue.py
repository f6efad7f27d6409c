"""The catalogue: downloads that are whole and right or explained, files of one's own, and stores built once."""

import hashlib
import http.server
import json
import os
import re
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from ktnet_lite.data import catalogue, readers, store, synthetic
from ktnet_lite.data.catalogue import download
from ktnet_lite.data.catalogue import local as at_hand
from ktnet_lite.data.catalogue.download import RawFile
from ktnet_lite.data.catalogue.entries import ENTRIES, Entry
from ktnet_lite.data.schema import Split
from ktnet_lite.errors import ConfigError, DataError, KTNetError

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REMEDY = "licence: for research"


@pytest.fixture(autouse=True)
def no_folder_of_raw_files(monkeypatch):
    monkeypatch.delenv("KTNET_DATA", raising=False)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, with Range; each behaviour is a path."""

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers.get("Range")))
        if self.path == "/gone":
            return self.send_error(404)
        if self.path == "/busy" and len(server.requests) < 3:
            return self.send_error(503)
        content = CONTENT[:-1] + b"!" if self.path == "/other" else CONTENT
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1]) if self.path != "/norange" else 0
        if start >= len(content):
            return self.send_error(416)
        body = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if (self.path == "/breaks" and len(server.requests) < 3) or self.path == "/always":
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests = []
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def raw_file(server, path, **changes) -> RawFile:
    url = f"http://127.0.0.1:{server.server_port}{path}"
    return RawFile(**{"name": "raw.bin", "sha256": SHA256, "url": url, "size": len(CONTENT)} | changes)


def fetch(server, path, target, **changes):
    download.download(raw_file(server, path, **changes), target, REMEDY)


def test_a_download_is_whole_and_leaves_no_other_file(server, tmp_path):
    fetch(server, "/file", tmp_path / "a" / "raw.bin")
    assert (tmp_path / "a" / "raw.bin").read_bytes() == CONTENT
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["raw.bin"]
    assert server.requests == [("/file", None)]


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    fetch(server, "/breaks", tmp_path / "raw.bin")
    assert (tmp_path / "raw.bin").read_bytes() == CONTENT
    starts = [int((range_ or "bytes=0-")[6:-1]) for _, range_ in server.requests]
    assert len(starts) == 3 and 0 == starts[0] < starts[1] < starts[2]


def test_a_part_of_an_earlier_session_is_used(server, tmp_path):
    (tmp_path / "raw.bin.partial").write_bytes(CONTENT[:1000])
    fetch(server, "/file", tmp_path / "raw.bin")
    assert (tmp_path / "raw.bin").read_bytes() == CONTENT
    assert server.requests == [("/file", "bytes=1000-")]


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    (tmp_path / "raw.bin.partial").write_bytes(CONTENT[:1000])
    fetch(server, "/norange", tmp_path / "raw.bin")
    assert (tmp_path / "raw.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"x" * 1000, b"x" * len(CONTENT), CONTENT + b"x"])
def test_a_wrong_part_is_thrown_away(server, tmp_path, part):
    (tmp_path / "raw.bin.partial").write_bytes(part)
    fetch(server, "/file", tmp_path / "raw.bin")
    assert (tmp_path / "raw.bin").read_bytes() == CONTENT


def test_a_complete_part_needs_no_download(server, tmp_path):
    (tmp_path / "raw.bin.partial").write_bytes(CONTENT)
    fetch(server, "/file", tmp_path / "raw.bin")
    assert (tmp_path / "raw.bin").read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(server, tmp_path):
    fetch(server, "/busy", tmp_path / "raw.bin")
    assert len(server.requests) == 3 and (tmp_path / "raw.bin").read_bytes() == CONTENT


def test_a_dead_link_is_explained_at_once(server, tmp_path):
    with pytest.raises(DataError, match=r"cannot download http://127.*/gone\nthe server answered 404") as error:
        fetch(server, "/gone", tmp_path / "raw.bin")
    assert REMEDY in str(error.value) and len(server.requests) == 1
    assert not any(tmp_path.iterdir())


def test_another_content_is_refused_with_both_hashes(server, tmp_path):
    other = hashlib.sha256(CONTENT[:-1] + b"!").hexdigest()
    with pytest.raises(DataError, match=f"SHA-256 is {other}, expected {SHA256}"):
        fetch(server, "/other", tmp_path / "raw.bin")
    assert len(server.requests) == 1 and not any(tmp_path.iterdir())
    with pytest.raises(DataError, match=f"expected {SHA256}"):  # more than was promised: stopped early
        fetch(server, "/file", tmp_path / "raw.bin", size=100)


def test_a_download_that_never_ends_well_keeps_its_part_for_the_next_time(server, tmp_path):
    with pytest.raises(DataError, match=r"the connection failed|the transfer ended"):
        fetch(server, "/always", tmp_path / "raw.bin")
    assert len(server.requests) == download.TRIES
    assert CONTENT.startswith((tmp_path / "raw.bin.partial").read_bytes())


def test_no_network_is_explained(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DataError, match=r"cannot download http://127.0.0.1:9/x\nthe connection failed") as error:
        download.download(RawFile("x", SHA256, "http://127.0.0.1:9/x", 1), tmp_path / "x", REMEDY)
    assert REMEDY in str(error.value)


def test_a_silent_server_is_explained(tmp_path, monkeypatch):
    def silent(*_, **__):
        raise download.requests.ReadTimeout("timed out")

    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(download.requests, "get", silent)
    with pytest.raises(DataError, match="did not answer within 10 s, or sent nothing for 60 s"):
        download.download(RawFile("x", SHA256, "http://127.0.0.1/x", 1), tmp_path / "x", REMEDY)


def test_a_folder_that_cannot_be_written_is_explained(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot write .*choose another folder"):
        fetch(server, "/file", tmp_path / "file" / "raw.bin")
    with pytest.raises(DataError, match=r"cannot write .*choose another folder"):
        download.copy(tmp_path / "file", tmp_path / "file" / "raw.bin")


def test_files_are_found_anywhere_below_a_folder_by_name_and_hash(tmp_path):
    for folder, content in (("a", b"wrong"), ("b/c", CONTENT)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "raw.bin").write_bytes(content)
    found = download.locate([RawFile("raw.bin", SHA256)], tmp_path, REMEDY)
    assert found == {"raw.bin": tmp_path / "b" / "c" / "raw.bin"}
    assert download.locate([RawFile("raw.bin")], tmp_path, REMEDY) == {"raw.bin": tmp_path / "a" / "raw.bin"}
    wrong = hashlib.sha256(b"wrong").hexdigest()
    with pytest.raises(DataError, match=rf"(?s)not the expected file.*{wrong}.*{SHA256}  expected"):
        download.locate([RawFile("raw.bin", SHA256)], tmp_path / "a", REMEDY)
    with pytest.raises(DataError, match=rf"(?s)not found below .*: x, y\n{REMEDY}"):
        download.locate([RawFile("x"), RawFile("raw.bin"), RawFile("y")], tmp_path, REMEDY)
    with pytest.raises(DataError, match="no folder"):
        download.locate([RawFile("x")], tmp_path / "none", REMEDY)


# From names to data sets. The raw files are two stores; the reader below takes the first.


@pytest.fixture
def raw(tmp_path) -> Path:
    folder = tmp_path / "mine" / "deep"
    for seed, name in enumerate(("one.h5", "two.h5")):
        data = synthetic.make((8, 4, 4), seed=seed).dataset
        store.write(folder / name, data.header, data.splits.items())
    return tmp_path / "mine"


@pytest.fixture
def entries(raw, monkeypatch):
    """Two data sets: one of two files with hashes, one of a file without."""
    built = []

    def open_source(source, format=None):
        built.append(Path(source))
        data = store.read(source / "one.h5" if source.is_dir() else source)
        return data.header, iter(data.splits.items())

    monkeypatch.setattr(readers, "open_source", open_source, raising=False)
    files = [RawFile(p.name, download.sha256_of(p), size=p.stat().st_size) for p in sorted(raw.rglob("*.h5"))]
    monkeypatch.setitem(ENTRIES, "pair", Entry("pair", "", "somewhere", "for research", "store", tuple(files)))
    monkeypatch.setitem(ENTRIES, "free", Entry("free", "", "somewhere", "for research", "store", (RawFile("one.h5"),)))
    return built


def test_a_data_set_is_built_once(entries, raw, tmp_path):
    home = tmp_path / "home"
    first = catalogue.load("pair", folder=home, local=raw)
    assert first.checksum == synthetic.make((8, 4, 4), seed=0).dataset.checksum
    assert first.header.name == "pair" and first.header.provenance["licence"] == "none needed"
    assert first.header.provenance["raw"].split() == [file.sha256 for file in ENTRIES["pair"].files]
    again = catalogue.load("pair", folder=home)
    assert again.checksum == first.checksum and entries == [home / "raw" / "pair"]
    assert sorted(p.name for p in home.rglob("*.*")) == [".pair.lock", "one.h5", "pair.h5", "two.h5"]


def test_of_two_first_uses_at_once_one_builds_and_the_other_waits(entries, raw, tmp_path, monkeypatch):
    began, go_on, write, found = threading.Event(), threading.Event(), store.write, []

    def slow(*arguments):
        began.set()
        assert go_on.wait(60)
        return write(*arguments)

    monkeypatch.setattr(store, "write", slow)

    def use():
        found.append(catalogue.load("pair", tmp_path / "home", raw).checksum)

    users = [threading.Thread(target=use) for _ in range(3)]
    with warnings.catch_warnings(record=True):  # of those that wait
        for user in users:
            user.start()
        assert began.wait(60)
        threading.Timer(0.3, go_on.set).start()
        for user in users:
            user.join(60)
    assert len(entries) == 1 and len(found) == 3 and len({*found}) == 1


def test_a_built_data_set_needs_no_lock(entries, raw, tmp_path, monkeypatch):
    catalogue.build("pair", tmp_path / "home", raw)
    monkeypatch.setattr(catalogue, "locked", None)  # as in a folder that this user can only read
    assert catalogue.load("pair", tmp_path / "home").header.name == "pair"


def test_a_data_folder_that_cannot_be_is_said(entries, raw, tmp_path):
    (tmp_path / "file").touch()
    for folder in ("file", "file/below"):
        with pytest.raises(KTNetError, match="file is a file; choose another folder"):
            catalogue.build("pair", tmp_path / folder, raw)
    assert entries == []


def flip_a_byte(path):
    with h5py.File(path, "r") as file:
        chunk = file["test/vision/values"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes(bytes(content))


def other_version(path):
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 99


@pytest.mark.parametrize("damage", [flip_a_byte, other_version, lambda path: path.write_bytes(path.read_bytes()[:99])])
def test_a_damaged_store_is_built_again(entries, raw, tmp_path, damage):
    home = tmp_path / "home"
    sound = catalogue.load("pair", folder=home, local=raw)
    for again in (catalogue.load, lambda *a, **k: store.read(catalogue.build(*a, verify=True, **k))):
        damage(home / "pair.h5")
        with pytest.warns(UserWarning, match=r"(?s)pair\.h5 .*\npair is rebuilt"):
            assert again("pair", folder=home, local=raw).checksum == sound.checksum
    assert len(entries) == 3


def test_what_a_reader_notes_as_it_goes_is_stored(entries, raw, tmp_path, monkeypatch):
    def open_source(source, format=None):
        header, splits = original(source)
        header = replace(header, provenance={})
        return header, (header.provenance.update(counted=name) or (name, split) for name, split in splits)

    original = readers.open_source
    monkeypatch.setattr(readers, "open_source", open_source)
    assert catalogue.load("pair", folder=tmp_path / "home", local=raw).header.provenance["counted"] == "test"


def test_another_recipe_or_another_raw_file_builds_again(entries, raw, tmp_path, monkeypatch):
    home = tmp_path / "home"
    catalogue.load("pair", folder=home, local=raw)
    monkeypatch.setitem(ENTRIES, "pair", Entry("pair", "", "s", "l", "store", ENTRIES["pair"].files, recipe=2))
    catalogue.load("pair", folder=home, local=raw)
    assert len(entries) == 2
    one = catalogue.load("free", folder=home, local=raw)
    assert catalogue.load("free", folder=home).checksum == one.checksum  # nothing to compare with: the stored one
    catalogue.load("free", folder=home, local=raw)
    assert entries[2:] == [raw / "deep" / "one.h5"]
    os.replace(raw / "deep" / "two.h5", raw / "deep" / "one.h5")
    other = catalogue.load("free", folder=home, local=raw)
    assert len(entries) == 4 and other.checksum == synthetic.make((8, 4, 4), seed=1).dataset.checksum


def test_raw_files_without_a_known_hash_are_hashed_only_when_size_or_time_differ(entries, raw, tmp_path, monkeypatch):
    home, file = tmp_path / "home", raw / "deep" / "one.h5"
    first = catalogue.load("free", folder=home, local=raw)
    hashed = []
    original = download.sha256_of
    monkeypatch.setattr(download, "sha256_of", lambda path: hashed.append(path) or original(path))
    catalogue.load("free", folder=home, local=raw)
    assert not hashed
    os.utime(file, ns=(1, 1))
    catalogue.load("free", folder=home, local=raw)
    assert hashed == [file] and len(entries) == 1
    for gone in (tmp_path / "nowhere", home):  # no such folder, and none of the files in it
        with pytest.warns(UserWarning, match=r"free\.h5, built earlier, is used"):
            assert catalogue.load("free", folder=home, local=gone).checksum == first.checksum


@pytest.mark.slow
def test_a_csd_folder_is_known_by_all_files_that_are_read(real_data, tmp_path):
    folder, home = tmp_path / "mine", tmp_path / "home"
    (folder / "deep").mkdir(parents=True)
    for path in (real_data / "mosi-csd").iterdir():
        (folder / "deep" / path.name).write_bytes(path.read_bytes())
    path = catalogue.build("mosi-csd", home, folder)
    first = store.info(path)
    assert len(first.header.provenance["raw"].split()) == 3
    folds = folder / "deep" / "standard_folds.json"
    chosen = json.loads(folds.read_text(encoding="utf-8"))
    chosen["train"], chosen["test"] = chosen["test"], chosen["train"]
    folds.write_text(json.dumps(chosen), encoding="utf-8")
    assert store.info(catalogue.build("mosi-csd", home, folder)).clips["train"] == first.clips["test"]


def test_public_files_are_downloaded_into_the_data_folder(server, tmp_path, monkeypatch):
    entry = Entry("net", "", "somewhere", "for research", "store", (raw_file(server, "/file"),))
    monkeypatch.setitem(ENTRIES, "net", entry)
    monkeypatch.chdir(tmp_path)
    folder = catalogue.fetch("net")
    assert folder == Path("data", "raw", "net") and (folder / "raw.bin").read_bytes() == CONTENT
    catalogue.fetch("net")
    assert len(server.requests) == 1  # what is whole is not fetched again
    (folder / "raw.bin").write_bytes(b"damaged")
    catalogue.fetch("net")
    assert len(server.requests) == 2 and (folder / "raw.bin").read_bytes() == CONTENT


def test_raw_files_below_the_folder_of_the_environment_are_not_downloaded(server, tmp_path, monkeypatch):
    entry = Entry("net", "", "somewhere", "for research", "store", (raw_file(server, "/file"),))
    monkeypatch.setitem(ENTRIES, "net", entry)
    monkeypatch.setenv("KTNET_DATA", str(tmp_path / "mine"))
    mine = tmp_path / "mine" / "deep" / "raw.bin"
    mine.parent.mkdir(parents=True)
    for content, fetched in ((CONTENT, mine), (CONTENT[:-1], tmp_path / "home" / "raw" / "net")):  # whole, cut off
        mine.write_bytes(content)
        assert catalogue.fetch("net", tmp_path / "home") == fetched
    assert len(server.requests) == 1
    mine.write_bytes(CONTENT[:-1] + b"!")  # the right size only: rather an error than a silent download
    with pytest.raises(DataError, match=r"raw\.bin is not the expected file"):
        catalogue.fetch("net", tmp_path / "home")


def test_what_is_here_is_known_without_hashing_and_loaded_without_a_download(entries, raw, tmp_path, monkeypatch):
    home = tmp_path / "home"
    for module, function in ((download, "sha256_of"), (download, "download")):
        monkeypatch.setattr(module, function, lambda *_: pytest.fail("hashed or downloaded"))
    assert at_hand.is_here("synthetic") and at_hand.is_here(str(raw / "deep" / "one.h5"))
    assert not at_hand.is_here("pair", home) and not at_hand.is_here("no such set")
    assert at_hand.load("pair", home) is None
    assert at_hand.is_here("pair", home, local=raw) and not at_hand.is_here("pair", home, local=home)
    monkeypatch.setenv("KTNET_DATA", str(raw))
    assert at_hand.is_here("pair", home) and not at_hand.is_here("pair", home, local=home)
    monkeypatch.undo()
    assert at_hand.load("synthetic").header.name == "synthetic"


def test_what_is_here_is_loaded_from_its_raw_files_or_its_built_file(entries, raw, tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setattr(download, "download", lambda *_: pytest.fail("downloaded"))
    monkeypatch.setenv("KTNET_DATA", str(raw))
    built = at_hand.load("pair", home)
    monkeypatch.delenv("KTNET_DATA")
    monkeypatch.setitem(ENTRIES, "pair", replace(ENTRIES["pair"], recipe=2))  # nothing here to build it again from
    assert at_hand.load("pair", home).checksum == built.checksum and len(entries) == 1


def test_a_folder_of_csd_files_is_here_under_the_name_of_its_data_set(tmp_path, monkeypatch):
    monkeypatch.setenv("KTNET_DATA", str(tmp_path))
    (tmp_path / "mosi-csd").mkdir()
    assert not at_hand.is_here("mosi-csd", tmp_path)
    (tmp_path / "mosi-csd" / "words.csd").touch()
    assert at_hand.is_here("mosi-csd", tmp_path) and not at_hand.is_here("mosei-csd", tmp_path)
    assert catalogue.fetch("mosi-csd", tmp_path) == tmp_path / "mosi-csd"


def test_a_fingerprint_identifies_the_data_without_building_it_where_the_raw_files_are_known(
    entries, raw, tmp_path, monkeypatch
):
    home = tmp_path / "home"
    first = catalogue.fingerprint("pair", home)
    assert len(first) == 64 and not entries
    monkeypatch.setitem(ENTRIES, "pair", replace(ENTRIES["pair"], recipe=2))
    assert catalogue.fingerprint("pair", home) != first
    with pytest.raises(DataError, match=r"free\.h5 does not exist or is out of date; run `ktnet-lite data fetch free`"):
        catalogue.fingerprint("free", home)
    built = catalogue.load("free", home, raw)
    assert catalogue.fingerprint("free", home) == catalogue.fingerprint("free", home, raw) == built.checksum
    os.replace(raw / "deep" / "two.h5", raw / "deep" / "one.h5")
    with pytest.raises(DataError, match="out of date"):
        catalogue.fingerprint("free", home, raw)


def test_what_has_no_public_link_says_where_to_ask(tmp_path):
    with pytest.raises(DataError) as error:
        catalogue.load("iemocap", folder=tmp_path)
    for words in ("no public link", "Multimodal-Transformer", "agreement", "iemocap_data.pkl", "fetch iemocap --from"):
        assert words in str(error.value)
    with pytest.raises(DataError, match=r"\.csd files in FOLDER: ktnet-lite data fetch mosei-csd --from"):
        catalogue.load("mosei-csd", folder=tmp_path)
    with pytest.raises(DataError, match=r"(?s)no folder .*none\nsource: .*\nlicence: .*data fetch mosei-csd --from"):
        catalogue.load("mosei-csd", folder=tmp_path, local=tmp_path / "none")


def test_an_unknown_name_brings_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"'mosi-word' is neither .* did you mean 'mosi-words'\?") as error:
        catalogue.load("mosi-word", folder=tmp_path)
    assert "synthetic, mosi-words, mosi-utterance, mmmo, hazumi, hazumi-face, mosi, " in str(error.value)
    with pytest.raises(ConfigError, match=r"nor a file\n"):
        catalogue.load("/no/such/thing.h5")


def test_synthetic_and_files_need_no_catalogue(raw, tmp_path):
    assert catalogue.load("synthetic").header.name == "synthetic"
    path = raw / "deep" / "two.h5"
    assert catalogue.load(path).checksum == catalogue.load(str(path)).checksum == store.info(path).checksum


def test_what_is_not_sound_is_told_with_the_path_of_its_file(entries, raw, tmp_path, monkeypatch):
    header, splits = synthetic.make((8, 4, 4)).dataset.header, [("train", Split({}, np.zeros(1, np.float32), ("a",)))]
    monkeypatch.setattr(readers, "open_source", lambda *_: (header, iter(splits)))
    file = raw / "deep" / "one.h5"
    for load in (lambda: catalogue.load(file), lambda: catalogue.load("free", folder=tmp_path / "home", local=raw)):
        with pytest.raises(DataError, match=rf"^{re.escape(str(file))}: (synthetic|free), split train: no modality;"):
            load()


def test_every_entry_is_complete():
    for name, entry in ENTRIES.items():
        assert entry.name == name and entry.about and entry.source and entry.licence
        assert len({file.name for file in entry.files}) == len(entry.files)
        for file in entry.files:
            assert not file.sha256 or len(bytes.fromhex(file.sha256)) == 32
            if file.url:
                host, commit = file.url.split("/")[2], file.url.split("/")[5]
                assert host == "raw.githubusercontent.com" and len(bytes.fromhex(commit)) == 20
                assert file.sha256 and file.size and file.url.endswith("/" + file.name)
    public = [name for name, entry in ENTRIES.items() if entry.public]
    assert public == ["mosi-words", "mosi-utterance", "mmmo", "hazumi", "hazumi-face"]


def test_the_public_files_are_the_real_ones(real_data):
    for name in ("mosi-words", "mosi-utterance", "mmmo"):
        found = download.locate(ENTRIES[name].files, real_data, "")
        assert all(found[file.name].stat().st_size == file.size for file in ENTRIES[name].files)


@pytest.mark.filterwarnings("ignore:.*no text_train_emb.h5")
@pytest.mark.parametrize(
    ("name", "sizes"), [("mosi-words", (1284, 229, 686)), ("mosi-utterance", None), ("mmmo", (220, 40, 80))]
)
@pytest.mark.slow
def test_the_real_sets_are_built(real_data, tmp_path, name, sizes):
    data = catalogue.load(name, folder=tmp_path, local=real_data)
    assert sizes is None or abs(np.subtract([len(data[s]) for s in data], sizes)).max() <= 2  # clips without a word
    assert catalogue.load(name, folder=tmp_path).checksum == data.checksum
