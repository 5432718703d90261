"""What other clients of the same broker send, a broker passes on, and no service may fall over: subjects, reply subjects
and headers of any bytes, lines as long as the broker takes; and what a service may not send itself."""

import random
import re
import time

import pytest

from harness import PATIENCE, PROGRAM, Client, Program, RawConnection, panini, wait_until
from serving import Acceptor

SERVICE = """
    app.listen("peer.ping", function(msg) return { pong = msg.data } end)
    app.listen("peer.any.>", { data_type = "bytes" }, function(msg) return { size = #msg.subject } end)
    app.listen("peer.named.{id}", { data_type = "bytes" }, function(msg) return msg.data end)
    app.listen("peer.fails", function(msg) return nil, { code = 418, message = "teapot" } end)
    app.listen("peer.raises", function(msg) error("on purpose") end)
    app.listen("peer.headers", { data_type = "bytes" }, function(msg)
        local text = {}
        for name, value in pairs(msg.headers) do text[#text + 1] = name .. tostring(value) end
        return { n = #text }
    end)
    app.listen("pf", function(msg) return nil, { code = 418, message = "teapot" } end)
    app.listen("pl", function(msg) return ("x"):rep(20000) end)
    app.listen("peer.responds", { data_type = "bytes" }, function(msg)
        local sent, err = msg.respond("x")
        app.publish("peer.told", { sent = sent, code = err and err.code })
    end)
"""


def publish(raw, subject, payload=b"{}", reply=b"", headers=b""):
    words = [subject] + ([reply] if reply else [])
    if headers:
        line = b"HPUB %s %d %d\r\n" % (b" ".join(words), len(headers), len(headers) + len(payload))
    else:
        line = b"PUB %s %d\r\n" % (b" ".join(words), len(payload))
    raw.send(line + headers + payload + b"\r\n")


def untouched(running):
    """The connection was neither lost nor made again."""
    assert "is lost" not in running.output, running.output
    assert "connected to the broker again" not in running.output, running.output


def test_every_byte_in_subject_and_reply_subject(service, broker, client):
    running = service(SERVICE)
    told = client.subscribe("peer.told")
    raw = RawConnection(broker).connect()
    for byte in range(256):
        if byte in b" \t\n":
            continue
        odd = bytes([byte])
        for name in (odd, odd + b"a", b"a" + odd + b"b", b"a" + odd):
            publish(raw, b"peer.any." + name, reply=b"back." + name)
            publish(raw, b"peer.named." + name)
            publish(raw, b"peer.ping", reply=name)
            publish(raw, b"peer.fails", reply=b"back." + name)
        publish(raw, b"peer.responds", reply=b"back." + odd)
        if byte % 16 == 0:
            raw.ping()
            assert client.ask("peer.ping", byte) == {"pong": byte}
    raw.ping()
    answers = [message.json for message in told.take(253)]
    refused = [answer for answer in answers if answer.get("code") == "invalid_subject"]
    # Control characters, and a wildcard for a token: what a service may not publish to itself.
    assert len(refused) == 33 - 3 + 1 + 2 + 1, answers
    assert client.ask("peer.ping", 1) == {"pong": 1}
    untouched(running)
    # All of it made a few lines, not one for each.
    assert len([line for line in running.output.splitlines() if "not sent" in line]) <= 8, running.output
    raw.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_random_bytes_from_a_peer(service, broker, client, seed):
    running = service(SERVICE)
    generator = random.Random(seed)

    def word(longest):
        size = generator.choice([1, 2, 8, 40, longest])
        return bytes(byte for byte in generator.randbytes(generator.randint(1, size)) if byte not in b" \t\n\r") or b"x"

    def block():
        kind = generator.randrange(6)
        if kind == 0:
            return b""
        if kind == 1:
            return b"NATS/1.0\r\n" + generator.randbytes(generator.choice([3, 40, 2000])) + b"\r\n\r\n"
        if kind == 2:
            return generator.randbytes(generator.choice([1, 30, 300]))
        if kind == 3:
            lines = b"".join(word(300) + b": " + word(300) + b"\r\n" for _ in range(generator.choice([1, 50, 800])))
            return b"NATS/1.0\r\n" + lines + b"\r\n"
        if kind == 4:
            return b"NATS/1.0 " + word(20) + b"\r\n\r\n"
        return b"NATS/1.0\r\nX: " + b"y" * generator.choice([10, 100_000]) + b"\r\n\r\n"

    raw = RawConnection(broker).connect()
    for number in range(400):
        target = generator.choice([b"peer.any.", b"peer.named.", b"peer.ping", b"peer.headers", b"peer.fails", b"peer.raises"])
        subject = target + word(1500) if target.endswith(b".") else target
        publish(raw, subject, generator.randbytes(generator.choice([0, 5, 500])), word(1500) if number % 3 else b"", block())
        if number % 20 == 0:
            raw.ping()
            assert client.ask("peer.ping", number) == {"pong": number}
    raw.ping()
    assert client.ask("peer.ping", -1) == {"pong": -1}
    untouched(running)
    raw.close()


