"""From a time to stages, without measuring anything."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.errors import UsageError
from fieldmark.workshop.models.cut import PICTURES
from fieldmark.workshop.recipe import TuneRecipe
from fieldmark.workshop.train import plan as room
from fieldmark.workshop.train.costs import Costs
from fieldmark.workshop.train.plan import Counts, Plan, again, choose, deadlines, seconds_of, settled

# a network of ten equal blocks
COSTS = Costs(
    engine=0.005,
    whole=0.010,
    after={f"b{i}": 0.001 * (9 - i) + 1e-6 for i in range(10)},
    row_bytes={f"b{i}": 50_000 for i in range(10)},
    work_after={f"b{i}": 0.1 * (9 - i) for i in range(10)},
)
COUNTS = Counts(2000, 300, 1000)
TAIL = settled(TuneRecipe(stages=("tail",)), None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("2h", 7200), ("45", 45), (30, 30), (1.5, 1.5), (" 10 m ", 600)]
)
def test_times_are_read(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5s", "0s", "1e3s", "5 h 3", "nan", "inf", "99999999h", "٣m", "٣m x"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError, match="90s, 5m or 2h"):
        seconds_of(text)


@given(st.floats(0, 5000), st.integers(20, 20_000))
def test_a_plan_fits_into_its_time(seconds, n):
    tune = TuneRecipe(stages=("head", "tail", "full"), most_epochs=1000)
    for stage in choose(COSTS, Counts(n, n // 10, 0), seconds, tune):
        assert stage.steps >= 1
        assert stage.epochs >= room.FEWEST_EPOCHS or stage.epochs * n >= room.FEWEST_PICTURES
    assert sum(s.seconds for s in choose(COSTS, Counts(n, n // 10, 0), seconds, tune)) <= seconds * 1.001 + 1e-6


def test_more_time_reaches_nearer_to_the_picture_and_sees_pictures_more_often():
    found = [choose(COSTS, COUNTS, s, TAIL) for s in (1, 20, 60, 200, 2000)]
    assert found[0] == []
    cuts = [int(stages[0].cut[1:]) for stages in found[1:]]
    assert cuts == sorted(cuts, reverse=True)
    assert cuts[-1] == min(int(c[1:]) for c in COSTS.after if COSTS.work_after[c] <= room.LARGEST_TAIL)
    assert all(stages[0].epochs >= room.WANTED_EPOCHS for stages in found[2:])


def test_without_a_time_the_recipe_decides_and_seconds_do_not():
    slow = Costs(1, 2, {k: 200 * v for k, v in COSTS.after.items()}, COSTS.row_bytes, COSTS.work_after)
    (a,), (b,) = choose(COSTS, COUNTS, None, TAIL), choose(slow, COUNTS, None, TAIL)
    assert (a.cut, a.views, a.steps) == (b.cut, b.views, b.steps)
    assert a.epochs == TAIL.most_epochs
    assert a.steps == round(30 * 2000 / 32)


def test_a_budget_is_used_and_without_one_patience_ends_a_stage():
    tune = TuneRecipe(stages=("tail",))
    assert (settled(tune, None).most_epochs, settled(tune, None).patience) == (30, 8)
    assert (settled(tune, 60).most_epochs, settled(tune, 60).patience) == (100, 0)
    own = replace(tune, most_epochs=7, patience=3)
    assert settled(own, None) == settled(own, 60) == own


def test_rows_that_would_not_fit_are_not_kept():
    wide = Costs(0.005, 0.010, COSTS.after, dict.fromkeys(COSTS.after, 10**6), COSTS.work_after)
    (stage,) = choose(wide, COUNTS, 2000, TAIL)
    assert (stage.views * COUNTS.train + COUNTS.val) * 10**6 <= room.MOST_KEPT_BYTES
    (stage,) = choose(wide, Counts(10**6, 1000, 0), 10**6, TuneRecipe(stages=("tail",), most_epochs=5))
    assert (stage.name, stage.views) == ("tail", 0)
    assert stage.cut != PICTURES


@given(st.floats(20, 5000), st.integers(50, 20_000))
def test_views_grow_with_the_epochs_while_so_many_can_be_kept(seconds, n):
    counts = Counts(n, 10, 0)
    for stage in choose(COSTS, counts, seconds, settled(TuneRecipe(stages=("tail",)), seconds)):
        kept = min(room.MOST_VIEWS, int((room.MOST_KEPT_BYTES / 50_000 - 10) / n))
        assert stage.views == kept or stage.views <= max(1, stage.epochs / room.EPOCHS_A_VIEW) < stage.views + 3


def test_a_backbone_without_places_to_cut_is_trained_whole():
    (stage,) = choose(Costs(0.005, 0.010), COUNTS, 500, TAIL)
    assert (stage.name, stage.cut) == ("full", PICTURES)


def test_an_unknown_cut_is_refused_with_near_names():
    with pytest.raises(UsageError, match=r"tune\.cut.*b3"):
        choose(COSTS, COUNTS, None, replace(TAIL, cut="b33"))


def test_the_same_stage_for_another_time_keeps_name_and_cut():
    (stage,) = choose(COSTS, COUNTS, 200, TAIL)
    half = again(stage, COSTS, COUNTS, 100, TAIL)
    assert (half.name, half.cut) == (stage.name, stage.cut)
    assert half.seconds <= 100.1
    assert again(stage, COSTS, COUNTS, 0.01, TAIL) is None


def test_later_stages_have_their_time_before_the_end():
    stages = choose(COSTS, COUNTS, 2000, replace(TAIL, stages=("head", "tail", "full")))
    ends = deadlines(stages, 1000.0)
    assert ends["full"] == 1000.0
    assert ends["tail"] == pytest.approx(1000 - stages[2].seconds)
    assert ends["head"] == pytest.approx(ends["tail"] - stages[1].seconds)


def test_a_plan_is_read_back_and_a_damaged_one_is_refused(tmp_path):
    plan = Plan(600.0, 30.0, 20.0, 2, "it", choose(COSTS, COUNTS, 500, TAIL), {"tail": [(3, 40)]})
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan
    assert len(plan.table()) == 3
    for text in ("", "{", "[]", "null", "1", '{"stages": 3}', "[" * 100_000, '{"stages": [], "revisions": []}'):
        (tmp_path / "plan.json").write_text(text)
        with pytest.raises(UsageError, match="delete it to plan anew"):
            Plan.load(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", -5),
        ("steps", "10"),
        ("steps", None),
        ("steps", float("nan")),
        ("views", 1000),
        ("views", 2.5),
        ("epochs", float("nan")),
        ("seconds", -1.0),
        ("name", "../../evil"),
        ("probe_views", -1),
        ("probe_views", "2"),
        ("budget_s", float("inf")),
        ("revisions", {"tail": [[-3, 40]]}),
        ("revisions", {"tail": [[30, 40], [3, 50]]}),
        ("revisions", {"other": []}),
        ("revisions", {"tail": [[1, 2, 3]]}),
    ],
)
def test_a_plan_with_an_impossible_value_is_refused(tmp_path, key, value):
    import json

    file = tmp_path / "plan.json"
    Plan(600.0, 30.0, 20.0, 2, "it", choose(COSTS, COUNTS, 500, TAIL), {"tail": [(3, 40)]}).save(file)
    raw = json.loads(file.read_text())
    place = raw if key in raw else raw["stages"][0]
    place[key] = value
    file.write_text(json.dumps(raw))
    with pytest.raises(UsageError, match="is damaged"):
        Plan.load(file)


@pytest.mark.parametrize(
    ("most", "seconds", "views"),
    [(5, None, 5), (5, 100, 5), (5, 31, 3), (5, 9, 1), (5, -4, 1), (0, None, 0), (0, 50, 0)],
)
def test_a_short_time_leaves_fewer_views(most, seconds, views):
    assert room.fitting_views(most, 10.0, seconds) == views
