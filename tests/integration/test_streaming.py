"""An answer is heard while it is written, and whatever Redis does, what was heard is the answer of record."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from tests.fix_answering import NO_REDIS, Stack
from tests.fix_db import with_user
from tests.redis_server import RedisServer
from tests.until import until, until_async
from tests.worker_process import asleep

from loradex.db.session import connect
from loradex.errors import (
    ClientClosedError,
    InvalidArgumentError,
    JobCancelledError,
    JobFailedError,
    StreamDiffersError,
    WaitTimeoutError,
)
from loradex.pieces import LONGEST_PIECE, Piece, fields_of, place_of
from loradex.service.client import AsyncClient, Client, Job, Stream
from loradex.service.client.async_piece_feed import AsyncPieceFeed
from loradex.worker.jobs import Job as Claimed
from loradex.worker.pieces import Pieces

PROMPT = "Who wrote Hamlet?"
WORDS = 12
MANY = 24


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that the worker of the stack does not know, and that tests may stop."""
    with RedisServer(tmp_path_factory.mktemp("streaming")) as made:
        made.start()
        yield made


@pytest.fixture
def listener(answering: Stack, server: RedisServer) -> Iterator[Client]:
    with Client(answering.database_url, server.url) as made:
        yield made


@pytest.fixture
def writer(server: RedisServer) -> Iterator[Pieces]:
    """What a worker tells with."""
    with Pieces(server.url) as made:
        yield made


@pytest.fixture(scope="module")
def text(answering: Stack) -> str:
    """What the model writes to the prompt."""
    with answering.client() as client:
        found = client.ask(PROMPT, max_new_tokens=WORDS, method="base").text
    assert len(found) > 10
    return found


def key_of(stack: Stack, job: UUID) -> UUID:
    with connect(stack.database_url) as connection:
        row = connection.execute("select pieces_key from loradex.jobs where id = %s", (job,)).fetchone()
    assert row is not None
    return UUID(str(row[0]))


def claimed(stack: Stack, job: UUID) -> Claimed:
    return Claimed(job, "generate", PROMPT, None, None, None, {}, 1, key_of(stack, job), 0, 0.0)


def streamed(client: Client, **more: object) -> Stream:
    return client.stream(PROMPT, max_new_tokens=WORDS, method="base", **more)  # type: ignore[arg-type]


def test_the_pieces_are_the_answer(answering: Stack, client: Client, text: str) -> None:
    with streamed(client) as stream:
        assert stream.answer is None
        assert "".join(stream) == text
    assert stream.answer is not None
    assert stream.answer == stream.job.wait() == client.answer(stream.answer.answer_id)
    assert "".join(stream.job.stream()) == text
    assert list(stream) == []


def test_choices_and_jobs_that_nobody_listens_to_are_one_piece(client: Client) -> None:
    chosen = client.stream("Is it late?", choices=["yes", "no"])
    assert "".join(chosen) in {"yes", "no"}
    job = client.enqueue(PROMPT, max_new_tokens=2)
    assert list(job.stream()) == [job.wait().text]


def test_pieces_are_heard_before_there_is_an_answer(
    answering: Stack, listener: Client, writer: Pieces, text: str
) -> None:
    with answering.routing_held():
        stream = streamed(listener)
        job = claimed(answering, stream.job.id)
        for number in range(5):
            writer.put(job, text[number])
            assert next(stream) == text[number]
        assert stream.answer is None
    assert "".join(stream) == text[5:]
    assert stream.answer is not None
    assert stream.answer.text == text


def test_two_listeners_and_a_late_one_hear_all(
    answering: Stack, listener: Client, writer: Pieces, text: str
) -> None:
    with answering.routing_held(), Client(answering.database_url, listener._feed._url) as elsewhere:
        first = streamed(listener)
        job = claimed(answering, first.job.id)
        writer.put(job, text[:3])
        assert next(first) == text[:3]
        second = listener.job(first.job.id).stream()
        third = elsewhere.job(first.job.id).stream()
        assert [next(second), next(third)] == [text[:3]] * 2
        writer.put(job, text[3:6])
        assert [next(one) for one in (third, first, second)] == [text[3:6]] * 3
        writer.end(job, uuid4())
        late = listener.job(first.job.id).stream()
        assert next(late) == text[:6]
    assert ["".join(one) for one in (first, second, late)] == [text[6:]] * 3
    with pytest.raises(ClientClosedError):
        next(third)


