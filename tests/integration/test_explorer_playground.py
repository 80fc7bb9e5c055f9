"""The playground in a real Chromium, before a running worker: ask, read along, compare, rate."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx2
import pytest
from tests.fix_api import Served
from tests.fix_explorer import HOSTILE, Explored, accessible, follow, sign_in, watched
from tests.repository import ROOT

from loradex.db.session import connect
from loradex.service.client import Request
from loradex.service.client.request import NOTHING_OF_THE_MODEL
from loradex.service.explorer.again import asked_again
from loradex.service.explorer.replay import computed
from loradex.service.explorer.wish import Wish

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROMPT = "The pan smokes. Is the oil too hot?"


@pytest.fixture
def alice(served: Served) -> Iterator[httpx2.Client]:
    """A tenant who signed in."""
    with httpx2.Client(base_url=served.url, timeout=60) as client:
        client.post("/sign-in", data={"secret": served.alice})
        yield client


def asked(client: httpx2.Client, **form: str) -> str:
    """Where the answers to a question are read."""
    told = client.post("/playground", data={"prompt": PROMPT, "tokens": "4", **form})
    assert told.status_code == 303, told.text
    return str(told.headers["location"])


def test_a_tenant_asks_compares_and_rates(served: Served, browser: "Browser", pictures: Path) -> None:
    from playwright.sync_api import expect  # noqa: PLC0415

    with watched(browser) as tab:
        tab.goto(f"{served.url}/playground")
        sign_in(tab, served.alice)
        assert tab.url == f"{served.url}/playground"
        accessible(tab)
        tab.fill("#prompt", PROMPT)
        tab.select_option("#way", "method:base")
        tab.select_option("#other", "adapter:tiny-kitchen")
        tab.fill("#tokens", "8")
        follow(tab, "text=Ask")
        rating = tab.get_by_role("button", name="Good")
        expect(rating).to_have_count(2, timeout=60_000)
        tab.wait_for_load_state()
        assert tab.inner_text("h2 >> nth=0") == "base"
        assert tab.inner_text("h2 >> nth=1") == "tiny-kitchen alone"
        texts = tab.locator("pre.text").all_inner_texts()
        assert all(texts)
        assert (tab.locator("mark").count() > 0) == (texts[0].split() != texts[1].split())
        accessible(tab)
        tab.screenshot(path=pictures / "explorer-playground.png")
        follow(tab, rating.nth(0))
        expect(tab.get_by_text("You said it is good.")).to_have_count(1)
        expect(tab.locator("pre.text")).to_have_count(2)
        follow(tab, "text=Why it came out so >> nth=0")
        expect(tab.locator("h1")).to_have_text("Answer")
        expect(tab.locator("main")).to_contain_text("You said it is good.")
        follow(tab, "[aria-label='Rate this answer'] >> text=Bad")
        expect(tab.locator("main")).to_contain_text("You said it is bad.")
        accessible(tab)
        follow(tab, "text=Ask it in another way")
        expect(tab.locator("#prompt")).to_have_value(PROMPT)
    with connect(served.database_url) as connection:
        rows = connection.execute(
            "select f.rating, f.owner, f.chain_hash = a.chain_hash from loradex.feedback f "
            "join loradex.answers a on a.id = f.answer_id order by f.id desc limit 2"
        ).fetchall()
        shown = re.search(r"```sql\n(.*?)```", (ROOT / "docs" / "explorer.md").read_text(), re.DOTALL)
        assert shown is not None
        found = {row[0]: row[1:] for row in connection.execute(shown[1].encode()).fetchall()}
    assert [(rating, whole) for rating, _, whole in rows] == [(-1, True), (1, True)]
    assert found["base"] == (1, 0)


def test_words_come_as_they_are_written(alice: httpx2.Client) -> None:
    job = asked(alice, way="method:base").partition("job=")[2]
    told = alice.get(f"/playground/{job}/stream")
    assert told.headers["content-type"].startswith("text/event-stream")
    assert '"piece"' in told.text
    assert '"answer_id"' in told.text.splitlines()[-2]
    assert "Good" in alice.get(f"/playground?job={job}").text
    failed = asked(alice, way="adapter:tiny-weather", prompt="word " * 3_000).partition("job=")[2]
    assert alice.get(f"/playground/{failed}/stream").status_code == 400
    assert "It is failed" in alice.get(f"/playground?job={failed}").text


def test_nobody_asks_or_rates_for_another(served: Served, alice: httpx2.Client, explored: Explored) -> None:
    place = asked(alice)
    job = place.partition("job=")[2]
    alice.get(f"/playground/{job}/stream")
    elsewhere = {"origin": "http://evil.example"}
    form = {"prompt": PROMPT, "tokens": "4"}
    assert alice.post("/playground", data=form, headers=elsewhere).status_code == 400
    with connect(served.database_url) as connection:
        row = connection.execute("select answer_id from loradex.jobs where id = %s", (job,)).fetchone()
        assert row is not None
        rate = f"/answers/{row[0]}/rating"
        assert alice.post(rate, data={"rating": "good"}, headers=elsewhere).status_code == 400
        with httpx2.Client(base_url=served.url) as bob:
            bob.post("/sign-in", data={"secret": served.bob})
            assert bob.get(place).status_code == 404
            assert bob.get(f"/playground/{job}/stream").status_code == 404
            assert bob.post(rate, data={"rating": "good"}).status_code == 404
            assert bob.get("/playground", params={"like": str(row[0])}).text.count(PROMPT) == 0
            again = f"/answers/{row[0]}/again"
            assert bob.post(again).status_code == 404
            assert bob.get(f"{again}?job={job}").status_code == 404
            replay = f"/answers/{row[0]}/replay"
            assert bob.post(replay).status_code == 404
        for place in (again, replay):
            assert alice.post(place, headers=elsewhere).status_code == 400
        reading = {"authorization": f"Bearer {served.key('alice', scopes=['read'])[1]}"}
        with httpx2.Client(base_url=served.url) as reader:
            assert reader.post("/playground", data=form, headers=reading).status_code == 403
            assert reader.post(rate, data={"rating": "bad"}, headers=reading).status_code == 403
            assert reader.post(again, headers=reading).status_code == 403
            assert reader.post(replay, headers=reading).status_code == 403
        found = connection.execute("select count(*) from loradex.feedback where answer_id = %s", (row[0],))
        assert found.fetchone() == (0,)
    assert alice.post(rate, data={"rating": "bad"}).headers["location"] == f"/answers/{row[0]}"
    with httpx2.Client(base_url=explored.url) as all_seeing:
        all_seeing.get(explored.entrance)
        assert "loradex serve" in all_seeing.get("/playground").text
        assert all_seeing.post("/playground", data=form).status_code == 403
        assert all_seeing.post(again).status_code == 403
        assert all_seeing.post(replay).status_code == 403


def answered(client: httpx2.Client, place: str) -> str:
    """The address of the answer to the job whose answer is read at `place`, once it is there."""
    client.get(f"/playground/{place.partition('job=')[2]}/stream").raise_for_status()
    found = re.search('href="(/answers/[^"]+)">Why', client.get(place).text)
    assert found is not None
    return found[1]


def test_a_question_is_asked_again_beside_what_is_on_record(
    served: Served, alice: httpx2.Client, browser: "Browser", pictures: Path
) -> None:
    """As it was, and with other settings; with scripts and without."""
    from playwright.sync_api import expect  # noqa: PLC0415

    answer = answered(alice, asked(alice))
    with watched(browser) as tab:
        tab.goto(f"{served.url}{answer}")
        sign_in(tab, served.alice)
        follow(tab, "text=Ask it again as it was")
        verdict = tab.locator("p.moved")
        expect(verdict).to_have_text("The same mixture, and the same answer token by token.", timeout=60_000)
        tab.wait_for_load_state()
        assert tab.inner_text("main").count("the settings and the seed on record") == 1
        assert tab.locator("[aria-labelledby=again] tbody tr").count() > 1
        accessible(tab)
        follow(tab, "[aria-labelledby=recorded] >> xpath=../.. >> p >> a >> nth=0")
        follow(tab, "text=What if the settings were others?")
        tab.fill("#top_p", "0.05")
        follow(tab, "text=Generate both answers")
        expect(verdict).to_contain_text("Another mixture", timeout=60_000)
        expect(tab.locator("main")).to_contain_text("top_p 0.05 instead of")
        tab.wait_for_load_state()
        assert tab.locator("[aria-labelledby=again] tbody tr").count() == 1
        tab.screenshot(path=pictures / "explorer-again.png")
        accessible(tab)
    with watched(browser, java_script_enabled=False) as tab:
        tab.goto(f"{served.url}/what-if{answer.removeprefix('/answers')}")
        sign_in(tab, served.alice)
        tab.fill("#k", "1")
        follow(tab, "text=Generate both answers")
        tab.wait_for_url("**job=*")
        alice.get(f"/playground/{tab.url.partition('job=')[2]}/stream").raise_for_status()
        tab.goto(tab.url)
        assert "k 1 instead of" in tab.inner_text("main")
        assert tab.locator("[aria-labelledby=again] pre").inner_text()


def test_what_is_asked_again_is_what_was_asked() -> None:
    """But for what is wished, and for what belongs to the first job alone."""
    said = [{"role": "user", "content": PROMPT}]
    job = {
        "prompt": PROMPT,
        "messages": said,
        "embedded_messages": "last",
        "kind": "generate",
        "k": 32,
        "method": "own",
        "adapter": "tiny-kitchen",
        "top_p": 0.9,
        "stop": ["."],
        "choices": None,
        "idempotency_key": "once",
        "metadata": {"a": "b"},
        "traceparent": f"00-{'1' * 32}-{'2' * 16}-01",
        "priority": 3,
        "seed": None,
        "state": "done",
    }
    same = NOTHING_OF_THE_MODEL | {
        "messages": said,
        "embedded_messages": "last",
        "top_p": 0.9,
        "stop": ["."],
        "seed": 7,
        "stream": True,
    }
    told = asked_again(job, 7, Wish())
    assert told == same | {"method": "own", "adapter": "tiny-kitchen", "k": 32}
    Request.of(told)
    told = asked_again(job, 7, Wish(k=8, method="cat", exclude_tasks=["weather"]))
    assert told == same | {"method": "cat", "k": 8, "exclude_tasks": ["weather"]}


def test_a_choice_is_asked_again_with_its_choices(served: Served, alice: httpx2.Client) -> None:
    told = alice.post(
        "/v1/jobs",
        json={"prompt": PROMPT, "choices": ["yes", "no"], "method": "base"},
        headers={"authorization": f"Bearer {served.alice}"},
    )
    answer = answered(alice, f"/playground?job={told.json()['data'][0]['id']}").rpartition("/")[2]
    place = alice.post(f"/answers/{answer}/again").headers["location"]
    alice.get(f"/playground/{place.partition('job=')[2]}/stream").raise_for_status()
    assert "The same</strong> mixture, and the same answer" in alice.get(place).text


def test_an_answer_is_replayed_from_its_page(
    served: Served, alice: httpx2.Client, browser: "Browser"
) -> None:
    from playwright.sync_api import expect  # noqa: PLC0415

    job = alice.post(
        "/v1/jobs",
        json={"prompt": PROMPT, "choices": ["yes", "no"]},
        headers={"authorization": f"Bearer {served.alice}"},
    ).json()["data"][0]["id"]
    answer = answered(alice, f"/playground?job={job}")
    with watched(browser) as tab:
        tab.goto(f"{served.url}{answer}")
        sign_in(tab, served.alice)
        follow(tab, "text=Replay it exactly", seconds=60)
        expect(tab.locator("p.moved")).to_have_text("It came out the same.")
        assert "apart by 0.000" in tab.inner_text("main")
        computed = {
            row.locator("th").inner_text(): row.locator("td").all_inner_texts()
            for row in tab.locator("[aria-label='By what it was computed'] tbody tr").all()
        }
        assert {"worker", "base_model_revision", "attention", "quantization", "device_map", "torch"} <= set(
            computed
        )
        assert all(then == now for then, now in computed.values())
        assert computed["dtype"] == ["float32", "float32"]
        assert tab.locator("mark").count() == 0
        accessible(tab)
    assert alice.get(f"{answer}/replay").headers["location"] == answer
    said = served.client().post(f"{answer}/replay", cast_to=object)
    assert said["verdict"] in alice.post(f"{answer}/replay").text  # type: ignore[index]


def test_what_computed_a_replay_stands_beside_what_is_on_record() -> None:
    """What is another now may be why it came out otherwise; what nobody noted is told apart from what is the same."""
    recorded = {
        "worker": "w1",
        "base_model": "m",
        "base_model_revision": "r1",
        "generation": {"device": "cpu", "dtype": "float32", "quantization": None, "seed": 7},
        "versions": {"torch": "2.13.0", "vllm": "1"},
    }
    now = recorded | {
        "worker": "w2",
        "device": "cuda",
        "dtype": "float32",
        "attention": "sdpa",
        "quantization": None,
    }
    told = {one.name: one for one in computed(recorded, now | {"versions": {"torch": "2.14.0"}})}
    assert [name for name, one in told.items() if one.differs] == [
        "worker",
        "device",
        "attention",
        "torch",
        "vllm",
    ]
    assert (told["torch"].then, told["torch"].now) == ("2.13.0", "2.14.0")
    assert (told["attention"].then, told["vllm"].now) == (None, None)
    assert "seed" not in told


def test_the_default_stands_beside_another_way(served: Served, alice: httpx2.Client) -> None:
    """Nothing chosen in the first place is the default there, and not nothing."""
    place = asked(alice, way="", other="method:base")
    jobs = place.partition("?")[2].replace("job=", "").split("&")
    with connect(served.database_url) as connection:
        rows = connection.execute(
            "select j.method, j.method = s.value #>> '{}' from loradex.jobs j, loradex.settings s "
            "where s.name = 'method' and j.id = any (%s::uuid[]) order by array_position(%s::uuid[], j.id)",
            (jobs, jobs),
        ).fetchall()
    assert [is_default for _, is_default in rows] == [True, False]
    assert rows[1][0] == "base"


@pytest.mark.parametrize(
    "form",
    [
        {"prompt": "  "},
        {"tokens": "0"},
        {"tokens": "x"},
        {"way": "somehow"},
        {"way": "method:none such"},
        {"other": "adapter:none such"},
        {"prompt": "a\0b"},
    ],
)
def test_a_question_that_cannot_be_is_refused(alice: httpx2.Client, form: dict[str, str]) -> None:
    told = alice.post("/playground", data={"prompt": PROMPT, "tokens": "4", **form})
    assert told.status_code in {400, 404}
    assert alice.post(f"/answers/{uuid4()}/rating", data={"rating": "fair"}).status_code == 400
    assert alice.get(f"/playground?job={uuid4()}").status_code == 404
    for settings in ({}, {"k": "0"}, {"method": "none such"}):
        assert alice.post(f"/answers/{uuid4()}/again", data=settings).status_code == 404
    assert alice.get(f"/answers/{uuid4()}/again").status_code == 303
    assert alice.post("/playground", content=b"prompt=%ff&" + b"a=&" * 30).status_code == 400


def test_hostile_words_do_nothing(served: Served, browser: "Browser") -> None:
    """As a question, in a stream, and where two are compared."""
    from playwright.sync_api import expect  # noqa: PLC0415

    with watched(browser, java_script_enabled=False, viewport={"width": 360, "height": 640}) as tab:
        tab.goto(f"{served.url}/playground")
        sign_in(tab, served.alice)
        tab.fill("#prompt", HOSTILE.replace("\x07", "").replace("\x1b", ""))
        tab.fill("#tokens", "1")
        follow(tab, "text=Ask")
        again = tab.get_by_text("Look again")
        end = time.monotonic() + 60
        while again.count():
            assert time.monotonic() < end
            follow(tab, again)
        expect(tab.get_by_role("button", name="Good")).to_have_count(1)
        assert "<script>window.hacked=1</script>" in tab.input_value("#prompt")
        assert "\u202e" not in tab.content()
        width = tab.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1]