def test_a_reply_subject_that_cannot_be_written_to_is_told_once(service, broker, client):
    running = service(SERVICE)
    raw = RawConnection(broker).connect()
    for _ in range(300):
        publish(raw, b"peer.ping", reply=b"x.\x01")
        publish(raw, b"peer.fails", reply=b"x.*")
    raw.ping()
    assert client.ask("peer.ping", 1) == {"pong": 1}
    # The first is told at once, the others as a number when they have stopped.
    running.wait_for(r"\d+ more replies that were not sent")
    assert len([line for line in running.output.splitlines() if "not sent" in line]) == 2, running.output
    untouched(running)
    raw.close()


def test_subscribe_prints_them_safely(broker, client):
    program = Program([PROGRAM, "subscribe", "odd.>", "--count", "4", "--server", broker.url])
    program.wait_for("listening")
    raw = RawConnection(broker).connect()
    for name in (b"\x1b[2J", b"a\rb", b"\xff\xfe", b"\xc2\x9b1m"):
        publish(raw, b"odd." + name, b"payload", reply=b"r\x01")
    raw.ping()
    assert program.wait() == 0
    lines = [line for line in program.output.splitlines() if line.endswith(" payload")]
    assert len(lines) == 4, program.output
    assert lines[0] == "odd.\\x1b[2J payload" and lines[1] == "odd.a\\x0db payload", lines
    assert "\x1b" not in program.output and "\x9b" not in program.output and "\r" not in program.output
    raw.close()


# ---- lines as long as the broker takes


def test_long_subjects_are_refused_here(service, client):
    running = service(
        """
        app.listen("long.ping", function() return { ok = true } end)
        app.listen("long.try", function(msg)
            local long = ("a"):rep(msg.data.n)
            local codes = {}
            local function note(name, value, err)
                codes[name] = value == nil and (err and tostring(err.code) or "nil") or "sent"
            end
            note("publish", app.publish(long, "x"))
            note("headers", app.publish(long, "x", { headers = { A = "b" } }))
            note("sync", app.publish_sync(long, "x"))
            note("request", app.request(long, "x", { timeout = 5 }))
            note("reply_to", app.publish("long.nobody", "x", { reply_to = long }))
            note("listen", app.listen(long, function() end))
            note("queue", app.listen("long.queue", { queue = long }, function() end))
            return codes
        end)
        """
    )
    every = {"publish", "headers", "sync", "request", "reply_to", "listen", "queue"}
    for size in (4097, 5000, 60_000):
        assert client.ask("long.try", {"n": size}) == dict.fromkeys(every, "too_large"), size
    # What the broker takes is sent.
    fits = client.ask("long.try", {"n": 900})
    assert fits["publish"] == fits["headers"] == fits["sync"] == fits["reply_to"] == fits["listen"] == "sent", fits
    assert fits["queue"] == "too_large", fits
    edge = client.ask("long.try", {"n": 4093})
    assert edge["publish"] == edge["sync"] == "sent" and edge["headers"] == edge["request"] == "too_large", edge
    assert client.ask("long.ping") == {"ok": True}
    untouched(running)


def test_a_long_subject_at_load_time_is_an_error(check):
    result = check('app.listen(("a"):rep(5000), function() end)')
    assert result.returncode == 1 and "5000 bytes" in result.stderr, result


def test_long_reply_subjects_of_others(service, broker, client):
    """The longest reply subject that a broker passes on leaves no room for the numbers of an answer, or just some."""
    running = service(SERVICE)
    raw = RawConnection(broker).connect()
    for length in range(4060, 4081):
        reply = b"r" * length
        for target in (b"peer.ping", b"peer.fails", b"peer.raises", b"peer.responds"):
            publish(raw, target, b"{}", reply)
    raw.ping()
    assert client.ask("peer.ping", 1) == {"pong": 1}
    untouched(running)
    # An error whose headers have no room is told by its body.
    edge = b"e" * (4096 - len(b"pf ") - len(b" 0"))
    raw.send(b"SUB %s 1\r\n" % edge)
    for target, code in ((b"pf", b"418"), (b"pl", b"500")):
        publish(raw, target, b"", edge)
        line, headers, payload = raw.message()
        assert not headers and code in payload and edge.decode() in line, (headers, payload)
    assert client.ask("peer.ping", 2) == {"pong": 2}
    untouched(running)
    raw.close()


