"""How a chat template lays out a conversation: its own text, and where the messages stand in it.

The template sees no message, but a sign in the place of each that nobody can guess. So no message can change what the
template says, and what it says depends on the roles alone.
"""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from loradex.errors import ConfinedError, ConversationRefusedError
from loradex.library.chat_program import MODULE

Confined = Callable[[str, Mapping[str, Any]], Any]
"""`loradex.confined.confined`."""

Strip = Literal["nothing", "lines", "space"]
"""What a template takes off a side of a message: nothing, line feeds, or all white space."""

# White space on both sides of a sign shows what a template strips. No template has so many line feeds by itself.
LINES = "\n" * 7
SPACE = "\u2003"
SIDES: Mapping[str, Strip] = {"": "space", SPACE: "lines"}


@dataclass(frozen=True)
class Slot:
    """Where a message stands, and what is stripped off its sides."""

    message: int
    left: Strip
    right: Strip

    def cut(self, content: str) -> tuple[int, int]:
        """How many characters of the message are left out at its start and at its end."""
        signs = {"nothing": "", "lines": "\n", "space": None}
        kept = content if self.left == "nothing" else content.lstrip(signs[self.left])
        left = len(content) - len(kept)
        end = kept if self.right == "nothing" else kept.rstrip(signs[self.right])
        return left, len(kept) - len(end)


@dataclass(frozen=True)
class Layout:
    """A conversation up to where the model's turn begins.

    Attributes:
        parts: Texts of the template, and slots.
        spaced: Whether the template puts one space before what the model says.
    """

    parts: tuple[str | Slot, ...]
    spaced: bool

    def told(self, contents: Sequence[str]) -> list[str | dict[str, int]]:
        """The parts as evidence keeps them: a slot says its message, and how much of that is not read."""
        return [one if isinstance(one, str) else _slot(one, contents[one.message]) for one in self.parts]


def layout(confined: Confined, template: str, roles: Sequence[str], today: date) -> Layout:
    """How the template lays out a conversation of these roles.

    Raises:
        ConversationRefusedError: The template refuses it, leaves a message out, or takes too much time or memory.
    """
    secret = secrets.token_hex(16)
    messages = [
        {"role": role, "content": f"{LINES}{SPACE}{secret}x{place}x{SPACE}{LINES}"}
        for place, role in enumerate([*roles, "assistant"])
    ]
    asked = {
        "template": template,
        "now": f"{today.isoformat()}T00:00:00",
        "conversations": [
            {"messages": messages[:-1], "add_generation_prompt": True},
            {"messages": messages, "add_generation_prompt": False},
        ],
    }
    try:
        before, after = confined(MODULE, asked)["texts"]
    except ConfinedError as error:
        raise ConversationRefusedError(f"the chat template cannot be used: {error}") from None
    if "error" in before:
        raise ConversationRefusedError(f"the chat template refuses this conversation: {before['error']}")
    parts = _parts(before["text"], secret)
    left_out = set(range(len(roles))) - {one.message for one in parts if isinstance(one, Slot)}
    if left_out:
        raise ConversationRefusedError(
            f"the chat template leaves out message {min(left_out) + 1}, of {roles[min(left_out)]}"
        )
    goes_on = after.get("text", "")
    between = goes_on[len(before["text"]) :].partition(secret)[0].removesuffix(SPACE).removesuffix(LINES)
    return Layout(tuple(parts), goes_on.startswith(before["text"]) and between == " ")


def _parts(text: str, secret: str) -> list[str | Slot]:
    pattern = re.compile(f"({LINES}{SPACE}|{SPACE}|){secret}x(\\d+)x({SPACE}{LINES}|{SPACE}|)")
    pieces = pattern.split(text)
    parts: list[str | Slot] = [pieces[0]]
    for place in range(1, len(pieces), 4):
        left, message, right, own = pieces[place : place + 4]
        parts += [Slot(int(message), SIDES.get(left, "nothing"), SIDES.get(right, "nothing")), own]
    return [one for one in parts if one != ""]


def _slot(slot: Slot, content: str) -> dict[str, int]:
    left, right = slot.cut(content)
    return {"message": slot.message} | ({"left": left, "right": right} if left or right else {})
