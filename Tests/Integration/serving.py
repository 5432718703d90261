"""Servers that the tests play themselves: sockets that more than one thread knows.

The thread that serves a connection closes it. Every other thread only shuts it down, which wakes the first one: a socket
that is closed under its thread has no descriptor any more, or one that belongs to somebody else by then.
"""

import contextlib
import socket
import threading


def shut(*sockets):
    """Ends connections and listeners for the threads that wait for them, which then close them."""
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


class Acceptor:
    """Listens on a port of its own and calls `serve(connection)` for each connection, in a thread of its own.

    The connection is closed when `serve` is through; a connection that breaks ends it, too.
    """

    def __init__(self, serve, backlog=128):
        self._serve = serve
        self._lock = threading.Lock()
        self._open = set()
        self._closed = False
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with self.listener, contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with self._lock:
                    self._open.add(connection)
                    if self._closed:
                        shut(connection)
                threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        try:
            with contextlib.suppress(OSError):
                self._serve(connection)
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def stop(self):
        """Takes no more connections; those that are there go on."""
        shut(self.listener)

    def close(self):
        """Takes no more connections and ends those that are there."""
        self.stop()
        with self._lock:
            self._closed = True
            shut(*self._open)
