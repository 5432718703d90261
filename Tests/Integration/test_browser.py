"""The pages of the examples in a real browser: headless Chromium."""

import contextlib
import json

import pytest

from browser import PROGRAM, Browser
from harness import ROOT
from test_http import Web
from test_websocket import quick, sockets  # noqa: F401  the fixtures

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    assert PROGRAM, "no Chromium is installed: scripts/test does that, or apt-get install chromium"
    instance = Browser(tmp_path_factory.mktemp("browser"))
    yield instance
    instance.close()


@pytest.fixture
def page(browser):
    """page(address) → a tab that shows it."""
    with contextlib.ExitStack() as stack:

        def open_page(address):
            tab = browser.open(address)
            stack.callback(tab.close)
            return tab

        yield open_page


@pytest.fixture
def example(start, nats_server):
    def run(name):
        return Web(start(nats_server.url, EXAMPLES / name, arguments=["--web-port", "0"]))

    return run


LINES = "JSON.stringify([...document.querySelectorAll('#messages li')].map(line => line.innerText))"


def test_chat(example, page):
    """Two windows at two instances of the service; typed, sent, read; what looks like HTML stays text."""
    one, two = example("http_chat.lua"), example("http_chat.lua")
    ada = page(f"http://127.0.0.1:{one.port}/?name=Ada")
    bob = page(f"http://127.0.0.1:{two.port}/?name=Bob")
    for tab in (ada, bob):
        tab.wait_for("document.getElementById('state')?.textContent === 'connected'", "the page connects")
        tab.wait_for("document.querySelectorAll('#messages li').length === 1", "the welcome")
    ada.evaluate("document.getElementById('text').focus()")
    ada.type("hello <img src=x onerror=alert(1)> grüße")
    for tab in (ada, bob):
        tab.wait_for("document.querySelectorAll('#messages li').length === 2", "what Ada said")
    bob.evaluate("document.getElementById('text').focus()")
    bob.type("hi")
    for tab in (ada, bob):
        tab.wait_for("document.querySelectorAll('#messages li').length === 3", "what Bob said")
        lines = json.loads(tab.evaluate(LINES))
        assert [line.replace("\n", "") for line in lines] == [
            "chatwelcome to lobby", "Adahello <img src=x onerror=alert(1)> grüße", "Bobhi",
        ]
        assert tab.evaluate("document.querySelectorAll('#messages img').length") == 0


def test_chat_when_the_service_stops(start, nats_server, page):
    running = start(nats_server.url, EXAMPLES / "http_chat.lua", arguments=["--web-port", "0"])
    tab = page(f"http://127.0.0.1:{Web(running).port}/")
    tab.wait_for("document.getElementById('state')?.textContent === 'connected'", "the page connects")
    tab.evaluate("socket.addEventListener('close', event => { window.ended ??= event.code + ' ' + event.wasClean; })")
    running.stop()
    tab.wait_for("window.ended === '1001 true'", "the page hears of it")


def test_bridge(example, page, nats_server):
    from harness import Client

    web = example("http_bridge.lua")
    tab = page(f"http://127.0.0.1:{web.port}/")
    tab.wait_for("document.getElementById('state')?.textContent === 'subscribed to prices.*'", "the page subscribes")
    tab.wait_for("/prices.tea/.test(document.getElementById('prices').innerText)", "the timer's price")
    with contextlib.closing(Client(nats_server.url)) as client:
        client.publish("prices.cup", b'{"price": 7.25}')
        client.flush()
        tab.wait_for("/prices.cup\\s+7.25/.test(document.getElementById('prices').innerText)", "a price from outside")


def test_a_page_of_another_server_cannot_connect(quick, page):
    script = 'app.http.websocket("/ws", function(ws) ws.send("in") end) app.http.get("/", function() return panini.response{ html = "<p>page" } end)'
    one, _ = quick(script)
    two, _ = quick(script)
    tab = page(f"http://127.0.0.1:{one.port}/")
    tab.wait_for("document.querySelector('p') !== null", "the page is there")
    attempt = "new Promise(done => { const s = new WebSocket('ws://127.0.0.1:%d/ws'); s.onmessage = e => done(e.data); s.onerror = () => done('refused'); })"
    assert tab.evaluate(attempt % one.port) == "in"
    assert tab.evaluate(attempt % two.port) == "refused"
