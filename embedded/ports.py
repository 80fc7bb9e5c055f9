"""Free TCP ports on the loopback interface."""

import random
import socket

LOOPBACK = "127.0.0.1"
# Below what Linux hands to outgoing connections: one of those could take the port of a stopped server.
FIRST, LAST = 20000, 32767
ATTEMPTS = 100


def free_port(wish: int | None = None) -> int:
    """`wish` if nobody listens there, else any free port.

    Another process may take the port before it is used, so who starts a server tries again when that happens.
    """
    if wish is not None and _free(wish):
        return wish
    chance = random.SystemRandom()
    for _ in range(ATTEMPTS):
        port = chance.randint(FIRST, LAST)
        if _free(port):
            return port
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        found: int = probe.getsockname()[1]
        return found


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
