"""Answers a prompt with a mixture of LoRA adapters that Postgres chose, and can prove afterwards why.

`from loradex import Client`; errors are in `loradex.errors`. The names below are imported when they are first
used, so that importing `loradex` itself costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loradex.service.client import Answer as Answer
    from loradex.service.client import AsyncClient as AsyncClient
    from loradex.service.client import AsyncJob as AsyncJob
    from loradex.service.client import Client as Client
    from loradex.service.client import Job as Job
    from loradex.service.client import Request as Request

__all__ = ["Answer", "AsyncClient", "AsyncJob", "Client", "Job", "Request"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'loradex' has no attribute {name!r}")
    return getattr(import_module("loradex.service.client"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
