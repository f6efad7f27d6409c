"""Pickles from elsewhere: arrays come through, anything that could run does not; padding is found; MulT and MMSA."""

import collections
import gc
import pickle
import tracemalloc

import numpy as np
import pytest

from ktnet_lite.data import readers
from ktnet_lite.data.readers import mmsa, mult, padding, pickles
from ktnet_lite.data.schema import Dataset
from ktnet_lite.errors import DataError

CLIPS = {"train": 6, "valid": 3, "test": 4}
MOSI = {"text": (50, 300), "audio": (50, 5), "vision": (50, 20)}
UNALIGNED = {"text": (50, 300), "audio": (375, 5), "vision": (500, 20)}


def dump(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def clips(n, shape, lengths, front, seed=0, dtype=np.float64):
    """Padded clips of the given lengths, padding at the front or at the back."""
    array = np.zeros((n, *shape), dtype=dtype)
    rng = np.random.default_rng(seed)
    for i, length in enumerate(lengths):
        steps = slice(shape[0] - length, None) if front else slice(None, length)
        array[i, steps] = rng.normal(size=(length, shape[1])) + 3
    return array


def mult_content(shapes=MOSI, front=False, labels=None):
    content = {}
    for name, n in CLIPS.items():
        lengths = {field: np.arange(n) + (3 + 10 * len(field) if shapes is UNALIGNED else 3) for field in shapes}
        content[name] = {field: clips(n, shape, lengths[field], front) for field, shape in shapes.items()}
        content[name]["labels"] = np.linspace(-3, 3, n).reshape(n, 1, 1) if labels is None else labels(n)
        content[name]["id"] = np.array([[f"v{name}{i}".encode(), b"0.5", b"1.5"] for i in range(n)])
    return content


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_arrays_and_plain_containers_come_through(tmp_path, protocol):
    content = {"a": np.arange(6.0).reshape(2, 3), b"b": [1, "x", (None, True, 2.5)], "c": {"d": np.array(["s", "t"])}}
    content |= {"e": np.float32(1.5), "f": collections.OrderedDict(k=1), "g": np.array([{"h": 1}], dtype=object)}
    back = pickles.load(dump(tmp_path / "a.pkl", content, protocol))
    np.testing.assert_array_equal(back["a"], content["a"])
    assert back[b"b"] == [1, "x", (None, True, 2.5)] and back["c"]["d"].tolist() == ["s", "t"]
    assert back["e"] == 1.5 and back["f"] == {"k": 1} and back["g"][0] == {"h": 1}


def test_pickles_of_old_numpy_and_python_2_are_read(tmp_path):
    new = pickle.dumps(np.arange(3), protocol=2)
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "old.pkl").write_bytes(old)
    np.testing.assert_array_equal(pickles.load(tmp_path / "old.pkl"), np.arange(3))
    (tmp_path / "py2.pkl").write_bytes(b"U\x03a\xe9bq\x00.")  # the str of Python 2
    assert pickles.load(tmp_path / "py2.pkl") == "aéb"


@pytest.mark.parametrize("call", ["os.system", "builtins.eval", "builtins.getattr", "subprocess.Popen", "numpy.load"])
def test_a_malicious_pickle_runs_nothing(tmp_path, call):
    module, name = call.rsplit(".", 1)
    target = tmp_path / "ran"
    argument = f"open({str(target)!r}, 'w')" if name == "eval" else f"touch {target}"
    evil = f"c{module}\n{name}\n(V{argument}\ntR.".encode()
    (tmp_path / "evil.pkl").write_bytes(evil)
    with pytest.raises(DataError, match=rf"evil\.pkl: the pickle asks for {module}\.{name}; .*nothing in it was run"):
        pickles.load(tmp_path / "evil.pkl")
    inner = np.empty(1, dtype=object)
    inner[0] = "x"
    hidden = pickle.dumps([inner], protocol=0).replace(b"Vx\n", evil[:-1])  # inside an array of objects
    (tmp_path / "hidden.pkl").write_bytes(hidden)
    with pytest.raises(DataError, match=f"asks for {module}"):
        pickles.load(tmp_path / "hidden.pkl")
    assert not target.exists()


