"""A broker of the test's own, whose every byte is chosen: what a hostile one says to a service (rows with `speaks`)."""

import contextlib
import threading
import time

from harness import PATIENCE
from serving import Acceptor


class Link:
    """One connection of a service to a broker of the row's own."""

    INFO = b'INFO {"server_id":"x","version":"2.10.0","max_payload":1048576,"headers":true,"proto":1}\r\n'

    def __init__(self, impostor, connection):
        self.impostor = impostor
        self.connection = connection

    def greet(self):
        self.send(self.INFO)

    def serve(self):
        """Speaks as any broker until the attack begins."""
        self.greet()
        self.connection.settimeout(0.05)
        shaken, deadline = False, time.monotonic() + PATIENCE
        # A client that has come back is attacked again, when it has shaken hands.
        while time.monotonic() < deadline and not (shaken and self.impostor.begun.is_set()):
            with contextlib.suppress(TimeoutError):
                part = self.connection.recv(1 << 16)
                if not part:
                    raise OSError("closed")
                if pings := part.count(b"PING\r\n"):
                    shaken = True
                    self.connection.sendall(b"PONG\r\n" * pings)
        self.connection.settimeout(PATIENCE)

    def send(self, data):
        self.connection.sendall(data)

    def flood(self, data, seconds):
        until = time.monotonic() + seconds
        self.connection.settimeout(0.5)
        view = memoryview(data * max(1, 65536 // max(len(data), 1)))
        at = 0
        while time.monotonic() < until and not self.impostor.over.is_set():
            with contextlib.suppress(TimeoutError):
                at += self.connection.send(view[at:])
            if at == len(view):
                at = 0

    def wait(self, seconds):
        self.impostor.over.wait(seconds)


class Impostor:
    """A listener that speaks as the broker of a service, with one function for each connection."""

    def __init__(self, speak):
        self.speak = speak
        self.begun = threading.Event()
        self.over = threading.Event()
        self.acceptor = Acceptor(self._speak)
        self.port = self.acceptor.port

    def _speak(self, connection):
        connection.settimeout(PATIENCE)
        self.speak(Link(self, connection))

    def close(self):
        self.over.set()
        self.acceptor.close()
