"""The table of answers: what is in the domain, what times a form keeps, what a page says it looked through."""

import re
from uuid import UUID

import httpx2
import numpy as np
import pytest
from psycopg.sql import SQL
from tests.fix_explorer import ANOTHER, another_encoder
from tests.world import ENCODER, World, unit

from loradex.library.projection import project
from loradex.service.explorer.answers_sql import failures_of
from loradex.service.explorer.filters import Filter, out_of_domain


def answered_far(world: World) -> UUID:
    """The answer to a question that lies far from every example."""
    (job,) = world.enqueue()
    attempts = world.claim()
    away = unit(-np.stack(list(world.centres.values())).astype(np.float64).sum(axis=0))
    return world.record(job, attempts[job], world.route([job], [away])[job])


def of_domain(client: httpx2.Client, domain: str) -> set[str]:
    rows = client.get("/answers.json", params={"domain": domain}).raise_for_status().json()["rows"]
    return {row["answer_id"] for row in rows}


def test_where_a_domain_ends_that_has_no_edge(world: World) -> None:
    """As `loradex.retrieval_coverage` has it: one example has nothing outside, and what found nothing is outside."""
    edges = {"of many": 0.5, "of one": None}
    told = world.rows(
        SQL(
            "select encoder, nearest_similarity, {} "
            "from (values ('of many', 0.6), ('of many', 0.4), ('of many', null), "
            "('of one', 0.4), ('of one', null), ('unknown', 0.4)) as answers (encoder, nearest_similarity)"
        )
        .format(out_of_domain(edges))
        .as_string(world.connection)
    )
    assert [out for *_, out in told] == [False, True, True, False, True, None]


def test_what_a_retired_encoder_answered_stays_in_the_domain(world: World, seen: httpx2.Client) -> None:
    another_encoder(world)
    world.answered(*[{}] * 5)
    far = answered_far(world)
    project(world.connection, ENCODER, compared=False)
    world.rows("select loradex.change_setting('encoder', to_jsonb(%s::text))", ANOTHER)
    world.rows("select loradex.retire_encoder(%s)", ENCODER)
    expected = {
        domain: {
            str(answer)
            for (answer,) in world.rows(
                "select answer_id from loradex.retrieval_coverage where out_of_domain = %s", domain == "out"
            )
        }
        for domain in ("in", "out")
    }
    assert expected["in"]
    assert str(far) in expected["out"]
    for domain, answers in expected.items():
        assert of_domain(seen, domain) == answers
    part = seen.get("/map?layer=uncovered").text.partition('id="regions"')[2].partition('id="questions"')[0]
    regions = re.findall(r'<tr data-region[^>]*><td><data [^>]*value="(\d+)"', part)
    assert sum(map(int, regions)) == len(expected["out"]) > 0


def test_of_an_encoder_that_is_new_nothing_is_said(world: World, seen: httpx2.Client) -> None:
    """Where its domain ends is not known until the edges are found anew."""
    (known,) = world.answered({}, near="boats")
    assert of_domain(seen, "in") == {str(known)}
    another_encoder(world)
    (unknown,) = world.answered({"encoder": ANOTHER}, near="boats")
    assert of_domain(seen, "in") == {str(known)}
    assert of_domain(seen, "out") == set()
    rows = seen.get("/answers.json").json()["rows"]
    assert {row["answer_id"]: row["out_of_domain"] for row in rows} == {str(known): False, str(unknown): None}
    assert "out of the domain" not in seen.get("/answers").text
    project(world.connection, ANOTHER, compared=False)
    told = seen.get("/map", params={"encoder": ANOTHER, "layer": "uncovered"}).text
    assert "is not known yet" in told
    assert "lies near an example" not in told


def failed(world: World, count: int, handed_in: str, ended: str, code: str = "internal") -> list[str]:
    """Questions without an answer, of these times."""
    jobs = world.enqueue(*[{}] * count)
    attempts = world.claim(rows=count)
    for job in jobs:
        world.rows("select loradex.fail_job(%s, %s, %s, 'why')", job, attempts[job], code)
        ((new,),) = world.rows(
            "update loradex.jobs set id = overlay(id::text placing "
            "left(loradex.first_id(now() - %s::interval)::text, 14) from 1 for 14)::uuid, "
            "finished_at = now() - %s::interval where id = %s returning id::text",
            *(handed_in, ended, job),
        )
        jobs[jobs.index(job)] = new
    return [str(job) for job in jobs]


def test_health_counts_the_questions_that_its_link_shows(world: World, seen: httpx2.Client) -> None:
    """Both go by when a question ended, not by when it was handed in."""
    long = failed(world, 2, "3 days", "1 hour")
    failed(world, 1, "3 days", "2 days")
    new = failed(world, 1, "10 minutes", "5 minutes")
    told = seen.get("/health").text.partition('id="failed"')[2]
    address, count = re.findall(r'<a href="([^"]+)">internal</a>.*?value="(\d+)"', told)[0]
    assert count == "3"
    rows = seen.get(address.replace("&amp;", "&").replace("/answers?", "/answers.json?")).json()["rows"]
    assert [row["job_id"] for row in rows] == new + sorted(long, reverse=True)
    page = seen.get(address.replace("&amp;", "&")).text
    assert page.count("<tr><td><time") == 3


