"""Hand a question in, wait for its answer, have it explained: `from loradex.service.client import Client`."""

from loradex.service.client.answer import Answer
from loradex.service.client.async_client import AsyncClient
from loradex.service.client.async_job import AsyncJob
from loradex.service.client.async_stream import AsyncStream
from loradex.service.client.client import Client
from loradex.service.client.facts import JobFacts
from loradex.service.client.job import Job
from loradex.service.client.request import Request
from loradex.service.client.stream import Stream

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncJob",
    "AsyncStream",
    "Client",
    "Job",
    "JobFacts",
    "Request",
    "Stream",
]
