"""Where a process finds its state, its database and its Redis; read once, at the process's root."""

from pathlib import Path
from typing import Annotated

import platformdirs
from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def default_home() -> Path:
    """The user's data directory of this machine, such as `~/.local/share/loradex`."""
    return platformdirs.user_data_path("loradex")


def _none_is_never(uses: object) -> object:
    return 0 if isinstance(uses, str) and uses.strip().lower() in {"", "none"} else uses


class Settings(BaseSettings):
    """Settings every Loradex process needs; other processes' settings classes extend this one.

    Attributes:
        home: Directory of the embedded stack, caches and logs.
        database_url: `postgresql://` URL of a real server; None means the embedded one.
        redis_url: `redis://` or `rediss://` URL of a real server; None means the embedded one.
        listen_url: URL of Postgres itself where `database_url` is a pooler's, to hear notifications at; the same
            database and login.
        prepare_threshold: Uses after which a statement is prepared; 0 or `none` is never. By itself a program
            prepares, but not behind a pooler.
    """

    model_config = SettingsConfigDict(env_prefix="LORADEX_", frozen=True, extra="ignore")

    home: Path = Field(default_factory=default_home)
    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    listen_url: SecretStr | None = None
    prepare_threshold: Annotated[int, BeforeValidator(_none_is_never), Field(ge=0)] | None = None
