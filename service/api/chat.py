"""Which messages a conversation is."""

from collections.abc import Sequence

from loradex.service.api.bodies import Message, text_of
from loradex.service.api.problem import refused

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
CALLS = ("tool_calls", "function_call")


def messages_of(messages: Sequence[Message], place: str = "messages") -> list[dict[str, str]]:
    """The messages of a job: a developer's are the system's, and empty ones are left out.

    Raises:
        Problem: A turn is a tool's, or calls one; the last one is not the user's; a part is no text.
    """
    told = []
    for number, message in enumerate(messages):
        here = f"{place}.{number}"
        for name in CALLS:
            if (message.model_extra or {}).get(name):
                raise refused(
                    "tools are not supported; leave turns that call one out",
                    f"{here}.{name}",
                    "unsupported_content",
                )
        if message.role not in ROLES:
            raise refused(
                f"a turn is of system, developer, user or assistant, not {ascii(message.role)[:50]}",
                f"{here}.role",
                "unsupported_content",
            )
        text = text_of(message.content, f"{here}.content")
        last = number == len(messages) - 1
        if last and message.role != "user":
            raise refused("the last turn must be the user's", f"{here}.role")
        if last or text.strip():
            told.append({"role": ROLES[message.role], "content": text})
    return told
