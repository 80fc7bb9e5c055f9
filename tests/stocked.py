"""Fills an empty database with tasks, examples, vectors and adapters of the tiny library."""

import hashlib

from tests.tiny_library import TinyLibrary

from loradex.db.session import connect
from loradex.library.adapter_files import content_hash
from loradex.library.base_model_files import read_base_model
from loradex.library.example_store import ExampleStore, NewExample
from loradex.library.model_store import ModelStore
from loradex.worker.engine.embed import Encoder

BASE_MODEL = "smollm2-135m-instruct"
ENCODER = "all-MiniLM-L6-v2"
FRAME = "{prompt}\nAnswer:"
EXAMPLES = {
    "weather": (
        "The clouds over the harbour turn dark. Will it rain before noon?",
        "Frost lies on the meadow. Is it colder than yesterday?",
        "A warm wind comes from the south. Does the snow melt?",
        "The barometer falls quickly. Is a storm near?",
    ),
    "kitchen": (
        "The dough has rested for an hour. May it go into the oven?",
        "Two spoons of salt fell into the soup. Can it be saved?",
        "The pan smokes. Is the oil too hot?",
        "An onion is chopped finely. Does it cook faster?",
    ),
    "garden": (
        "The tomatoes hang green in September. Will they ripen?",
        "Snails ate the lettuce. Does a fence of copper help?",
        "The roses were cut in March. Do they bloom in June?",
        "Moss grows in the lawn. Is the soil sour?",
    ),
}
TASKS = tuple(EXAMPLES)


def stock(url: str, library: TinyLibrary, *, examples: bool = True, adapters: bool = True) -> None:
    """Register everything; without examples or adapters the base model answers alone."""
    encoder = Encoder.load(library.encoder)
    with connect(url) as connection, connection.transaction():
        store, models = ExampleStore(connection), ModelStore(connection)
        models.put_base_model(read_base_model(library.base, BASE_MODEL, FRAME))
        models.put_encoder(ENCODER, encoder.revision, encoder.dimensions)
        for task in TASKS:
            connection.execute("select loradex.register_task(%s, 'home', 'accuracy', '{}')", (task,))
        if examples:
            rows = [
                (task, number, text) for task, texts in EXAMPLES.items() for number, text in enumerate(texts)
            ]
            vectors = encoder.embed([text for _, _, text in rows])
            store.add(
                [
                    NewExample(task, f"{task}-{number}", _hash(text, "yes"), text, "yes", vector)
                    for (task, number, text), vector in zip(rows, vectors, strict=True)
                ],
                ENCODER,
            )
        for task, adapter in library.adapters.items() if adapters else ():
            connection.execute(
                """
                select loradex.register_adapter(
                    name => %s, task => %s, base_model => %s, sha256 => %s, uri => %s, rank => 4, alpha => 8,
                    target_modules => %s, dtype => 'float32', parameters => 1024, update_norm => 1.0, card =>
                    '{}')
                """,
                (
                    f"tiny-{task}",
                    task,
                    BASE_MODEL,
                    content_hash(adapter.directory),
                    f"adapters/{task}",
                    ["q_proj", "v_proj"],
                ),
            )


def _hash(prompt: str, target: str) -> str:
    return hashlib.sha256(f"{prompt}\x1f{target}".encode()).hexdigest()
