"""Log-probabilities of the tokens that were written, as OpenAI's clients read them."""

from collections.abc import Mapping, Sequence
from typing import Any

UNKNOWN = "\ufffd"
"""In the text of a token that is not whole characters."""

Document = dict[str, Any]


def of_chat(answer: Mapping[str, Any]) -> Document | None:
    """What a choice of a chat has in `logprobs`; None where nobody asked."""
    told = _told(answer)
    if told is None:
        return None
    return {
        "content": [{**_one(one), "top_logprobs": [_one(other) for other in one["top"]]} for one in told],
        "refusal": None,
    }


def of_completion(answer: Mapping[str, Any]) -> Document | None:
    """What a choice of a completion has in `logprobs`; None where nobody asked.

    A place's `top_logprobs` have the token that was written too, so they may be one more than were asked for.
    """
    told = _told(answer)
    if told is None:
        return None
    tokens = [one["token"] for one in told]
    return {
        "tokens": tokens,
        "token_logprobs": [one["logprob"] for one in told],
        "top_logprobs": [{each["token"]: each["logprob"] for each in (*one["top"], one)} for one in told],
        "text_offset": _offsets(tokens, answer["text"]),
    }


def _offsets(tokens: Sequence[str], text: str) -> list[int]:
    """Where in the text each token begins; one of half a character, or behind the end, where the one before ends."""
    offsets = []
    at = halves = 0
    for token in tokens:
        # The text has no white space at its start.
        whole = token if at else token.lstrip()
        place = -1 if UNKNOWN in token else text.find(whole, at, at + halves + len(whole))
        halves = halves + 1 if place < 0 else 0
        offsets.append(max(place, at))
        at = at if place < 0 else place + len(whole)
    return offsets


def _told(answer: Mapping[str, Any]) -> Sequence[Mapping[str, Any]] | None:
    """Those of the tokens that leave text; the one that ends it leaves none."""
    stored = answer["logprobs"]
    return None if stored is None else [one for one in stored if one["token"]]


def _one(told: Mapping[str, Any]) -> Document:
    """The bytes of half a character are not known here."""
    text = told["token"]
    return {
        "token": text,
        "logprob": told["logprob"],
        "bytes": None if UNKNOWN in text else list(text.encode()),
    }
