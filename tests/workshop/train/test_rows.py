"""Batches: every picture once an epoch, the same batch whenever it is asked for, bad pictures left out."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from fieldmark import pictures
from fieldmark.types import Preprocess
from fieldmark.workshop.recipe import AugmentRecipe
from fieldmark.workshop.train.augment import view
from fieldmark.workshop.train.rows import FreshRows, KeptRows, Order, Pictures
from tests.making import write_picture

PREPROCESS = Preprocess((16, 12))


def square(side):
    return Preprocess((side, side))


@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 5))
def test_every_epoch_has_every_picture_once(n, batch, seed):
    order = Order(n, batch, seed)
    seen = np.concatenate([order.places(k) for k in range(-(-3 * n // batch))])[: 3 * n]
    for epoch in range(3):
        assert sorted(seen[epoch * n : (epoch + 1) * n]) == list(range(n))
    again = Order(n, batch, seed)
    np.testing.assert_array_equal(again.places(2), order.places(2))


class Cache:
    def __init__(self, view: int) -> None:
        self.view = view

    def row(self, key):
        return np.array([10 * self.view + int(key)], np.float16)

    def rows(self, wanted):
        return np.stack([self.row(key) for key in wanted])


def test_kept_rows_are_those_of_drawn_views_and_repeat():
    source = KeptRows([Cache(0), Cache(1), Cache(2)], [square(32)] * 3, list(range(5)), 0, torch.float32)
    places = np.array([4, 0, 2])
    rows, used, *_ = source.batch(7, places, 0.5)
    np.testing.assert_array_equal(used, places)
    assert all(int(r) % 10 == p for r, p in zip(rows[:, 0], places, strict=True))
    torch.testing.assert_close(rows, source.batch(7, places, 0.5)[0])
    views = {int(source.batch(k, places, 0.5)[0][0, 0]) // 10 for k in range(40)}
    assert views == {0, 1, 2}
    torch.testing.assert_close(source.plain(places)[0][:, 0], torch.tensor([4.0, 0.0, 2.0]))


def test_kept_rows_of_other_sizes_have_their_turn_in_order():
    """The plain view has a size of its own and is not trained on."""
    caches = [Cache(view) for view in range(5)]
    source = KeptRows(caches, [square(side) for side in (96, 32, 32, 64, 64)], list(range(3)), 0, torch.float32)

    def views(done):
        return {int(r) // 10 for k in range(40) for r in source.batch(k, np.arange(3), done).rows[:, 0]}

    assert views(0.0) == views(0.49) == {1, 2}
    assert views(0.5) == views(1.0) == {3, 4}
    alone = KeptRows(caches[:1], [square(96)], list(range(3)), 0, torch.float32)
    assert int(alone.batch(0, np.arange(1), 0.0)[0]) == 0
    last = KeptRows(caches[:3], [square(side) for side in (64, 32, 64)], list(range(3)), 0, torch.float32)
    assert {int(last.batch(k, np.arange(1), 1.0)[0]) // 10 for k in range(40)} == {0, 2}


def growing(done):
    return PREPROCESS if done < 0.5 else Preprocess((20, 24))


def source_of(tmp_path, count=6):
    paths = [write_picture(tmp_path / f"{i}.png", i) for i in range(count)]
    keys = [bytes([i]) * 16 for i in range(count)]
    return paths, Pictures(paths, keys, 0, PREPROCESS, growing, AugmentRecipe())


def test_fresh_pictures_are_cropped_around_their_places(tmp_path):
    paths = [write_picture(tmp_path / f"{i}.png", i) for i in range(2)]
    keys, recipe = [bytes([i]) * 16 for i in range(2)], AugmentRecipe(guided=1.0)
    source = Pictures(paths, keys, 0, PREPROCESS, growing, recipe, {keys[1]: (0.9, 0.1)})
    frames = source.batch(3, np.arange(2), 0.0).rows.numpy()
    for frame, path, key, place in zip(frames, paths, keys, (None, (0.9, 0.1)), strict=True):
        np.testing.assert_array_equal(frame, view(path.read_bytes(), key, 4, 0, growing(0.0), recipe, place))


def test_pictures_come_fresh_each_batch_and_plain_for_validation(tmp_path):
    paths, source = source_of(tmp_path)
    places = np.arange(6)
    first, used, *_ = source.batch(0, places, 0.0)
    assert (first.shape, first.dtype) == ((6, 12, 16, 3), torch.uint8)
    np.testing.assert_array_equal(used, places)
    assert (source.batch(1, places, 0.0)[0] != first).any()
    torch.testing.assert_close(source.batch(0, places, 0.0)[0], first)
    plain, *_ = source.plain(places[:2])
    np.testing.assert_array_equal(plain[1].numpy(), pictures.load(paths[1], PREPROCESS))


def test_views_grow_as_training_goes_on(tmp_path):
    _, source = source_of(tmp_path)
    assert source.batch(0, np.arange(2), 0.4)[0].shape == (2, 12, 16, 3)
    assert source.batch(1, np.arange(2), 0.6)[0].shape == (2, 24, 20, 3)
    assert source.plain(np.arange(2))[0].shape == (2, 12, 16, 3)


def test_reading_ahead_changes_nothing(tmp_path):
    _, source = source_of(tmp_path)
    order = Order(6, 4, 0)
    expected = [source.batch(k, order.places(k), k / 5)[0] for k in range(5)]
    _, ahead = source_of(tmp_path)
    ahead.follow(order)
    for k, rows in enumerate(expected):
        torch.testing.assert_close(ahead.batch(k, order.places(k), k / 5)[0], rows)


def test_a_broken_picture_is_left_out_of_its_batch_and_listed(tmp_path):
    paths, source = source_of(tmp_path)
    paths[3].write_bytes(b"broken")
    rows, used, *_ = source.batch(0, np.arange(6), 0.0)
    assert len(rows) == 5
    np.testing.assert_array_equal(used, [0, 1, 2, 4, 5])
    assert list(source.errors) == [3]


def test_batches_may_be_asked_for_from_threads(tmp_path):
    _, source = source_of(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: source.batch(k, np.arange(6), 0.0)[0], range(8)))
    assert len(found) == 8


class Engine:
    """Gives each picture's mean; three pictures a call at most."""

    micro_batch = 3

    def run(self, batch, outputs):
        assert len(batch) <= self.micro_batch
        return {outputs[0]: batch.reshape(len(batch), -1).mean(1, dtype=np.float32)[:, None]}


def test_fresh_rows_are_the_engines_of_the_same_pictures(tmp_path):
    paths, source = source_of(tmp_path)
    paths[1].write_bytes(b"broken")
    places = np.arange(6)
    pictures_, used, *_ = source.batch(3, places, 0.0)
    fresh = FreshRows(source, lambda side: Engine(), "rows", torch.float32)
    rows, kept, *_ = fresh.batch(3, places, 0.0)
    np.testing.assert_array_equal(kept, used)
    torch.testing.assert_close(rows[:, 0], pictures_.float().mean((1, 2, 3)))
    plain, kept, *_ = fresh.plain(places[1:2])
    assert (len(plain), len(kept)) == (0, 0)
