"""Batches: padding and masks by hand, every clip once, like lengths together, the same order again."""

import tracemalloc
from itertools import chain

import numpy as np
import pytest
import torch

from ktnet_lite.data import batching
from ktnet_lite.data.batching import Batches, Padded, bucketed, collate, pad, statistics
from ktnet_lite.data.schema import Split, Stream
from ktnet_lite.errors import DataError
from small import make_batch, make_split


def split_of(clips: int, seed: int = 0) -> Split:
    """Clips of 1 to 40 steps whose every value is the clip's own number."""
    lengths = np.random.default_rng(seed).integers(1, 41, clips)
    numbers = np.repeat(np.arange(clips, dtype=np.float32), lengths)[:, None]
    streams = {name: Stream(numbers, lengths) for name in ("language", "vision", "audio")}
    return Split(streams, np.arange(clips, dtype=np.float32) / clips, tuple(map(str, range(clips))))


def order_of(batches) -> list[list[int]]:
    return [batch.indices.tolist() for batch in batches]


def test_padded_mean_last_and_lengths_by_hand():
    values = torch.tensor([[[1.0, 10.0], [3.0, 30.0], [1e4, 1e4]], [[5.0, 50.0], [1e4, 1e4], [1e4, 1e4]]])
    padded = Padded(values, torch.tensor([[True, True, False], [True, False, False]]))
    assert padded.lengths.tolist() == [2, 1]
    assert padded.mean().tolist() == [[2.0, 20.0], [5.0, 50.0]]
    assert padded.last().tolist() == [[3.0, 30.0], [5.0, 50.0]]
    assert padded.full_mask() is padded.mask

    whole = Padded(values[:, :2])
    assert whole.lengths.tolist() == [2, 2]
    assert whole.mean().tolist() == [[2.0, 20.0], [5002.5, 5025.0]]
    assert whole.last().tolist() == [[3.0, 30.0], [1e4, 1e4]]
    assert whole.full_mask().tolist() == [[True, True], [True, True]]


def test_padded_mean_and_last_allow_holes_as_two_streams_in_a_row_have():
    values = torch.tensor([[[1.0], [9.0], [4.0], [9.0]]])
    padded = Padded(values, torch.tensor([[True, False, True, False]]))
    assert padded.mean().tolist() == [[2.5]]
    assert padded.last().tolist() == [[4.0]]


def test_pad_by_hand():
    stream = Stream(np.arange(12, dtype=np.float32).reshape(6, 2), np.array([1, 3, 2]))
    padded = pad(stream, np.array([2, 0]))
    assert padded.values.tolist() == [[[8, 9], [10, 11]], [[0, 1], [0, 0]]]
    assert padded.mask.tolist() == [[True, True], [True, False]]


def test_no_mask_when_nothing_is_padded():
    stream = Stream(np.ones((6, 2), np.float32), np.array([2, 2, 2]))
    assert pad(stream, np.array([0, 2])).mask is None
    assert pad(Stream(np.ones((3, 2), np.float32), np.array([1, 2])), np.array([1])).mask is None


def test_an_absent_modality_is_one_zero_step_and_not_present():
    stream = Stream(np.ones((3, 2), np.float32), np.array([0, 3, 0]))
    split = Split({"language": stream}, np.zeros(3, np.float32), ("a", "b", "c"))
    batch = collate(split, [0, 1], ["language"])
    assert batch.present["language"].tolist() == [False, True]
    assert batch.streams["language"].mask.tolist() == [[True, False, False], [True, True, True]]
    assert batch.streams["language"].values[0].abs().sum() == 0
    alone = collate(split, [0, 2], ["language"]).streams["language"]
    assert alone.values.shape == (2, 1, 2) and alone.mask is None


