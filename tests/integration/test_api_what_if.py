"""An answer routed again over the API: what it would be today, for whoever asked it, and for nobody else."""

from typing import Any

import openai
import pytest
from tests.fix_api import Served

PROMPT = "The clouds turn dark over the kitchen garden. Will it rain?"
CHOICES = ["yes", "no"]


def asked(served: Served, **settings: Any) -> Any:
    answer = served.client().completions.create(
        model="loradex", prompt=PROMPT, extra_body={"loradex": {"choices": CHOICES, **settings}}
    )
    return answer.loradex  # type: ignore[attr-defined]


def what_if(served: Served, answer: str, key: str | None = None, **settings: Any) -> Any:
    return served.client(key).post(f"/answers/{answer}/what-if", body=settings, cast_to=object)


def mixed(told: Any) -> dict[str, Any]:
    return {part["adapter"]: pytest.approx(part["weight"]) for part in told["mixture"]}


def test_as_it_was_nothing_moves(served: Served) -> None:
    answer = asked(served)
    told = what_if(served, answer["answer_id"])
    assert told["total_variation"] == pytest.approx(0)
    assert told["similarity"] == pytest.approx(answer["similarity"])
    assert mixed(told) == mixed(answer)
    assert sum(one["probability"] for one in told["tasks"]) == pytest.approx(1)


@pytest.mark.parametrize(
    "settings",
    [
        {"k": 2},
        {"method": "top1", "temperature": 1.0},
        {"method": "cat", "top_p": 0.3, "exclude_tasks": ["weather"]},
        {"exclude_adapters": ["tiny-weather"]},
    ],
)
def test_it_says_what_asking_would_give(served: Served, settings: dict[str, Any]) -> None:
    told = what_if(served, asked(served)["answer_id"], **settings)
    assert mixed(told) == mixed(asked(served, **settings))
    assert 0 <= told["total_variation"] <= 1
    assert {name: told[name] for name in settings} == settings


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"k": 0}, "k"),
        ({"top_p": 2}, "top_p"),
        ({"method": "nobody"}, "method"),
        ({"method": "base"}, "method"),
        ({"exclude_tasks": ["nobody"]}, "exclude_tasks"),
        ({"neighbours": 3}, "neighbours"),
    ],
)
def test_what_cannot_be_is_refused_by_name(served: Served, settings: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        what_if(served, asked(served)["answer_id"], **settings)
    assert refused.value.param == param


def test_another_tenant_learns_nothing(served: Served) -> None:
    mine = asked(served)["answer_id"]
    nobodys = "00000000-0000-0000-0000-000000000000"
    said = []
    for answer in (mine, nobodys):
        with pytest.raises(openai.NotFoundError) as refused:
            what_if(served, answer, served.bob)
        said.append(str(refused.value).replace(answer, "ID"))
    assert said[0] == said[1]
