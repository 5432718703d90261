"""Bad input, large input, many at once, and a broker that goes away: the next message is always served."""

import asyncio
import json
import random
import threading

import pytest

from harness import Client, RawConnection, assert_error, wait_until
from serving import Acceptor

SERVICE = """
    app.listen("echo", function(msg) return { v = msg.data } end)
    app.listen("raw", { data_type = "bytes" }, function(msg) return msg.data end)
    app.listen("text", { data_type = "string" }, function(msg) return msg.data end)
    app.listen("headers", function(msg) return { size = msg.size, kind = type(msg.headers), x = msg.headers["X"] } end)
"""


def test_binary_garbage_never_affects_the_next_message(service, client):
    service(SERVICE)
    generator = random.Random(11)
    for size in (1, 2, 3, 10, 100, 1000, 100_000):
        data = generator.randbytes(size)
        client.publish("echo", data)
        client.publish("text", data)
        assert client.request("raw", data).payload == data
        assert client.ask("echo", size) == {"v": size}


def test_bad_headers_from_a_raw_socket(service, broker, client):
    service(SERVICE)
    blocks = [
        b"NATS/1.0\r\nX: ok\r\n\r\n",
        b"NATS/1.0\r\n\r\n",
        b"NATS/1.0\r\nno colon\r\n\r\n",
        b"NATS/1.0\r\n: no name\r\n\r\n",
        b"NATS/1.0\r\nX:\r\n\r\n",
        b"NATS/1.0\r\nX\x00Y: z\r\n\r\n",
        b"NATS/1.0\r\n\xff\xfe: \xff\r\n\r\n",
        b"NATS/1.0\r\nX: a\nY: b\r\n\r\n",
        b"NATS/1.0 abc\r\n\r\n",
        b"NATS/1.0 503\r\n\r\n",
        b"NATS/1.0 999 what\r\nX: y\r\n\r\n",
        b"NATS/2.0\r\nX: y\r\n\r\n",
        b"garbage\r\n\r\n",
        b"\r\n\r\n",
        b"NATS/1.0",
        b"NATS/1.0\r\nX: never ends",
    ]
    for block in blocks:
        raw = RawConnection(broker).connect()
        raw.send(b"HPUB headers back.1 %d %d\r\n%s{}\r\n" % (len(block), len(block) + 2, block))
        try:
            raw.ping()
        except (AssertionError, ConnectionError):
            pass  # a broker may refuse such a client
        raw.close()
        assert client.ask("echo", 1) == {"v": 1}
    raw = RawConnection(broker).connect()
    block = b"NATS/1.0\r\nX: ok\r\n\r\n"
    raw.send(b"SUB back 1\r\nHPUB headers back %d %d\r\n%s{}\r\n" % (len(block), len(block) + 2, block))
    assert b'"x":"ok"' in raw.message()[2]
    raw.close()


def test_error_headers_stay_one_line(service, client):
    """Whatever a script puts into an error must not break the header block."""
    service("""
        app.listen("multi", function(msg) return nil, { code = 404, message = "first\\r\\nInjected: yes\\r\\n\\r\\nbody" } end)
        app.listen("long", function(msg) return nil, ("x"):rep(100000) end)
        app.listen("binary", function(msg) error{ code = 400, message = "\\255\\254\\0" } end)
    """)
    reply = client.request("multi", b"{}")
    assert "Injected" not in reply.headers
    assert reply.headers["Nats-Service-Error-Code"] == "404"
    assert "Injected: yes" in reply.json["error"]
    assert client.request("long", b"{}").headers["Nats-Service-Error-Code"] == "500"
    assert client.request("binary", b"{}").headers["Nats-Service-Error-Code"] == "400"


def test_large_messages(service, client):
    service(SERVICE)
    data = random.Random(5).randbytes(1_000_000)
    assert client.request("raw", data).payload == data
    text = "ä" * 400_000
    assert client.request("echo", json.dumps(text, ensure_ascii=False).encode()).json == {"v": text}


def test_an_answer_that_is_too_large_is_an_error_reply(service, client):
    service("""
        app.listen("inflate", function(msg) return ("x"):rep(2 * 1024 * 1024) end)
        app.listen("inflate.table", function(msg) return { text = ("x"):rep(2 * 1024 * 1024) } end)
        app.listen("alive", function(msg) return { ok = true } end)
    """)
    assert_error(client.request("inflate", b"{}"), 500)
    assert_error(client.request("inflate.table", b"{}"), 500)
    assert client.ask("alive") == {"ok": True}


