"""One wish to stop that is said twice, as `timeout` and some supervisors do."""

import os
import signal

import pytest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_and_its_echo_are_one_wish(service, client, gate, number):
    running = service('app.listen("slow", function() return { came = app.request("gate", {}) ~= nil } end)')
    replies = client.collect("slow", [b"{}"])
    held = gate.arrived()
    for _ in range(2):
        os.kill(running.process.pid, number)
    running.wait_for("once more to end at once")
    gate.open(held)
    assert running.wait() == 0, running.output
    assert replies[0].next().json == {"came": True}
