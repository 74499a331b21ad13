"""Tables of numbers in time order: which columns, gaps, order, and inputs that know no future."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.data.series import Scaling, fill_gaps, open_series
from fieldmark.errors import DataError


def write(path, rows, header="date,hens,cocks,name"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def days(count=80):
    return [f"2024-{1 + i // 28:02d}-{1 + i % 28:02d},{i % 7},{100 - i * 0.5},x" for i in range(count)]


def test_columns_of_numbers_are_taken_and_the_others_listed(tmp_path):
    series = open_series(write(tmp_path / "a.csv", days()))
    assert series.columns == ("hens", "cocks")
    assert series.values.shape == (80, 2)
    assert series.values[3].tolist() == [3, 98.5]
    assert {s.name for s in series.skipped} == {"column date", "column name"}


def test_gaps_are_gaps_and_cells_that_are_no_numbers_are_listed(tmp_path):
    rows = days()
    rows[4], rows[5], rows[6] = "2024-01-05,,7,x", "2024-01-06,nan,inf,x", "2024-01-07,many,7,x"
    series = open_series(write(tmp_path / "a.csv", rows))
    assert np.isnan(series.values[4:7, 0]).all()
    assert np.isnan(series.values[5, 1])
    assert {s.name for s in series.skipped if s.name.startswith("row")} == {"row 6, column cocks", "row 7, column hens"}


def test_without_a_header_columns_are_numbered_and_counters_left_out(tmp_path):
    (tmp_path / "a.tsv").write_text("\n".join(f"{i}\t{i * i % 11}" for i in range(70)))
    assert open_series(tmp_path / "a.tsv").columns == ("column 2",)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "no rows below its header"),
        (days(20), "has 20 rows"),
        ([f"2024-01-01,a,b,{i}x" for i in range(80)], "no column of numbers"),
        (list(reversed(days())), "not in time order: date falls after row 1"),
    ],
)
def test_a_table_that_cannot_be_learned_from_is_one_sentence(tmp_path, rows, says):
    with pytest.raises(DataError, match=says):
        open_series(write(tmp_path / "a.csv", rows))


def test_a_counter_with_a_decimal_comma_says_when(tmp_path):
    rows = [f"{i // 2},{5 * (i % 2)};{i * i % 11}" for i in range(70)]
    (tmp_path / "a.csv").write_text("hours;warm\n" + "\n".join(rows), encoding="utf-8")
    found = open_series(tmp_path / "a.csv")
    assert found.columns == ("warm",)
    assert [(s.name, s.reason) for s in found.skipped] == [("column hours", "it says when; not foreseen")]


@pytest.mark.parametrize(("others", "refused"), [(8, True), (9, False)])
def test_a_column_is_one_of_times_when_nine_tenths_are(tmp_path, others, refused):
    rows = [f"2024-01-{28 - i % 28:02d},{i % 7},1,x" for i in range(80)]
    rows[:others] = [f"then,{i % 7},1,x" for i in range(others)]
    write(tmp_path / "a.csv", rows, "began,hens,cocks,name")
    if refused:
        with pytest.raises(DataError, match="began falls"):
            open_series(tmp_path / "a.csv")
    else:
        assert "hens" in open_series(tmp_path / "a.csv").columns


def test_tables_of_other_countries_are_read(tmp_path):
    rows = [f"2024-01-01;{i % 9},5;\u2212{i % 7}" for i in range(70)]
    (tmp_path / "a.csv").write_text("date;warm;cold\n" + "\n".join(rows), encoding="utf-8")
    found = open_series(tmp_path / "a.csv")
    assert found.columns == ("warm", "cold")
    assert found.values[3].tolist() == [3.5, -3.0]


def test_cells_that_do_not_fit_are_listed_and_are_gaps(tmp_path):
    rows = [f"{i % 7},{i % 5}" for i in range(80)]
    rows[10], rows[20], rows[30] = "1", "1,2,3", "1e290,4"
    (tmp_path / "a.csv").write_text("a,b\n" + "\n".join(rows), encoding="utf-8")
    found = open_series(tmp_path / "a.csv")
    assert {s.name for s in found.skipped} == {"row 11", "row 21", "row 31, column a"}
    assert np.isnan(found.values[10, 1])
    assert np.isnan(found.values[30, 0])


def test_the_columns_of_a_model_are_taken_whatever_they_hold(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,x\n2,\n3,y\n", encoding="utf-8")
    found = open_series(tmp_path / "a.csv", wanted=("b", "a"))
    assert found.columns == ("b", "a")
    np.testing.assert_array_equal(found.values, [[np.nan, 1], [np.nan, 2], [np.nan, 3]])
    with pytest.raises(DataError, match="lacks the column c"):
        open_series(tmp_path / "a.csv", wanted=("c",))


def test_a_column_of_times_by_any_name_may_not_run_backwards(tmp_path):
    rows = [f"2024-01-{i % 28 + 1:02d},{i % 9}" for i in range(80)]
    (tmp_path / "a.csv").write_text("Tag,a\n" + "\n".join(rows), encoding="utf-8")
    with pytest.raises(DataError, match="Tag falls after row 28"):
        open_series(tmp_path / "a.csv")


def test_what_is_no_table_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        open_series(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        open_series(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no UTF-8 text"):
        open_series(tmp_path / "b.csv")
    with pytest.raises(DataError, match="twice; rename"):
        open_series(write(tmp_path / "c.csv", days(), "date,hens,hens,name"))


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(20, 60))
def test_inputs_of_a_row_depend_on_no_later_row(seed, period, place):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(80, 2)).cumsum(0)
    values[rng.random(values.shape) < 0.2] = np.nan
    scaling = Scaling.of(values[:70], period)
    changed = values.copy()
    changed[place + 1 :] = 1e6
    before, last_before = scaling.inputs(values)
    after, last_after = scaling.inputs(changed)
    np.testing.assert_array_equal(before[: place + 1], after[: place + 1])
    np.testing.assert_array_equal(last_before[: place + 1], last_after[: place + 1])


def test_the_scaling_is_of_the_training_part_and_finds_the_period():
    season = np.array([0, 5, 1, 7, 2, 3, 9.0])
    values = np.tile(season, 30)[:, None] + np.random.default_rng(0).normal(0, 0.1, (210, 1))
    scaling = Scaling.of(values)
    assert scaling.period % 7 == 0
    assert scaling.mean[0] == pytest.approx(values.mean())
    assert scaling.step[0] == pytest.approx(np.abs(np.diff(values, axis=0)).mean())
    last = fill_gaps(values, np.zeros(1))
    season_said = scaling.season(last)
    np.testing.assert_array_equal(season_said[100], values[101 - scaling.period])
    assert Scaling.from_json(vars(scaling)) == scaling


def test_a_cycle_of_one_column_is_found_beside_one_that_only_drifts():
    rng = np.random.default_rng(0)
    drift, week = np.cumsum(rng.normal(size=700)), np.tile([0, 5, 1, 7, 2, 3, 9.0], 100) + rng.normal(0, 1, 700)
    smooth = np.sin(np.arange(700) * 2 * np.pi / 50)[:, None]
    assert Scaling.of(np.stack([drift, week], 1)).period == 7
    assert Scaling.of(smooth + rng.normal(0, 0.02, (700, 1))).period % 50 == 0
    assert Scaling.of(np.arange(90.0)[:, None] ** 2).period == 1


def test_a_gap_is_the_last_value_and_before_any_the_first_that_is_given():
    values = np.array([[np.nan], [1], [np.nan], [np.nan], [4]])
    assert fill_gaps(values, np.array([9.0]))[:, 0].tolist() == [9, 1, 1, 1, 4]


def test_a_column_that_never_changes_has_a_scale_to_divide_by():
    scaling = Scaling.of(np.full((90, 1), 5.0))
    inputs, _ = scaling.inputs(np.full((90, 1), 5.0))
    assert np.isfinite(inputs).all()


@pytest.mark.parametrize("change", [{"period": 0}, {"step": [0.0]}, {"mean": [float("nan")]}, {"spread": []}])
def test_a_damaged_scaling_is_refused(change):
    facts = {"mean": [0.0], "spread": [1.0], "step": [1.0], "period": 3, **change}
    with pytest.raises(ValueError, match="scaling"):
        Scaling.from_json(facts)
