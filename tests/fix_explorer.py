"""The explorer before the starter library and before hostile texts, and the Chromium that looks at it.

Its packages are imported when they are needed, so that tests of other rooms run without the extra `serve`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb
from tests.fix_api import made_key
from tests.fix_db import new_database, with_user
from tests.needs import program
from tests.repository import ROOT
from tests.serving import serving
from tests.world import ENCODER, World

from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres
from loradex.library.projection import project
from loradex.service.client import AsyncClient

if TYPE_CHECKING:
    import httpx2
    from playwright.sync_api import Browser, Locator, Page, Response
    from psycopg import Connection as AnyConnection

    from loradex.service.api.door import Door

PICTURES = ROOT / "docs" / "images"
TOKEN = "token-for-tests-only"
ANOTHER = "another"
SCRIPT = "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"
HOSTILE = (
    f'{SCRIPT}"></pre></textarea>{{{{7*7}}}}{{% include "x" %}}\u202eevil\u2066\u200b\x1b[2J\x07\U000e0041'
)
LONG = f"{HOSTILE} {'<b>word</b> ' * 9_000}"[:100_000]


UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


@dataclass(frozen=True)
class Explored:
    """Where the explorer is.

    Attributes:
        url: Its address.
        database_url: The owner's address of the database behind it.
    """

    url: str
    database_url: str

    @property
    def entrance(self) -> str:
        """The link that lets in."""
        return f"{self.url}/sign-in?token={TOKEN}"


@dataclass(frozen=True)
class Hostile(Explored):
    """An explorer before hostile texts, for who sees everything and, at `tenants`, for owners of keys.

    Attributes:
        answers: Answers whose every text is hostile; the last is the longest.
        failure: A question that failed with hostile words.
        alice, bob: Keys of two tenants.
        of_alice: Her answer.
        dora: Key of a third, who asked what is hostile.
        of_dora: Her answer, and jobs of hers: answered, answered, failed.
    """

    tenants: str
    answers: list[UUID]
    failure: UUID
    alice: str
    bob: str
    of_alice: UUID
    dora: str
    of_dora: tuple[UUID, list[UUID]]


def reading(url: str) -> "Door":
    """`loradex explore` before this database."""
    from loradex.service.explorer.rows import Reader  # noqa: PLC0415
    from loradex.service.explorer.server import application  # noqa: PLC0415

    return application(Reader(with_user(url, "loradex_reader")), TOKEN)


@pytest.fixture(scope="session")
def explored(starter: str) -> Iterator[Explored]:
    """`loradex explore` before the starter library with its answers."""
    with serving(lambda: reading(starter)) as url:
        yield Explored(url, starter)


@pytest.fixture(scope="session")
def hostile(postgres: EmbeddedPostgres, stocked: str) -> Iterator[Hostile]:
    """Both ways to look, before a small library in which every text is hostile."""
    from loradex.service.api.server import application  # noqa: PLC0415

    with new_database(postgres, stocked) as database, connect(database) as connection:
        world = World.found(connection)
        connection.execute(
            "update loradex.examples set source_ref = left(source_ref || %s, 200), prompt = %s, sha256 = "
            "encode(sha256(convert_to(concat(%s::text, e'\\x1f', target), 'UTF8')), 'hex')",
            (HOSTILE, HOSTILE, HOSTILE),
        )
        answers = [
            _answered(world, {"prompt": HOSTILE, "choices": [HOSTILE, "no"]}),
            _answered(world, {"prompt": LONG}),
        ]
        (failed,) = world.enqueue({"prompt": HOSTILE})
        attempts = world.claim(rows=1)
        connection.execute(
            "select loradex.fail_job(%s, %s, 'internal', %s)", (failed, attempts[failed], HOSTILE)
        )
        _odd_library(connection, world)
        alice, bob, dora = (
            made_key(database, f"{name}<script>window.hacked=1</script>")[1]
            for name in ("alice", "bob", "dora")
        )
        client_url = with_user(database, "loradex_client")
        _asked(client_url, alice, "Alice asks.")
        of_alice = _claimed_and_answered(world)
        hers: list[UUID] = []
        for prompt in (HOSTILE, LONG, HOSTILE):
            hers += _asked(client_url, dora, prompt)
            if len(hers) < 3:
                of_dora = _claimed_and_answered(world, text=prompt)
                with connect(client_url) as session, session.transaction():
                    session.execute("select loradex.authenticate(%s)", (dora,))
                    session.execute("select loradex.rate_answer(%s, 1)", (of_dora,))
        attempts = world.claim(rows=1)
        connection.execute(
            "select loradex.fail_job(%s, %s, 'internal', %s)", (hers[-1], attempts[hers[-1]], LONG[:9_000])
        )

        def keyed() -> "Door":
            return application(AsyncClient(client_url, "redis://127.0.0.1:1/0"))

        with serving(lambda: reading(database)) as url, serving(keyed) as tenants:
            yield Hostile(
                url, database, tenants, answers, failed, alice, bob, of_alice, dora, (of_dora, hers)
            )


def _asked(client_url: str, key: str, prompt: str) -> list[UUID]:
    """The job of an owner's question."""
    with connect(client_url) as session, session.transaction():
        session.execute("select loradex.authenticate(%s, 'ask')", (key,))
        rows = session.execute(
            "select job_id from loradex.enqueue_jobs(%s)", (Jsonb([{"prompt": prompt}]),)
        ).fetchall()
    return [row[0] for row in rows]


