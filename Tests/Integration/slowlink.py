"""A TCP proxy in front of a broker that takes from the client only so many bytes per second; the other way is free."""

import contextlib
import socket
import threading
import time

from harness import PATIENCE, is_readable


class SlowLink:
    """Listens on a port of its own; `rate` may be changed at any time, None is no limit, 0 takes nothing."""

    def __init__(self, broker, rate=None):
        self.broker = broker
        self.rate = rate
        self.taken = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        # What the kernel holds in between is small against what the tests send.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        self.port = self._listener.getsockname()[1]
        self._pairs = []
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.broker.port), timeout=PATIENCE)
                pair = (client, server)
                self._pairs.append(pair)
                threading.Thread(target=self._up, args=pair, daemon=True).start()
                threading.Thread(target=self._down, args=pair, daemon=True).start()

    def _up(self, client, server):
        with contextlib.suppress(OSError):
            while not self._closed:
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
        self._end(client, server)

    def _down(self, client, server):
        with contextlib.suppress(OSError):
            server.settimeout(None)
            while data := server.recv(256 << 10):
                client.sendall(data)
        self._end(client, server)

    @staticmethod
    def _end(*sockets):
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def cut(self):
        """Ends every connection through it; the next ones are taken."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            self._end(*pair)

    def close(self):
        self._closed = True
        self._listener.close()
        self.cut()
