"""Features are computed once, found by content, and a damaged or missing shard is one that is not there."""

import errno
import importlib
import os
import shutil
import threading

import numpy as np
import pytest

from fieldmark import pictures
from fieldmark.errors import UsageError
from fieldmark.types import Preprocess
from fieldmark.workshop.train import cache as room
from fieldmark.workshop.train.cache import FeatureCache, digests, fill
from tests.training import draw

PREPROCESS = Preprocess((8, 8))


class Counting:
    """An engine that counts pictures; its rows are means over each colour, and one that depends on the first value."""

    name, precision, micro_batch = "counting", "f32", 2

    def __init__(self) -> None:
        self.seen = 0
        self._lock = threading.Lock()

    def run(self, batch, outputs):
        with self._lock:
            self.seen += len(batch)
        return {"embedding": batch.reshape(len(batch), -1, 3).mean(1, dtype=np.float32) * 1.001}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(room, "SHARD_ROWS", 4)


@pytest.fixture
def paths(tmp_path):
    return [draw(tmp_path / "pics" / f"{i}.png", (20 * i, 100, 50), i) for i in range(10)]


def extend(paths, key="net", engine=None):
    """A fresh cache of this key over these pictures: it, the digests, the errors, and how many were computed."""
    engine = engine or Counting()
    cache = FeatureCache(key, "embedding")
    keys = digests(paths)
    ticks = []
    errors = fill(
        [cache],
        engine,
        list(zip(keys, paths, strict=True)),
        lambda data, digest: pictures.load(data, PREPROCESS),
        lambda done, total: ticks.append((done, total)),
    )
    assert ticks[-1] == (len(paths), len(paths))
    return cache, keys, errors, engine.seen


def expected(paths):
    rows = [pictures.load(p, PREPROCESS).reshape(-1, 3).mean(0, dtype=np.float32) * np.float32(1.001) for p in paths]
    return np.stack(rows).astype(np.float16)


def test_rows_come_in_the_order_asked_for_as_half_floats(paths):
    cache, keys, errors, seen = extend(paths)
    assert (errors, seen) == ({}, 10)
    order = [7, 0, 9, 3, 3]
    found = cache.rows([keys[i] for i in order])
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, expected(paths)[order])


def test_a_second_run_computes_nothing(paths):
    extend(paths)
    cache, keys, _, seen = extend(paths)
    assert seen == 0
    np.testing.assert_array_equal(cache.rows(keys), expected(paths))


def test_a_renamed_or_copied_picture_is_found_by_its_content(paths, tmp_path):
    extend(paths)
    moved = paths[3].rename(tmp_path / "another name.jpg")
    copied = shutil.copy(paths[4], tmp_path / "copy.png")
    assert extend([moved, tmp_path / copied])[3] == 0


def test_a_changed_picture_is_computed_again(paths):
    extend(paths)
    draw(paths[0], (250, 250, 250), 99)
    cache, keys, _, seen = extend(paths)
    assert seen == 1
    np.testing.assert_array_equal(cache.rows(keys), expected(paths))


def test_another_key_shares_nothing(paths):
    extend(paths)
    assert extend(paths, key="net, view 1")[3] == 10


def test_one_content_is_computed_once(paths, tmp_path):
    twins = [shutil.copy(paths[0], tmp_path / f"{i}.png") for i in range(3)]
    assert extend([paths[0], *map(type(paths[0]), twins)])[3] == 1


def test_what_was_written_before_a_kill_is_kept(paths, monkeypatch):
    # one worker: with two, the picture that is killed may be one of the first
    monkeypatch.setattr(importlib.import_module("fieldmark.field.runtime.stream"), "cores", lambda: 1)

    class Killed(Counting):
        def run(self, batch, outputs):
            if self.seen >= 6:
                raise KeyboardInterrupt
            return super().run(batch, outputs)

    engine = Killed()
    with pytest.raises(KeyboardInterrupt):
        extend(paths, engine=engine)
    kept = len(list(room.feature_folder().rglob("*.key"))) * room.SHARD_ROWS
    cache, keys, _, seen = extend(paths)
    assert kept >= 4
    assert seen == 10 - kept
    np.testing.assert_array_equal(cache.rows(keys), expected(paths))
    assert not list(room.feature_folder().rglob("*.partial*"))


