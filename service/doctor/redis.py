"""Redis: what it does when its memory is full."""

from collections.abc import Iterator

import redis as client

from loradex.addresses import redis_address
from loradex.service.doctor.symptom import Symptom
from loradex.service.settings import ServiceSettings


def symptoms(settings: ServiceSettings) -> Iterator[Symptom]:
    try:
        with client.Redis.from_url(
            redis_address(settings), socket_connect_timeout=2, socket_timeout=2
        ) as server:
            told = server.info("memory")
    except (client.RedisError, ValueError) as error:
        yield Symptom("memory of Redis", "unknown", f"could not be looked at: {error}")
        return
    policy = str(told.get("maxmemory_policy", "noeviction"))
    if told.get("maxmemory") and policy.startswith("volatile"):
        # Only texts that are being told have an end; bells have none.
        yield Symptom(
            "memory of Redis", "well", "drops texts that are being told when it is full, and no bell"
        )
    elif told.get("maxmemory") and policy != "noeviction":
        note = f"drops keys when it is full ({policy}): bells get lost, and answers come by sweeps"
        yield Symptom("memory of Redis", "look", note, "set maxmemory-policy volatile-ttl in redis.conf")
    else:
        yield Symptom("memory of Redis", "well", "refuses when it is full, and drops nothing")
