"""Whatever a password holds, no message repeats a piece of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loradex.db.session import connect, engine
from loradex.embedded import health
from loradex.errors import InvalidArgumentError
from loradex.service.client.wakeup import Waker
from loradex.urls import require_unambiguous_url
from loradex.worker.wakeup import celery_app

RIGHT = (
    "postgresql://u:p@h:5432/d",
    "postgresql://u:p%40%2F@h/d?sslmode=require",
    "postgresql+psycopg://u@h1:1,h2:2/d",
    "postgresql://u:p@[::1]:5432/d",
    "postgresql:///d?host=/tmp",
    "redis://:p@h:6379/0",
    "rediss://:p@h:6379/0?ssl_ca_certs=/etc/ca.pem",
    "redis+socket:///tmp/redis.sock",
    "host=h user=u",
)
TROUBLE = ("@", "/", "?", "#", "@@", "/@", ":@", "?@", ":/")


@pytest.mark.parametrize("url", RIGHT)
def test_a_url_that_can_be_read_is_left_alone(url: str) -> None:
    assert require_unambiguous_url(url, "IT") == url


@given(trouble=st.sampled_from(TROUBLE), scheme=st.sampled_from(["postgresql", "redis", "rediss"]))
def test_a_bare_sign_in_a_password_is_refused_with_advice(trouble: str, scheme: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"IT cannot be read.*%40") as refused:
        require_unambiguous_url(f"{scheme}://user:hid{trouble}den@localhost/0", "IT")
    assert "hid" not in str(refused.value)


@pytest.mark.parametrize("trouble", TROUBLE)
def test_whoever_meets_such_a_url_keeps_it_to_himself(trouble: str) -> None:
    database = f"postgresql://user:hid{trouble}den@127.0.0.1:1/none"
    server = f"redis://:hid{trouble}den@127.0.0.1:1/0"
    said = [str(health.postgres(database, "cure")), str(health.redis_server(server, "cure"))]
    for meet in (
        lambda: connect(database),
        lambda: engine(database),
        lambda: Waker(server),
        lambda: celery_app(server, lambda: None),
    ):
        with pytest.raises(InvalidArgumentError) as refused:
            meet()
        said.append(str(refused.value))

    assert [text for text in said if "hid" in text or "den" in text] == []
