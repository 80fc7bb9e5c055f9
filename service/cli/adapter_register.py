"""`loradex adapter register`: an adapter's files into the catalogue."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from loradex import terminal
from loradex.library.card_option import OUR_CARDS, Cards

if TYPE_CHECKING:
    from loradex.library.adapter_store import Registered, Wanted


def register(
    directory: Annotated[
        str,
        typer.Argument(
            help="PEFT directory of one LoRA, or an address: s3://, gs://, az://, https://, hf://."
        ),
    ],
    task: Annotated[str, typer.Option(help="Task it was trained on.")],
    name: Annotated[str | None, typer.Option(help="What to call it; the task if not given.")] = None,
    state: Annotated[
        str, typer.Option(help="`active`, or `staged`: it waits for `adapter activate`.")
    ] = "active",
    share: Annotated[
        float, typer.Option(help="Its part of the task's questions; less than 1 keeps the others active.")
    ] = 1.0,
    trained_on: Annotated[
        list[str] | None, typer.Option(help="Another task it was trained on; may be given again.")
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(
            help="The base model it is for, if its config calls it otherwise or jobs that name none get another."
        ),
    ] = None,
    cards: Cards = OUR_CARDS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Inspect and hash an adapter, then make it its task's active one; the one before is retired.

    With a share below 1 it answers that part of the task's questions beside the others. Workers must be able
    to read it: it must lie below a directory that a living one has announced (`loradex worker list --json`).
    The same files again change nothing but where workers look for them.

    Example: loradex adapter register .loradex/train/rte --task rte
    """
    from loradex.addresses import database_address
    from loradex.db.session import connect, translate_errors
    from loradex.errors import UnknownNameError
    from loradex.library.adapter_files import inspect
    from loradex.library.adapter_roots import AdapterRoots
    from loradex.library.adapter_serving import account, serving
    from loradex.library.adapter_store import AdapterStore, Wanted
    from loradex.library.cards import load_cards
    from loradex.library.defaults import chosen
    from loradex.library.example_store import ExampleStore
    from loradex.library.model_store import ModelStore
    from loradex.library.module_sizes import module_sizes
    from loradex.service.settings import ServiceSettings

    settings = ServiceSettings()
    known = load_cards(cards)
    if task not in known:
        raise UnknownNameError(f"no task card {task} in {cards}: write {cards / task}.toml first")
    declared = base_model is not None
    own = settings.roots()
    with translate_errors(), connect(database_address(settings)) as connection:
        store, models = AdapterStore(connection), ModelStore(connection)
        base_model = base_model or chosen(settings, "base_model", models)
        announced = store.announced_roots(base_model)
        place, files = own.joined(announced).found(directory)
        # The factors must fit the base model's weights, where a worker or its files tell their sizes.
        sizes = models.modules(base_model) or module_sizes(settings.home / "cache" / "models" / base_model)
        facts = inspect(
            files, base_model, sizes or None, aliases=models.aliases(base_model), declared=declared
        )
        wanted = Wanted(name or task, task, place, state, share, tuple(trained_on or ()))
        with connection.transaction():
            ExampleStore(connection).put_tasks(
                known[one] for one in {task, *wanted.trained_on} & known.keys()
            )
            store.require_base_model(base_model)
            before = serving(connection, base_model, task)
            done = store.register(facts, wanted)
            after = serving(connection, base_model, task)
            found = store.is_found(done)
    warnings = [*facts.warnings, *_unlike_what_was_asked(done, wanted)]
    if not found:
        warnings.append(
            f"retrieval cannot find it: {task} has no examples and it no affinities; "
            "add some with `loradex examples add`, or measure it with `loradex library affinities`"
        )
    if (
        (done.created or done.moved_from is not None)
        and not announced
        and place.root not in AdapterRoots.of((), settings.home).announced
    ):
        warnings.append(_told_to_a_worker(base_model, place.root))
    for warning in warnings:
        terminal.complain(f"warning: {directory}: {warning}")
    if as_json:
        answering = [asdict(one) for one in after]
        terminal.as_json(
            {**asdict(done), "sha256": facts.sha256, "answering": answering, "warnings": warnings}
        )
        return
    what = (
        "registered"
        if done.created
        else f"has these files already and is {done.state}; {_moved(done, wanted)}"
    )
    terminal.say(
        f"{done.name} version {done.version} {what} (content {facts.sha256[:12]}, rank {facts.rank})"
    )
    terminal.say(account(task, before, after))
    if done.state != "active":
        terminal.say(f"to let it answer: loradex adapter activate {done.name} --version {done.version}")


def _told_to_a_worker(base_model: str, root: str) -> str:
    from loradex.library.adapter_sources import is_remote

    setting = "LORADEX_ADAPTER_SOURCES" if is_remote(root) else "LORADEX_ADAPTER_ROOTS"
    return f"no worker of {base_model} lives now; start it with {setting}={root}, or it will not find these files"


def _moved(done: "Registered", wanted: "Wanted") -> str:
    if done.moved_from is not None:
        return f"workers look for them at {done.uri} from now on, and not at {done.moved_from} any more"
    if done.uri == wanted.place.uri:
        return "nothing was changed"
    return (
        f"workers look for them at {done.uri}; no living worker reads below {wanted.place.root}; "
        "nothing was changed"
    )


def _unlike_what_was_asked(done: "Registered", wanted: "Wanted") -> list[str]:
    """What somebody may have expected of files that were registered before, and did not get."""
    if done.created:
        return []
    told = []
    if done.name != wanted.name:
        told.append(
            f"the name {wanted.name} was not used: these files are {done.name} version {done.version}"
        )
    if done.state == "active" and wanted.share not in {1.0, done.share}:
        told.append(
            f"its share stays {done.share:.4g}; to change it: loradex adapter activate {done.name} "
            f"--version {done.version} --share {wanted.share:.4g}"
        )
    if wanted.trained_on:
        told.append("what it was trained on stays as it was declared first")
    return told
