"""A broker over WebSocket that does not wait: what it says comes in the packet of its answer to the upgrade."""

import base64
import hashlib
import re
import socket
import struct
import threading
import time

import pytest

from harness import PATIENCE, panini
from serving import Acceptor
from test_turns import cpu

INFO = b'INFO {"server_id":"X","version":"2.10.0","proto":1,"host":"x","port":1,"max_payload":1048576,"headers":true}\r\n'


def frame(payload):
    """As a server sends it: whole and unmasked."""
    head = bytes([0x82, len(payload)]) if len(payload) < 126 else bytes([0x82, 126]) + struct.pack(">H", len(payload))
    return head + payload


class HastyBroker:
    """Answers the upgrade with so much of INFO in the same packet, and each PING with PONG."""

    def __init__(self, cut):
        self.cut = cut
        self.published = b""
        self.port = Acceptor(self._serve).port

    def _serve(self, connection):
        connection.settimeout(PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        key = re.search(rb"(?i)sec-websocket-key: (\S+)", head)[1]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n" % accept
        info = frame(INFO)
        cut = len(info) if self.cut is None else self.cut
        connection.sendall(answer + info[:cut])
        if cut < len(info):
            threading.Event().wait(0.05)
            connection.sendall(info[cut:])
        data = b""
        while part := connection.recv(65536):
            data += part
            while (message := self._take(data)) is not None:
                payload, data = message
                self.published += payload
                for _ in range(payload.count(b"PING\r\n")):
                    connection.sendall(frame(b"PONG\r\n"))
                    self.greeted(connection)

    def greeted(self, connection):
        """The handshake is over."""

    @staticmethod
    def _take(data):
        if len(data) < 2:
            return None
        count, at = data[1] & 127, 2
        if count == 126:
            if len(data) < 4:
                return None
            count, at = struct.unpack(">H", data[2:4])[0], 4
        if len(data) < at + 4 + count:
            return None
        key, body = data[at : at + 4], data[at + 4 : at + 4 + count]
        return bytes(b ^ key[i % 4] for i, b in enumerate(body)), data[at + 4 + count :]


@pytest.mark.parametrize("cut", [None, 0, 1, 50])
def test_what_comes_with_the_upgrade_is_read(cut):
    broker = HastyBroker(cut)
    result = panini("publish", "x", "hello", "--server", f"ws://127.0.0.1:{broker.port}")
    assert result.returncode == 0, result.stderr
    assert b"PUB x 5\r\nhello\r\n" in broker.published


class FragmentingBroker(HastyBroker):
    """Sends pieces of a message without end, with next to nothing in each."""

    PIECES = b"\x00\x00" * 30000

    def greeted(self, connection):
        connection.sendall(b"\x02\x00")
        while True:
            connection.sendall(self.PIECES)


def test_frames_that_carry_nothing_end_the_connection(start):
    broker = FragmentingBroker(None)
    running = start(f"ws://127.0.0.1:{broker.port}", "", ready=False)
    running.wait_for("the connection to the broker is lost: .*WebSocket frames a second that carry next to nothing")
    before = cpu(running)
    time.sleep(3)
    assert cpu(running) - before < 0.6
    running.expected_exit = (0, 1)
