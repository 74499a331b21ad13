"""Windows as functions of their number: they go on, cover the text, and leave validation alone."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.workshop.train import windows
from fieldmark.workshop.train.windows import SeriesWindows, TextWindows

CODES = np.arange(1000, dtype=np.uint16)


@settings(deadline=None)
@given(st.integers(2, 400), st.integers(1, 70), st.integers(1, 9), st.integers(0, 2000))
def test_a_batch_is_a_function_of_its_number_within_the_text(length, window, batch, number):
    source = TextWindows(CODES[:length], CODES[:0], window, batch, 3)
    found = source.windows(number)
    assert found.inputs.shape == (source.window, source.batch)
    torch.testing.assert_close(found.targets, found.inputs + 1)
    assert int(found.targets.max()) < length
    torch.testing.assert_close(source.windows(number).inputs, found.inputs)
    assert found.fresh.shape == (source.batch,)
    assert found.fresh.all() or number % source.an_epoch
    assert torch.equal(source.windows(number).fresh, found.fresh)


def test_windows_go_on_where_the_one_before_ended_and_an_epoch_covers_the_text():
    source = TextWindows(CODES[:601], CODES[:0], 10, 4, 0)
    rows = [source.windows(number) for number in range(source.an_epoch)]
    for before, after in pairwise(rows):
        torch.testing.assert_close(after.inputs[0], before.targets[-1])
    seen = torch.cat([row.inputs.flatten() for row in rows])
    assert len(set(seen.tolist())) == len(seen) >= 600 - source.batch * source.window


def test_a_stream_begins_anew_now_and_then():
    source = TextWindows(np.zeros(400_001, np.uint8), CODES[:0], 10, 8, 0)
    fresh = torch.stack([source.windows(number).fresh for number in range(1, 1_000)]).float()
    assert float(fresh.mean()) == pytest.approx(1 / 32, rel=0.15)


def test_epochs_have_other_offsets_and_a_short_text_fewer_streams():
    source = TextWindows(CODES[:999], CODES[:0], 30, 4, 0)
    firsts = {int(source.windows(epoch * source.an_epoch).inputs[0, 0]) for epoch in range(20)}
    assert len(firsts) > 3
    assert TextWindows(CODES[:100], CODES[:0], 10, 64, 0).batch == 2
    assert TextWindows(CODES[:3], CODES[:0], 64, 64, 0).window == 2


def test_validation_reads_its_part_in_streams_one_after_the_other(monkeypatch):
    monkeypatch.setattr(windows, "VALIDATION_STEPS", 20)
    source = TextWindows(CODES[:0], CODES[100:401], 10, 4, 0)
    rows = list(source.validation())
    assert [bool(row.fresh.all()) for row in rows] == [True, *[False] * (len(rows) - 1)]
    assert source.validated == 300
    seen = sorted(torch.cat([row.inputs.flatten() for row in rows]).tolist())
    assert seen == list(range(100, 400))


def test_windows_of_rows_lie_in_the_training_part_and_start_afresh():
    inputs = np.arange(200, dtype=np.float32)[:, None]
    source = SeriesWindows(inputs, inputs + 1, 150, 180, 16, 8, 0)
    for number in range(30):
        found = source.windows(number)
        assert found.fresh.all()
        assert found.inputs.shape == (16, 8, 1)
        assert float(found.inputs.max()) < 150
        torch.testing.assert_close(found.targets, found.inputs + 1)
    assert int(source.windows(1).inputs[0, 0, 0]) != int(source.windows(2).inputs[0, 0, 0])


def test_validation_of_rows_has_context_that_is_not_scored():
    inputs = np.arange(200, dtype=np.float32)[:, None]
    source = SeriesWindows(inputs, inputs + 1, 150, 180, 16, 8, 0)
    targets = torch.cat([row.targets[:, 0, 0] for row in source.validation()])
    assert targets[targets.isfinite()].tolist() == list(range(151, 181))
    assert len(targets) == 30 + windows.CONTEXT_WINDOWS * 16
