"""A model's own chat template: read from its files, tried, and as a frame for a single turn of a user."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loradex.bounded_file import bounded_text
from loradex.errors import ConversationRefusedError, ModelRefusedError
from loradex.library.conversation import Confined, Slot, layout
from loradex.library.model_json import read_object, storable

PROMPT = "{prompt}"
MOST_BYTES = 100_000
TURNS = ("user", "assistant", "user")


def own_template(directory: Path, given: Path | None = None) -> str:
    """The chat template in the model's files, or the one `given`; the names of the model's tokens stand at its head.

    Raises:
        ModelRefusedError: There is none, or it is too long.
    """
    template, tokens = _template(directory, given)
    return _headed(template, tokens)


def takes_system(confined: Confined, template: str) -> bool:
    """Whether a conversation may have a system message; one of user and assistant it must take.

    Raises:
        ModelRefusedError: It does not.
    """
    today = datetime.now(UTC).date()
    try:
        layout(confined, template, TURNS, today)
    except ConversationRefusedError as error:
        raise ModelRefusedError(f"{error}; give another with --messages FILE") from None
    try:
        layout(confined, template, ("system", *TURNS), today)
    except ConversationRefusedError:
        return False
    return True


def chat_frame(confined: Confined, directory: Path) -> str:
    """The template around `{prompt}`, up to where the model's turn begins.

    Where it has the token that begins a text, so has the frame: no tokenizer puts a second one before it.

    Raises:
        ModelRefusedError: The model has no chat template, or one that does not keep a prompt as it is.
    """
    template, tokens = _template(directory, None)
    try:
        found = layout(confined, _headed(template, tokens), ("user",), datetime.now(UTC).date())
    except ConversationRefusedError as error:
        raise ModelRefusedError(f"{directory}: {error}; give --template") from None
    if sum(isinstance(one, Slot) for one in found.parts) != 1:
        raise ModelRefusedError(f"{directory}: its chat template changes the prompt; give --template")
    return "".join(PROMPT if isinstance(one, Slot) else one for one in found.parts)


def _headed(template: str, tokens: Mapping[str, str]) -> str:
    head = "".join(f"{{% set {name} = {token!a} %}}" for name, token in tokens.items())
    # Jinja drops a line's end after a block: so the template begins on a line of its own, as it does by itself.
    return f"{head}\n{template}" if head else template


def _template(directory: Path, given: Path | None) -> tuple[str, dict[str, str]]:
    path = directory / "tokenizer_config.json"
    config = read_object(path) if path.is_file() else {}
    tokens = {
        name: value["content"] if isinstance(value, dict) else str(value)
        for name, value in config.items()
        if name.isidentifier()
        and name.endswith("_token")
        and value is not None
        and not isinstance(value, bool)
    }
    beside = given or directory / "chat_template.jinja"
    found: Any = _text(beside) if beside.is_file() else config.get("chat_template")
    if isinstance(found, list):
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default")
    if not isinstance(found, str) or (given is not None and not given.is_file()):
        raise ModelRefusedError(
            f"{directory if given is None else given}: there is no chat template; give --template"
        )
    try:
        storable([found, *tokens.values()])
    except ValueError as error:
        raise ModelRefusedError(
            f"{directory}: its chat template cannot be kept: {error}; give --messages"
        ) from None
    return found, tokens


def _text(path: Path) -> str:
    try:
        return bounded_text(path, MOST_BYTES)
    except UnicodeDecodeError:
        raise ModelRefusedError(f"{path}: not UTF-8") from None
    except OSError as error:
        raise ModelRefusedError(f"{path}: {error.strerror or error}") from None
