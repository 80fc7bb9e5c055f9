"""`loradex encoder`: the sentence encoders that retrieval compares by."""

import shlex
from dataclasses import asdict
from typing import Annotated

import typer

from loradex import terminal
from loradex.service.cli.model import store

app = typer.Typer(add_completion=False, help="Encoders: register, list, retire.")

Name = Annotated[str, typer.Argument(help="Name of the encoder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def register(
    place: Annotated[
        str, typer.Argument(help="Directory that sentence-transformers wrote, or an id of the hub.")
    ],
    name: Annotated[
        str | None, typer.Option(help="What jobs call it; the directory's name if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an encoder known from its files, with its index; no worker is needed, and nothing is loaded.

    One that could not be followed exactly is refused. A retired one is back in service.

    Example: loradex encoder register /srv/models/my-encoder --name my-encoder
    """
    from loradex.library.encoder_files import read_encoder
    from loradex.library.model_files import files_of
    from loradex.library.model_place import model_directory, usual_name

    directory = model_directory(place)
    files, revision, called = read_encoder(directory), files_of(directory).revision, name or usual_name(place)
    with store() as models:
        models.put_encoder(called, revision, files.dimensions)
    if as_json:
        told = {
            "name": called,
            "revision": revision,
            "dimensions": files.dimensions,
            "directory": str(directory),
        }
        terminal.as_json(told)
        return
    terminal.say(f"{called} is registered: {files.dimensions} dimensions, revision {revision[:12]}")
    terminal.say(
        f"a worker reads with it when told LORADEX_ENCODER={called} LORADEX_ENCODER_PATH={shlex.quote(str(directory))}"
    )


@app.command("list")
def list_encoders(as_json: AsJson = False) -> None:
    """List the encoders; * is the one of jobs that name none.

    Example: loradex encoder list
    """
    with store() as models:
        found = models.encoders()
    if as_json:
        terminal.as_json([asdict(one) for one in found])
        return
    terminal.table(
        ("name", "dimensions", "examples", "workers", "revision", "state"),
        [
            (
                f"{one.name} *" if one.is_default else one.name,
                one.dimensions,
                one.examples,
                one.workers,
                one.revision[:12],
                "retired" if one.retired_at else "active",
            )
            for one in found
        ],
    )


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show everything known about one.

    Example: loradex encoder show all-MiniLM-L6-v2
    """
    with store() as models:
        found = models.encoder(name)
    if as_json:
        terminal.as_json(asdict(found))
    else:
        terminal.table(("", ""), list(asdict(found).items()))


@app.command()
def retire(name: Name) -> None:
    """Take one out of service: jobs that name it are refused from now on.

    Its vectors and its index stay. `register` brings it back.

    Example: loradex encoder retire my-encoder
    """
    with store() as models:
        models.retire_encoder(name)
    terminal.say(f"{name} is retired")
