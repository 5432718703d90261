"""app.http.fetch against servers that behave, misbehave, or are not there."""

import gzip
import json
import signal
import socket
import threading
import time
import zlib

import pytest

from harness import PATIENCE, assert_error, free_port, panini, wait_until
from peer import CHUNKED, Peer, chunk, packed, reply, server_context
from secure import Certificates
from serving import Acceptor
from test_mistakes import refused

SCRIPT = """
-- Fetches what a test asks for, and tells what came of it.
app.listen("header", function(msg)
    return { value = assert(app.http.fetch(msg.data.url)).headers[msg.data.name] }
end)
app.listen("fetch", function(msg)
    local res, err = app.http.fetch(msg.data.url, msg.data.options)
    if not res then return { code = err.code, message = err.message, text = tostring(err) } end
    return {
        status = res.status, url = res.url, body = panini.base64.encode(res.body or ""), type = res.headers["Content-Type"],
        cookies = panini.array(res.headers:all("Set-Cookie")), encoding = res.headers["content-encoding"],
    }
end)
"""


@pytest.fixture
def peer():
    """peer(answer) → a running server."""
    running = []

    def start_peer(answer, context=None):
        running.append(Peer(answer, context))
        return running[-1]

    yield start_peer
    for instance in running:
        instance.close()


@pytest.fixture
def fetch(service, client):
    """fetch(url, **options) → what the service says of its fetch."""
    running = service(SCRIPT)

    def ask(url, **options):
        import base64

        result = client.ask("fetch", {"url": url, "options": options}, timeout=4 * PATIENCE)
        if "body" in result:
            result["body"] = base64.b64decode(result["body"])
        return result

    def header(url, name):
        return client.ask("header", {"url": url, "name": name}, timeout=4 * PATIENCE)["value"]

    ask.service = running
    ask.header = header
    return ask


def test_get(fetch, peer):
    server = peer(lambda r: reply(b"\0\xff binary", Content_Type="x/y", Set_Cookie="a=1\r\nSet-Cookie: b=2"))
    result = fetch(server.url + "/a?b=c d#e")
    assert result["status"] == 200 and result["body"] == b"\0\xff binary" and result["type"] == "x/y"
    assert result["url"] == server.url + "/a?b=c%20d" and result["cookies"] == ["a=1", "b=2"]
    request = server.requests[0]
    assert request.method == "GET" and request.path == "/a?b=c%20d" and request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.headers["accept-encoding"] == "gzip, deflate"


def test_headers_that_every_client_sends(fetch, peer):
    server = peer(lambda r: reply(b"ok"))
    version = panini("version").stdout.split()[1]
    fetch(server.url)
    fetch(server.url, headers={"User-Agent": "mine/1", "Accept": "text/plain", "Accept-Encoding": "identity"})
    fetch(server.url, headers={"user-agent": False, "Accept": False, "ACCEPT-ENCODING": False})
    fetch(server.url, headers={"user-agent": ""})
    usual, own, none, empty = server.requests
    assert usual.headers["user-agent"] == f"panini/{version}" and usual.headers["accept"] == "*/*"
    assert own.headers["user-agent"] == "mine/1" and own.headers["accept"] == "text/plain" and own.headers["accept-encoding"] == "identity"
    assert not {"user-agent", "accept", "accept-encoding"} & set(none.headers)
    assert empty.headers["user-agent"] == ""


def test_they_stay_over_redirects(fetch, peer):
    server = peer(lambda r: reply(b"", status="302 Found", Location="/b") if r.path == "/a" else reply(b"ok"))
    fetch(server.url + "/a", headers={"accept": False})
    assert [r.path for r in server.requests] == ["/a", "/b"]
    assert all(r.headers["user-agent"].startswith("panini/") and "accept" not in r.headers for r in server.requests)


