"""A broker that is slower than the service: who can wait does, what was accepted is answered, and memory keeps its bound."""

import asyncio
import json
import re
import time
import urllib.request

import pytest

from harness import PATIENCE, Broker, Client, free_port, wait_until
from slowlink import SlowLink

MIB = 1 << 20
# Eight times what may be unsent, per second.
RATE = 8 * MIB
LIMIT = 'unsent_bytes_limit = "1MB"'
# What a service may need beside what is unsent: the chunk in the socket, the read buffer, the garbage of a debug build.
SLACK = 16 * MIB


@pytest.fixture
def link(broker):
    instance = SlowLink(broker)
    yield instance
    instance.close()


def memory(program, field="VmRSS"):
    with open(f"/proc/{program.process.pid}/status", encoding="ascii") as status:
        return int(re.search(rf"{field}:\s+(\d+) kB", status.read()).group(1)) << 10


def numbers(inbox, count):
    """The numbers of `count` messages, as they came."""
    return [int(message.text.split(" ", 1)[0]) for message in inbox.take(count, 4 * PATIENCE)]


def test_a_loop_of_publishes_waits_for_the_broker_and_its_reply_arrives(start, link, client):
    program = start(
        link.url,
        """
        local filling = (" "):rep(4000)
        app.listen("run", function(msg)
            local failed = 0
            for n = 1, msg.data do
                if not app.publish("out", n .. filling) then failed = failed + 1 end
            end
            return { failed = failed }
        end)
        """,
        options=f"{LIMIT}, limits = {{ cpu = 60 }}, handler_timeout = 300",
    )
    inbox = client.subscribe("out")
    assert client.ask("run", 100) == {"failed": 0}
    before = memory(program)
    link.rate = RATE
    count = 6000
    assert client.ask("run", count, timeout=4 * PATIENCE) == {"failed": 0}
    assert numbers(inbox, 100 + count) == [*range(1, 101), *range(1, count + 1)]
    assert memory(program, "VmHWM") - before < MIB + SLACK
    # One line when it begins, one when it is over.
    assert program.output.count("more slowly than this service sends") == 1
    program.wait_for(r"the broker has caught up; \d+ publishes")
    assert "outbound buffer is full" not in program.output


def test_a_flood_of_small_messages_is_taken_in_full(start, nats_server):
    """The issue's own case, smaller: far more than the limit in one go, with nothing in between but the server."""
    client = Client(nats_server.url)
    program = start(
        nats_server.url,
        """
        app.listen("run", function(msg)
            local failed = 0
            for n = 1, msg.data do
                if not app.publish("flood", "0123456789abcdef") then failed = failed + 1 end
            end
            return { failed = failed }
        end)
        app.listen("counted", function() return true end)
        """,
        options=f'unsent_bytes_limit = "256KB", limits = {{ cpu = 60 }}, handler_timeout = 300',
    )
    seen = 0

    async def count(_):
        nonlocal seen
        seen += 1

    client.run(client.nc.subscribe("flood", cb=count, pending_msgs_limit=-1, pending_bytes_limit=-1))
    client.flush()
    assert client.ask("run", 200_000, timeout=4 * PATIENCE) == {"failed": 0}
    wait_until(lambda: seen == 200_000, "every message", 4 * PATIENCE)
    assert program.running
    client.close()


def test_others_go_on_while_one_waits(start, link, client):
    start(
        link.url,
        """
        local ticks = 0
        app.timer_task(0.01, function() ticks = ticks + 1 end)
        local big = ("x"):rep(100000)
        app.listen("run", function()
            local before = ticks
            for n = 1, 100 do assert(app.publish("out", big)) end
            return ticks - before
        end)
        """,
        options=LIMIT,
    )
    link.rate = RATE
    # 10 MB at 8 MB/s: more than a second, in which the timer has ticked.
    assert client.ask("run", 1) > 5