def test_damage_is_named(tmp_path):
    whole = dump(tmp_path / "a.pkl", mult_content()).read_bytes()
    for cut in (1, 50, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.pkl").write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"cut\.pkl is damaged or not a pickle"):
            pickles.load(tmp_path / "cut.pkl")
    with pytest.raises(DataError, match="no file at"):
        pickles.load(tmp_path / "none.pkl")


def test_the_real_third_party_pickle_is_read(real_data):
    content = pickles.load(real_data / "mosi-utterance" / "CMUMOSI_features_raw_2way.pkl")
    assert len(content) == 7
    assert [len(part) for part in content[4:]] == [52, 10, 31]


@pytest.mark.parametrize("front", [True, False])
def test_padding_is_found_and_zeros_inside_stay(front):
    lengths = np.array([4, 1, 6, 0])
    array = clips(4, (6, 2), lengths, front)
    array[2, 3] = 0  # a silent step in the middle of a clip
    steps = padding.occupied(array)
    where = padding.side(steps)
    assert where == ("front" if front else "back")
    found = padding.extent(steps, where)
    np.testing.assert_array_equal(found, lengths)
    stream = padding.pack(array, found, where)
    assert stream.values.dtype == np.float32 and stream.values.shape == (11, 2)
    np.testing.assert_allclose(stream.clip(0), array[0, 2:] if front else array[0, :4], rtol=1e-6)
    assert not stream.clip(2)[3].any()


def test_aligned_streams_share_the_steps_of_any_of_them():
    text, audio = clips(2, (5, 2), [3, 5], front=True), clips(2, (5, 1), [4, 2], front=True)
    arrays = {"language": text, "audio": audio}
    streams = padding.pack_all(arrays, aligned=True)
    assert streams["language"].lengths.tolist() == streams["audio"].lengths.tolist() == [4, 5]
    assert not arrays  # let go, one by one


@pytest.mark.parametrize("front", [True, False])
@pytest.mark.parametrize(("shapes", "aligned"), [(MOSI, True), (UNALIGNED, False)])
def test_mult_sentiment(tmp_path, shapes, aligned, front):
    content = mult_content(shapes, front)
    path = dump(tmp_path / "whatever.bin", content)
    assert readers.identify(path) == "mult"
    data = Dataset.collect(*readers.open_source(path))
    assert (data.header.name, data.header.task, data.header.aligned) == ("mosi", "sentiment", aligned)
    assert {name: len(data[name]) for name in data} == CLIPS
    assert data.dims == {"language": 300, "vision": 20, "audio": 5}
    assert data["train"].ids[0] == "vtrain0_0.5_1.5"
    np.testing.assert_allclose(data["test"].targets, [-3, -1, 1, 3])
    assert data["train"].streams["audio"].lengths.tolist() == [3 + i if aligned else 53 + i for i in range(6)]
    kept = content["train"]["vision"][2]
    np.testing.assert_allclose(data["train"].streams["vision"].clip(2), kept[kept.any(axis=1)], rtol=1e-6)


def test_mult_iemocap_takes_the_hot_one(tmp_path):
    shapes = {"text": (20, 300), "audio": (20, 74), "vision": (20, 35)}
    hot = np.array([[[0, 1], [1, 0], [1, 0], [0, 1]]])
    data = Dataset.collect(
        *mult.read(dump(tmp_path / "i.pkl", mult_content(shapes, labels=lambda n: np.repeat(hot, n, 0))))
    )
    assert (data.header.name, data.header.task) == ("iemocap", "emotion")
    assert data["valid"].targets.tolist() == [[1, 0, 0, 1]] * 3


def test_minus_inf_in_audio_is_zero_and_other_damage_is_refused_or_replaced(tmp_path):
    content = mult_content()
    content["train"]["audio"][0, 1, 2] = -np.inf
    path = dump(tmp_path / "a.pkl", content)
    with pytest.warns(UserWarning, match=r"a\.pkl: -inf read as 0: 1 in train audio"):
        data = Dataset.collect(*readers.open_source(path))
    assert data["train"].streams["audio"].clip(0)[1, 2] == 0
    assert data.header.provenance["-inf read as 0"] == "1 in train audio"
    content["valid"]["vision"][1, 0, 0] = np.nan
    path = dump(tmp_path / "b.pkl", content)
    reason = "split valid, vision, clip 1, step 0: NaN or inf"
    with pytest.raises(DataError, match=reason):
        Dataset.collect(*readers.open_source(path))
    content["test"]["text"][2, 0, 0] = 1e300  # finite, but not as float32
    path = dump(tmp_path / "c.pkl", content)
    with pytest.warns(UserWarning, match="NaN or inf read as 0: 1 in train audio, 1 in valid vision, 1 in test"):
        data = Dataset.collect(*readers.open_source(path, replace_nonfinite=True))
    assert data.header.provenance["NaN or inf read as 0"].endswith("1 in valid vision, 1 in test language")
    assert data["test"].streams["language"].clip(2)[0, 0] == 0


def test_a_number_too_large_for_float32_is_refused_as_inf(tmp_path, recwarn):
    content = mult_content()
    content["test"]["text"][2, 0, 0] = 1e300
    with pytest.raises(DataError, match="split test, language, clip 2, step 0: NaN or inf"):
        Dataset.collect(*readers.open_source(dump(tmp_path / "a.pkl", content)))
    assert not list(recwarn)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("valid"), "no split 'valid'; it has train, test"),
        (lambda d: d["test"].pop("audio"), "split test: no field 'audio'; it has text"),
        (lambda d: d["train"].update(text=d["train"]["text"][:-1]), "split train, field 'text': 5 clips, but 6 labels"),
        (
            lambda d: d["test"].update(vision=d["test"]["vision"][..., :-1]),
            r"'vision': clips of shape \(50, 19\)",
        ),
        (lambda d: d["test"].update(vision=d["test"]["vision"][0]), "split test, field 'vision': .* in 3 dimensions"),
        (lambda d: d["test"].update(text=d["test"]["text"].astype(str)), "field 'text': <U.* expected numbers"),
        (
            lambda d: d["train"].update(labels=np.zeros((6, 2, 1))),
            r"field 'labels': .*\(6, 2, 1\); expected one number a clip",
        ),
        (
            lambda d: d["train"].update(labels=[[[1.0]], [[1.0], [2.0]], *[[[0.0]]] * 4]),
            r"bad\.pkl, split train, field 'labels': a list, .* different shapes",
        ),
        (
            lambda d: d["test"].update(labels=[[1.0], [], [0.0], [2.0]]),
            r"bad\.pkl, split test, field 'labels': a list, .* different shapes",
        ),
        (lambda d: d["train"]["labels"].__setitem__((2, 0, 0), np.nan), "split train, targets: nan at index 2"),
        (lambda d: d["test"]["labels"].__setitem__((1, 0, 0), 7), r"targets: 7.0 at index 1 is outside \[-3, 3\]"),
        (lambda d: [d["test"][f].__setitem__(3, 0) for f in MOSI], "split test, clip 3 .*no steps in any modality"),
        (lambda d: d.update(train=[1]), "split train: a list, expected a dict of fields"),
    ],
)
def test_a_wrong_mult_file_says_where_and_what(tmp_path, change, message):
    content = mult_content()
    change(content)
    path = dump(tmp_path / "bad.pkl", content)
    with pytest.raises(DataError, match=message):
        Dataset.collect(*readers.open_source(path, "mult"))


