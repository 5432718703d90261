"""The web server from outside: routes, requests, responses, streams, limits and the end."""

import hashlib
import http.client
import json
import re
import socket
import ssl
import subprocess
import threading
import time

import pytest

from harness import PATIENCE, assert_error, free_port, panini, wait_until
from secure import Certificates
from test_http_malformed import exchange, statuses
from test_mistakes import refused

WEB = "web_server = true, web_port = 0"


class Web:
    """A connection to the web server of a service."""

    def __init__(self, service):
        line = service.wait_for(r"web server on http://127\.0\.0\.1:(\d+)")
        self.port = int(re.search(r"web server on http://127\.0\.0\.1:(\d+)", service.output).group(1))
        assert line is None or line

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, headers=None):
        return self.ask("GET", path, headers=headers)

    def post(self, path, body, headers=None):
        return self.ask("POST", path, body if isinstance(body, (bytes, str)) else json.dumps(body), headers)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode()

    def __repr__(self):
        return f"<{self.status} {dict(self.headers)} {self.body!r}>"


@pytest.fixture
def web(service):
    """web(script, options) → a service with a web server, and a connection to it."""

    def start_web(script, options=""):
        running = service(script, options=f"{WEB}, {options}" if options else WEB)
        return Web(running), running

    return start_web


def assert_failure(answer, code, text=None):
    assert answer.status == code, answer
    assert answer.headers["content-type"] == "application/json"
    body = answer.json
    assert body["success"] is False and body["code"] == code and body["error"]
    if text:
        assert text in body["error"], body
    return body


def test_values_become_responses(web):
    client, _ = web("""
        app.http.get("/text", function() return "hällo" end)
        app.http.get("/table", function() return { a = 1 } end)
        app.http.get("/list", function() return panini.array{} end)
        app.http.get("/number", function() return 4.5 end)
        app.http.get("/true", function() return true end)
        app.http.get("/null", function() return panini.null end)
        app.http.get("/nil", function() return nil end)
        app.http.get("/nothing", function() end)
        app.http.get("/bad", function() return { f = print } end)
        app.http.get("/changed", function() local r = panini.response{ text = "x" } r.headers = { ["a b"] = "c" } return r end)
    """)
    answer = client.get("/text")
    assert answer.text == "hällo" and answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.headers["date"])
    answer = client.get("/table")
    assert answer.json == {"a": 1} and answer.headers["content-type"] == "application/json"
    assert client.get("/list").json == []
    assert client.get("/number").json == 4.5
    assert client.get("/true").json is True
    assert client.get("/null").body == b"null"
    for path in ("/nil", "/nothing"):
        answer = client.get(path)
        assert answer.status == 204 and answer.body == b"" and "content-length" not in answer.headers
    assert_failure(client.get("/bad"), 500, "internal error")
    assert_failure(client.get("/changed"), 500, "internal error")


def test_responses(web):
    client, _ = web("""
        app.http.get("/all", function() return panini.response{
            status = 201, headers = { Location = "/x", ["Set-Cookie"] = { "a=1", "b=2" }, Count = 5 }, json = { ok = true } } end)
        app.http.get("/html", function() return panini.response{ html = "<p>" } end)
        app.http.get("/body", function() return panini.response{ body = "\\0\\255" } end)
        app.http.get("/own", function() return panini.response{ text = "x", headers = { ["content-type"] = "text/csv" } } end)
        app.http.get("/empty", function() return panini.response{ status = 304 } end)
        app.http.get("/none", function() return panini.response{} end)
    """)
    answer = client.get("/all")
    assert answer.status == 201 and answer.json == {"ok": True}
    assert answer.headers["location"] == "/x" and answer.headers["count"] == "5"
    assert answer.headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert client.get("/html").headers["content-type"] == "text/html; charset=utf-8"
    answer = client.get("/body")
    assert answer.body == b"\0\xff" and answer.headers["content-type"] == "application/octet-stream"
    assert client.get("/own").headers.get_all("content-type") == ["text/csv"]
    assert client.get("/empty").status == 304
    answer = client.get("/none")
    assert answer.status == 200 and answer.body == b"" and answer.headers["content-length"] == "0"


