"""A web server whose every byte is the test's: what services fetch from."""

import gzip
import ssl
import threading

from harness import PATIENCE
from serving import Acceptor


class Request:
    def __init__(self, line, headers, body, connection):
        self.method, self.path, _ = line.split(" ", 2)
        self.headers = headers
        self.body = body
        self.connection = connection

    def __repr__(self):
        return f"<{self.method} {self.path} {self.headers} {self.body!r}>"


def reply(body=b"", status="200 OK", **headers):
    """A whole answer."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Peer:
    """Answers each request with what `answer(request)` gives: bytes; None closes; a function gets the socket."""

    def __init__(self, answer, context=None):
        self.answer = answer
        self.context = context
        self.connections = 0
        self.open = 0
        self.most = 0
        self.requests = []
        self.lock = threading.Lock()
        self.acceptor = Acceptor(self._serve, backlog=1024)
        self.port = self.acceptor.port

    @property
    def url(self):
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    def _serve(self, connection):
        with self.lock:
            self.connections += 1
            self.open += 1
            self.most = max(self.most, self.open)
        try:
            connection.settimeout(PATIENCE)
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            self._requests(connection)
        finally:
            connection.close()
            with self.lock:
                self.open -= 1

    def _requests(self, connection):
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                part = connection.recv(65536)
                if not part:
                    return
                data += part
            head, data = data.split(b"\r\n\r\n", 1)
            line, *fields = head.decode("latin-1").split("\r\n")
            headers = {}
            for field in fields:
                name, value = field.split(":", 1)
                headers[name.lower()] = value.strip()
            length = int(headers.get("content-length", 0))
            while len(data) < length:
                part = connection.recv(65536)
                if not part:
                    return
                data += part
            body, data = data[:length], data[length:]
            request = Request(line, headers, body, connection)
            with self.lock:
                self.requests.append(request)
            answer = self.answer(request)
            if callable(answer):
                answer = answer(connection)
            if answer is None:
                return
            connection.sendall(answer)

    def close(self):
        self.acceptor.stop()


def packed(data):
    return gzip.compress(data)


def server_context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
