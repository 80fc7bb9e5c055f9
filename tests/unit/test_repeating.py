"""A worker's threads do not die of what happens in them."""

import threading
import time

import pytest

from loradex.errors import DatabaseUnavailableError
from loradex.worker.repeating import Repeating


@pytest.mark.parametrize("error", [DatabaseUnavailableError("away"), RuntimeError("odd"), MemoryError()])
def test_a_step_that_fails_is_taken_again(error: Exception) -> None:
    enough = threading.Event()
    taken: list[float] = []

    def step() -> None:
        taken.append(time.monotonic())
        if len(taken) == 3:
            enough.set()
        raise error

    with Repeating("steps", step, 0.001):
        assert enough.wait(10)


def test_leaving_waits_for_the_step_at_hand() -> None:
    begun, ended = threading.Event(), threading.Event()

    def step() -> None:
        begun.set()
        time.sleep(0.05)
        ended.set()

    with Repeating("steps", step, 0.001):
        begun.wait(10)

    assert ended.is_set()


def test_whoever_sets_stop_ends_it() -> None:
    stop = threading.Event()
    with Repeating("steps", lambda: None, 60, stop):
        stop.set()
