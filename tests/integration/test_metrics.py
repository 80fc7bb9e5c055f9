"""What Prometheus reads is what happened, has no text of anybody's, and is all that dashboard and rules speak of."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from tests.exposition import Exposition, of_worker
from tests.fix_answering import NO_POSTGRES, Stack
from tests.fix_api import Served
from tests.fix_commands import Loradex
from tests.fix_db import with_user
from tests.needs import program
from tests.repository import ROOT
from tests.until import until
from tests.world import World

from loradex.db.session import connect
from loradex.errors import InvalidArgumentError, JobFailedError
from loradex.metrics_port import MetricsPort
from loradex.service.client import Client
from loradex.service.figures import Figures

MONITORING = ROOT / "deploy" / "monitoring"
NAMES = re.compile(r"\b(?:loradex|process)_[a-z_]+\b")
PART = re.compile(r"_(bucket|sum|count)$")
SECRET = "Which secret do the clouds hide?"


def figures(url: str) -> Exposition:
    registry = CollectorRegistry()
    with closing(Figures(url)) as found:
        registry.register(found)
        return Exposition.of(generate_latest(registry).decode())


@pytest.fixture
def asked(served: Served, answering: Stack) -> Iterator[dict[str, Exposition]]:
    """What each part tells after a question, a stream and a refusal."""
    client = served.client()
    client.chat.completions.create(
        model="loradex", messages=[{"role": "user", "content": SECRET}], max_completion_tokens=2
    )
    for _ in client.chat.completions.create(
        model="loradex",
        messages=[{"role": "user", "content": SECRET}],
        max_completion_tokens=2,
        stream=True,
    ):
        pass
    served.http.get(f"{served.url}/v1/models/{SECRET}", headers={"authorization": f"Bearer {served.alice}"})
    with connect(answering.database_url) as connection:
        connection.execute("select loradex.note_verification(0)")
    until(lambda: of_worker(answering).value("loradex_worker_answers_total", finish_reason="length") >= 2)
    yield {
        "api": Exposition.at(served.metrics),
        "worker": of_worker(answering),
        "database": figures(with_user(answering.database_url, "loradex_client")),
    }
    with connect(answering.database_url) as connection:
        connection.execute("delete from loradex.verifications")


def test_all_that_is_shown_and_watched_is_exposed(asked: dict[str, Exposition]) -> None:
    exposed = set().union(*(part.names for part in asked.values()))
    dashboard = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    shown = {
        name
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
        for name in NAMES.findall(target["expr"])
    }
    rules = (MONITORING / "rules.yml").read_text(encoding="utf-8")
    watched = set(NAMES.findall(rules))
    assert len(shown) > 30
    assert len(watched) > 10
    assert shown | watched <= exposed, sorted((shown | watched) - exposed)
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    assert [name for name in sorted(shown) if PART.sub("", name) not in page and "process" not in name] == []
    assert [name for name in re.findall(r"alert: (\w+)", rules) if f"`{name}`" not in page] == []
    # And a metric that nobody shows is one too many.
    ours = {PART.sub("", name) for name in exposed if name.startswith("loradex_")}
    assert ours <= {PART.sub("", name) for name in shown}


def test_nobody_is_named_and_nothing_asked_is_told(asked: dict[str, Exposition], served: Served) -> None:
    for part in asked.values():
        for word in ("secret", "alice", served.alice, "Bearer"):
            assert word not in part.text
    api = asked["api"]
    # What stood in the path is none of the route's business.
    found = {"route": "/v1/models/{id:path}", "method": "GET", "status": "404", "code": "model_not_found"}
    assert api.value("loradex_api_requests_total", **found) >= 1
    assert api.value("loradex_api_open_streams") == 0
    with connect(served.database_url) as connection:
        adapters = {row[0] for row in connection.execute("select name from loradex.adapters")}
    assert asked["worker"].labels("loradex_worker_adapter_weight_total", "adapter") <= adapters


def test_promtool_accepts_names(asked: dict[str, Exposition]) -> None:
    promtool = program("promtool")
    for part in asked.values():
        done = subprocess.run(
            [promtool, "check", "metrics"], input=part.text, capture_output=True, text=True, check=False
        )
        ours = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("loradex_")]
        assert ours == []


def test_requests_are_counted_by_what_became_of_them(served: Served) -> None:
    def counted(**labels: str) -> float:
        return Exposition.at(served.metrics).value("loradex_api_requests_total", **labels)

    for method, path, headers, labels in (
        ("GET", "/v1/models", {}, {"route": "/v1/models", "status": "401", "code": "invalid_api_key"}),
        ("GET", "/nowhere/at/all", {}, {"route": "other", "status": "404", "code": "not_found"}),
        (
            *("PUT", "/v1/models", {}),
            {"route": "/v1/models", "status": "405", "code": "method_not_allowed"},
        ),
        (
            "PROPFIND",
            "/v1/models",
            {},
            {"route": "/v1/models", "status": "405", "code": "method_not_allowed"},
        ),
        ("GET", "/livez", {}, {"route": "/livez", "status": "200", "code": ""}),
        (
            *("POST", "/v1/chat/completions", {"authorization": f"Bearer {served.alice}"}),
            {"route": "/v1/chat/completions", "status": "400", "code": "invalid_json"},
        ),
    ):
        told = {"method": "other" if method == "PROPFIND" else method, **labels}
        before = counted(**told)
        assert (
            str(served.http.request(method, served.url + path, headers=headers).status_code) == told["status"]
        )
        until(lambda told=told, before=before: counted(**told) == before + 1)


def test_a_worker_counts_answers_failures_and_tokens(answering: Stack, client: Client) -> None:
    before = of_worker(answering)
    answers = [client.ask("Is it warm?", choices=["yes", "no"]) for _ in range(2)]
    with pytest.raises(JobFailedError) as failed:
        client.ask("word " * 4000)
    until(
        lambda: (
            of_worker(answering).value("loradex_worker_jobs_total", outcome="failed", code=failed.value.code)
            > before.value("loradex_worker_jobs_total", outcome="failed", code=failed.value.code)
        )
    )
    after = of_worker(answering)

    def grown(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    assert grown("loradex_worker_jobs_total", outcome="answered", code="") == 2
    assert grown("loradex_worker_answers_total", finish_reason="choice") == 2
    assert grown("loradex_worker_prompt_tokens_total") == sum(one.prompt_tokens for one in answers)
    assert grown("loradex_worker_output_tokens_total") == sum(one.output_tokens for one in answers)
    assert grown("loradex_worker_mixture_adapters_count") == 2
    assert grown("loradex_worker_retrieval_similarity_ratio_count") == 2
    for stage in answers[0].timings:
        assert grown("loradex_worker_stage_duration_seconds_count", stage=stage) == 2
    assert grown("loradex_worker_adapter_weight_total", adapter="tiny-weather") > 0
    assert after.value("loradex_worker_bank_adapters") >= 1
    assert after.value("loradex_worker_bank_bytes") > 0


def test_without_postgres_old_figures_are_not_told() -> None:
    told = figures(NO_POSTGRES)
    assert told.value("loradex_database_up") == 0
    assert told.names == {"loradex_database_up"}


def test_postgres_is_asked_once_in_a_while(world: World, database_url: str) -> None:
    registry = CollectorRegistry()
    with closing(Figures(database_url, kept=60)) as found:
        registry.register(found)
        first = generate_latest(registry)
        world.enqueue()
        assert generate_latest(registry) == first
    assert figures(database_url).value("loradex_queue_waiting_jobs", priority="normal") == 1


def test_a_port_that_is_taken_is_said(served: Served) -> None:
    port = int(served.metrics.rpartition(":")[2].partition("/")[0])
    with (
        pytest.raises(InvalidArgumentError, match="another port"),
        MetricsPort("127.0.0.1", port, CollectorRegistry()),
    ):
        pass


def test_the_command_prints_figures_and_a_check_is_noted(world: World, loradex: Loradex) -> None:
    world.answered({"top_p": 1.0})
    code, said, _ = loradex("metrics", "--once")
    assert code == 0
    assert Exposition.of(said + "\n").value("loradex_chain_position") == 1
    assert "loradex_chain_verified_position 1" not in said
    assert loradex("audit", "verify", "--note")[0] == 0
    assert "loradex_chain_verified_position 1" in loradex("metrics", "--once")[1]
    world.connection.execute("set session_replication_role = replica")
    world.connection.execute("update loradex.answers set text = 'forged'")
    world.connection.execute("delete from loradex.verifications")
    assert loradex("audit", "verify", "--note")[0] == 1
    assert world.value("select count(*) from loradex.verifications") == 0