def test_a_burst_of_mixed_input(service, client):
    """Good, bad and failing requests in one burst: each good one is answered, in full."""
    service(SERVICE + 'app.listen("fail", function(msg) error("no") end)')

    async def run():
        generator = random.Random(3)
        good = []
        for n in range(3000):
            kind = generator.randrange(4)
            if kind == 0:
                await client.nc.publish("echo", generator.randbytes(20), reply="nowhere.cares")
            elif kind == 1:
                await client.nc.publish("fail", b"{}", reply="nowhere.cares")
            else:
                good.append(asyncio.ensure_future(client.nc.request("echo", b"%d" % n, timeout=60)))
        return [reply.data for reply in await asyncio.gather(*good)]

    answers = client.run(run())
    assert len(answers) > 1000
    assert all(answer.startswith(b'{"v":') for answer in answers)


def test_ten_thousand_handlers_wait_at_once(service, client):
    count = 10_000
    running = service(
        """
        local waiting, most = 0, 0
        app.listen("many", { concurrency = 20000 }, function(msg)
            waiting = waiting + 1
            most = math.max(most, waiting)
            local data = assert(app.request("many.gate", { n = msg.data.n }, { timeout = 300 }))
            waiting = waiting - 1
            return { n = data.n, most = most }
        end)
        app.listen("many.state", function(msg) return { waiting = waiting, most = most } end)
        """,
        options="handler_timeout = 300",
    )

    def resident():
        with open(f"/proc/{running.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096

    async def run():
        nc = client.nc
        held, answers, done = [], [], asyncio.Event()

        async def hold(message):
            held.append(message)
            if len(held) == count:
                done.set()

        async def collect(message):
            answers.append(message.data)
            if len(answers) == count:
                done.set()

        gate = await nc.subscribe("many.gate", cb=hold)
        inbox = await nc.subscribe("many.answers", cb=collect)
        for n in range(count):
            await nc.publish("many", b'{"n": %d}' % n, reply="many.answers")
        await asyncio.wait_for(done.wait(), 120)
        state = await nc.request("many.state", b"{}", timeout=60)
        done.clear()
        for message in held:
            await nc.publish(message.reply, message.data)
        await asyncio.wait_for(done.wait(), 120)
        await gate.unsubscribe()
        await inbox.unsubscribe()
        return state.data, answers

    state, answers = client.run(run(), timeout=300)
    assert b'"waiting":%d' % count in state
    assert len(set(answers)) == count
    # Again and again needs no more: a leak of these handlers would be 20 MiB and more each time, while a
    # collector that has not run yet keeps those of one time.
    first = resident()
    for _ in range(5):
        client.run(run(), timeout=300)
    assert resident() < first + 50 * 1024 * 1024
    assert client.ask("many.state")["waiting"] == 0


def test_a_broker_that_restarts(start, own_broker):
    running = start(
        own_broker.url,
        """
        app.listen("ping", function(msg) return { pong = msg.data } end)
        app.listen("dynamic", function(msg)
            app.listen("dynamic.more", function() return { more = true } end)
            return { ok = true }
        end)
        app.timer_task(0.05, function() app.publish("tick", {}) end)
        """,
        options="reconnecting_time_sleep = 0.1",
    )
    client = Client(own_broker.url)
    assert client.ask("ping", 1) == {"pong": 1}
    client.ask("dynamic")
    client.close()
    for round_number in range(2):
        own_broker.kill()
        own_broker.start()
        client = Client(own_broker.url)
        try:
            wait_until(lambda: _answers(client, "ping"), "the service is back")
            assert client.ask("ping", round_number) == {"pong": round_number}
            assert client.ask("dynamic.more") == {"more": True}
            client.subscribe("tick").take(2)
        finally:
            client.close()
    assert running.running
    running.stop()


def _answers(client, subject):
    try:
        return client.request(subject, b"1", timeout=2)
    except Exception:  # noqa: BLE001 - any failure means: not yet
        return None


def test_requests_fail_at_once_when_the_broker_goes(start, own_broker, tmp_path):
    running = start(
        own_broker.url,
        """
        app.listen("ask", function(msg)
            local started = panini.monotonic()
            local data, err = app.request("silent", {}, { timeout = 600 })
            app.logger.info("request ended: " .. tostring(err.code) .. " " ..
                tostring(panini.monotonic() - started < 60))
        end)
        """,
        options="reconnecting_time_sleep = 0.1, handler_timeout = 600",
    )
    client = Client(own_broker.url)
    silent = client.subscribe("silent")
    client.publish("ask", b"{}")
    silent.next()
    own_broker.kill()
    running.wait_for(r"request ended: disconnected true")
    client.close()
    own_broker.start()
    running.wait_for(r"(?i)reconnected|connected .*again")


def test_stopping_without_a_broker(start, own_broker):
    """A service whose broker is gone still stops, in time."""
    running = start(
        own_broker.url,
        'app.listen("x", function() end) app.on_stop(function() app.publish("bye", {}) end)',
        options="reconnecting_time_sleep = 0.1, shutdown_timeout = 2",
    )
    own_broker.kill()
    running.wait_for(r"(?i)disconnect|lost|reconnect")
    running.stop(expect=(0, 1))


def test_publishing_while_the_broker_is_away(start, own_broker):
    running = start(
        own_broker.url,
        """
        local n = 0
        app.timer_task(0.02, function()
            n = n + 1
            local ok, err = app.publish("count", { n = n })
            if not ok then app.logger.warning("not published: " .. tostring(err.code)) end
        end)
        """,
        options="reconnecting_time_sleep = 0.1",
    )
    own_broker.kill()
    running.wait_for(r"(?i)disconnect|lost|reconnect")
    own_broker.start()
    client = Client(own_broker.url)
    counts = [m.json["n"] for m in client.subscribe("count").take(3)]
    assert counts == sorted(counts)
    client.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"INFO {not json}\r\n",
        b"GARBAGE\r\n",
        b"INFO {}\r\nMSG\r\n",
        b"INFO {}\r\n-ERR 'no'\r\n",
        b"\x00\xff" * 1000,
        b"INFO " + b"x" * 2_000_000,
        b"",
    ],
    ids=["bad-info", "garbage", "bad-msg", "err", "binary", "endless-line", "nothing"],
)
def test_a_server_that_is_none(start, sent, tmp_path):
    """Whatever answers on the port, the service says so in a line and ends, when it must not retry."""
    over = threading.Event()

    def serve(connection):
        connection.sendall(sent)
        over.wait()

    server = Acceptor(serve)
    running = start(
        f"nats://127.0.0.1:{server.port}",
        'app.listen("x", function() end)',
        options="retry_on_start = false, connect_timeout = 1, reconnect = false",
        ready=False,
    )
    try:
        assert running.wait() == 1
        assert str(server.port) in running.output
        assert "Fatal error" not in running.output
    finally:
        over.set()
        server.close()


