"""What stands in a request line and in Host, over raw sockets: served as RFC 9112 says, or refused with what is wrong with it."""

import json
import re

import pytest

from harness import Service, script_text
from test_http_malformed import exchange, statuses

SCRIPT = """
local function seen(req)
    return { method = req.method, path = req.path, query = req.query, host = req.headers.host, all = req.headers:all("host") }
end
app.http.get("/", seen)
app.http.get("/seen", seen)
app.http.options("/seen", seen)
app.http.post("/seen", function(req) return req.body end)
app.http.route("REFRESH", "/cache/{key}", function(req) return { method = req.method, key = req.params.key, body = req.body } end)
app.http.route("DESCRIBE", "/cache/{key}", function(req) return "described" end)
app.http.route("*", "/any", function(req) return req.method end)
"""
OPTIONS = "web_server = true, web_port = 0, web_max_header_bytes = 2048"


@pytest.fixture(scope="module")
def port(tmp_path_factory, nats_server):
    path = tmp_path_factory.mktemp("targets") / "web.lua"
    path.write_text(script_text(SCRIPT, "web", OPTIONS))
    running = Service(path, nats_server.url)
    yield int(re.search(r"web server on http://127\.0\.0\.1:(\d+)", running.output).group(1))
    running.stop()
    running.kill()


def ask(port, line, *fields, body=b"", host="Host: x"):
    """Status, headers and body of the one answer."""
    lines = [line, *([host] if host else []), *fields, "Connection: close"]
    data = "".join(text + "\r\n" for text in lines).encode("latin-1") + b"\r\n" + body
    answer = exchange(port, data)
    assert len(statuses(answer)) == 1, answer
    head, body = answer.split(b"\r\n\r\n", 1)
    headers = {name.lower(): value for name, value in re.findall(r"^([^:\r\n]+): ([^\r\n]*)", head.decode(), re.MULTILINE)}
    return statuses(answer)[0], headers, body


def assert_refused(answer, status, path, code):
    """Each refusal says what is wrong: a text, and of what it is."""
    found, headers, body = answer
    assert found == status, answer
    assert headers["content-type"] == "application/json"
    value = json.loads(body)
    assert value["success"] is False and value["code"] == status and value["error"]
    assert [(e["path"], e["code"]) for e in value["errors"]] == [(path, code)], value
    assert value["errors"][0]["message"] == value["error"]


# ---- targets


@pytest.mark.parametrize(
    "target, path, query, host",
    [
        ("http://shop.example/seen", "/seen", {}, "shop.example"),
        ("http://shop.example:8080/seen?a=1&b=2", "/seen", {"a": "1", "b": "2"}, "shop.example:8080"),
        ("https://shop.example/seen", "/seen", {}, "shop.example"),
        ("HTTP://Shop.Example/seen", "/seen", {}, "Shop.Example"),
        ("http://shop.example", "/", {}, "shop.example"),
        ("http://shop.example/", "/", {}, "shop.example"),
        ("http://shop.example?a=1", "/", {"a": "1"}, "shop.example"),
        ("http://[::1]:80/seen", "/seen", {}, "[::1]:80"),
        ("http://127.0.0.1/seen?u=http://y/z", "/seen", {"u": "http://y/z"}, "127.0.0.1"),
        ("/seen?http://y/z", "/seen", {"http://y/z": ""}, "x"),
    ],
)
def test_absolute_targets(port, target, path, query, host):
    """The target's host counts, and not that of the field (3.2.2)."""
    status, _, body = ask(port, f"GET {target} HTTP/1.1")
    assert status == 200, body
    assert json.loads(body) == {"method": "GET", "path": path, "query": query, "host": host, "all": [host]}


def test_an_absolute_target_in_http_1_0_needs_no_host(port):
    _, _, body = ask(port, "GET http://shop.example/seen HTTP/1.0", host=None)
    assert json.loads(body)["host"] == "shop.example"


def test_an_absolute_target_with_a_body_and_what_is_behind_it(port):
    data = b"POST http://y/seen HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhiGET http://y/none HTTP/1.1\r\nHost: x\r\n\r\n"
    data += b"GET /seen HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = exchange(port, data)
    assert statuses(answer) == [200, 404, 200] and b"hi" in answer


@pytest.mark.parametrize(
    "line, path, code",
    [
        ("GET http://user@y/seen HTTP/1.1", "target", "invalid"),
        ("GET http://user:secret@y/seen HTTP/1.1", "target", "invalid"),
        ("GET ftp://y/seen HTTP/1.1", "target", "unsupported"),
        ("GET ws://y/seen HTTP/1.1", "target", "unsupported"),
        ("GET http:///seen HTTP/1.1", "target", "invalid"),
        ("GET http://y/seen#part HTTP/1.1", "target", "invalid"),
        ("GET http://y:99999/seen HTTP/1.1", "target", "invalid"),
        ("GET http://y:a/seen HTTP/1.1", "target", "invalid"),
        ("GET http:/seen HTTP/1.1", "target", "invalid"),
        ("GET y:80 HTTP/1.1", "target", "invalid"),
        ("GET seen HTTP/1.1", "target", "invalid"),
        ("GET * HTTP/1.1", "target", "invalid"),
        ("GET /se\x01en HTTP/1.1", "target", "invalid"),
        ("GET /seen HTTP/1.5", "version", "invalid"),
        ("GET /seen", "version", "invalid"),
    ],
)
def test_targets_that_lead_nowhere(port, line, path, code):
    assert_refused(ask(port, line), 400, path, code)


