"""What the command line is told by the environment; read once, by the command that runs."""

from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from loradex.library.settings import LibrarySettings


class ServiceSettings(LibrarySettings):
    """Settings of the command line.

    Attributes:
        start_seconds: How long `loradex up` waits for the worker. Its first start converts the base model.
        admin_password, worker_password, client_password, reader_password: What `loradex db roles` sets; an
            empty one counts as none.
        api: Whether `loradex up` serves the API too.
        login_password: What `loradex db login` sets.
        api_metrics_port: Port that Prometheus reads `loradex serve` at; None: it is not read.
        api_allow_origins: Origins whose pages may call the API from a browser, separated by blanks; none by itself.
        metrics_host: The address of that port; by itself only this machine reaches it.
        anchor: Addresses where heads of the audit chain are kept, separated by blanks; they may hold passwords.
    """

    model_config = SettingsConfigDict(env_prefix="LORADEX_", frozen=True, extra="ignore")

    start_seconds: Annotated[float, Field(gt=0)] = 600.0
    api: bool = True
    admin_password: SecretStr | None = None
    worker_password: SecretStr | None = None
    client_password: SecretStr | None = None
    reader_password: SecretStr | None = None
    login_password: SecretStr | None = None
    api_metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    api_allow_origins: str = ""
    metrics_host: str = "127.0.0.1"
    anchor: SecretStr | None = None

    def anchor_urls(self) -> str | None:
        """The addresses of the anchors, for whoever opens them."""
        return None if self.anchor is None else self.anchor.get_secret_value()

    def role_passwords(self) -> dict[str, str]:
        """The passwords that were given, by group; for `loradex db roles` alone."""
        given = {
            "loradex_admin": self.admin_password,
            "loradex_worker": self.worker_password,
            "loradex_client": self.client_password,
            "loradex_reader": self.reader_password,
        }
        return {role: secret.get_secret_value() for role, secret in given.items() if secret}
