"""A new user's first minutes with the wheels: the real base model, the real encoder, the starter library."""

import json
from typing import LiteralString

import psycopg
import pytest
from tests.acceptance.terminal import Terminal, chosen

QUESTION = (
    "Premise: A man is playing a guitar on stage. Hypothesis: A man is performing music. "
    "Does the premise entail the hypothesis?"
)
CHOICES = ["yes", "no", "maybe"]
LIMIT_BYTES = 48 << 20

pytestmark = pytest.mark.timeout(600)


def test_the_demo_gives_three_right_answers_with_their_provenance(demo: str) -> None:
    assert chosen(demo) == ["yes", "negative", "They shared a bowl of ripe tomatoes."]
    for part in (
        "nearest 5 of 32",
        "tasks (* inside the nucleus)",
        "mixture (affinity_calibrated_cat)",
        "loradex explain ",
    ):
        assert demo.count(part) == 3


def test_a_question_is_answered_explained_and_replayed(terminal: Terminal, demo: str) -> None:
    assert demo
    asked = json.loads(terminal.loradex("ask", QUESTION, "--choices", ",".join(CHOICES), "--json"))
    assert asked["choice"] == "yes"
    assert len(asked["scores"]) == len(CHOICES)
    assert len(asked["neighbours"]) == 32
    assert sum(task["probability"] for task in asked["distribution"]) == pytest.approx(1)
    assert sum(part["weight"] for part in asked["mixture"]) == pytest.approx(1)
    assert {"task", "adapter", "sha256", "weight"} <= asked["mixture"][0].keys()

    explained = json.loads(terminal.loradex("explain", asked["answer_id"], "--json"))
    assert explained["answer_id"] == asked["answer_id"]
    assert "1 of 1 the same" in terminal.loradex("replay", asked["answer_id"])
    assert "intact" in terminal.loradex("audit", "verify")


@pytest.mark.parametrize(
    ("method", "function"),
    [("cat", "adapter_mixture"), ("affinity_calibrated_cat", "affinity_mixture")],
)
def test_sql_decides_what_the_answer_says(
    terminal: Terminal, demo: str, method: str, function: LiteralString
) -> None:
    assert demo
    arguments = ("ask", QUESTION, "--choices", ",".join(CHOICES), "--method", method, "--json")
    asked = json.loads(terminal.loradex(*arguments))
    with psycopg.connect(terminal.loradex("db", "url").strip()) as connection:
        rows = connection.execute(
            f"select m.adapter, m.weight from loradex.retrievals r, loradex.{function}(r.query, "
            "'smollm2-135m-instruct') m where r.answer_id = %s order by m.rank",
            (asked["answer_id"],),
        ).fetchall()
    assert [adapter for adapter, _ in rows] == [part["adapter"] for part in asked["mixture"]]
    assert [weight for _, weight in rows] == pytest.approx([part["weight"] for part in asked["mixture"]])


def test_the_starter_library_is_whole_and_small_enough(terminal: Terminal) -> None:
    verified = json.loads(terminal.loradex("library", "verify", "--json"))
    assert len(verified["adapters"]) == 22
    assert verified["bytes"] <= LIMIT_BYTES
    assert all(adapter["dtype"] == "bfloat16" for adapter in verified["adapters"])


def test_loading_the_library_again_adds_nothing(terminal: Terminal, demo: str) -> None:
    assert demo
    report = json.loads(terminal.loradex("library", "load", "--json"))
    assert report["adapters_added"] == 0
    assert report["examples_added"] == 0
    assert report["adapters_present"] == 22