def _odd_library(connection: "AnyConnection[Any]", world: World) -> None:
    """Names as long as may be, a hostile family, a hostile worker, and a map on which every example is odd."""
    name = "w" * 100
    connection.execute("select loradex.register_task(%s, %s, 'accuracy')", (name, HOSTILE[:100]))
    connection.execute("update loradex.tasks set family = %s", (HOSTILE[:100],))
    world.register(name, name=name)
    connection.execute(
        "select loradex.announce_worker(%s, %s, %s, %s, %s, '{}', 1, %s)",
        (*[HOSTILE[:200]] * 5, Jsonb({"loradex": HOSTILE})),
    )
    project(connection, ENCODER, compared=False)
    connection.execute(
        "update loradex.projected_examples set near_duplicate = true, looks_like = %s", (name,)
    )


def _answered(world: World, job: dict[str, object]) -> UUID:
    world.enqueue(job)
    return _claimed_and_answered(world, text=job["choices"][0] if "choices" in job else LONG)  # type: ignore[index]


def _claimed_and_answered(world: World, **changes: object) -> UUID:
    """The answer to the one job that waits."""
    ((job, attempt),) = world.claim(HOSTILE[:100].replace("\x1b", ""), rows=1).items()
    routing = world.route([job], [world.near("apples")])[job]
    return world.record(job, attempt, routing, versions={HOSTILE: HOSTILE}, **changes)


@pytest.fixture
def seen(world: World, database_url: str) -> Iterator["httpx2.Client"]:
    """Who sees everything, before the test's own library."""
    import httpx2  # noqa: PLC0415

    with (
        serving(lambda: reading(database_url)) as url,
        httpx2.Client(base_url=url, follow_redirects=True, timeout=60) as client,
    ):
        client.get(f"/sign-in?token={TOKEN}").raise_for_status()
        yield client


def another_encoder(world: World) -> None:
    """A second encoder, with the vectors of the first."""
    world.rows(f"select loradex.register_encoder('{ANOTHER}', 'r1', 16)")
    world.connection.execute(
        "insert into loradex.example_embeddings (example_id, task, encoder, embedding) "
        f"select example_id, task, '{ANOTHER}', embedding from loradex.example_embeddings where encoder = %s",
        (ENCODER,),
    )


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """The Chromium of this machine. While it is open, no test of this process can run an event loop of its own."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as driver:
        # Without its sandbox, which needs rights that a container's root lacks: only our own pages are opened.
        opened = driver.chromium.launch(executable_path=program("chromium"), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def tab(browser: "Browser") -> Iterator["Page"]:
    """A new page of a new person; the test fails if anything was said on its console or asked of another host."""
    with watched(browser) as page:
        yield page


class Watch:
    """What a page did that it should not."""

    def __init__(self, page: "Page") -> None:
        self._complaints: list[str] = []
        self._said: list[tuple[str, str]] = []
        self._refused: set[str] = set()
        page.on("console", lambda one: self._said.append((one.location["url"], one.text)))
        page.on("response", self._answered)
        page.on("pageerror", lambda one: self._complaints.append(str(one)))
        page.on("dialog", lambda one: self._complaints.append(f"a dialog: {one.message}"))
        page.on("request", lambda one: self._asked(one.url))

    def complaints(self) -> list[str]:
        """All of it, once nothing more happens."""
        # A page that is refused is a page too, which its test reads. Which came first, what the console says of it or
        # the page itself, is not told.
        heard = [text for url, text in self._said if not (url in self._refused and " status of 4" in text)]
        return self._complaints + heard

    def _answered(self, response: "Response") -> None:
        if response.status >= 400 and response.request.is_navigation_request():
            self._refused.add(response.url)

    def _asked(self, url: str) -> None:
        if not url.startswith("http://127.0.0.1:"):
            self._complaints.append(f"asked {url}")


def watched(browser: "Browser", **options: object) -> "_Watched":
    """A page as `tab`, with options of a browser's context."""
    return _Watched(browser, options)


class _Watched:
    def __init__(self, browser: "Browser", options: dict[str, object]) -> None:
        self._context = browser.new_context(**{"locale": "en-GB", "timezone_id": "UTC", **options})  # type: ignore[arg-type]
        self._page = self._context.new_page()
        self._page.set_default_timeout(15_000)
        self._watch = Watch(self._page)

    def __enter__(self) -> "Page":
        return self._page

    def __exit__(self, kind: object, *_: object) -> None:
        self._context.close()
        if kind is None:
            assert self._watch.complaints() == []


def follow(page: "Page", link: "str | Locator", seconds: float = 15) -> None:
    """Clicks what leads to another page, and waits for all of it: a click alone waits for its beginning.

    A script that changes the address of the page before is no other page.
    """
    with page.expect_event("load", timeout=1000 * seconds):
        (page.locator(link).first if isinstance(link, str) else link).click()


def sign_in(page: "Page", key: str) -> None:
    """Shows a key by keyboard, and waits for the whole page behind the form."""
    page.fill("#secret", key)
    with page.expect_event("load"):
        page.keyboard.press("Enter")


def harmless(page: "Page") -> None:
    """Nothing of the texts ran, nothing unseen reached the page, and nothing is wider than it."""
    assert page.evaluate("window.hacked") is None
    assert UNSEEN.search(page.inner_text("body").replace("\t", "")) is None
    assert page.evaluate(
        "[...document.scripts].every(one => one.src.startsWith(location.origin + '/static/'))"
    )
    assert page.evaluate("document.querySelectorAll('img').length") == 1
    width = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1], (page.url, width)


def accessible(page: "Page", *rules: str) -> None:
    """What axe finds wrong, with its help; with rules, by these alone."""
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415

    found: list[dict[str, Any]] = (
        Axe().run(page, options={"runOnly": list(rules)} if rules else {}).response["violations"]
    )
    assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []


@pytest.fixture
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where pictures go: with `--pictures` into the documentation."""
    return PICTURES if request.config.getoption("pictures") else tmp_path
