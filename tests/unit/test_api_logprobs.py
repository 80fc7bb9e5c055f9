"""Log-probabilities as OpenAI's clients read them."""

from typing import Any

import pytest

from loradex.service.api.logprobs import of_chat, of_completion


def answer(text: str, *tokens: str) -> dict[str, Any]:
    return {
        "text": text,
        "logprobs": [
            {"id": place, "token": token, "logprob": -1.5, "top": [{"id": 9, "token": "x", "logprob": -0.5}]}
            for place, token in enumerate(tokens)
        ],
    }


@pytest.mark.parametrize(
    ("text", "tokens", "offsets"),
    [
        ("It is so", (" It", " is", " so", ""), [0, 2, 5]),
        ("is\n so", ("\n", " is", "\n", " so"), [0, 0, 2, 3]),
        ("a中b", ("a", "\ufffd", "\ufffd", "b"), [0, 1, 1, 2]),
        ("a stop", ("a", " stop", ".", "END"), [0, 1, 6, 6]),
        ("", ("", ""), []),
    ],
)
def test_a_completion_says_where_each_token_begins(
    text: str, tokens: tuple[str, ...], offsets: list[int]
) -> None:
    told = of_completion(answer(text, *tokens))
    assert told is not None
    assert told["text_offset"] == offsets
    assert told["tokens"] == [one for one in tokens if one]
    assert all(
        top == {"x": -0.5, token: -1.5}
        for token, top in zip(told["tokens"], told["top_logprobs"], strict=True)
    )


def test_a_chat_has_the_bytes_of_whole_characters() -> None:
    told = of_chat(answer("é", "é", "\ufffd"))
    assert told is not None
    first, second = told["content"]
    assert (first["bytes"], second["bytes"]) == ([195, 169], None)
    assert first["top_logprobs"] == [{"token": "x", "logprob": -0.5, "bytes": [120]}]


def test_nobody_asked() -> None:
    assert of_chat({"logprobs": None}) is of_completion({"logprobs": None}) is None