def test_messages_are_left_unread_while_their_replies_would_not_fit(start, link, client):
    """Every request is answered, none is refused, and the replies do not pile up."""
    program = start(
        link.url,
        """
        local big = ("x"):rep(100000)
        app.listen("big", function(msg) return msg.data .. big end)
        """,
        options=LIMIT,
    )
    assert len(client.request("big", "1").payload) == 100_001
    before = memory(program)
    link.rate = RATE
    reply_to = client.nc.new_inbox()
    inbox = client.subscribe(f"{reply_to}.*")
    for n in range(300):
        client.publish("big", str(n), reply=f"{reply_to}.{n}")
    client.flush()
    replies = inbox.take(300, 4 * PATIENCE)
    assert sorted(int(reply.subject.rsplit(".", 1)[1]) for reply in replies) == list(range(300))
    assert all("Nats-Service-Error" not in reply.headers for reply in replies)
    assert memory(program, "VmHWM") - before < MIB + SLACK


def test_a_relay_drops_nothing(start, link, client):
    """The broker's messages wait at the broker, not in a queue that overflows."""
    program = start(
        link.url,
        """
        local filling = (" "):rep(10000)
        app.listen("in", { concurrency = 4 }, function(msg) assert(app.publish("out", msg.raw .. filling)) end)
        """,
        options=f"{LIMIT}, pending_limit = 100",
    )
    inbox = client.subscribe("out")
    link.rate = RATE
    for n in range(2000):
        client.publish("in", str(n))
    client.flush()
    assert sorted(numbers(inbox, 2000)) == list(range(2000))
    assert "overloaded" not in program.output


def test_requests_wait_for_room_within_their_time(start, link, broker, client):
    start(
        link.url,
        """
        local big = ("x"):rep(100000)
        app.listen("ask", function(msg)
            local calls = {}
            for n = 1, msg.data do
                calls[n] = function() return app.request("other", { n = n, big = big }, { timeout = 60 }) end
            end
            local results, errors = app.wait_all(calls)
            local sum = 0
            for n = 1, msg.data do sum = sum + (results[n] or 0) end
            return { sum = sum, errors = errors ~= nil }
        end)
        app.listen("late", function()
            for n = 1, 30 do assert(app.publish("out", big)) end
            local began = panini.monotonic()
            local _, err = app.request("other", big, { timeout = 0.5 })
            return { code = err and err.code, took = panini.monotonic() - began }
        end)
        """,
        options=f"{LIMIT}, handler_timeout = 300",
    )
    other = Client(broker.url)
    other.responder("other", lambda message: str(message.json["n"]) if message.payload[:1] == b"{" else b"1")
    link.rate = RATE
    assert client.ask("ask", 100, timeout=4 * PATIENCE) == {"sum": 5050, "errors": False}
    # One that finds no room in its time has timed out, and nobody waits for it any more.
    link.rate = MIB // 4
    answer = client.request("late", timeout=4 * PATIENCE).json
    assert answer["code"] == "timeout"
    link.rate = None
    other.close()


def test_routes_and_streams_wait_too(start, link, client):
    port = free_port()
    start(
        link.url,
        """
        local filling = (" "):rep(10000)
        app.http.get("/stream", function()
            return panini.response{ stream = function(write)
                local failed = 0
                for n = 1, 1000 do
                    if not app.publish("out", n .. filling) then failed = failed + 1 end
                end
                write(tostring(failed))
            end }
        end)
        """,
        options=f'{LIMIT}, web_server = true, web_port = {port}',
    )
    inbox = client.subscribe("out")
    link.rate = RATE
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stream", timeout=4 * PATIENCE) as answer:
        assert answer.read() == b"0"
    assert numbers(inbox, 1000) == list(range(1, 1001))


