"""A model of numbers at work: forecasts from the past alone, scores recomputed."""

import numpy as np
import pytest

from fieldmark import bundle as bundles
from fieldmark.errors import BundleError, DataError, UsageError
from fieldmark.field.runtime.forecaster import Forecaster
from fieldmark.field.runtime.loading import evaluate, load, load_writer
from tests.sequences import foreseen, waves, write_table


@pytest.fixture
def run(tmp_path_factory):
    return foreseen(tmp_path_factory.getbasetemp())


@pytest.fixture
def forecaster(run) -> Forecaster:
    found = load(run[1].run)
    assert isinstance(found, Forecaster)
    return found


def test_it_beats_the_last_value_on_waves_and_says_what_baselines_get(run):
    _, result = run
    scores = result.scores["test"]
    truth = waves(400)[360:]
    last = np.abs(np.diff(waves(400)[359:], axis=0)).mean()
    assert scores["n"] == len(truth) == 40
    assert scores["last_value_mae"] == pytest.approx(last)
    assert scores["baseline_mae"] == min(scores["last_value_mae"], scores["seasonal_mae"])
    assert scores["mae"] < scores["baseline_mae"] < 0.5 * scores["last_value_mae"]
    assert set(scores["per_column"]) == {"north", "south"}


def test_the_scores_are_those_of_its_forecasts(run, forecaster):
    values = forecaster.open(run[0]).values
    said = np.stack([forecaster.predict(_table(forecaster, values[:t]))[0] for t in (360, 375, 399)])
    np.testing.assert_allclose(said, forecaster.foresee(values)[[359, 374, 398]], atol=0.05)
    found = evaluate(run[1].run, run[0])
    assert found.scores["mae"] == pytest.approx(np.abs(forecaster.foresee(values)[359:-1] - values[360:]).mean())
    assert found.scores["mae_ci"] == pytest.approx(run[1].scores["test"]["mae_ci"])


def _table(forecaster, values):
    from fieldmark.data.series import Series

    return Series("", forecaster.columns, values, "")


def test_a_forecast_knows_no_later_row(run, forecaster):
    values = forecaster.open(run[0]).values
    changed = values.copy()
    changed[300:] = 1e3
    np.testing.assert_array_equal(forecaster.foresee(values)[:300], forecaster.foresee(changed)[:300])


def test_several_rows_ahead_each_rest_on_those_foreseen_before(run, forecaster):
    values = forecaster.open(run[0]).values
    three = forecaster.predict(run[0], 3)
    assert three.shape == (3, 2)
    one = forecaster.predict(_table(forecaster, np.concatenate([values, three[:1]])))
    np.testing.assert_allclose(three[1], one[0], atol=0.05)
    with pytest.raises(UsageError, match="steps"):
        forecaster.predict(run[0], 0)


def test_gaps_are_bridged_and_not_scored(run, forecaster):
    values = forecaster.open(run[0]).values.copy()
    values[100:110] = np.nan
    values[380] = np.nan
    assert np.isfinite(forecaster.foresee(values)).all()
    assert forecaster.score(values, 360)["n"] == 39
    with pytest.raises(DataError, match="no values"):
        forecaster.score(np.where(np.arange(400)[:, None] < 360, values, np.nan), 360)


def test_other_tables_are_scored_whole_and_need_the_same_columns(run, tmp_path):
    found = evaluate(run[1].run, write_table(tmp_path / "b.csv", waves(90, seed=5)))
    assert (found.split, found.scores["n"]) == ("all", 89)
    (tmp_path / "c.csv").write_text("north,east\n" + "\n".join(f"{i % 5},{i % 3}" for i in range(99)))
    with pytest.raises(DataError, match="lacks the column south"):
        evaluate(run[1].run, tmp_path / "c.csv")


def test_it_writes_no_text(run):
    with pytest.raises(UsageError, match="fieldmark predict"):
        load_writer(run[1].run)


@pytest.mark.parametrize("change", [{"scaling": None}, {"columns": ["a"]}, {"scaling": {"mean": [0]}}])
def test_a_bundle_whose_facts_do_not_fit_is_one_sentence(run, tmp_path, change):
    good = bundles.load(run[1].run)
    facts = {k: v for k, v in good.facts.items() if k not in ("files", "checksum", "format")} | change
    (tmp_path / "b").mkdir()
    bundles.save(tmp_path / "b", facts, {name: good.read(name) for name in (bundles.MODEL, bundles.WEIGHTS)})
    with pytest.raises(BundleError, match="scaling"):
        load(tmp_path / "b")


def test_few_rows_and_odd_columns_are_foreseen_from_all_the_same(forecaster, tmp_path):
    odd = np.stack([np.arange(10.0), np.full(10, np.nan)], 1)
    for values in (waves(10), waves(1), odd):
        found = forecaster.predict(write_table(tmp_path / "few.csv", values), steps=2)
        assert found.shape == (2, 2)
        assert np.isfinite(found).all()
