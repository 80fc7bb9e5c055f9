"""What the scripts of the pages do where somebody is quick, or the server is gone."""

import re
from typing import TYPE_CHECKING

import httpx2
from tests.fix_explorer import ANOTHER, TOKEN, another_encoder, follow, watched
from tests.world import ENCODER, World

from loradex.library.projection import project

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

STEPS = """values => {
    const slider = document.querySelector('input[type=range][aria-label^="k,"]');
    for (const value of values) {
        slider.value = value;
        slider.dispatchEvent(new Event('input', { bubbles: true }));
    }
    slider.dispatchEvent(new Event('change', { bubbles: true }));
}"""
"""As a slider that is drawn and let go: many steps, and one change at the end."""


def entered(page: "Page", client: httpx2.Client, path: str) -> None:
    page.goto(f"{client.base_url}/sign-in?token={TOKEN}")
    page.goto(f"{client.base_url}{path}")


def test_a_slider_asks_for_where_it_ends(world: World, seen: httpx2.Client, browser: "Browser") -> None:
    """Each request is one of the key's: those on the way are not made, or are given up."""
    from playwright.sync_api import expect  # noqa: PLC0415

    (answer,) = world.answered({"k": 32}, near="boats")
    with watched(browser) as tab:
        entered(tab, seen, f"/what-if/{answer}")
        asked: list[str] = []
        tab.on("request", lambda one: asked.append(one.url) if "/what-if/" in one.url else None)
        tab.evaluate(STEPS, [30, 20, 10, 5, 3])
        expect(tab).to_have_url(re.compile(r"\?k=3&"))
        assert [one.partition("?")[2].partition("&")[0] for one in asked] == ["k=3"]
        assert tab.input_value("#k") == "3"


def test_what_is_not_up_to_date_says_so(world: World, seen: httpx2.Client, browser: "Browser") -> None:
    """Numbers of the settings before would stand below the new ones."""
    from playwright.sync_api import expect  # noqa: PLC0415

    (answer,) = world.answered({"k": 32}, near="boats")
    context = browser.new_context()  # not watched: the browser complains of what is cut off here
    try:
        tab = context.new_page()
        entered(tab, seen, f"/what-if/{answer}")
        stale = tab.locator("#result .outdated")
        expect(stale).to_have_count(0)
        tab.route("**/what-if/**", lambda route: route.abort())
        for k in (5, 4):
            with tab.expect_event("requestfailed"):
                tab.evaluate(STEPS, [k])
            expect(stale).to_have_count(1)
        tab.unroute_all()
        tab.evaluate(STEPS, [3])
        expect(stale).to_have_count(0)
    finally:
        context.close()


def test_another_encoder_is_another_map(world: World, seen: httpx2.Client, browser: "Browser") -> None:
    """With its own points and tasks, and without a shape that was drawn on the one before."""
    from playwright.sync_api import expect  # noqa: PLC0415

    another_encoder(world)
    world.rows(
        "delete from loradex.example_embeddings where encoder = %s and task = 'embers' returning 1", ANOTHER
    )
    for encoder in (ANOTHER, ENCODER):
        project(world.connection, encoder, compared=False)
    with watched(browser) as tab:
        entered(tab, seen, "/map?inside=-1,-1,1,-1,1,1&layer=duplicates")
        drawn = tab.locator("#drawn")
        expect(drawn).to_have_text("200 examples are drawn.")
        with tab.expect_event("load"):
            tab.select_option("#encoder", ANOTHER)
        expect(drawn).to_have_text("160 examples are drawn.")
        expect(tab.locator("canvas")).to_have_attribute("data-points", f"/map.bin?encoder={ANOTHER}")
        assert f"encoder={ANOTHER}" in tab.url
        assert "layer=duplicates" in tab.url
        assert tab.input_value("#inside") == ""
        expect(tab.locator("tr[data-number]")).to_have_count(4)


def test_a_map_without_its_points_says_so(world: World, seen: httpx2.Client, browser: "Browser") -> None:
    from playwright.sync_api import expect  # noqa: PLC0415

    project(world.connection, ENCODER, compared=False)
    context = browser.new_context()
    try:
        tab = context.new_page()
        tab.route("**/map.bin*", lambda route: route.abort())
        entered(tab, seen, "/map")
        expect(tab.get_by_text("The points did not come")).to_be_visible()
        expect(tab.locator("canvas")).to_be_hidden()
        tab.unroute_all()
        follow(tab, "header >> text=Map")
        expect(tab.locator("#drawn")).to_have_text("200 examples are drawn.")
    finally:
        context.close()
