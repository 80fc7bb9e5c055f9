"""What client and worker know of Redis together: addresses, settings, and what to say about its errors."""

import subprocess
import sys
from ssl import CERT_REQUIRED

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from kombu.exceptions import OperationalError
from tests.repository import ROOT

from loradex.errors import InvalidArgumentError
from loradex.wakeup import LONGEST_REASON, QUEUE, advice_on, broker_settings, reason_of


@pytest.mark.parametrize("url", ["http://localhost", "postgresql://localhost/x", "localhost:6379", ""])
def test_an_address_that_is_not_one_of_a_redis_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="LORADEX_REDIS_URL must start with redis://"):
        broker_settings(url)


def test_with_tls_a_certificate_must_verify() -> None:
    assert broker_settings("rediss://localhost:1/0")["broker_use_ssl"] == {"ssl_cert_reqs": CERT_REQUIRED}
    assert "broker_use_ssl" not in broker_settings("redis://localhost:1/0")


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (redis.ResponseError("WRONGTYPE Operation against a key"), f"`{QUEUE}`"),
        (redis.ReadOnlyError("You can't write against a read only replica."), "primary"),
        (redis.exceptions.OutOfMemoryError("command not allowed"), "maxmemory"),
        (redis.exceptions.NoPermissionError("User default has no permissions"), "allow its user"),
        (redis.AuthenticationError("invalid username-password pair"), "the password"),
        (redis.ResponseError("NOAUTH Authentication required."), "the password"),
        (redis.exceptions.MovedError("482 127.0.0.1:1"), "cluster"),
        (redis.BusyLoadingError("Redis is loading the dataset in memory"), "reads its data"),
        (redis.ResponseError("MISCONF Redis is configured to save"), "disk"),
        (redis.ConnectionError("Error 111 connecting"), "loradex up"),
        (ConnectionResetError(104, "reset by peer"), "loradex up"),
    ],
)
def test_each_error_of_redis_has_its_cure(error: Exception, cure: str) -> None:
    above = OperationalError(f"Command # 1 (LLEN x) of pipeline caused error: {error}")
    above.__cause__ = error

    assert cure in advice_on(error)
    assert cure in advice_on(above)
    assert reason_of(above) == reason_of(error)


@given(st.text())
def test_a_reason_can_be_shown_anywhere(text: str) -> None:
    shown = reason_of(redis.ResponseError(text))

    assert shown
    assert shown.isprintable()
    assert len(shown) <= LONGEST_REASON


def test_it_costs_no_broker() -> None:
    program = "import sys, loradex.wakeup; print(sorted({'celery', 'kombu', 'redis', 'psycopg'} & set(sys.modules)))"

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