def test_requests(web):
    client, _ = web("""
        app.http.route("*", "/all/{id}/{rest...}", function(req)
            req.context.seen = true
            return {
                method = req.method, path = req.path, id = req.params.id, rest = req.params.rest, query = req.query,
                query_all = req.query_all, first = req.headers["X-A"], lower = req.headers["x-a"], list = req.headers:all("x-A"),
                missing = req.headers.nope == nil and #req.headers:all("nope") == 0, body = req.body, cookies = req.cookies,
                address = req.remote_address, seen = req.context.seen, again = rawequal(req.query, req.query),
            }
        end)
        app.http.post("/form", function(req) return req:form() end)
        app.http.post("/json", function(req) return { value = req.json(), same = rawequal(req.json(), req.json()) } end)
        app.http.get("/wrong", function(req) req.body = "x" end)
    """)
    answer = client.ask(
        "POST", "/all/a%2Fb/c/d%20e?x=1&x=2&y=%C3%A4+b&z&=v&%zz=%4", "bytes", {"X-A": "1", "Cookie": 'a=1; b="2"; c'}
    ).json
    assert answer == {
        "method": "POST", "path": "/all/a%2Fb/c/d%20e", "id": "a/b", "rest": "c/d e", "query": {"x": "1", "y": "ä b", "z": "", "": "v", "%zz": "%4"},
        "query_all": {"x": ["1", "2"], "y": ["ä b"], "z": [""], "": ["v"], "%zz": ["%4"]}, "first": "1", "lower": "1", "list": ["1"],
        "missing": True, "body": "bytes", "cookies": {"a": "1", "b": "2"}, "address": "127.0.0.1", "seen": True, "again": True,
    }
    assert client.ask("PURGE", "/all/1/x").status == 400 or client.ask("PURGE", "/all/1/x").json["method"] == "PURGE"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/form", "a=1+2&b=%41&a=3", form).json == {"a": "1 2", "b": "A"}
    assert_failure(client.post("/form", "{}", {"Content-Type": "application/json"}), 415)
    assert client.post("/json", {"n": [1]}).json == {"value": {"n": [1]}, "same": True}
    assert_failure(client.post("/json", "{x"), 400, "the body is not valid JSON")
    assert client.post("/json", "").json == {"same": True}
    assert_failure(client.get("/wrong"), 500)


def test_routing(web):
    client, _ = web("""
        local function name(text) return function(req) return text .. (req.params.id or "") .. (req.params.path or "") end end
        app.http.get("/", name("root"))
        app.http.get("/users/me", name("me"))
        app.http.get("/users/{id}", name("user "))
        app.http.get("/users/{id}/posts", name("posts "))
        app.http.get("/users/{path...}", name("rest "))
        app.http.delete("/users/{id}", name("gone "))
        app.http.get("/a b".. "", name("never")) 
    """.replace('        app.http.get("/a b".. "", name("never")) \n', ""))
    for path, text in [
        ("/", "root"), ("/users/me", "me"), ("/users/m%65", "me"), ("/users/7", "user 7"), ("/users/me/posts", "posts me"),
        ("/users/7/posts", "posts 7"), ("/users/7/other/x", "rest 7/other/x"), ("/users/", "rest "), ("/users/7/", "rest 7/"),
    ]:
        assert client.get(path).text == text, path
    assert_failure(client.get("/users"), 404)
    assert_failure(client.get("/other"), 404)
    answer = client.ask("PUT", "/users/7")
    assert_failure(answer, 405)
    assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"
    answer = client.ask("OPTIONS", "/users/7")
    assert answer.status == 204 and answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"
    answer = client.ask("HEAD", "/users/7")
    assert answer.status == 200 and answer.headers["content-length"] == "6" and answer.body == b""
    assert client.ask("DELETE", "/users/7").text == "gone 7"


def test_views_and_verbs(web):
    client, _ = web("""
        app.http.view("/view", { get = function(req) return "got" end, post = function(req) return req.body end })
        for _, verb in ipairs{ "put", "patch", "options", "head" } do
            app.http[verb]("/verbs", function(req) return panini.response{ text = req.method, headers = { verb = verb } } end)
        end
    """)
    assert client.get("/view").text == "got"
    assert client.post("/view", "posted").text == "posted"
    answer = client.ask("DELETE", "/view")
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    for verb in ("PUT", "PATCH", "OPTIONS"):
        assert client.ask(verb, "/verbs").text == verb
    assert client.ask("HEAD", "/verbs").headers["verb"] == "head"


def test_errors(web):
    client, running = web("""
        app.http.get("/error", function() error("broken") end)
        app.http.get("/code", function() error{ code = 409, message = "conflict", errors = { { path = "a", code = "b", message = "c" } } } end)
        app.http.get("/returned", function() return nil, { code = 404, message = "no such thing" } end)
        app.http.get("/text", function() return nil, "just text" end)
        app.http.get("/nobody", function() return app.request("nobody.there", {}) end)
        app.http.get("/slow", { timeout = 0.1 }, function() app.sleep(10) end)
        app.http.get("/beyond", function() error{ code = 77, message = "odd" } end)
    """)
    assert_failure(client.get("/error"), 500, "internal error")
    running.wait_for(r"GET /error .*test.lua:2.* failed: .*broken")
    body = assert_failure(client.get("/code"), 409, "conflict")
    assert body["errors"] == [{"path": "a", "code": "b", "message": "c"}]
    assert_failure(client.get("/returned"), 404, "no such thing")
    assert_failure(client.get("/text"), 500, "just text")
    assert_failure(client.get("/nobody"), 503)
    begun = time.monotonic()
    assert_failure(client.get("/slow"), 504)
    assert time.monotonic() - begun < PATIENCE / 3
    assert_failure(client.get("/beyond"), 500, "odd")


