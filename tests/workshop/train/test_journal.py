"""The log of a run."""

import json

import pytest

from fieldmark.workshop.train.journal import Journal


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_event_is_one_line_of_json(tmp_path):
    journal = Journal(tmp_path / "log.jsonl")
    journal.write("begin", name="杜鹃\nflower", n=3)
    journal.write("end")
    told = lines(tmp_path / "log.jsonl")
    assert [t["event"] for t in told] == ["begin", "end"]
    assert told[0]["name"] == "杜鹃\nflower"
    assert 0 <= told[0]["seconds"] <= told[1]["seconds"]


def test_a_step_is_timed_reported_and_logged(tmp_path):
    told = []
    journal = Journal(tmp_path / "log.jsonl", lambda *step: told.append(step))
    with journal.step("features") as tick:
        tick(1, 4)
    assert told == [("features", 0, 0), ("features", 1, 4), ("features", 1, 1)]
    assert [name for name, _ in journal.steps] == ["features"]
    assert lines(tmp_path / "log.jsonl")[0]["name"] == "features"


def test_a_step_that_fails_is_not_logged_as_done(tmp_path):
    journal = Journal(tmp_path / "log.jsonl")
    with pytest.raises(ValueError, match="x"), journal.step("features"):
        raise ValueError("x")
    assert journal.steps == []
    assert not (tmp_path / "log.jsonl").exists()


def test_a_resumed_log_goes_on(tmp_path):
    for name in ("one", "two"):
        Journal(tmp_path / "log.jsonl").write(name)
    assert [t["event"] for t in lines(tmp_path / "log.jsonl")] == ["one", "two"]
