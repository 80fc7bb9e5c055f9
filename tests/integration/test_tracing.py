"""One trace of a question from HTTP or a client through its job to the worker's stages and SQL, at a real collector."""

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.fix_answering import NO_SWEEP, Stack
from tests.fix_api import made_key
from tests.fix_db import with_user
from tests.needs import package
from tests.otlp_collector import attributes, collecting
from tests.repository import ROOT
from tests.until import until
from tests.world import World

from loradex import collector
from loradex.collector import tracing
from loradex.db.session import connect
from loradex.errors import JobFailedError
from loradex.tracing import traceparent_in

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
SECRET = "Does the moon know 4711?"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@contextmanager
def served(stack: Stack) -> Iterator[str]:
    """The address of a `loradex serve` of its own, which is told to end afterwards and does."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LORADEX_")}
    environment |= {
        **stack.environment(),
        "LORADEX_DATABASE_URL": with_user(stack.database_url, "loradex_client"),
    }
    command = [
        sys.executable,
        "-P",
        "-c",
        "from loradex.service.cli import main; main()",
        "serve",
        "--port",
        "0",
    ]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            yield json.loads(server.stderr.readline())["address"]
            server.terminate()
            server.communicate(timeout=20)
            assert server.returncode == 0
        finally:
            server.kill()


def require_retrieval(stack: Stack, said: dict[str, Any], answer_id: str) -> None:
    """The nearest examples are told by id and similarity, as the answer's evidence has them, and no more of them."""
    with connect(stack.database_url) as connection:
        neighbours = connection.execute(
            """
            select n.example::text, n.similarity
            from loradex.answers a, unnest(a.example_ids, a.similarities) with ordinality n(example, similarity, rank)
            where a.id = %s order by n.rank limit 10""",
            (answer_id,),
        ).fetchall()
    assert neighbours
    assert (said["gen_ai.operation.name"], said["gen_ai.request.top_k"]) == ("retrieval", 32)
    documents = {name: value for name, value in said.items() if name.startswith("retrieval.")}
    assert documents == {
        f"retrieval.documents.{place}.document.{name}": value
        for place, neighbour in enumerate(neighbours)
        for name, value in zip(("id", "score"), neighbour, strict=True)
    }


