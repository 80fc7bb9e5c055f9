"""docs/audit-format.md is enough to verify a chain: its export, and a program that knows nothing of Loradex."""

import ast
import hashlib
import re
import sys
from pathlib import Path

import pytest
from tests.exported import PAGE, PROGRAM, Exported, block
from tests.fix_db import RoleUrl
from tests.world import World

AWKWARD = 'Tab\there, "quotes", back\\slash, \\N, line\nend, \x1f, \x7f, \u2028, ÿ, 🦜'


@pytest.fixture
def chain(world: World) -> World:
    """Six answers of all shapes, and a superuser whose triggers and foreign keys are off."""
    world.answered(
        {"top_p": 1.0},
        {"choices": ["yes", AWKWARD], "exclude_tasks": ["embers"]},
        {"method": "base", "prompt": AWKWARD},
        {"temperature": 0.00001, "method": "ties", "exclude_adapters": ["boats-lora", "apples-lora"]},
        {"k": 1, "prompt": "\\."},
        {"top_p": 0.5},
    )
    world.connection.execute("set session_replication_role = replica")
    return world


@pytest.fixture
def exported(role_url: RoleUrl, tmp_path: Path) -> Exported:
    return Exported(role_url("loradex_reader"), tmp_path)


def test_the_program_is_short_and_needs_nothing() -> None:
    text = PROGRAM.read_text()
    assert len(text.splitlines()) <= 150
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


def test_the_example_has_the_hash_that_the_page_says() -> None:
    (said,) = re.findall(r"Its `chain_hash` is `(\w{64})`", PAGE.read_text())
    assert hashlib.sha256(bytes(32) + block("json").rstrip("\n").encode()).hexdigest() == said


def test_it_finds_an_intact_chain_intact(chain: World, exported: Exported) -> None:
    heads = [row[0] for row in chain.rows("select encode(chain_hash, 'hex') from loradex.answers")]
    assert exported.verify(*heads) == (0, ["intact"])


def test_it_knows_an_empty_chain(world: World, exported: Exported) -> None:
    assert exported.verify() == (0, ["intact"])
    assert exported.verify("ab" * 32) == (1, [f"no link has the hash {'ab' * 32}"])


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("update loradex.answers set text = text || '!' where position = 2", "does not fit its columns"),
        (
            "update loradex.answers set scores[1] = scores[1] + 1e-9 where position = 2",
            "does not fit its columns",
        ),
        (
            "update loradex.answers set token_ids = '[0:2]={17,4,2}' where position = 1",
            "does not fit its columns",
        ),
        (
            "update loradex.answers set created_at = created_at + interval '1 microsecond' where position = 2",
            "does not fit its columns",
        ),
        (
            "update loradex.answers set generation = generation || '{\"seed\": 8}' where position = 2",
            "does not fit its columns",
        ),
        (
            "update loradex.answers set query = query + array_fill(0.001::real, array[16])::vector",
            "does not fit its columns",
        ),
        (
            "update loradex.answers set in_nucleus[1] = not in_nucleus[1]",
            "does not fit its columns",
        ),
        ("update loradex.answers set text = text where position = 2", ""),
        ("update loradex.answers set weights[1] = 0 where position = 1", "does not fit its columns"),
        (
            "update loradex.answers set salt = set_byte(salt, 0, get_byte(salt, 0) # 1) where position = 1",
            "does not fit its columns",
        ),
        ("delete from loradex.answers where position = 2", "its position is 3, and 2 was expected"),
        (
            "update loradex.answers set position = 9 - position where position in (4, 5)",
            "does not fit its columns",
        ),
        (
            "update loradex.answers a set text = 'forged', chain_hash = sha256('x') where position = 2",
            "is not the chain_hash of the link before",
        ),
    ],
)
def test_it_finds_a_forgery(chain: World, exported: Exported, statement: str, said: str) -> None:
    chain.connection.execute(statement.encode())
    code, lines = exported.verify()
    assert code == (1 if said else 0)
    assert said in "\n".join(lines)


def test_it_finds_a_cut_tail(chain: World, exported: Exported) -> None:
    head = chain.value("select encode(chain_hash, 'hex') from loradex.answers where position = 6")
    chain.rows("delete from loradex.answers where position = 6 returning 1")
    assert exported.verify() == (0, ["intact"])
    assert exported.verify(head) == (1, [f"no link has the hash {head}"])


@pytest.mark.parametrize(
    "change",
    ["text = 'forged'", "salt = '\\x00'", 'commitments = commitments || \'{"remark": "forged"}\''],
)
def test_it_finds_what_is_put_into_an_erased_answer(chain: World, exported: Exported, change: str) -> None:
    chain.connection.execute("set session_replication_role = origin")
    chain.rows(
        "select loradex.erase_jobs('why', 'who', array[job_id]) from loradex.answers where position = 2"
    )
    assert exported.verify() == (0, ["intact"])
    chain.connection.execute("alter table loradex.answers drop constraint answers_erased_check")
    chain.connection.execute("set session_replication_role = replica")
    chain.connection.execute(f"update loradex.answers set {change} where position = 2".encode())
    code, (line,) = exported.verify()
    assert code == 1
    assert "does not fit its columns" in line
