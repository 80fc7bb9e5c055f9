"""What a job's spans say of it, in the names of OpenTelemetry's and OpenInference's conventions.

Numbers, ids and names of the registry; a text that a job says is its asker's.
"""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from loradex.worker.identity import WorkerIdentity
from loradex.worker.jobs import Job, Routing
from loradex.worker.stages import Claimed, Routed

PROVIDER = "loradex"

SAMPLING = frozenset(
    {"temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "max_new_tokens"}
)
"""Settings that the convention has a name for; a job's names of the first three begin with `sampling_`."""
CALLED = {"max_new_tokens": "max_tokens"}
"""What it calls otherwise."""

Attributes = dict[str, Any]


def operation(job: Job) -> str:
    """What is asked of the model."""
    return "text_completion" if job.messages is None else "chat"


def asked(one: Claimed, identity: WorkerIdentity) -> dict[str, Attributes]:
    """By stage: what is known before its end, so that a stage that fails says it too."""
    return {
        "embed": {
            "gen_ai.operation.name": "embeddings",
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": identity.encoder,
            "embedding.model_name": identity.encoder,
        },
        "route": {
            "gen_ai.operation.name": "retrieval",
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.top_k": one.job.k,
            **(_decided(one.routing) if isinstance(one, Routed) else {}),
        },
        "compose": _request(one.job, identity.base_model),
    }


def answered(answer: Mapping[str, Any], answer_id: UUID, model: str) -> Attributes:
    """Of an answer, as `answer_document` says it."""
    read, wrote = answer["prompt_tokens"], answer["output_tokens"]
    return {
        "gen_ai.response.model": model,
        "gen_ai.response.id": str(answer_id),
        "gen_ai.response.finish_reasons": [answer["generation"]["finish_reason"]],
        "gen_ai.usage.input_tokens": read,
        "gen_ai.usage.output_tokens": wrote,
        "llm.token_count.prompt": read,
        "llm.token_count.completion": wrote,
        "llm.token_count.total": read + wrote,
    }


def question_text(job: Job) -> Attributes:
    """The question, for a collector that may know it."""
    messages = job.messages or [{"role": "user", "content": job.prompt}]
    inputs = [
        {"role": message["role"], "parts": [{"type": "text", "content": message["content"]}]}
        for message in messages
    ]
    return {"gen_ai.input.messages": json.dumps(inputs), "input.value": messages[-1]["content"]}


def answer_text(answer: Mapping[str, Any]) -> Attributes:
    """The answer, for a collector that may know it."""
    said = answer["choice"] if answer["text"] is None else answer["text"]
    output = {
        "role": "assistant",
        "parts": [{"type": "text", "content": said}],
        "finish_reason": answer["generation"]["finish_reason"],
    }
    return {"gen_ai.output.messages": json.dumps([output]), "output.value": said}


def _request(job: Job, model: str) -> Attributes:
    numbers = {name: value for name, value in job.settings.items() if isinstance(value, int | float)}
    said = {name.removeprefix("sampling_"): value for name, value in numbers.items()}
    sampling = {
        f"gen_ai.request.{CALLED.get(name, name)}": value
        for name, value in said.items()
        if job.kind == "generate" and name in SAMPLING
    }
    return {
        "gen_ai.operation.name": operation(job),
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": model,
        "gen_ai.request.stream": job.pieces_key is not None,
        **sampling,
        **({"gen_ai.request.seed": numbers["seed"]} if "seed" in numbers else {}),
        "llm.model_name": model,
        "llm.provider": PROVIDER,
        "llm.invocation_parameters": json.dumps(numbers),
    }


def _decided(routing: Routing) -> Attributes:
    return {
        "loradex.adapters": [str(part["adapter"]) for part in routing.mixture],
        "loradex.weights": [float(part["weight"]) for part in routing.mixture],
        **({} if routing.similarity is None else {"loradex.similarity": routing.similarity}),
        **{
            f"retrieval.documents.{place}.document.{name}": value
            for place, example in enumerate(routing.nearest)
            for name, value in (("id", str(example["example_id"])), ("score", float(example["similarity"])))
        },
    }