DAMAGE = {
    "empty": lambda shard: shard.write_bytes(b""),
    "cut": lambda shard: shard.write_bytes(shard.read_bytes()[:-3]),
    "header cut": lambda shard: shard.write_bytes(shard.read_bytes()[:20]),
    "rubbish": lambda shard: shard.write_bytes(b"rubbish" * 50),
    "a zip": lambda shard: shard.write_bytes(b"PK\x03\x04" + b"0" * 200),
    "a pickle": lambda shard: np.save(shard, np.array([{}] * 4), allow_pickle=True),
    "other rows": lambda shard: np.save(shard, np.zeros((3, 3), np.float16)),
    "flat": lambda shard: np.save(shard, np.zeros(4, np.float16)),
    "other type": lambda shard: np.save(shard, np.zeros((4, 3), np.float64)),
    "gone": lambda shard: shard.unlink(),
    "zeros": lambda shard: shard.write_bytes(shard.read_bytes()[:128] + bytes(shard.stat().st_size - 128)),
    "nan": lambda shard: shard.write_bytes(shard.read_bytes()[:128] + b"\xff" * (shard.stat().st_size - 128)),
    "one bit": lambda shard: shard.write_bytes(shard.read_bytes()[:-1] + bytes([shard.read_bytes()[-1] ^ 1])),
    "other width": lambda shard: np.save(shard, np.zeros((4, 7), np.float16)),
    "no checksum": lambda shard: shard.with_suffix(".key").write_bytes(shard.with_suffix(".key").read_bytes()[:-4]),
    "keys swapped": lambda shard: shard.with_suffix(".key").write_bytes(
        (raw := shard.with_suffix(".key").read_bytes())[16:32] + raw[:16] + raw[32:]
    ),
    "a folder": lambda shard: (shard.unlink(), shard.mkdir()),
    "a pipe": lambda shard: (shard.with_suffix(".key").unlink(), os.mkfifo(shard.with_suffix(".key"))),
    "keys cut": lambda shard: shard.with_suffix(".key").write_bytes(b"123"),
    "keys empty": lambda shard: shard.with_suffix(".key").write_bytes(b""),
    "keys gone": lambda shard: shard.with_suffix(".key").unlink(),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_shard_is_computed_again(paths, kind):
    extend(paths[:4])
    (shard,) = room.feature_folder().rglob("*.npy")
    DAMAGE[kind](shard)
    cache, keys, _, seen = extend(paths)
    assert seen == 10
    np.testing.assert_array_equal(cache.rows(keys), expected(paths))


def test_a_shard_of_another_width_than_the_others_is_computed_again(paths, monkeypatch):
    cache, keys, _, _ = extend(paths)
    monkeypatch.setattr(room, "SHARD_ROWS", 2)
    odd = [bytes(16)]
    cache.write(odd, [np.zeros(7, np.float16)])
    again, _, _, seen = extend(paths)
    assert seen == 0
    assert odd[0] not in again
    np.testing.assert_array_equal(again.rows(keys), expected(paths))


def test_an_answer_that_is_not_finite_is_an_error_of_its_picture(paths):
    class Broken(Counting):
        def run(self, batch, outputs):
            found = super().run(batch, outputs)
            found["embedding"][batch.mean((1, 2))[:, 0] > 150] = np.nan
            return found

    cache, keys, errors, _ = extend(paths, engine=Broken())
    assert errors
    assert all("is not finite" in sentence for sentence in errors.values())
    assert np.isfinite(cache.rows([k for k in keys if k not in errors])).all()


def test_a_cache_that_cannot_be_written_is_said_before_anything_is_computed(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "cache", "/proc/fieldmark"):
        monkeypatch.setenv("FIELDMARK_CACHE", str(place))
        with pytest.raises(UsageError, match=f"the cache folder {place} cannot be written .*; set FIELDMARK_CACHE"):
            room.check_writable()
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "new"))
    room.check_writable()
    assert not list(room.feature_folder().iterdir())


def test_a_cache_that_fills_up_says_where_it_is(paths, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(room.np, "save", full)
    with pytest.raises(UsageError, match=r"cache cannot be written \(No space left on device\); set FIELDMARK_CACHE"):
        extend(paths)


def test_unusable_pictures_are_reported_and_keep_nothing_from_the_others(paths):
    paths[2].write_bytes(b"broken")
    cache, keys, errors, seen = extend(paths)
    assert seen == 9
    assert set(errors) == {keys[2]}
    assert keys[2] not in cache
    assert all(k in cache for k in keys if k != keys[2])


def test_digests_say_what_cannot_be_read(paths, tmp_path, fifo):
    (tmp_path / "empty").write_bytes(b"")
    found = digests([paths[0], tmp_path / "none", tmp_path / "empty", tmp_path, fifo("pipe")])
    assert isinstance(found[0], bytes)
    assert len(found[0]) == room.KEY_BYTES
    assert all(isinstance(f, str) for f in found[1:])


def test_the_cache_is_bounded_and_drops_the_oldest(paths, monkeypatch):
    extend(paths[:4], key="old")
    for file in room.feature_folder().rglob("*.*"):
        os.utime(file, (1, 1))
    size = sum(f.stat().st_size for f in room.feature_folder().rglob("*.*"))
    trim = room.trim_cache
    monkeypatch.setattr(room, "trim_cache", lambda folder: trim(folder, size + 10))
    cache, keys, _, _ = extend(paths, key="new")
    np.testing.assert_array_equal(cache.rows(keys), expected(paths))  # even what was dropped meanwhile
    assert extend(paths[:4], key="old")[3] == 4
    assert sum(f.stat().st_size for f in room.feature_folder().rglob("*.*")) <= size + 10


def test_opening_a_cache_makes_it_young(paths):
    extend(paths[:4])
    for file in room.feature_folder().rglob("*.*"):
        os.utime(file, (1, 1))
    FeatureCache("net", "embedding")
    assert all(f.stat().st_mtime > 1 for f in room.feature_folder().rglob("*.*"))


def test_values_beyond_half_floats_are_bounded():
    found = room._half(np.array([1e9, -1e9, 0.5], np.float32))
    assert np.isfinite(found).all()
    assert found[2] == 0.5
