"""Peers that make the other side answer and never read: what waits for them is bounded, on both ends of NATS."""

import base64
import hashlib
import re
import socket
import threading
import time

import pytest

from harness import PATIENCE, Broker, Client, RawConnection, Service, script_text, wait_until
from serving import Acceptor
from test_nats_over_websocket import INFO, frame

MEGABYTE = 1 << 20

# What a program that is flooded with questions may take more: its socket's buffers, one bound, and the allocator's pages.
ROOM = 60


def resident(program):
    """Megabytes."""
    with open(f"/proc/{program.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 // MEGABYTE


def flood(connection, data, seconds):
    """Sends for so long and reads nothing; ends early when the other side hangs up. Returns how many bytes went out."""
    connection.settimeout(0.2)
    end, sent = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        try:
            sent += connection.send(data)
        except TimeoutError:
            continue
        except OSError:
            return sent
    return sent


def flood_until_unread(connection, data):
    """Sends and reads nothing, until the other side has read nothing for some seconds."""
    connection.settimeout(max(3, PATIENCE / 6))
    end = time.monotonic() + 10 * PATIENCE
    while time.monotonic() < end:
        try:
            connection.send(data)
        except TimeoutError:
            return
    raise AssertionError("it reads on and on")


QUESTIONS = {
    "pings": b"PING\r\n" * 10_000,
    "refused": b"SUB . 1\r\n" * 7_000,
    "confirmed": b'CONNECT {"verbose":true,"headers":true}\r\n' + b"PONG\r\nPUB x 0\r\n\r\n" * 4_000,
    "no responders": b"SUB i 1\r\n" + b"PUB nobody i 0\r\n\r\n" * 4_000,
    "own messages": b"SUB own 1\r\n" + b"PUB own 2\r\nhi\r\n" * 4_000,
}


@pytest.mark.parametrize("kind", QUESTIONS)
def test_the_broker_stops_reading_from_a_client_that_does_not_read(kind):
    broker = Broker("embedded").start()
    client = Client(broker.url)
    try:
        raw = RawConnection(broker).connect()
        before = resident(broker.program)
        flood(raw.socket, QUESTIONS[kind], 4)
        assert resident(broker.program) < before + ROOM
        inbox = client.subscribe("alive")
        client.publish("alive", b"yes")
        assert inbox.next().payload == b"yes"
        raw.close()
    finally:
        client.close()
        broker.stop()


def test_a_client_that_reads_late_gets_every_answer():
    broker = Broker("embedded").start()
    try:
        raw = RawConnection(broker).connect()
        sent = 0

        def ask():
            nonlocal sent
            for _ in range(100):
                raw.socket.sendall(QUESTIONS["pings"])
                sent += 10_000

        raw.socket.settimeout(None)
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        time.sleep(1)
        heard = 0
        while heard < 1_000_000:
            assert raw.line() == "PONG"
            heard += 1
        asking.join(PATIENCE)
        assert sent == 1_000_000
        raw.close()
    finally:
        broker.stop()


def test_a_client_that_takes_nothing_for_ten_seconds_is_closed():
    broker = Broker("embedded").start()
    try:
        raw = RawConnection(broker).connect()
        flood_until_unread(raw.socket, QUESTIONS["no responders"])
        broker.program.wait_for("closing client .* as a slow consumer: it took nothing", timeout=20 + 4 * PATIENCE)
        raw.socket.settimeout(4 * PATIENCE)
        rest = raw.file.read()
        # Whole messages, and then the reason.
        assert rest.endswith(b"Nats-Subject: nobody\r\n\r\n\r\n-ERR 'Slow Consumer'\r\n")
        raw.close()
    finally:
        broker.stop()


def test_unfinished_payloads_of_all_clients_are_bounded():
    """Each connection may begin a message of a megabyte; what all of them hold has a bound of its own."""
    broker = Broker("embedded").start()
    client = Client(broker.url)
    connections = []
    try:
        before = resident(broker.program)
        begin = b"CONNECT {}\r\nPUB big 1048576\r\n" + bytes(1_048_000)
        for _ in range(400):
            raw = socket.create_connection(("127.0.0.1", broker.port))
            connections.append(raw)
            try:
                raw.sendall(begin)
            except OSError:
                pass  # It was the one too many.
        assert resident(broker.program) < before + 330
        broker.program.wait_for("all clients hold more than")
        lines = [line for line in broker.program.output.split("\n") if "all clients hold" in line]
        assert len(lines) < 10
        inbox = client.subscribe("alive")
        client.publish("alive", b"yes")
        assert inbox.next().payload == b"yes"
    finally:
        for raw in connections:
            raw.close()
        client.close()
        broker.stop()


def test_subscriptions_are_bounded_by_their_bytes():
    """Subjects of two thousand tokens take hundreds of times what is sent."""
    broker = Broker("embedded").start()
    try:
        before = resident(broker.program)
        raw = RawConnection(broker).connect()
        refused = []

        def read():
            for line in raw.file:
                if line.startswith(b"-ERR"):
                    refused.append(line)
                    break

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        for number in range(4000):
            raw.send(b"SUB %d%s %d\r\n" % (number, b".a" * 2000, number))
            if refused:
                break
        reader.join(10 * PATIENCE)
        assert refused == [b"-ERR 'maximum subscriptions exceeded'\r\n"]
        assert resident(broker.program) < before + 260
        raw.close()
    finally:
        broker.stop()


@pytest.mark.parametrize("queue", [b"", b"q", b"q%d"], ids=["plain", "one group", "many groups"])
def test_leaving_with_many_subscriptions_of_one_subject_is_quick(queue):
    broker = Broker("embedded").start()
    client = Client(broker.url)
    try:
        raw = RawConnection(broker).connect()
        count = 60_000
        lines = []
        for number in range(count):
            group = queue % number if b"%d" in queue else queue
            lines.append(b"SUB s %s %d\r\n" % (group, number) if group else b"SUB s %d\r\n" % number)
        raw.send(b"".join(lines))
        raw.ping()
        raw.close()
        started = time.monotonic()
        client.flush()
        inbox = client.subscribe("alive")
        client.publish("alive", b"yes")
        assert inbox.next().payload == b"yes"
        assert time.monotonic() - started < 2 + PATIENCE / 2
    finally:
        client.close()
        broker.stop()


def test_a_client_with_many_receivers_leaves_others_their_turns():
    """One message to 60 000 subscriptions is work; a packet of a thousand of them is done in turns with others."""
    broker = Broker("embedded").start()
    client = Client(broker.url)
    try:
        receiver = RawConnection(broker).connect()
        receiver.send(b"".join(b"SUB > %d\r\n" % number for number in range(60_000)))
        receiver.ping()
        receiver.send(b"".join(b"UNSUB %d 1\r\n" % number for number in range(60_000)))
        receiver.ping()
        sender = RawConnection(broker).connect()
        sender.send(b"PUB many 1\r\nx\r\n" * 2000)
        waits = []
        for _ in range(20):
            started = time.monotonic()
            client.flush()
            waits.append(time.monotonic() - started)
        assert max(waits) < max(3, PATIENCE / 5)
        receiver.close()
        sender.close()
    finally:
        client.close()
        broker.stop()


def test_clients_that_are_refused_make_few_lines():
    broker = Broker("embedded").start()
    try:
        for number in range(300):
            raw = socket.create_connection(("127.0.0.1", broker.port))
            raw.sendall(b'CONNECT {"name":"%d"}\r\nNONSENSE\r\n' % number)
            raw.close()
        broker.program.wait_for("[0-9]+ more clients were refused or closed for what they sent")
        assert len([line for line in broker.program.output.split("\n") if "closing client" in line]) < 10
    finally:
        broker.stop()


# The other end: a broker that asks and does not read.


class AskingBroker:
    """Does the handshake of one connection after another, then floods each with `questions` and reads nothing."""

    def __init__(self, questions, over_websocket=False, before_handshake=False):
        self.questions = questions
        self.over_websocket = over_websocket
        self.before_handshake = before_handshake
        self.connections = 0
        self.sent = 0
        self.ended = threading.Event()
        self.acceptor = Acceptor(self._serve)
        self.port = self.acceptor.port

    @property
    def url(self):
        return f"{'ws' if self.over_websocket else 'nats'}://127.0.0.1:{self.port}"

    def _serve(self, connection):
        self.connections += 1
        try:
            self._ask(connection)
        finally:
            self.ended.set()

    def _ask(self, connection):
        connection.settimeout(PATIENCE)
        wrap = frame if self.over_websocket else bytes
        if self.over_websocket:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            key = re.search(rb"(?i)sec-websocket-key: (\S+)", head)[1]
            accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
        connection.sendall(wrap(INFO))
        if not self.before_handshake:
            # CONNECT and PING, and what a service subscribes to, are answered before the flood.
            connection.recv(65536)
            connection.sendall(wrap(b"PONG\r\n"))
            end = time.monotonic() + 1
            while time.monotonic() < end:
                connection.settimeout(0.1)
                try:
                    data = connection.recv(65536)
                except TimeoutError:
                    continue
                if not data:
                    return
                connection.sendall(wrap(b"PONG\r\n"))
        else:
            connection.recv(65536)
        connection.settimeout(PATIENCE)
        while True:
            self.sent += connection.send(self.questions)


ASKED = {
    "tcp": (b"PING\r\n" * 10_000, {}),
    "in the handshake": (b"PING\r\n" * 10_000, {"before_handshake": True}),
    "NATS over WebSocket": (frame(b"PING\r\n" * 20) * 500, {"over_websocket": True}),
    "pings of WebSocket": (bytes([0x89, 125]) + bytes(125), {"over_websocket": True}),
}


@pytest.mark.parametrize("kind", ASKED)
def test_a_service_leaves_a_broker_that_asks_and_does_not_read(kind, tmp_path):
    questions, how = ASKED[kind]
    broker = AskingBroker(questions * (500 if len(questions) < 1000 else 1), **how)
    script = tmp_path / "asked.lua"
    script.write_text(script_text('app.listen("x", function() return {} end)', options="retry_on_start = true"))
    service = Service(script, broker.url, ready=False)
    try:
        wait_until(lambda: broker.sent > 0, "the flood has begun")
        before = resident(service)
        most = 0
        end = time.monotonic() + 6
        while time.monotonic() < end and not (broker.ended.is_set() and broker.connections > 1):
            most = max(most, resident(service))
            time.sleep(0.05)
        assert most < before + ROOM, (before, most, broker.sent)
        # It is told why, and tries again. A handshake has an end of its own.
        service.wait_for("PINGs and did not read the answers|carry next to nothing|the handshake with .* took longer than", timeout=10 * PATIENCE)
    finally:
        service.kill()
        broker.acceptor.close()
