"""WebSocket by hand (RFC 6455): frames that no client would send, and every byte of what comes back."""

import base64
import hashlib
import os
import re
import socket
import struct

from harness import PATIENCE

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode, payload=b"", fin=True, reserved=0, masked=True, form=None):
    """One frame; `form` forces the length to be written in 0, 2 or 8 bytes more."""
    if form is None:
        form = 0 if len(payload) < 126 else 2 if len(payload) < 65536 else 8
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    mask = 0x80 if masked else 0
    if form == 0:
        head += bytes([mask | len(payload)])
    elif form == 2:
        head += bytes([mask | 126]) + struct.pack(">H", len(payload))
    else:
        head += bytes([mask | 127]) + struct.pack(">Q", len(payload))
    if not masked:
        return head + payload
    key = os.urandom(4)
    pad = (key * (len(payload) // 4 + 1))[: len(payload)]
    masked_payload = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(len(payload), "big")
    return head + key + masked_payload


def close_frame(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason)


class Handshake:
    """The answer to an upgrade."""

    def __init__(self, text):
        self.text = text
        self.status = int(text.split(" ", 2)[1])
        self.headers = {k.lower(): v for k, v in re.findall(r"^([^:\r\n]+): ([^\r\n]*)", text, re.MULTILINE)}


class RawSocket:
    """A client that does what it is told."""

    def __init__(self, port, path="/", headers=(), upgrade=True, early=b""):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        if not upgrade:
            return
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade",
            "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", *headers,
        ]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode() + early)
        self.handshake = Handshake(self.head())
        if self.handshake.status == 101:
            digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            assert self.handshake.headers["sec-websocket-accept"] == base64.b64encode(digest).decode()
            assert self.handshake.headers["upgrade"] == "websocket"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def head(self):
        while b"\r\n\r\n" not in self.buffer:
            assert self._more(), f"closed inside the head: {self.buffer!r}"
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        return head.decode()

    def send(self, data):
        self.socket.sendall(data)

    def _more(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)

    def _take(self, count):
        while len(self.buffer) < count:
            if not self._more():
                return None
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def receive(self):
        """The next frame as (opcode, payload); None at the end of the connection. A server's frames are whole and unmasked."""
        head = self._take(2)
        if head is None:
            return None
        assert head[0] & 0x80, "the server sends fragments"
        assert not head[0] & 0x70 and not head[1] & 0x80
        count = head[1]
        if count == 126:
            count = struct.unpack(">H", self._take(2))[0]
            assert count >= 126
        elif count == 127:
            count = struct.unpack(">Q", self._take(8))[0]
            assert count > 65535
        payload = self._take(count)
        assert payload is not None, "the connection ended inside a frame"
        return head[0] & 15, payload

    def rest(self):
        """All frames up to the end of the connection."""
        frames = []
        while True:
            received = self.receive()
            if received is None:
                return frames
            frames.append(received)

    def close_code(self):
        """The code of the close frame that comes next, or after other frames; then the connection has to end."""
        frames = self.rest()
        assert frames and frames[-1][0] == CLOSE, frames
        payload = frames[-1][1]
        return struct.unpack(">H", payload[:2])[0] if payload else None