def test_http_and_nats_share_one_state(web, client):
    browser, _ = web("""
        local count = 0
        app.http.post("/count", function(req)
            count = count + (req.json() or { n = 1 }).n
            app.publish("counted", { count = count })
            return app.request("count", {})
        end)
        app.listen("count", function() app.sleep(0.01) return { count = count } end)
    """)
    inbox = client.subscribe("counted")
    client.flush()
    assert browser.post("/count", {"n": 5}).json == {"count": 5}
    assert inbox.next().json == {"count": 5}
    assert client.ask("count") == {"count": 5}


def test_middlewares_and_validators(web):
    client, running = web("""
        app.add_middleware(panini.middleware.debug{ level = "info" })
        app.add_middleware{ http_request = function(req, callback)
            if req.headers["X-Stop"] then return panini.response{ status = 403, text = "stopped" } end
            app.sleep(0.001)
            req.context.user = "ada"
            local ok, value, err = pcall(callback, req)
            if not ok then return { caught = value.code or "error" } end
            return value, err
        end }
        local own = { http_request = function(req, callback) return { inner = callback(req) } end }
        app.http.get("/user", { middlewares = { own } }, function(req) return req.context.user end)
        app.http.get("/fails", function(req) error("x") end)
        local v = panini.validator{ n = { type = "integer" }, d = { type = "integer", default = 7 } }
        app.http.post("/valid", { validator = v }, function(req) return req.json() end)
        app.http.post("/own", { validator = v, on_invalid = function(req, list) return { path = list[1].path, method = req.method } end }, function(req) return 1 end)
    """)
    assert client.get("/user").json == {"inner": "ada"}
    assert client.get("/user", {"X-Stop": "1"}).status == 403
    assert client.get("/fails").json == {"caught": "error"}
    assert client.post("/valid", {"n": 1}).json == {"n": 1, "d": 7}
    body = assert_failure(client.post("/valid", {"n": "x"}), 422)
    assert body["errors"][0]["path"] == "n"
    assert client.post("/valid", "{").json == {"caught": 400}
    assert client.post("/own", {}).json == {"path": "n", "method": "POST"}
    running.output


def test_streams(web):
    client, running = web("""
        app.http.get("/lines", function() return panini.response{ headers = { ["content-type"] = "text/plain" }, stream = function(write)
            for i = 1, 5 do assert(write("line " .. i .. "\\n")) app.sleep(0.005) end
        end } end)
        app.http.get("/broken", function() return panini.response{ stream = function(write) write("begun") error("midway") end } end)
        app.http.get("/refused", function() return panini.response{ stream = function(write) write("begun") return nil, "no more" end } end)
        local written, ended = 0, "running"
        app.http.get("/big", function() return panini.response{ stream = function(write)
            local block = string.rep("x", 65536)
            for i = 1, 2000 do
                local ok, err = write(block)
                if not ok then ended = err.code return end
                written = written + #block
            end
            ended = "done"
        end } end)
        app.http.get("/state", function() return { written = written, ended = ended } end)
        app.http.get("/events", function() return panini.response{ events = function(send)
            send("two\\nlines")
            send{ event = "tick", id = 7, data = { n = 1 } }
            local ok, text = pcall(send, { event = "a\\nb" })
            send{ data = ok and "wrong" or "refused" }
            -- Lines end as clients take them, and nowhere else.
            send("a\\u{2028}b\\u{85}c\\vd\\r\\ne\\rf\\n")
        end } end)
    """)
    answer = client.get("/lines")
    assert answer.text == "".join(f"line {i}\n" for i in range(1, 6)) and answer.headers["transfer-encoding"] == "chunked"
    for path, text in (("/broken", "midway"), ("/refused", "no more")):
        with pytest.raises(http.client.IncompleteRead):
            client.get(path)
        running.wait_for(f"the stream of GET {path} .*{text}")
    # HTTP/1.0 knows no chunks: the end of the connection is the end of the body.
    answer = exchange(client.port, b"GET /lines HTTP/1.0\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n" + b"".join(b"line %d\n" % i for i in range(1, 6)))
    assert client.ask("HEAD", "/lines").body == b""
    # A client that does not read holds the writer up, and one that goes away ends it.
    with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) as slow:
        slow.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: client.get("/state").json["written"] > 0, "the stream has begun")
        time.sleep(0.3)
        state = client.get("/state").json
        assert state["ended"] == "running" and state["written"] < 64 << 20
    wait_until(lambda: client.get("/state").json["ended"] == "closed", "the writer hears of it")
    assert len(client.get("/big").body) == 2000 * 65536
    answer = client.get("/events")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.text == (
        'data: two\ndata: lines\n\nevent: tick\nid: 7\ndata: {"n":1}\n\ndata: refused\n\n'
        "data: a\u2028b\x85c\vd\ndata: e\ndata: f\ndata: \n\n"
    )