def test_one_trace_from_http_to_the_record(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as (address, came):
        monkeypatch.setenv(ENDPOINT, address)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        worker = stack.worker().start()
        _, key = made_key(stack.database_url, "alice")
        body = {
            "model": "loradex",
            "messages": [{"role": "user", "content": SECRET}],
            "max_tokens": 2,
            "temperature": 0.5,
            "seed": 7,
        }
        headers = {"authorization": f"Bearer {key}", "traceparent": PARENT}
        with served(stack) as url, httpx2.Client(timeout=60) as http:
            answer = http.post(f"{url}/chat/completions", json=body, headers=headers)
            assert answer.status_code == 200, answer.text
            assert http.post(f"{url}/chat/completions", json={}, headers=headers).status_code == 400
            assert http.get(url.replace("/v1", "/livez")).status_code == 200
        # What was not sent yet goes at the end.
        assert worker.stop() == 0
    stages = {"embed", "route", "prepare", "chat smollm2-135m-instruct"}
    names = {"answer job", "queue", "merge", "prefill", "decode", *stages}
    calls = {"loradex.enqueue_jobs", "loradex.route_jobs", "loradex.record_answer"}
    assert came.names == {"POST /v1/chat/completions", *names, *calls}
    assert {span.trace_id.hex() for span in came.spans} == {TRACE}

    whole, generation = came.named("answer job"), came.named("chat smollm2-135m-instruct")
    served_at, refused = sorted(
        (span for span in came.spans if span.name.startswith("POST")),
        key=lambda span: int(attributes(span)["http.response.status_code"]),
    )
    assert served_at.parent_span_id.hex() == refused.parent_span_id.hex() == PARENT.split("-")[2]
    assert attributes(refused)["error.type"]
    assert refused.status.code == 0
    parents = {
        **dict.fromkeys((*stages, "queue", "loradex.record_answer"), whole),
        **dict.fromkeys(("merge", "prefill", "decode"), generation),
        **dict.fromkeys(("loradex.enqueue_jobs", "answer job"), served_at),
        "loradex.route_jobs": came.named("route"),
    }
    assert {name: came.named(name).parent_span_id for name in parents} == {
        name: parent.span_id for name, parent in parents.items()
    }
    for name in {*parents} - {"loradex.enqueue_jobs", "answer job"}:
        span = came.named(name)
        assert span.start_time_unix_nano <= span.end_time_unix_nano <= whole.end_time_unix_nano, name

    said, told = attributes(generation), answer.json()
    assert (said["gen_ai.operation.name"], said["gen_ai.request.model"]) == ("chat", "smollm2-135m-instruct")
    assert said["gen_ai.usage.output_tokens"] == said["llm.token_count.completion"] == 2
    assert json.loads(said["llm.invocation_parameters"])["max_new_tokens"] == 2
    assert {name: value for name, value in said.items() if name.startswith("gen_ai.request.")} == {
        "gen_ai.request.model": "smollm2-135m-instruct",
        "gen_ai.request.max_tokens": 2,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 1,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stream": False,
    }
    assert said["gen_ai.response.finish_reasons"] == ["length"]
    assert said["gen_ai.response.id"] == told["loradex"]["answer_id"]
    assert attributes(came.named("route"))["loradex.adapters"] == [
        one["adapter"] for one in told["loradex"]["mixture"]
    ]
    assert attributes(came.named("embed"))["gen_ai.operation.name"] == "embeddings"
    require_retrieval(stack, attributes(came.named("route")), told["loradex"]["answer_id"])
    assert attributes(came.named("loradex.route_jobs"))["db.system.name"] == "postgresql"
    assert {one["service.name"] for one in came.resources} == {"loradex-api", "loradex-worker"}
    assert {one["deployment.environment.name"] for one in came.resources} == {"test"}
    assert SECRET.encode() not in came.raw
    assert b"alice" not in came.raw


def test_a_client_hands_on_the_trace_it_is_in_and_texts_are_told_where_asked_for(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = package("opentelemetry.trace")
    within = trace.SpanContext(int(TRACE, 16), 0xB7AD6B7169203331, False, trace.TraceFlags(1))  # noqa: FBT003
    with collecting() as (address, came), stack.client() as client:
        monkeypatch.setenv(ENDPOINT, address)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        monkeypatch.setenv(collector.CONTENT, "true")
        worker = stack.worker().start()
        with trace.use_span(trace.NonRecordingSpan(within)):
            answer = client.ask(SECRET, max_new_tokens=1)
        until(lambda: "answer job" in came.names)
        client.ask("Is it late?", choices=["yes", "no"])
        until(lambda: len({span.trace_id for span in came.spans}) == 2)
        worker.kill()
    first, second = (span for span in came.spans if span.name == "answer job")
    assert (first.trace_id.hex(), first.parent_span_id.hex()) == (TRACE, PARENT.split("-")[2])
    assert second.parent_span_id == b""
    chosen = {"choices"} | {span.name for span in came.spans if span.trace_id == second.trace_id}
    assert chosen >= {"queue", "choices", "merge"}
    written = next(
        attributes(span)
        for span in came.spans
        if "input.value" in attributes(span) and span.trace_id == first.trace_id
    )
    assert (written["input.value"], written["output.value"]) == (SECRET, answer.text)
    assert SECRET in written["gen_ai.input.messages"]


def test_a_job_that_is_cancelled_while_it_runs_has_its_spans_too(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as (address, came), stack.client() as client:
        monkeypatch.setenv(ENDPOINT, address)
        worker = stack.worker().start()
        job = client.enqueue("A long story:", max_new_tokens=1_000, min_tokens=1_000, traceparent=PARENT)
        until(lambda: job.status == "running")
        assert job.cancel() == "cancelled"
        worker.wait_for("job.fenced_off")
        assert worker.stop() == 0
    whole, generation = came.named("answer job"), came.named("text_completion smollm2-135m-instruct")
    assert whole.trace_id.hex() == TRACE
    assert attributes(whole)["loradex.job_id"] == str(job.id)
    for one in (whole, generation):
        assert (attributes(one)["error.type"], one.status.code) == ("lease_lost", 2)
    assert attributes(generation)["gen_ai.request.max_tokens"] == 1_000
    assert "loradex.record_answer" not in came.names


def test_the_stage_that_failed_says_so_and_what_was_asked_of_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as (address, came), stack.client() as client:
        monkeypatch.setenv(ENDPOINT, address)
        worker = stack.worker().start()
        with pytest.raises(JobFailedError, match="256"):
            client.ask(f"{SECRET} " * 60, max_new_tokens=2, seed=7, traceparent=PARENT)
        with pytest.raises(JobFailedError):
            client.ask(f"{SECRET} " * 60, choices=[SECRET, "no"])
        assert worker.stop() == 0
    spans = [span for span in came.spans if span.name == "text_completion smollm2-135m-instruct"]
    written, chosen = sorted(spans, key=lambda span: span.trace_id.hex() != TRACE)
    for span in spans:
        said = attributes(span)
        assert (said["error.type"], span.status.code) == ("prompt_too_long", 2)
        assert said["openinference.span.kind"] == "LLM"
        assert (said["gen_ai.operation.name"], said["gen_ai.provider.name"]) == ("text_completion", "loradex")
        assert said["llm.model_name"] == said["gen_ai.request.model"] == "smollm2-135m-instruct"
        assert not [name for name in said if name.startswith(("gen_ai.response.", "gen_ai.usage."))]
    assert attributes(written)["gen_ai.request.seed"] == 7
    assert attributes(written)["gen_ai.request.max_tokens"] == 2
    # What is chosen is not sampled.
    assert not attributes(chosen).keys() & {"gen_ai.request.max_tokens", "gen_ai.request.temperature"}
    for name in ("queue", "embed", "route", "prepare"):
        assert {span.status.code for span in came.spans if span.name == name} == {0}
    assert SECRET.encode() not in came.raw


def test_a_collector_that_never_answers_delays_no_answer_and_no_end(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    package("opentelemetry.sdk.trace")
    # It takes what is sent, and says nothing.
    with socket.create_server(("127.0.0.1", 0)) as door:
        monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{door.getsockname()[1]}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
        worker = stack.worker(SWEEP_SECONDS=NO_SWEEP).start()
        with stack.client() as client:
            for number in range(3):
                client.ask(f"Is it {number}?", max_new_tokens=1, timeout=30)
        # By itself OpenTelemetry waits half a minute for the last of it.
        assert worker.stop(25) == 0


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, ""),
        ({ENDPOINT: ""}, ""),
        ({ENDPOINT: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}, ""),
        ({ENDPOINT: "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}, ""),
        ({ENDPOINT: "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "zipkin"}, "neither otlp nor none"),
        ({ENDPOINT: "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "only http/protobuf"),
    ],
)
def test_nothing_is_traced_unless_it_can_be(
    settings: dict[str, str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.WARNING, "loradex.tracing"), tracing("test"):
        pass
    assert (reason in caplog.text) if reason else not caplog.records


def test_without_the_extra_a_worker_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with tracing("test"):
        pass
    assert "loradex[otel]" in caplog.text


NONE = ("", "x", PARENT.upper(), f"{PARENT}-x", f"ff{PARENT[2:]}", f"00-{'0' * 32}-b7ad6b7169203331-01", None)


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_traceparent_is_none(text: str | None) -> None:
    assert traceparent_in(text) is None


def test_a_job_keeps_its_trace_which_makes_it_no_other_request(scratch: World) -> None:
    (job,) = scratch.enqueue({"traceparent": PARENT, "idempotency_key": "1"})
    assert scratch.enqueue({"traceparent": PARENT.replace("b7", "c7"), "idempotency_key": "1"}) == [job]
    assert scratch.value("select traceparent from loradex.jobs where id = %s", job) == PARENT
    assert not scratch.value("select settings ? 'traceparent' from loradex.jobs where id = %s", job)
    for wrong in filter(None, NONE):
        with pytest.raises(psycopg.Error, match="traceparent") as refused, scratch.connection.transaction():
            scratch.rows("select loradex.enqueue_jobs(%s)", Jsonb([{"prompt": "?", "traceparent": wrong}]))
        assert refused.value.sqlstate == "LX001"