def test_a_redis_that_is_killed_takes_pieces_and_no_answer(
    answering: Stack, server: RedisServer, listener: Client, writer: Pieces, text: str
) -> None:
    with answering.routing_held():
        stream = streamed(listener)
        job = claimed(answering, stream.job.id)
        writer.put(job, text[:2])
        assert next(stream) == text[:2]
        server.stop()
        writer.put(job, text[2:4])
        server.start()
        # The worker tells from the beginning what was lost, and the client listens again.
        assert next(stream) == text[2:4]
        server.stop()
    try:
        assert list(stream) == [text[4:]]
    finally:
        server.start()


def test_without_redis_the_text_comes_from_postgres(answering: Stack, text: str) -> None:
    with Client(answering.database_url, NO_REDIS) as client:
        stream = streamed(client)
        assert stream.job.doorbell_error is not None
        assert list(stream) == [text]


HOSTILE = (
    {"attempt": "x", "at": "0", "text": "no number"},
    {"attempt": "1", "at": "5", "text": "behind a hole"},
    {"attempt": "1", "at": "-1", "text": "before the beginning"},
    {"attempt": "1", "at": "0", "text": b"\xff\xfe\x00"},
    {"attempt": "1", "at": "0", "text": "x" * (LONGEST_PIECE + 1)},
    {"attempt": "1", "at": "0"},
    {"attempt": "1", "answer": "not an id"},
    {"attempt": "1", "answer": str(uuid4())},
    {b"\xff": b"\x00" * 1000},
    {"attempt": "9" * 5000, "at": "9" * 5000, "text": "far"},
)


def test_hostile_words_in_the_stream_are_nothing(
    answering: Stack, server: RedisServer, listener: Client, writer: Pieces, text: str
) -> None:
    with answering.routing_held():
        stream = streamed(listener)
        job = claimed(answering, stream.job.id)
        place = place_of(job.pieces_key or UUID(int=0))
        for words in HOSTILE:
            server.admin.xadd(place, words)  # type: ignore[arg-type]
            server.admin.publish(place, b"\xff" * 100)
        writer.put(job, text[:2])
        assert next(stream) == text[:2]
        server.admin.delete(place)
        server.admin.set(place, "of another type")
        server.admin.publish(place, "")
    assert "".join(stream) == text[2:]


def test_a_forged_text_is_an_error_and_the_record_is_there(
    answering: Stack, server: RedisServer, listener: Client, text: str
) -> None:
    with answering.routing_held():
        stream = streamed(listener)
        place = place_of(key_of(answering, stream.job.id))
        server.admin.xadd(place, dict(fields_of(Piece(1, 0, "Bacon!"))))  # type: ignore[arg-type]
        server.admin.publish(place, "")
        assert next(stream) == "Bacon!"
    with pytest.raises(StreamDiffersError):
        next(stream)
    assert stream.answer is not None
    assert stream.answer.text == text


def test_a_stream_ends_in_time(answering: Stack, client: Client) -> None:
    with answering.routing_held():
        stream = streamed(client, timeout=0.2)
        with pytest.raises(WaitTimeoutError, match=str(stream.job.id)):
            next(stream)
    assert stream.job.wait().text