def test_failures_follow_one_another_without_gaps(
    world: World, seen: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By when they ended, also those that ended at one moment; and a filter looks through so many at once."""
    jobs = failed(world, 3, "4 days", "1 hour") + failed(world, 3, "5 days", "2 hours", "not_finite")
    jobs += failed(world, 3, "1 day", "3 hours")
    world.connection.execute("update loradex.jobs set finished_at = date_trunc('hour', finished_at)")
    monkeypatch.setattr("loradex.service.explorer.answers.ROWS_OF_A_FILE", 2)
    monkeypatch.setattr("loradex.service.explorer.answers_sql.LOOKED", 4)
    for code, wanted in (("any", jobs), ("internal", jobs[:3] + jobs[6:]), ("not_finite", jobs[3:6])):
        found, address = [], f"/answers.json?error={code}"
        while address is not None:
            told = seen.get(address).raise_for_status().json()
            found += [row["job_id"] for row in told["rows"]]
            address = told["next"]
        assert sorted(found) == sorted(wanted), code
        assert len(found) == len(set(found)), code
    page = seen.get("/answers?error=not_finite").text
    assert "This filter looked through the newest" in page
    assert "goes on behind them" in page


def test_a_table_of_failures_is_read_by_its_index(many: World) -> None:
    chosen = Filter.of(
        [("error", "internal"), ("since", "24h"), ("after", "01a23293-5240-7d17-ae8e-7191a23968d9")]
    )
    many.connection.execute("set enable_seqscan = off")
    try:
        plan = many.rows("explain " + failures_of(chosen, 50).as_string())
    finally:
        many.connection.execute("reset enable_seqscan")
    assert any("jobs_unanswered_index" in line for (line,) in plan), plan


def test_an_erased_question_is_called_so(world: World, seen: httpx2.Client) -> None:
    (job,) = failed(world, 1, "1 hour", "1 minute")
    assert ">Is it warm?</th>" in seen.get("/answers?error=any").text
    world.rows("select loradex.erase_jobs('why', 'who', array[%s]::uuid[])", job)
    assert ">erased</th>" in seen.get("/answers?error=any").text
    assert seen.get("/answers.json?error=any").json()["rows"][0]["prompt"] is None


@pytest.mark.parametrize(
    ("until", "field"),
    [
        (
            "2030-01-01T12:00",
            '<input id="until" name="until" type="datetime-local" step="1" value="2030-01-01T12:00:00">',
        ),
        (
            "2030-01-01T14:00:05+02:00",
            '<input id="until" name="until" type="datetime-local" step="1" value="2030-01-01T12:00:05">',
        ),
        ("24h", '<input type="hidden" name="until" value="24h">'),
        ("2030-01-01T12:00:00.5", '<input type="hidden" name="until" value="2030-01-01T12:00:00.5">'),
        ("", '<input id="until" name="until" type="datetime-local" step="1" value="">'),
    ],
)
def test_a_form_keeps_the_time_that_was_chosen(seen: httpx2.Client, until: str, field: str) -> None:
    """A field of a time takes no other text, and what it does not take would be lost."""
    for more in ({}, {"error": "any"}):
        text = seen.get("/answers", params={"until": until, **more}).text
        assert field in text
        assert text.count('name="until"') == 1


def test_a_page_says_where_the_next_one_goes_on(
    world: World, seen: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind what was looked through only where its rows are not more than one page; counts are of all pages."""
    monkeypatch.setattr("loradex.service.explorer.answers_sql.LOOKED", 4)
    world.answered(*[{"method": "base"}] * 6)
    monkeypatch.setattr("loradex.service.explorer.answers.ROWS", 2)
    first = seen.get("/answers?method=base").text
    assert "This filter looked through the newest" in first
    assert "goes on behind them" not in first
    monkeypatch.setattr("loradex.service.explorer.answers.ROWS", 50)
    assert "goes on behind them" in seen.get("/answers?method=base").text
    last = world.value("select id::text from loradex.answers order by id desc offset 3 limit 1")
    second = seen.get(f"/answers?method=base&after={last}").text
    assert "This filter looked through the newest" not in second
    counted = [
        re.search(r"<p class=\"small\">Counted over.*?</p>", text, re.DOTALL) for text in (first, second)
    ]
    assert None not in counted
    assert counted[0][0] == counted[1][0]  # type: ignore[index]
    assert "of this time" in counted[0][0]  # type: ignore[index]


def test_a_facet_says_how_many_it_leaves_out(
    world: World, seen: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loradex.service.explorer.answers.SHOWN", 2)
    world.answered({"method": "base"}, {"method": "cat"}, {"method": "ties"}, {"method": "top1"})
    part = seen.get("/answers").text.partition("<h2>Method</h2>")[2].partition("</section>")[0]
    assert part.count("<li>") == 2
    assert "and 2 more" in part