def test_collate_takes_targets_and_indices_in_the_order_asked_for():
    split = split_of(10)
    batch = collate(split, [7, 2, 5], ["vision"])
    assert batch.indices.tolist() == [7, 2, 5] and batch.size == 3
    torch.testing.assert_close(batch.targets, torch.tensor([0.7, 0.2, 0.5]))
    assert batch.streams["vision"].mean()[:, 0].tolist() == [7, 2, 5]


def test_emotion_targets_keep_their_shape():
    split = make_split({"language": [2, 3]}, task="emotion")
    assert collate(split, [0, 1], ["language"]).targets.shape == (2, 4)


def test_a_modality_that_is_not_asked_for_is_never_touched():
    class Guarded(dict):
        def __getitem__(self, name):
            assert name != "audio", "audio was read"
            return super().__getitem__(name)

        def values(self):
            raise AssertionError("every stream was read")

        items = values

    split = split_of(30)
    guarded = Split(Guarded(split.streams), split.targets, split.ids)
    for batch in Batches(guarded, 4, ("language", "vision")).epoch(0):
        assert set(batch.streams) == set(batch.present) == {"language", "vision"}


@pytest.mark.parametrize("clips", [1, 7, 8, 9, 128, 129, 300])
def test_every_clip_once_an_epoch(clips):
    batches = Batches(split_of(clips), 8, ("language", "audio"))
    for number in range(2):
        epoch = order_of(batches.epoch(number))
        assert sorted(chain(*epoch)) == list(range(clips))
        assert len(epoch) == len(batches)
        assert sum(len(batch) < 8 for batch in epoch) <= 1
    evaluation = order_of(batches)
    assert sorted(chain(*evaluation)) == list(range(clips)) and len(evaluation) == len(batches)


def test_batches_hold_the_clips_that_their_indices_say():
    for batch in Batches(split_of(50), 8, ("vision",), seed=3).epoch(1):
        torch.testing.assert_close(batch.streams["vision"].mean()[:, 0], batch.indices.float())
        torch.testing.assert_close(batch.targets, batch.indices.float() / 50)


def test_buckets_pad_less_than_random_batches():
    lengths = np.random.default_rng(1).integers(1, 501, 400)

    def padding(batches):
        return sum(len(batch) * lengths[batch].max() - lengths[batch].sum() for batch in batches)

    rng = np.random.default_rng(0)
    assert padding(bucketed(lengths, 16, rng)) < 0.3 * padding(np.array_split(rng.permutation(400), 25))


def test_order_depends_on_seed_and_epoch_alone():
    first, again, other = (Batches(split_of(60), 8, ("language",), seed=seed) for seed in (5, 5, 6))
    assert order_of(first.epoch(2)) == order_of(again.epoch(2))
    list(first.epoch(0))
    assert order_of(first.epoch(2)) == order_of(again.epoch(2))
    assert order_of(first.epoch(2)) != order_of(first.epoch(3))
    assert order_of(first.epoch(2)) != order_of(other.epoch(2))