def test_a_stream_whose_reading_was_broken_off_goes_on_behind_what_was_said(
    answering: Stack, client: Client, text: str
) -> None:
    """A text that ended there would look whole."""
    with answering.routing_held():
        stream = streamed(client, timeout=0.2)
        for _ in range(2):
            with pytest.raises(WaitTimeoutError):
                next(stream)
    stream._seconds = 60
    assert "".join(stream) == text
    assert stream.answer is not None

    async def walk() -> None:
        async with AsyncClient(answering.database_url, answering.redis_url) as tasks:
            stream = tasks.stream(PROMPT, max_new_tokens=WORDS, method="base")
            with answering.routing_held():
                for _ in range(2):
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(anext(stream), 0.2)
            assert "".join([piece async for piece in stream]) == text
            assert stream.answer is not None
            assert [piece async for piece in stream] == []

    asyncio.run(walk())


def test_a_stream_may_be_closed_while_another_reads_it(answering: Stack, client: Client) -> None:
    """A button in one thread, the reader in another: the job is cancelled, and the reader is told."""
    with asleep(answering.workers[0]):
        stream = streamed(client, cancel=True)
        told: list[BaseException] = []

        def read() -> None:
            try:
                next(stream)
            except (ClientClosedError, JobCancelledError) as error:
                told.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        until(lambda: stream._heard is not None)
        stream.close()
        reader.join(10)
        assert told
        assert stream.job.status == "cancelled"
        assert list(stream) == []

    async def walk() -> None:
        async with AsyncClient(answering.database_url, answering.redis_url) as tasks:
            stream = tasks.stream(PROMPT, max_new_tokens=WORDS, cancel=True)
            reading = asyncio.ensure_future(anext(stream))
            await until_async(lambda: stream._heard is not None)
            await stream.aclose()
            with pytest.raises((ClientClosedError, JobCancelledError)):
                await asyncio.wait_for(reading, 10)
            assert stream.job is not None
            assert (await tasks.outcome(stream.job.id)).status == "cancelled"

    with asleep(answering.workers[0]):
        asyncio.run(walk())


def test_a_time_that_is_none_is_refused_before_anything_is_handed_in(
    answering: Stack, client: Client
) -> None:
    before = jobs_of(answering)
    for wrong in (float("nan"), "60", True):
        with pytest.raises(InvalidArgumentError, match="timeout"):
            client.ask(PROMPT, timeout=wrong)  # type: ignore[call-overload]
        with pytest.raises(InvalidArgumentError, match="timeout"):
            client.stream(PROMPT, timeout=wrong)  # type: ignore[call-overload]
    assert jobs_of(answering) == before
    assert client.ask(PROMPT, max_new_tokens=1, timeout=float("inf")).text is not None
    assert client.enqueue(PROMPT, max_new_tokens=1).wait(1e300).text is not None


def jobs_of(stack: Stack) -> int:
    with connect(stack.database_url) as connection:
        ((count,),) = connection.execute("select count(*) from loradex.jobs").fetchall()
    return int(count)


def test_leaving_cancels_only_where_that_is_wanted(answering: Stack, client: Client) -> None:
    def left(*, cancel: bool) -> Job:
        with streamed(client, cancel=cancel) as stream:
            pass
        return stream.job

    with asleep(answering.workers[0]):
        goes_on, cancelled = left(cancel=False), left(cancel=True)
        assert cancelled.status == "cancelled"
        with pytest.raises(JobCancelledError):
            list(cancelled.stream())
    assert goes_on.wait().text


def test_a_job_that_fails_ends_its_stream(client: Client) -> None:
    stream = client.stream("long " * 4000, max_new_tokens=2)
    with pytest.raises(JobFailedError):
        list(stream)


def test_another_tenant_learns_no_place(answering: Stack, client: Client) -> None:
    job = client.enqueue(PROMPT, max_new_tokens=1, stream=True)
    with psycopg.connect(with_user(answering.database_url, "loradex_client")) as other:
        assert other.execute("select count(*) from loradex.jobs where pieces_key is not null").fetchone() == (
            0,
        )
    assert key_of(answering, job.id).version == 4
    job.wait()


