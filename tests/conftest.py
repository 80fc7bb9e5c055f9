"""Loads the fixtures; each `fix_*.py` is one subject."""

import pytest

pytest_plugins = [
    "tests.fix_adapters",
    "tests.fix_db",
    "tests.fix_environment",
    "tests.fix_hypothesis",
    "tests.fix_library",
    "tests.fix_many",
    "tests.fix_models",
    "tests.fix_pooler",
    "tests.fix_sources",
    "tests.fix_starter",
    "tests.fix_training",
    "tests.fix_valkey",
    "tests.fix_wheels",
    "tests.schedule",
    "tests.fix_answering",  # late: it imports others, and pytest wants to load those first
    "tests.fix_api",
    "tests.fix_explorer",
    "tests.fix_commands",
    "tests.fix_evaluation",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pictures", action="store_true", help="keep the pictures of the explorer in docs/images"
    )
