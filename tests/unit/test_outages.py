"""Errors of Postgres stand for an outage or for a bad question, and say what to do."""

import psycopg
import pytest
from psycopg import errors

from loradex.db.outages import WORDS
from loradex.db.postgres_errors import typed_error
from loradex.db.session import connect
from loradex.errors import (
    DatabaseRefusesError,
    DatabaseUnavailableError,
    InvalidArgumentError,
    LoradexError,
    PermissionRefusedError,
)


@pytest.mark.parametrize(
    ("state", "kind", "advice"),
    [
        ("25006", DatabaseRefusesError, "name the primary"),
        ("53100", DatabaseRefusesError, "free space"),
        ("55P03", DatabaseRefusesError, "`loradex status` names it"),
        ("42501", PermissionRefusedError, "SECURITY.md"),
        ("25P03", DatabaseUnavailableError, "try again"),
        ("40P01", DatabaseUnavailableError, "try again"),
        ("53200", DatabaseUnavailableError, "more memory"),
        ("57014", DatabaseUnavailableError, "statement_timeout"),
        ("57P01", DatabaseUnavailableError, "administrator"),
        ("XX001", DatabaseUnavailableError, "disk of Postgres"),
        ("54000", InvalidArgumentError, "give less"),
    ],
)
def test_each_sqlstate_is_somebody_s_to_cure(state: str, kind: type[LoradexError], advice: str) -> None:
    typed = typed_error(errors.lookup(state)("it did not do so"))

    assert type(typed) is kind
    assert str(typed).startswith("it did not do so; ")
    assert advice in str(typed)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ('FATAL:  password authentication failed for user "x"', "correct the password"),
        ("FATAL:  sorry, too many clients already", "fewer clients"),
        ("FATAL:  the database system is starting up", "try again"),
        ("failed to resolve host 'db.test'", "name service"),
        ("SSL error: certificate verify failed", "renew the certificate"),
        ('root certificate file "/etc/roots.pem" does not exist', "renew the certificate"),
        ('FATAL:  database "loradx" does not exist', "correct user and database"),
        ("server closed the connection unexpectedly", "the connection broke"),
        ("Connection refused", "start Postgres"),
    ],
)
def test_a_connection_that_is_refused_says_what_to_do(text: str, advice: str) -> None:
    typed = typed_error(psycopg.OperationalError(text))

    assert type(typed) is DatabaseUnavailableError
    assert advice in str(typed)


def test_no_words_hide_others_of_the_table() -> None:
    words = [word for word, _ in WORDS]
    hidden = [later for place, later in enumerate(words) if any(word in later for word in words[:place])]

    assert hidden == []
    assert words[-1] == "does not exist"


def test_a_server_that_vanishes_without_goodbye_is_noticed(database_url: str) -> None:
    with connect(database_url) as connection:
        parameters = connection.info.get_parameters()

    assert int(parameters["keepalives_idle"]) + 3 * int(parameters["keepalives_interval"]) <= 30
    assert int(parameters["tcp_user_timeout"]) <= 30_000
