"""Hand a question in, wait for its answer, have it explained: `from service.client import Client`."""

from service.client.answer import Answer
from service.client.client import Client
from service.client.job import Job
from service.client.request import Request

__all__ = ["Answer", "Client", "Job", "Request"]
