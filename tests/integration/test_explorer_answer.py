"""What the page of an answer says of it: why these adapters, what was said before, by what a choice won."""

import math
import re
from typing import Any
from uuid import UUID

import httpx2
import pytest
from psycopg.types.json import Jsonb
from tests.fix_api import made_key
from tests.fix_db import with_user
from tests.serving import serving
from tests.world import WITH_ADAPTER, World, sha256

from loradex.db.session import connect
from loradex.service.api.server import application
from loradex.service.cli.explain import print_account
from loradex.service.client import AsyncClient
from loradex.service.explorer.picture import MOST_NEIGHBOURS

IN_WORDS = {
    "base": "takes no adapter: the base model answered alone",
    "own": "The job named the adapter boats-lora, which answered alone",
    "top1": "boats is the likeliest; its adapter answered alone",
    "uniform": "mixes every active adapter that may take part, all with the same weight",
    "cat": "The likeliest tasks up to",
    "affinity": "Each task votes in turn for the adapters",
}
VOTES = "Each votes for its task"


def page(client: httpx2.Client, answer: UUID) -> str:
    told = client.get(f"/answers/{answer}")
    assert told.status_code == 200, told.text
    return re.sub(r"<data[^>]*>|</data>", "", told.text)


def test_each_method_has_its_own_reason(world: World, seen: httpx2.Client) -> None:
    """Neighbours are no reason where the method does not look at them, and no line leads from them."""
    for method, says in IN_WORDS.items():
        named = {"adapter": "boats-lora"} if method == "own" else {}
        (answer,) = world.answered({"method": method, "top_p": 0.5, **named}, near="boats")
        text = page(seen, answer)
        (why,) = re.findall(r'<h2 id="why">.*?</h2>\s*<p>(.*?)</p>', text, re.DOTALL)
        assert says in why, method
        asks_them = method in {"top1", "cat", "affinity"}
        assert (VOTES in why) == asks_them, method
        assert ("decided nothing" in why) == (not asks_them), method
        neighbours = min(
            len(world.value("select example_ids from loradex.answers where id = %s", answer)), MOST_NEIGHBOURS
        )
        lines = text.count('<path class="line ')
        assert (lines > neighbours) == asks_them, method
        assert ("nucleus ends" in text) <= (method in {"top1", "cat"}), method


def test_where_nothing_can_vote_nothing_is_said_to_have_voted(world: World, seen: httpx2.Client) -> None:
    everything = [name for (name,) in world.rows("select name from loradex.tasks")]
    (answer,) = world.answered({"method": "cat", "exclude_tasks": everything})
    text = page(seen, answer)
    assert VOTES not in text
    assert "No example could vote" in text
    (answer,) = world.answered({"method": "cat", "exclude_adapters": [f"{one}-lora" for one in WITH_ADAPTER]})
    assert "No task that got votes has an adapter that may take part" in page(seen, answer)


def test_what_no_weight_decides_is_left_out_of_what_if(world: World, seen: httpx2.Client) -> None:
    """Another k changes nothing in an answer of the bare model, of a named adapter, or of all alike."""
    world.answered(
        *[{"method": "base"}] * 3, {"method": "uniform"}, {"method": "own", "adapter": "boats-lora"}
    )
    text = re.sub(r"<data[^>]*>|</data>", "", seen.get("/what-if?k=1").text)
    assert "No question was answered in this time by a method that mixes by such weights" in text
    assert "<strong>5</strong> answers are left out" in text
    assert "3 by base, 1 by own, 1 by uniform." in text
    world.answered({"method": "cat"}, {"method": "affinity"}, {"method": "top1"})
    text = re.sub(r"<data[^>]*>|</data>", "", seen.get("/what-if?k=1").text)
    assert re.search(r"<strong>[0-2]</strong> of 2 mixtures would change", text)
    assert "<strong>6</strong> answers are left out" in text


def test_what_an_answer_had_is_tried_again_after_a_range_became_narrower(
    world: World, seen: httpx2.Client
) -> None:
    """Its own settings are kept and not judged, even where a form says all of them; others are judged."""
    (answer,) = world.answered(
        {"method": "cat", "k": 60, "exclude_tasks": ["embers", "apples"]}, near="boats"
    )
    world.rows("select loradex.change_setting('k', '32', 32)")
    path = f"/what-if/{answer}"
    assert 'value="0.000"' in seen.get(path).raise_for_status().text.partition('id="result"')[2]
    form = {"k": "60", "top_p": "0.5", "exclude_task": ["", "apples", "embers"]}
    assert seen.get(path, params=form).status_code == 200
    assert seen.get(path, params={"k": "61"}).status_code == 400


def answered(world: World, job: dict[str, Any], **said: Any) -> UUID:
    """The answer to a job, of which a worker says this."""
    (asked,) = world.enqueue(job)
    attempts = world.claim()
    routings = world.route([asked], [world.near("boats")])
    more = said.pop("generation", {})
    generation = world.said(asked, routings[asked])["generation"] | more
    return world.record(asked, attempts[asked], routings[asked], generation=generation, **said)


