"""A worker tells pieces of its texts to Redis, and no Redis costs it anything but the pieces."""

import threading
import time
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from tests.redis_server import PASSWORD, RedisServer
from tests.redis_states import STATES
from tests.until import until

from loradex.pieces import (
    KEPT_AFTER_END_SECONDS,
    KEPT_SECONDS,
    LONGEST_PIECE,
    End,
    Message,
    Piece,
    message_of,
    place_of,
)
from loradex.worker import pieces
from loradex.worker.jobs import Job
from loradex.worker.pieces import Pieces

AT_ONCE_SECONDS = 0.5
"""A call that does not wait for Redis is over in microseconds; this is far below the patience of a socket."""


def listened(attempt: int = 1, *, key: bool = True) -> Job:
    return Job(uuid4(), "generate", "?", None, None, None, {}, attempt, uuid4() if key else None, 0, 0.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("pieces")) as made:
        made.start()
        yield made


def told(server: RedisServer, job: Job) -> list[Message | None]:
    assert job.pieces_key is not None
    found = server.admin.xrange(place_of(job.pieces_key))
    return [message_of(fields) for _, fields in found]


def text_of(server: RedisServer, job: Job) -> str:
    """What somebody who reads from the beginning knows."""
    text = ""
    for one in told(server, job):
        if isinstance(one, Piece) and one.at <= len(text):
            text = text[: one.at] + one.text
    return text


def ended(server: RedisServer, job: Job) -> bool:
    return any(isinstance(one, End) for one in told(server, job))


def test_pieces_lie_in_a_stream_of_the_job_until_some_minutes_after(server: RedisServer) -> None:
    job, answer = listened(), uuid4()
    place = place_of(job.pieces_key or UUID(int=0))
    with Pieces(server.url) as told_by:
        told_by.put(job, "To be, ")
        until(lambda: text_of(server, job) == "To be, ")
        assert KEPT_AFTER_END_SECONDS < server.admin.ttl(place) <= KEPT_SECONDS
        told_by.put(job, "or not\0")
        told_by.put(job, "")
        told_by.end(job, answer)
    assert text_of(server, job) == "To be, or not\ufffd"
    assert told(server, job)[-1] == End(1, answer)
    assert 0 < server.admin.ttl(place) <= KEPT_AFTER_END_SECONDS


def test_nothing_is_told_of_a_job_to_which_nobody_listens(server: RedisServer) -> None:
    server.admin.flushall()
    with Pieces(server.url) as told_by:
        told_by.put(listened(key=False), "secret")
        told_by.end(listened(key=False))
    assert server.admin.dbsize() == 0


def test_a_long_text_is_told_in_parts_and_a_later_attempt_begins_anew(server: RedisServer) -> None:
    job = listened()
    long = "word " * LONGEST_PIECE
    with Pieces(server.url) as told_by:
        told_by.put(job, long)
        until(lambda: text_of(server, job) == long)
        again = Job(job.id, "generate", "?", None, None, None, {}, 2, job.pieces_key, 0, 0.0)
        told_by.put(again, "Anew")
        told_by.end(again)
    assert told(server, job)[-2:] == [Piece(2, 0, "Anew"), End(2, None)]


def test_an_attempt_that_is_over_takes_nothing_from_a_later_one(server: RedisServer) -> None:
    job = listened()
    again = Job(job.id, "generate", "?", None, None, None, {}, 2, job.pieces_key, 0, 0.0)
    with Pieces(server.url) as told_by:
        told_by.put(job, "Before")
        told_by.put(again, "An")
        # The worker lost its lease and claimed the job anew before it had recorded the first answer.
        told_by.end(job)
        told_by.put(again, "e")
        told_by.leave(job)
        told_by.put(again, "w")
        until(lambda: text_of(server, job).endswith("Anew"))
        told_by.end(again)
    assert told(server, job)[-1] == End(2, None)
    assert not told_by._texts