@pytest.mark.parametrize("target", ["y:80", "y:443"])
def test_connect_is_for_proxies(port, target):
    status, headers, body = answer = ask(port, f"CONNECT {target} HTTP/1.1")
    assert_refused(answer, 501, "method", "unsupported")
    assert headers["connection"] == "close"


@pytest.mark.parametrize("target", ["*", "http://y", "http://y:80"])
def test_options_of_the_server(port, target):
    status, headers, body = ask(port, f"OPTIONS {target} HTTP/1.1")
    assert status == 204 and body == b""
    assert {"GET", "HEAD", "POST", "OPTIONS", "REFRESH"} <= set(headers["allow"].split(", "))


def test_options_of_a_path(port):
    assert json.loads(ask(port, "OPTIONS http://y/seen HTTP/1.1")[2])["method"] == "OPTIONS"
    status, headers, _ = ask(port, "OPTIONS /cache/1 HTTP/1.1")
    assert status == 204 and headers["allow"] == "DESCRIBE, OPTIONS, REFRESH"
    assert ask(port, "OPTIONS http://y/ HTTP/1.1")[1]["allow"] == "GET, HEAD, OPTIONS"


# ---- host


@pytest.mark.parametrize(
    "host",
    [
        "x", "shop.example", "shop.example:8080", "shop.example:", "127.0.0.1:80", "[::1]", "[::1]:8080", "[::ffff:1.2.3.4]", "a_b.c-d",
        "a%20b", "a~b!c", "x:0", "x:65535", "",
    ],
)
def test_hosts(port, host):
    status, _, body = ask(port, "GET /seen HTTP/1.1", host=f"Host: {host}")
    assert status == 200, body
    assert json.loads(body)["host"] == host


@pytest.mark.parametrize(
    "host",
    [
        "a b", "a, b", "a,b", "a/b", "/", "http://a", "a?b", "a#b", "user@a", "a:b", "a:80:80", "a:65536", "a:-1", "a:+80", "a: 80", ":::", "::1",
        "[::1", "::1]", "[]", "[a]", "[::1]x", "[::1]:x", "a\\b", 'a"b', "a<b", "a%2", "a%zz", "\u00e4", "a\tb", "a|b", "a^b", "a{b}",
    ],
)
def test_hosts_that_are_none(port, host):
    assert_refused(ask(port, "GET /seen HTTP/1.1", host=f"Host: {host}"), 400, "host", "invalid")
    # Whatever the target says.
    assert_refused(ask(port, "GET http://y/seen HTTP/1.1", host=f"Host: {host}"), 400, "host", "invalid")


def test_no_host_and_two_hosts(port):
    assert_refused(ask(port, "GET /seen HTTP/1.1", host=None), 400, "host", "missing")
    assert_refused(ask(port, "GET http://y/seen HTTP/1.1", host=None), 400, "host", "missing")
    for second in ("Host: x", "host: y", "HOST:"):
        assert_refused(ask(port, "GET /seen HTTP/1.1", second), 400, "host", "repeated")
    assert ask(port, "GET /seen HTTP/1.0", host=None)[0] == 200
    assert_refused(ask(port, "GET /seen HTTP/1.0", "Host: y"), 400, "host", "repeated")
    assert_refused(ask(port, "GET /seen HTTP/1.0", host="Host: a b"), 400, "host", "invalid")


# ---- methods


def test_a_method_of_ones_own(port):
    status, _, body = ask(port, "REFRESH /cache/7 HTTP/1.1", "Content-Length: 2", body=b"hi")
    assert status == 200 and json.loads(body) == {"method": "REFRESH", "key": "7", "body": "hi"}
    body = ask(port, "REFRESH /cache/7 HTTP/1.1", "Transfer-Encoding: chunked", body=b"2\r\nhi\r\n0\r\n\r\n")[2]
    assert json.loads(body)["body"] == "hi"
    assert ask(port, "DESCRIBE /cache/7 HTTP/1.1")[2] == b"described"
    for method in ("BREW", "VERSION-CONTROL", "get", "M-SEARCH", "A.b_c~1", "X" * 64):
        assert ask(port, f"{method} /any HTTP/1.1")[2] == method.encode()


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_in_pieces(port, size):
    import socket

    from harness import PATIENCE

    data = b"\r\nREFRESH /cache/a HTTP/1.1\r\nHost: x\r\n\r\nPUT /any HTTP/1.1\r\nHost: x\r\n\r\nREFRESH http://y/cache/b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), size):
            connection.sendall(data[start : start + size])
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert statuses(answer) == [200, 200, 200] and b'"key":"a"' in answer and b'"key":"b"' in answer and b"PUT" in answer


