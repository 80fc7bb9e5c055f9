"""What the explorer lets in, what it says besides pages, and what it refuses."""

import csv
import io
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx2
import pytest
from tests.fix_api import made_key
from tests.fix_explorer import TOKEN, Explored, Hostile
from tests.until import until

from loradex.db.session import connect
from loradex.service.explorer import answers
from loradex.service.explorer.answers import FORMULA
from loradex.service.explorer.entrance import MOST_OF_ONE, MOST_SESSIONS, SECONDS, Sessions
from loradex.service.explorer.library import AFFINITIES
from loradex.service.explorer.page import POLICY, ROOM


@pytest.fixture(scope="module")
def inside(explored: Explored) -> Iterator[httpx2.Client]:
    """Somebody who was let in before the starter library."""
    with httpx2.Client(base_url=explored.url, follow_redirects=True, timeout=60) as client:
        client.get(explored.entrance).raise_for_status()
        yield client


def test_nobody_sees_anything_without_a_good_secret(hostile: Hostile) -> None:
    paths = ("/answers", f"/answers/{hostile.of_alice}")
    for url in (hostile.url, hostile.tenants):
        with httpx2.Client(base_url=url) as client:
            for path in paths:
                assert client.get(path).status_code == 303
                assert client.get(path).headers["location"].startswith("/sign-in?next=/answers")
            for path in ("/answers.json", "/answers.csv", "/answers.sql", f"{paths[1]}.json"):
                assert client.get(path).status_code == 401
            for wrong in (
                "lx_" + "x" * 43,
                "",
                "x" * 5000,
                "\u202e",
                TOKEN if url == hostile.tenants else "no",
            ):
                told = client.post("/sign-in", data={"secret": wrong})
                assert told.status_code in {401, 413}, wrong
                assert "set-cookie" not in told.headers
            cookie = {"cookie": "loradex_session=made-up"}
            assert client.get("/answers", headers=cookie).status_code == 303
            assert client.get("/answers", headers={"authorization": "Bearer no"}).status_code == 401


def test_a_session_is_over_when_it_is_closed_or_its_key_is_revoked(hostile: Hostile) -> None:
    good = {"secret": hostile.alice}
    with httpx2.Client(base_url=hostile.tenants) as client:
        let_in = client.post("/sign-in?next=//evil.example/", data=good)
        assert (let_in.status_code, let_in.headers["location"]) == (303, "/answers")
        assert "HttpOnly" in let_in.headers["set-cookie"]
        assert "SameSite=lax" in let_in.headers["set-cookie"]
        assert hostile.alice not in let_in.headers["set-cookie"]
        assert client.get("/answers").status_code == 200
        elsewhere = {"origin": "https://evil.example"}
        for other in (elsewhere, {"origin": "null"}, {"origin": "http://["}):
            assert client.post("/sign-out", headers=other).status_code == 400
        assert client.post("/sign-in", data=good, headers=elsewhere).status_code == 400
        kept = client.cookies["loradex_session"]
        client.post("/sign-out")
        assert client.get("/answers", headers={"cookie": f"loradex_session={kept}"}).status_code == 303
        client.post("/sign-in", data=good)
        with connect(hostile.database_url) as connection:
            connection.execute(
                "update loradex.api_keys set revoked_at = now() where owner_id = "
                "(select id from loradex.owners where name like 'alice%')"
            )
        try:
            assert client.get("/answers").status_code == 303
            assert client.get("/answers.json").status_code == 401
        finally:
            with connect(hostile.database_url) as connection:
                connection.execute("update loradex.api_keys set revoked_at = null")
        assert client.get("/answers").status_code == 200
    as_alice, as_bob = ({"authorization": f"Bearer {key}"} for key in (hostile.alice, hostile.bob))
    document = f"{hostile.tenants}/answers/{hostile.of_alice}.json"
    assert httpx2.get(document, headers=as_alice).json()["prompt"] == "Alice asks."
    assert httpx2.get(document, headers=as_bob).status_code == 404