@pytest.mark.parametrize(("protocol", "bound"), [(2, 2.5), (4, 1.2)])
@pytest.mark.parametrize("kind", ["mult", "mmsa"])
@pytest.mark.slow
def test_reading_needs_no_second_copy(tmp_path, kind, protocol, bound):
    """From identifying the file to its last split: the pickle's own content and no more than one packed split.

    The last split is taken, but the reader is not done: what it still holds then, it need not have held.
    """
    rng = np.random.default_rng(0)
    content = {name: {f: rng.normal(size=(60, *s)) for f, s in UNALIGNED.items()} for name in CLIPS}
    size = sum(array.nbytes for fields in content.values() for array in fields.values())
    for fields in content.values():
        fields |= {"labels": np.zeros((60, 1, 1))} if kind == "mult" else {"regression_labels": np.zeros(60)}
        fields |= {"id": list(map(str, range(60))), "audio_lengths": [375] * 60, "vision_lengths": [500] * 60}
    path = dump(tmp_path / "large.pkl", content, protocol)
    del content, fields
    gc.collect()
    tracemalloc.start()
    try:
        header, splits = readers.open_source(path)
        for name, split in splits:
            del split
            if name == "test":
                break
        gc.collect()
        held, peak = (traced / size for traced in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    assert header.provenance["source"].startswith("MulT" if kind == "mult" else "MMSA")
    assert peak < bound
    assert held < 0.2  # the last split itself, a sixth: float32 instead of float64


def mmsa_content():
    content = {}
    for name, n in CLIPS.items():
        audio, vision = (
            clips(n, (375, 5), [375] * n, False),
            clips(n, (500, 20), [500] * n, False),
        )  # garbage at the end
        bert = np.zeros((n, 3, 50))
        bert[:, 1, :7] = 1
        content[name] = {
            "raw_text": np.array(["a b c"] * n), "audio": audio, "vision": vision, "text": np.ones((n, 50, 768)),
            "text_bert": bert, "id": [f"video$_${i}" for i in range(n)], "audio_lengths": [10 + i for i in range(n)],
            "vision_lengths": [20 + i for i in range(n)], "annotations": ["Positive"] * n,
            "classification_labels": np.ones(n), "regression_labels": np.linspace(-1, 1, n),
        }  # fmt: skip
    return content


def test_mmsa_lengths_are_trusted_over_zeros(tmp_path):
    path = dump(tmp_path / "m.pkl", mmsa_content())
    assert readers.identify(path) == "mmsa"
    data = Dataset.collect(*readers.open_source(path))
    assert data.header.name == "mosi" and not data.header.aligned
    streams = data["valid"].streams
    assert [streams[m].lengths.tolist() for m in ("language", "audio", "vision")] == [
        [7] * 3,
        [10, 11, 12],
        [20, 21, 22],
    ]
    assert data["valid"].ids == ("video$_$0", "video$_$1", "video$_$2")
    assert data["train"].words is None


def test_mmsa_lengths_count_from_the_side_that_holds_more(tmp_path):
    """Front padding, and a voice that is zeros: lengths that count from the wrong side would leave nothing."""
    content = mmsa_content()
    for fields in content.values():
        for field in ("audio", "vision"):
            lengths, total = fields[f"{field}_lengths"], fields[field].shape[1]
            fields[field] = clips(len(lengths), fields[field].shape[1:], lengths, front=True)
            fields[field][1, total - lengths[1] - 2] = 9  # garbage before the clip
    content["test"]["audio"][:] = 0
    with pytest.warns(UserWarning, match=r"split test, field 'audio': only zeros within the declared lengths"):
        data = Dataset.collect(*readers.open_source(dump(tmp_path / "m.pkl", content)))
    streams = data["train"].streams
    assert streams["audio"].lengths.tolist() == content["train"]["audio_lengths"]
    np.testing.assert_allclose(streams["vision"].clip(1), content["train"]["vision"][1, -21:], rtol=1e-6)
    assert not data["test"].streams["audio"].lengths.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["test"].pop("audio_lengths"), "split test: no field 'audio_lengths', which separates frames"),
        (
            lambda d: d["test"].update(vision_lengths=[1, 2, 999, 3]),
            "'vision_lengths': 999 at index 2; expected 0 to 500",
        ),
        (lambda d: d["train"].pop("regression_labels"), "split train: no field 'regression_labels'"),
        (lambda d: d["train"].update(text=np.ones((5, 50, 768))), "field 'text': 5 clips, but 6 labels"),
    ],
)
def test_a_wrong_mmsa_file_says_where_and_what(tmp_path, change, message):
    content = mmsa_content()
    change(content)
    with pytest.raises(DataError, match=message):
        Dataset.collect(*mmsa.read(dump(tmp_path / "bad.pkl", content)))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (
            lambda d: d.update(visual=d.pop("vision")),
            "mult",
            "split train: no field 'vision'; it has text, audio, labels",
        ),
        (lambda d: d.pop("audio"), "mult", "split train: no field 'audio'; it has text, vision, labels, id"),
        (lambda d: d.pop("labels"), "mult", "split train: no field 'labels'"),
        (
            lambda d: d.update(regression_labels=d.pop("labels"), a=d.pop("text")),
            "mmsa",
            "split train: no field 'text'",
        ),
    ],
)
def test_a_pickle_with_a_field_missing_everywhere_is_known_and_the_field_named(tmp_path, change, kind, message):
    content = mult_content()
    for fields in content.values():
        change(fields)
    path = dump(tmp_path / "a.pkl", content)
    assert readers.identify(path) == kind
    with pytest.raises(DataError, match=message):
        readers.open_source(path)


