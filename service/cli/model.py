"""`loradex model`: the base models that adapters are composed on."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from loradex import terminal

if TYPE_CHECKING:
    from loradex.library.model_store import ModelStore

app = typer.Typer(add_completion=False, help="Base models: register, list, retire.")

Name = Annotated[str, typer.Argument(help="Name of the base model.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FRAME = "{prompt}\nAnswer:"


@app.command()
def register(
    place: Annotated[str, typer.Argument(help="Directory in Hugging Face form, or an id of the hub.")],
    name: Annotated[
        str | None, typer.Option(help="What jobs and adapters call it; the directory's name if not given.")
    ] = None,
    template: Annotated[
        str | None, typer.Option(help=r"Text the model reads, with {prompt} in it; \n is a line break.")
    ] = None,
    chat_template: Annotated[
        bool,
        typer.Option(
            "--chat-template", help="Take the model's own chat template, for prompts and for messages."
        ),
    ] = False,
    messages: Annotated[
        str | None,
        typer.Option(help="Chat template that messages are read by: `own`, or a file with Jinja."),
    ] = None,
    generation_config: Annotated[
        bool,
        typer.Option(
            "--generation-config/--no-generation-config",
            help="Take how texts are written where a job does not say it from its generation_config.json.",
        ),
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Make a base model known from its files; no worker is needed, and nothing is loaded.

    A retired one is back in service. The template stays with the model: other adapters, another name. Chat template
    and generation settings may be given anew at any time.

    Example: loradex model register /srv/models/my-llama --name my-llama
    """
    from pathlib import Path

    from loradex.confined import confined
    from loradex.errors import InvalidArgumentError
    from loradex.library.base_model_files import read_base_model
    from loradex.library.chat_template import chat_frame, own_template, takes_system
    from loradex.library.generation_config import generation_defaults
    from loradex.library.model_place import model_directory, usual_name
    from loradex.library.module_sizes import module_sizes

    if template is not None and chat_template:
        raise InvalidArgumentError("give --template or --chat-template, not both")
    directory = model_directory(place)
    own = chat_frame(confined, directory) if chat_template else None
    given = "own" if chat_template and messages is None else messages
    turns = None if given is None else own_template(directory, None if given == "own" else Path(given))
    system = turns is not None and takes_system(confined, turns)
    frame = own or (FRAME if template is None else template.replace("\\n", "\n"))
    entry = read_base_model(directory, name or usual_name(place), frame)
    sizes = module_sizes(directory)
    defaults = generation_defaults(directory) if generation_config else {}
    with store() as models:
        models.put_base_model(entry)
        # A worker that loaded the model knows better than the names in its files.
        if sizes and models.modules(entry.name) is None:
            models.describe_base_model(entry.name, entry.revision, sizes)
        if turns is not None:
            models.set_chat_template(entry.name, turns, system_role=system)
        models.set_generation_defaults(entry.name, defaults)
    if as_json:
        terminal.as_json(entry.model_dump() | {"directory": str(directory), "generation_defaults": defaults})
        return
    terminal.say(f"{entry.name} is registered: {entry.context_length} tokens, revision {entry.revision[:12]}")
    if turns is not None:
        terminal.say(
            "its chat template reads messages of system, user and assistant"
            if system
            else "its chat template reads messages of user and assistant; it has no system message"
        )
    if defaults:
        terminal.say(f"what a job does not say is, by its generation_config.json: {_said(defaults)}")
    where = shlex.quote(str(directory))
    terminal.say(
        f"a worker answers with it when told LORADEX_BASE_MODEL={entry.name} LORADEX_BASE_MODEL_PATH={where}"
    )


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the base models; * is the one of jobs that name none.

    Example: loradex model list
    """
    with store() as models:
        found = models.base_models()
    if as_json:
        terminal.as_json([asdict(one) for one in found])
        return
    terminal.table(
        ("name", "tokens", "adapters", "workers", "revision", "state", "generation defaults"),
        [
            (
                f"{one.name} *" if one.is_default else one.name,
                one.context_length,
                one.adapters,
                one.workers,
                one.revision[:12],
                "retired" if one.retired_at else "active",
                _said(one.generation_defaults),
            )
            for one in found
        ],
    )


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show everything known about one.

    Example: loradex model show my-llama
    """
    with store() as models:
        found = asdict(models.base_model(name))
        found["aliases"] = sorted(models.aliases(name))
        found["modules"] = len(models.modules(name) or ())
    if as_json:
        terminal.as_json(found)
    else:
        found["generation_defaults"] = _said(found["generation_defaults"]) or None
        terminal.table(("", ""), list(found.items()))


@app.command()
def alias(
    name: Name,
    other: Annotated[str, typer.Argument(help="What adapters' configs call it, such as org/name.")],
) -> None:
    """Give a base model another name, which adapters' configs may have for it.

    Shapes decide all the same: an adapter that does not fit its weights is refused.

    Example: loradex model alias my-llama meta-llama/Llama-3.2-1B
    """
    with store() as models:
        models.alias_base_model(other, name)
    terminal.say(f"{other} means {name}")


@app.command()
def retire(name: Name) -> None:
    """Take one out of service: jobs that name it are refused from now on.

    Its answers stay explained. `register` brings it back.

    Example: loradex model retire my-llama
    """
    with store() as models:
        models.retire_base_model(name)
    terminal.say(f"{name} is retired")


def _said(defaults: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in sorted(defaults.items()))


@contextmanager
def store() -> "Iterator[ModelStore]":
    """Base models and encoders of the database the settings name; what is changed is changed together."""
    from loradex.addresses import database_address
    from loradex.db.session import connect, translate_errors
    from loradex.library.model_store import ModelStore
    from loradex.service.settings import ServiceSettings

    address = database_address(ServiceSettings())
    with translate_errors(), connect(address) as connection, connection.transaction():
        yield ModelStore(connection)
