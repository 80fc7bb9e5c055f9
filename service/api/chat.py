"""Which prompt a conversation is."""

from collections.abc import Sequence

from loradex.service.api.bodies import Message, text_of
from loradex.service.api.problem import refused

PLAIN = ("system", "developer")
NAMED = {"user": "User", "assistant": "Assistant"}
CALLS = ("tool_calls", "function_call")


def prompt_of(messages: Sequence[Message], place: str = "messages") -> str:
    """One text, which is both what neighbours are searched for and what the model reads.

    Paragraphs with a blank line between: texts of the system and of the developer as they are, earlier turns with
    `User: ` or `Assistant: ` in front, and at the end the last turn, which is the user's, as it is.

    Raises:
        Problem: A turn is a tool's, or calls one; the last one is not the user's; a part is no text.
    """
    paragraphs = []
    for number, message in enumerate(messages):
        here = f"{place}.{number}"
        for name in CALLS:
            if (message.model_extra or {}).get(name):
                raise refused(
                    "tools are not supported; leave turns that call one out",
                    f"{here}.{name}",
                    "unsupported_content",
                )
        if message.role not in {*PLAIN, *NAMED}:
            raise refused(
                f"a turn is of system, developer, user or assistant, not {ascii(message.role)[:50]}",
                f"{here}.role",
                "unsupported_content",
            )
        text = text_of(message.content, f"{here}.content")
        last = number == len(messages) - 1
        if last and message.role != "user":
            raise refused("the last turn must be the user's", f"{here}.role")
        paragraphs.append(text if last or message.role in PLAIN else f"{NAMED[message.role]}: {text}")
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph.strip())
