"""What the command line is told by the environment; read once, by the command that runs."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from db.settings import DatabaseSettings
from library.adapter_roots import RootList


class ServiceSettings(DatabaseSettings):
    """Settings of the command line.

    Attributes:
        base_model: Name of the base model that adapters are registered for.
        encoder: Name of the encoder whose vectors are counted.
        adapter_roots: Directories below which adapter files may lie, separated as in PATH; none means the
            repository's library and what `loradex train` wrote.
        base_model: str = "smollm2-135m-instruct"
    encoder: str = "all-MiniLM-L6-v2"
    adapter_roots: RootList = ()
    start_seconds: How long `loradex up` waits for the worker. Its first start converts the base model.
    """

    model_config = SettingsConfigDict(env_prefix="LORADEX_", frozen=True, extra="ignore")

    base_model: str = "smollm2-135m-instruct"
    encoder: str = "all-MiniLM-L6-v2"
    adapter_roots: RootList = ()
    start_seconds: Annotated[float, Field(gt=0)] = 600.0