@pytest.mark.parametrize("headers", [{"x-own": False}, {"user-agent": True}, {"host": False}])
def test_other_headers_cannot_be_left_out(service, client, headers):
    service(SCRIPT)
    assert_error(client.request("fetch", {"url": "http://127.0.0.1:1/", "options": {"headers": headers}}), 500)


# What a server sends, and the body and the header X-A that come of it; or that it is no HTTP.
ODD = [
    ("no reason", b"HTTP/1.1 200\r\nX-A: b\r\nContent-Length: 2\r\n\r\nhi", "hi", "b"),
    ("an empty reason", b"HTTP/1.1 200 \r\nX-A: b\r\nContent-Length: 2\r\n\r\nhi", "hi", "b"),
    ("a reason in another alphabet", b"HTTP/1.1 200 \xc3\xa4\xff\r\nX-A: b\r\nContent-Length: 2\r\n\r\nhi", "hi", "b"),
    ("many blanks", b"HTTP/1.1   200  OK\r\nX-A:   b  \r\nContent-Length:2\r\n\r\nhi", "hi", "b"),
    ("small letters", b"HTTP/1.1 200 ok\r\nx-a: b\r\ncontent-length: 2\r\n\r\nhi", "hi", "b"),
    ("capitals", b"HTTP/1.1 200 OK\r\nX-A: b\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "hi", "b"),
    ("folded", b"HTTP/1.1 200 OK\r\nX-A: b\r\n  c\r\n\td\r\nContent-Length: 2\r\n\r\nhi", "hi", "b c d"),
    ("folded at once", b"HTTP/1.1 200 OK\r\nX-A:\r\n b\r\nContent-Length: 2\r\n\r\nhi", "hi", "b"),
    ("folded last", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n c\r\n\r\nhi", "hi", "b c"),
    ("a folded length", b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length:\r\n 2\r\n\r\nhi", "hi", "b"),
    ("line feeds alone", b"HTTP/1.1 200 OK\nX-A: b\nContent-Length: 2\n\nhi", "hi", "b"),
    ("some line feeds", b"HTTP/1.1 200 OK\r\nX-A: b\nContent-Length: 2\r\n\nhi", "hi", "b"),
    ("a blank before a colon", b"HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length : 2\r\n\r\nhi", "hi", "b"),
    ("the same length twice", b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "hi", "b"),
    ("a list of lengths", b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2, 2\r\n\r\nhi", "hi", "b"),
    ("empty lines before it", b"\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\nhi", "hi", "b"),
    ("no length", b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\nhi", "hi", "b"),
    ("http 1.0", b"HTTP/1.0 200 OK\r\nX-A: b\r\n\r\nhi", "hi", "b"),
    ("hints first", b"HTTP/1.1 103 Early Hints\r\nX-A: no\r\n c\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\nhi", "hi", "b"),
    ("a body that looks like a head", b"HTTP/1.1 200 OK\nX-A: b\nContent-Length: 12\n\nHTTP/1.1\n\nA ", "HTTP/1.1\n\nA ", "b"),
    # What may mean two things, or nothing.
    ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", None, None),
    ("a length and chunks", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", None, None),
    ("a folded number", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 2\r\n\r\nhi", None, None),
    ("folded to nothing", b"HTTP/1.1 200 OK\r\n X-A: b\r\nContent-Length: 2\r\n\r\nhi", None, None),
    ("no colon", b"HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 2\r\n\r\nhi", None, None),
    ("no name", b"HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 2\r\n\r\nhi", None, None),
    ("a bare carriage return", b"HTTP/1.1 200 OK\r\nX-A: b\rX-B: c\r\nContent-Length: 2\r\n\r\nhi", None, None),
    ("a zero byte", b"HTTP/1.1 200 OK\r\nX-A: b\x00\r\nContent-Length: 2\r\n\r\nhi", None, None),
    ("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n", None, None),
    ("nothing of http", b"<html>hello</html>", None, None),
    ("a status of letters", b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nhi", None, None),
]


@pytest.mark.parametrize("name, answer, body, header", ODD, ids=[o[0] for o in ODD])
def test_odd_servers(fetch, peer, name, answer, body, header):
    for pieces in (1, 3, len(answer)):
        def talk(connection, size=pieces):
            for start in range(0, len(answer), max(1, len(answer) // size)):
                connection.sendall(answer[start : start + max(1, len(answer) // size)])
                if size > 1 and start < 100:
                    time.sleep(0.002)
            return None

        server = peer(lambda r: talk)
        result = fetch(server.url, timeout=PATIENCE)
        if body is None:
            assert result.get("code") in ("protocol", "closed"), result
        else:
            assert result["status"] == 200 and result["body"] == body.encode(), result
    if header is not None:
        assert fetch.header(peer(lambda r: talk).url, "x-a") == header


def test_bodies(fetch, peer):
    server = peer(lambda r: reply(b"ok"))
    fetch(server.url, method="post", json={"a": [1, {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": 1}}}}}}}}]})
    fetch(server.url, method="PUT", body="plain", headers={"X-Own": ["1", "2"], "Content-Type": "text/plain"})
    fetch(server.url, method="POST", form={"b": "ä &=", "a": [1, True]})
    fetch(server.url, method="POST")
    first, second, third, fourth = server.requests
    assert first.method == "POST" and first.headers["content-type"] == "application/json"
    assert json.loads(first.body)["a"][1]["b"]["c"]["d"]["e"]["f"]["g"]["h"]["i"] == 1
    assert second.method == "PUT" and second.body == b"plain" and second.headers["content-type"] == "text/plain"
    assert third.body == b"a=1&a=true&b=%C3%A4+%26%3D"
    assert third.headers["content-type"] == "application/x-www-form-urlencoded"
    assert fourth.headers["content-length"] == "0"


def test_json_of_a_response(service, client, peer):
    server = peer(lambda r: reply(b'{"a": 1}' if r.path == "/json" else b"no json"))
    service("""
        app.listen("json", function(msg)
            local res = assert(app.http.fetch(msg.data.url))
            local value, err = res.json()
            local again = res:json()
            return { value = value, same = (again and again.a) == (value and value.a), code = err and err.code }
        end)
    """)
    assert client.ask("json", {"url": server.url + "/json"}) == {"value": {"a": 1}, "same": True}
    assert client.ask("json", {"url": server.url + "/text"}) == {"same": True, "code": "decode"}


def test_connections_are_kept(fetch, peer):
    server = peer(lambda r: reply(b"ok"))
    for _ in range(5):
        fetch(server.url)
    assert server.connections == 1 and len(server.requests) == 5


def test_a_kept_connection_that_the_server_closes(fetch, peer):
    def close_after(connection):
        connection.sendall(reply(b"ok"))
        return None

    server = peer(lambda r: close_after)
    for _ in range(20):
        assert fetch(server.url)["body"] == b"ok"


def test_methods_that_may_not_be_repeated_are_not(fetch, peer):
    server = peer(lambda r: None)
    assert fetch(server.url, method="POST", body="x")["code"] == "closed"
    assert len(server.requests) == 1
    assert fetch(server.url)["code"] == "closed"
    # A new connection has served nobody: nothing speaks for a second try.
    assert len(server.requests) == 2


# ---- redirects


def test_redirects(fetch, peer):
    other = peer(lambda r: reply(b"other"))

    def answer(request):
        if request.path == "/start":
            return reply(b"gone", "302 Found", location="/next?x")
        if request.path == "/next?x":
            return reply(b"", "307 Temporary Redirect", location=other.url + "/end")
        return reply(b"?", "404 Not Found")

    server = peer(answer)
    result = fetch(
        server.url.replace("http://", "http://user:secret@") + "/start",
        method="POST", body="x", headers={"cookie": "c", "x-own": "y"},
    )
    assert result["body"] == b"other" and result["url"] == other.url + "/end"
    first, second = server.requests
    assert first.method == "POST" and first.headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="
    assert second.method == "GET" and second.body == b"" and second.headers["cookie"] == "c" and "authorization" in second.headers
    assert "authorization" not in other.requests[0].headers and "cookie" not in other.requests[0].headers
    assert other.requests[0].headers["x-own"] == "y"
    # The redirect's own body did not cost the connection.
    assert server.connections == 1


def test_redirects_end(fetch, peer):
    server = peer(lambda r: reply(b"", "302 Found", location=r.path))
    result = fetch(server.url + "/loop")
    assert result["code"] == "redirects" and len(server.requests) == 6
    assert fetch(server.url + "/loop", redirects=1)["code"] == "redirects" and len(server.requests) == 8
    result = fetch(server.url + "/loop", redirects=0)
    assert result["status"] == 302 and len(server.requests) == 9


@pytest.mark.parametrize("location", ["ftp://x/", "http://", "http://a b/", "javascript:alert(1)"])
def test_redirects_to_nowhere(fetch, peer, location):
    server = peer(lambda r: reply(b"", "302 Found", location=location))
    assert fetch(server.url)["code"] == "protocol"


# ---- what goes wrong


def test_connect_and_dns(fetch):
    assert fetch(f"http://127.0.0.1:{free_port()}/")["code"] == "connect"
    result = fetch("http://no-such-name.invalid/")
    assert result["code"] == "dns" and "no-such-name.invalid" in result["text"]


def test_timeout(fetch, peer):
    waiting = threading.Event()
    server = peer(lambda r: lambda connection: waiting.wait(PATIENCE) and None)
    begun = time.monotonic()
    result = fetch(server.url + "/?token=secret", timeout=0.3)
    assert result["code"] == "timeout" and "0.3 s" in result["message"] and "secret" not in result["message"]
    assert time.monotonic() - begun < PATIENCE / 2
    waiting.set()

    def slow(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        while not waiting.wait(0.05):
            connection.sendall(b"x")
        return None

    waiting.clear()
    server = peer(lambda r: slow)
    # The limit is for the whole answer, not for the next byte.
    assert fetch(server.url, timeout=0.5)["code"] == "timeout"
    waiting.set()


@pytest.mark.parametrize(
    "answer, code",
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", "closed"),
        (CHUNKED + chunk(b"part"), "closed"),
        (CHUNKED + b"zz\r\nbad\r\n0\r\n\r\n", "protocol"),
        (b"SSH-2.0-OpenSSH\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", "protocol"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n", "protocol"),
        (b"", "closed"),
        (reply(b"no gzip", content_encoding="gzip"), "protocol"),
        (reply(packed(b"x" * 10000)[:-6], content_encoding="gzip"), "protocol"),
    ],
)
def test_broken_answers(fetch, peer, answer, code):
    def send(connection):
        connection.sendall(answer)
        return None

    server = peer(lambda r: send)
    result = fetch(server.url, method="POST")
    assert result.get("code") == code, result
    # The service is none the worse.
    assert fetch(peer(lambda r: reply(b"ok")).url)["body"] == b"ok"


# What begins an answer, what is said on and on, and the codes that end it.
ENDLESS = {
    "status line": (b"HTTP/1.1 200 ", b"O" * 10_000, {"protocol", "timeout"}),
    "header": (b"HTTP/1.1 200 OK\r\nx: ", b"y" * 10_000, {"protocol"}),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"name: value\r\n" * 1000, {"protocol"}),
    "folded headers": (b"HTTP/1.1 200 OK\r\nx: y\r\n", b" folded\r\n" * 1000, {"protocol"}),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 300, {"protocol", "timeout"}),
    "blank lines": (b"", b"\r\n" * 5000, {"protocol", "timeout"}),
    "body": (b"HTTP/1.1 200 OK\r\n\r\n", b"z" * 65536, {"too_large"}),
    "chunks": (CHUNKED, chunk(b"z" * 60_000), {"too_large"}),
    "small chunks": (CHUNKED, chunk(b"z") * 5000, {"too_large", "timeout"}),
    "chunk extension": (CHUNKED + b"5;", b"x" * 10_000, {"protocol", "timeout"}),
    "trailers": (CHUNKED + b"0\r\n", b"name: value\r\n" * 1000, {"protocol"}),
    "empty members of gzip": (
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n", gzip.compress(b"") * 1000, {"too_large", "timeout", "protocol"},
    ),
    "body of a redirect": (b"HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n", b"z" * 65536, {"redirects", "timeout", "too_large", "closed"}),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_answers_without_an_end_are_bounded(fetch, peer, kind):
    begin, rest, codes = ENDLESS[kind]

    def send(connection):
        connection.sendall(begin)
        while True:
            connection.sendall(rest)

    def resident():
        with open(f"/proc/{fetch.service.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096 >> 20

    server = peer(lambda r: send)
    before = resident()
    for _ in range(3):
        assert fetch(server.url, timeout=1 if "timeout" in codes else 3, max_body="4MB").get("code") in codes
    assert resident() < before + 60
    assert fetch(peer(lambda r: reply(b"ok")).url)["body"] == b"ok"


def test_a_body_until_the_end_of_the_connection(fetch, peer):
    def send(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        return None

    assert fetch(peer(lambda r: send).url)["body"] == b"all of it"


def test_limits_of_bodies(fetch, peer):
    server = peer(lambda r: reply(b"x" * 1001) if r.path == "/sized" else CHUNKED + chunk(b"x" * 600) * 2 + chunk(b""))
    for path in ("/sized", "/chunked"):
        result = fetch(server.url + path, max_body=1000)
        assert result["code"] == "too_large" and "max_body" in result["message"]
        assert len(fetch(server.url + path, max_body="2KB")["body"]) > 1000
    bomb = zlib.compressobj(wbits=31)
    data = b"".join(bomb.compress(b"\0" * (1 << 20)) for _ in range(100)) + bomb.flush()
    server = peer(lambda r: reply(data, content_encoding="gzip"))
    assert len(data) < 200_000
    assert fetch(server.url)["code"] == "too_large"


def test_encodings(fetch, peer):
    text = b"line of text\n" * 10000
    raw = zlib.compressobj(wbits=-15)
    bodies = {
        "/gzip": ("gzip", packed(text)),
        "/x-gzip": ("x-gzip", packed(text)),
        "/deflate": ("deflate", zlib.compress(text)),
        "/raw": ("deflate", raw.compress(text) + raw.flush()),
    }
    server = peer(lambda r: reply(bodies[r.path][1], content_encoding=bodies[r.path][0]))
    for path, (name, packed_text) in bodies.items():
        result = fetch(server.url + path)
        assert result["body"] == text and "encoding" not in result, path
        result = fetch(server.url + path, headers={"accept-encoding": name})
        assert result["body"] == packed_text and result["encoding"] == name
    assert fetch(server.url + "/gzip", method="HEAD")["body"] == b""


# ---- TLS


def test_tls(service, client, peer, tmp_path):
    authority = Certificates(tmp_path / "certificates")
    own = server_context(*authority.issue("127.0.0.1", "IP:127.0.0.1", "serverAuth"))
    other_name = server_context(*authority.issue("elsewhere", "DNS:elsewhere.example", "serverAuth"))
    service(SCRIPT, files={"ca.pem": authority.ca.read_text()})

    def fetch(url, **options):
        return client.ask("fetch", {"url": url, "options": options}, timeout=4 * PATIENCE)

    server = peer(lambda r: reply(b"safe"), own)
    assert fetch(server.url, ca_file="ca.pem")["status"] == 200
    result = fetch(server.url)
    assert result["code"] == "tls" and "trust" in result["message"], result
    assert fetch(server.url, verify=False)["status"] == 200
    # A connection that was not verified serves nobody who wants it verified.
    assert fetch(server.url)["code"] == "tls"
    result = fetch(peer(lambda r: reply(b""), other_name).url, ca_file="ca.pem")
    assert result["code"] == "tls" and "name" in result["message"], result
    plain = Acceptor(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    assert fetch(f"https://127.0.0.1:{plain.port}/")["code"] == "tls"
    plain.close()
    assert fetch(server.url, ca_file="none.pem")["code"] == "tls"


# ---- many at once


def test_many_at_once(service, client, peer):
    server = peer(lambda r: reply(r.path.encode()))
    service(
        """
        app.listen("many", function(msg)
            local calls = {}
            for i = 1, 500 do
                calls[i] = function()
                    local res = assert(app.http.fetch(msg.data.url .. "/" .. i))
                    return res.body == "/" .. i
                end
            end
            local results, errors = app.wait_all(calls)
            local right = 0
            for i = 1, 500 do if results[i] then right = right + 1 end end
            return { right = right, failed = errors ~= nil }
        end)
        """,
        options="fetch_max_connections = 20, handler_timeout = 120",
    )
    assert client.ask("many", {"url": server.url}, timeout=4 * PATIENCE) == {"right": 500, "failed": False}
    assert server.most <= 20 and len(server.requests) == 500


def test_waiting_for_a_place_counts(service, client, peer):
    release = threading.Event()
    server = peer(lambda r: lambda connection: (release.wait(PATIENCE), reply(b""))[1])
    service(
        """
        app.listen("two", function(msg)
            local results, errors = app.wait_all{
                function() return assert(app.http.fetch(msg.data.url)).status end,
                function() local res, err = app.http.fetch(msg.data.url, { timeout = 0.3 }) app.publish("second", {}) return err.message end,
            }
            return panini.array(results)
        end)
        """,
        options="fetch_max_connections = 1",
    )
    second = client.subscribe("second")
    inbox = client.collect("two", [json.dumps({"url": server.url}).encode()])[0]
    second.next()
    release.set()
    status, message = inbox.next().json
    assert status == 200 and "no free connection" in message


def test_other_handlers_go_on(service, client, peer):
    release = threading.Event()
    server = peer(lambda r: lambda connection: (release.wait(PATIENCE), reply(b"late"))[1])
    service(SCRIPT + 'app.listen("ping", function() return "pong" end)')
    inbox = client.collect("fetch", [json.dumps({"url": server.url}).encode()])[0]
    wait_until(lambda: server.requests, "the fetch is under way")
    assert client.request("ping").text == "pong"
    release.set()
    assert inbox.next().json["status"] == 200


# ---- streams

STREAM = """
app.listen("stream", function(msg)
    local sizes, first = {}, nil
    local res, err = app.http.fetch(msg.data.url, { stream = function(piece, res)
        first = first or res.status
        sizes[#sizes + 1] = #piece
        if msg.data.sleep then app.sleep(msg.data.sleep) end
        if msg.data.fail then error("no more") end
        if msg.data.spin then while true do end end
        if msg.data.stop then return false end
    end, timeout = msg.data.timeout, max_body = msg.data.max_body })
    local total = 0
    for _, size in ipairs(sizes) do total = total + size end
    return { pieces = #sizes, total = total, first = first, status = res and res.status, body = res and res.body, code = err and err.code }
end)
app.listen("alive", function() return "yes" end)
"""


def test_streams(service, client, peer):
    data = b"0123456789abcdef" * (2 << 16)
    server = peer(lambda r: reply(packed(data), content_encoding="gzip") if r.path == "/gzip" else reply(b"" if r.path == "/empty" else data))
    service(STREAM)
    for path in ("/plain", "/gzip"):
        result = client.ask("stream", {"url": server.url + path})
        assert result["total"] == len(data) and result["pieces"] > 1 and result["first"] == result["status"] == 200
        assert "body" not in result
    assert client.ask("stream", {"url": server.url + "/empty"}) == {"pieces": 0, "total": 0, "status": 200}
    assert client.ask("stream", {"url": server.url + "/plain", "max_body": 1000})["code"] == "too_large"


def test_a_file_of_certificates_must_be_readable_for_an_untrusted_script(service, client, peer):
    server = peer(lambda r: reply(b"x"))
    service(
        """
        app.listen("ca", function(msg)
            local ok, err = pcall(app.http.fetch, msg.data.url, { ca_file = "/etc/hostname" })
            return { ok = ok, err = tostring(err) }
        end)
        """,
        arguments=["--untrusted", "--allow-listen", "ca", "--allow-net", "127.0.0.1"],
    )
    result = client.ask("ca", {"url": server.url})
    assert result["ok"] is False
    assert "ca_file: the script may not read /etc/hostname (--allow-read /etc/hostname)" in result["err"]


def test_streams_end_early(service, client, peer):
    closed = threading.Event()

    def endless(connection):
        try:
            connection.sendall(CHUNKED)
            while True:
                connection.sendall(chunk(b"x" * 10000))
        except OSError:
            closed.set()
        return None

    server = peer(lambda r: endless)
    service(STREAM, options="limits = { cpu = 0.2 }")
    result = client.ask("stream", {"url": server.url, "stop": True})
    assert result["pieces"] == 1 and result["status"] == 200
    assert closed.wait(PATIENCE)
    closed.clear()
    assert_error(client.request("stream", json.dumps({"url": server.url, "fail": True}).encode()), 500)
    assert closed.wait(PATIENCE)
    closed.clear()
    # Its budget of CPU time is over.
    assert_error(client.request("stream", json.dumps({"url": server.url, "spin": True, "timeout": 3600}).encode()), 504)
    assert closed.wait(PATIENCE)
    closed.clear()
    # A time-out while the function waits is told when it has ended.
    result = client.ask("stream", {"url": server.url, "sleep": 0.2, "timeout": 0.5})
    assert result["code"] == "timeout" and result["pieces"] >= 1
    assert closed.wait(PATIENCE)


def test_streams_hold_the_server_up(service, client, peer):
    sent = [0]

    def flood(connection):
        connection.sendall(CHUNKED)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        try:
            for _ in range(1000):
                connection.sendall(chunk(b"x" * 100_000))
                sent[0] += 100_000
        except OSError:
            pass
        return None

    server = peer(lambda r: flood)
    running = service(STREAM)
    client.collect("stream", [json.dumps({"url": server.url, "sleep": 3600, "timeout": 3600}).encode()])
    wait_until(lambda: sent[0] > 0, "the stream has begun")
    last = -1
    deadline = time.monotonic() + PATIENCE
    while sent[0] != last and time.monotonic() < deadline:
        last = sent[0]
        time.sleep(0.5)
    # What the sockets hold, and one piece: not a hundred megabytes.
    assert 0 < sent[0] < 20_000_000
    running.kill()


# ---- the end of whoever waits


@pytest.mark.parametrize("kind", ["fetch", "stream"])
def test_a_handler_that_is_ended_ends_its_fetch(service, client, peer, kind):
    gone = threading.Event()

    def watch(connection):
        if kind == "stream":
            connection.sendall(CHUNKED + chunk(b"first"))
        if connection.recv(1) == b"":
            gone.set()
        return None

    server = peer(lambda r: watch)
    service(SCRIPT + STREAM, options="handler_timeout = 0.5")
    payload = {"url": server.url, "options": {"timeout": 3600}, "timeout": 3600}
    assert_error(client.request(kind, json.dumps(payload).encode()), 504)
    assert gone.wait(PATIENCE)
    assert client.request("alive").text == "yes"


def test_a_stop_waits_for_fetches_and_ends_the_rest(service, client, peer):
    gone = threading.Event()

    def watch(connection):
        if connection.recv(1) == b"":
            gone.set()
        return None

    server = peer(lambda r: watch)
    running = service(SCRIPT, options="shutdown_timeout = 0.5")
    inbox = client.collect("fetch", [json.dumps({"url": server.url, "options": {"timeout": 3600}}).encode()])[0]
    wait_until(lambda: server.requests, "the fetch is under way")
    running.signal(signal.SIGTERM)
    assert_error(inbox.next(), 503)
    assert running.wait() == 1
    running.expected_exit = 1
    assert gone.wait(PATIENCE)


# ---- misuse


@pytest.mark.parametrize(
    "call, words",
    [
        ('app.http.fetch("http://x/")', ["on_start_task"]),
    ],
)
def test_not_while_the_file_runs(check, call, words):
    refused(check(call), "test.lua:2:", *words)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ("", ["the URL must be a string"]),
        ('"example.org"', ["http://"]),
        ('"http://user:secret@/"', ["no host"]),
        ('"ftp://user:secret@x/"', ["http and https"]),
        ('"http://x/\\n"', ["line break"]),
        ('"http://x/", 5', ["options must be a table"]),
        ('"http://x/", { timeot = 1 }', ["timeot", "timeout"]),
        ('"http://x/", { timeout = "1" }', ["timeout", "string"]),
        ('"http://x/", { timeout = 0 }', ["timeout"]),
        ('"http://x/", { method = "A B" }', ["method"]),
        ('"http://x/", { method = "CONNECT" }', ["CONNECT"]),
        ('"http://x/", { body = "a", json = {} }', ["body and json"]),
        ('"http://x/", { json = { f = print } }', ["json", "function"]),
        ('"http://x/", { form = { f = {{}} } }', ["form"]),
        ('"http://x/", { headers = { ["a b"] = "c" } }', ["a b"]),
        ('"http://x/", { headers = { a = "b\\r\\nc: d" } }', ["line break"]),
        ('"http://x/", { headers = { ["Content-Length"] = "5" } }', ["content-length"]),
        ('"http://x/", { max_body = "many" }', ["max_body"]),
        ('"http://x/", { redirects = -1 }', ["redirects"]),
        ('"http://x/", { stream = true }', ["stream"]),
        ('"http://x/", { verify = "no" }', ["verify"]),
    ],
)
def test_misuse_raises_at_the_scripts_line(service, client, arguments, words):
    service(f"""
        app.listen("misuse", function()
            local ok, problem = pcall(function()
                return app.http.fetch({arguments})
            end)
            return {{ ok = ok, problem = tostring(problem) }}
        end)
    """)
    result = client.ask("misuse", {})
    assert result["ok"] is False and "test.lua:4:" in result["problem"], result
    assert "secret" not in result["problem"]
    for word in words:
        assert word in result["problem"], result


def test_where_it_cannot_wait(service, client):
    service("""
        app.listen("sort", function()
            local ok, problem = pcall(table.sort, { 3, 2, 1 }, function(a, b) return app.http.fetch("http://127.0.0.1:1/") end)
            return { problem = tostring(problem) }
        end)
        app.listen("inside", function()
            local step = coroutine.wrap(function() return select(2, pcall(function() return select(2, app.http.fetch("http://127.0.0.1:1/")).code end)) end)
            return { code = step() }
        end)
    """)
    assert "cannot wait here" in client.ask("sort", {})["problem"]
    assert client.ask("inside", {}) == {"code": "connect"}


def test_secrets_are_in_no_log(fetch):
    for url in ("http://user:secret@127.0.0.1:1/secret", "http://user:secret@no-such-name.invalid/secret"):
        result = fetch(url)
        assert "secret" not in json.dumps(result)
    assert "secret" not in fetch.service.output