def test_many_at_once_are_all_answered_once_and_those_who_leave_cost_nothing(web):
    client, _ = web("""
        app.http.get("/number/{n}", function(req)
            -- Long enough for the next to be there before it is over.
            local until_ = os.clock() + 0.0005
            while os.clock() < until_ do end
            return req.params.n
        end)
    """)
    sockets = [socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) for _ in range(200)]
    for round_ in range(3):
        for number, raw in enumerate(sockets):
            raw.sendall(b"GET /number/%d HTTP/1.1\r\nHost: x\r\n\r\n" % (round_ * 1000 + number))
        leaving, sockets = sockets[1::4], [raw for index, raw in enumerate(sockets) if index % 4 != 1]
        numbers = [number for number in range(len(sockets) + len(leaving)) if number % 4 != 1]
        for raw in leaving:
            raw.close()
        for number, raw in zip(numbers, sockets):
            text = str(round_ * 1000 + number).encode()
            answer = b""
            while not answer.endswith(b"\r\n\r\n" + text):
                piece = raw.recv(65536)
                assert piece, answer
                answer += piece
            assert statuses(answer) == [200]
    for raw in sockets:
        raw.close()


def test_keep_alive_and_continue(web):
    client, _ = web("""
        app.http.get("/hello", function(req) return "hello" end)
        app.http.post("/echo", { max_body = 100 }, function(req) return req.body end)
        app.http.get("/slow", function(req) app.sleep(0.05) return "slow" end)
    """)
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=PATIENCE)
    for _ in range(3):
        connection.request("GET", "/hello")
        assert connection.getresponse().read() == b"hello"
        connection.request("POST", "/echo", "x" * 100)
        assert len(connection.getresponse().read()) == 100
        connection.request("GET", "/nothing")
        assert connection.getresponse().read()
    local = connection.sock.getsockname()
    connection.request("GET", "/hello")
    connection.getresponse().read()
    assert connection.sock.getsockname() == local
    connection.close()
    answer = exchange(client.port, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" * 3 + b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    assert statuses(answer) == [200] * 4 and answer.endswith(b"hello")
    assert len(re.findall(rb"slow", answer)) == 3
    post = b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) as raw:
        raw.sendall(post % 2)
        assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"hi")
        assert raw.recv(1000).endswith(b"hi")
    # A body that is too large is refused before it is sent.
    assert statuses(exchange(client.port, post % 101, end=False)) == [413]
    answer = exchange(client.port, b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
    assert statuses(answer) == [200, 200] and b"connection: keep-alive" in answer


def test_a_long_pipeline_behind_a_slow_request(web):
    """More than the socket is read for while a request waits: every one is answered, in its turn, with its own body."""
    client, _ = web("""
        app.http.post("/{n}", function(req) if req.params.n == "0" then app.sleep(0.3) end return req.params.n .. req.body end)
    """)
    count, body = 2000, b"x" * 500
    requests = b"".join(b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n" % n + body for n in range(count))
    with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) as raw:
        sender = threading.Thread(target=raw.sendall, args=(requests,))
        sender.start()
        answers = b""
        while answers.count(b"HTTP/1.1 200 OK") < count or not answers.endswith(b"%d" % (count - 1) + body):
            part = raw.recv(65536)
            assert part, answers[-300:]
            answers += part
        sender.join()
    assert re.findall(rb"\r\n\r\n(\d+)x{500}", answers) == [b"%d" % n for n in range(count)]


def test_a_long_pipeline_ends_with_the_clients_end(web):
    client, _ = web("""app.http.get("/{n}", function(req) app.sleep(0.001) return req.params.n end)""")
    requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(50))
    assert statuses(exchange(client.port, requests)) == [200] * 50
    # The last one is cut off.
    assert statuses(exchange(client.port, requests[:-2])) == [200] * 49 + [400]


