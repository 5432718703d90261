"""Services under faults: brokers that die, freeze and come back, and ends under full load. Run by scripts/test --faults."""

import asyncio
import os
import signal
import time

import nats.errors
import pytest

from harness import PATIENCE, Broker, Client, NoResponders, wait_until
from serving import Acceptor

WORK = """
    app.listen("work", { queue = "group" }, function(msg)
        app.sleep(0.005)
        return { n = msg.data.n }
    end)
"""
QUICK = "reconnecting_time_sleep = 0.05"


@pytest.fixture
def server():
    instance = Broker("nats-server").start()
    yield instance
    # A stopped process does not see SIGTERM.
    if instance.program.running:
        instance.program.signal(signal.SIGCONT)
    instance.kill()


def steady(url):
    """A client that comes back as often as needed."""
    return Client(url, allow_reconnect=True, max_reconnect_attempts=-1, reconnect_time_wait=0.05)


def works(client):
    """Whether the service answers; it may not be back yet."""
    try:
        return client.ask("work", {"n": 1}, timeout=2) == {"n": 1}
    except (NoResponders, nats.errors.Error):
        return False


def descriptors(program):
    return len(os.listdir(f"/proc/{program.process.pid}/fd"))


class Load:
    """Many requests at once until it is told to end; what became of each is counted."""

    def __init__(self, client, width=64):
        self.client = client
        self.answered = self.refused = self.stopping = 0
        self.failures = []
        self._going = True
        self._task = asyncio.run_coroutine_threadsafe(self._run(width), client._loop)

    async def _run(self, width):
        await asyncio.gather(*(self._ask(n) for n in range(width)))

    async def _ask(self, lane):
        n = lane
        while self._going and not self.failures:
            n += 1000
            try:
                reply = await self.client.nc.request("work", b'{"n": %d}' % n, timeout=PATIENCE)
            except nats.errors.NoRespondersError:
                self.refused += 1
                await asyncio.sleep(0.002)
                continue
            except Exception as error:
                self.failures.append(repr(error))
                return
            code = (reply.headers or {}).get("Nats-Service-Error-Code")
            if code == "503":
                self.stopping += 1
            elif code is None and reply.data == b'{"n":%d}' % n:
                self.answered += 1
            else:
                self.failures.append(f"{n}: {reply.data!r} {reply.headers}")

    def end(self):
        self._going = False
        self._task.result(4 * PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_answers_every_accepted_request(start, server, number):
    program = start(server.url, WORK)
    client = Client(server.url)
    load = Load(client)
    wait_until(lambda: load.answered > 3000 or load.failures, "load")
    program.stop(number)
    wait_until(lambda: load.refused > 100 or load.failures, "refusals after the end")
    load.end()
    assert not load.failures, load.failures[:5]
    client.close()


def test_one_of_two_stops_under_load_and_nobody_notices(start, server):
    leaving = start(server.url, WORK)
    start(server.url, WORK)
    client = Client(server.url)
    load = Load(client)
    wait_until(lambda: load.answered > 3000 or load.failures, "load")
    leaving.stop()
    before = load.answered
    wait_until(lambda: load.answered > before + 3000 or load.failures, "load on the other")
    load.end()
    assert not load.failures, load.failures[:5]
    # The one that stops may say so to what waited in its queue, but there is always somebody who listens.
    assert load.refused == 0
    client.close()


def test_a_service_survives_its_broker_again_and_again(start, server):
    program = start(
        server.url,
        """
        app.timer_task(0.02, function() app.publish("tick", {}) end)
        app.listen("work", function(msg) return { n = msg.data.n } end)
        app.listen("ask", function() return { ok = app.request("other", {}) ~= nil } end)
        """,
        options=QUICK,
    )
    client = steady(server.url)
    client.responder("other", lambda message: b"{}")
    ticks = client.subscribe("tick")
    wait_until(lambda: works(client), "the service")
    assert client.ask("ask", {}) == {"ok": True}
    before = descriptors(program)
    for _ in range(5):
        server.kill()
        time.sleep(0.2)
        server.start()
        wait_until(lambda: works(client), "the service to be back")
        seen = len(ticks)
        wait_until(lambda: len(ticks) > seen, "ticks")
        # Its own requests work again, too.
        assert client.ask("ask", {}) == {"ok": True}
    assert program.running
    wait_until(lambda: descriptors(program) <= before, "descriptors to be given back")
    lines = program.output.splitlines()
    assert sum("connected to the broker again" in line for line in lines) == 5, program.output
    # A few lines for each loss, not one for each attempt.
    assert len(lines) < 40, program.output
    client.close()


def test_what_is_published_without_a_broker_comes_in_order_afterwards(start, server):
    program = start(
        server.url,
        """
        local n = 0
        app.timer_task(0.01, function() n = n + 1 app.publish("numbers", { n = n }) end)
        app.listen("work", function(msg) return { n = msg.data.n } end)
        """,
        # Later than the client below, so that it misses nothing of what was kept.
        options="reconnecting_time_sleep = 2",
    )
    client = steady(server.url)
    numbers = client.subscribe("numbers")
    wait_until(lambda: len(numbers) > 20, "numbers")
    server.kill()
    program.wait_for("the connection to the broker is lost")
    known = [message.json["n"] for message in numbers.take(len(numbers))]
    server.start()
    wait_until(lambda: client.nc.is_connected, "the client")
    client.flush()
    wait_until(lambda: len(numbers) > 50, "numbers again")
    after = [message.json["n"] for message in numbers.take(len(numbers))]
    assert known == list(range(known[0], known[-1] + 1))
    # Whole and in order; what is missing was given to the dead connection.
    assert after == list(range(after[0], after[-1] + 1))
    assert 0 <= after[0] - known[-1] - 1 <= 10
    client.close()


def test_a_frozen_broker_is_left_and_found_again_twice(start, server):
    program = start(server.url, WORK, options=QUICK + ", ping_interval = 0.2, connect_timeout = 0.5")
    client = steady(server.url)
    for round in (1, 2):
        wait_until(lambda: works(client), "the service")
        server.program.signal(signal.SIGSTOP)
        wait_until(lambda: _losses(program) == round, "the loss")
        server.program.signal(signal.SIGCONT)
        wait_until(lambda: _returns(program) == round, "the return")
    wait_until(lambda: works(client), "the service")
    # Ten times two pings: nothing is left over that would break the connection again.
    time.sleep(4)
    assert works(client)
    assert (_losses(program), _returns(program)) == (2, 2), program.output
    client.close()


def _losses(program):
    return program.output.count("the connection to the broker is lost")


def _returns(program):
    return program.output.count("connected to the broker again")


def test_a_broker_that_drops_its_clients_is_not_hammered(start):
    made = []

    def drop(connection):
        made.append(time.monotonic())
        connection.sendall(b'INFO {"server_id":"x","version":"2.10.0","max_payload":1048576,"headers":true,"proto":1}\r\nPONG\r\n')

    broker = Acceptor(drop)
    running = start(f"nats://127.0.0.1:{broker.port}", "", options="reconnecting_time_sleep = 0", ready=False)
    wait_until(lambda: len(made) > 3, "it comes back")
    time.sleep(3)
    assert len(made) < 30
    assert running.output.count("the connection to the broker is lost") <= 8, running.output
    running.expected_exit = (0, 1)
    running.stop()
    broker.close()