def test_tasks_stream_as_threads_do(answering: Stack, server: RedisServer, writer: Pieces, text: str) -> None:
    async def walk() -> None:
        async with AsyncClient(answering.database_url, server.url) as client:
            stream = client.stream(PROMPT, max_new_tokens=WORDS, method="base")
            assert stream.job is None
            assert "".join([piece async for piece in stream]) == text
            assert stream.answer is not None
            assert stream.job is not None
            assert stream.answer == await stream.job.wait()
            assert [piece async for piece in stream.job.stream()] == [text]

            with answering.routing_held():
                async with client.stream(PROMPT, max_new_tokens=WORDS, method="base") as stream:
                    assert stream.job is not None
                    job = claimed(answering, stream.job.id)
                    writer.put(job, text[:3])
                    assert await anext(stream) == text[:3]
                    late = (await client.job(stream.job.id)).stream()
                    assert await anext(late) == text[:3]
                    server.stop()
                    server.start()
                    writer.put(job, text[3:5])
                    assert await anext(stream) == text[3:5]
            assert [piece async for piece in late] == [text[3:5], text[5:]]

            with pytest.raises(WaitTimeoutError):
                async with client.stream(PROMPT, timeout=0, cancel=True) as stream:
                    await anext(stream)
            assert stream.job is not None
            with pytest.raises(JobCancelledError):
                await stream.job.wait()

    asyncio.run(walk())


def test_many_tasks_listen_over_two_connections(
    answering: Stack, server: RedisServer, writer: Pieces, text: str
) -> None:
    async def walk() -> None:
        async with AsyncClient(answering.database_url, server.url) as client:
            jobs = await client.enqueue_many(
                {"prompt": PROMPT, "max_new_tokens": WORDS, "method": "base", "stream": True}
                for _ in range(MANY)
            )
            heard: list[list[str]] = [[] for _ in jobs]

            async def listen(place: int) -> None:
                async for piece in jobs[place].stream():
                    heard[place].append(piece)

            with answering.routing_held():
                tasks = [asyncio.create_task(listen(place)) for place in range(MANY)]
                for job in jobs:
                    writer.put(claimed(answering, job.id), text[:4])
                await until_async(lambda: all(heard))
                commands = [one["cmd"] for one in server.admin.client_list()]
                assert len([one for one in commands if one in {"subscribe", "unsubscribe", "xread"}]) == 2
            await asyncio.gather(*tasks)
            assert ["".join(pieces) for pieces in heard] == [text] * MANY
            await until_async(lambda: not client._feed._places)

    asyncio.run(walk())


def test_who_comes_while_redis_is_asked_hears_from_the_beginning(server: RedisServer) -> None:
    key = uuid4()
    first, second = list[Any](), list[Any]()

    def tell(*piece: Any) -> None:
        server.admin.xadd(place_of(key), dict(fields_of(Piece(1, *piece))))  # type: ignore[arg-type]

    class Asked(AsyncPieceFeed):
        more = False

        async def _read(self, redis: Any, rung: Any) -> set[str]:
            reading = asyncio.ensure_future(super()._read(redis, rung))
            await asyncio.sleep(0)  # it has asked, and was told nothing yet
            if self.more and not second:
                self.more = False
                self.listen(key, second.extend)
            return await reading

    async def walk() -> None:
        feed = Asked(server.url)
        tell(0, "To be, ")
        feed.listen(key, first.extend)
        await until_async(lambda: first)
        tell(7, "or not to be")
        feed.more = True
        server.admin.publish(place_of(key), "")
        await until_async(lambda: [one.text for one in second[-2:]] == ["To be, ", "or not to be"])
        await feed.close()

    asyncio.run(walk())


def test_a_client_that_is_closed_listens_no_more(answering: Stack, server: RedisServer) -> None:
    client = Client(answering.database_url, server.url)
    with answering.routing_held():
        stream = streamed(client)
        came: list[Exception] = []

        def read() -> None:
            try:
                next(stream)
            except ClientClosedError as error:
                came.append(error)

        reading = threading.Thread(target=read)
        reading.start()
        until(lambda: client.listener._waiting)
        client.close()
        reading.join(30)
    assert len(came) == 1
    with pytest.raises(ClientClosedError):
        streamed(client)
    assert not [one for one in threading.enumerate() if one.name == "loradex-pieces"]
