"""Whatever becomes of the pieces on their way: what was said is the text of the answer, or an error says so."""

from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loradex.errors import StreamDiffersError
from loradex.pieces import End, Message, Piece, fields_of, message_of
from loradex.service.client import Answer
from loradex.service.client.transcript import MOST_CHARACTERS, Transcript

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def answered(text: str) -> Answer:
    nothing: dict[str, Any] = dict.fromkeys(Answer.__dataclass_fields__)
    return Answer(**nothing | {"answer_id": uuid4(), "text": text})


@st.composite
def told(draw: st.DrawFn, text: str) -> list[Message]:
    """Pieces of two attempts that write the same text, of which some are lost, doubled or late."""
    pieces: list[Message] = []
    for attempt in (1, 2):
        cuts = sorted({0, len(text), *draw(st.lists(st.integers(0, len(text)), max_size=6))})
        pieces += [Piece(attempt, at, text[at:end]) for at, end in pairwise(cuts)]
        pieces.append(End(attempt, uuid4()))
    return draw(st.lists(st.sampled_from(pieces), max_size=20)) + draw(st.permutations(pieces))


@given(st.data(), TEXTS)
def test_what_was_said_is_the_text(data: st.DataObject, text: str) -> None:
    transcript = Transcript()
    messages = data.draw(told(text))
    parts = data.draw(st.lists(st.integers(0, len(messages)), max_size=3).map(sorted))
    said = [
        transcript.hear(messages[start:end])
        for start, end in zip([0, *parts], [*parts, len(messages)], strict=True)
    ]
    said.append(transcript.settle(answered(text), 2))
    assert "".join(said) == text


@given(TEXTS.filter(bool), st.integers(0, 29))
def test_nothing_is_said_twice_or_behind_a_hole(text: str, place: int) -> None:
    transcript = Transcript()
    at = place % len(text)
    assert transcript.hear([Piece(1, at, text[at:])]) == ("" if at else text)
    assert transcript.hear([Piece(1, 0, text[:at])]) == text[:at]
    assert transcript.hear([Piece(1, 0, text)]) == (text[at:] if at else "")
    assert transcript.settle(answered(text), 2) == ""


def test_what_was_said_and_is_not_the_text_is_an_error() -> None:
    transcript = Transcript()
    assert transcript.hear([Piece(1, 0, "forged")]) == "forged"
    answer = answered("the text")
    with pytest.raises(StreamDiffersError, match=f"{answer.answer_id}.* who else writes") as error:
        transcript.settle(answer, 1)
    assert error.value.code == "stream_differs"


def test_what_another_worker_writes_otherwise_is_nobodys_forgery() -> None:
    """Whether it was heard or not; and one that went on with the words as they were has told them itself."""
    for heard in ([], [Piece(2, 0, "A dog")]):
        transcript = Transcript()
        assert transcript.hear([Piece(1, 0, "A cat")]) == "A cat"
        assert transcript.hear(heard) == ""
        with pytest.raises(StreamDiffersError, match="lost or stopped, and another began") as error:
            transcript.settle(answered("A dog sleeps"), 2)
        assert error.value.code == "stream_differs"
    transcript = Transcript()
    assert transcript.hear([Piece(1, 0, "A")]) == "A"
    assert transcript.hear([Piece(2, 0, "A cat")]) == " cat"
    with pytest.raises(StreamDiffersError, match="who else writes"):
        transcript.settle(answered("A dog sleeps"), 2)


def test_a_text_without_an_end_is_not_followed_for_ever() -> None:
    transcript = Transcript()
    for at in range(0, 2 * MOST_CHARACTERS, 1 << 14):
        transcript.hear([Piece(1, at, "x" * (1 << 14))])
    assert len(transcript.said) == MOST_CHARACTERS
    whole = "x" * (MOST_CHARACTERS + 7)
    assert transcript.settle(answered(whole), 1) == "x" * 7


@given(
    st.builds(Piece, st.integers(0, 10**8), st.integers(0, 10**8), TEXTS)
    | st.builds(End, st.integers(0, 99), st.none() | st.uuids())
)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    raw = {name.encode(): str(value).encode() for name, value in fields_of(message).items()}
    assert message_of(raw) == message
