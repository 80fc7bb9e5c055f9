"""The base model and the encoder of who names none: the database's, unless this process was told another."""

from typing import Literal

from loradex.errors import InvalidArgumentError
from loradex.library.model_store import ModelStore
from loradex.library.settings import LibrarySettings


def chosen(settings: LibrarySettings, what: Literal["base_model", "encoder"], models: ModelStore) -> str:
    """What the environment names; else the one of jobs that name none."""
    named: str = getattr(settings, what)
    return named if named and what in settings.model_fields_set else models.default(what) or named


def readable_encoder(settings: LibrarySettings, models: ModelStore) -> str:
    """The chosen encoder, whose files are known here.

    Raises:
        InvalidArgumentError: It is the database's, and nobody told where its files are.
    """
    name, shipped = chosen(settings, "encoder", models), type(settings).model_fields["encoder"].default
    if name not in {settings.encoder, shipped} and settings.encoder_path is None:
        raise InvalidArgumentError(
            f"jobs read with {name}, and where its files are is not known here: set LORADEX_ENCODER_PATH to their "
            f"directory; for vectors of another encoder set LORADEX_ENCODER, such as LORADEX_ENCODER={shipped}"
        )
    return name