def test_headers_are_bytes(web):
    """As they were sent, without the white space around them; what is no UTF-8 is not repaired."""
    client, _ = web("""
        app.http.get("/", function(req)
            return { #req.headers["x-latin"], req.headers["x-latin"]:byte(2), req.headers["x-space"], req.headers["x-empty"] }
        end)
    """)
    head = b"GET / HTTP/1.1\r\nHost: x\r\nX-Latin: a\xe9\r\nX-Space: \t b c \t \r\nX-Empty:  \r\n\r\n"
    answer = exchange(client.port, head)
    assert json.loads(answer.split(b"\r\n\r\n")[1]) == [2, 0xE9, "b c", ""]


def test_large_answers_are_whole_however_slow_the_client(start, nats_server):
    client = Web(start(
        nats_server.url,
        """
        local text = string.rep("0123456789abcdef", 400000)
        app.http.get("/large", function(req) return text end)
        """,
        options=f"{WEB}, web_idle_timeout = 2, web_header_timeout = 2",
    ))
    size = 16 * 400000
    for head in (b"Connection: close\r\n", b""):
        with socket.socket() as raw:
            # A small window, so that the server's buffers are what is filled.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            raw.settimeout(PATIENCE)
            raw.connect(("127.0.0.1", client.port))
            raw.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
            data = b""
            begun = time.monotonic()
            while len(data) < size:
                part = raw.recv(262144)
                if not part:
                    break
                data += part
                # Longer than the limits, and steadily: the system tells of room only in large steps.
                if time.monotonic() - begun < 3:
                    time.sleep(0.03)
            assert data.endswith(b"0123456789abcdef") and size < len(data) < size + 500
    # One that does not read at all is not kept for ever.
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        raw.settimeout(PATIENCE)
        raw.connect(("127.0.0.1", client.port))
        raw.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(5)
        received = 0
        try:
            while part := raw.recv(262144):
                received += len(part)
        except ConnectionResetError:
            pass
        assert received < size


def test_a_stop_does_not_wait_for_clients_that_do_not_close(web):
    client, running = web("""app.http.get("/close", function(req) return "x" end)""")
    with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) as raw:
        raw.sendall(b"GET /close HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert raw.recv(1000)
        begun = time.monotonic()
        running.stop()
        assert time.monotonic() - begun < 2


def test_time_limits(web):
    client, running = web(
        """
        app.http.get("/hello", function(req) return "hello" end)
        app.http.post("/echo", function(req) return req.body end)
        """,
        options="web_header_timeout = 0.3, web_body_timeout = 0.3, web_idle_timeout = 0.4",
    )
    for data, expected in [
        (b"GET /hello HT", [408]),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhi", [408]),
        (b"", []),
        (b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
    ]:
        begun = time.monotonic()
        assert statuses(exchange(client.port, data, end=False)) == expected
        assert 0.2 < time.monotonic() - begun < PATIENCE / 2
    # A byte at a time does not help.
    with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) as slow:
        data = b""
        for byte in b"GET /hello HTTP/1.1\r\nHost: x\r\nA: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n\r\n":
            try:
                slow.sendall(bytes([byte]))
                slow.settimeout(0.02)
                data = slow.recv(1000)
                break
            except TimeoutError:
                continue
            except OSError:
                break
        assert data == b"" or statuses(data) == [408]


def test_limits_of_connections_and_requests(web):
    client, _ = web(
        """
        app.http.get("/hello", function(req) return "hello" end)
        app.http.get("/held", function(req) app.sleep(0.5) return "held" end)
        """,
        options="web_max_connections = 3, web_max_requests = 1",
    )
    held = []
    thread = threading.Thread(target=lambda: held.append(client.get("/held")))
    thread.start()
    wait_until(lambda: client.get("/hello").status == 503, "one request is held")
    answer = client.get("/hello")
    if answer.status == 503:
        assert answer.headers["retry-after"] == "1" and "too many requests" in answer.json["error"]
    thread.join()
    assert held[0].text == "held"
    assert client.get("/hello").text == "hello"
    open_connections = [socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) for _ in range(3)]
    wait_until(lambda: _is_full(client), "the fourth is refused")
    for connection in open_connections:
        connection.close()
    wait_until(lambda: not _is_full(client), "there is room again")


def _is_full(client):
    try:
        answer = client.get("/hello")
    except (ConnectionError, http.client.HTTPException):
        return True
    return answer.status == 503