@pytest.mark.parametrize(
    ("form", "page"),
    [
        ("/playground", "/playground"),
        ("/answers/{}/rating", "/answers/{}"),
        ("/answers/{}/again", "/answers/{}"),
        ("/answers/{}/replay", "/answers/{}"),
    ],
)
def test_who_was_signed_out_is_told_that_nothing_was_sent(hostile: Hostile, form: str, page: str) -> None:
    """And comes back to the page that has the form, for whose own address there is nothing to see."""
    with httpx2.Client(base_url=hostile.tenants) as client:
        told = client.post(form.format(hostile.of_alice), data={"prompt": "Is it?", "rating": "good"})
        assert told.status_code == 303
        asked = client.get(told.headers["location"]).text
        assert "Nothing was sent" in asked
        action = re.findall(r'<form method="post" action="(/sign-in[^"]*)"', asked)[0].replace("&amp;", "&")
        let_in = client.post(action, data={"secret": hostile.alice})
        assert (let_in.status_code, let_in.headers["location"]) == (303, page.format(hostile.of_alice))
        assert client.get(let_in.headers["location"]).status_code == 200
        assert "Nothing was sent" not in client.get("/sign-in?next=/playground").text


def test_nobody_signs_in_where_the_cookie_would_be_lost(hostile: Hostile) -> None:
    """A browser drops it that came without TLS over a network, and would be asked for the key again and again."""
    good = {"secret": hostile.alice}
    with httpx2.Client(base_url=hostile.tenants) as client:
        for origin, status in (("http://10.0.0.7", 400), ("https://10.0.0.7", 303)):
            headers = {"host": "10.0.0.7", "origin": origin}
            told = client.post("/sign-in", data=good, headers=headers)
            assert (told.status_code, "set-cookie" in told.headers) == (status, status == 303)
            assert ("through a tunnel to localhost" in told.text) == (status == 400)
        assert "Secure" in told.headers["set-cookie"]
        here = hostile.tenants.partition("://")[2]
        told = client.post("/sign-in", data=good, headers={"origin": f"http://{here}"})
        assert (told.status_code, "Secure" in told.headers["set-cookie"]) == (303, False)


def test_no_link_makes_somebody_the_owner_of_a_key(hostile: Hostile) -> None:
    """Whoever sent it would choose whose answers are shown; and addresses with keys are kept by browsers."""
    with httpx2.Client(base_url=hostile.tenants) as client:
        told = client.get("/sign-in", params={"token": hostile.alice})
        assert (told.status_code, "set-cookie" in told.headers) == (200, False)
        assert client.get("/answers").status_code == 303


def test_the_key_in_a_header_goes_before_a_cookie(hostile: Hostile) -> None:
    document = f"/answers/{hostile.of_alice}.json"
    with httpx2.Client(base_url=hostile.tenants) as client:
        client.post("/sign-in", data={"secret": hostile.alice})
        assert client.get(document).status_code == 200
        for scheme in ("Bearer", "bearer"):
            as_bob = {"authorization": f"{scheme} {hostile.bob}"}
            assert client.get(document, headers=as_bob).status_code == 404
        assert client.get(document, headers={"authorization": "Basic eDp5"}).status_code == 200


def test_pages_count_as_requests_of_a_key(hostile: Hostile) -> None:
    """One a minute, so that none comes back while the test is at it."""
    for number, first in enumerate(("/v1/jobs", "/answers", "/answers.json")):
        key = made_key(hostile.database_url, f"carol{number}", requests_a_minute=1)[1]
        with httpx2.Client(base_url=hostile.tenants, headers={"authorization": f"Bearer {key}"}) as client:
            told = client.get(first)
            assert told.status_code == 200
            assert told.headers["x-ratelimit-limit-requests"] == "1"
            assert told.headers["x-ratelimit-remaining-requests"] == "0"
            for path in ("/answers", "/answers.json"):
                told = client.get(path)
                assert (told.status_code, int(told.headers["retry-after"]) > 0) == (429, True)


