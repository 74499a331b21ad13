"""Progress on standard error: lines where nobody watches, a live bar on a terminal."""

import io
import sys

import pytest

from fieldmark import progress
from fieldmark.progress import Reporter


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(progress.time, "monotonic", made)
    return made


def test_elsewhere_a_step_is_a_line_and_goes_on_every_ten_seconds(clock, capsys):
    with Reporter() as report:
        report.say("loading torch")
        for done in range(0, 101, 10):
            report("features", done, 100)
            clock.now += 3
        report("linear head", 0, 0)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["loading torch ...", "features ..."]
    assert lines[-1] == "linear head ..."
    assert 4 <= len(lines) <= 7
    assert "\x1b" not in "".join(lines)


def test_remaining_time_follows_what_is_done(clock, capsys):
    report = Reporter()
    report("features", 0, 1000)
    clock.now += 20
    report("features", 250, 1000)
    assert capsys.readouterr().err.splitlines()[-1] == "features  250 of 1,000  12 a second, 60 s left"


def test_standard_output_stays_clean(clock, capsys):
    with Reporter() as report:
        report("features", 1, 2)
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_one_live_line_a_step(clock, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with Reporter() as report:
        for done in (0, 1, 2, 3, 4):
            report("features", done, 4)
            clock.now += 1
        report("linear head", 1, 1)
    text = screen.getvalue()
    assert text.count("\n") == 2
    assert "2 of 4" in text
    assert text.endswith("\n")


def test_a_terminal_is_not_flooded(clock, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    report = Reporter()
    for done in range(1000):
        report("features", done, 1000)
        clock.now += 0.001
    assert screen.getvalue().count("\r") < 20


def test_an_error_passes_through():
    with pytest.raises(KeyError), Reporter():
        raise KeyError("x")
