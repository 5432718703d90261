"""A TCP proxy in front of a broker that takes from the client only so many bytes per second; the other way is free."""

import contextlib
import socket
import threading
import time

from harness import PATIENCE, is_readable
from serving import Acceptor, shut


class SlowLink:
    """Listens on a port of its own; `rate` may be changed at any time, None is no limit, 0 takes nothing."""

    def __init__(self, broker, rate=None):
        self.broker = broker
        self.rate = rate
        self.taken = 0
        self._pairs = []
        self._acceptor = Acceptor(self._serve)
        # What the kernel holds in between is small against what the tests send.
        self._acceptor.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        self.port = self._acceptor.port

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def _serve(self, client):
        with socket.create_connection(("127.0.0.1", self.broker.port), timeout=PATIENCE) as server:
            self._pairs.append((client, server))
            over = threading.Event()
            down = threading.Thread(target=self._down, args=(client, server, over), daemon=True)
            down.start()
            self._up(client, server, over)
            shut(client, server)
            down.join()

    def _up(self, client, server, over):
        with contextlib.suppress(OSError):
            while not over.is_set():
                rate = self.rate
                if rate == 0:
                    time.sleep(0.005)
                    continue
                if not is_readable(client, 0.05):
                    continue
                began = time.monotonic()
                data = client.recv(16 << 10 if rate else 256 << 10)
                if not data:
                    break
                self.taken += len(data)
                server.sendall(data)
                if rate:
                    time.sleep(max(0, began + len(data) / rate - time.monotonic()))

    def _down(self, client, server, over):
        with contextlib.suppress(OSError):
            server.settimeout(None)
            while data := server.recv(256 << 10):
                client.sendall(data)
        over.set()
        shut(client, server)

    def cut(self):
        """Ends every connection through it; the next ones are taken."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            shut(*pair)

    def close(self):
        self._acceptor.close()
        self.cut()