def test_a_session_ends_by_the_clock_and_ends_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("loradex.service.explorer.entrance.time", SimpleNamespace(monotonic=lambda: now))
    sessions = Sessions()
    first = sessions.open("alice")
    mine = [sessions.open("bob") for _ in range(MOST_SESSIONS)]
    assert sessions.secret_of(first) == "alice"
    assert [sessions.secret_of(one) for one in mine[-MOST_OF_ONE:]] == ["bob"] * MOST_OF_ONE
    assert {sessions.secret_of(one) for one in mine[:-MOST_OF_ONE]} == {None}
    now = SECONDS - 1
    assert sessions.secret_of(first) == "alice"
    now = SECONDS + 1
    assert sessions.secret_of(first) is None


def test_no_statement_goes_on_for_nobody(hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postgres stops what took too long, and what nobody waits for any more."""
    waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    address = urlsplit(hostile.url)
    with (
        httpx2.Client(base_url=hostile.url) as client,
        connect(hostile.database_url) as locked,
        connect(hostile.database_url) as watcher,
        locked.transaction(),
        ThreadPoolExecutor(1) as elsewhere,
    ):
        client.get(hostile.entrance)
        client.get("/answers").raise_for_status()  # the edge of the domain is known now
        locked.execute("lock loradex.answers")
        monkeypatch.setattr("loradex.service.explorer.rows.SECONDS", 600)
        with socket.create_connection((address.hostname, address.port), 30) as leaving:
            cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
            leaving.sendall(
                f"GET /answers HTTP/1.1\r\nhost: {address.netloc}\r\ncookie: {cookie}\r\n\r\n".encode()
            )
            until(lambda: watcher.execute(waiting).fetchall())
        until(lambda: not watcher.execute(waiting).fetchall())
        monkeypatch.setattr("loradex.service.explorer.rows.SECONDS", 2)
        asked = elsewhere.submit(client.get, "/answers.json", timeout=60)
        until(lambda: watcher.execute(waiting).fetchall() or asked.done())
        told = asked.result()
        assert (told.status_code, told.json()["error"]["code"]) == (504, "too_slow")
        until(lambda: not watcher.execute(waiting).fetchall())


def test_every_response_keeps_the_browser_strict(inside: httpx2.Client, hostile: Hostile) -> None:
    page = inside.get("/answers")
    static = [part.split('"')[0] for part in page.text.split('"/static/')[1:]]
    assert len(static) == 4
    for path in (
        "/answers",
        "/answers.json",
        "/answers.csv",
        "/answers/x",
        "/sign-in",
        *(f"/static/{one}" for one in static),
    ):
        told = inside.get(path)
        assert told.headers["content-security-policy"] == POLICY
        assert told.headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in POLICY
    assert inside.get("/answers/x").status_code == 404
    assert inside.get("/static/0/page.py").status_code == 404
    # Its address is good for ever, so no other version may be kept under it.
    for one in static:
        told = inside.get(f"/static/{'0' * 12}/{one.partition('/')[2]}")
        assert (told.status_code, "immutable" in told.headers["cache-control"]) == (404, False)
    assert httpx2.get(f"{hostile.tenants}/nowhere").json()["error"]["code"] == "not_found"
    for template in (ROOM / "templates").iterdir():
        assert "safe" not in template.read_text().replace("harmless", ""), template.name
        assert "style=" not in template.read_text(), template.name


def test_the_sql_of_a_table_gives_its_rows(inside: httpx2.Client, explored: Explored) -> None:
    chosen = {"since": "24h", "domain": "in", "adapter": "snli"}
    rows = inside.get("/answers.json", params=chosen).json()["rows"]
    assert rows
    assert all("snli" in row["adapters"] and not row["out_of_domain"] for row in rows)
    with connect(explored.database_url) as connection:
        asked = connection.execute(inside.get("/answers.sql", params=chosen).content).fetchall()
        edge = connection.execute(
            "select answer_id::text from loradex.retrieval_coverage where out_of_domain"
        ).fetchall()
    assert [row["answer_id"] for row in rows] == [str(row[0]) for row in asked]
    out = inside.get("/answers.json", params={"domain": "out"}).json()["rows"]
    assert {row["answer_id"] for row in out} == {row[0] for row in edge}
    table = list(csv.DictReader(io.StringIO(inside.get("/answers.csv", params=chosen).text)))
    assert [row["answer_id"] for row in table] == [row["answer_id"] for row in rows]
    assert inside.get("/answers.csv", params={"task": "none such"}).text == "answer_id\n"


def test_pages_follow_one_another_without_gaps(
    inside: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loradex.service.explorer.answers.ROWS_OF_A_FILE", 20)
    whole, address = [], "/answers.json?method=cat"
    while address is not None:
        told = inside.get(address).json()
        whole += [row["answer_id"] for row in told["rows"]]
        address = told["next"]
    assert len(whole) == len(set(whole)) == 48
    assert whole == sorted(whole, reverse=True)
    first, second = (inside.get("/answers", params=one).text for one in ({}, {"after": whole[20]}))
    assert _facets(first) == _facets(second)


def _facets(page: str) -> list[str]:
    """What stands beside the table, without the addresses."""
    return re.findall('<span>([^<]*)</span> <span><data[^>]*value="(\\d+)"', page)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=yesterday", "since"),
        ("until=0001-01-01T00:00%2B14:00", "until"),
        ("after=x", "after"),
        ("domain=near", "domain"),
        ("finish=never", "finish"),
        ("limit=7", "filter"),
        ("task=a&task=b", "task"),
        (f"task={'x' * 201}", "task"),
        ("task=%00", "task"),
        ("error=any&task=snli", "task"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(inside: httpx2.Client, query: str, field: str) -> None:
    told = inside.get(f"/answers.json?{query}")
    assert (told.status_code, told.json()["error"]["param"]) == (400, field)
    assert inside.get(f"/answers?{query}").status_code == 400


def test_a_map_is_cut_before_it_is_read(explored: Explored) -> None:
    with connect(explored.database_url) as connection:
        rows = connection.execute(AFFINITIES, {"most": 5}).fetchall()
        tasks, adapters = ({row[place] for row in rows} for place in (0, 1))
        first = connection.execute(
            "select array(select distinct task from loradex.task_affinities order by task limit 5)"
        ).fetchone()
    assert (len(rows), len(adapters)) == (25, 5)
    assert first == (sorted(tasks),)


def test_a_link_that_was_changed_is_seen(hostile: Hostile) -> None:
    with httpx2.Client(base_url=hostile.url, follow_redirects=True) as client:
        client.get(hostile.entrance)
        answer = hostile.answers[0]
        assert "The link holds" in client.get(f"/answers/{answer}").text
        with connect(hostile.database_url) as connection:
            connection.execute("set session_replication_role = replica")  # as an owner may who wants to
            for change, holds in (("worker || '!'", False), ("left(worker, -1)", True)):
                connection.execute(
                    f"update loradex.answers set worker = {change} where id = %s".encode(), (answer,)
                )
                assert ("The link holds" in client.get(f"/answers/{answer}").text) is holds


def test_a_spreadsheet_calculates_nothing(hostile: Hostile) -> None:
    with connect(hostile.database_url) as connection:
        connection.execute(
            "update loradex.jobs set error_message = '=cmd|calc' where state = 'failed' and error_message <> ''"
        )
    with httpx2.Client(base_url=hostile.url, follow_redirects=True) as client:
        client.get(hostile.entrance)
        rows = list(csv.DictReader(io.StringIO(client.get("/answers.csv?error=internal").text)))
    assert {row["error_message"] for row in rows} == {"'=cmd|calc"}
    for first in FORMULA:
        assert answers._cell(f"{first}cmd|calc") == answers._cell([f"{first}cmd|calc"]) == f"'{first}cmd|calc"


def test_other_settings_route_as_the_worker_would(inside: httpx2.Client, explored: Explored) -> None:
    """The recorded settings give the recorded mixture; others give what the functions of the page for analysts say."""
    with connect(explored.database_url) as connection:
        rows = connection.execute(
            "select a.id, (select jsonb_object_agg(d.task, round(d.probability::numeric, 3)) "
            "from loradex.reroute(a.id, k => 8) d) from loradex.answers a order by a.id limit 3"
        ).fetchall()
    for answer, expected in rows:
        assert 'value="0.000"' in inside.get(f"/what-if/{answer}").text
        tried = inside.get(f"/what-if/{answer}?k=8").text.partition('id="tried"')[2]
        for task, probability in expected.items():
            assert f"{task}</th>" in tried
            assert f'value="{probability:.3f}"' in tried


@pytest.mark.parametrize(
    "query",
    ["k=0", "k=1.5", "top_p=2", "temperature=nan", "method=base", "k=8&k=9", "exclude_task=none", "x=1"],
)
def test_settings_that_cannot_be_are_refused(inside: httpx2.Client, query: str) -> None:
    answer = inside.get("/answers.json").json()["rows"][0]["answer_id"]
    assert inside.get(f"/what-if/{answer}?{query}").status_code == 400
    assert inside.get(f"/what-if?{query}").status_code == 400
    assert inside.get("/what-if/00000000-0000-0000-0000-000000000000").status_code == 404


def test_the_likeliest_tasks_adapter_alone_can_be_tried(inside: httpx2.Client, explored: Explored) -> None:
    """As `route_jobs` chooses for method top1: the first of the nucleus, with all of the weight."""
    with connect(explored.database_url) as connection:
        rows = connection.execute(
            "select a.id, d.adapter from loradex.answers a cross join lateral (select m.adapter from "
            "loradex.adapter_mixture(a.query, a.base_model, a.k, a.top_p, a.temperature, job_id => a.job_id) m "
            "order by m.rank limit 1) d order by a.id limit 3"
        ).fetchall()
    assert len(rows) == 3
    for answer, adapter in rows:
        page = inside.get(f"/what-if/{answer}", params={"method": "top1"}).raise_for_status().text
        told = page.partition("<caption>Adapters now</caption>")[2].partition("</table>")[0]
        body = told.partition("<tbody>")[2]
        assert re.findall(r'<th scope="row">([^<]*)</th>', body) == [adapter]
        assert '<data class="number" value="1.000"' in body


def test_what_all_share_is_not_shown_to_the_owner_of_a_key(hostile: Hostile) -> None:
    with httpx2.Client(base_url=hostile.tenants) as client:
        client.post("/sign-in", data={"secret": hostile.alice})
        for path in ("/what-if", "/adapters", "/health", "/map"):
            told = client.get(path)
            assert (told.status_code, "loradex explore" in told.text) == (403, True)


def test_an_owner_tries_other_settings_for_what_is_theirs(hostile: Hostile) -> None:
    """As `loradex.what_if` routes it; what is another's is not there."""
    with httpx2.Client(base_url=hostile.tenants) as client:
        client.post("/sign-in", data={"secret": hostile.alice})
        path = f"/what-if/{hostile.of_alice}"
        assert 'value="0.000"' in client.get(path).text.partition('id="result"')[2]
        assert "loradex.what_if(" in client.get(f"{path}?k=1").text
        assert "Generate both answers" in client.get(path).text
        assert client.get(f"{path}?k=0").status_code == 400
        assert client.get(f"{path}?method=top1").status_code == 200
        for other in hostile.answers:
            assert client.get(f"/what-if/{other}").status_code == 404
