"""Where a process finds its state, its database and its Redis; read once, at the process's root."""

from pathlib import Path

import platformdirs
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def default_home() -> Path:
    """The user's data directory of this machine, such as `~/.local/share/loradex`."""
    return platformdirs.user_data_path("loradex")


class Settings(BaseSettings):
    """Settings every Loradex process needs; other processes' settings classes extend this one.

    Attributes:
        home: Directory of the embedded stack, caches and logs.
        database_url: `postgresql://` URL of a real server; None means the embedded one.
        redis_url: `redis://` or `rediss://` URL of a real server; None means the embedded one.
    """

    model_config = SettingsConfigDict(env_prefix="LORADEX_", frozen=True, extra="ignore")

    home: Path = Field(default_factory=default_home)
    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