def test_a_bell_that_may_not_ring_is_told_with_the_cure(
    server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.admin.execute_command(
        *("ACL", "SETUSER", "mute", "on", f">{PASSWORD}", "+@all", "~loradex*", "resetchannels")
    )
    said = ""

    def heard() -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return "pieces.not_told" in said

    with Pieces(server.url.replace("redis://:", "redis://mute:")) as told_by:
        told_by.put(listened(), "unheard")
        until(heard)
    assert "the channels `loradex*`" in said


@pytest.mark.parametrize(
    "name", ["dead", "frozen", "replica", "out of memory", "password changed", "wrong type"]
)
def test_a_redis_that_takes_nothing_costs_nothing_but_the_pieces(
    server: RedisServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "SOCKET_SECONDS", 0.3)
    monkeypatch.setattr(pieces, "LONGEST_PAUSE", 0.2)
    job, over = listened(), listened()
    with Pieces(server.url) as told_by:
        told_by.put(job, "before ")
        until(lambda: text_of(server, job) == "before ")
        with STATES[name](server):
            started = time.monotonic()
            told_by.put(over, "of nobody")
            told_by.end(over)
            for _ in range(1000):
                told_by.put(job, ".")
            assert time.monotonic() - started < AT_ONCE_SECONDS
        told_by.put(job, " after")
        # What it lost comes again, from the beginning.
        until(lambda: text_of(server, job) == "before " + "." * 1000 + " after")
        told_by.end(job, uuid4())
        until(lambda: ended(server, job))


def test_a_place_that_holds_something_else_is_nothing_to_the_others(server: RedisServer) -> None:
    job, other = listened(), listened()
    server.admin.set(place_of(job.pieces_key or UUID(int=0)), "of somebody else")
    with Pieces(server.url) as told_by:
        for one in (job, other):
            told_by.put(one, "Hello")
        until(lambda: text_of(server, other) == "Hello")


def test_memory_is_bounded(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MOST_CHARACTERS", 1000)
    jobs = [listened() for _ in range(5)]
    with Pieces(server.url) as told_by:
        for _ in range(100):
            for job in jobs:
                told_by.put(job, "0123456789")
                assert told_by._characters <= 1000
        for job in jobs:
            told_by.end(job)
        until(lambda: all(ended(server, job) for job in jobs))
        assert (told_by._characters, told_by._texts) == (0, {})
    # What was told before stays true: it is a beginning of the text.
    assert all(("0123456789" * 100).startswith(text_of(server, job)) for job in jobs)


def test_the_text_of_a_job_that_waits_again_is_held_no_longer(server: RedisServer) -> None:
    job, other = listened(), listened()
    with Pieces(server.url) as pieces:
        pieces.put(job, "began here")
        until(lambda: text_of(server, job) == "began here")
        pieces.leave(job)
        pieces.put(other, "later")
        until(lambda: text_of(server, other) == "later")
        assert not ended(server, job)
        assert set(pieces._texts) == {other.id}
        assert pieces._characters == len("later")


def test_many_threads_may_tell(server: RedisServer) -> None:
    jobs = [listened() for _ in range(8)]
    with Pieces(server.url) as told_by:

        def write(job: Job) -> None:
            for number in range(200):
                told_by.put(job, f"{number} ")
            told_by.end(job, uuid4())

        threads = [threading.Thread(target=write, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    whole = "".join(f"{number} " for number in range(200))
    assert [text_of(server, job) for job in jobs] == [whole] * 8


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {b"attempt": b"1"},
        {b"attempt": b"-1", b"at": b"0", b"text": b"x"},
        {b"attempt": b"1" * 10, b"at": b"0", b"text": b"x"},
        {b"attempt": "\u0661".encode(), b"at": b"0", b"text": b"x"},
        {b"attempt": b"1", b"at": b"1.5", b"text": b"x"},
        {b"attempt": b"1", b"at": b"0", b"text": b"\xff"},
        {b"attempt": b"1", b"at": b"0", b"text": b"x" * (4 * LONGEST_PIECE + 1)},
        {b"attempt": b"1", b"at": b"0", b"text": b"x" * (LONGEST_PIECE + 1)},
        {b"attempt": b"1", b"answer": b"0198c5f2"},
        {b"attempt": b"1", b"answer": b"\xff\xfe"},
    ],
)
def test_what_is_no_message_is_none(fields: dict[bytes, bytes]) -> None:
    assert message_of(fields) is None
