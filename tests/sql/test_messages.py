"""Conversations at the door, in evidence and in an erasure; choices as they are read."""

import sys
import unicodedata
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.sql.test_erasing import ERASE, everything, job_of, verified
from tests.world import BASE_MODEL, World

SECRET = "The secret is 4711"
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Is it warm?"},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": SECRET},
]
TAKES_ALL = f"select loradex.set_chat_template('{BASE_MODEL}', 'a template', true)"
TAKES_TURNS = f"select loradex.set_chat_template('{BASE_MODEL}', 'a template')"
TAKES_NONE = f"select loradex.set_chat_template('{BASE_MODEL}', null)"


def said(*contents: str, role: str = "user") -> list[dict[str, str]]:
    return [{"role": role, "content": one} for one in contents]


def test_a_conversation_is_kept_whole_and_searched_for_by_its_last_message(scratch: World) -> None:
    scratch.rows(TAKES_ALL)
    jobs = scratch.enqueue(
        {"prompt": None, "messages": TALK}, {"prompt": None, "messages": TALK, "embedded_messages": "all"}, {}
    )
    told = {
        job: rest
        for job, *rest in scratch.rows(
            "select id, prompt, messages, settings -> 'embedded_messages' from loradex.jobs"
        )
    }
    whole = "\n\n".join(one["content"] for one in TALK)
    assert [told[job] for job in jobs] == [
        [SECRET, TALK, "last"],
        [whole, TALK, "all"],
        ["Is it warm?", None, None],
    ]


@pytest.mark.parametrize(
    ("setting", "messages", "why"),
    [
        (TAKES_NONE, TALK, "no chat template.*loradex model register PATH --name"),
        (TAKES_NONE, said("a", "b"), "no chat template"),
        (TAKES_TURNS, TALK, "no system message"),
        (TAKES_ALL, [], "are 0; give 1 to 1000"),
        (TAKES_ALL, said(*["x"] * 1001), "are 1001; give 1 to 1000"),
        (TAKES_ALL, said("x" * 60_000, "y" * 60_000), "more than 100000 characters together"),
        (TAKES_ALL, said("\u4e2d" * 3_000_000), "more than 100000 characters together"),
        (TAKES_ALL, "hello", "array of objects"),
        (TAKES_ALL, ["hello"], "array of objects"),
        (TAKES_ALL, [{"role": "user"}], "role and content"),
        (TAKES_ALL, [{"role": "user", "content": "x", "name": "y"}], "nothing else"),
        (TAKES_ALL, [{"role": "user", "content": ["x"]}], "both texts"),
        (TAKES_ALL, [{"role": None, "content": "x"}], "both texts"),
        (TAKES_ALL, said("x", role="tool"), "none of system, user, assistant"),
        (TAKES_ALL, said("x", role="assistant"), "the last of messages must be the user's"),
        (TAKES_ALL, said(" \u2003\n", "x"), "one of messages is empty"),
    ],
)
def test_what_is_no_conversation_is_refused(scratch: World, setting: str, messages: Any, why: str) -> None:
    scratch.rows(setting)
    with pytest.raises(psycopg.Error, match=why) as error, scratch.connection.transaction():
        scratch.enqueue({"prompt": None, "messages": messages})
    assert error.value.sqlstate == "LX001"
    assert scratch.value("select count(*) from loradex.jobs") == 0


def test_a_job_has_a_prompt_or_messages(scratch: World) -> None:
    scratch.rows(TAKES_ALL)
    for job, why in (
        ({"prompt": "x", "messages": TALK}, "not both"),
        ({"prompt": None, "messages": None}, "the prompt is empty"),
    ):
        with pytest.raises(psycopg.Error, match=why), scratch.connection.transaction():
            scratch.enqueue(job)
    with pytest.raises(psycopg.Error, match="last, all"), scratch.connection.transaction():
        scratch.enqueue({"embedded_messages": "first"})


def test_one_message_of_the_user_needs_no_template(scratch: World) -> None:
    (job,) = scratch.enqueue({"prompt": None, "messages": said("Is it warm?")})
    assert scratch.rows("select id, prompt from loradex.jobs") == [(job, "Is it warm?")]


def test_a_template_is_given_changed_and_taken_away(scratch: World) -> None:
    row = "select chat_template, system_role from loradex.base_models where name = %s"
    for setting, expected in (
        (TAKES_ALL, ("a template", True)),
        (TAKES_TURNS, ("a template", False)),
        (TAKES_NONE, (None, False)),
    ):
        scratch.rows(setting)
        assert scratch.rows(row, BASE_MODEL) == [expected]
    for wrong in (" ", "x" * 200_001):
        with pytest.raises(psycopg.Error) as error, scratch.connection.transaction():
            scratch.rows("select loradex.set_chat_template(%s, %s)", BASE_MODEL, wrong)
        assert error.value.sqlstate == "LX001"


