"""Where this process finds its state, its database and its doorbell; read once at each process's root."""

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

REPOSITORY = Path(__file__).resolve().parent.parent


class DatabaseSettings(BaseSettings):
    """Settings every Loradex process needs; other processes' settings classes extend this one.

    Attributes:
        home: Directory of the embedded stack, caches and logs.
        database_url: `postgresql://` URL of a real server; None means the embedded one.
        redis_url: `redis://` or `rediss://` URL of a real server; None means the embedded one.
    """

    model_config = SettingsConfigDict(env_prefix="LORADEX_", frozen=True, extra="ignore")

    home: Path = REPOSITORY / ".loradex"
    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
