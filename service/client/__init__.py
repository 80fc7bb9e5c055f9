"""Hand a question in, wait for its answer, have it explained: `from loradex.service.client import Client`."""

from loradex.service.client.answer import Answer
from loradex.service.client.client import Client
from loradex.service.client.job import Job
from loradex.service.client.request import Request

__all__ = ["Answer", "Client", "Job", "Request"]