def test_a_stop_answers_what_was_asked(web):
    client, running = web("""
        app.http.get("/held", function(req) app.sleep(0.6) return "held" end)
        app.http.get("/hello", function(req) return "hello" end)
    """)
    idle = socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE)
    idle.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    assert idle.recv(1000)
    held = []
    thread = threading.Thread(target=lambda: held.append(client.get("/held")))
    thread.start()
    time.sleep(0.2)
    begun = time.monotonic()
    running.stop()
    assert time.monotonic() - begun < PATIENCE / 3
    thread.join()
    assert held[0].text == "held" and held[0].headers["connection"] == "close"
    assert idle.recv(10) == b""
    idle.close()


def test_what_takes_too_long_at_the_stop_is_answered_503(web):
    client, running = web(
        """app.http.get("/held", function(req) app.sleep(20) return "held" end)""", options="shutdown_timeout = 0.5"
    )
    held = []
    thread = threading.Thread(target=lambda: held.append(client.get("/held")))
    thread.start()
    time.sleep(0.3)
    running.stop(expect=1)
    thread.join()
    assert_failure(held[0], 503)


def test_the_sync_strategy_takes_requests_one_at_a_time(web):
    client, _ = web(
        """
        local running, most = 0, 0
        app.http.get("/work", function(req)
            running = running + 1
            most = math.max(most, running)
            app.sleep(0.01)
            running = running - 1
            return { most = most }
        end)
        """,
        options='app_strategy = "sync"',
    )
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(client.get("/work").json)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [{"most": 1}] * 8


def test_a_port_that_is_taken(start, nats_server):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        running = start(
            nats_server.url,
            'app.http.get("/", function() end)',
            options=f"web_server = true, web_port = {port}",
            ready=False,
        )
        assert running.wait() == 1
        assert f"cannot listen on 127.0.0.1:{port}: the port is in use" in running.output
        assert "--web-port" in running.output


def test_the_port_can_be_given_outside(start, nats_server):
    port = free_port()
    running = start(
        nats_server.url,
        'app.http.get("/", function() return "here" end)',
        options="web_server = true",
        arguments=["--web-port", str(port)],
    )
    client = Web(running)
    assert client.port == port and client.get("/").text == "here"
    assert client.get("/").headers["content-length"] == "4"


def test_check_names_the_routes(check):
    script = """
        app.http.get("/users/{id}", function() end)
        app.http.view("/view", { get = function() end, post = function() end })
    """
    result = check(script, "--json", options="web_server = true")
    assert json.loads(result.stdout)["routes"] == [
        {"method": "GET", "path": "/users/{id}"}, {"method": "GET", "path": "/view"}, {"method": "POST", "path": "/view"},
    ]
    assert "GET /users/{id}" in check(script, options="web_server = true").stdout


MISTAKES = [
    ("app.http.get('users', print)", ["begins with"]),
    ("app.http.get('/users/{id', print)", ["whole segment"]),
    ("app.http.get('/users/x{id}', print)", ["whole segment"]),
    ("app.http.get('/{a...}/b', print)", ["last segment"]),
    ("app.http.get('/{a}/{a}', print)", ["two parameters"]),
    ("app.http.get('/{a-b}', print)", ["letters"]),
    ("app.http.get('/a?b', print)", ["may not contain"]),
    ("app.http.get('/a', print) app.http.get('/a', print)", ["GET /a", "already"]),
    ("app.http.get('/{a}', print) app.http.get('/{b}', print)", ["GET /{b}", "/{a}"]),
    ("app.http.get('/a')", ["handler", "function"]),
    ("app.http.get('http://example.com/')", ["app.http.fetch"]),
    ("app.http.get(5, print)", ["path", "number"]),
    ("app.http.get('/a', { max_bdy = 5 }, print)", ["max_bdy", "max_body"]),
    ("app.http.get('/a', { max_body = 'much' }, print)", ["max_body"]),
    ("app.http.get('/a', { timeout = 0 }, print)", ["timeout"]),
    ("app.http.get('/a', { middlewares = { { listen_any = print } } }, print)", ["entry 1", "http_request"]),
    ("app.http.get('/a', { validator = 5 }, print)", ["validator"]),
    ("app.http.view('/a', { got = print })", ["got", "get"]),
    ("app.http.view('/a', {})", ["no functions"]),
    ("app.http.view('/a', 5)", ["table"]),
    ("app.http.route('G T', '/a', print)", ["method"]),
    ("panini.response(5)", ["table"]),
    ("panini.response{ stat = 5 }", ["stat", "status"]),
    ("panini.response{ status = 99 }", ["200 to 599"]),
    ("panini.response{ text = 'a', html = 'b' }", ["one body", "html and text"]),
    ("panini.response{ text = 5 }", ["text", "number"]),
    ("panini.response{ headers = { ['a b'] = 'c' } }", ["a b"]),
    ("panini.response{ headers = { a = 'b\\r\\nc: d' } }", ["line break"]),
    ("panini.response{ headers = { ['Content-Length'] = '5' } }", ["content-length"]),
    ("panini.response{ headers = { a = {} , b = print } }", ["function"]),
    ("panini.response{ stream = 5 }", ["stream"]),
]