def test_publish_sync_behind_a_middleware_waits(start, link, client):
    start(
        link.url,
        """
        app.add_middleware{ send_any = function(subject, message, call, opts) return call(subject, message, opts) end }
        local filling = (" "):rep(10000)
        app.listen("run", function()
            for n = 1, 600 do
                local ok, err = (n % 100 == 0 and app.publish_sync or app.publish)("out", n .. filling)
                if not ok then return err end
            end
            return { code = "none" }
        end)
        """,
        options=LIMIT,
    )
    inbox = client.subscribe("out")
    link.rate = RATE
    assert client.ask("run", 1)["code"] == "none"
    assert numbers(inbox, 600) == list(range(1, 601))


def test_a_table_is_sent_as_it_was_when_it_was_published(start, link, client):
    start(
        link.url,
        """
        local big = ("x"):rep(200000)
        local row = { big = big }
        app.listen("run", function()
            local calls = {}
            for n = 1, 40 do
                calls[n] = function()
                    row.n = n
                    return app.publish("out", row)
                end
            end
            local _, errors = app.wait_all(calls)
            return errors == nil
        end)
        """,
        options=LIMIT,
    )
    inbox = client.subscribe("out")
    link.rate = RATE
    assert client.ask("run", 1) is True
    assert [message.json["n"] for message in inbox.take(40)] == list(range(1, 41))


def test_where_lua_cannot_wait_a_full_buffer_is_an_error(start, link, client):
    start(
        link.url,
        """
        local big = ("x"):rep(100000)
        app.listen("run", function()
            local codes = {}
            ;(("a"):rep(100)):gsub(".", function()
                local ok, err = app.publish("out", big)
                codes[ok and "ok" or err.code] = (codes[ok and "ok" or err.code] or 0) + 1
            end)
            return codes
        end)
        """,
        options=LIMIT,
    )
    link.rate = 0
    # The reply is answered all the same.
    answer = client.run(_late(client, "run", lambda: setattr(link, "rate", None)), 4 * PATIENCE)
    codes = json.loads(answer.data)
    assert codes["ok"] + codes["disconnected"] == 100
    assert codes["disconnected"] > 20


async def _late(client, subject, then):
    """A request under way, then something, then its answer."""
    task = asyncio.ensure_future(client.nc.request(subject, b"1", timeout=2 * PATIENCE))
    await asyncio.sleep(1)
    then()
    return await task


def test_a_handler_that_waits_too_long_is_answered_504_and_sends_nothing_later(start, link, client):
    program = start(
        link.url,
        """
        local big = ("x"):rep(100000)
        app.listen("run", function()
            for n = 1, 1000 do assert(app.publish("out", n .. " " .. big)) end
        end)
        app.listen("count", function() return 1 end)
        """,
        options=f"{LIMIT}, handler_timeout = 0.5",
    )
    inbox = client.subscribe("out")
    link.rate = 0
    answer = client.run(_late(client, "run", lambda: setattr(link, "rate", None)), 4 * PATIENCE)
    assert answer.headers["Nats-Service-Error-Code"] == "504"
    assert client.ask("count") == 1
    client.flush()
    # What was accepted went out, in order, and nothing after it.
    seen = len(inbox)
    assert numbers(inbox, seen) == list(range(1, seen + 1))
    assert seen < 200
    assert program.running


def test_who_waits_when_the_connection_breaks_goes_on(start, link, client):
    program = start(
        link.url,
        """
        local big = ("x"):rep(100000)
        local done = {}
        app.listen("run", function()
            local codes = {}
            for n = 1, 200 do
                local ok, err = app.publish("out", n .. " " .. big)
                local code = ok and "ok" or err.code
                codes[code] = (codes[code] or 0) + 1
            end
            done = codes
        end)
        app.listen("done", function() return done end)
        """,
        options=f"{LIMIT}, reconnecting_time_sleep = 0.1",
    )
    link.rate = 0
    client.publish("run", "1")
    program.wait_for("more slowly than this service sends")
    link.rate = None
    link.cut()
    program.wait_for("connected to the broker again")

    def codes():
        return client.ask("done", timeout=PATIENCE)

    answer = wait_until(lambda: codes() or None, "the end of the handler")
    assert sum(answer.values()) == 200 and set(answer) <= {"ok", "disconnected"}
    assert answer["ok"] > 5