def test_all_that_was_said_is_there(world: World, seen: httpx2.Client) -> None:
    """The system's word and the turns before, and what the model read of them."""
    world.rows("select loradex.set_chat_template('smollm2-135m-instruct', 'a template', true)")
    talk = [("system", "Be brief."), ("user", "Is it warm?"), ("assistant", "Yes."), ("user", "And the sea?")]
    parts: list[Any] = [
        "<s>",
        {"message": 0},
        "|",
        {"message": 1},
        "|",
        {"message": 2},
        "|",
        {"message": 3},
        "</s>",
    ]
    job = {"prompt": None, "messages": [{"role": role, "content": content} for role, content in talk]}
    text = page(seen, answered(world, job, generation={"framed": {"parts": parts, "spaced": False}}))
    for role, content in talk:
        assert re.search(rf">{role}</h3>\s*<pre[^>]*>{re.escape(content)}</pre>", text), role
    assert "&lt;s&gt;Be brief.|Is it warm?|Yes.|And the sea?&lt;/s&gt;" in text
    assert "&#39;parts&#39;" not in text


def test_what_stood_before_the_question_is_told_where_it_is_asked_again(
    world: World, database_url: str
) -> None:
    """The playground asks one question, so it says what it leaves out; asked again as it was, all is handed in."""
    world.rows("select loradex.set_chat_template('smollm2-135m-instruct', 'a template', true)")
    key = made_key(database_url, "alice")[1]
    client_url = with_user(database_url, "loradex_client")
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is it warm?"}]
    with connect(client_url) as session, session.transaction():
        session.execute("select loradex.authenticate(%s, 'ask')", (key,))
        session.execute("select loradex.enqueue_jobs(%s)", (Jsonb([{"messages": talk}]),))
    ((job, attempt),) = world.claim().items()
    routing = world.route([job], [world.near("boats")])[job]
    answer = world.record(job, attempt, routing)
    with (
        serving(lambda: application(AsyncClient(client_url, "redis://127.0.0.1:1/0"))) as url,
        httpx2.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60) as alice,
    ):
        text = re.sub(r"<data[^>]*>|</data>", "", alice.get(f"/playground?like={answer}").text)
        assert "Messages before it (1) are not asked here" in text
        text = re.sub(r"<data[^>]*>|</data>", "", alice.get(f"/answers/{answer}/again?job={job}").text)
        assert "messages before it (1) were handed in with it" in text


def test_who_was_drawn_is_there(world: World, seen: httpx2.Client) -> None:
    world.rows(
        "select loradex.register_adapter(name => 'new', task => 'boats', base_model => 'smollm2-135m-instruct', "
        "sha256 => %s, uri => 'x', rank => 8, alpha => 16, target_modules => '{q_proj}', dtype => 'float32', "
        "parameters => 1, update_norm => 1, state => 'active', share => 0.5)",
        sha256("new"),
    )
    answer = answered(world, {"method": "top1"})
    (draw,) = world.value("select generation -> 'draws' from loradex.answers where id = %s", answer)
    drawn = page(seen, answer).partition('aria-label="Draws"')[2].partition("</table>")[0]
    cells = re.findall(r"<t[dh][^>]*>([^<]*)</t[dh]>", drawn.partition("<tbody>")[2])
    assert cells == ["boats", draw["adapter"], "1", "0.500", f"{draw['draw']:.4f}", "2"]
    assert 'aria-label="Draws"' not in page(seen, answered(world, {"method": "base"}))


@pytest.mark.parametrize(
    ("normalization", "title"),
    [("none", "Log-likelihood"), ("tokens", "Log-likelihood a token"), ("bytes", "Log-likelihood a byte")],
)
def test_a_score_is_called_what_it_is(
    world: World, seen: httpx2.Client, normalization: str, title: str
) -> None:
    answer = answered(world, {"choices": ["no", "yes"], "normalization": normalization})
    assert f'<th scope="col">{title}</th></tr>' in page(seen, answer)


def test_what_won_by_its_share_is_first(
    world: World, seen: httpx2.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    """A choice that is always likely does not win by its score alone, and the page says by what the other won."""
    job = {"choices": ["no", "yes"], "choice_prior": "history"}
    first = answered(world, job, scores=[-0.25, -2.0])
    assert "Too few answers before" in page(seen, first)
    for _ in range(15):
        answered(world, job, scores=[-0.25, -2.0])
    last = answered(world, job, scores=[-0.5, -0.6], text="yes", choice="yes")
    text = page(seen, last)
    rows = [
        re.findall(r"<t[hd][^>]*>\s*([^<\s]+)", row)
        for row in text.partition("Judged by")[2].partition("</table>")[0].split("<tr>")[1:]
    ]
    share = math.exp(-0.25) / (math.exp(-0.25) + math.exp(-2.0))
    assert rows == [
        ["yes", "-0.6000", f"{1 - share:.4f}", f"{-0.6 - math.log(1 - share):.4f}"],
        ["no", "-0.5000", f"{share:.4f}", f"{-0.5 - math.log(share):.4f}"],
    ]
    assert "had in 16 answers before" in text
    print_account(world.value("select loradex.explain(%s)", last))
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in shown if line[:1] in (["yes"], ["no"])] == rows


def test_log_probabilities_are_there(world: World, seen: httpx2.Client) -> None:
    told = [
        {
            "id": one,
            "token": f"\n<{one}>",
            "logprob": -0.5,
            "top": [{"id": 9, "token": "\u202e", "logprob": -0.25}],
        }
        for one in (17, 4, 2)
    ]
    text = page(seen, answered(world, {"logprobs": 1}, logprobs=told))
    assert "Log-probabilities of the tokens (3)" in text
    assert "&#34;\\n&lt;17&gt;&#34;</code></th><td>-0.5000</td>" in text
    assert "\u202e" not in text
