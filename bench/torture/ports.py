"""Ports that stay ours while their server is down: below those that the system gives to outgoing connections."""

import random
import socket

_FIRST, _LAST = 20_000, 31_000


def choose_ports(number: int) -> list[int]:
    """Return so many ports of 127.0.0.1 on which nobody listens."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(_FIRST, _LAST), _LAST - _FIRST):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == number:
            break
    return found