def test_garbage_sent_to_a_running_service(start, tmp_path):
    """A broker that turns mad in the middle: one line, a new connection, no crash."""
    connections = []

    def talk(connection):
        connections.append(connection)
        connection.sendall(b'INFO {"server_id":"x","version":"2.10.0","proto":1,"headers":true,"max_payload":1048576}\r\n')
        for line in connection.makefile("rb"):
            if line.startswith(b"PING"):
                connection.sendall(b"PONG\r\n")

    server = Acceptor(talk)
    running = start(
        f"nats://127.0.0.1:{server.port}",
        'app.listen("x", function() return { ok = true } end)',
        options="reconnecting_time_sleep = 0.05",
    )
    try:
        for number, garbage in enumerate(
            [
                b"MSG x 1 2\r\nabcdef\r\n",
                b"MSG x 1 99999999999999999999\r\n",
                b"MSG x notanumber 2\r\n{}\r\n",
                b"HMSG x 1 100 2\r\n{}\r\n",
                b"WHAT\r\n",
                b"\xff" * 100 + b"\r\n",
                b"M" * 3_000_000,
            ],
            1,
        ):
            wait_until(lambda: len(connections) >= number, "a (new) connection")
            wait_until(lambda: _send(connections[number - 1], garbage), "the connection takes it")
            wait_until(lambda: len(connections) > number, f"a new connection after {garbage[:20]!r}")
        assert running.running
        running.stop(expect=(0, 1))
    finally:
        server.close()


def _send(connection, data):
    # Only after the handshake: the first PONG has gone out when our side has something to read no more.
    try:
        connection.sendall(b"PING\r\n" + data)
    except OSError:
        pass
    return True


def test_a_second_service_of_the_same_name(start, broker, client):
    for n in range(2):
        start(broker.url, f'app.listen("who.{n}", function() return {{ n = {n} }} end)')
    assert client.ask("who.0") == {"n": 0}
    assert client.ask("who.1") == {"n": 1}


@pytest.mark.slow
def test_many_subscriptions(service, client):
    service("""
        for n = 1, 2000 do
            app.listen("sub." .. n, function(msg) return { n = n } end)
        end
    """)
    for n in (1, 777, 2000):
        assert client.ask(f"sub.{n}") == {"n": n}


@pytest.mark.slow
def test_subscription_churn(service, client):
    running = service("""
        app.listen("churn", function(msg)
            for n = 1, 500 do
                local handle = app.listen("churn." .. n, function() end)
                handle.unsubscribe()
            end
            return { ok = true }
        end)
    """)

    def resident():
        with open(f"/proc/{running.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096

    for _ in range(4):
        assert client.ask("churn") == {"ok": True}
    before = resident()
    for _ in range(20):
        assert client.ask("churn") == {"ok": True}
    assert resident() < before + 8 * 1024 * 1024
