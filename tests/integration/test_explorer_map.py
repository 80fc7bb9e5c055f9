"""The map of the examples: made by a command, drawn in a real Chromium, and read without scripts."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx2
import pytest
from pgvector.psycopg import register_vector
from tests.fix_db import RoleUrl
from tests.fix_explorer import Explored, accessible, follow, watched
from tests.world import World

from loradex.db.session import connect
from loradex.library.projection import Projection, project
from loradex.service import cli

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

ENCODER = "all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def drawn(explored: Explored) -> Projection:
    """The map of the starter library, on which some examples are said to be odd: to find those takes a while."""
    with connect(explored.database_url) as connection:
        made = project(connection, ENCODER, compared=False)
        odd = connection.execute(
            "update loradex.projected_examples set near_duplicate = example_id % 50 = 0, "
            "looks_like = case when example_id % 75 = 0 then 'rte' end "
            "where example_id % 50 = 0 or example_id % 75 = 0 returning near_duplicate, looks_like is not null"
        ).fetchall()
        return replace(
            made, near_duplicates=sum(one for one, _ in odd), mislabelled=sum(one for _, one in odd)
        )


@pytest.fixture
def inside(explored: Explored, drawn: Projection) -> Iterator[httpx2.Client]:
    """Somebody who was let in, before the map."""
    assert drawn.examples
    with httpx2.Client(base_url=explored.url, follow_redirects=True) as client:
        client.get(explored.entrance)
        yield client


def test_the_plane_is_that_of_the_largest_variance(explored: Explored, drawn: Projection) -> None:
    """As numpy's own decomposition of all vectors has it."""
    import numpy as np  # noqa: PLC0415

    with connect(explored.database_url) as connection:
        register_vector(connection)
        rows = connection.execute(
            "select p.x, p.y, e.embedding from loradex.projected_examples p "
            "join loradex.example_embeddings e using (example_id, encoder)",
            binary=True,
        ).fetchall()
    vectors = np.stack([row[2].to_numpy() for row in rows])
    centred = vectors - vectors.mean(axis=0)
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    assert drawn.examples == len(rows)
    assert drawn.explained == pytest.approx(float((values[:2] ** 2).sum() / (values**2).sum()), abs=1e-6)
    for place, direction in enumerate(directions[:2]):
        found = np.array([row[place] for row in rows])
        assert np.abs(np.corrcoef(found, centred @ direction)[0, 1]) == pytest.approx(1, abs=1e-5)


def test_an_administrator_draws_it(
    world: World, role_url: RoleUrl, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By the command, as often as they like; an encoder without examples has no map."""
    monkeypatch.setenv("LORADEX_DATABASE_URL", role_url("loradex_admin"))
    world.add_example("boats", "again", world.near("boats"))
    world.connection.execute(
        "insert into loradex.example_embeddings (example_id, encoder, task, embedding) "
        "select e.id, x.encoder, 'boats', x.embedding from loradex.examples e, loradex.example_embeddings x "
        "where e.source_ref = 'again' and x.task = 'boats' and x.example_id <> e.id limit 1 "
        "on conflict (example_id, encoder) do update set embedding = excluded.embedding"
    )
    for quick in ((), ("--quick",), ()):
        assert cli.run(["map", "build", "--json", *quick]) == 0
        told = json.loads(capfd.readouterr().out)
        assert (told["near_duplicates"] > 1) == (not quick)
        assert told["examples"] == world.value("select count(*) from loradex.projected_examples") > 0
    assert cli.run(["map", "build", "--encoder", "none such"]) == 2
    assert "loradex encoder list" in capfd.readouterr().err
    world.rows("select loradex.register_encoder('another', 'r1', 4)")
    assert cli.run(["map", "build", "--encoder", "another"]) == 2
    assert "add examples first" in capfd.readouterr().err
    world.connection.execute("delete from loradex.examples")
    assert world.value("select count(*) from loradex.projected_examples") == 0


def test_a_person_looks_at_the_map(
    explored: Explored, drawn: Projection, browser: "Browser", pictures: "Path"
) -> None:
    """Points are drawn; what is drawn around is listed; a question's neighbours; all of it by keyboard too."""
    from playwright.sync_api import expect  # noqa: PLC0415

    with watched(browser) as tab:
        tab.goto(explored.entrance)
        follow(tab, "header >> text=Map")
        expect(tab.locator("#drawn")).to_have_text(f"{drawn.examples:,} examples are drawn.")
        accessible(tab)
        seen = tab.evaluate(
            "(c => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size)"
            "(document.querySelector('canvas'))"
        )
        assert seen > 20  # colours: those of the tasks, and what is blended of the stars
        tab.click("button.show >> nth=0")
        assert tab.get_attribute("button.show >> nth=0", "aria-pressed") == "true"
        tab.evaluate("window.scrollTo(0, 0)")
        tab.screenshot(path=pictures / "explorer-map.png")
        edge = tab.locator("canvas").bounding_box()
        assert edge is not None
        middle = edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2
        tab.mouse.move(middle[0] - 150, middle[1] - 150)
        tab.mouse.down()
        for x, y in ((150, -150), (150, 150), (-150, 150)):
            tab.mouse.move(middle[0] + x, middle[1] + y)
        tab.mouse.up()
        chosen = tab.locator("#chosen")
        expect(chosen).to_contain_text("examples chosen")
        expect(tab).to_have_url(re.compile("inside="))
        assert 0 < int(re.sub(r"\D", "", chosen.inner_text())) < drawn.examples
        accessible(tab)
        tab.focus("canvas")
        tab.keyboard.press("Escape")
        expect(chosen).to_have_count(0)
        tab.keyboard.press("-")
        tab.keyboard.press("Enter")
        expect(chosen).to_have_text(f"{drawn.examples:,} examples chosen")
        tab.select_option("#layer", "uncovered")
        expect(tab.locator("#regions")).to_be_visible()
        assert tab.locator("tr[data-region]").count() > 0
        tab.emulate_media(color_scheme="dark")
        accessible(tab)
    with watched(browser, java_script_enabled=False, viewport={"width": 360, "height": 640}) as tab:
        tab.goto(explored.entrance)
        tab.goto(f"{explored.url}/map")
        assert not tab.is_visible("canvas")
        tab.select_option("#layer", "mislabelled")
        follow(tab, "text=Show")
        assert tab.inner_text("#chosen") == f"{drawn.mislabelled} examples chosen"
        assert "looks like" in tab.inner_text("[aria-labelledby=chosen]")
        width = tab.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1]


