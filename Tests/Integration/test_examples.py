"""Every file under examples/ runs on both brokers and does what its comments say."""

import contextlib
import json
import re
import socket

import pytest

from harness import PATIENCE, ROOT, NoResponders, assert_error, panini, wait_until
from test_http import Web
from test_websocket import Sockets

EXAMPLES = ROOT / "examples"


@pytest.fixture
def example(start, broker):
    def run(name, *arguments):
        # Web servers take a free port.
        return start(broker.url, EXAMPLES / name, arguments=["--web-port", "0", *arguments])

    return run


def test_every_example_is_tested():
    names = {path.stem for path in EXAMPLES.glob("*.lua")}
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert names <= tested


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.lua")), ids=lambda p: p.stem)
def test_check_passes(path):
    result = panini("check", path, "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["listeners"] or report["routes"]


def test_hello(example, client, broker):
    example("hello.lua")
    assert client.ask("hello", {"name": "Ada"}) == {"message": "Hello, Ada!"}
    assert client.ask("hello") == {"message": "Hello, world!"}
    # As its comment says it.
    result = panini("request", "hello", '{"name": "Ada"}', "--server", broker.url)
    assert result.stdout.strip() == '{"message":"Hello, Ada!"}'


def test_streams(example, client):
    totals = client.subscribe("streams.total")
    example("streams.lua")
    seen = [m.json for m in totals.take(12)]
    assert [t["count"] for t in seen] == list(range(1, 13))
    assert {t["last"] for t in seen} == {"task", "timer"}
    assert seen[-1]["sum"] == 55 + 2


def test_request_response(example, client):
    example("request_response.lua")
    order = {"items": [{"sku": "tea", "count": 2}, {"sku": "cup", "count": 1}]}
    assert client.ask("orders.total", order) == {"total": 17.5}
    assert_error(client.request("orders.total", {"items": [{"sku": "gold", "count": 1}]}), 404, "no price for gold")


def test_reply_to_third(example, client):
    archived = client.subscribe("pipeline.archived")
    example("reply_to_third.lua")
    client.publish("pipeline.submit", {"text": "hello"})
    message = archived.next().json
    assert message["text"] == "HELLO" and message["archived"] is True and message["id"]


def test_data_types(example, client):
    example("data_types.lua")
    assert client.ask("types.json", {"numbers": [1, 2, 3]}) == {"count": 3, "sum": 6}
    assert client.request("types.string", "grüße").text == "5 characters: grüße"
    assert client.request("types.bytes", b"abc").json == {"size": 3, "base64": "YWJj"}
    sent = client.subscribe("types.sent")
    assert client.ask("types.send", {}) == {"sent": 7}
    assert [m.payload for m in sent.take(7)] == [b'{"a":1}', b"plain", b'"quoted"', b"42", b"null", b"[]", b""]


def test_sync_strategy(example, client):
    example("sync_strategy.lua")
    inboxes = client.collect("account.deposit", [b'{"amount": 1}'] * 8)
    assert sorted(inbox.next().json["balance"] for inbox in inboxes) == list(range(1, 9))


def test_dynamic_subscriptions(example, client):
    example("dynamic_subscriptions.lua")
    assert client.ask("rooms.open", {"room": "lobby"}) == {"opened": "lobby"}
    assert_error(client.request("rooms.open", {"room": "lobby"}), 409)
    for name in [">", "*", "a.b", "a b", "", "open", 5, None]:
        assert_error(client.request("rooms.open", {"room": name}), 400)
    assert client.ask("rooms.lobby", "hi") == {"room": "lobby", "count": 1}
    assert client.ask("rooms.close", {"room": "lobby"}) == {"closed": "lobby", "count": 1}

    def closed():
        try:
            client.request("rooms.lobby", b"1", timeout=5)
        except NoResponders:
            return True
        return False

    wait_until(closed, "the room no longer answers")
    assert_error(client.request("rooms.close", {"room": "lobby"}), 404)


def test_queue_group_balancing(example, client):
    example("queue_group_balancing.lua")
    example("queue_group_balancing.lua")
    answers = [inbox.next().json for inbox in client.collect("work.square", [b'{"n": 12}'] * 40)]
    assert {a["n"] for a in answers} == {144}
    assert len({a["by"] for a in answers}) == 2
    reports = client.subscribe("work.reports")
    client.publish("work.report", b"{}")
    found = [m.json for m in reports.take(2)]
    assert {r["by"] for r in found} == {a["by"] for a in answers}
    assert sum(r["done"] for r in found) == 40


def test_http_fetch(example):
    web = Web(example("http_fetch.lua"))
    assert web.get("/prices").json == {"prices": {"tea": 2.5, "cup": 4.5}, "missing": ["gold"]}
    assert web.get("/report").json == {"lines": 1000, "bytes": 12000}
    assert web.get("/unreachable").json == {"code": "connect"}


def test_logger(start, broker, client, tmp_path):
    logs = tmp_path / "my-logs"
    running = start(broker.url, EXAMPLES / "logger.lua", env={"PANINI_LOGGER_FILES_PATH": str(logs)})
    assert client.ask("payments.take", {"order": 17, "amount": 12.5}) == {"receipt": "17-12.5"}
    assert_error(client.request("payments.take", {"order": 18, "amount": 5000}), 402, "not charged")
    running.stop()

    def records(name):
        return [json.loads(line) for line in (logs / name).read_text().splitlines()]

    own = {r["message"]: r for r in records("payments.log")}
    assert own["charged"]["extra"] == {"order": 17, "amount": 12.5}
    assert "print is an information of the service, too" in own and "payment" not in own
    (failed,) = records("errors.log")
    assert failed["extra"]["order"] == 18 and "logger.lua" in failed["exc_info"]
    (audited,) = [r for r in records("app.log") if r["name"] == "audit"]
    assert audited["extra"]["receipt"] == "17-12.5"


def test_no_example_leaves_log_files(example):
    example("hello.lua").stop()
    assert not (EXAMPLES / "logs").exists()


def test_validator(example, client):
    example("validator.lua")
    good = {"customer": {"name": "Ada"}, "items": [{"sku": "tea-1", "count": 2}]}
    assert client.ask("shop.order", good) == {"accepted": True, "currency": "EUR", "count": 2}
    reply = client.request("shop.order", {"customer": {}, "items": [{"sku": "?", "count": 0}]})
    assert_error(reply, 422)
    assert {(v["path"], v["code"]) for v in reply.json["errors"]} == {
        ("customer.name", "required"),
        ("items[1].count", "min"),
        ("items[1].sku", "pattern"),
    }
    assert client.ask("shop.try", good) == {"accepted": True}
    assert client.ask("shop.try", {}) == {"accepted": False, "first": "customer", "count": 2}
    assert client.ask("shop.schema")["required"] == ["customer", "items"]


def test_middlewares(example, client):
    example("middlewares.lua")
    assert_error(client.request("shop.price", {"item": "tea"}), 401, "who is asking?")
    good = {"item": "tea", "user": "ada"}
    assert client.ask("shop.price", good) == {"item": "tea", "price": 3, "steps": ["count", "access"]}
    assert client.ask("shop.stock", good) == {"item": "tea", "left": 7}
    assert client.ask("shop.stock", good) == {"item": "tea", "left": 7, "cached": True}
    counts = client.ask("shop.counts")
    assert counts == {"shop.price": 2, "shop.stock": 2, "store.count": 1, "shop.counts": 1}


def test_http_hello(example, client):
    asked = client.subscribe("hello.asked")
    client.flush()
    web = Web(example("http_hello.lua"))
    assert web.get("/hello/ada").json == {"hello": "ada", "asked": 1}
    assert asked.next().json == {"name": "ada"}
    assert client.ask("hello.count") == {"asked": 1}


def test_http_rest(example):
    web = Web(example("http_rest.lua"))
    answer = web.post("/tasks", {"title": "buy tea"})
    task = {"done": False, "id": 1, "title": "buy tea"}
    assert answer.status == 201 and answer.json == task and answer.headers["location"] == "/tasks/1"
    assert web.get("/tasks?done=false").json == [task]
    assert web.get("/tasks?done=true").json == []
    assert web.post("/tasks", {"name": "x"}).json["code"] == 422
    assert web.ask("PATCH", "/tasks/1", '{"done": true}').json == {**task, "done": True}
    assert web.get("/tasks/1").json["done"] is True
    assert web.ask("DELETE", "/tasks/1").status == 204
    answer = web.get("/tasks/1")
    assert answer.status == 404 and answer.json["error"] == "there is no task 1"


def test_http_events(example, client):
    web = Web(example("http_events.lua"))
    with socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE) as browser:
        browser.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        seen = b""
        while b"watching" not in seen:
            seen += browser.recv(1000)
        client.publish("prices.tea", b'{"price": 3}')
        while b"tea" not in seen:
            seen += browser.recv(1000)
        assert b"event: price\ndata: " in seen


