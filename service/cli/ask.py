"""`loradex ask`: one question, answered by the running stack."""

import csv
import inspect
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import typer

from loradex import terminal
from loradex.bounded_file import bounded_text
from loradex.errors import InvalidArgumentError
from loradex.service.client.request import FIELDS, Request

if TYPE_CHECKING:
    from loradex.service.client import Stream

MAX_SCHEMA_BYTES = 1 << 20
ONE_BY_ONE = {"exclude_tasks": "exclude_task", "exclude_adapters": "exclude_adapter"}
"""Settings that hold several, and what the option is called that gives one of them."""

FORMS = {
    "choices": "separated by commas",
    "json_schema": "a file that holds it",
    "metadata": "one is KEY=TEXT, and it may be given again",
    "logit_bias": "one is TOKEN=NUMBER, and it may be given again",
    **dict.fromkeys(("stop", *ONE_BY_ONE), "may be given again"),
}
"""How settings are written that are no single value."""

WHOLE = ("choices", "json_schema")
"""Those of them that one option gives; the others' may be repeated."""


def _plain(hint: Any) -> type:
    """`int`, `float`, `bool` or `str` of a field's annotation; whatever else it says is the request's to check."""
    if get_origin(hint) is Annotated:
        return _plain(get_args(hint)[0])
    inner = [part for part in get_args(hint) if part is not type(None)]
    if inner:
        return _plain(inner[0]) if not isinstance(inner[0], str) else str
    return hint if hint in {int, float, bool} else str


def _descriptions() -> dict[str, str]:
    """What the docstring of `Request` says of each field, on one line."""
    text = inspect.getdoc(Request) or ""
    found = re.findall(r"^    (\w+): (.+(?:\n        .+)*)", text, re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in found}


def options_of_request(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option per setting of a request, with the type and the words of `Request` itself."""
    hints, words = get_type_hints(Request, include_extras=True), _descriptions()
    added = []
    for name in FIELDS[1:]:
        if name == "messages":
            continue  # --system and the prompt are messages
        option = ONE_BY_ONE.get(name, name)
        flags = [f"--{option.replace('_', '-')}"]
        kind: Any = str if name in WHOLE else list[str] if name in FORMS else _plain(hints[name])
        more = f"; {FORMS[name]}" if name in FORMS else ""
        annotation = Annotated[
            kind | None, typer.Option(*flags, help=f"{words[name].removesuffix('.')}{more}.")
        ]
        added.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        )

    own = [one for one in inspect.signature(command).parameters.values() if one.kind is not one.VAR_KEYWORD]
    parameters = [own[0], *added, *(one.replace(kind=one.KEYWORD_ONLY) for one in own[1:])]

    def run(*arguments: Any, **values: Any) -> None:
        command(*arguments, **values)

    run.__doc__, run.__name__ = command.__doc__, command.__name__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


@options_of_request
def ask(
    prompt: Annotated[str, typer.Argument(help="The question.")],
    system: Annotated[
        str | None, typer.Option(help="A system message before it, for models with a chat template.")
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("--n", "-n", help="Give so many answers, up to 16, each with a seed of its own."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for the answer.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object; with --n a list.")] = False,
    **settings: Any,
) -> None:
    """Ask a question and print the answer with what it was mixed from.

    What is not said takes the default that `loradex settings` shows. With --stream words are shown as they are
    written; to interrupt the command cancels the question then.

    Example: loradex ask "Premise: It rains. Hypothesis: The street is wet. Does the premise entail the
    hypothesis?" --choices yes,no,maybe
    """
    from loradex.service.cli.answer_view import print_answer
    from loradex.service.client import Client

    settings["choices"] = split_choices(settings["choices"])
    settings["json_schema"] = schema_in(settings["json_schema"])
    settings["metadata"] = split_pairs("--metadata", "KEY=TEXT", settings["metadata"])
    settings["logit_bias"] = split_biases(settings["logit_bias"])
    wanted = asked(prompt, system) | {name: value for name, value in settings.items() if value is not None}
    if settings["stream"] and not as_json:
        with Client() as client:
            show_streams(client.stream(n=1 if n is None else n, timeout=timeout, cancel=True, **wanted))
        return
    with Client() as client:
        answers = client.ask(n=1 if n is None else n, timeout=timeout, **wanted)
    if as_json:
        told = [answer.as_dict() for answer in answers]
        terminal.as_json(told[0] if n is None else told)
    else:
        for answer in answers:
            print_answer(answer)


def show_streams(streams: "Sequence[Stream]") -> None:
    """Print texts as they are written, one after the other; to leave before the end cancels what has not ended."""
    from loradex.service.cli.answer_view import print_provenance

    with ExitStack() as left:
        for stream in streams:
            left.enter_context(stream)
        for stream in streams:
            terminal.flow(stream)
            if stream.answer is not None:
                print_provenance(stream.answer)


def asked(prompt: str, system: str | None) -> dict[str, Any]:
    """The prompt, or the messages that it and the system's are."""
    if system is None:
        return {"prompt": prompt}
    return {"messages": [{"role": "system", "content": system}, {"role": "user", "content": prompt}]}


def split_choices(text: str | None) -> list[str] | None:
    """The choices in `yes,no,"well, maybe"`; `InvalidArgumentError` if the quotes do not close."""
    if text is None:
        return None
    try:
        parts = next(csv.reader([text], skipinitialspace=True, strict=True), [])
    except csv.Error as error:
        raise InvalidArgumentError(
            f'--choices cannot be read ({error}); write them as yes,no,"well, maybe"'
        ) from None
    return [part.strip() for part in parts]


def schema_in(path: str | None) -> str | None:
    """The text of a file; `InvalidArgumentError` if it cannot be read."""
    try:
        return None if path is None else bounded_text(Path(path), MAX_SCHEMA_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"--json-schema takes the path of a file: {error}") from None


def split_pairs(option: str, form: str, texts: list[str] | None) -> dict[str, str] | None:
    """The pairs in `["customer=7"]`; `InvalidArgumentError` for a text without a key, or a key given twice."""
    pairs: dict[str, str] = {}
    for text in texts or ():
        key, sign, value = text.partition("=")
        if not sign or not key or key in pairs:
            raise InvalidArgumentError(f"{option} takes {form}, and each {form.partition('=')[0]} once")
        pairs[key] = value
    return pairs or None


def split_biases(texts: list[str] | None) -> dict[str, float] | None:
    """The biases in `["17=-1.5"]`; `InvalidArgumentError` as `split_pairs`, or for what is no number."""
    form = "TOKEN=NUMBER"
    pairs = split_pairs("--logit-bias", form, texts)
    try:
        return None if pairs is None else {token: float(number) for token, number in pairs.items()}
    except ValueError:
        raise InvalidArgumentError(f"--logit-bias takes {form}, such as 17=-1.5") from None