def answered_conversation(world: World) -> Any:
    """The answer to `TALK`, as a worker lays it out that strips the last message."""
    world.rows(TAKES_ALL)
    padded = [*TALK[:-1], {"role": "user", "content": f" {SECRET}\n\n"}]
    (job,) = world.enqueue({"prompt": None, "messages": padded})
    attempts = world.claim()
    routings = world.route([job], [world.near("boats")])
    parts: list[Any] = ["<s>", {"message": 0}, "|", {"message": 1}, "|", {"message": 2}, "|"]
    parts += [{"message": 3, "left": 1, "right": 2}, "</s>"]
    generation = world.said(job, routings[job])["generation"]
    return world.record(
        job,
        attempts[job],
        routings[job],
        generation=generation | {"framed": {"parts": parts, "spaced": False}},
    )


def test_evidence_shows_what_was_embedded_and_what_was_read(scratch: World) -> None:
    answer = answered_conversation(scratch)
    told = scratch.value("select loradex.explain(%s)", answer)
    assert told["prompt"] == f" {SECRET}\n\n"
    assert [one["content"] for one in told["messages"]][:3] == ["Be brief.", "Is it warm?", "Yes."]
    assert told["framed"] == f"<s>Be brief.|Is it warm?|Yes.|{SECRET}</s>"
    assert verified(scratch) == []
    (plain,) = scratch.answered({"prompt": "A {prompt}?"})
    assert scratch.value("select loradex.explain(%s)", plain)["framed"] == "A {prompt}?"


def test_an_erasure_takes_the_conversation(scratch: World) -> None:
    answer = answered_conversation(scratch)
    assert SECRET in everything(scratch)
    assert scratch.rows(ERASE, [job_of(scratch, answer)]) == [(1, 1)]
    left = everything(scratch)
    for one in TALK:
        assert one["content"] not in left
    told = scratch.value("select loradex.explain(%s)", answer)
    assert (told["messages"], told["framed"]) == (None, None)
    assert verified(scratch) == []


def test_the_same_key_for_another_conversation_is_refused(scratch: World) -> None:
    scratch.rows(TAKES_ALL)
    job = {"prompt": None, "messages": TALK, "idempotency_key": "k"}
    assert scratch.enqueue(job) == scratch.enqueue(job)
    with pytest.raises(psycopg.Error) as error, scratch.connection.transaction():
        scratch.enqueue({**job, "messages": TALK[1:]})
    assert error.value.sqlstate == "LX007"


@pytest.mark.parametrize("other", ["yes ", "\u2003yes", "yes\r\n", "yes\x85"])
def test_choices_that_read_the_same_are_refused(scratch: World, other: str) -> None:
    with (
        pytest.raises(psycopg.Error, match="two texts of choices are the same"),
        scratch.connection.transaction(),
    ):
        scratch.enqueue({"choices": ["yes", other]})


def test_choices_are_kept_as_they_are_read(scratch: World) -> None:
    scratch.enqueue({"choices": ["\tyes\n", "a\r\nb\rc", "cafe\u0301", "x\u00b2"]})
    assert scratch.value("select choices from loradex.jobs") == ["yes", "a\nb\nc", "caf\u00e9", "x\u00b2"]
    for pair in (["caf\u00e9", "cafe\u0301"], ["a\nb", "a\r\nb"]):
        with pytest.raises(psycopg.Error, match="the same"), scratch.connection.transaction():
            scratch.enqueue({"choices": pair})
    with pytest.raises(psycopg.Error, match="is empty"), scratch.connection.transaction():
        scratch.enqueue({"choices": ["yes", "\u2003"]})


def test_white_space_is_what_python_takes_for_it(scratch: World) -> None:
    """So that no program that strips a choice makes another one of it."""
    signs = [chr(number) for number in range(1, sys.maxunicode + 1) if not 0xD800 <= number < 0xE000]
    spaces = scratch.value(
        "select array_agg(one) from jsonb_array_elements_text(%s) one where loradex.choice_form('x' || one) = 'x'",
        Jsonb([one for one in signs if unicodedata.category(one) in {"Zs", "Zl", "Zp", "Cc", "Cf", "Mn"}]),
    )
    assert set(spaces) == {one for one in signs if one.isspace()}