@pytest.mark.parametrize("world", [2, 3])
def test_shards_partition_every_batch(world):
    split = split_of(48)
    whole = list(Batches(split, 12, ("language",), seed=1).epoch(0))
    shards = [list(Batches(split, 12, ("language",), seed=1, shard=(rank, world)).epoch(0)) for rank in range(world)]
    for batch, *parts in zip(whole, *shards, strict=True):
        assert sorted(chain(*(part.indices.tolist() for part in parts))) == sorted(batch.indices.tolist())
        assert {len(part.indices) for part in parts} == {12 // world}
        assert {part.size for part in parts} == {12}


def test_a_batch_smaller_than_the_processes_is_shared():
    split = split_of(5)  # batches of 4 and 1
    shards = [order_of(Batches(split, 4, ("language",), seed=1, shard=(rank, 2)).epoch(0)) for rank in (0, 1)]
    assert [len(batch) for batch in shards[0]] == [len(batch) for batch in shards[1]]
    last = [next(batch for batch in shard if len(batch) == 1) for shard in shards]
    assert last[0] == last[1]


def test_evaluation_is_not_sharded():
    split = split_of(20)
    assert order_of(Batches(split, 8, ("language",), shard=(1, 2))) == order_of(Batches(split, 8, ("language",)))


def test_an_error_while_collating_ahead_reaches_the_loop(monkeypatch):
    def broken(split, indices, modalities):
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError("no room for the third batch")
        return collate(split, indices, modalities)

    calls: list[int] = []
    monkeypatch.setattr(batching, "collate", broken)
    seen = 0
    with pytest.raises(MemoryError, match="third batch"):
        for _ in Batches(split_of(40), 8, ("language",)).epoch(0):
            seen += 1
    assert seen == 2


def test_a_loop_may_stop_early():
    batches = Batches(split_of(40), 8, ("language",))
    next(iter(batches.epoch(0)))
    assert len(order_of(batches.epoch(0))) == 5


def test_clips_without_the_modality_or_no_clips_at_all_are_errors():
    split = split_of(4)
    deaf = Split({"language": split.streams["language"]}, split.targets, split.ids)
    with pytest.raises(DataError, match="no audio; it has language"):
        Batches(deaf, 2, ("language", "audio"))
    with pytest.raises(DataError, match="no clips"):
        Batches(split.select([]), 2, ("language",))


def test_a_batch_moves_to_a_device_as_a_whole():
    batch = collate(split_of(4), [0, 1], ("language", "vision")).to("meta")
    tensors = [t for padded in batch.streams.values() for t in padded if t is not None]
    assert {t.device.type for t in [*tensors, *batch.present.values(), batch.targets]} == {"meta"}
    assert batch.indices.device.type == "cpu"


def test_statistics_by_hand():
    stream = Stream(np.array([[1, 7], [3, 7], [5, 7], [7, 7]], np.float32), np.array([3, 0, 1]))
    result = statistics(stream)
    assert result["mean"].tolist() == [4, 7]
    torch.testing.assert_close(result["scale"], torch.tensor([5**0.5, 1.0]))  # a constant feature has scale 1
    with pytest.raises(DataError, match="no training clip has a step"):
        statistics(Stream(np.empty((0, 2), np.float32), np.array([0, 0])))


def test_statistics_make_no_large_array_and_are_exact_far_from_zero():
    values = np.random.default_rng(0).normal(1000, 0.5, (100_000, 20)).astype(np.float32)
    stream = Stream(values, np.array([60_000, 40_000]))
    tracemalloc.start()
    try:
        result = statistics(stream)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.9 * values.nbytes
    for name, expected in (("mean", values.mean(axis=0, dtype=float)), ("scale", values.std(axis=0, dtype=float))):
        np.testing.assert_allclose(result[name].numpy(), expected, rtol=1e-6)


def test_a_clip_at_a_moment_has_the_steps_that_have_ended():
    batch = make_batch({"language": [4, 2], "vision": [1, 8], "audio": [3, 5]})
    cut = batch.until(torch.tensor([0.5, 1.0]))
    assert [cut.streams[name].lengths.tolist() for name in cut.streams] == [[2, 2], [1, 8], [1, 5]]
    assert [cut.present[name].tolist() for name in cut.present] == [[True, True], [False, True], [True, True]]
    assert (cut.streams["vision"].values[0] == 0).all(), "nothing of a step that goes on is left"
    assert torch.equal(cut.streams["audio"].values[1], batch.streams["audio"].values[1])


def test_times_are_shares_of_a_clip_equal_in_all_streams():
    batch = make_batch({"language": [50, 10], "vision": [375, 500], "audio": [3, 9]})
    times = {name: padded.timed().times for name, padded in batch.streams.items()}
    assert times["language"][0, 9] == times["vision"][0, 74] and times["language"][1, 4] == times["vision"][1, 249]
    assert times["audio"][0, :3].tolist() == torch.tensor([1 / 3, 2 / 3, 1.0]).tolist()