def test_points_are_those_of_the_table(inside: httpx2.Client, explored: Explored, drawn: Projection) -> None:
    told = inside.get("/map.bin", params={"encoder": ENCODER}).content
    assert len(told) == 5 * drawn.examples
    points = [int.from_bytes(told[at : at + 5]) for at in range(0, len(told), 5)]
    flags = [one & 0x3FFF for one in points]
    assert sum(bool(one & 4096) for one in flags) == drawn.near_duplicates
    assert sum(bool(one & 8192) for one in flags) == drawn.mislabelled
    with connect(explored.database_url) as connection:
        tasks = connection.execute("select count(distinct task) from loradex.projected_examples").fetchone()
        places = connection.execute(
            "select p.x / j.reach, p.y / j.reach from loradex.projected_examples p join loradex.projections j "
            "using (encoder)"
        ).fetchall()
    assert tasks == (len({one & 4095 for one in flags}),)
    for place, shift in enumerate((27, 14)):
        found = sorted(one >> shift & 8191 for one in points)
        assert found == pytest.approx(sorted((1 + one[place]) * 4095.5 for one in places), abs=1)
    assert inside.get("/map.bin", params={"encoder": "none such"}).content == b""
    assert "duplicates" in inside.get("/map?layer=duplicates").text


def test_regions_hold_what_no_example_covers(inside: httpx2.Client, explored: Explored) -> None:
    """Every question out of the domain is in one of them, beside those that are as near as an example must be."""
    told = inside.get("/map?layer=uncovered").text
    part = told.partition('id="regions"')[2].partition('id="questions"')[0]
    regions = [
        (int(count), answer)
        for count, answer in re.findall(r'<td><data [^>]*value="(\d+)".*?href="/answers/([^"]+)"', part)
    ]
    out = {row["answer_id"] for row in inside.get("/answers.json?domain=out").json()["rows"]}
    assert {answer for _, answer in regions} <= out
    assert sum(count for count, _ in regions) == len(out) > 0
    with connect(explored.database_url) as connection:
        row = connection.execute(
            "select count(*) from loradex.answers a, loradex.answers b where a.id < b.id and a.id = any (%s) "
            "and b.id = any (%s) and 1 - (a.query operator(public.<=>) b.query) >= "
            "(select loradex.in_domain_similarity(%s))",
            (list(out), list(out), ENCODER),
        ).fetchone()
    assert row is not None
    assert (len(regions) < len(out)) == (row[0] > 0)


@pytest.mark.parametrize(
    "query",
    [
        *("layer=all", "since=1y", "inside=1,2", "inside=0,0,1,1,x,2", "inside=0,0,1,nan,1,1", "x=1"),
        *("task=a&task=b", "encoder=none", f"inside={','.join(['0.1'] * 402)}", "task=%00"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(inside: httpx2.Client, query: str) -> None:
    assert inside.get(f"/map?{query}").status_code == 400