@pytest.mark.parametrize("protocol", [2, 4])
def test_identifying_reads_no_further_than_it_must(tmp_path, protocol):
    content = mult_content()
    content["train"] = {"text": np.zeros(10), "labels": np.zeros(9), "audio": "x" * 100} | content["train"]
    whole = dump(tmp_path / "a.pkl", content, protocol).read_bytes()
    (tmp_path / "a.pkl").write_bytes(whole[: whole.index(b"vision")] + b"vision")
    assert readers.identify(tmp_path / "a.pkl") == "mult"


def test_a_pickle_too_large_for_the_memory_is_refused_before_reading(tmp_path, monkeypatch):
    for protocol, factor in ((0, 2.5), (2, 2.5), (3, 1.4), (5, 1.4)):
        path = dump(tmp_path / "a.pkl", mult_content(), protocol)
        needed = factor * path.stat().st_size
        monkeypatch.setattr(pickles, "installed_memory", lambda needed=needed: int(0.99 * needed))
        with pytest.raises(DataError, match=rf"a\.pkl: it must be read whole, which takes about {needed / 1e9:.3g} GB"):
            pickles.load(path)
        monkeypatch.setattr(pickles, "installed_memory", lambda needed=needed: int(1.01 * needed))
        pickles.load(path)


def test_what_is_no_known_file_is_said(tmp_path):
    (tmp_path / "a.txt").write_text("hello world", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.txt is n.*known"):
        readers.identify(tmp_path / "a.txt")
    with pytest.raises(DataError, match="neither HDF5 nor a pickle of MulT, MMSA or MISA"):
        readers.identify(dump(tmp_path / "b.pkl", {"x": [1, 2]}))
    with pytest.raises(DataError, match=r"the first names in it are 'x', 'y z'; .*--format"):
        readers.identify(dump(tmp_path / "b.pkl", {"x": ["y z", "a" * 64]}))
    with pytest.raises(DataError, match="no file or folder at"):
        readers.identify(tmp_path / "none")
    with pytest.raises(DataError, match=r"has neither \.csd files"):
        readers.identify(tmp_path)
    with pytest.raises(DataError, match="unknown format 'zip'"):
        readers.open_source(tmp_path, "zip")


NDARRAY, DTYPE = b"cnumpy\nndarray\n", b"cnumpy\ndtype\n"
F8 = DTYPE + b"(Vf8\nI0\nI1\ntR(I3\nV<\nNNNI-1\nI-1\nI0\ntb"
OBJECTS = DTYPE + b"(VO8\nI0\nI1\ntR(I3\nV|\nNNNI-1\nI-1\nI63\ntb"
EMPTY = b"cnumpy.core.multiarray\n_reconstruct\n(" + NDARRAY + b"(I0\ntVb\ntR"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (NDARRAY + b"((I4\ntt" + b"R.", "the pickle calls numpy.ndarray"),
        (NDARRAY + b"}Va\nI1\nsb.", "sets the attributes of an object"),
        (b"c_codecs\nencode\n}V__doc__\nVx\nsb.", "sets the attributes of an object"),
        (EMPTY + b".", "an array or a type without content"),
        (b"(" + EMPTY + b"l.", "an array or a type without content"),
        (F8 + b".", "an array or a type without content"),
        (EMPTY + b"(I1\n(I1000\nt" + OBJECTS + b"I0\n(ltb.", "an array of 1000 objects with other content"),
        (EMPTY + b"(I1\n(I2\nt" + OBJECTS + b"I0\nVxxxxxxxxxxxxxxxx\ntb.", "an array of 2 objects with other content"),
        (EMPTY + b"(I1\n(I-2\nt" + F8 + b"I0\nV\ntb.", r"an array of shape \(-2,\)"),
        (EMPTY + b"(I1\n(I4294967296\nI4294967296\nt" + F8 + b"I0\nV\ntb.", "with other content"),
        (EMPTY + b"(I1\n(I0\nI9999999999999\nt" + F8 + b"I0\nV\ntb.", "an array of shape"),
        (EMPTY + b"(I1\n(I1\nt" + F8 + b"I0\n(I1\nltb.", "with other content"),
        (b"cnumpy.core.multiarray\nscalar\n(" + DTYPE + b"(VS99999999\nI0\nI1\ntRVx\ntR.", "with other content"),
        (DTYPE + b"(VS0\nI0\nI1\ntR.", "holds an array of type 'S0'"),
        (DTYPE + b"(Vi4,f8\nI0\nI1\ntR.", "holds an array of type 'i4,f8'"),
        (b"cbuiltins\nbytes\n(J\xff\xff\xff\x7ftR.", "bytes of a int"),
        (b"cbuiltins\nint\n(V" + b"9" * 5000 + b"\ntR.", "the pickle calls builtins.int"),
        (b"\x8b\xff\xff\xff\x7f.", "2147483647 bytes at position"),
        (b"\x8b\x64\0\0\0" + b"\xff" * 100 + b".", "a number of 100 bytes"),
        (b"L" + b"9" * 5000 + b"L\n.", "a number of 5000 digits"),
        (b"(((tI1\nd.", "a dict with a tuple as key"),
        (b"Pmodule\n.", "part of a larger file, such as a checkpoint of torch"),
        (b"cos\nsystem\n.", "the pickle asks for os.system"),
        (b"\x80\x05" + b"]\x94" + b"h\x00a.", "nests its parts too deep, or repeats them too often"),
        (b"]" * 50 + b"a" * 49 + b".", "nests its parts too deep"),
    ],
)  # fmt: skip
def test_a_hostile_pickle_meets_no_function_of_numpy(tmp_path, program, message):
    (tmp_path / "a.pkl").write_bytes(program)
    with pytest.raises(DataError, match=message):
        pickles.load(tmp_path / "a.pkl")


