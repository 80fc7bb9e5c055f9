"""What a text may be held to: a JSON schema, or a regular expression. llguidance reads them, within bounds."""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from loradex.errors import ConstraintRefusedError
from loradex.schema_work import TooMuchWorkError, require_little_work

if TYPE_CHECKING:
    from llguidance import LLParserLimits
    from llguidance._lib import JsonCompileOptions

ANY_OBJECT: Final = '{"type": "object"}'
"""The schema of any JSON object."""

_READING: "Final[JsonCompileOptions]" = {
    # A small model would fill its tokens with line breaks: one, and an indentation, are enough to lay JSON out.
    "whitespace_pattern": r" |\n {0,16}",
    # What is not understood is refused, not left out.
    "lenient": False,
    "coerce_one_of": False,
}
_LONGEST_REASON = 300
_REMEMBERED = 64


@dataclass(frozen=True)
class Constraint:
    """What a whole text must be; one of the two.

    Attributes:
        json_schema: JSON that is valid by this schema, which is an object in JSON itself.
        regex: What this regular expression matches from end to end, in the dialect of Rust's `regex`.
    """

    json_schema: str | None = None
    regex: str | None = None

    def grammar(self, before: str = "") -> str:
        """The constraint as llguidance reads it, of texts with `before` in front of them.

        Raises:
            ConstraintRefusedError: It is both, or the schema is no JSON object.
        """
        from llguidance import LLMatcher  # noqa: PLC0415 - not everyone who hands a constraint on can read it

        if (self.json_schema is None) == (self.regex is None):
            raise ConstraintRefusedError("a text is held to json_schema or to regex; give one of them")
        if self.regex is not None:
            own = LLMatcher.grammar_from_regex(self.regex)
        else:
            schema = self._schema()
            try:
                own = LLMatcher.grammar_from_json_schema(schema, overrides=_READING)
            except ValueError as error:
                raise self.refused(str(error)) from None
        if not before:
            return own
        [body] = json.loads(own)["grammars"]
        start = {"name": "text", "lark_grammar": f"start: {json.dumps(before)} @body"}
        return json.dumps({"grammars": [start, {**body, "name": "body"}]})

    def require_readable(self) -> None:
        """Raises `ConstraintRefusedError` if no text can be held to it; passes where llguidance is not installed.

        What came of it is remembered, since many jobs may be held to the same.
        """
        if find_spec("llguidance") is not None and (complaint := _complaint(self)) is not None:
            raise ConstraintRefusedError(complaint)

    def refused(self, reason: str) -> ConstraintRefusedError:
        """The error for what llguidance says of this constraint."""
        name = "regex" if self.regex is not None else "json_schema"
        said = " ".join(line.strip() for line in reason.splitlines() if line.strip("\n ^-<>"))
        return ConstraintRefusedError(f"{name}: no text can be held to it: {said[:_LONGEST_REASON]}")

    def _schema(self) -> str:
        try:
            schema = json.loads(self.json_schema or "")
        except (ValueError, RecursionError) as error:
            raise ConstraintRefusedError(f"json_schema is not JSON: {error}") from None
        if not isinstance(schema, dict):
            raise ConstraintRefusedError("json_schema must be an object, such as " + ANY_OBJECT)
        try:
            require_little_work(schema)
        except TooMuchWorkError as error:
            raise self.refused(str(error)) from None
        return json.dumps(schema)


@lru_cache(_REMEMBERED)
def _complaint(constraint: Constraint) -> str | None:
    """Why no text can be held to it."""
    from llguidance import LLMatcher, LLTokenizer  # noqa: PLC0415 - as above

    try:
        matcher = LLMatcher(LLTokenizer("byte"), constraint.grammar(), limits=limits(), log_level=0)
    except ConstraintRefusedError as error:
        return str(error)
    if not matcher.is_error():
        # Whether any text begins at all.
        matcher.compute_bitmask()
    return str(constraint.refused(matcher.get_error())) if matcher.is_error() else None


def limits() -> "LLParserLimits":
    """What a constraint may take: a tenth of a second to read, some ms a token, some ten MB."""
    from llguidance import LLParserLimits  # noqa: PLC0415 - as above

    return LLParserLimits(
        initial_lexer_fuel=500_000,
        step_lexer_fuel=100_000,
        step_max_items=20_000,
        max_lexer_states=20_000,
        max_grammar_size=10_000,
        verbose_errors=False,
    )
