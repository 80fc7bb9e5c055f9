"""The starter library in a database that has answered the questions of `docs/questions.jsonl`.

Everything is real but the text of the answers: routing, evidence and chain are what SQL makes of the vectors
of the shipped encoder, and no model is asked.
"""

import json
from collections.abc import Iterator

import numpy as np
import pytest
from tests.fix_db import new_database
from tests.repository import ROOT
from tests.world import World

from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres
from loradex.library.adapter_roots import AdapterRoots
from loradex.library.cards import load_cards
from loradex.library.installed import starter_library
from loradex.library.load import load_library, open_library
from loradex.worker.engine.embed import Encoder

LIBRARY = starter_library()
QUESTIONS = ROOT / "docs" / "questions.jsonl"


@pytest.fixture(scope="session")
def starter(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """URL of that database, for tests that only read."""
    questions = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    queries = Encoder.load().embed([question["prompt"] for question in questions])
    cards = load_cards()
    with new_database(postgres, template) as url, connect(url) as connection:
        load_library(
            connection, open_library(LIBRARY, cards), cards, AdapterRoots((LIBRARY.parent,)), lambda _: None
        )
        connection.execute("analyze loradex.example_embeddings")
        world = World(connection, {}, np.random.default_rng(0))
        jobs = world.enqueue(*({"kind": "choose", **question} for question in questions))
        attempts = world.claim(rows=len(jobs))
        routings = world.route(jobs, list(queries))
        for job in jobs:
            world.record(job, attempts[job], routings[job])
        yield url