def test_a_huge_memo_key_costs_nothing(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"Vx\nr\xff\xff\xff\x7f0j\xff\xff\xff\x7f.")
    assert pickles.load(tmp_path / "a.pkl") == "x"


def test_what_would_grow_when_copied_is_refused(tmp_path):
    """An array of 8 MB that a list of 1,000 places names: 8 GB as one array."""
    array = np.ones(10**6)
    with pytest.raises(DataError, match="repeats them too often; it would fill the memory"):
        pickles.load(dump(tmp_path / "a.pkl", [array] * 1000))
    assert len(pickles.load(dump(tmp_path / "b.pkl", [array] * 10))) == 10


@pytest.mark.parametrize(("code", "most"), [(b"}", 100), (b"]", 100), (b"\x8f", 100), (b"K\x05", 20), (b"U\x01x", 20)])
def test_memory_stays_within_a_multiple_of_the_size(tmp_path, code, most):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"]\x94(" + code * 200_000 + b"e.")
    tracemalloc.start()
    try:
        content = pickles.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(content) == 200_000 and peak < most * path.stat().st_size


@pytest.mark.parametrize("name", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_names_of_old_and_new_numpy_are_known(tmp_path, name):
    """Types were called O8 and O4 before NumPy 1.7, and texts of bytes ``a``."""
    texts = DTYPE + b"(Va2\nI0\nI1\ntR(I3\nV|\nNNNI2\nI1\nI0\ntb"
    content = b"(" + EMPTY + b"(I1\n(I2\nt" + texts + b"I0\nVabcd\ntb" + EMPTY + b"(I1\n(I2\nt" + OBJECTS
    content += b"I0\n(Vx\nNltbl."
    (tmp_path / "a.pkl").write_bytes(content.replace(b"numpy.core.multiarray", name.encode()))
    texts, objects = pickles.load(tmp_path / "a.pkl")
    assert texts.tolist() == [b"ab", b"cd"] and objects.tolist() == ["x", None]