@pytest.mark.parametrize("method", ["BREW", "get", "Get", "GETS", "GE", "X-" + "Y" * 62, "A!#$%&'*+-.^_`|~0"])
def test_unknown_methods(port, method):
    for target in ("/seen", "/nothing", "/cache/1", "http://y/seen"):
        assert_refused(ask(port, f"{method} {target} HTTP/1.1"), 501, "method", "unsupported")


@pytest.mark.parametrize("method", ["PURGE", "PROPFIND", "TRACE", "QUERY"])
def test_known_methods_without_a_route(port, method):
    status, headers, _ = ask(port, f"{method} /seen HTTP/1.1")
    assert status == 405 and headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert ask(port, f"{method} /nothing HTTP/1.1")[0] == 404
    # Some route has it, so it is known.
    assert ask(port, "REFRESH /seen HTTP/1.1")[0] == 405


@pytest.mark.parametrize(
    "line, status, code",
    [
        ("X" * 65 + " /seen HTTP/1.1", 501, "unsupported"), ("X" * 100_000 + " /seen HTTP/1.1", 501, "unsupported"),
        ("G\x01T /seen HTTP/1.1", 400, "invalid"), ("G(T /seen HTTP/1.1", 400, "invalid"), ("G\u00e4T /seen HTTP/1.1", 400, "invalid"),
        (" GET /seen HTTP/1.1", 400, "invalid"), ("GET\t/seen HTTP/1.1", 400, "invalid"), ("\x16\x03\x01", 400, "invalid"),
        ('"; DROP /seen HTTP/1.1', 400, "invalid"),
    ],
)  # fmt: skip
def test_what_is_no_method(port, line, status, code):
    assert_refused(ask(port, line), status, "method", code)


def test_an_unknown_method_does_not_cost_the_connection(port):
    answer = exchange(port, b"BREW /seen HTTP/1.1\r\nHost: x\r\n\r\nGET /seen HTTP/1.1\r\nHost: x\r\n\r\n")
    assert statuses(answer) == [501, 200]
    # But where a body follows, nobody knows whose it is.
    answer = exchange(port, b"BREW /seen HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhiGET /seen HTTP/1.1\r\nHost: x\r\n\r\n", end=False)
    assert statuses(answer) == [501] and b"connection: close" in answer


# ---- what else is refused says so


@pytest.mark.parametrize(
    "fields, body, status, path, code",
    [
        (["A : b"], b"", 400, "header", "invalid"), (["nonsense"], b"", 400, "header", "invalid"), ([": b"], b"", 400, "header", "invalid"),
        (["A: b\x01"], b"", 400, "header", "invalid"), (["A: b", " c"], b"", 400, "header", "invalid"),
        (["Content-Length: x"], b"", 400, "content-length", "invalid"), (["Content-Length: 2", "Content-Length: 2"], b"hi", 400, "content-length", "repeated"),
        (["Content-Length: 2", "Transfer-Encoding: chunked"], b"", 400, {"content-length", "transfer-encoding"}, {"repeated", "invalid"}),
        (["Transfer-Encoding: gzip"], b"", 400, {"transfer-encoding"}, {"invalid", "unsupported"}),
        (["Transfer-Encoding: chunked"], b"zz\r\n", 400, "chunk", "invalid"),
        (["A: " + "x" * 3000], b"", 431, "header", "too_large"),
    ],
)  # fmt: skip
def test_refusals(port, fields, body, status, path, code):
    found, headers, text = ask(port, "POST /seen HTTP/1.1", *fields, body=body)
    assert found == status or status == 400 and found == 501, text
    value = json.loads(text)
    assert value["error"] and len(value["errors"]) == 1
    wanted = (path if isinstance(path, set) else {path}, code if isinstance(code, set) else {code})
    assert value["errors"][0]["path"] in wanted[0] and value["errors"][0]["code"] in wanted[1], value


def test_half_a_request(port):
    for data in (b"GE", b"GET /seen HTTP/1.1\r\nHost: x\r\n", b"PRI * HT", b"POST /seen HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhi"):
        answer = exchange(port, data)
        assert statuses(answer) == [400] and b'"code":"incomplete"' in answer, (data, answer)


def test_trailers_are_counted_with_their_blanks(port):
    """Many small ones are as large as a few long ones."""
    trailers = b"".join(b"T%d: u\r\n" % i for i in range(250))
    data = b"POST /seen HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + trailers + b"\r\n"
    assert len(trailers) > 2048
    assert statuses(exchange(port, data)) == [431]