def test_http_events_with_workers(example, client):
    """Every viewer gets every price, whichever worker it is connected to."""
    web = Web(example("http_events.lua", "--workers", "2"))
    browsers = []
    try:
        for _ in range(16):
            browser = socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE)
            browsers.append(browser)
            browser.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        seen = [b""] * len(browsers)

        def read(what):
            for number, browser in enumerate(browsers):
                while what not in seen[number]:
                    part = browser.recv(1000)
                    assert part, "closed"
                    seen[number] += part

        read(b"watching")
        for price in range(10):
            client.publish("prices.tea", json.dumps({"price": price}).encode())
        client.publish("prices.tea", b'{"price": 999}')
        read(b"999")
        for text in seen:
            assert sorted(set(map(int, re.findall(rb'"price":(\d+)', text)))) == [*range(10), 999], text
            assert text.count(b"event: price") == 11
    finally:
        for browser in browsers:
            browser.close()


def test_http_chat_with_workers(example, client):
    room = Sockets(example("http_chat.lua", "--workers", "2"))
    with contextlib.ExitStack() as opened:
        people = [opened.enter_context(room.open(f"/rooms/lobby?name=p{number}")) for number in range(10)]
        for ws in people:
            assert "welcome" in json.loads(ws.recv(timeout=PATIENCE))["text"]
        for number, ws in enumerate(people):
            ws.send(f"from {number}")
        for ws in people:
            heard = [json.loads(ws.recv(timeout=PATIENCE)) for _ in people]
            assert sorted(m["text"] for m in heard) == sorted(f"from {number}" for number in range(len(people)))


