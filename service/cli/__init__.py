"""The command line.

To add a command, write `service/cli/<name>.py` with a function that has Typer's annotations, or with a
`typer.Typer` named `app` for a command with commands of its own, and add a line to `COMMANDS`. Import what is
slow (psycopg, rich, `service.client`) inside the function: `loradex --help` imports none of it. A command's
docstring holds an example. Commands of the worker and the evaluation are theirs: they announce them as entry
points of the group `loradex.commands` (pyproject.toml). Raise a `LoradexError` where something is wrong:
`main` prints it on one line and exits with its code.
"""

import os
import sys
from collections.abc import Sequence
from contextvars import copy_context
from typing import Annotated, ClassVar

import typer
from typer.exceptions import Abort, TyperException

from loradex import terminal
from loradex.errors import LoradexError
from loradex.service.cli.lazy import Entry, LazyGroup

COMMANDS = {
    "up": Entry(
        "loradex.service.cli.stack:up", "Start Postgres, Valkey, a worker and the API; wait for each."
    ),
    "down": Entry("loradex.service.cli.stack:down", "Stop what `up` started; the data stay."),
    "status": Entry(
        "loradex.service.cli.stack:status", "Say which part is healthy, and the cure where one is not."
    ),
    "db": Entry(
        "loradex.service.cli.db:app", "The database: bring it up to date, open it, dump and restore it."
    ),
    "library": Entry("loradex.service.cli.library:app", "A library of tasks, adapters and example vectors."),
    "adapter": Entry("loradex.service.cli.adapter:app", "Register adapters, list them, check their files."),
    "model": Entry("loradex.service.cli.model:app", "Base models: register, list, retire."),
    "encoder": Entry("loradex.service.cli.encoder:app", "Encoders: register, list, retire."),
    "examples": Entry(
        "loradex.service.cli.examples:app", "Add the examples that decide which task a prompt is like."
    ),
    "map": Entry("loradex.service.cli.map:app", "Draw the map of the examples for the explorer."),
    "ask": Entry("loradex.service.cli.ask:ask", "Ask a question."),
    "cancel": Entry("loradex.service.cli.cancel:cancel", "End jobs that have no answer yet."),
    "explore": Entry(
        "loradex.service.cli.explore:explore", "Show answers, and why they came out so, in a browser."
    ),
    "explain": Entry("loradex.service.cli.explain:explain", "Say how an answer came about."),
    "audit": Entry("loradex.service.cli.audit:app", "Check that no answer was changed afterwards."),
    "archive": Entry(
        "loradex.service.cli.archive:archive", "Move answers of months that are over into files."
    ),
    "erase": Entry("loradex.service.cli.erase:erase", "Erase what was asked and answered; the chain holds."),
    "doctor": Entry(
        "loradex.service.cli.doctor:doctor", "Check a deployment, and say the cure of what is ill."
    ),
    "settings": Entry(
        "loradex.service.cli.settings:app", "Defaults and ranges of jobs, limits of the queue."
    ),
    "worker": Entry("loradex.service.cli.worker:app", "The workers that answer jobs, and whether they live."),
    "serve": Entry(
        "loradex.service.cli.serve:serve", "Serve the API that OpenAI's clients speak, for many tenants."
    ),
    "metrics": Entry(
        "loradex.service.cli.metrics:metrics", "Serve figures of queue, workers and chain to Prometheus."
    ),
    "key": Entry("loradex.service.cli.key:app", "Keys of the API: make, list, limit, rotate, revoke."),
    "demo": Entry("loradex.service.cli.demo:demo", "Three questions, from set-up to provenance."),
}
USAGE_ERROR = 2
EXTRAS = {
    "alembic": "migrations",
    "sqlalchemy": "migrations",
    "numpy": "library",
    "pgvector": "library",
    "pyarrow": "library",
    "celery": "worker",
    "torch": "worker",
    "transformers": "worker",
    "peft": "worker",
    "safetensors": "worker",
    "structlog": "worker",
    "gguf": "worker",
    "jinja2": "library",
    "psutil": "embedded",
    "matplotlib": "evaluation",
    "pandas": "evaluation",
    "rouge_score": "evaluation",
    "sacrebleu": "evaluation",
    "chromadb": "rivals",
    "datasets": "hub",
    "prometheus_client": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "boto3": "s3",
    "obstore": "sources",
    "botocore": "s3",
    "cryptography": "timestamps",
    "rfc3161_client": "timestamps",
}
"""Package that may be missing → the extra of Loradex that brings it."""


class Commands(LazyGroup):
    table: ClassVar[dict[str, Entry]] = COMMANDS


app = typer.Typer(cls=Commands, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        terminal.say(f"loradex {version('loradex')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def loradex(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Answer prompts with mixtures of LoRA adapters that Postgres chose, and prove afterwards why.

    Example: loradex up
    """
    if context.invoked_subcommand is None:
        terminal.complain(context.get_help())
        raise typer.Exit(USAGE_ERROR)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 failed, 2 called wrongly; an error is one line on standard error."""
    # No program that is started from here on looks for its modules in the current folder.
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        code = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        # Whoever read it has enough, and what is left has no place.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _nobody_reads() -> bool:
    """Whether it is standard output that nobody reads any more."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return True
    return False


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    try:
        # In a context of its own: a command says its name there.
        code = copy_context().run(app, arguments, prog_name="loradex", standalone_mode=False)
    except (LoradexError, Abort, TyperException, ModuleNotFoundError, ValueError, OSError) as error:
        told = _told(error)
        if told is None:
            raise
        return _failed(*told)
    return code if isinstance(code, int) else 0


def _told(error: Exception) -> tuple[str, int] | None:
    """What is said of it, and the exit code; None where it is a fault of ours, whose traceback helps."""
    from loradex.logs import crashes_are_lines

    told: tuple[str | None, int] = (None, 1)
    match error:
        case LoradexError():
            told = str(error), error.exit_code
        case Abort():
            told = "aborted", 1
        case TyperException():
            told = _with_hint(error), error.exit_code
        case ModuleNotFoundError():
            told = _with_extra(error), 1
        # Of a program that logs, a crash is a line of its log.
        case OSError() if not isinstance(error, BrokenPipeError) and not crashes_are_lines():
            told = f"{error.filename}: {error.strerror}" if error.filename else str(error) or repr(error), 1
        case ValueError():
            told = _wrong_setting(error), USAGE_ERROR
    message, code = told
    return None if message is None else (message, code)


def _with_extra(error: ModuleNotFoundError) -> str | None:
    extra = EXTRAS.get((error.name or "").partition(".")[0])
    return (
        None if extra is None else f"this needs a part that is not installed: pip install 'loradex[{extra}]'"
    )


def _failed(message: str, code: int) -> int:
    # A group called without a command has its help for a message; everything else is one line.
    line = message if message.startswith("Usage:") else f"loradex: {' '.join(message.split())}"
    terminal.complain(line)
    return code


def _with_hint(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    message = error.format_message()
    if context is None or message.startswith("Usage:"):
        return message
    return f"{message.removesuffix('.')}; see {context.command_path} --help"


def _wrong_setting(error: ValueError) -> str | None:
    """What is wrong in the environment, when that is what the error is about."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError) or not error.title.endswith("Settings"):
        return None
    first = error.errors()[0]
    name = "LORADEX_" + "_".join(str(part) for part in first["loc"]).upper()
    return f"{name}: {first['msg']}"
