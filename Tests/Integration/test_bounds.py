"""Bounds of scripts: what an untrusted one may ask for."""

import re
import time
import urllib.error
import urllib.request

import pytest

from harness import PATIENCE, free_port, panini
from test_limits import failure

# ---- untrusted scripts

GREEDY = """
    limits = { cpu = 86400, memory = "1024GB", weak_keys = 1000000000, load = 86400 },
    pending_limit = 100000000, pending_bytes_limit = "1024GB", unsent_bytes_limit = "1024GB", shared_limit = "1024GB",
    shutdown_timeout = 86400, drain_timeout = 86400,
    web_max_body = "1024GB", web_max_header_bytes = 16777216, web_max_connections = 10000000, web_max_requests = 10000000,
    web_max_streams = 100000, fetch_max_connections = 100000,
"""


def names(options):
    return {f"limits.{name}" if name in ("cpu", "memory", "weak_keys", "load") else name for name in re.findall(r"(\w+) =", options)} - {"limits"}


def test_an_untrusted_script_does_not_raise_its_own_bounds(start, nats_server, asking):
    running = start(
        nats_server.url,
        """
        app.listen("spin", function() while true do end end)
        app.listen("grow", function() local t = {} while true do t[#t + 1] = ("x"):rep(1000000) .. #t end end)
        app.listen("shared", function() return select(2, app.shared.set("k", ("x"):rep(65 * 2 ^ 20))).code end)
        """,
        options=GREEDY.strip(),
        arguments=["--untrusted", "--allow-listen", ">"],
    )
    assert failure(asking, "spin")["code"] == 504
    assert failure(asking, "grow")["code"] == 500
    assert asking.request("shared", b"{}", timeout=PATIENCE).text == "full"
    for option in names(GREEDY):
        running.wait_for(rf"test.lua:1: panini.app: option \"{re.escape(option)}\" is \S+, not \S+: an untrusted script")
    # It would be a day.
    running.stop()


def test_what_is_given_outside_may_be_more(start, nats_server, asking):
    running = start(
        nats_server.url,
        'app.listen("spin", function() local till = os.clock() + 1.5 while os.clock() < till do end return "done" end)',
        options="limits = { cpu = 86400 }",
        arguments=["--untrusted", "--allow-listen", ">", "--limits-cpu", "30"],
    )
    assert asking.request("spin", b"{}", timeout=4 * PATIENCE).text == "done"
    assert "own bounds" not in running.output


def test_an_untrusted_script_may_lower_its_bounds(start, nats_server, asking):
    running = start(
        nats_server.url,
        'app.listen("spin", function() while true do end end)',
        options="limits = { cpu = 0.1 }",
        arguments=["--untrusted", "--allow-listen", ">"],
    )
    begin = time.monotonic()
    assert failure(asking, "spin")["code"] == 504
    assert time.monotonic() - begin < PATIENCE
    running.wait_for(r"more than 0.1 s of CPU time")
    assert "own bounds" not in running.output


def test_ordinary_scripts_choose_their_bounds(check):
    result = check('assert(true)', options=GREEDY.strip())
    assert result.returncode == 0 and "own bounds" not in result.stderr, result.stderr


def test_a_file_of_an_untrusted_script_has_the_usual_time(tmp_path):
    (tmp_path / "evil.lua").write_text(
        'panini.app{ service_name = "evil", limits = { load = 86400, cpu = 86400 } }\nwhile true do end\n'
    )
    result = panini("check", tmp_path / "evil.lua", "--untrusted", timeout=60)
    assert result.returncode == 1 and "evil.lua:2: more than 5 s of CPU time" in result.stderr


def test_options_of_an_untrusted_scripts_routes_are_bounded(start, nats_server):
    port = free_port()
    running = start(
        nats_server.url,
        """
        app.http.post("/body", { max_body = "1GB" }, function(req) return #req.body end)
        app.http.websocket("/ws", { max_message = "1GB", max_unsent = "1GB" }, function(ws) ws.receive() end)
        app.http.nats_bridge("/bridge", { allow = { "x" }, max_subscriptions = 100000 })
        """,
        options=f"web_server = true, web_port = {port}",
        arguments=["--untrusted", "--allow-listen", ">"],
    )
    for option in ("max_body", "max_message", "max_unsent", "max_subscriptions"):
        running.wait_for(rf"test.lua:\d: app.http.\w+: {option} is \d+, not \d+: an untrusted script")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/body", b"x" * (1 << 20) + b"x", timeout=60)
    assert raised.value.code == 413