def test_http_chat(example, client):
    """Two instances, one room; the page itself is tested in a browser: test_browser.py."""
    one, two = Sockets(example("http_chat.lua")), Sockets(example("http_chat.lua"))
    assert "new WebSocket" in one.get("/").text

    def said(ws):
        message = json.loads(ws.recv(timeout=PATIENCE))
        return message["name"], message["text"]

    with (
        one.open("/rooms/lobby?name=Ada") as ada, two.open("/rooms/lobby?name=Bob") as bob, one.open("/rooms/other?name=Eve") as eve,
    ):
        for ws, room in ((ada, "lobby"), (bob, "lobby"), (eve, "other")):
            assert said(ws) == ("chat", f"welcome to {room}")
        ada.send("hello")
        assert said(ada) == said(bob) == ("Ada", "hello")
        bob.send("hi <b>Ada</b>")
        assert said(ada) == said(bob) == ("Bob", "hi <b>Ada</b>")
        # As the comment in the example says it.
        client.publish("chat.lobby", b'{"name": "shell", "text": "hello"}')
        assert said(ada) == said(bob) == ("shell", "hello")
        eve.send("alone")
        assert said(eve) == ("Eve", "alone")
    with one.open("/rooms/lobby") as ws:
        said(ws)
        ws.send("again")
        assert said(ws) == ("somebody", "again")


def test_http_bridge(example, client):
    web = Sockets(example("http_bridge.lua"))
    assert "new WebSocket" in web.get("/").text
    with web.open("/prices") as ws:
        ws.send(json.dumps({"subjects": ["orders.>"]}))
        assert json.loads(ws.recv(timeout=PATIENCE)) == {"success": False, "message": "no permission for orders.>"}
        ws.send(json.dumps({"subjects": ["prices.cup"]}))
        assert json.loads(ws.recv(timeout=PATIENCE)) == {"success": True, "message": "subscribed to prices.cup"}
        client.publish("prices.cup", b'{"price": 3.5}')
        assert json.loads(ws.recv(timeout=PATIENCE)) == {"subject": "prices.cup", "data": {"price": 3.5}}
        # The service's own timer.
        ws.send(json.dumps({"subjects": ["prices.tea"]}))
        assert json.loads(ws.recv(timeout=PATIENCE))["success"] is True
        assert 3 <= json.loads(ws.recv(timeout=PATIENCE))["data"]["price"] <= 4


def test_errors(example, client):
    running = example("errors.lua")
    assert client.ask("accounts.get", {"id": 1}) == {"id": 1, "name": "Ada"}
    assert_error(client.request("accounts.get", {"id": 9}), 404, "no account 9")
    assert client.ask("accounts.pay", {"id": 1, "amount": 5}) == {"paid": 5, "left": 5}
    body = assert_error(client.request("accounts.pay", {"id": 1, "amount": 50}), 409, "not enough left")
    assert body["errors"] == [{"path": "amount", "code": "too_much", "message": "must be at most 5"}]
    assert client.ask("accounts.greet", {"id": 9}) == {"text": "Hello, stranger!"}
    assert client.ask("accounts.greet", {"id": 1}) == {"text": "Hello, Ada!"}
    assert_error(client.request("accounts.bug"), 500, "internal error")
    running.wait_for(r"errors.lua:\d+: attempt to index a nil value")


def test_headers(example, client):
    seen = client.subscribe("headers.seen")
    client.flush()
    example("headers.lua")
    assert client.ask("headers.client") == {"answer": "HELLO", "language": "en", "requests": 1, "all": ["a", "b"]}
    message = seen.next()
    assert message.text == "HELLO" and message.headers == {"Language": "en"}
    reply = client.request("headers.server", b"{}", headers={"Language": "de"})
    assert reply.json["answer"] == "HALLO" and reply.headers == {"Language": "de", "Request-Count": "2"}