@pytest.mark.parametrize("text, words", MISTAKES, ids=[m[0][:60] for m in MISTAKES])
def test_mistakes(check, text, words):
    message = refused(check("\n" + text, options="web_server = true"), "test.lua:2:", *words)
    assert "traceback" not in message


def test_a_route_without_a_web_server(check):
    refused(check("app.http.get('/a', print)"), "test.lua:2:", "web_server = true")


def test_curl_and_pipes(web, tmp_path):
    client, _ = web("""
        app.http.post("/upload", { max_body = "8MB" }, function(req) return { size = #req.body, sum = panini.hash.sha256(req.body) } end)
    """)
    path = tmp_path / "data"
    path.write_bytes(bytes(range(256)) * 16384)
    for arguments in (["--data-binary", f"@{path}"], ["-T", str(path), "-X", "POST"], ["-H", "Transfer-Encoding: chunked", "--data-binary", f"@{path}"]):
        result = subprocess.run(
            ["curl", "-sS", "--max-time", "30", *arguments, f"http://127.0.0.1:{client.port}/upload"],
            capture_output=True, check=True,
        )
        assert json.loads(result.stdout)["size"] == 4 << 20


def test_tls(start, nats_server, tmp_path):
    authority = Certificates(tmp_path / "certificates")
    certificate, key = authority.issue("localhost", "DNS:localhost", "serverAuth")
    running = start(
        nats_server.url,
        """app.http.get("/", function(req) return string.rep("safe", 100000) end)""",
        options=f'web_server = true, web_port = 0, web_tls = {{ cert_file = "{certificate}", key_file = "{key}" }}',
    )
    running.wait_for("web server on https://127.0.0.1")
    port = int(re.search(r"https://127\.0\.0\.1:(\d+)", running.output).group(1))
    context = ssl.create_default_context(cafile=authority.ca)
    connection = http.client.HTTPSConnection("localhost", port, timeout=PATIENCE, context=context)
    for _ in range(3):
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"safe" * 100000
    connection.close()
    # Who does not speak TLS is not answered, and harms nobody.
    assert b"HTTP/1.1 200" not in exchange(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    result = subprocess.run(
        ["curl", "-sS", "--cacert", authority.ca, "--resolve", f"localhost:{port}:127.0.0.1", f"https://localhost:{port}/"],
        capture_output=True, check=True,
    )
    assert len(result.stdout) == 400000


@pytest.mark.parametrize(
    "tls, words",
    [
        ('{ cert_file = "none.pem", key_file = "none.pem" }', ["none.pem", "certificate"]),
        ('{ cert_file = "test.lua", key_file = "test.lua" }', ["test.lua", "certificate"]),
    ],
)
def test_wrong_tls_files_end_the_start(start, nats_server, tls, words):
    running = start(
        nats_server.url, 'app.http.get("/", print)', options=f"web_server = true, web_port = 0, web_tls = {tls}", ready=False
    )
    assert running.wait() == 2
    for word in words:
        assert word in running.output


def test_tls_needs_both_files(check):
    refused(check("", options='web_server = true, web_tls = { cert_file = "a.pem" }'), "test.lua:1:", "key_file")


def test_many_requests_at_the_same_moment(web):
    """More than are served before the loop looks for others; some of their clients have gone meanwhile."""
    client, _ = web("""app.http.get("/{n}", function(req) return req.params.n end)""")
    connections = [socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) for _ in range(200)]
    for turn in range(3):
        for number, connection in enumerate(connections):
            connection.sendall(f"GET /{turn}-{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        for connection in connections[150:]:
            connection.close()
        del connections[150:]
        for number, connection in enumerate(connections):
            answer = b""
            while not answer.endswith(f"\r\n\r\n{turn}-{number}".encode()):
                part = connection.recv(65536)
                assert part, answer
                answer += part
            assert answer.startswith(b"HTTP/1.1 200 ")
        connections += [socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) for _ in range(50)]
    for connection in connections:
        connection.close()


