"""What a text or a table gives to learn from, and what counting alone foresees of it."""

from itertools import pairwise

import numpy as np
import pytest

from fieldmark.errors import DataError, UsageError
from fieldmark.workshop.recipe import Recipe, load_recipe
from fieldmark.workshop.train import material
from fieldmark.workshop.train.material import open_material, pair_surprise
from tests.sequences import waves, write_table, write_text


def opened(data, *settings):
    return open_material(data, recipe(*settings), lambda name, done, of: None)


def recipe(*settings: str) -> Recipe:
    return load_recipe("sequence", settings)


def test_the_surprise_of_pairs_is_by_how_often_one_follows_the_other():
    rng = np.random.default_rng(0)
    learned, codes = rng.integers(0, 5, 300).astype(np.uint8), rng.integers(0, 6, 40).astype(np.uint8)
    found = pair_surprise(learned, codes, 6)
    for i, (a, b) in enumerate(pairwise(codes)):
        share = (sum(learned == b) + 1) / (300 + 6)
        both = sum((learned[:-1] == a) & (learned[1:] == b))
        assert found[i] == pytest.approx(-np.log((both + 10 * share) / (sum(learned[:-1] == a) + 10)))


@pytest.mark.parametrize(
    "settings",
    [("sequence.hidden=4096", "sequence.layers=16"), ("sequence.batch=4096", "sequence.window=4096")],
)
def test_what_does_not_fit_into_memory_is_refused_at_once(tmp_path, monkeypatch, settings):
    monkeypatch.setattr(material, "available_memory", lambda: 9e9)
    data = write_text(tmp_path / "a.txt", 3_000)
    assert opened(data).wanted.hidden == 512
    with pytest.raises(UsageError, match=r"needs about \d+ GB of memory to learn, and 9 GB are free; set sequence"):
        opened(data, *settings)


def test_a_column_with_too_few_numbers_is_left_out_and_named(tmp_path):
    values = waves(120)
    values[28:84, 0] = np.nan
    found = opened(write_table(tmp_path / "a.csv", values))
    assert found.series.columns == ("south",)
    assert ("column north", "fewer than 50 numbers to learn from") in [(s.name, s.reason) for s in found.skipped]
    values[28:84, 1] = np.nan
    with pytest.raises(DataError, match="column north has fewer than 50 numbers"):
        opened(write_table(tmp_path / "b.csv", values))


def test_a_part_without_numbers_is_refused_before_anything_is_learned(tmp_path):
    values = waves(200)
    values[175:] = np.nan
    with pytest.raises(DataError, match="the test part, its rows from 181 on, has no number"):
        opened(write_table(tmp_path / "a.csv", values))


def test_of_many_columns_each_begins_from_its_own_inputs(tmp_path, monkeypatch):
    monkeypatch.setattr(material, "MOST_JOINT", 1)
    found = opened(write_table(tmp_path / "a.csv", waves(400)))
    direct = found.network().direct.detach().numpy()
    assert (direct[0, 0::2] != 0).any()
    assert not direct[0, 1::2].any()
    assert not direct[1, 0::2].any()