def test_a_broker_with_another_limit(start, secure_server):
    server = secure_server("max_control_line: 1024")
    running = start(
        server.url(),
        """
        app.listen("limit.try", function(msg)
            local sent, err = app.publish(("a"):rep(msg.data), "x")
            return { sent = sent, code = err and err.code }
        end)
        """,
        options="max_control_line = 1024",
    )
    client = Client(server.url())
    assert client.ask("limit.try", 1022 - 1) == {"sent": True}
    assert client.ask("limit.try", 1023) == {"code": "too_large"}
    untouched(running)
    client.close()


@pytest.mark.parametrize(
    "arguments",
    [
        ["publish", "a" * 5000, "x"],
        ["publish", "a", "x", "--reply", "r" * 5000],
        ["request", "a" * 5000, "x"],
        ["subscribe", "a" * 5000],
        ["subscribe", "a", "--queue", "q" * 5000],
    ],
    ids=lambda a: " ".join(word[:9] for word in a),
)
def test_long_subjects_on_the_command_line(broker, arguments):
    result = panini(*arguments, "--server", broker.url)
    assert result.returncode in (1, 2), result
    assert len(result.stderr.strip().splitlines()) == 1 and "4096" in result.stderr, result.stderr
    assert result.stdout == ""


# ---- a tool says done when it is done


DENIED = """
authorization { users: [ { user: me, password: pw, permissions: {
    publish: { deny: ["secret.>"] }, subscribe: { deny: ["secret.>"] } } } ] }
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["publish", "secret.x", "1"],
        ["request", "secret.x", "1", "--timeout", "20"],
        ["subscribe", "secret.x"],
        ["subscribe", "secret.x", "--count", "1", "--json"],
    ],
    ids=lambda a: " ".join(a[:2]),
)
def test_what_the_broker_denies_is_no_success(secure_server, arguments):
    server = secure_server(DENIED)
    began = time.monotonic()
    result = panini(*arguments, "--server", server.url("me:pw"))
    assert time.monotonic() - began < 15
    assert result.returncode == 1, result
    assert "published" not in result.stderr and "listening" not in result.stderr and result.stdout == ""
    assert re.search("(?i)permissions violation", result.stderr), result.stderr
    assert panini("publish", "open.x", "1", "--server", server.url("me:pw")).returncode == 0


def test_a_request_whose_answers_are_denied_says_so(secure_server):
    server = secure_server(DENIED.replace('subscribe: { deny: ["secret.>"] }', 'subscribe: { deny: ["_INBOX.>"] }'))
    result = panini("request", "open.x", "1", "--timeout", "20", "--server", server.url("me:pw"))
    assert result.returncode == 1 and result.stdout == ""
    assert "the answers of a request come to _INBOX.>" in result.stderr


# ---- a broker that complains without end


class Complainer:
    """A broker of its own that says what the test wants to every client."""

    def __init__(self):
        self.connections = []
        self.acceptor = Acceptor(self._talk)
        self.port = self.acceptor.port

    def _talk(self, connection):
        connection.settimeout(4 * PATIENCE)
        connection.sendall(b'INFO {"server_id":"x","proto":1,"headers":true,"max_payload":1048576}\r\n')
        for line in connection.makefile("rb"):
            if line.startswith(b"PING"):
                connection.sendall(b"PONG\r\n")
                if connection not in self.connections:
                    self.connections.append(connection)

    def close(self):
        self.acceptor.close()


@pytest.mark.parametrize(
    "text", [b"-ERR 'odd thing %d'\r\n", b"-ERR 'Permissions Violation for Publish to \"a%d\"'\r\n", b"-ERR 'Slow Consumer %d'\r\n"]
)
def test_a_flood_of_errors_is_a_line_and_a_number(start, text):
    server = Complainer()
    running = start(f"nats://127.0.0.1:{server.port}", 'app.listen("x", function() end)')
    wait_until(lambda: server.connections, "a connection")
    for _ in range(100):
        server.connections[0].sendall(b"".join(text % n for n in range(1000)))
    running.wait_for(r"\b\d+ more ")
    lines = running.output.splitlines()
    assert len(lines) < 30, f"{len(lines)} lines"
    wait_until(
        lambda: sum(int(n) for n in re.findall(r"(\d+) more ", running.output)) + running.output.count("ERR") >= 0
        and sum(int(n) for n in re.findall(r"(\d+) more ", running.output)) >= 100_000 - 20,
        "all of them are counted",
    )
    running.stop(expect=(0, 1))
    server.close()
