"""Streams of the API: words as they are written, silence, errors on the way, and clients that leave."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx2
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from tests.fix_answering import Stack
from tests.fix_api import Served
from tests.fix_db import with_user
from tests.until import until, until_async
from tests.worker_process import asleep

from loradex.db.session import connect
from loradex.service.api import asking
from loradex.service.api.readiness import CLOSED
from loradex.service.api.server import Draining, application, listening
from loradex.service.client import AsyncClient
from loradex.worker.jobs import Job as Claimed
from loradex.worker.pieces import Pieces

PROMPT = "Who wrote Hamlet?"
WORDS = 12
STREAMS = 30


@pytest.fixture
def writer(answering: Stack) -> Iterator[Pieces]:
    """What a worker tells with."""
    with Pieces(answering.redis_url) as made:
        yield made


@pytest.fixture(scope="module")
def text(served: Served) -> str:
    """What the model writes to the prompt."""
    found = served.client().completions.create(**question()).choices[0].text
    assert len(found) > 10
    return str(found)


def question(run: str = "any", **more: Any) -> dict[str, Any]:
    base = {"model": "loradex", "prompt": PROMPT, "max_tokens": WORDS}
    return {**base, "extra_body": {"loradex": {"method": "base"}, "metadata": {"run": run}}, **more}


def chat(**more: Any) -> dict[str, Any]:
    return {
        "model": "loradex",
        "messages": [{"role": "user", "content": PROMPT}],
        "max_completion_tokens": WORDS,
        "stream": True,
        "extra_body": {"loradex": {"method": "base", "timeout": 100}},
        **more,
    }


def asked(stack: Stack, run: str, number: int = 1) -> list[Claimed]:
    """The jobs that were noted with this, once there are so many."""
    found: list[Claimed] = []

    def there() -> bool:
        with connect(stack.database_url) as connection:
            rows = connection.execute(
                "select id, pieces_key from loradex.jobs where metadata ->> 'run' = %s order by id", (run,)
            ).fetchall()
        found[:] = [
            Claimed(job, "generate", PROMPT, None, None, None, {}, 1, key, 0, 0.0) for job, key in rows
        ]
        return len(found) == number

    until(there)
    return found


def state(stack: Stack, job: UUID) -> str:
    with connect(stack.database_url) as connection:
        row = connection.execute("select state from loradex.jobs where id = %s", (job,)).fetchone()
    assert row is not None
    return str(row[0])


def test_words_come_as_they_are_written(served: Served, answering: Stack, writer: Pieces, text: str) -> None:
    run = uuid4().hex
    came: list[Any] = []

    def read() -> None:
        options = {"include_usage": True}
        stream = served.client().chat.completions.create(
            **chat(metadata={"run": run}, stream_options=options)
        )
        came.extend(stream)

    reading = threading.Thread(target=read)
    first: list[Any] = []

    def read_first() -> None:
        stream = served.client().completions.create(**question(f"{run}-2", stream=True))
        first.append(next(iter(stream)))
        first.extend(stream)

    reading_first = threading.Thread(target=read_first)
    with answering.routing_held():
        reading.start()
        reading_first.start()
        (job,), (other,) = asked(answering, run), asked(answering, f"{run}-2")
        writer.put(other, text[:4])
        until(lambda: first)
        assert (first[0].choices[0].text, first[0].id) == (text[:4], f"cmpl-{other.id}")
        for number in range(3):
            writer.put(job, text[number])
    reading.join(60)
    reading_first.join(60)
    assert "".join(one.choices[0].text for one in first) == text
    deltas = [one.choices[0].delta for one in came if one.choices]
    assert "".join(delta.content or "" for delta in deltas) == text
    assert [delta.role for delta in deltas] == ["assistant", *[None] * (len(deltas) - 1)]
    assert [one.usage for one in came[:-1]] == [None] * (len(came) - 1)
    assert came[-1].usage.completion_tokens == WORDS
    *_, end, _ = came
    assert end.choices[0].finish_reason == "length"
    assert UUID(end.loradex["answer_id"])
    assert len({one.id for one in came}) == 1


def test_several_texts_are_told_side_by_side(served: Served, text: str) -> None:
    options = {"include_usage": True}
    two = list(
        served.client().completions.create(
            **question(prompt=[PROMPT, PROMPT], n=2, stream=True, stream_options=options)
        )
    )
    for place in range(4):
        parts = [one.choices[0] for one in two if one.choices and one.choices[0].index == place]
        assert "".join(part.text for part in parts) == text
        assert [part.finish_reason for part in parts][-1] == "length"
    assert two[-1].usage.completion_tokens == 4 * WORDS
    assert two[-1].usage.prompt_tokens > 0


def test_silence_is_a_comment_and_a_late_error_an_event(
    served: Served, answering: Stack, writer: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "SILENCE_SECONDS", 0.05)
    run = uuid4().hex
    client = served.client()
    with asleep(answering.workers[0]):
        stream = client.chat.completions.create(**chat(metadata={"run": run}))
        (job,) = asked(answering, run)
        writer.put(job, "It was ")
        assert next(stream).choices[0].delta.content == "It was "
        with connect(answering.database_url) as connection:
            connection.execute("select loradex.cancel_jobs(array[%s::uuid])", (job.id,))
        with pytest.raises(openai.APIError, match="cancelled") as error:
            list(stream)
        assert error.value.code == "job_cancelled"
        raw = client.chat.completions.with_raw_response.create(
            **chat(extra_body={"loradex": {"timeout": 0.3}})
        ).http_response.read()
    comments = [block for block in raw.decode().split("\n\n") if block.startswith(":")]
    assert comments
    *_, said, done, end = raw.decode().split("\n\n")
    assert json.loads(said.removeprefix("data: "))["error"]["code"] == "wait_timeout"
    assert (done, end) == ("data: [DONE]", "")


def test_a_stream_lasts_while_something_comes_and_not_for_ever_without(
    served: Served, answering: Stack, writer: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "SILENCE_SECONDS", 0.05)
    monkeypatch.setattr(asking, "WAIT_SECONDS", 1.0)
    run = uuid4().hex
    with asleep(answering.workers[0]):
        stream = served.client().chat.completions.create(
            **chat(metadata={"run": run}, extra_body={"loradex": {"method": "base"}})
        )
        (job,) = asked(answering, run)
        for _ in range(6):
            writer.put(job, "on and ")
            assert next(stream).choices[0].delta.content == "on and "
            time.sleep(0.3)
        with pytest.raises(openai.APIError, match="after 1 s") as error:
            list(stream)
        assert error.value.code == "wait_timeout"
        with connect(answering.database_url) as connection:
            connection.execute("select loradex.cancel_jobs(array[%s::uuid])", (job.id,))


def test_an_error_before_the_first_word_has_a_status(served: Served) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        served.client().completions.create(**question(prompt="long " * 400, stream=True))
    assert error.value.code == "context_length_exceeded"


@pytest.mark.parametrize("keyed", [False, True])
def test_a_client_that_leaves_in_the_middle_cancels_its_job(
    served: Served, answering: Stack, writer: Pieces, keyed: bool
) -> None:
    run = uuid4().hex
    body = json.dumps(
        {
            "model": "loradex",
            "prompt": PROMPT,
            "max_tokens": WORDS,
            "stream": True,
            "metadata": {"run": run},
        }
    ).encode()
    extra = f"idempotency-key: {run}\r\n" if keyed else ""
    head = (
        f"POST /v1/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.alice}\r\n{extra}"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode()
    host, port = served.url.removeprefix("http://").split(":")
    with asleep(answering.workers[0]):
        with socket.create_connection((host, int(port)), timeout=30) as leaving:
            leaving.sendall(head + body)
            (job,) = asked(answering, run)
            writer.put(job, "Some words")
            heard = b""
            while b"Some words" not in heard:
                heard += leaving.recv(4096)
        if not keyed:
            until(lambda: state(answering, job.id) == "cancelled")
    if keyed:
        # It goes on, and may be asked for again, as a stream or not.
        answer = served.client().completions.create(
            model="loradex",
            prompt=PROMPT,
            max_tokens=WORDS,
            extra_body={"metadata": {"run": run}},
            extra_headers={"idempotency-key": run},
        )
        assert answer.loradex["job_id"] == str(job.id)


def test_many_streams_are_open_at_once(served: Served, answering: Stack, writer: Pieces, text: str) -> None:
    run = uuid4().hex

    async def walk() -> None:
        heard: list[list[str]] = [[] for _ in range(STREAMS)]
        async with AsyncOpenAI(base_url=f"{served.url}/v1", api_key=served.alice, max_retries=0) as client:

            async def listen(place: int) -> None:
                stream = await client.completions.create(**question(run, stream=True))
                async for chunk in stream:
                    heard[place].append(chunk.choices[0].text)

            before = threading.active_count()
            with answering.routing_held():
                tasks = [asyncio.create_task(listen(place)) for place in range(STREAMS)]
                for job in await asyncio.to_thread(asked, answering, run, STREAMS):
                    writer.put(job, text[:5])
                await until_async(lambda: all(heard))
                # No thread is any stream's own; some ring bells for all.
                assert threading.active_count() < before + STREAMS / 2
            await asyncio.gather(*tasks)
        assert ["".join(pieces) for pieces in heard] == [text] * STREAMS

    asyncio.run(walk())


def test_a_server_that_ends_is_not_ready_first_and_answers_what_is_under_way(
    answering: Stack, served: Served
) -> None:
    login, run = with_user(answering.database_url, "loradex_client"), uuid4().hex
    servers: list[Draining] = []

    async def serve(door: socket.socket) -> None:
        servers.append(Draining(application(AsyncClient(login, answering.redis_url)), seconds=30))
        await servers[0].serve(sockets=[door])

    with listening("127.0.0.1", 0) as door, ThreadPoolExecutor(1) as elsewhere:
        serving = threading.Thread(target=asyncio.run, args=(serve(door),))
        serving.start()
        url = f"http://127.0.0.1:{door.getsockname()[1]}"
        with OpenAI(base_url=f"{url}/v1", api_key=served.alice, max_retries=0) as client:
            with asleep(answering.workers[0]):
                waited_for = elsewhere.submit(
                    lambda: list(client.chat.completions.create(**chat(metadata={"run": run})))
                )
                asked(answering, run)
                assert httpx2.get(f"{url}/readyz").status_code == 200
                servers[0].should_exit = True
                until(lambda: httpx2.get(f"{url}/readyz").status_code == 503)
                assert httpx2.get(f"{url}/readyz?workers=no").json()["reasons"] == [CLOSED]
                assert httpx2.get(f"{url}/livez").status_code == 200
                with pytest.raises(openai.InternalServerError) as refused:
                    client.completions.create(**question())
                assert (refused.value.status_code, refused.value.code) == (503, "shutting_down")
                assert serving.is_alive()
            *_, last = waited_for.result(60)
            assert last.choices[0].finish_reason == "length"
            serving.join(10)
            assert not serving.is_alive(), "nothing is left to wait for"


def test_a_server_that_ends_tells_whoever_still_waits(
    answering: Stack, writer: Pieces, served: Served
) -> None:
    login, run = with_user(answering.database_url, "loradex_client"), uuid4().hex
    servers: list[Draining] = []

    async def serve(door: socket.socket) -> None:
        servers.append(Draining(application(AsyncClient(login, answering.redis_url)), seconds=0.2))
        await servers[0].serve(sockets=[door])

    refused: list[openai.APIStatusError] = []

    def ask(client: OpenAI) -> None:
        try:
            client.completions.create(**question(f"{run}-2"))
        except openai.APIStatusError as error:
            refused.append(error)

    with asleep(answering.workers[0]), listening("127.0.0.1", 0) as door:
        serving = threading.Thread(target=asyncio.run, args=(serve(door),))
        serving.start()
        url = f"http://127.0.0.1:{door.getsockname()[1]}/v1"
        with OpenAI(base_url=url, api_key=served.alice, max_retries=0) as client:
            stream = client.chat.completions.create(**chat(metadata={"run": run}))
            (job,) = asked(answering, run)
            writer.put(job, "It was ")
            assert next(stream).choices[0].delta.content == "It was "
            asking = threading.Thread(target=ask, args=(client,))
            asking.start()
            asked(answering, f"{run}-2")
            servers[0].should_exit = True
            with pytest.raises(openai.APIError, match="server ends") as error:
                list(stream)
            assert error.value.code == "shutting_down"
            asking.join(30)
        serving.join(30)
        assert (refused[0].status_code, refused[0].code) == (503, "shutting_down")
        assert state(answering, job.id) == "cancelled"
