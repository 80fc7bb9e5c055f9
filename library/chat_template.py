"""A model's own chat template as a frame: what a single turn of a user looks like to it."""

import json
from pathlib import Path
from typing import Any

from loradex.errors import ModelRefusedError
from loradex.library.model_json import read_object

PROMPT = "{prompt}"


def chat_frame(directory: Path) -> str:
    """The template around `{prompt}`, up to where the model's turn begins.

    The token that begins every text is left out: the tokenizer puts it there.

    Raises:
        ModelRefusedError: The model has no chat template, or one that does not keep a prompt as it is.
    """
    from jinja2 import TemplateError  # noqa: PLC0415 - of the extra `library`
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415

    template, tokens = _template(directory)
    world = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    world.filters["tojson"] = json.dumps
    world.globals["raise_exception"] = _refuse
    try:
        frame = world.from_string(template).render(
            messages=[{"role": "user", "content": PROMPT}], add_generation_prompt=True, **tokens
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise ModelRefusedError(
            f"{directory}: its chat template cannot be used: {error}; give --template"
        ) from None
    if frame.count(PROMPT) != 1:
        raise ModelRefusedError(f"{directory}: its chat template changes the prompt; give --template")
    return frame


def _template(directory: Path) -> tuple[str, dict[str, str]]:
    path = directory / "tokenizer_config.json"
    config = read_object(path) if path.is_file() else {}
    tokens = {
        name: value["content"] if isinstance(value, dict) else str(value)
        for name, value in config.items()
        if name.endswith("_token") and value is not None and not isinstance(value, bool)
    }
    beside = directory / "chat_template.jinja"
    found: Any = beside.read_text(encoding="utf-8") if beside.is_file() else config.get("chat_template")
    if isinstance(found, list):
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default")
    if not isinstance(found, str):
        raise ModelRefusedError(f"{directory}: it has no chat template; give --template")
    return found, tokens | {"bos_token": ""}


def _refuse(message: str) -> None:
    raise ValueError(message)
