"""The table of answers: what is in the domain, what times a form keeps, what a page says it looked through."""

import re
from uuid import UUID

import httpx2
import numpy as np
from tests.world import DIMENSIONS, ENCODER, World, unit

from loradex.library.projection import project

ANOTHER = "another"


def another_encoder(world: World) -> None:
    """A second encoder, with the vectors of the first."""
    world.rows(f"select loradex.register_encoder('{ANOTHER}', 'r1', 16)")
    world.connection.execute(
        "insert into loradex.example_embeddings (example_id, task, encoder, embedding) "
        f"select example_id, task, '{ANOTHER}', embedding from loradex.example_embeddings where encoder = %s",
        (ENCODER,),
    )


def answered_far(world: World) -> UUID:
    """The answer to a question that lies far from every example."""
    (job,) = world.enqueue()
    attempts = world.claim()
    away = unit(-sum(world.centres.values(), np.zeros(DIMENSIONS)))
    return world.record(job, attempts[job], world.route([job], [away])[job])


def of_domain(client: httpx2.Client, domain: str) -> set[str]:
    rows = client.get("/answers.json", params={"domain": domain}).raise_for_status().json()["rows"]
    return {row["answer_id"] for row in rows}


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
