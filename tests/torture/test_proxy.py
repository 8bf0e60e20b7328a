"""The proxy kills the process at the other end of a connection, and nobody else."""

import socket
import subprocess
import sys
from contextlib import ExitStack

from bench.torture.proxy import find_process

_CONNECT = """
import socket, sys
local, remote = map(int, sys.argv[1:])
connection = socket.socket()
connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
connection.bind(("127.0.0.1", local))
connection.connect(("127.0.0.1", remote))
print("connected", flush=True)
sys.stdin.read()
"""


def test_of_two_connections_that_come_from_one_port_the_right_one_is_found():
    with ExitStack() as stack:
        first, second = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        ours = stack.enter_context(socket.socket())
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ours.bind(("127.0.0.1", 0))
        local = ours.getsockname()[1]
        ours.connect(first.getsockname())
        # The system, too, gives one port to connections that lead to different places.
        command = [sys.executable, "-c", _CONNECT, str(local), str(second.getsockname()[1])]
        other = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert other.stdout.readline() == b"connected\n"
        assert find_process(local, second.getsockname()[1]) == other.pid
        assert find_process(local, local) is None
        other.stdin.close()
