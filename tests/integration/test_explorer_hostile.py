"""Every page in a real Chromium with scripts, escapes, changes of direction and 100,000 characters in every text."""

from typing import TYPE_CHECKING

import pytest
from tests.fix_explorer import HOSTILE, Hostile, accessible, harmless, sign_in, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SMALLEST = {"width": 360, "height": 640}
LARGEST = {"width": 3840, "height": 2160}
OPEN = "document.querySelectorAll('details').forEach(one => one.open = true)"
UNREGISTERED = f"/answers?task=%3Cscript%3Ewindow.hacked%3D1%3C/script%3E%E2%80%AE{'x' * 100}"


def looked_at(tab: "Page", address: str, says: str, *, judged: bool) -> None:
    """Opened with all its parts, it says this and does nothing; axe judges it in the light, and colours in the dark."""
    from playwright.sync_api import expect  # noqa: PLC0415

    tab.goto(address)
    drawn = tab.locator("#drawn")
    if drawn.count():
        expect(drawn).not_to_be_empty()  # the map's points came, and are drawn
    tab.evaluate(OPEN)
    assert says in tab.inner_text("main"), address
    harmless(tab)
    assert HOSTILE not in tab.content()
    if judged:
        accessible(tab)
        tab.emulate_media(color_scheme="dark")
        accessible(tab, "color-contrast")
        tab.emulate_media(color_scheme="light")


@pytest.mark.parametrize("viewport", [SMALLEST, LARGEST], ids=["360px", "4k"])
def test_pages_of_who_sees_everything(hostile: Hostile, browser: "Browser", viewport: dict[str, int]) -> None:
    small = viewport is SMALLEST
    with watched(browser, viewport=viewport) as tab:
        tab.goto(hostile.entrance)
        for path, says in (
            ("/answers", "<script>window.hacked=1</script>"),
            ("/answers?error=any", r"\x1b[2J"),
            (UNREGISTERED, "No answer is like this"),
            ("/adapters", "www"),
            ("/adapters/boats-lora", "Without boats-lora"),
            (f"/adapters/{'w' * 100}", "It had no part"),
            ("/health", r"\u202eevil"),
            ("/what-if?k=8", "mixtures would change"),
            ("/map", "<script>window.hacked=1</script>"),
            ("/map?layer=mislabelled&inside=-1,-1,1,-1,1,1,-1,1", "looks like www"),
            ("/map?layer=uncovered", "<script>window.hacked=1</script>"),
            ("/map?layer=%3Cscript%3E", "layer is one of"),
        ):
            looked_at(tab, f"{hostile.url}{path}", says, judged=small)
        for place, answer in enumerate((*hostile.answers, hostile.of_dora[0])):
            # The longest would take axe a while, and its page is made like the first one's.
            judged = small and not place
            said = f"{hostile.url}/answers/{answer}"
            looked_at(tab, said, r"{{7*7}}{% include", judged=judged)
            looked_at(tab, f"{hostile.url}/what-if/{answer}?k=8", r"\u202eevil\u2066", judged=judged)
        tab.goto(said)
        assert "Rated good by dora<script>" in tab.inner_text("main")


def test_pages_of_the_owner_of_a_key(hostile: Hostile, browser: "Browser") -> None:
    answer, jobs = hostile.of_dora
    with watched(browser, viewport=SMALLEST) as tab:
        tab.goto(f"{hostile.tenants}/sign-in")
        accessible(tab)
        sign_in(tab, hostile.dora)
        first, second, failed = jobs
        for path, says in (
            ("/answers", "<script>window.hacked=1</script>"),
            ("/answers?error=any", "<script>window.hacked=1</script>"),
            (f"/answers/{answer}", "You said it is good."),
            (f"/what-if/{answer}?k=1", r"\u202eevil\u2066"),
            (f"/playground?job={first}&job={second}", r"\u202eevil\u2066"),
            (f"/playground?job={failed}", "It is failed"),
            (f"/playground?like={answer}", "Ask"),
            (f"/answers/{answer}/again?job={first}", "Words that the other answer has not are marked."),
            (f"/answers/{answer}/again?job={failed}", "It is failed"),
            ("/map", "This cannot be shown"),
            ("/answers/%3Cscript%3E", "This cannot be shown"),
        ):
            looked_at(tab, f"{hostile.tenants}{path}", says, judged=True)
        assert tab.evaluate("window.hacked") is None
