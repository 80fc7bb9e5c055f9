"""The explorer in a real Chromium: what a person sees, with and without scripts, and with hostile texts everywhere."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fix_explorer import Explored, Hostile, accessible, follow, harmless, sign_in, watched
from tests.repository import ROOT

from loradex.db.session import connect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def test_a_person_finds_an_answer_and_sees_why(explored: Explored, tab: "Page", pictures: Path) -> None:
    """From the link that the command printed: filter, open, read why, and see that the link of the chain holds."""
    from playwright.sync_api import expect  # noqa: PLC0415

    tab.goto(explored.entrance)
    assert tab.url == f"{explored.url}/answers"
    assert tab.title() == "Answers · Loradex"
    accessible(tab)
    assert tab.locator("table.listed tbody tr").count() == 48
    tab.screenshot(path=pictures / "explorer-answers.png")
    follow(tab, "aside a:has-text('out of the domain')")
    assert tab.url.endswith("/answers?domain=out")
    # Four belong to no task; where exactly the domain ends differs by index.
    assert 4 <= tab.locator("table.listed tbody tr").count() <= 6
    follow(tab, "ul.chips a:has-text('domain')")
    follow(tab, "aside a[href*='adapter=wnli']")
    tab.select_option("#since", "7d")
    follow(tab, "form[role=search] button")
    assert "since=7d" in tab.url
    assert "adapter=wnli" in tab.url
    follow(tab, "table.listed tbody tr:has-text('The agency') a")
    assert tab.inner_text("h1") == "Answer"
    assert "The link holds" in tab.inner_text("main")
    assert "it follows the link before it" in tab.inner_text("main")
    shown = tab.locator("svg.decision")
    assert "mnli_matched" in (shown.text_content() or "")
    assert shown.locator("path.line").count() > 20
    accessible(tab)
    tab.emulate_media(color_scheme="dark")
    accessible(tab)
    tab.emulate_media(color_scheme="light")
    clip = {"x": 0, "y": 0, "width": 1280, "height": 1340}
    tab.screenshot(path=pictures / "explorer-answer.png", full_page=True, clip=clip)
    # By keyboard alone: past the head, and a part of the page opened.
    tab.reload()
    tab.keyboard.press("Tab")
    expect(tab.locator("a.skip")).to_be_focused()
    tab.keyboard.press("Enter")
    expect(tab.locator("#content")).to_be_focused()
    tab.focus("summary:has-text('The same as tables')")
    tab.keyboard.press("Enter")
    expect(tab.locator("caption:has-text('Tasks, likeliest first')")).to_be_visible()
    follow(tab, "text=Sign out")
    assert tab.url.endswith("/sign-in")
    accessible(tab)


def test_a_person_tries_other_settings(explored: Explored, browser: "Browser", pictures: Path) -> None:
    """Beside what is on record, for one answer and for all of a week; with a slider, and without scripts."""
    from playwright.sync_api import expect  # noqa: PLC0415

    with watched(browser) as tab:
        tab.goto(explored.entrance)
        follow(tab, "table.listed tbody tr:has-text('The agency') a")
        follow(tab, "text=What if the settings were others?")
        accessible(tab)
        moved = tab.locator("p.moved strong")
        assert moved.inner_text() == "0.000"
        slider = tab.get_by_label("k, as a slider")
        slider.fill("8")
        expect(moved).not_to_have_text("0.000")
        expect(tab).to_have_url(re.compile("k=8"))
        # As docs/sql.md has it: one task of four goes, and three share its weight.
        assert "mnli_mismatched" in tab.inner_text("[aria-labelledby=tried] tbody tr >> nth=0")
        assert "wnli" in tab.inner_text("[aria-labelledby=recorded]")
        assert "wnli" not in tab.inner_text("[aria-labelledby=tried]")
        clip = {"x": 0, "y": 0, "width": 1280, "height": 1180}
        tab.screenshot(path=pictures / "explorer-what-if.png", full_page=True, clip=clip)
        tab.click("summary:has-text('Tasks left out')")
        tab.check("label:has-text('mnli_mismatched') input[name=exclude_task]")
        expect(tab.locator("[aria-labelledby=tried]")).not_to_contain_text("mismatched")
        follow(tab, "header >> text=What if")
        tab.fill("#k", "8")
        follow(tab, "text=Route them again")
        assert re.search(r"\d+ of 48 mixtures would change", tab.inner_text("main"))
        accessible(tab)
        follow(tab, "table.listed tbody tr >> nth=0 >> a")
        assert "k=8" in tab.url
        assert moved.inner_text() != "0.000"
    with watched(browser, java_script_enabled=False) as tab:
        tab.goto(explored.entrance)
        follow(tab, "table.listed tbody tr:has-text('The agency') a")
        follow(tab, "text=What if the settings were others?")
        tab.fill("#k", "8")
        follow(tab, "text=Route it again")
        assert tab.inner_text("p.moved strong") != "0.000"


def test_a_person_sees_what_is_shared_and_how_it_is(
    explored: Explored, browser: "Browser", pictures: Path
) -> None:
    """Adapters, tasks and affinities; the queue, the workers and the chain."""
    with watched(browser) as tab:
        tab.goto(explored.entrance)
        follow(tab, "header >> text=Adapters and tasks")
        accessible(tab)
        assert tab.locator("table.listed tbody tr").count() == 22
        assert tab.locator("table.heat td.own").count() == 22
        # As docs/sql.md has it: the adapter with the largest share, its answers, its part of all weight.
        first = tab.inner_text("table.listed tbody tr >> nth=0").split()
        assert first[:2] == ["wnli", "1"]
        assert float(first[5]) > 0.15
        tab.screenshot(path=pictures / "explorer-adapters.png")
        tab.emulate_media(color_scheme="dark")
        accessible(tab)
        follow(tab, "table.listed a >> nth=0")
        assert tab.url.endswith("/answers?adapter=wnli")
        tab.go_back()
        follow(tab, "[aria-label='What if wnli were retired']")
        accessible(tab)
        assert re.search(r"\d+ answers would be made of other adapters", tab.inner_text("main"))
        assert tab.locator("table.listed tbody tr").count() > 3
        follow(tab, "header >> text=Health")
        accessible(tab)
        with connect(explored.database_url) as reader:
            hour = reader.execute("select done_last_hour from loradex.queue_health").fetchone()
        assert hour is not None
        shown = int(tab.inner_text("li:has-text('answered in the last hour') strong"))
        # Between the page and this count, some may have become older than an hour.
        assert hour[0] <= shown <= 48
        assert "No worker has announced itself" in tab.inner_text("main")
        with connect(explored.database_url) as reader:
            reader.execute("select loradex.note_verification(position) from loradex.chain_head()")
        tab.reload()
        assert "up to link 48" in tab.inner_text("main")


def test_three_questions_are_answered_by_the_clicks_of_the_documentation(
    explored: Explored, browser: "Browser"
) -> None:
    """What docs/explorer.md tells to click, in this order, leads from the first page to each answer."""
    from playwright.sync_api import expect  # noqa: PLC0415

    told = (ROOT / "docs" / "explorer.md").read_text().partition("## Three questions")[2]
    rows = re.findall(r"^\| ([^|]*\?) \| (.*) \|$", told, re.MULTILINE)
    shown = [
        ("p >> text=Each votes for its task", "Why these adapters", r"/answers/[0-9a-f-]{36}$"),
        ("p.moved", "mixtures would change by more than", r"/what-if\?k=8&"),
        ("table.listed td .tag", "out of the domain", r"/answers\?domain=out$"),
    ]
    assert len(rows) == len(shown)
    for (question, clicks), (place, says, address) in zip(rows, shown, strict=True):
        with watched(browser) as tab:
            tab.goto(explored.entrance)
            for click in clicks.split(" → "):
                if typed := re.fullmatch(r"(\d+) in the box \*(\w+)\*", click):
                    tab.get_by_label(typed[2], exact=True).fill(typed[1])
                elif named := re.match(r"\*(.*)\*", click):
                    follow(tab, tab.get_by_text(named[1]).first)
                else:
                    assert click == "a question"
                    follow(tab, "table.listed tbody a >> nth=0")
            expect(tab).to_have_url(re.compile(address))
            expect(tab.locator(place).first).to_be_visible()
            assert says in (tab.text_content("main") or ""), question


def test_without_scripts_it_reads_the_same(explored: Explored, browser: "Browser") -> None:
    with watched(browser, java_script_enabled=False) as tab:
        tab.goto(explored.entrance)
        follow(tab, "table.listed tbody tr a")
        assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", tab.inner_text("main"))
        assert "The link holds" in tab.inner_text("main")
        assert tab.locator("svg.decision rect").count() > 20
        assert tab.locator("button.copy:visible").count() == 0


def test_numbers_and_times_are_the_readers(explored: Explored, browser: "Browser") -> None:
    with watched(browser, locale="de-DE") as tab:
        tab.goto(explored.entrance)
        follow(tab, "table.listed tbody tr a")
        assert "-0,2500" in tab.inner_text("main")
        assert re.search(r"\d\d\.\d\d\.\d{4}, \d\d:\d\d:\d\d", tab.inner_text("main"))


def test_a_tenant_signs_in_with_a_key_and_sees_what_is_theirs(hostile: Hostile, tab: "Page") -> None:
    wanted = f"{hostile.tenants}/answers/{hostile.of_alice}"
    tab.goto(wanted)
    assert "/sign-in?next=" in tab.url
    accessible(tab)
    sign_in(tab, hostile.alice)
    assert tab.url == wanted
    assert "Alice asks." in tab.inner_text("main")
    assert "cannot be seen from here" in tab.inner_text("main")
    harmless(tab)
    tab.goto(f"{hostile.tenants}/answers")
    assert tab.locator("table.listed tbody tr").count() == 1
    follow(tab, "text=Sign out")
    sign_in(tab, hostile.bob)
    assert "No answer is like this" in tab.inner_text("main")