def test_a_stop_and_a_reload_end_what_waits(start, link, client):
    program = start(
        link.url,
        """
        local big = ("x"):rep(100000)
        app.listen("run", function()
            while true do assert(app.publish("out", big)) end
        end)
        """,
        options=f"{LIMIT}, drain_timeout = 0.5, shutdown_timeout = 0.5, handler_timeout = 300",
    )
    link.rate = 0
    client.publish("run", "1")
    program.wait_for("more slowly than this service sends")
    program.signal(1)
    program.wait_for("did not end within drain_timeout")
    client.publish("run", "1")
    client.flush()
    program.stop(expect=(0, 1))


@pytest.mark.parametrize("what", ["text", "raised", "reply"])
def test_an_error_reply_that_is_too_large_is_shortened(start, client, broker, what):
    limit = client.nc.max_payload
    program = start(
        broker.url,
        f"""
        local long = ("e"):rep({limit})
        app.listen("text", function() return nil, {{ code = 418, message = long .. long }} end)
        app.listen("raised", function() error{{ code = 418, message = ("\\"ä\\n"):rep({limit} // 3) }} end)
        app.listen("reply", function() return long .. long end)
        """,
        options="limits = { cpu = 30 }",
    )
    reply = client.request(what)
    body = reply.json
    assert len(reply.payload) <= limit and body["success"] is False
    if what == "reply":
        assert reply.headers["Nats-Service-Error-Code"] == "500"
        assert "larger than the broker's limit" in body["error"]
        return
    assert reply.headers["Nats-Service-Error-Code"] == "418" and body["code"] == 418
    assert len(reply.payload) > limit // 2
    assert body["error"].endswith("…")
    program.wait_for("shortened")


@pytest.mark.parametrize("limit", [300, 2000, 65536])
def test_error_replies_fit_into_a_small_max_payload(start, tmp_path, limit):
    small = Broker("nats-server", max_payload=limit).start(tmp_path)
    client = Client(small.url)
    try:
        start(
            small.url,
            """
            app.listen("list", function()
                local errors = {}
                for n = 1, 1500 do errors[n] = { path = "/" .. n, message = ('"no",[{\\n'):rep(8) } end
                return nil, { code = 418, message = "many", errors = errors }
            end)
            app.listen("both", function()
                return nil, { code = 418, message = ("text "):rep(20000), errors = { { path = "/", message = "one" } } }
            end)
            app.listen("bytes", function() error{ code = 418, message = ("\\1"):rep(100000) } end)
            """,
        )
        for subject in ("list", "both", "bytes"):
            reply = client.request(subject)
            size = len(reply.payload) + sum(len(name) + len(value) + 4 for name, value in reply.headers.items()) + 12
            assert size <= limit
            assert reply.headers["Nats-Service-Error-Code"] == "418"
            body = reply.json
            assert body["code"] == 418 and body["success"] is False
            if subject == "list":
                assert body["error"] == "many"
                found = [entry["path"] for entry in body.get("errors", [])]
                assert found == [f"/{n}" for n in range(1, len(found) + 1)]
                assert len(found) >= (limit - 300) // 250
    finally:
        client.close()
        small.kill()


def test_replies_that_no_connection_takes_are_counted_once_in_the_log(start, own_broker):
    program = start(
        own_broker.url,
        """
        local big = ("x"):rep(1000000)
        app.listen("big", function() app.sleep(1) return big end)
        """,
        options="reconnecting_time_sleep = 0.1",
    )
    client = Client(own_broker.url)
    for n in range(40):
        client.publish("big", str(n), reply="nobody.here")
    client.flush()
    client.close()
    own_broker.kill()
    # 8 of 40 find room until there is a connection again.
    program.wait_for("replies are lost: no connection")
    time.sleep(1)
    assert program.output.count("replies are lost: ") == 1
    assert "was not sent" not in program.output
    own_broker.start()
    program.wait_for(r"\d+ replies were lost so far")
