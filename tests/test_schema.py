"""The in-memory form of a data set: packing against slow loops, and every message of its checks."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from ktnet_lite.data import synthetic
from ktnet_lite.data.schema import Dataset, Header, Split, Stream, combined_digest, split_digest
from ktnet_lite.errors import DataError

LENGTHS = [3, 0, 7, 1, 0, 12, 5]


def stream(lengths=LENGTHS, dim=2, seed=0):
    return Stream.from_clips([np.random.default_rng(seed + i).normal(size=(n, dim)) for i, n in enumerate(lengths)])


def split(**changes):
    """Three clips with language and audio; keyword arguments replace parts."""
    parts = {
        "streams": {"language": stream([2, 1, 3]), "audio": stream([4, 2, 5], dim=3)},
        "targets": np.array([-3.0, 0.5, 3.0], np.float32),
        "ids": ("a", "b", "c"),
        "words": (("x", "y"), ("z",), ("u", "v", "w")),
    }
    return Split(**parts | changes)


def dataset(*splits, task="sentiment", aligned=False):
    return Dataset(Header("toy", task, aligned), dict(zip(("train", "valid", "test"), splits, strict=False)))


def grid_by_loop(clip, steps):
    """A clip on at most ``steps`` stretches of time, the slow way."""
    n = min(len(clip), steps)
    edges = [j * len(clip) // n for j in range(n + 1)] if n else [0]
    return np.array([clip[a:b].astype(float).mean(axis=0) for a, b in pairwise(edges)])


def test_from_clips_packs_without_loss():
    clips = [np.arange(6).reshape(3, 2), np.empty((0, 2)), np.array([[9, 8]])]
    packed = Stream.from_clips(clips)
    assert packed.values.dtype == np.float32 and packed.lengths.dtype == np.int64
    assert packed.lengths.tolist() == [3, 0, 1]
    assert packed.offsets.tolist() == [0, 3, 3]
    assert (len(packed), packed.dim) == (3, 2)
    for i, clip in enumerate(clips):
        np.testing.assert_array_equal(packed.clip(i), clip)


@pytest.mark.parametrize("indices", [[0], [5, 0, 2], [2, 2, 1, 4], list(range(7)), [1, 4], [], (i for i in ())])
def test_rows_and_select_are_what_a_loop_gives(indices):
    packed, indices = stream(), list(indices)
    expected = [row for i in indices for row in range(packed.offsets[i], packed.offsets[i] + LENGTHS[i])]
    assert packed.rows(indices).tolist() == expected
    chosen = packed.select(indices)
    assert chosen.lengths.tolist() == [LENGTHS[i] for i in indices]
    assert chosen.values.shape == (len(expected), 2)
    for position, i in enumerate(indices):
        np.testing.assert_array_equal(chosen.clip(position), packed.clip(i))


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 11, 12, 50])
def test_on_grid_is_what_a_loop_gives(steps):
    packed = stream()
    gridded = packed.on_grid(steps)
    assert gridded.values.dtype == np.float32
    assert gridded.lengths.tolist() == [min(n, steps) for n in LENGTHS]
    for i in range(len(packed)):
        expected = grid_by_loop(packed.clip(i), steps)
        assert gridded.clip(i).shape == (len(expected), 2)
        if len(expected):
            np.testing.assert_allclose(gridded.clip(i), expected, rtol=1e-6, atol=1e-7)


def test_on_grid_by_hand_and_its_limits():
    packed = Stream.from_clips([np.array([[1.0], [2], [3], [4], [5]])])
    assert packed.on_grid(2).values.tolist() == [[1.5], [4.0]]  # steps 1-2 and 3-5
    assert packed.on_grid(1).values.tolist() == [[3.0]]
    empty = Stream(np.empty((0, 2), np.float32), np.zeros(3, np.int64))
    assert empty.on_grid(4).lengths.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="at least one step, got 0"):
        packed.on_grid(0)


def test_on_grid_sums_long_stretches_exactly():
    """A mean over many float32 steps far from zero does not drift."""
    packed = Stream(np.full((200_000, 1), 1000.1, np.float32), np.array([200_000]))
    assert packed.on_grid(1).values[0, 0] == np.float32(1000.1)


def test_on_grid_makes_no_large_array_beside_its_result():
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 400, 500)
    lengths[3] = 60_000  # longer than any block
    packed = Stream(rng.normal(size=(lengths.sum(), 32)).astype(np.float32), lengths)
    tracemalloc.start()
    try:
        gridded = packed.on_grid(20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < gridded.values.nbytes + 0.5 * packed.values.nbytes
    for i in (0, 3, 4, 250, 499):
        np.testing.assert_allclose(gridded.clip(i), grid_by_loop(packed.clip(i), 20), rtol=1e-6, atol=1e-7)


def test_split_select_keeps_every_part_together():
    chosen = split().select([2, 0])
    assert chosen.ids == ("c", "a")
    assert chosen.targets.tolist() == [3.0, -3.0]
    assert chosen.words == (("u", "v", "w"), ("x", "y"))
    np.testing.assert_array_equal(chosen.streams["audio"].clip(0), split().streams["audio"].clip(2))
    assert split(words=None).select([1]).words is None
    chosen.validate("chosen", "sentiment")


def test_split_on_grid_leaves_words_as_they_are():
    gridded = dataset(split()).on_grid(2)["train"]
    assert gridded.streams["language"].lengths.tolist() == [2, 1, 3]
    assert gridded.streams["audio"].lengths.tolist() == [2, 2, 2]
    gridded.validate("gridded", "sentiment")


def test_dataset_collects_validates_and_names_its_splits():
    toy = Dataset.collect(Header("toy", "sentiment", False), [("train", split()), ("test", split(words=None))])
    assert list(toy) == ["train", "test"]
    assert toy.dims == {"language": 2, "audio": 3}
    with pytest.raises(DataError, match="data set 'toy' has no split 'valid'; it has train, test"):
        toy["valid"]


def test_a_split_may_lack_a_modality_that_another_has():
    toy = dataset(split(), split(streams={"audio": stream([4, 2, 5], dim=3)}, words=None))
    toy.validate()
    assert toy.dims == {"language": 2, "audio": 3}


def test_checksum_is_of_content_and_order_of_splits_does_not_matter():
    first = dataset(split(), split(words=None))
    assert first.checksum == dataset(split(), split(words=None)).checksum
    backwards = Dataset(first.header, dict(reversed(list(first.splits.items()))))
    digests = {name: split_digest(part) for name, part in first.splits.items()}
    assert first.checksum == backwards.checksum == combined_digest(digests)
    assert first.checksum != dataset(split(words=None), split()).checksum  # which split is which does matter
    assert len(first.checksum) == 64


@pytest.mark.parametrize(
    "changes",
    [
        {"targets": np.array([-3.0, 0.5, 2.9], np.float32)},
        {"targets": np.array([-3.0, 0.5, 3.0])},
        {"ids": ("a", "b", "d")},
        {"words": (("x", "y"), ("z",), ("u", "v", "V"))},
        {"words": None},
        {"streams": {"language": stream([2, 1, 3])}},
        {"streams": {"language": stream([2, 1, 3]), "audio": stream([4, 2, 5], dim=3, seed=1)}},
        {"streams": {"language": stream([2, 1, 3]), "audio": Stream(stream([4, 2, 5], 3).values, np.array([5, 1, 5]))}},
        {"streams": {"language": stream([2, 1, 3]), "vision": stream([4, 2, 5], dim=3)}},
    ],
)
def test_checksum_sees_every_part(changes):
    assert split_digest(split(**changes)) != split_digest(split())


def streams(**changes):
    return {"streams": {"language": stream([2, 1, 3]), "audio": stream([4, 2, 5], dim=3)} | changes, "words": None}


def damaged(row, value):
    values = stream([4, 0, 7], dim=3).values.copy()
    values[row] = value
    return Stream(values, np.array([4, 0, 7]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"targets": np.zeros((3, 1), np.float32)},
            "targets: shape (3, 1), expected (3,) for 3 ids and task sentiment",
        ),
        ({"targets": np.zeros(2, np.float32)}, "targets: shape (2,), expected (3,) for 3 ids"),
        ({"targets": np.array(["1", "2", "3"])}, "targets: dtype <U1 is not numeric"),
        (
            {"targets": np.array([0, np.nan, np.inf])},
            "targets: nan at index 1 (2 in total); leave such clips out with `ktnet-lite data convert",
        ),
        (
            {"targets": np.array([0, 1, 3.5])},
            "targets: 3.5 at index 2 is outside [-3, 3] (1 of 3); these labels have another scale or are classes",
        ),
        ({"targets": np.array([0, -4, 5.0])}, "targets: -4.0 at index 1 is outside [-3, 3] (2 of 3)"),
        ({"streams": {}, "words": None}, "no modality; give at least one of language, vision, audio"),
        (streams(smell=stream([1, 1, 1])), "smell: unknown modality; the modalities are language, vision, audio"),
        (streams(audio=stream([4, 2], dim=3)), "audio: 2 clips, but 3 ids; give each clip one id"),
        (
            streams(audio=Stream(np.zeros((3, 2)), np.array([1, 1, 1]))),
            "audio: values are float64 of shape (3, 2); expected float32 (steps, D)",
        ),
        (
            streams(audio=Stream(np.zeros((3, 2, 1), np.float32), np.array([1, 1, 1]))),
            "audio: values are float32 of shape (3, 2, 1)",
        ),
        (
            streams(audio=Stream(np.zeros((3, 2), np.float32), np.array([2, 2, -1]))),
            "audio, lengths: -1 at index 2 is negative",
        ),
        (
            streams(audio=Stream(np.zeros((5, 2), np.float32), np.array([2, 2, 2]))),
            "audio: lengths add up to 6, but values has 5 steps",
        ),
        (
            streams(audio=damaged(6, np.nan)),
            "audio, clip 2, step 2: NaN or inf (1 steps in total); convert the file with `ktnet-lite data convert "
            "--replace-nonfinite`",
        ),
        (streams(audio=damaged([3, 4, 5], -np.inf)), "audio, clip 0, step 3: NaN or inf (3 steps in total)"),
        (
            streams(language=stream([2, 0, 3]), audio=stream([4, 0, 5], dim=3)),
            "clip 1 ('b'): no steps in any modality (1 in total); leave such clips out with `ktnet-lite data convert",
        ),
        ({"ids": ("a", "b", "a")}, "ids: 'a' at indices 0 and 2"),
        ({"words": (("x", "y"), ("z",))}, "words: 2 lists of words for 3 clips of language"),
        ({"words": (("x", "y"), ("z",), ("u",))}, "words of clip 2: 1 words, but 3 language steps"),
        ({"streams": {"audio": stream([4, 2, 5], dim=3)}}, "words: 3 lists of words for 3 clips of language"),
    ],
)
def test_messages_of_a_split(changes, message):
    with pytest.raises(DataError) as caught:
        dataset(split(**changes)).validate()
    assert str(caught.value).startswith(("toy, split train, ", "toy, split train: "))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.zeros(3, int), "targets: shape (3,), expected (3, 4) for 3 ids and task emotion"),
        (np.diag([0.0, 2, 2, 0])[:3], "targets: [0. 2. 0. 0.] at index 1 is outside {0, 1} (2 of 12)"),
        (np.eye(3, 4) * 0.5, "targets: [0.5 0.  0.  0. ] at index 0 is outside {0, 1} (3 of 12)"),
        (
            np.where(np.eye(3, 4), np.nan, 0),
            "targets: [nan  0.  0.  0.] at index 0 (3 in total); leave such clips out with `ktnet-lite data convert",
        ),
    ],
)
def test_messages_of_emotion_targets(targets, message):
    with pytest.raises(DataError) as caught:
        dataset(split(targets=targets), task="emotion").validate()
    assert message in str(caught.value)


def test_bad_clips_are_those_that_would_be_refused():
    lengths = {"language": stream([2, 0, 3, 1, 1]), "audio": stream([4, 0, 5, 0, 1], dim=3)}
    scores = split(
        streams=lengths, targets=np.array([-3, 0, np.nan, 3.5, 3], np.float32), ids=tuple("abcde"), words=None
    )
    assert scores.bad("sentiment").tolist() == [False, True, True, True, False]
    scores.select(np.flatnonzero(~scores.bad("sentiment"))).validate("rest", "sentiment")
    emotions = split(targets=np.array([[0, 1, 1, 0], [0, 2, 0, 0], [0, 0.5, np.nan, 1]]))
    assert emotions.bad("emotion").tolist() == [False, True, True]


def test_emotion_targets_that_are_sound():
    dataset(split(targets=np.eye(3, 4, dtype=np.int64)), task="emotion").validate()


def test_splits_must_agree_in_features():
    with pytest.raises(DataError, match="toy, split valid, audio: 5 features per step, but other splits have 3"):
        dataset(split(), split(**streams(audio=stream([4, 2, 5], dim=5)))).validate()


def test_aligned_means_one_length_for_all_streams():
    same = split(**streams(audio=stream([2, 1, 3], dim=3)))
    dataset(same, aligned=True).validate()
    missing = split(**streams(audio=stream([2, 0, 3], dim=3)))  # a clip without audio is no contradiction
    dataset(missing, aligned=True).validate()
    with pytest.raises(DataError) as caught:
        dataset(split(**streams(audio=stream([2, 1, 4], dim=3))), aligned=True).validate()
    assert "clip 2 ('c'): declared aligned, but the streams have 3 and 4 steps; set aligned=False in the header" in str(
        caught.value
    )


def test_a_split_without_a_modality_keeps_clips_and_the_rest():
    split = synthetic.make((3, 1, 1)).dataset["train"]
    silent = split.without("audio")
    assert set(silent.streams) == {"language", "vision"} and silent.words == split.words
    assert silent.ids == split.ids and (silent.targets == split.targets).all() and "audio" in split.streams
    assert split.without("language", "audio").words is None
