import itertools
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.errors import PictureError, UsageError
from fieldmark.field.runtime.stream import AHEAD, stream


class Doubling:
    """An engine whose answer to a picture is twice its first value; notes how many pictures each call held."""

    name, precision, micro_batch = "doubling", "f32", 4

    def __init__(self) -> None:
        self.calls: list[int] = []

    def run(self, pictures, outputs):
        self.calls.append(len(pictures))
        return {name: pictures[:, 0, 0, :1].astype(np.float32) * 2 for name in outputs}


def load(number: int) -> np.ndarray:
    if number % 7 == 3:
        raise PictureError(f"{number} is broken")
    return np.full((2, 2, 3), number, np.uint8)


def ours() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("fieldmark")]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert not ours()


@pytest.mark.parametrize("workers", [1, 2, 3, None])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 33, 100])
def test_results_come_in_the_order_of_the_items(count, workers):
    found = list(stream(Doubling(), range(count), load, ("logits",), workers))
    assert [seen.item for seen in found] == list(range(count))
    for seen in found:
        if seen.item % 7 == 3:
            assert (seen.error, seen.outputs) == (f"{seen.item} is broken", {})
        else:
            assert seen.error is None
            assert seen.outputs["logits"].tolist() == [2 * seen.item]


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(0, 120), max_size=40), st.integers(1, 3), st.randoms())
def test_slow_pictures_do_not_change_the_order(items, workers, rng):
    waits = {item: rng.random() * 0.002 for item in items}

    def slow(item):
        time.sleep(waits[item])
        return load(item)

    assert [s.item for s in stream(Doubling(), items, slow, ("logits",), workers)] == items


def test_every_output_asked_for_is_given_and_no_other():
    (seen,) = stream(Doubling(), [5], load, ("a", "b"), 1)
    assert {name: value.tolist() for name, value in seen.outputs.items()} == {"a": [10], "b": [10]}


def test_micro_batches_are_as_large_as_the_engine_wants():
    engine = Doubling()
    engine.micro_batch = 3
    list(stream(engine, [0, 1, 2, 4, 5, 6, 7], load, ("logits",), 1))
    assert engine.calls == [3, 3, 1]


def test_the_engine_is_not_asked_for_a_batch_without_a_picture():
    engine = Doubling()
    found = list(stream(engine, [3, 10, 17, 24], load, ("logits",), 1))
    assert [s.error is not None for s in found] == [True] * 4
    assert engine.calls == []


@pytest.mark.parametrize("workers", [1, 2])
def test_reading_goes_no_further_ahead_than_promised(workers):
    read, loaded = [], []

    def counting(number):
        loaded.append(number)
        return np.zeros((1, 1, 3), np.uint8)

    items = (read.append(number) or number for number in itertools.count())
    results = stream(Doubling(), items, counting, ("logits",), workers)
    for taken, _ in enumerate(itertools.islice(results, 60), start=1):
        assert len(loaded) <= len(read) <= taken + (workers * AHEAD + 1) * Doubling.micro_batch
    results.close()


def test_nothing_is_read_before_the_first_result_is_asked_for():
    started = []
    results = stream(Doubling(), (started.append(i) or i for i in range(9)), load, ("logits",))
    assert started == []
    results.close()
    assert started == []


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("place", [0, 5, 60])
def test_any_other_error_of_loading_comes_through_and_threads_end(place, workers):
    def failing(number):
        if number == place:
            raise ZeroDivisionError(str(number))
        return np.zeros((1, 1, 3), np.uint8)

    results = stream(Doubling(), range(200), failing, ("logits",), workers)
    with pytest.raises(ZeroDivisionError, match=str(place)):
        list(results)
    assert not ours()


def test_an_error_of_the_engine_comes_through():
    class Broken(Doubling):
        def run(self, pictures, outputs):
            raise RuntimeError("engine")

    with pytest.raises(RuntimeError, match="engine"):
        list(stream(Broken(), range(50), load, ("logits",), 2))


@pytest.mark.parametrize("place", [0, 3, 90])
def test_an_error_of_the_items_comes_through(place):
    def items():
        yield from range(place)
        raise UsageError("folder gone")

    with pytest.raises(UsageError, match="folder gone"):
        list(stream(Doubling(), items(), load, ("logits",), 2))


def test_pictures_of_different_shapes_in_one_batch_come_through_as_an_error():
    with pytest.raises(ValueError, match="same shape"):
        list(stream(Doubling(), [1, 2], lambda n: np.zeros((n, 1, 3), np.uint8), ("logits",), 1))


@pytest.mark.parametrize("taken", [1, 6])
def test_a_stream_closed_early_stops_reading_and_ends_its_threads(taken):
    loaded = []

    def counting(number):
        loaded.append(number)
        return np.zeros((1, 1, 3), np.uint8)

    results = stream(Doubling(), itertools.count(), counting, ("logits",), 2)
    for _ in range(taken):
        next(results)
    results.close()
    assert not ours()
    assert len(loaded) <= taken + (2 * AHEAD + 1) * 4


def test_two_streams_of_one_engine_do_not_mix():
    engine = Doubling()
    one = stream(engine, range(0, 60, 2), load, ("logits",), 2)
    two = stream(engine, range(1, 61, 2), load, ("logits",), 2)
    for a, b in zip(one, two, strict=True):
        assert a.item + 1 == b.item
        for seen in (a, b):
            assert seen.error is not None or seen.outputs["logits"].tolist() == [2 * seen.item]
