"""Ctrl-C waits for the end of a step."""

import signal
import threading

import pytest

from fieldmark.workshop.train import interrupt


@pytest.fixture(autouse=True)
def _handler():
    """Python's own, whatever whoever started the tests asked for."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press():
    """What Python does when Ctrl-C was pressed; a real signal would reach threads of all libraries of a test run."""
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, None)


def working(times: int, seen: list[object], error: Exception | None = None) -> None:
    """A loop in which Ctrl-C is pressed so often."""
    with interrupt.held() as pressed:
        for _ in range(times):
            press()
            seen.append(pressed())
        if error is not None:
            raise error


def test_the_first_is_held_to_the_end_and_the_second_is_not():
    for times in (1, 2):
        seen: list[object] = []
        with pytest.raises(KeyboardInterrupt):
            working(times, seen)
        assert seen == [True]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_errors_pass():
    with pytest.raises(ZeroDivisionError):
        working(1, [], ZeroDivisionError())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_and_other_handlers_are_left_alone():
    seen: list[object] = []
    thread = threading.Thread(target=working, args=(0, seen))
    thread.start()
    thread.join()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        working(1, seen)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [False]
