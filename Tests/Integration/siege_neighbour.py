"""Somebody who asks a service all the time, as a process of its own: what the tests do meanwhile does not slow it down.

Usage: siege_neighbour.py PORT SUBJECT. A request goes out every 10 ms whether or not those before are answered. Says "p N TIME" for
each and "a N TIME" for its answer, in the clock that all processes share. SUBJECT "-" is itself: the broker alone is asked.
"""

import os
import re
import select
import socket
import sys
import time

PERIOD = 0.01


def main(port, subject):
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    inbox = f"neighbour.{os.getpid()}"
    connection.sendall(f'CONNECT {{"verbose":false,"pedantic":false}}\r\nSUB {inbox}.* 1\r\n'.encode())
    answer = re.compile(rf"^MSG {re.escape(inbox)}\.(\d+) ".encode())
    ready = select.poll()
    ready.register(connection, select.POLLIN)
    said = sys.stdout
    buffer = b""
    number = 0
    due = time.monotonic()
    while True:
        now = time.monotonic()
        if now >= due:
            number += 1
            payload = b'{"n":%d}' % number
            target = f"{inbox}.{number}" if subject == "-" else f"{subject} {inbox}.{number}"
            said.write(f"p {number} {now:.6f}\n")
            connection.sendall(f"PUB {target} {len(payload)}\r\n".encode() + payload + b"\r\n")
            due = max(due + PERIOD, now)
        elif ready.poll(max((due - now) * 1000, 0)):
            data = connection.recv(65536)
            if not data:
                return
            now = time.monotonic()
            *lines, buffer = (buffer + data).split(b"\r\n")
            for line in lines:
                if line == b"PING":
                    connection.sendall(b"PONG\r\n")
                elif match := answer.match(line):
                    said.write(f"a {int(match.group(1))} {now:.6f}\n")
        said.flush()


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), sys.argv[2])
    except (OSError, KeyboardInterrupt):
        pass