def test_the_access_log(web):
    client, running = web(
        """
        app.http.get("/items/{id}", function(req) return "item" end)
        app.http.get("/stream", function(req) return panini.response{ stream = function(write) write("12345") write("67") end } end)
        """,
        options="web_access_log = true",
    )
    client.get("/items/7?token=secret")
    client.get("/nothing")
    client.get("/stream")
    exchange(client.port, b"BAD\r\n\r\n")
    running.wait_for("GET /items/7 200")
    running.wait_for("GET /nothing 404")
    running.wait_for("GET /stream 200")
    running.wait_for("- - 400")
    running.stop()
    lines = [json.loads(line) for line in (running.path.parent / "logs" / "app.log").read_text().splitlines()]
    lines = {line["message"]: line for line in lines if line["name"] == "access"}
    extra = lines["GET /items/7 200"]["extra"]
    assert extra["status"] == 200 and extra["bytes"] == 4 and extra["remote_address"] == "127.0.0.1" and 0 <= extra["seconds"] < PATIENCE
    assert lines["GET /stream 200"]["extra"]["bytes"] == 7
    assert "secret" not in running.output


def test_cors(web):
    client, _ = web("""
        app.add_middleware(panini.middleware.cors{ origins = { "https://shop.example" }, credentials = true, expose = { "X-Total" } })
        app.http.get("/items", function(req) return { 1 } end)
        app.http.get("/fails", function(req) error{ code = 409, message = "no" } end)
        app.http.options("/own", function(req) return "own" end)
    """)
    shop, other = {"Origin": "https://shop.example"}, {"Origin": "https://other.example"}
    answer = client.get("/items", shop)
    assert answer.json == [1] and answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert answer.headers["access-control-allow-credentials"] == "true" and answer.headers["vary"] == "origin"
    assert answer.headers["access-control-expose-headers"] == "X-Total"
    assert client.get("/fails", shop).headers["access-control-allow-origin"] == "https://shop.example"
    answer = client.get("/items", other)
    assert answer.json == [1] and "access-control-allow-origin" not in answer.headers and answer.headers["vary"] == "origin"
    ask = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "X-A, X-B"}
    for path in ("/items", "/own"):
        answer = client.ask("OPTIONS", path, headers={**shop, **ask})
        assert answer.status == 204 and "PUT" in answer.headers["access-control-allow-methods"]
        assert answer.headers["access-control-allow-headers"] == "X-A, X-B" and answer.headers["access-control-max-age"] == "600"
    answer = client.ask("OPTIONS", "/items", headers={**other, **ask})
    assert answer.status == 204 and "access-control-allow-methods" not in answer.headers
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert client.ask("OPTIONS", "/own").text == "own"


def test_cors_for_all(web):
    client, _ = web("""
        app.http.get("/open", { middlewares = { panini.middleware.cors{ origins = "*" } } }, function(req) return "x" end)
    """)
    answer = client.get("/open", {"Origin": "https://any.example"})
    assert answer.headers["access-control-allow-origin"] == "*" and "vary" not in answer.headers


@pytest.mark.parametrize(
    "text, words",
    [
        ("panini.middleware.cors{}", ["origins"]),
        ("panini.middleware.cors{ origins = {} }", ["origins"]),
        ("panini.middleware.cors{ origins = { 'shop.example' } }", ["shop.example", "https://"]),
        ("panini.middleware.cors{ origins = { 'https://a/b' } }", ["https://a/b"]),
        ("panini.middleware.cors{ origins = '*', credentials = true }", ["credentials"]),
        ("panini.middleware.cors{ origins = '*', max_age = -1 }", ["max_age"]),
        ("panini.middleware.cors{ orgins = '*' }", ["orgins", "origins"]),
    ],
)
def test_cors_mistakes(check, text, words):
    refused(check("\n" + text, options="web_server = true"), "test.lua:2:", *words)


def test_uploads(web, tmp_path):
    client, _ = web("""
        app.http.post("/upload", { max_body = "4MB" }, function(req)
            local fields, all = req.form()
            local file = fields.file
            return {
                title = fields.title, name = file and file.filename, type = file and file.content_type,
                size = file and #file.data, sum = file and panini.hash.sha256(file.data), count = all.file and #all.file,
                titles = all.title,
            }
        end)
    """)
    path = tmp_path / "pic ture.png"
    path.write_bytes(bytes(range(256)) * 8000)
    result = subprocess.run(
        ["curl", "-sS", "--max-time", "30", "-F", "title=one", "-F", "title=two", "-F", f"file=@{path}", "-F", f"file=@{path};type=x/y",
         f"http://127.0.0.1:{client.port}/upload"],
        capture_output=True, check=True,
    )  # fmt: skip
    assert json.loads(result.stdout) == {
        "title": "one", "name": "pic ture.png", "type": "image/png", "size": 256 * 8000, "count": 2, "titles": ["one", "two"],
        "sum": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    assert_failure(client.post("/upload", "--b\r\nbroken", form), 400, "part")
    assert_failure(client.post("/upload", "x", {"Content-Type": "multipart/form-data"}), 415)
    assert client.post("/upload", "--b--", form).json == {}
