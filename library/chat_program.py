"""A program: renders chat templates in Jinja's sandbox. It is started by `loradex.confined`, reads and writes JSON."""

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jinja2 import Environment, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from loradex.confined import confine

MODULE = "loradex.library.chat_program"
MOST_CHARACTERS = 1_000_000


class Generation(Extension):
    """`{% generation %}`, by which templates mark what a model wrote; here it is read as what it holds."""

    tags = {"generation"}  # noqa: RUF012 - jinja's own declaration

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def environment(now: datetime) -> Environment:
    """The world a template sees, as transformers makes it."""
    world = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    world.filters["tojson"] = _json
    world.globals["raise_exception"] = _refuse
    world.globals["strftime_now"] = now.strftime
    return world


def rendered(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The texts of some conversations, or why there are none: `text` or `error` for each."""
    template = environment(datetime.fromisoformat(asked["now"])).from_string(asked["template"])
    return {"texts": [_one(template, one) for one in asked["conversations"]]}


def _one(template: Any, conversation: Mapping[str, Any]) -> dict[str, str]:
    try:
        text = template.render(**conversation, tools=None, documents=None)
    except MemoryError:
        return {"error": "it takes too much memory"}
    except Exception as error:  # noqa: BLE001 - a template may break in any way
        return {"error": f"{error}"[:500] or type(error).__name__}
    if len(text) > MOST_CHARACTERS:
        return {"error": f"it gives more than {MOST_CHARACTERS:,} characters"}
    return {"text": text}


def _json(value: object, ensure_ascii: bool = False, **more: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **more)


def _refuse(message: str) -> None:
    raise TemplateError(message)


def main() -> None:
    asked = json.load(sys.stdin)
    confine()
    try:
        told: dict[str, Any] = rendered(asked)
    except TemplateError as error:
        told = {"texts": [{"error": f"{error}"[:500]}] * len(asked["conversations"])}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
